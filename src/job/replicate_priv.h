/* Inside of a replication job: replicate.c (control), pass.c (scan passes and coverage), naming.c
 * (names on their way to lanes); what a live job adds begins in live.h. */
#ifndef LONGHAUL_JOB_REPLICATE_PRIV_H
#define LONGHAUL_JOB_REPLICATE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "capture/scan.h"
#include "engine/enqueue.h"
#include "engine/worker.h"
#include "job/replicate.h"

struct live;

enum {
    JOB_THREADS_MAX = 64,
    JOB_QUEUE_HIGH = 3000, /* names queued in a lane; beyond, scanning pauses */
    JOB_PAUSE_MS = 1,
    JOB_REFRESH_MIN_MS = 250, /* between two looks at the topology of a side */
    JOB_WATCH_MS = 1000,      /* a cluster's topology is looked at so often without any cause */
    JOB_PROGRESS_MS = 100,
    JOB_ROUND_MS = 10,
    JOB_AGAIN_MS = 500,      /* between two tries of a step before the copy */
    JOB_TELL_MS = 10 * 1000, /* between two lines of log about the same trouble */
    JOB_DRAIN_MS = 3000,     /* how long an interrupted job waits for what is in flight */
    JOB_OPEN_SLOT_MS = 300,  /* between two looks at slots that are being moved */
};

/* What is still to be scanned on one side, and the passes that do it.
 *
 * Forward, over the source: a gap that opens where a pass is running does not end that pass: the
 * slots are scanned once more behind it (`again`). Backward, over the target: which keys are there
 * that the source does not have. */
enum coverage_kind {
    COVERAGE_FORWARD,
    COVERAGE_BACKWARD,
    COVERAGE_STREAMS /* the source's streams, whose groups are to be known */
};

struct coverage {
    struct job *job;
    struct deployment *side;
    enum coverage_kind kind;
    bool backward, streams;
    struct slot_set *uncovered; /* per database of result->dbs, as the following */
    /* forward: to be copied as if nothing were on the target; backward: guarded */
    struct slot_set *whole;
    struct slot_set *again, *again_whole;
    size_t dbs_cap;
    struct pass *passes; /* running, and ended but not judged */
    int64_t open_slots_at_ms, open_slots_since_ms;
    bool open_slots_told;
};

/* One scan of one node's database; lives on a worker's loop, judged by the control thread. */
struct pass {
    struct coverage *coverage;
    struct job *job;
    struct worker *worker;
    struct scan *scan;        /* worker's thread */
    struct loop_timer *pause; /* worker's thread */
    struct client_settings client;
    struct address primary; /* whose slots are scanned; the node scanned may be its replica */
    int db;                 /* of the source */
    int scan_db;            /* of the side that is scanned */
    size_t type;            /* backward: which of the filter's types is being scanned */
    struct slot_set slots;  /* named by this pass */
    struct slot_set whole;  /* of those; see struct coverage */
    char start_cursor[SCAN_CURSOR_MAX],
        /* goes on where another one stopped; empty: it begins */
        start_run_id[RUN_ID_MAX];
    char cursor[SCAN_CURSOR_MAX], run_id[RUN_ID_MAX]; /* under the job's lock: of the next page */
    /* control: of those, the ones that stayed where they were */
    struct slot_set undisturbed;
    _Atomic bool aborted;
    bool keep; /* an abort may still be on its way to it */
    enum scan_end end;
    struct err err;
    struct pass *next;       /* control */
    struct pass *next_ended; /* under the job's lock */
};

struct job {
    struct loop *loop; /* control */
    struct deployment *source, *target;
    const struct replicate_settings *settings;
    const volatile bool *stop;
    struct copy_abilities can;
    struct copy_plan plan;
    int *clean_dbs; /* plan.target_dbs; the result's own may grow */
    struct replicate_result *result;
    replicate_progress_fn *on_progress;
    void *progress_ctx;

    struct worker *workers[JOB_THREADS_MAX];
    int n_workers;
    unsigned next_worker;

    struct coverage forward, backward, streams;
    struct pass *over;          /* kept to the end: an abort may still be on its way to them */
    struct live *live;          /* NULL: a snapshot */
    _Atomic int64_t in_transit; /* batches of names on their way to a lane */
    _Atomic uint64_t scanned;
    _Atomic uint64_t looked_at, looked_guarded; /* keys of the target that passes have named */
    _Atomic uint64_t scan_reconnects;
    uint64_t source_epoch, target_epoch;
    int64_t source_refreshed_ms, target_refreshed_ms, source_down_since_ms;
    struct err source_down;
    struct loop_timer *progress_timer;

    _Atomic bool want_source, want_target; /* somebody wishes a look at the topology */
    pthread_mutex_t lock;
    struct pass *ended; /* under lock */
    struct err failed;  /* under lock; ERR_NONE while all is well */
};

/* Wakes the control loop up. Any thread. */
void job_wake(struct job *job);
void job_fail(struct job *job, const struct err *err);
/* What all lanes have done so far. */
void job_sum_stats(struct job *job, struct copy_stats *sum);

/* ---- pass.c; control thread ---- */

/* Nothing is to be scanned yet. */
void coverage_init(struct coverage *coverage, struct job *job, enum coverage_kind kind);
/* Is to be scanned (again). db_index: into result->dbs, -1: all. whole: see struct coverage. */
void coverage_open(struct coverage *coverage, int db_index, const struct slot_set *slots,
                   bool whole);
/* All slots that the job is about. */
struct slot_set job_slots(const struct job *job);
/* Is anything still to be scanned, or running? */
bool coverage_is_complete(const struct coverage *coverage);
struct slot_set coverage_open_slots(const struct coverage *coverage);
unsigned coverage_left(const struct coverage *coverage);
/* Judges what ended, starts what is missing. True when everything is covered and no pass runs. */
bool coverage_step(struct coverage *coverage);
/* The side's picture changed: takes slots that moved out of running passes, aborts passes of nodes
 * that are no longer primaries. */
void coverage_topology_changed(struct coverage *coverage);
/* Aborts all; their ends are judged later. */
void coverage_abort(struct coverage *coverage);
/* Judges passes of either side that have ended. */
void passes_judge(struct job *job);
/* Frees both coverages and all passes, once the workers have ended. */
void passes_fini(struct job *job);

#endif
