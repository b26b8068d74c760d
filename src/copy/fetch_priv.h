/* Inside of reading: fetch.c sends batches and takes their replies, fetch_end.c decides from the
 * replies which step follows for each key. */
#ifndef LONGHAUL_COPY_FETCH_PRIV_H
#define LONGHAUL_COPY_FETCH_PRIV_H

#include "copy/flight.h"

enum {
    VALUE_LARGE = ESTIMATE_LARGE_BYTES, /* read with its size known before */
    VALUE_ALONE = 1024 * 1024,          /* from here on read by a batch of its own */
};

/* MEMORY USAGE adds up some elements and takes the others to be like them: 5 by default, so that a
 * hash of many small fields and a few huge ones counts as small. This much is proved of a key whose
 * elements take MEASURE_ELEMENT_BYTES or more each (redis 7.0.15 src/object.c
 * objectComputeSize(): a place in the table, and an allocation):
 *
 *   MEASURE_SAMPLES asked for, size below MEASURE_EXACT_BYTES         all elements were added up
 *   5 asked for, as no size was ever hidden, below MEASURE_FEW_BYTES  the key has few elements
 *   otherwise, up to the size of a large key                  all are added up now: SAMPLES 0
 *
 * SAMPLES 0 looks at that size by MEASURE_ELEMENT_BYTES of elements, at most. */
enum {
    MEASURE_SAMPLES = 4096,
    MEASURE_ELEMENT_BYTES = 16,
    MEASURE_EXACT_BYTES = MEASURE_SAMPLES * MEASURE_ELEMENT_BYTES,
    MEASURE_FEW_BYTES = 4096,
};

enum key_result { RESULT_NONE, RESULT_NULL, RESULT_VALUE, RESULT_ERROR };

struct fetch_key {
    struct fetched f;
    struct err *err; /* of RESULT_ERROR */
    union {
        int64_t expiry;  /* as the server said it; in other stages the number that was asked for */
        uint64_t groups; /* STAGE_GROUPS: fingerprint */
    };
    enum key_result result;
    bool shared;       /* the value of a string, with other keys */
    bool sampled_many; /* STAGE_MEASURE: MEASURE_SAMPLES were asked for */
};

struct batch {
    struct flight *flight;
    struct pool_node *node;
    struct client *client; /* of the node; set when the batch is sent */
    enum stage stage;
    int db;
    bool asking;
    size_t n, cap, due;
    uint64_t bytes;    /* expected of its values */
    int64_t server_ms; /* the server's clock, for PTTL */
    int64_t server_us; /* the same as the server told it; 0: not told */
    struct fetch_key *keys;
};

/* ---- fetch_end.c ---- */

/* The first error of a key counts. */
void fetch_key_fail(struct fetch_key *key, const struct err *err);
/* On the node's usual connection no string is read whole before its size is known: of one that was
 * not measured the first VALUE_LARGE bytes are asked for, and when so many come there may be more.
 */
bool fetch_reads_part(const struct batch *b, const struct key_entry *entry);
/* All replies are in: hands each key to its next step, the values to the target, and frees b. */
void fetch_batch_end(struct batch *b);
/* The caller has taken the keys out. */
void fetch_batch_free(struct batch *b);

#endif
