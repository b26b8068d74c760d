/* The record of a live job, in brief: kept in its state directory and on every primary of the
 * target, shown by `longhaul status`. JSON outside, this struct inside.
 *
 * A record owns its lists, texts and JSON values. A zeroed record is an empty one (record_init()),
 * record_fini() releases everything and leaves it empty. Never assign one record to another: use
 * record_copy() or record_move().
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
    RECORD_OWNER_MAX = 128,
    RECORD_LABEL_MAX = 320,
    RECORD_RUN_ID_MAX = 48,
    RECORD_TEXT_MAX = 256,
    RECORD_CURSOR_MAX = 32,
    RECORD_ID_MAX = 64,
    RECORD_CAUSE_MAX = 32,
    /* Of a record as JSON: 500 primaries with evidence and cursors of 16 databases need a sixth. */
    RECORD_BYTES_MAX = 32 * 1024 * 1024
};

struct record_node { /* a server process of the source */
    char address[RECORD_LABEL_MAX];
    char run_id[RECORD_RUN_ID_MAX], replid[RECORD_RUN_ID_MAX];
    int64_t watermark_us; /* wall clock, microseconds; 0: none yet */
    /* The answers of the process about itself at the watermark: an object, owned by the record,
     * whose content the store does not read. NULL: nothing is known. */
    json_t *evidence;
};

/* What a server process of the target had lost when all was proved: what it has lost beyond that is
 * to be copied again. */
struct record_target {
    char run_id[RECORD_RUN_ID_MAX];
    uint64_t evicted, flushes, swaps;
    bool incomplete; /* it had lost more, which was not repaired yet */
};

/* How far a node's database had been copied for the first time at the checkpoint. */
struct record_cursor {
    char address[RECORD_LABEL_MAX];
    char run_id[RECORD_RUN_ID_MAX];
    char cursor[RECORD_CURSOR_MAX]; /* of SCAN; "end": all of it */
    int64_t db;
    uint64_t slots; /* hash of the slots that the node owned */
};

struct record_gap { /* slots whose continuity is not proved, and that are being repaired */
    char place[RECORD_LABEL_MAX];
    int64_t since_us; /* wall clock; 0: from the beginning */
    uint64_t slots;   /* how many */
    char why[RECORD_TEXT_MAX];
};

struct record_hold { /* deletions that wait for the operator */
    char id[RECORD_ID_MAX];
    char place[RECORD_LABEL_MAX];
    char cause[RECORD_CAUSE_MAX];
    uint64_t deletions, seen;
    int64_t since_us;
    char *slots; /* "0-99,200"; owned; NULL: all */
    char why[RECORD_TEXT_MAX];
};

/* The present trouble in the words of the log; text empty: none. */
struct record_trouble {
    char place[RECORD_LABEL_MAX];
    char text[RECORD_TEXT_MAX];
    int64_t since_us;
};

/* Replids, run_ids and cluster node ids of one side. */
struct record_ids {
    char **list;
    size_t n;
};

struct record_lag {
    int64_t p50_us, p99_us, max_us;     /* since the job was started, while no gap was open */
    int64_t minute_max_us, hour_max_us; /* of the last minute, of the last hour */
};

struct job_record {
    char job[RECORD_JOB_MAX];
    /* labels of the endpoints; no secrets */
    char source[RECORD_LABEL_MAX], target[RECORD_LABEL_MAX];
    /* databases and filters in words, for people */
    char settings[RECORD_TEXT_MAX];
    /* every option that decides which keys and values are there, as canonical JSON; NULL: an older
     * record */
    char *scope;
    struct record_ids source_ids, target_ids;
    /* "copying", "live", "resync", "held", "draining", "stopped", "ended" */
    char phase[32];
    char owner[RECORD_OWNER_MAX]; /* host and process that wrote the record */
    /* Mode liveonly: a first copy was never made, so a watermark proves nothing of older keys. */
    bool only;
    bool copied_once; /* the first full copy was complete */
    /* Keys of the target that the source did not have before the first copy are remembered. */
    bool census_done;
    int64_t watermark_us;   /* writes acknowledged before it are on the target; 0: none yet */
    int64_t source_time_us; /* the source's own TIME at the watermark; 0: unknown */
    int64_t updated_us;
    uint64_t epoch;   /* of the lease */
    int64_t lease_ms; /* its length; 0: unknown */
    uint64_t copied, deleted, given_up, waiting;
    uint64_t extra_keys;     /* keys on the target that this job never copied */
    uint64_t target_evicted; /* keys that the target evicted */
    struct record_lag lag;
    /* how long changes are gathered because the source is busy; 0: they are not */
    int64_t gather_ms;
    char order_followed[RECORD_ID_MAX]; /* id of the last order that was followed */
    struct record_trouble trouble;
    struct record_node *nodes;
    size_t n_nodes;
    struct record_target *targets;
    size_t n_targets;
    /* of the first copy: changes before it are on the target, as far as the cursors go; 0: none */
    int64_t checkpoint_us;
    struct record_cursor *cursors;
    size_t n_cursors;
    struct record_gap *gaps;
    size_t n_gaps;
    struct record_hold *holds;
    size_t n_holds;
};

void record_init(struct job_record *record);
void record_fini(struct job_record *record);
/* The former content of `to` is released. */
void record_copy(struct job_record *to, const struct job_record *from);
/* The same, and `from` is left empty. */
void record_move(struct job_record *to, struct job_record *from);
/* The proof goes back to that of another record of the same job (moved out of it): watermark, nodes
 * with their evidence, first copy and gaps. They belong together and are never mixed. */
void record_take_proof(struct job_record *to, struct job_record *from);
/* The target, or a primary of it, knows nothing of the job: no watermark, no evidence. */
void record_drop_proof(struct job_record *record);

/* A new, zeroed item at the end of a list; good until the next one is added. */
struct record_node *record_add_node(struct job_record *record);
struct record_target *record_add_target(struct job_record *record);
struct record_cursor *record_add_cursor(struct job_record *record);
struct record_gap *record_add_gap(struct job_record *record);
struct record_hold *record_add_hold(struct job_record *record);
/* Empty the lists. */
void record_clear_nodes(struct job_record *record);
void record_clear_targets(struct job_record *record);
void record_clear_cursors(struct job_record *record);
void record_clear_gaps(struct job_record *record);
void record_clear_holds(struct job_record *record);

/* An id that is empty or already in the list is not added. */
void record_ids_add(struct record_ids *ids, const char *id);
bool record_ids_has(const struct record_ids *ids, const char *id);
void record_ids_clear(struct record_ids *ids);

/* A copy of the text; NULL for none. */
void record_set_scope(struct job_record *record, const char *scope);

/* A new reference. Text that is not UTF-8 is escaped. */
json_t *record_to_json(const struct job_record *record);
/* The same as text, which the caller frees. */
char *record_to_text(const struct job_record *record);
/* The former content of `record` is released. False, naming the wrong field, leaves the record
 * empty; unknown fields are ignored. Control characters become '?', so that no record can steer a
 * terminal. */
bool record_from_text(struct job_record *record, struct bytes text, struct err *err);

/* The job's name where the user gives none: 16 hexadecimal digits made from the endpoints and from
 * the scope. */
void record_make_job(char job[RECORD_JOB_MAX], const char *source, const char *target,
                     const char *scope);

#endif
