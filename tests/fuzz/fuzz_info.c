/* Any text as INFO: no crash, every text that is kept is terminated, every number within its
 * bounds. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DBS = 16 };

static void check_databases(struct bytes info) {
    int dbs[DBS], n = info_databases(info, dbs, DBS);
    if (n < 0 || n > DBS) abort();
    for (int i = 0; i < n; i++) {
        uint64_t keys, expires;
        if (dbs[i] < 0) abort();
        info_keyspace(info, dbs[i], &keys, &expires);
        if (keys > INT64_MAX || expires > INT64_MAX) abort();
    }
}

static void check_replicas_and_calls(struct bytes info) {
    uint64_t lowest, number;
    int online = info_replicas(info, &lowest);
    if (online < 0 || (online == 0 && lowest != 0) || lowest > INT64_MAX) abort();
    if (!info_number(info, "total_forks", &number) && number != 0) abort();
    if (number > INT64_MAX) abort();
    if (info_has_child(info) && info.len == 0) abort();
    uint64_t all = info_calls(info, "xgroup"), one = info_calls(info, "xgroup|create");
    if (all != 0 && !info_counts_calls(info)) abort();
    if (one != 0 && !info_counts_calls(info)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *tight = mem_alloc(size), name[64];
    if (size > 0) memcpy(tight, data, size);
    struct bytes text = bytes_of(tight, size);
    struct server_info info;
    server_info_parse(&info, text);
    if (memchr(info.run_id, '\0', sizeof(info.run_id)) == NULL) abort();
    if (memchr(info.version_text, '\0', sizeof(info.version_text)) == NULL) abort();
    if (memchr(info.primary_host, '\0', sizeof(info.primary_host)) == NULL) abort();
    if (strlen(server_info_name(&info, name, sizeof(name))) >= sizeof(name)) abort();
    check_databases(text);
    check_replicas_and_calls(text);
    free(tight);
    return 0;
}
