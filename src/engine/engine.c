/* See engine.h. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_priv.h"

enum { THREADS_AUTO_MAX = 8 };

/* ---- called from any thread ---- */

static void on_wake(void *ctx) {}

void engine_wake(struct engine *e) {
    loop_post(e->loop, on_wake, NULL);
}

void engine_fail(struct engine *e, const struct err *err) {
    pthread_mutex_lock(&e->lock);
    if (e->failed.code == ERR_NONE) e->failed = *err;
    pthread_mutex_unlock(&e->lock);
    engine_wake(e);
}

bool engine_has_failed(struct engine *e, struct err *err) {
    pthread_mutex_lock(&e->lock);
    bool failed = e->failed.code != ERR_NONE;
    if (failed) *err = e->failed;
    pthread_mutex_unlock(&e->lock);
    return failed;
}

static _Atomic bool *engine_wish(struct engine *e, bool source) {
    return source ? &e->want_source : &e->want_target;
}

void engine_want_refresh(struct engine *e, bool source) {
    if (!atomic_exchange(engine_wish(e, source), true)) engine_wake(e);
}

bool engine_takes_refresh(struct engine *e, bool source) {
    return atomic_exchange(engine_wish(e, source), false);
}

static void on_lane_failed(void *ctx, const struct err *err) {
    engine_fail(ctx, err);
}

static void on_refresh_wanted(void *ctx, struct deployment *side) {
    struct engine *e = ctx;
    engine_want_refresh(e, side == e->settings.source);
}

/* ---- threads ---- */

static int engine_primaries(struct deployment *d) {
    struct topology *t = deployment_topology(d);
    int n = t->n_primaries;
    topology_unref(&t);
    return n;
}

/* One thread keeps several servers busy; more are worth it where there are more servers and
 * processors. */
static int engine_choose_threads(const struct engine_settings *s) {
    int threads = s->threads;
    if (threads == 0) {
        int source = engine_primaries(s->source), target = engine_primaries(s->target);
        int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
        threads = source > target ? source : target;
        if (threads > cpus) threads = cpus;
        if (threads > THREADS_AUTO_MAX) threads = THREADS_AUTO_MAX;
    }
    if (threads > ENGINE_LANES_MAX) threads = ENGINE_LANES_MAX;
    return threads < 1 ? 1 : threads;
}

struct engine *engine_new(const struct engine_settings *settings) {
    struct engine *e = mem_zalloc(sizeof(*e));
    e->settings = *settings;
    e->loop = deployment_loop(settings->source);
    pthread_mutex_init(&e->lock, NULL);
    e->plan = (struct copy_plan){ .source = settings->source,
                                  .target = settings->target,
                                  .filter = settings->filter,
                                  .lanes = engine_choose_threads(settings),
                                  .target_db = settings->target_db,
                                  .outage_timeout_ms = settings->outage_timeout_ms,
                                  .request_refresh = on_refresh_wanted,
                                  .on_failed = on_lane_failed,
                                  .ctx = e };
    for (int kind = 0; kind < COVERAGE_KINDS; kind++)
        coverage_init(&e->coverages[kind], e, (enum coverage_kind)kind);
    return e;
}

struct copy_plan *engine_plan(struct engine *e) {
    return &e->plan;
}

void engine_set_user(struct engine *e, void *user) {
    atomic_store(&e->user, user);
}

void *engine_user(const struct engine *e) {
    return atomic_load(&((struct engine *)e)->user);
}

bool engine_start(struct engine *e, struct err *err) {
    e->adopted[true] = deployment_epoch(e->settings.source);
    e->adopted[false] = deployment_epoch(e->settings.target);
    for (int i = 0; i < e->plan.lanes; i++) {
        e->workers[i] = worker_start(&e->plan, i, err);
        if (e->workers[i] == NULL) return false;
        e->n_workers++;
    }
    return true;
}

/* The list is the lanes' own: the engine's grows. */
void engine_begin(struct engine *e) {
    const int *dbs = e->settings.target_db >= 0 ? &e->settings.target_db : e->dbs;
    size_t n = e->settings.target_db >= 0 ? 1 : e->n_dbs;
    e->clean_dbs = mem_array(NULL, n, sizeof(*dbs));
    if (n > 0) memcpy(e->clean_dbs, dbs, n * sizeof(*dbs));
    e->plan.target_dbs = e->clean_dbs;
    e->plan.n_target_dbs = n;
    for (int i = 0; i < e->n_workers; i++) worker_begin(e->workers[i], &e->in_transit);
}

void engine_drain(struct engine *e) {
    int64_t deadline_ms = clock_mono_ms() + ENGINE_DRAIN_MS;
    for (int kind = 0; kind < COVERAGE_KINDS; kind++) coverage_abort(&e->coverages[kind]);
    for (int i = 0; i < e->n_workers; i++) worker_stop_lane(e->workers[i]);
    for (;;) {
        struct copy_stats sum;
        engine_sum_stats(e, &sum);
        if (stat_get(&sum.in_flight) == 0 || clock_mono_ms() >= deadline_ms) return;
        loop_run_once(e->loop, ENGINE_ROUND_MS);
    }
}

/* Passes end on their workers' threads, where their connections are. */
void engine_stop(struct engine *e) {
    for (int kind = 0; kind < COVERAGE_KINDS; kind++) coverage_abort(&e->coverages[kind]);
    for (int i = 0; i < e->n_workers; i++) worker_stop(e->workers[i]);
    for (int i = 0; i < e->n_workers; i++) worker_free(&e->workers[i]);
    e->n_workers = 0;
}

void engine_free(struct engine **engine) {
    struct engine *e = *engine;
    *engine = NULL;
    if (e == NULL) return;
    engine_stop(e);
    for (int kind = 0; kind < COVERAGE_KINDS; kind++) coverage_fini(&e->coverages[kind]);
    passes_free(e->over);
    pthread_mutex_destroy(&e->lock);
    free(e->clean_dbs);
    free(e->dbs);
    free(e);
}

int engine_lanes(const struct engine *e) {
    return e->n_workers;
}

struct lane *engine_lane(struct engine *e, int i) {
    return worker_lane(e->workers[i]);
}

struct loop *engine_lane_loop(struct engine *e, int i) {
    return worker_loop(e->workers[i]);
}

struct loop *engine_loop(struct engine *e) {
    return e->loop;
}

struct deployment *engine_source(struct engine *e) {
    return e->settings.source;
}

struct deployment *engine_target(struct engine *e) {
    return e->settings.target;
}

const struct engine_settings *engine_settings_of(const struct engine *e) {
    return &e->settings;
}

struct slot_set engine_job_slots(const struct engine *e) {
    struct slot_set all = { 0 };
    if (e->settings.filter->slots != NULL) return *e->settings.filter->slots;
    slot_set_add_range(&all, 0, SLOT_COUNT - 1);
    return all;
}

struct worker *engine_next_worker(struct engine *e) {
    return e->workers[e->next_worker++ % (unsigned)e->n_workers];
}

void engine_update_lanes(struct engine *e) {
    for (int i = 0; i < e->n_workers; i++) worker_update(e->workers[i]);
}

void engine_topology_changed(struct engine *e, bool source) {
    e->adopted[source] = deployment_epoch(source ? e->settings.source : e->settings.target);
    for (int kind = 0; kind < COVERAGE_KINDS; kind++)
        if ((kind != COVERAGE_SWEEP) == source) coverage_topology_changed(&e->coverages[kind]);
    engine_update_lanes(e);
}

/* ---- databases ---- */

void engine_set_databases(struct engine *e, const int *dbs, size_t n) {
    e->dbs = mem_array(e->dbs, n, sizeof(*dbs));
    if (n > 0) memcpy(e->dbs, dbs, n * sizeof(*dbs));
    e->n_dbs = n;
}

bool engine_add_database(struct engine *e, int db) {
    for (size_t i = 0; i < e->n_dbs; i++)
        if (e->dbs[i] == db) return false;
    e->dbs = mem_array(e->dbs, e->n_dbs + 1, sizeof(*e->dbs));
    e->dbs[e->n_dbs++] = db;
    return true;
}

const int *engine_databases(const struct engine *e, size_t *n) {
    *n = e->n_dbs;
    return e->dbs;
}

/* ---- figures ---- */

void engine_sum_stats(struct engine *e, struct copy_stats *sum) {
    *sum = (struct copy_stats){ 0 };
    for (int i = 0; i < e->n_workers; i++)
        copy_stats_sum(sum, lane_stats(worker_lane(e->workers[i])));
    stat_add(&sum->reconnects, atomic_load(&e->scan_reconnects));
}

uint64_t engine_scanned(const struct engine *e) {
    return atomic_load((_Atomic uint64_t *)&e->scanned);
}

uint64_t engine_scan_restarts(const struct engine *e) {
    return e->scan_restarts;
}

bool engine_names_arrived(const struct engine *e) {
    return atomic_load_explicit((_Atomic int64_t *)&e->in_transit, memory_order_acquire) == 0;
}

bool engine_is_idle(struct engine *e) {
    if (!engine_names_arrived(e)) return false;
    for (int i = 0; i < e->n_workers; i++) {
        const struct copy_stats *stats = lane_stats(worker_lane(e->workers[i]));
        if (atomic_load_explicit((_Atomic uint64_t *)&stats->waiting, memory_order_acquire) > 0)
            return false;
    }
    return true;
}

bool engine_is_busy(struct engine *e) {
    for (int i = 0; i < e->n_workers; i++)
        if (stat_get(&lane_stats(worker_lane(e->workers[i]))->waiting) > ENGINE_QUEUE_HIGH)
            return true;
    return atomic_load(&e->in_transit) > e->n_workers;
}

bool engine_is_full(struct engine *e) {
    for (int i = 0; i < e->n_workers; i++) {
        const struct copy_stats *stats = lane_stats(worker_lane(e->workers[i]));
        if (stat_get(&stats->waiting_bytes) > e->plan.names_bytes_max / 2) return true;
    }
    return false;
}

/* ---- marks ---- */

void engine_put_mark(struct engine *e, struct worker *here, int i, struct lane_mark *mark) {
    struct worker *worker = e->workers[i];
    if (worker == here) {
        lane_put_mark(worker_lane(worker), mark);
    } else {
        worker_put_mark(worker, mark);
    }
}

static void on_mark_reached(struct lane_mark *mark) {
    struct engine_marks *marks = mark->ctx;
    if (atomic_fetch_sub(&marks->left, 1) == 1) engine_wake(marks->engine);
}

void engine_put_marks(struct engine *e, struct engine_marks *marks) {
    if (marks->marks == NULL)
        marks->marks = mem_array(NULL, ENGINE_LANES_MAX, sizeof(struct lane_mark));
    marks->engine = e;
    atomic_store(&marks->left, e->n_workers);
    for (int i = 0; i < e->n_workers; i++) {
        marks->marks[i] = (struct lane_mark){ .reached = on_mark_reached, .ctx = marks };
        engine_put_mark(e, NULL, i, &marks->marks[i]);
    }
}

void engine_marks_fini(struct engine_marks *marks) {
    free(marks->marks);
    marks->marks = NULL;
}
