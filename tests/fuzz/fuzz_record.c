/* Any text as a job's record: no crash, every text of the record is terminated, and a record that
 * was understood survives a round trip. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_texts(const struct job_record *r) {
    if (memchr(r->job, '\0', sizeof(r->job)) == NULL ||
        memchr(r->owner, '\0', sizeof(r->owner)) == NULL)
        abort();
    if (r->job[0] == '\0') abort();
    for (size_t i = 0; i < r->n_gaps; i++)
        if (memchr(r->gaps[i].why, '\0', sizeof(r->gaps[i].why)) == NULL) abort();
}

/* Texts are UTF-8 here, as JSON has no others, so that nothing is escaped on the way back. */
static void check_round_trip(const struct job_record *a) {
    struct job_record b;
    record_init(&b);
    char *text = record_to_text(a);
    if (text == NULL || !record_from_text(&b, bytes_of_str(text), NULL)) abort();
    char *again = record_to_text(&b);
    if (again == NULL || strcmp(text, again) != 0) abort();
    free(text);
    free(again);
    record_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *tight = mem_alloc(size);
    struct job_record a;
    struct err err = { 0 };
    record_init(&a);
    if (size > 0) memcpy(tight, data, size);
    if (record_from_text(&a, bytes_of(tight, size), &err)) {
        check_texts(&a);
        check_round_trip(&a);
    } else if (err.code == ERR_NONE) {
        abort();
    }
    record_fini(&a);
    free(tight);
    return 0;
}
