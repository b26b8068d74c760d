/* See live.h. Gaps and the watermark:
 *
 *   live_gap(): limit_us = the beginning of the oldest gap; the slots wait with their node, then in the forward coverage;
 *   live_gap_behind(): the slots wait for a backward round
 *        everything read again ──▶ settled_us = now ──▶ barriers sent after it have passed ──▶ limit_us = none
 *
 * All gaps are closed together: simpler, and never too early. */
#include "live/live.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "live/live_priv.h"
#include "probe/functions.h"

/* ---- times ---- */

int64_t live_to_wall_us(int64_t mono_us) {
    return clock_wall_us() - (clock_mono_us() - mono_us);
}

int64_t live_to_mono_us(int64_t wall_us) {
    return clock_mono_us() - (clock_wall_us() - wall_us);
}

/* ---- marks ---- */

struct posted_mark {
    struct live *live;
    struct lane *lane;
    struct lane_mark *mark;
    _Atomic int *left;
};

static void on_mark(struct lane_mark *mark) {
    struct posted_mark *posted = mark->ctx;
    struct job *job = posted->live->job;
    atomic_fetch_sub(posted->left, 1);
    free(posted);
    job_wake(job);
}

static void on_post(void *ctx) {
    struct posted_mark *posted = ctx;
    lane_put_mark(posted->lane, posted->mark);
}

void live_put_marks(struct live *live, struct lane_mark *marks, _Atomic int *left) {
    struct job *job = live->job;
    atomic_store(left, job->n_workers);
    for (int i = 0; i < job->n_workers; i++) {
        struct posted_mark *posted = mem_alloc(sizeof(*posted));
        *posted = (struct posted_mark){ live, worker_lane(job->workers[i]), &marks[i], left };
        marks[i] = (struct lane_mark){ .reached = on_mark, .ctx = posted };
        loop_post(worker_loop(job->workers[i]), on_post, posted);
    }
}

/* ---- gaps ---- */

static void limit(struct live *live, int64_t since_us) {
    if (live->limit_us == LIVE_NO_GAP && live->copied_once) live->gaps_opened++;
    if (since_us < live->limit_us) live->limit_us = since_us;
    live->settled_us = 0;
}

void live_gap(struct live *live, struct live_node *node, const struct slot_set *slots,
              int64_t since_us, bool whole, const char *why) {
    if (slot_set_count(slots) == 0) return;
    limit(live, since_us);
    if (!node->gap_open || since_us < node->gap_since_us) node->gap_since_us = since_us;
    slot_set_unite(&node->gap, slots);
    node->gap_whole = node->gap_whole || whole;
    node->gap_open = true;
    snprintf(node->gap_why, sizeof(node->gap_why), "%s", why);
    keep_audit(live, "gap", "%s", why);
}

void live_gap_behind(struct live *live, const struct slot_set *slots, int64_t since_us,
                     bool order) {
    if (slot_set_count(slots) == 0) return;
    limit(live, since_us);
    slot_set_unite(&live->behind.wanted, slots);
    if (order) slot_set_unite(&live->behind.ordered, slots);
}

/* Turns the lanes' losses into gaps: changes dropped for lack of memory, deferred deletions. */
static void take_losses(struct live *live) {
    if (!atomic_exchange(&live->losses, false)) return;
    for (int i = 0; i < live->job->n_workers; i++) {
        struct lane_losses losses;
        if (!lane_take_losses(worker_lane(live->job->workers[i]), &losses)) continue;
        for (struct live_node *n = live->nodes; n != NULL; n = n->next) {
            struct slot_set mine = live_slots_of(live, n);
            struct slot_set dropped = slot_set_common(&mine, &losses.dropped);
            live_gap(live, n, &dropped, atomic_load(&n->passed_us), false,
                     "more changes waited than memory allows");
            live_gap_behind(live, &dropped, atomic_load(&n->passed_us), false);
            struct slot_set deferred = slot_set_common(&mine, &losses.deferred);
            live_gap_behind(live, &deferred, atomic_load(&n->passed_us), false);
        }
    }
}

static bool everything_is_read(const struct live *live) {
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (n->gap_open || (n->listed && !n->ready)) return false;
    return coverage_is_complete(&live->job->forward) && behind_is_idle(live);
}

static int64_t slowest_passed_us(const struct live *live) {
    int64_t oldest = LIVE_NO_GAP;
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next) {
        int64_t passed_us = atomic_load(&((struct live_node *)n)->passed_us);
        if (passed_us != LIVE_NEVER && passed_us < oldest) oldest = passed_us;
    }
    return oldest == LIVE_NO_GAP ? LIVE_NEVER : oldest;
}

static void close_gaps(struct live *live) {
    if (live->limit_us == LIVE_NO_GAP) return;
    if (!everything_is_read(live)) {
        live->settled_us = 0;
        return;
    }
    if (live->settled_us == 0) live->settled_us = clock_mono_us();
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (atomic_load(&((struct live_node *)n)->passed_us) < live->settled_us) return;
    live->limit_us = LIVE_NO_GAP;
    live->settled_us = 0;
    live->gaps_closed++;
    if (!live->copied_once) {
        log_info("job", "everything is copied; changes are followed from now on");
        keep_audit(live, "copied", "the first copy is complete");
    } else {
        log_info("job", "the gap is closed: the target is up to date again");
        keep_audit(live, "closed", "every gap is closed");
    }
    live->copied_once = true;
    atomic_store(&live->swept, true);
    live->published_ms = 0;
}

/* ---- the watermark ---- */

void live_compute_watermark(struct live *live) {
    int64_t w = slowest_passed_us(live), targets_us = live_targets_limit_us(live);
    if (w != LIVE_NEVER && live->limit_us < w) w = live->limit_us;
    if (targets_us < w) w = targets_us;
    live->watermark_us = w;
    if (w != LIVE_NEVER && live->limit_us == LIVE_NO_GAP)
        hist_add(live->lag, (uint64_t)(clock_mono_us() - w));
}

/* In its own time, so that the control thread's other work does not stand in it. */
static void on_pulse(void *ctx) {
    struct live *live = ctx;
    live_compute_watermark(live);
    loop_timer_start(live->pulse, FEED_BARRIER_MS);
}

/* ---- databases ---- */

static bool add_database(struct live *live, int db) {
    struct job *job = live->job;
    size_t n = atomic_load(&live->n_dbs);
    for (size_t i = 0; i < n; i++)
        if (live->dbs[i] == db) return false;
    if (n == LIVE_DATABASES_MAX) return false;
    live->dbs[n] = db;
    atomic_store_explicit(&live->n_dbs, n + 1, memory_order_release);
    struct replicate_result *r = job->result;
    for (size_t i = 0; i < r->n_dbs; i++)
        if (r->dbs[i] == db) return false;
    r->dbs = mem_array(r->dbs, r->n_dbs + 1, sizeof(*r->dbs));
    r->dbs[r->n_dbs++] = db;
    return true;
}

/* It is named first, then read from the beginning. */
static void take_new_databases(struct live *live) {
    if (!atomic_load(&live->any_new_dbs)) return;
    for (int db = 0; db < LIVE_DATABASES_MAX; db++) {
        pthread_mutex_lock(&live->lock);
        bool found = live->new_dbs[db];
        live->new_dbs[db] = false;
        pthread_mutex_unlock(&live->lock);
        if (!found || !add_database(live, db)) continue;
        log_info("source", "database %d is in use now; it is copied too", db);
        struct slot_set all = job_slots(live->job);
        limit(live, live->watermark_us);
        coverage_open(&live->job->forward, (int)live->job->result->n_dbs - 1, &all, true);
    }
    atomic_store(&live->any_new_dbs, false);
}

/* ---- rounds ---- */

static void copy_functions(struct live *live) {
    struct job *job = live->job;
    struct replicate_result *r = job->result;
    struct err err;
    if (!live->check_functions || job->settings->no_functions ||
        clock_mono_ms() < live->functions_ms)
        return;
    live->check_functions = false;
    if (!functions_copy(job->source, job->target, r->giveup, &r->functions, &r->functions_refused,
                        &err)) {
        live->check_functions = true;
        live->functions_ms = clock_mono_ms() + LIVE_LOOK_MS;
        log_debug(err.place, "functions: %s", err.text);
    }
}

static void choose_phase(struct live *live) {
    const char *phase = live->stop_us != 0                                    ? "draining"
                        : slot_set_count(&live->behind.held) > 0              ? "held"
                        : live->limit_us != LIVE_NO_GAP && !live->copied_once ? "copying"
                        : live->limit_us != LIVE_NO_GAP                       ? "resync"
                        : live->watermark_us == LIVE_NEVER                    ? "starting"
                                                                              : "live";
    if (live->phase != phase) live->published_ms = 0;
    live->phase = phase;
}

/* Only what is followed is gathered: while something is copied or gone through again, and at the
 * end, every moment that keys wait is a moment in which the target could be lost without them. */
static void choose_gathering(struct live *live, bool stopping) {
    bool steady = live->copied_once && live->limit_us == LIVE_NO_GAP && !stopping;
    int64_t ms = steady ? gather_time_ms(live_busiest_share(live), live->settings->gather_ms) : 0;
    bool ends = atomic_exchange(&live->gather_ms, ms) > 0 && ms == 0;
    for (int i = 0; ends && i < live->job->n_workers; i++) worker_update(live->job->workers[i]);
}

static bool is_idle(const struct live *live) {
    int64_t limit_ms = live->settings->idle_timeout_ms;
    if (limit_ms <= 0 || live->limit_us != LIVE_NO_GAP || live->watermark_us == LIVE_NEVER)
        return false;
    return clock_mono_us() - atomic_load(&((struct live *)live)->changed_us) >= limit_ms * 1000 &&
           live->watermark_us > atomic_load(&((struct live *)live)->changed_us);
}

/* A stopped job ends when everything acknowledged before the stop is on the target. */
static bool has_drained(struct live *live, bool *ended, struct err *err) {
    if (live->stop_us == 0) {
        live->stop_us = clock_mono_us();
        coverage_abort(&live->job->forward);
        coverage_abort(&live->job->backward);
        coverage_abort(&live->job->streams);
    }
    *ended = true;
    bool known = live->copied_once && live->limit_us == LIVE_NO_GAP;
    if (known && live->watermark_us > live->stop_us) return true;
    if (known && clock_mono_us() - live->stop_us < (int64_t)LIVE_DRAIN_MS * 1000) {
        *ended = false;
        return true;
    }
    return err_set(
        err, ERR_INTERRUPTED, "job",
        live->copied_once
            ? "stopped while a gap was open or changes waited; the next start goes on from the last watermark"
            : "stopped before the first copy was complete; the next start goes on with it");
}

bool live_step(struct live *live, bool stopping, bool *ended, struct err *err) {
    struct job *job = live->job;
    *ended = false;
    if (live->lease_lost) return err_set(err, ERR_LEASE, "job", "%s", err_sentence(ERR_LEASE));
    live_nodes_step(live);
    take_losses(live);
    take_new_databases(live);
    if (!stopping) {
        coverage_step(&job->forward);
        checkpoint_step(live);
        if (coverage_is_complete(&job->forward)) coverage_step(&job->streams);
        if (atomic_exchange(&live->released, false)) behind_release(live);
        behind_step(live);
        copy_functions(live);
    } else {
        passes_judge(job);
    }
    close_gaps(live);
    live_compute_watermark(live);
    choose_phase(live);
    choose_gathering(live, stopping);
    keep_step(live);
    if (stopping) return has_drained(live, ended, err);
    if (is_idle(live)) {
        job->result->summary.idle = true;
        *ended = true;
    }
    return true;
}

void live_topology_seen(struct live *live, int64_t asked_us) {
    live->topology_us = asked_us;
}

void live_topology_changed(struct live *live, bool source) {
    if (source) {
        live_nodes_sync(live, false);
    } else {
        live_targets_sync(live, false);
        lease_update_topology(live->lease);
        record_writer_update_topology(live->writer);
    }
}

/* ---- for the lanes ---- */

bool live_may_write(void *ctx) {
    const struct job *job = ctx;
    return lease_may_write(job->live->lease);
}

int64_t live_gather_ms(void *ctx) {
    const struct job *job = ctx;
    return atomic_load_explicit(&job->live->gather_ms, memory_order_relaxed);
}

bool live_is_swept(void *ctx, uint16_t slot) {
    struct job *job = ctx;
    return atomic_load_explicit(&job->live->swept, memory_order_relaxed);
}

int64_t live_gap_since_ms(void *ctx, uint16_t slot) {
    const struct job *job = ctx;
    return atomic_load_explicit(&job->live->slot_since_ms[slot], memory_order_relaxed);
}

void live_on_losses(void *ctx) {
    struct job *job = ctx;
    atomic_store(&job->live->losses, true);
    job_wake(job);
}

/* ---- life ---- */

struct live *live_new(struct job *job, struct err *err) {
    struct live *live = mem_zalloc(sizeof(*live));
    live->job = job;
    live->settings = job->settings->live;
    live->limit_us = LIVE_NO_GAP;
    live->watermark_us = LIVE_NEVER;
    live->phase = "starting";
    live->lag = hist_new();
    pthread_mutex_init(&live->lock, NULL);
    atomic_init(&live->changed_us, clock_mono_us());
    job->live = live;
    if (keep_open(live, err)) return live;
    live_free(&job->live);
    return NULL;
}

bool live_choose_capture(struct live *live, struct err *err) {
    return capture_choose(live->job->source, live->settings->capture, &live->capture, err);
}

bool live_is_resumed(const struct live *live) {
    return live->resumed;
}

/* What is to be read first: all of it, what changed since the last watermark, or nothing. */
static void open_first_gap(struct live *live) {
    struct slot_set mine = job_slots(live->job);
    bool goes_on = live->resumed && live->record.copied_once && live->record.watermark_us > 0;
    int64_t since_us = goes_on ? live_to_mono_us(live->record.watermark_us) : LIVE_NEVER;
    live->copied_once = goes_on || live->settings->only;
    if (live->settings->only && !goes_on) return;
    for (struct live_node *n = live->nodes; n != NULL; n = n->next) {
        struct slot_set slots = live_slots_of(live, n);
        struct slot_set wanted = slot_set_common(&slots, &mine);
        live_gap(live, n, &wanted, since_us, !goes_on || live->settings->resync_whole,
                 goes_on ? "longhaul was not running" : "the first copy");
        if (live->resumed) live_gap_behind(live, &wanted, since_us, false);
        n->resumes = !goes_on && live->begun.n_cursors > 0 && !live->settings->resync_whole;
        if (n->resumes) n->gap_since_us = live->begun_us;
        if (n->resumes) n->gap_whole = false;
    }
}

/* Lanes know the streams that they copied. Those that are left out because they have not changed
 * are looked for, once. */
static void find_streams(struct live *live) {
    const struct key_filter *filter = live->job->settings->filter;
    bool wanted = filter->n_types == 0;
    for (size_t i = 0; i < filter->n_types; i++)
        wanted = wanted || strcmp(filter->types[i], "stream") == 0;
    if (!wanted || deployment_info(live->job->source)->redis_version < SERVER_VERSION(6, 0, 0))
        return;
    if (!live->resumed && !live->settings->only) return;
    struct slot_set all = job_slots(live->job);
    coverage_open(&live->job->streams, -1, &all, false);
}

void live_start(struct live *live) {
    struct job *job = live->job;
    struct replicate_result *r = job->result;
    for (size_t i = 0; i < r->n_dbs; i++) add_database(live, r->dbs[i]);
    live->topology_us = clock_mono_us();
    live->pulse = loop_timer_new(job->loop, on_pulse, live);
    loop_timer_start(live->pulse, FEED_BARRIER_MS);
    live_nodes_sync(live, true);
    live_targets_sync(live, true);
    keep_start(live);
    checkpoint_load(live);
    open_first_gap(live);
    find_streams(live);
    if (live->settings->release_deletions) behind_release(live);
}

void live_stop(struct live *live) {
    live_compute_watermark(live);
    keep_fill(live);
    live_nodes_stop(live);
    live_targets_free(live);
    loop_timer_free(&live->pulse);
}

static void summarize(struct live *live) {
    struct live_summary *s = &live->job->result->summary;
    live->job->result->live = true;
    snprintf(s->job, sizeof(s->job), "%s", live->record.job);
    snprintf(s->capture, sizeof(s->capture), "%s", feed_kind_name(live->capture.kind));
    s->watermark_us = live->watermark_us == LIVE_NEVER ? 0 : live_to_wall_us(live->watermark_us);
    s->lag_p50_us = (int64_t)hist_percentile(live->lag, 50);
    s->lag_p99_us = (int64_t)hist_percentile(live->lag, 99);
    s->lag_max_us = (int64_t)hist_max(live->lag);
    s->gaps = live->gaps_opened;
    s->deletions_held = live->behind.hold_gone;
}

void live_save(struct live *live, bool complete) {
    summarize(live);
    keep_end(live, live->lease_lost ? NULL : live->job->result->summary.idle ? "ended" : "stopped");
}

void live_free(struct live **live) {
    struct live *l = *live;
    if (l == NULL) return;
    keep_close(l);
    live_nodes_free(l);
    behind_free(l);
    loop_timer_free(&l->pulse);
    hist_free(&l->lag);
    pthread_mutex_destroy(&l->lock);
    free(l);
    *live = NULL;
}

void live_tell_progress(struct live *live, struct replicate_progress *progress) {
    progress->live = true;
    progress->phase = live->phase;
    progress->lag_ms =
        live->watermark_us == LIVE_NEVER ? -1 : (clock_mono_us() - live->watermark_us) / 1000;
}
