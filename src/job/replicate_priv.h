/* Inside of a replication job: replicate.c (control) and pass.c (scan passes and coverage). */
#ifndef LONGHAUL_JOB_REPLICATE_PRIV_H
#define LONGHAUL_JOB_REPLICATE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "capture/scan.h"
#include "job/replicate.h"
#include "job/worker.h"

enum {
    JOB_THREADS_MAX = 64,
    JOB_QUEUE_HIGH = 20 * 1000, /* names waiting in a lane; beyond, scanning pauses */
    JOB_PAUSE_MS = 2,
    JOB_REFRESH_MIN_MS = 250, /* between two looks at the topology of a side */
    JOB_WATCH_MS = 1000,      /* a cluster's topology is looked at so often without any cause */
    JOB_PROGRESS_MS = 100,
    JOB_ROUND_MS = 10,
    JOB_DRAIN_MS = 3000,    /* how long an interrupted job waits for what is in flight */
    JOB_OPEN_SLOT_MS = 300, /* between two looks at slots that are being moved */
};

/* One scan of one node's database; lives on a worker's loop, judged by the control thread. */
struct pass {
    struct job *job;
    struct worker *worker;
    struct scan *scan;        /* worker's thread */
    struct loop_timer *pause; /* worker's thread */
    struct client_settings client;
    struct address primary; /* whose slots are scanned; the node scanned may be its replica */
    int db;
    struct slot_set slots;       /* named by this pass */
    struct slot_set undisturbed; /* control: of those, the ones that stayed where they were */
    _Atomic bool aborted;
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
    struct copy_plan plan;
    struct replicate_result *result;
    replicate_progress_fn *on_progress;
    void *progress_ctx;

    struct worker *workers[JOB_THREADS_MAX];
    int n_workers;
    unsigned next_worker;

    struct slot_set *uncovered; /* per database of result->dbs */
    struct pass *passes;        /* running, and ended but not judged */
    struct pass *over;          /* kept to the end: an abort may still be on its way to them */
    _Atomic int64_t in_transit; /* batches of names on their way to a lane */
    _Atomic uint64_t scanned;
    _Atomic uint64_t scan_reconnects;
    uint64_t source_epoch, target_epoch;
    int64_t source_refreshed_ms, target_refreshed_ms, open_slots_at_ms, open_slots_since_ms, source_down_since_ms;
    struct err source_down;
    bool open_slots_told;
    struct loop_timer *progress_timer;

    _Atomic bool want_source, want_target; /* somebody wishes a look at the topology */
    pthread_mutex_t lock;
    struct pass *ended; /* under lock */
    struct err failed;  /* under lock; ERR_NONE while all is well */
};

/* Wakes the control loop up. Any thread. */
void job_wake(struct job *job);
void job_fail(struct job *job, const struct err *err);

/* ---- pass.c; control thread ---- */

/* Every slot of every database that the job is about is still to be scanned. */
void passes_init(struct job *job);
/* Once the workers have ended. */
void passes_fini(struct job *job);
/* Judges what ended, starts what is missing. True when everything is covered and no pass runs. */
bool passes_step(struct job *job);
/* The source's picture changed: takes slots that moved out of running passes, aborts passes of nodes that are no longer
 * primaries. */
void passes_topology_changed(struct job *job);
/* Aborts all and waits for their end. */
void passes_abort(struct job *job);

#endif
