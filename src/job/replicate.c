/* See replicate.h. */
#include "job/replicate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "copy/window.h"
#include "engine/coverage.h"
#include "job/job_priv.h"
#include "job/journal.h"
#include "probe/functions.h"
#include "probe/preflight.h"
#include "probe/sides.h"
#include "server/demand.h"
#include "store/job_store.h"

enum {
    BATCH_KEYS_AUTO = 100,
    LANE_BYTES_MIN = 1024 * 1024,
    JOB_POLL_MS = 1000, /* a topology that can change by itself is asked for this often */
    JOB_PROGRESS_MS = 100,
    JOB_RETRY_MS = 500,      /* between two tries of a step before the copy */
    JOB_TELL_MS = 10 * 1000, /* between two lines of log about the same trouble */
    JOB_FUNCTIONS_MS = 1000, /* between two tries to copy functions */
};

/* ---- figures ---- */

static void job_report_progress(struct job *job) {
    job_fill_facts(job);
    if (job->on_progress != NULL) job->on_progress(job->progress_ctx, &job->result->facts);
}

static void on_progress_timer(void *ctx) {
    struct job *job = ctx;
    job_report_progress(job);
    loop_timer_start(job->progress_timer, JOB_PROGRESS_MS);
}

/* Keys of the databases of the job, on the source or on the target. */
static uint64_t job_sum_keys(const struct job *job, struct bytes info, bool source) {
    const struct replicate_result *r = job->result;
    uint64_t sum = 0;
    for (size_t d = 0; d < r->n_dbs; d++) {
        uint64_t keys, expires;
        info_keyspace(info, source || r->target_db < 0 ? r->dbs[d] : r->target_db, &keys, &expires);
        sum += keys;
    }
    return sum;
}

static void count_source_from(void *ctx, struct bytes info) {
    struct job *job = ctx;
    job->keys_total += job_sum_keys(job, info, true);
}

static void count_target_from(void *ctx, struct bytes info) {
    struct job *job = ctx;
    job->target_keys += job_sum_keys(job, info, false);
}

/* Keys of the databases that are copied, by INFO; an estimate for people. A snapshot of one server
 * has read it just now. */
static void job_count_keys(struct job *job) {
    struct err ignored;
    if (job->live == NULL && !deployment_is_cluster(job->source)) {
        count_source_from(job, deployment_info_text(job->source));
    } else {
        deployment_primaries_info(job->source, count_source_from, job, &ignored);
    }
}

/* ---- the plan ---- */

/* SCAN filters one type by itself from 6.0 on. */
static bool job_must_ask_types(const struct job *job) {
    size_t n = job->settings->filter->n_types;
    if (job->settings->live != NULL) return n > 0;
    bool old = deployment_info(job->source)->redis_version < SERVER_VERSION(6, 0, 0);
    return n > 1 || (n == 1 && old);
}

/* OBJECT FREQ is refused without an LFU policy, OBJECT IDLETIME with one. */
static enum copy_preserve job_preserve(const struct job *job) {
    const char *policy = deployment_info(job->source)->maxmemory_policy;
    if (!job->settings->copy.preserve_idle) return PRESERVE_NONE;
    return strstr(policy, "lfu") != NULL ? PRESERVE_FREQ : PRESERVE_IDLE;
}

/* Fills in all of the plan but the members that preflight finds out; see job_begin(). */
static void job_fill_plan(struct job *job) {
    const struct replicate_settings *s = job->settings;
    struct copy_plan *plan = engine_plan(job->engine);
    uint64_t lane_bytes = s->buffer_bytes / (uint64_t)plan->lanes;
    plan->typed = job_must_ask_types(job);
    plan->no_ttl = s->copy.no_ttl;
    plan->preserve = job_preserve(job);
    plan->dry_run = s->copy.dry_run;
    plan->log_keys = s->copy.log_keys;
    plan->batch_keys = s->copy.batch_keys > 0 ? s->copy.batch_keys : BATCH_KEYS_AUTO;
    plan->window_keys = s->copy.pipeline;
    plan->max_args = s->copy.max_args;
    plan->lane_bytes = lane_bytes < LANE_BYTES_MIN ? LANE_BYTES_MIN : lane_bytes;
    plan->mem_limit_bytes = s->copy.mem_limit_bytes;
    plan->big_key_bytes = s->copy.big_key_bytes;
    plan->merge = s->copy.merge;
    plan->no_stream_id = s->copy.no_stream_id;
    plan->stream_prune = s->copy.stream_prune;
    plan->rate = s->rate / plan->lanes;
    plan->giveup = job->result->giveup;
    if (s->live != NULL) {
        live_fill_plan(plan);
        plan->names_bytes_max = s->buffer_bytes / 2 / (uint64_t)plan->lanes;
    }
    /* A window that is given, or that batches are too large for, does not grow. */
    bool fixed = s->copy.pipeline > 0 || plan->batch_keys > WINDOW_KEYS_BASE;
    if (fixed && plan->window_keys < plan->batch_keys) plan->window_keys = plan->batch_keys;
}

static bool job_start_engine(struct job *job, struct err *err) {
    const struct replicate_settings *s = job->settings;
    const struct engine_settings settings = { .source = job->source,
                                              .target = job->target,
                                              .filter = s->filter,
                                              .target_db = job->result->target_db,
                                              .threads = s->threads,
                                              .scan_count = s->scan_count,
                                              .sleep_ms = s->sleep_ms,
                                              .outage_timeout_ms = s->copy.outage_timeout_ms,
                                              .buffer_bytes = s->buffer_bytes,
                                              .live = s->live != NULL };
    job->engine = engine_new(&settings);
    engine_set_databases(job->engine, job->result->dbs, job->result->n_dbs);
    job_fill_plan(job);
    job->result->threads = engine_plan(job->engine)->lanes;
    if (!demand_is_met(job->source, job->target, job->result->threads, err)) return false;
    return engine_start(job->engine, err);
}

/* Before any key is named. */
static void job_begin(struct job *job) {
    struct copy_plan *plan = engine_plan(job->engine);
    plan->can = job->can;
    plan->structured = job->settings->copy.structured || !job->can.dump;
    engine_begin(job->engine);
}

/* ---- topology ---- */

static void job_topology_changed(struct job *job, bool source, const struct topology *now) {
    log_info(source ? "source" : "target", "the topology changed: %d primaries", now->n_primaries);
    if (job->engine == NULL) return;
    engine_topology_changed(job->engine, source);
    if (job->live != NULL) live_topology_changed(job->live, source);
    if (job->journal != NULL && !source) journal_topology_changed(job->journal);
}

static void on_source_changed(void *ctx, const struct topology *before, const struct topology *now,
                              int64_t asked_us) {
    job_topology_changed(ctx, true, now);
}

static void on_target_changed(void *ctx, const struct topology *before, const struct topology *now,
                              int64_t asked_us) {
    job_topology_changed(ctx, false, now);
}

/* The moment of the question, from the monotonic time that the sight keeps; older rather than
 * newer. */
static void on_source_seen(void *ctx, int64_t asked_us) {
    struct job *job = ctx;
    struct moment now = moment_now();
    int64_t back_us = clock_mono_us() - asked_us;
    if (job->live != NULL)
        live_topology_seen(job->live,
                           (struct moment){ now.boot_us - back_us, now.wall_us - back_us });
}

static struct sight *job_new_sight(struct job *job, struct deployment *side,
                                   const struct sight_events *events) {
    bool live = job->settings->live != NULL, source = side == job->source;
    bool moves =
        deployment_is_cluster(side) || (live && strcmp(deployment_kind(side), "sentinel") == 0);
    const struct sight_settings settings = {
        .pause_ms = SIGHT_PAUSE_MS,
        .poll_ms = moves && (source || live) ? JOB_POLL_MS : 0,
        .outage_timeout_ms = source ? job->settings->copy.outage_timeout_ms : 0
    };
    return sight_new(side, &settings, events, job);
}

static void job_open_sights(struct job *job) {
    static const struct sight_events source = { on_source_changed, on_source_seen };
    static const struct sight_events target = { on_target_changed, NULL };
    job->source_sight = job_new_sight(job, job->source, &source);
    job->target_sight = job_new_sight(job, job->target, &target);
}

static void job_step_sights(struct job *job) {
    if (engine_takes_refresh(job->engine, true)) sight_want(job->source_sight);
    if (engine_takes_refresh(job->engine, false)) sight_want(job->target_sight);
    sight_step(job->source_sight);
    sight_step(job->target_sight);
}

/* ---- running ---- */

static bool job_has_failed(struct job *job, struct err *err) {
    return engine_has_failed(job->engine, err) || sight_outage(job->source_sight, err);
}

static bool job_wants_functions(struct job *job) {
    if (live_takes_function_change(job->live)) job->functions_wanted = true;
    return job->functions_wanted && !job->settings->no_functions;
}

/* Also while a stopped job drains, when the request to stop interrupts no call any more. */
static void job_copy_functions_again(struct job *job) {
    struct replicate_result *r = job->result;
    struct err err;
    if (!job_wants_functions(job) || clock_mono_ms() < job->functions_ms) return;
    bool stopping = *job->stop;
    const volatile bool *interrupt = stopping ? call_set_interrupt(NULL) : NULL;
    job->functions_wanted = !functions_copy(job->source, job->target, true, r->giveup,
                                            &r->functions, &r->functions_refused, &err);
    if (stopping) call_set_interrupt(interrupt);
    if (!job->functions_wanted || err.code == ERR_INTERRUPTED) return;
    job->functions_ms = clock_mono_ms() + JOB_FUNCTIONS_MS;
    log_debug(err.place, "functions: %s", err.text);
}

static bool job_run_live(struct job *job, struct err *err) {
    for (;;) {
        bool ended;
        if (job_has_failed(job, err)) return false;
        if (job->lease_lost) return err_set(err, ERR_LEASE, "job", "%s", err_sentence(ERR_LEASE));
        job_step_sights(job);
        job_copy_functions_again(job);
        live_hold_end(job->live, job_wants_functions(job));
        if (!live_step(job->live, *job->stop, &ended, err)) return false;
        journal_step(job->journal);
        if (ended && !job_wants_functions(job)) return !job_has_failed(job, err);
        loop_run_once(job->loop, ENGINE_ROUND_MS);
    }
}

static bool job_run_snapshot(struct job *job, struct err *err) {
    struct coverage *forward = engine_coverage(job->engine, COVERAGE_FORWARD);
    bool covered = false;
    for (;;) {
        if (*job->stop)
            return err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
        if (job_has_failed(job, err)) return false;
        job_step_sights(job);
        if (!covered) covered = coverage_step(forward);
        if (covered && engine_is_idle(job->engine)) return !job_has_failed(job, err);
        loop_run_once(job->loop, covered ? 1 : ENGINE_ROUND_MS);
    }
}

/* ---- before the copy ---- */

/* Which databases, and where to; fills the result. */
static bool job_choose_databases(struct job *job, struct err *err) {
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

/* A live job tries again later, beside the keys, where an operator must act first. */
static bool job_copy_functions(struct job *job, struct err *err) {
    struct replicate_result *r = job->result;
    bool live = job->settings->live != NULL;
    if (job->settings->no_functions) return true;
    if (functions_copy(job->source, job->target, live, r->giveup, &r->functions,
                       &r->functions_refused, err))
        return true;
    if (!live || err_class_of(err->code) != ERR_CLASS_WAIT) return false;
    log_warn(err->place, "function libraries are copied later: %s", err->text);
    job->functions_wanted = true;
    return true;
}

static bool job_check_sides(struct job *job, struct err *err) {
    const struct replicate_result *r = job->result;
    bool other = preflight_other_database(job->source, r->dbs, r->n_dbs, r->target_db);
    return sides_check(job->source, job->target, other, err);
}

static bool job_check_both(struct job *job, struct err *err) {
    const struct replicate_result *r = job->result;
    bool snapshot = job->settings->live == NULL;
    struct preflight preflight = { .dbs = r->dbs,
                                   .n_dbs = r->n_dbs,
                                   .target_db = r->target_db,
                                   .dry_run = job->settings->copy.dry_run,
                                   .record_key = snapshot ? job_store_record_key : NULL };
    if (!preflight_check(job->source, job->target, &preflight, err)) return false;
    job->can = preflight.can;
    job->others_known = preflight.source_has_records || preflight.target_has_records;
    return true;
}

/* A live job has done so when it opened its journal. */
static bool job_check_others(struct job *job, struct err *err) {
    struct others others = { 0 };
    bool ok =
        others_check_snapshot(job->source, job->target, &job->settings->purpose, &others, err) &&
        others_supersede(&others, job->target, err);
    others_fini(&others);
    return ok;
}

static bool job_choose_capture(struct job *job, struct err *err) {
    return capture_choose(job->source, job->settings->live->capture, &job->capture, err);
}

/* A step before the copy, done again when a connection broke under it. */
static bool job_try(struct job *job, bool (*fn)(struct job *, struct err *), struct err *err) {
    int tries = 0;
    struct err last;
    while (!fn(job, &last)) {
        if (call_again(job->loop, &last, &tries)) continue;
        *err = last;
        return false;
    }
    return true;
}

/* True for errors that may go away without an operator. A resumed job also waits for WAIT errors: a
 * standby takes over in the middle of an outage. */
static bool job_may_pass(const struct job *job, const struct err *err) {
    enum err_class class = err_class_of(err->code);
    if (job->settings->live == NULL) return false;
    return class == ERR_CLASS_HERE ||
           (class == ERR_CLASS_WAIT && job->journal != NULL && journal_is_resumed(job->journal));
}

/* A live job waits for the end of trouble that may pass, also before the job has begun. */
static bool job_try_patiently(struct job *job, bool (*fn)(struct job *, struct err *),
                              struct err *err) {
    int64_t since_ms = clock_mono_ms(), told_ms = 0;
    int64_t limit_ms = job->settings->copy.outage_timeout_ms;
    while (!job_try(job, fn, err)) {
        int64_t now_ms = clock_mono_ms();
        struct err ignored;
        if (!job_may_pass(job, err) || (limit_ms > 0 && now_ms - since_ms >= limit_ms))
            return false;
        if (now_ms - told_ms >= JOB_TELL_MS) {
            log_warn(err->place, "%s; waiting", err->text);
            told_ms = now_ms;
        }
        loop_pause(job->loop, JOB_RETRY_MS, job->stop);
        if (*job->stop)
            return err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
        deployment_refresh(job->source, &ignored);
        deployment_refresh(job->target, &ignored);
    }
    err_clear(err); /* of tries that failed */
    return true;
}

static bool job_open_journal(struct job *job, struct err *err) {
    job->journal = journal_open(job, err);
    return job->journal != NULL;
}

static bool job_supersede(struct job *job, struct err *err) {
    return journal_supersede(job->journal, err);
}

/* A live job asks everything before it may write anything to either side. */
static bool job_prepare_live(struct job *job, struct err *err) {
    return job_try_patiently(job, job_check_sides, err) &&
           job_try_patiently(job, job_open_journal, err) &&
           job_try_patiently(job, job_choose_capture, err) &&
           job_try_patiently(job, job_check_both, err) &&
           job_try_patiently(job, job_supersede, err);
}

/* Everything that is asked and done before the copy itself. Meanwhile the lanes of a snapshot
 * connect: to a far server that takes as long as all the questions. Those of a live job have a name
 * of their own, and wait until it holds the lease. */
static bool job_prepare(struct job *job, struct err *err) {
    const struct replicate_settings *s = job->settings;
    if (!job_try_patiently(job, job_choose_databases, err)) return false;
    if (s->live != NULL) {
        if (!job_prepare_live(job, err)) return false;
    } else if (!job_start_engine(job, err) || !job_try(job, job_check_both, err) ||
               (job->others_known && !job_try(job, job_check_others, err))) {
        return false;
    }
    if (s->copy.mem_limit_bytes > 0 && !job->can.source_memory_usage)
        return err_set(err, ERR_UNSUPPORTED, "--mem-limit",
                       "the source refuses MEMORY USAGE, so that sizes cannot be known");
    return s->copy.dry_run || job_try_patiently(job, job_copy_functions, err);
}

/* ---- the copy ---- */

static bool job_count_target(struct job *job, struct err *err) {
    job->target_keys = 0;
    return deployment_primaries_info(job->target, count_target_from, job, err);
}

static bool job_load_extra(struct job *job, struct err *err) {
    return journal_load_extra(job->journal, live_extra(job->live), err);
}

static bool job_start_live(struct job *job, struct err *err) {
    const struct live_settings *s = job->settings->live;
    struct live_hooks hooks = { .events = &job->events };
    const struct live_options options = { .capture = job->capture,
                                          .only = s->only,
                                          .all_databases = job->settings->all_databases,
                                          .resync_whole = s->resync_whole,
                                          .poll_ms = s->poll_ms,
                                          .gather_ms = s->gather_ms,
                                          .idle_timeout_ms = s->idle_timeout_ms,
                                          .max_delete_percent = s->max_delete_percent,
                                          .extra = s->extra,
                                          .spool_dir = s->state_dir,
                                          .epoch = journal_epoch(job->journal) };
    journal_fill_hooks(job->journal, &hooks);
    if (!job_try_patiently(job, job_count_target, err)) return false;
    job->live = live_new(job->engine, &options, &hooks, journal_memory(job->journal));
    if (!job_try_patiently(job, job_load_extra, err)) return false;
    job_count_keys(job);
    live_start(job->live, job->target_keys);
    journal_start(job->journal);
    if (s->release_deletions) live_release_all(job->live);
    return true;
}

/* Both sides let longhaul in a moment ago: from here on, a login that is refused is waited out, by
 * every connection that is opened. */
static bool job_copy_live(struct job *job, struct err *err) {
    deployment_set_persistent(job->source);
    deployment_set_persistent(job->target);
    if (!job_start_engine(job, err)) return false;
    job_begin(job);
    bool ok = job_start_live(job, err) && job_run_live(job, err);
    if (job->live == NULL) return false;
    job_fill_facts(job);
    journal_fill(job->journal);
    live_stop(job->live);
    return ok;
}

static bool job_copy_snapshot(struct job *job, struct err *err) {
    struct coverage *forward = engine_coverage(job->engine, COVERAGE_FORWARD);
    struct slot_set slots = engine_job_slots(job->engine);
    job_begin(job);
    coverage_open(forward, COVERAGE_ALL_DATABASES, &slots, true);
    coverage_step(forward);
    job_count_keys(job); /* while the passes connect */
    return job_run_snapshot(job, err);
}

static void job_take_databases(struct job *job) {
    struct replicate_result *r = job->result;
    size_t n;
    const int *dbs = engine_databases(job->engine, &n);
    r->dbs = mem_array(r->dbs, n, sizeof(*dbs));
    memcpy(r->dbs, dbs, n * sizeof(*dbs));
    r->n_dbs = n;
}

static bool job_copy(struct job *job, struct err *err) {
    struct replicate_result *r = job->result;
    bool live = job->settings->live != NULL;
    r->began = true;
    loop_timer_start(job->progress_timer, JOB_PROGRESS_MS);
    bool ok = live ? job_copy_live(job, err) : job_copy_snapshot(job, err);
    if (!ok) engine_drain(job->engine);
    loop_timer_stop(job->progress_timer);
    job_report_progress(job);
    job_take_databases(job);
    r->complete = ok;
    r->scan_restarts = engine_scan_restarts(job->engine);
    if (live && job->live != NULL) {
        struct live_state s = live_look(job->live);
        r->idle = s.ended_idle;
        r->only = job->settings->live->only;
        snprintf(r->job, sizeof(r->job), "%s", journal_job(job->journal));
        snprintf(r->capture, sizeof(r->capture), "%s", feed_kind_name(job->capture.kind));
        journal_end(job->journal, r->idle ? PHASE_ENDED : PHASE_STOPPED);
    }
    return ok;
}

static void job_close(struct job *job) {
    if (job->engine != NULL) engine_stop(job->engine);
    live_free(&job->live);
    engine_free(&job->engine);
    journal_free(&job->journal);
    sight_free(&job->source_sight);
    sight_free(&job->target_sight);
    loop_timer_free(&job->progress_timer);
}

bool replicate_run(struct deployment *source, struct deployment *target,
                   const struct replicate_settings *settings, replicate_progress_fn *on_progress,
                   void *ctx, const volatile bool *stop, struct replicate_result *result,
                   struct err *err) {
    struct job *job = mem_zalloc(sizeof(*job));
    int64_t started_ms = clock_mono_ms();
    *result = (struct replicate_result){ .target_db = -1, .giveup = giveup_new() };
    job->loop = deployment_loop(source);
    job->source = source;
    job->target = target;
    job->settings = settings;
    job->stop = stop;
    job->result = result;
    job->on_progress = on_progress;
    job->progress_ctx = ctx;
    job->progress_timer = loop_timer_new(job->loop, on_progress_timer, job);
    job_open_sights(job);
    bool ok = job_prepare(job, err) && job_copy(job, err);
    job_close(job);
    free(job);
    result->duration_ms = clock_mono_ms() - started_ms;
    return ok;
}

void replicate_result_fini(struct replicate_result *result) {
    free(result->dbs);
    giveup_free(&result->giveup);
}
