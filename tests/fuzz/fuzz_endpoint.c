/* Any text as an endpoint: no crash, no leak, and an endpoint that was accepted is complete and can
 * be copied.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct endpoint *endpoint) {
    if (endpoint->label == NULL || endpoint->label[0] == '\0') abort();
    if ((endpoint->kind == ENDPOINT_UNIX) != (endpoint->path != NULL)) abort();
    if ((endpoint->kind == ENDPOINT_UNIX) != (endpoint->n_hosts == 0)) abort();
    if ((endpoint->kind == ENDPOINT_SENTINEL) != (endpoint->sentinel_name != NULL)) abort();
    if (endpoint->n_hosts > ENDPOINT_HOSTS_MAX || endpoint->db < 0) abort();
    for (size_t i = 0; i < endpoint->n_hosts; i++)
        if (endpoint->hosts[i].port == 0 || endpoint->hosts[i].host[0] == '\0') abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_strndup((const char *)data, size);
    struct endpoint endpoint, copy;
    struct err err = { 0 };
    if (endpoint_parse(&endpoint, "source", text, &err)) {
        check_accepted(&endpoint);
        endpoint_copy(&copy, &endpoint);
        check_accepted(&copy);
        endpoint_fini(&copy);
    } else if (err.code != ERR_USAGE || err.text[0] == '\0') {
        abort();
    }
    endpoint_fini(&endpoint);
    free(text);
    return 0;
}
