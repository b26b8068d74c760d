/* A replication job: it asks both sides what they can do, starts the engine, and runs until
 * everything is copied (a snapshot) or until it is told to end (a live job, see live/live.h).
 *
 *   control (the caller's thread): topology of both sides, coverage, the live job, signals,
 *                                  progress
 *   worker threads: lanes and scan passes, see engine/engine.h
 */
#ifndef LONGHAUL_JOB_REPLICATE_H
#define LONGHAUL_JOB_REPLICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "copy/filter.h"
#include "copy/giveup.h"
#include "copy/settings.h"
#include "copy/stats.h"
#include "job/facts.h"
#include "job/others.h"
#include "live/sweep.h"
#include "probe/capture.h"
#include "server/deployment.h"

/* The settings of a live job beside those of every job. */
struct live_settings {
    bool only; /* follow changes; keys that are there already are not copied */
    enum capture_wish capture;
    int64_t poll_ms; /* for changes that no capture announces */
    /* how long changes of a busy source are gathered at most; 0: never */
    int64_t gather_ms;
    const char *state_dir; /* NULL: none */
    const char *name;      /* of the job; NULL: made from both ends and the scope */
    const char *words;     /* databases and filters, for people and to tell jobs apart */
    enum sweep_extra extra;
    double max_delete_percent; /* the deletion guard */
    bool release_deletions;    /* held ones may go on */
    bool resync_whole;         /* never leave a key out because it was idle */
    int64_t lease_ms;
    int64_t idle_timeout_ms; /* without changes for so long, the job ends; 0: never */
};

struct replicate_settings {
    const struct live_settings *live; /* NULL: a snapshot */
    struct job_purpose purpose;
    const struct key_filter *filter;
    bool all_databases;
    /* asked for; none: the one of the source's endpoint, into the one of the target's */
    const int *dbs;
    size_t n_dbs;
    int threads; /* 0: automatic */
    struct copy_settings copy;
    int64_t scan_count;
    uint64_t buffer_bytes;
    double rate; /* keys a second; 0: unlimited */
    int64_t sleep_ms;
    bool no_functions; /* function libraries stay behind */
};

struct replicate_result {
    struct facts facts;
    char job[65], capture[16]; /* of a live job */
    bool only;                 /* mode liveonly: nothing is said of older keys */
    bool idle;                 /* ended because nothing changed any more */
    struct copy_stats stats;
    uint64_t scan_restarts, functions, functions_refused;
    int64_t duration_ms;
    int *dbs; /* that were copied; owned */
    size_t n_dbs;
    int target_db; /* -1: the same numbers */
    int threads;
    struct giveup *giveup; /* owned */
    bool began;            /* the copy itself was begun: the checks before it were passed */
    bool complete;         /* every key was offered to the target */
};

typedef void replicate_progress_fn(void *ctx, const struct facts *facts);

/* Runs on the deployments' loop until done, failed, or *stop becomes true (ERR_INTERRUPTED). The
 * result is filled in every case; release it with replicate_result_fini(). on_progress is called
 * about ten times a second. */
bool replicate_run(struct deployment *source, struct deployment *target,
                   const struct replicate_settings *settings, replicate_progress_fn *on_progress,
                   void *ctx, const volatile bool *stop, struct replicate_result *result,
                   struct err *err);
void replicate_result_fini(struct replicate_result *result);

#endif
