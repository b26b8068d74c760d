/* See repair.h. One worker with a lane; the control thread feeds it names from the spool and looks
 * at topologies. */
#include "job/repair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "copy/transfer.h"
#include "engine/worker.h"
#include "job/others.h"
#include "probe/preflight.h"
#include "server/sight.h"
#include "store/job_store.h"

enum {
    BATCH_KEYS = 100,
    WINDOW_KEYS = 2000,
    WAITING_MAX = 10 * 1000, /* names in the lane; beyond, the spool is not read on */
    NAMES_AT_ONCE = 1000,
    ROUND_MS = 5,
    DRAIN_MS = 3000,
};

struct repair {
    struct deployment *source, *target;
    const struct repair_settings *settings;
    struct copy_plan plan;
    struct worker *worker;
    _Atomic int64_t in_transit;
    struct sight *sight_source, *sight_target;
    pthread_mutex_t lock;
    struct err failed; /* under lock */
};

/* ---- called from the worker ---- */

static void on_failed(void *ctx, const struct err *err) {
    struct repair *r = ctx;
    pthread_mutex_lock(&r->lock);
    if (r->failed.code == ERR_NONE) r->failed = *err;
    pthread_mutex_unlock(&r->lock);
}

static void on_refresh_wanted(void *ctx, struct deployment *side) {
    struct repair *r = ctx;
    sight_want(side == r->source ? r->sight_source : r->sight_target);
}

/* ---- control ---- */

static void make_plan(struct repair *r, struct giveup *giveup, const struct copy_abilities *can) {
    static const struct key_filter all;
    const struct repair_settings *s = r->settings;
    r->plan = (struct copy_plan){ .source = r->source,
                                  .target = r->target,
                                  .filter = &all,
                                  .can = *can,
                                  .lanes = 1,
                                  .no_ttl = s->no_ttl,
                                  .never_delete = !s->may_delete,
                                  .target_db = s->target_db,
                                  .batch_keys = BATCH_KEYS,
                                  .window_keys = WINDOW_KEYS,
                                  .max_args = s->max_args,
                                  .lane_bytes = s->buffer_bytes,
                                  .big_key_bytes = s->big_key_bytes,
                                  .structured = !can->dump,
                                  .outage_timeout_ms = s->outage_timeout_ms,
                                  .giveup = giveup,
                                  .request_refresh = on_refresh_wanted,
                                  .on_failed = on_failed,
                                  .ctx = r };
}

static bool has_failed(struct repair *r, struct err *err) {
    pthread_mutex_lock(&r->lock);
    bool failed = r->failed.code != ERR_NONE;
    if (failed) *err = r->failed;
    pthread_mutex_unlock(&r->lock);
    return failed;
}

static void on_topology_changed(void *ctx, const struct topology *before,
                                const struct topology *now, int64_t asked_us) {
    struct repair *r = ctx;
    worker_update(r->worker);
}

static void repair_watch_sides(struct repair *r) {
    static const struct sight_events events = { .on_changed = on_topology_changed };
    const struct sight_settings settings = { .pause_ms = SIGHT_PAUSE_MS,
                                             .outage_timeout_ms = r->settings->outage_timeout_ms };
    r->sight_source = sight_new(r->source, &settings, &events, r);
    r->sight_target = sight_new(r->target, &settings, &events, r);
}

static uint64_t waiting(struct repair *r) {
    const struct copy_stats *stats = lane_stats(worker_lane(r->worker));
    uint64_t n = atomic_load_explicit((_Atomic uint64_t *)&stats->waiting, memory_order_acquire);
    return n;
}

static bool is_idle(struct repair *r) {
    return atomic_load_explicit(&r->in_transit, memory_order_acquire) == 0 && waiting(r) == 0;
}

/* A batch is of one database, so another one begins another batch. False at the end of the spool.
 */
static bool name_some(struct repair *r, struct err *err) {
    struct name_batch *batch = NULL;
    struct spooled one;
    int db = -1;
    bool more = true;
    for (int n = 0; n < NAMES_AT_ONCE && (more = spool_next(r->settings->keys, &one, err)); n++) {
        if ((r->settings->tags >> one.tag & 1) == 0) continue;
        if (batch != NULL && one.db != db) worker_name(r->worker, batch, &r->in_transit);
        if (batch == NULL || one.db != db) batch = name_batch_new(db = one.db);
        name_batch_add(batch, one.key, slot_of_key(one.key), REASON_CHANGED);
    }
    if (batch != NULL) worker_name(r->worker, batch, &r->in_transit);
    return more;
}

static bool run_to_the_end(struct repair *r, const volatile bool *stop, struct err *err) {
    bool more = true;
    err_clear(err);
    if (!spool_rewind(r->settings->keys, err)) return false;
    while (more || !is_idle(r)) {
        if (*stop) return err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
        if (has_failed(r, err)) return false;
        bool room = waiting(r) < WAITING_MAX && atomic_load(&r->in_transit) == 0;
        if (more && room) more = name_some(r, err);
        if (err->code != ERR_NONE) return false;
        loop_run_once(deployment_loop(r->source), ROUND_MS);
        sight_step(r->sight_source);
        sight_step(r->sight_target);
    }
    return !has_failed(r, err);
}

/* Keys in flight are finished, within bounds, so that the figures are true. */
static bool repair_is_drained(void *ctx) {
    struct repair *r = ctx;
    return stat_get(&lane_stats(worker_lane(r->worker))->in_flight) == 0;
}

static void repair_settle(struct repair *r) {
    worker_stop_lane(r->worker);
    loop_until(deployment_loop(r->source), repair_is_drained, r, clock_mono_ms() + DRAIN_MS, NULL);
}

static bool prepare(struct repair *r, struct repair_result *result, struct err *err) {
    const struct repair_settings *s = r->settings;
    struct preflight preflight = { .dbs = s->dbs,
                                   .n_dbs = s->n_dbs,
                                   .target_db = s->target_db,
                                   .record_key = job_store_record_key };
    if (!preflight_check(r->source, r->target, &preflight, err)) return false;
    if (preflight.source_has_records &&
        !others_check_reverse(r->source, r->target, &s->purpose, err))
        return false;
    result->giveup = giveup_new();
    make_plan(r, result->giveup, &preflight.can);
    repair_watch_sides(r);
    r->worker = worker_start(&r->plan, 0, err);
    return r->worker != NULL;
}

bool repair_run(struct deployment *source, struct deployment *target,
                const struct repair_settings *settings, const volatile bool *stop,
                struct repair_result *result, struct err *err) {
    struct repair *r = mem_zalloc(sizeof(*r));
    *result = (struct repair_result){ 0 };
    r->source = source;
    r->target = target;
    r->settings = settings;
    pthread_mutex_init(&r->lock, NULL);
    bool ok = prepare(r, result, err) && run_to_the_end(r, stop, err);
    if (r->worker != NULL) {
        if (!ok) repair_settle(r);
        copy_stats_sum(&result->stats, lane_stats(worker_lane(r->worker)));
        worker_free(&r->worker);
    }
    sight_free(&r->sight_source);
    sight_free(&r->sight_target);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return ok;
}

void repair_result_fini(struct repair_result *result) {
    giveup_free(&result->giveup);
}
