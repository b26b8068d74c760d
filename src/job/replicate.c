/* See replicate.h. */
#include "job/replicate.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "copy/window.h"
#include "job/replicate_priv.h"
#include "live/live.h"
#include "probe/functions.h"
#include "probe/preflight.h"
#include "probe/sides.h"
#include "server/demand.h"

enum {
    BATCH_KEYS_AUTO = 100,
    THREADS_AUTO_MAX = 8,
    LANE_BYTES_MIN = 1024 * 1024,
};

/* ---- called from worker threads ---- */

static void on_wake(void *ctx) {}

void job_wake(struct job *job) {
    loop_post(job->loop, on_wake, NULL);
}

void job_fail(struct job *job, const struct err *err) {
    pthread_mutex_lock(&job->lock);
    if (job->failed.code == ERR_NONE) job->failed = *err;
    pthread_mutex_unlock(&job->lock);
    job_wake(job);
}

static void on_lane_failed(void *ctx, const struct err *err) {
    job_fail(ctx, err);
}

static void on_refresh_wanted(void *ctx, struct deployment *side) {
    struct job *job = ctx;
    _Atomic bool *want = side == job->source ? &job->want_source : &job->want_target;
    if (!atomic_exchange(want, true)) job_wake(job);
}

/* ---- the plan ---- */

static int primaries_of(struct deployment *d) {
    struct topology *t = deployment_topology(d);
    int n = t->n_primaries;
    topology_unref(&t);
    return n;
}

/* One thread keeps several servers busy; more are worth it where there are more servers and
 * processors. */
static int choose_threads(struct job *job) {
    int threads = job->settings->threads;
    if (threads == 0) {
        int source = primaries_of(job->source), target = primaries_of(job->target);
        int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
        threads = source > target ? source : target;
        if (threads > cpus) threads = cpus;
        if (threads > THREADS_AUTO_MAX) threads = THREADS_AUTO_MAX;
    }
    if (threads > JOB_THREADS_MAX) threads = JOB_THREADS_MAX;
    return threads < 1 ? 1 : threads;
}

/* SCAN filters one type by itself from 6.0 on. */
static bool must_ask_types(const struct job *job) {
    size_t n = job->settings->filter->n_types;
    if (job->settings->live != NULL) return n > 0;
    return n > 1 ||
           (n == 1 && deployment_info(job->source)->redis_version < SERVER_VERSION(6, 0, 0));
}

/* What the source can say of a key's use depends on what it evicts by: OBJECT FREQ is refused
 * without an LFU policy, OBJECT IDLETIME with one. */
static enum copy_preserve preserve_of(const struct job *job) {
    if (!job->settings->copy.preserve_idle) return PRESERVE_NONE;
    return strstr(deployment_info(job->source)->maxmemory_policy, "lfu") != NULL ? PRESERVE_FREQ
                                                                                 : PRESERVE_IDLE;
}

/* All but what preflight finds out; see settle_plan(). */
static void make_plan(struct job *job) {
    const struct replicate_settings *s = job->settings;
    int threads = choose_threads(job);
    uint64_t lane_bytes = s->buffer_bytes / (uint64_t)threads;
    job->result->threads = threads;
    job->plan = (struct copy_plan){
        .source = job->source,
        .target = job->target,
        .filter = s->filter,
        .lanes = threads,
        .typed = must_ask_types(job),
        .no_ttl = s->copy.no_ttl,
        .preserve = preserve_of(job),
        .dry_run = s->copy.dry_run,
        .log_keys = s->copy.log_keys,
        .target_db = job->result->target_db,
        .batch_keys = s->copy.batch_keys > 0 ? s->copy.batch_keys : BATCH_KEYS_AUTO,
        .window_keys = s->copy.pipeline,
        .max_args = s->copy.max_args,
        .lane_bytes = lane_bytes < LANE_BYTES_MIN ? LANE_BYTES_MIN : lane_bytes,
        .mem_limit_bytes = s->copy.mem_limit_bytes,
        .big_key_bytes = s->copy.big_key_bytes,
        .merge = s->copy.merge,
        .no_stream_id = s->copy.no_stream_id,
        .stream_prune = s->copy.stream_prune,
        .rate = s->rate / threads,
        .outage_timeout_ms = s->copy.outage_timeout_ms,
        .giveup = job->result->giveup,
        .request_refresh = on_refresh_wanted,
        .on_failed = on_lane_failed,
        .ctx = job,
    };
    if (s->live != NULL) {
        job->plan.live = true;
        job->plan.names_bytes_max = s->buffer_bytes / 2 / (uint64_t)threads;
        job->plan.may_write = live_may_write;
        job->plan.gather_ms = live_gather_ms;
        job->plan.gap_since_ms = live_gap_since_ms;
        job->plan.on_missing = live_on_missing;
        job->plan.is_swept = live_is_swept;
        job->plan.on_losses = live_on_losses;
    }
    /* A window that is given, or that batches are too large for, does not grow. */
    bool fixed = s->copy.pipeline > 0 || job->plan.batch_keys > WINDOW_KEYS_BASE;
    if (fixed && job->plan.window_keys < job->plan.batch_keys)
        job->plan.window_keys = job->plan.batch_keys;
}

/* Before any key is named. */
static void settle_plan(struct job *job) {
    const struct replicate_result *r = job->result;
    const int *dbs = r->target_db >= 0 ? &r->target_db : r->dbs;
    size_t n = r->target_db >= 0 ? 1 : r->n_dbs;
    job->clean_dbs = mem_array(NULL, n, sizeof(*dbs));
    memcpy(job->clean_dbs, dbs, n * sizeof(*dbs));
    job->plan.target_dbs = job->clean_dbs;
    job->plan.n_target_dbs = n;
    job->plan.can = job->can;
    job->plan.structured = job->settings->copy.structured || !job->can.dump;
}

/* ---- progress ---- */

void job_sum_stats(struct job *job, struct copy_stats *sum) {
    *sum = (struct copy_stats){ 0 };
    for (int i = 0; i < job->n_workers; i++)
        copy_stats_sum(sum, lane_stats(worker_lane(job->workers[i])));
    stat_add(&sum->reconnects, atomic_load(&job->scan_reconnects));
}

static void report_progress(struct job *job, const char *phase) {
    if (job->on_progress == NULL) return;
    struct replicate_progress progress = { .phase = phase,
                                           .keys_total = job->result->keys_total,
                                           .scanned = atomic_load(&job->scanned) };
    job_sum_stats(job, &progress.stats);
    if (job->live != NULL) live_tell_progress(job->live, &progress);
    job->on_progress(job->progress_ctx, &progress);
}

static void on_progress_timer(void *ctx) {
    struct job *job = ctx;
    report_progress(job, "copy");
    loop_timer_start(job->progress_timer, JOB_PROGRESS_MS);
}

static void count_from(void *ctx, struct bytes info) {
    struct replicate_result *r = ctx;
    for (size_t d = 0; d < r->n_dbs; d++) {
        uint64_t keys, expires;
        info_keyspace(info, r->dbs[d], &keys, &expires);
        r->keys_total += keys;
    }
}

/* Keys of the databases that are copied, by INFO; an estimate for people. A snapshot of one server
 * has read it just now. */
static void count_keys(struct job *job) {
    struct err ignored;
    if (job->live == NULL && !deployment_is_cluster(job->source)) {
        count_from(job->result, deployment_info_text(job->source));
    } else {
        deployment_primaries_info(job->source, count_from, job->result, &ignored);
    }
}

/* ---- topology ---- */

static void look_at(struct job *job, struct deployment *side, _Atomic bool *want,
                    int64_t *refreshed_ms, uint64_t *epoch) {
    int64_t now_ms = clock_mono_ms();
    bool moves = deployment_is_cluster(side) ||
                 (job->live != NULL && strcmp(deployment_kind(side), "sentinel") == 0);
    bool watch = (side == job->source || job->live != NULL) && moves &&
                 now_ms - *refreshed_ms >= JOB_WATCH_MS;
    int64_t asked_us = clock_mono_us();
    bool asked = false;
    if ((watch || atomic_load(want)) && now_ms - *refreshed_ms >= JOB_REFRESH_MIN_MS) {
        struct err err;
        atomic_store(want, false);
        bool ok = deployment_refresh(side, &err);
        *refreshed_ms = clock_mono_ms();
        asked = ok;
        if (!ok && err.code != ERR_INTERRUPTED) log_debug(err.place, "%s", err.text);
        if (!ok && side == job->source) job->source_down = err;
        if (side == job->source)
            job->source_down_since_ms = ok                               ? 0
                                        : job->source_down_since_ms != 0 ? job->source_down_since_ms
                                                                         : now_ms;
    }
    uint64_t now = deployment_epoch(side);
    if (now != *epoch) {
        *epoch = now;
        log_info(deployment_role(side), "the topology changed: %d primaries", primaries_of(side));
        coverage_topology_changed(side == job->source ? &job->forward : &job->backward);
        if (side == job->source) coverage_topology_changed(&job->streams);
        for (int i = 0; i < job->n_workers; i++) worker_update(job->workers[i]);
        if (job->live != NULL) live_topology_changed(job->live, side == job->source);
    }
    if (asked && side == job->source && job->live != NULL) live_topology_seen(job->live, asked_us);
}

/* ---- running ---- */

static bool job_failed(struct job *job, struct err *err) {
    pthread_mutex_lock(&job->lock);
    bool failed = job->failed.code != ERR_NONE;
    if (failed) *err = job->failed;
    pthread_mutex_unlock(&job->lock);
    return failed;
}

static bool nothing_waits(struct job *job) {
    if (atomic_load_explicit(&job->in_transit, memory_order_acquire) > 0) return false;
    for (int i = 0; i < job->n_workers; i++) {
        const struct copy_stats *stats = lane_stats(worker_lane(job->workers[i]));
        if (atomic_load_explicit((_Atomic uint64_t *)&stats->waiting, memory_order_acquire) > 0)
            return false;
    }
    return true;
}

/* An interrupted job finishes what is in flight, within bounds, so that its figures are true. */
static void settle(struct job *job) {
    int64_t deadline_ms = clock_mono_ms() + JOB_DRAIN_MS;
    coverage_abort(&job->forward);
    coverage_abort(&job->backward);
    coverage_abort(&job->streams);
    for (int i = 0; i < job->n_workers; i++) worker_stop_lane(job->workers[i]);
    for (;;) {
        struct copy_stats sum;
        job_sum_stats(job, &sum);
        if (stat_get(&sum.in_flight) == 0 || clock_mono_ms() >= deadline_ms) return;
        loop_run_once(job->loop, JOB_ROUND_MS);
    }
}

static bool source_gone_too_long(struct job *job, struct err *err) {
    int64_t limit_ms = job->settings->copy.outage_timeout_ms;
    if (job->source_down_since_ms == 0 || limit_ms == 0) return false;
    int64_t gone_ms = clock_mono_ms() - job->source_down_since_ms;
    if (gone_ms < limit_ms) return false;
    err_set(err, ERR_OUTAGE, job->source_down.place,
            "unreachable for %lld s, longer than --outage-timeout allows: %s",
            (long long)gone_ms / 1000, job->source_down.text);
    return true;
}

static void look_at_both(struct job *job) {
    look_at(job, job->source, &job->want_source, &job->source_refreshed_ms, &job->source_epoch);
    look_at(job, job->target, &job->want_target, &job->target_refreshed_ms, &job->target_epoch);
}

static bool run_live(struct job *job, struct err *err) {
    for (;;) {
        bool ended;
        if (job_failed(job, err) || source_gone_too_long(job, err)) return false;
        look_at_both(job);
        if (!live_step(job->live, *job->stop, &ended, err)) return false;
        if (ended) return !job_failed(job, err);
        loop_run_once(job->loop, JOB_ROUND_MS);
    }
}

static bool run_to_the_end(struct job *job, struct err *err) {
    bool covered = false;
    for (;;) {
        if (*job->stop)
            return err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
        if (job_failed(job, err) || source_gone_too_long(job, err)) return false;
        look_at_both(job);
        if (!covered) covered = coverage_step(&job->forward);
        if (covered && nothing_waits(job)) return !job_failed(job, err);
        loop_run_once(job->loop, covered ? 1 : JOB_ROUND_MS);
    }
}

/* They connect; what they do is begun by begin_workers(). */
static bool start_workers(struct job *job, struct err *err) {
    make_plan(job);
    if (!demand_is_met(job->source, job->target, job->result->threads, err)) return false;
    job->source_epoch = deployment_epoch(job->source);
    job->target_epoch = deployment_epoch(job->target);
    for (int i = 0; i < job->plan.lanes; i++) {
        job->workers[i] = worker_start(&job->plan, i, err);
        if (job->workers[i] == NULL) return false;
        job->n_workers++;
    }
    return true;
}

static void begin_workers(struct job *job) {
    settle_plan(job);
    for (int i = 0; i < job->n_workers; i++) worker_begin(job->workers[i], &job->in_transit);
}

static void end_workers(struct job *job) {
    job_sum_stats(job, &job->result->stats);
    job->result->scanned = atomic_load(&job->scanned);
    for (int i = 0; i < job->n_workers; i++) worker_stop(job->workers[i]);
    for (int i = 0; i < job->n_workers; i++) worker_free(&job->workers[i]);
    free(job->clean_dbs);
}

/* Which databases, and where to; fills the result. */
static bool choose_databases(struct job *job, struct err *err) {
    const struct replicate_settings *s = job->settings;
    struct replicate_result *r = job->result;
    const struct endpoint *to = deployment_endpoint(job->target);
    bool several = s->all_databases || s->n_dbs > 0;
    if (several && to->db_named && to->db != 0)
        return err_set(
            err, ERR_USAGE, "--databases",
            "the target names database %d; each is copied to its own number, so leave it out",
            to->db);
    r->target_db = several ? -1 : to->db;
    return preflight_databases(job->source, s->all_databases, s->dbs, s->n_dbs, &r->dbs, &r->n_dbs,
                               err);
}

static bool copy_functions(struct job *job, struct err *err) {
    if (job->settings->no_functions) return true;
    struct replicate_result *r = job->result;
    return functions_copy(job->source, job->target, r->giveup, &r->functions, &r->functions_refused,
                          err);
}

/* A step before the copy, done again when a connection broke under it. */
static bool step(struct job *job, bool (*fn)(struct job *, struct err *), struct err *err) {
    int tries = 0;
    struct err last;
    while (!fn(job, &last)) {
        if (call_again(job->loop, &last, &tries)) continue;
        *err = last;
        return false;
    }
    return true;
}

static bool check_both(struct job *job, struct err *err) {
    const struct replicate_result *r = job->result;
    return preflight_check(job->source, job->target, r->dbs, r->n_dbs, r->target_db,
                           job->settings->copy.dry_run, &job->can, err);
}

static bool check_sides(struct job *job, struct err *err) {
    const struct replicate_result *r = job->result;
    bool other = preflight_other_database(job->source, r->dbs, r->n_dbs, r->target_db);
    return sides_check(job->source, job->target, other, err);
}

/* May this pass by itself? A standby takes over in the middle of trouble. */
static bool may_pass(const struct job *job, const struct err *err) {
    enum err_class class = err_class_of(err->code);
    if (job->settings->live == NULL) return false;
    return class == ERR_CLASS_HERE ||
           (class == ERR_CLASS_WAIT && job->live != NULL && live_is_resumed(job->live));
}

/* A live job waits for what may pass, also before it has begun. */
static bool patiently(struct job *job, bool (*fn)(struct job *, struct err *), struct err *err) {
    int64_t since_ms = clock_mono_ms(), limit_ms = job->settings->copy.outage_timeout_ms,
            told_ms = 0;
    while (!step(job, fn, err)) {
        int64_t now_ms = clock_mono_ms();
        struct err ignored;
        if (!may_pass(job, err) || (limit_ms > 0 && now_ms - since_ms >= limit_ms)) return false;
        if (now_ms - told_ms >= JOB_TELL_MS) log_warn(err->place, "%s; waiting", err->text);
        if (now_ms - told_ms >= JOB_TELL_MS) told_ms = now_ms;
        for (int64_t until_ms = now_ms + JOB_AGAIN_MS; clock_mono_ms() < until_ms && !*job->stop;)
            loop_run_once(job->loop, JOB_ROUND_MS);
        if (*job->stop)
            return err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
        deployment_refresh(job->source, &ignored);
        deployment_refresh(job->target, &ignored);
    }
    err_clear(err); /* of tries that failed */
    return true;
}

static bool choose_capture(struct job *job, struct err *err) {
    return live_choose_capture(job->live, err);
}

/* All that is asked and done before the copy itself. Meanwhile the lanes of a snapshot connect: to
 * a far server that takes as long as all the questions. Those of a live job have a name of their
 * own, and wait until it holds the lease. */
static bool prepare(struct job *job, struct err *err) {
    const struct replicate_settings *s = job->settings;
    if (!patiently(job, choose_databases, err)) return false;
    if (s->live != NULL && !patiently(job, check_sides, err)) return false;
    if (s->live == NULL && !start_workers(job, err)) return false;
    if (s->live != NULL && live_new(job, err) == NULL) return false;
    if (s->live != NULL && !patiently(job, choose_capture, err)) return false;
    if (!patiently(job, check_both, err)) return false;
    if (s->copy.mem_limit_bytes > 0 && !job->can.source_memory_usage)
        return err_set(err, ERR_UNSUPPORTED, "--mem-limit",
                       "the source refuses MEMORY USAGE, so that sizes cannot be known");
    return s->copy.dry_run || patiently(job, copy_functions, err);
}

static void start_snapshot(struct job *job) {
    struct slot_set all = job_slots(job);
    coverage_open(&job->forward, -1, &all, true);
    coverage_step(&job->forward);
    count_keys(job); /* while the passes connect */
}

static bool copy_until_done(struct job *job, struct err *err) {
    if (job->live != NULL && !start_workers(job, err)) return false;
    begin_workers(job);
    if (job->live != NULL) {
        live_start(job->live);
        return run_live(job, err);
    }
    start_snapshot(job);
    return run_to_the_end(job, err);
}

static bool run_prepared(struct job *job, struct err *err) {
    if (job->live != NULL) {
        count_keys(job);
        deployment_set_persistent(job->source);
        deployment_set_persistent(job->target);
    }
    coverage_init(&job->forward, job, COVERAGE_FORWARD);
    coverage_init(&job->backward, job, COVERAGE_BACKWARD);
    coverage_init(&job->streams, job, COVERAGE_STREAMS);
    job->result->began = true;
    loop_timer_start(job->progress_timer, JOB_PROGRESS_MS);
    bool ok = copy_until_done(job, err);
    if (job->live != NULL) live_stop(job->live);
    if (!ok && job->n_workers > 0) settle(job);
    job->result->complete = ok;
    loop_timer_stop(job->progress_timer);
    report_progress(job, "copy");
    if (job->live != NULL) live_save(job->live, ok);
    return ok;
}

static bool run_job(struct job *job, struct err *err) {
    bool ok = prepare(job, err) && run_prepared(job, err);
    end_workers(job);
    passes_fini(job);
    live_free(&job->live);
    return ok;
}

bool replicate_run(struct deployment *source, struct deployment *target,
                   const struct replicate_settings *settings, replicate_progress_fn *on_progress,
                   void *ctx, const volatile bool *stop, struct replicate_result *result,
                   struct err *err) {
    *result = (struct replicate_result){ .target_db = -1 };
    struct job *job = mem_zalloc(sizeof(*job));
    int64_t started_ms = clock_mono_ms();
    job->loop = deployment_loop(source);
    job->source = source;
    job->target = target;
    job->settings = settings;
    job->stop = stop;
    job->result = result;
    job->on_progress = on_progress;
    job->progress_ctx = ctx;
    result->giveup = giveup_new();
    pthread_mutex_init(&job->lock, NULL);
    job->progress_timer = loop_timer_new(job->loop, on_progress_timer, job);
    bool ok = run_job(job, err);
    result->duration_ms = clock_mono_ms() - started_ms;
    loop_timer_free(&job->progress_timer);
    pthread_mutex_destroy(&job->lock);
    free(job);
    return ok;
}

void replicate_result_fini(struct replicate_result *result) {
    free(result->dbs);
    giveup_free(&result->giveup);
}
