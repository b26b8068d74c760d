/* What is known of a live job, in brief: kept in its state directory and on every primary of the
 * target, shown by `longhaul status`. JSON outside, this inside.
 */
#ifndef LONGHAUL_STORE_RECORD_H
#define LONGHAUL_STORE_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    RECORD_JOB_MAX = 65,
    RECORD_LABEL_MAX = 320,
    RECORD_RUN_ID_MAX = 48,
    RECORD_TEXT_MAX = 256,
    RECORD_CURSOR_MAX = 32,
    RECORD_LIST_MAX = 64
};

struct record_node { /* a server process of the source */
    char address[RECORD_LABEL_MAX];
    char run_id[RECORD_RUN_ID_MAX], replid[RECORD_RUN_ID_MAX];
    /* its count of forks, when none of them ran since the watermark; -1: unknown */
    int64_t forks;
    int64_t swaps;        /* its count of SWAPDB; -1: unknown */
    int64_t watermark_us; /* wall clock, microseconds; 0: none yet */
};

/* how far a node's database was copied for the first time, at the checkpoint */
struct record_cursor {
    char address[RECORD_LABEL_MAX];
    char run_id[RECORD_RUN_ID_MAX];
    char cursor[RECORD_CURSOR_MAX]; /* of SCAN; "end": all of it */
    int64_t db;
    uint64_t slots; /* hash of the slots that the node owned */
};

struct record_gap { /* where continuity is not proved, and being repaired */
    char place[RECORD_LABEL_MAX];
    int64_t since_us; /* wall clock; 0: from the beginning */
    char why[RECORD_TEXT_MAX];
};

struct record_hold { /* deletions that wait for the operator */
    char place[RECORD_LABEL_MAX];
    uint64_t deletions, seen;
    char why[RECORD_TEXT_MAX];
};

struct job_record {
    char job[RECORD_JOB_MAX];
    /* labels of the endpoints; no secrets */
    char source[RECORD_LABEL_MAX], target[RECORD_LABEL_MAX];
    /* databases and filters in words, to refuse others */
    char settings[RECORD_TEXT_MAX];
    char phase[32];       /* "copying", "live", "resync", "held", "draining", "stopped", "ended" */
    char owner[128];      /* host and process that wrote it */
    bool copied_once;     /* the first full copy was complete */
    int64_t watermark_us; /* every write acknowledged before it is on the target; 0: none yet */
    int64_t updated_us;
    uint64_t epoch; /* of the lease */
    uint64_t copied, deleted, given_up, waiting;
    /* since the job was started, while no gap was open */
    int64_t lag_p50_us, lag_p99_us, lag_max_us;
    /* how long changes are gathered, because the source is busy; 0: they are not */
    int64_t gather_ms;
    struct record_node nodes[RECORD_LIST_MAX];
    size_t n_nodes;
    int64_t
        /* of the first copy: changes before it are on the target, as far as the cursors go; 0: none
         */
        checkpoint_us;
    struct record_cursor cursors[RECORD_LIST_MAX];
    size_t n_cursors;
    struct record_gap gaps[RECORD_LIST_MAX];
    size_t n_gaps;
    struct record_hold holds[RECORD_LIST_MAX];
    size_t n_holds;
};

/* A new reference. */
json_t *record_to_json(const struct job_record *record);
/* False, with the field that is wrong, for what is no record; unknown fields are passed over. */
bool record_from_json(struct job_record *record, const json_t *json, struct err *err);
/* The same as text; the caller frees what record_to_text() returns. */
char *record_to_text(const struct job_record *record);
bool record_from_text(struct job_record *record, struct bytes text, struct err *err);

/* The job's name where the user gives none: 16 hexadecimal digits made from what it copies and
 * where to. */
void record_make_job(char job[RECORD_JOB_MAX], const char *source, const char *target,
                     const char *settings);

#endif
