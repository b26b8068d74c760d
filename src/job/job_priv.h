/* Inside of a replication job: replicate.c (its life), journal.c (the records of a live job). */
#ifndef LONGHAUL_JOB_JOB_PRIV_H
#define LONGHAUL_JOB_JOB_PRIV_H

#include "engine/engine.h"
#include "job/replicate.h"
#include "live/live.h"
#include "probe/capture.h"
#include "server/sight.h"
#include "store/event.h"

struct journal;

struct job {
    struct loop *loop; /* control */
    struct deployment *source, *target;
    const struct replicate_settings *settings;
    const volatile bool *stop;
    struct copy_abilities can;
    bool others_known; /* a side has records of live jobs: they are to be looked at */
    struct replicate_result *result;
    replicate_progress_fn *on_progress;
    void *progress_ctx;
    struct engine *engine;
    struct sight *source_sight, *target_sight;
    struct loop_timer *progress_timer;
    uint64_t keys_total;

    /* A live job; NULL: a snapshot. */
    struct live *live;
    struct journal *journal;
    struct capture_answers capture;
    struct event_sink events;
    uint64_t target_keys; /* that the target held at the start */
    bool lease_lost, functions_wanted;
    int64_t functions_ms; /* when functions are tried next */
};

/* Fills result->facts, from lanes, journal and live job. */
void job_fill_facts(struct job *job);

#endif
