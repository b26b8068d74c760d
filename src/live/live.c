/* See live.h. A round: events of the feeds ─▶ gaps ─▶ scans ─▶ sweep ─▶ a barrier sent afterwards
 * proves the settled slots ─▶ watermark. */
#include "live/live.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "copy/gather.h"
#include "engine/coverage.h"

enum {
    LIVE_PULSE_MS = 5,               /* between two looks at the watermark */
    LIVE_DRAIN_MS = 30 * 1000,       /* how long a stopped job waits for its last watermark */
    LIVE_CLOCK_JUMP_US = 1000 * 1000 /* a jump of this machine's clock that is worth an event */
};

struct live {
    struct engine *engine;
    struct live_options options;
    struct live_hooks hooks;
    const struct live_memory *memory;
    struct ledger *ledger;
    struct follow *follow;
    struct target *target;
    struct sweep *sweep;
    struct checkpoint *checkpoint;
    struct lag *lag;
    struct loop_timer *pulse;

    struct moment watermark; /* MOMENT_NEVER: none yet */
    struct moment stopped;   /* when the end was asked for; MOMENT_NONE: it was not */
    struct moment asked;     /* when the last polls before an end were asked for; MOMENT_NEVER */
    struct moment limit;     /* of the watermark, at the end; MOMENT_NONE: it has none */
    bool was_whole;          /* at the stop: nothing was left to repair */
    bool end_waits;          /* for something beside the keys */
    struct moment clock;     /* both clocks at the last pulse */
    bool copied_once, census_runs, ended_idle;
    uint64_t gaps_opened;
    bool gap_was_open;
    _Atomic bool swept;        /* the target was scanned for keys that are not the job's */
    _Atomic bool losses;       /* lanes have losses that nobody has taken */
    _Atomic int64_t gather_ms; /* how long lanes gather changes now */
};

/* ---- for the lanes ---- */

static int64_t live_gather_ms(void *ctx) {
    const struct live *live = engine_user(ctx);
    return atomic_load_explicit((_Atomic int64_t *)&live->gather_ms, memory_order_relaxed);
}

static int64_t live_used_since_us(void *ctx, uint16_t slot) {
    const struct live *live = engine_user(ctx);
    return follow_used_since_us(live->follow, slot);
}

static bool live_on_missing(void *ctx, int db, struct bytes key, uint16_t slot,
                            const char *run_id) {
    struct live *live = engine_user(ctx);
    return sweep_on_missing(live->sweep, db, key, slot);
}

static void live_on_losses(void *ctx) {
    struct live *live = engine_user(ctx);
    atomic_store(&live->losses, true);
    engine_wake(live->engine);
}

/* Before the live job is there its lease is not known to be held. */
static bool live_may_write(void *ctx) {
    const struct live *live = engine_user(ctx);
    return live != NULL && live->hooks.may_write(live->hooks.ctx);
}

static bool live_is_swept(void *ctx, uint16_t slot) {
    const struct live *live = engine_user(ctx);
    return atomic_load_explicit((_Atomic bool *)&live->swept, memory_order_relaxed);
}

void live_fill_plan(struct copy_plan *plan) {
    plan->live = true;
    plan->may_write = live_may_write;
    plan->is_swept = live_is_swept;
    plan->gather_ms = live_gather_ms;
    plan->used_since_us = live_used_since_us;
    plan->on_missing = live_on_missing;
    plan->on_losses = live_on_losses;
}

/* ---- for the passes ---- */

static bool live_may_scan(void *ctx, const struct address *primary) {
    const struct live *live = ctx;
    return follow_may_scan(live->follow, primary);
}

static bool live_starts_at(void *ctx, const struct pass_view *pass, struct pass_start *start) {
    struct live *live = ctx;
    return checkpoint_starts_at(live->checkpoint, pass, start);
}

static void live_on_named(void *ctx, int db, uint16_t slot) {
    struct live *live = ctx;
    sweep_on_named(live->sweep, slot);
}

static void live_set_rules(struct live *live) {
    const struct coverage_rules forward = { .may_scan = live_may_scan,
                                            .starts_at = live_starts_at,
                                            .ctx = live };
    const struct coverage_rules streams = { .may_scan = live_may_scan, .ctx = live };
    const struct coverage_rules sweep = { .on_named = live_on_named, .ctx = live };
    coverage_set_rules(engine_coverage(live->engine, COVERAGE_FORWARD), &forward);
    coverage_set_rules(engine_coverage(live->engine, COVERAGE_STREAMS), &streams);
    coverage_set_rules(engine_coverage(live->engine, COVERAGE_SWEEP), &sweep);
}

/* ---- the watermark ---- */

static void live_compute_watermark(struct live *live) {
    struct moment w = follow_passed(live->follow), now = moment_now();
    if (!moment_is_never(w)) w = moment_older(w, ledger_since(live->ledger));
    live->watermark = moment_older(moment_older(w, target_limit(live->target)), live->limit);
    if (!moment_is_never(live->watermark))
        lag_add(live->lag, now.boot_us, now.boot_us - live->watermark.boot_us,
                live->copied_once && ledger_is_proved(live->ledger));
}

/* Moments that have passed keep the time that they had. */
static void live_check_clock(struct live *live) {
    struct moment now = moment_now(), before = live->clock;
    int64_t jump_us = (now.wall_us - before.wall_us) - (now.boot_us - before.boot_us);
    live->clock = now;
    if (jump_us > -LIVE_CLOCK_JUMP_US && jump_us < LIVE_CLOCK_JUMP_US) return;
    event_raise(live->hooks.events, EVENT_CLOCK, "job",
                "the clock of this machine jumped by %+" PRId64 " ms: it was set, or the machine "
                "was paused; the watermark is told by this clock",
                jump_us / 1000);
}

/* On a timer of its own: lag must be sampled even while live_step() is blocked in a call. */
static void on_pulse(void *ctx) {
    struct live *live = ctx;
    live_check_clock(live);
    live_compute_watermark(live);
    loop_timer_start(live->pulse, LIVE_PULSE_MS);
}

/* ---- gaps ---- */

/* Turns the lanes' losses into gaps: names dropped for lack of memory, deletions of a process whose
 * deletions are not allowed. */
static void live_take_losses(struct live *live) {
    if (!atomic_exchange(&live->losses, false)) return;
    for (int i = 0; i < engine_lanes(live->engine); i++) {
        struct lane_losses losses;
        if (!lane_take_losses(engine_lane(live->engine, i), &losses)) continue;
        struct ledger_gap gap = { .since = follow_passed(live->follow),
                                  .forward = true,
                                  .sweep = true,
                                  .place = "source",
                                  .why = "more changes waited than --buffer-memory allows" };
        follow_open_gap(live->follow, &losses.dropped, &gap, NULL, 0);
        gap.forward = false;
        gap.why = "keys are missing on a source process whose deletions are not allowed yet";
        follow_open_gap(live->follow, &losses.deferred, &gap, NULL, 0);
    }
}

/* Slots that no scan is left for are settled, or wait for the sweep. */
static void live_end_scans(struct live *live) {
    struct coverage *forward = engine_coverage(live->engine, COVERAGE_FORWARD);
    if (ledger_is_proved(live->ledger)) return;
    struct slot_set pending = coverage_pending(forward, COVERAGE_ALL_DATABASES);
    size_t n;
    const int *dbs = engine_databases(live->engine, &n);
    struct moment now = moment_now();
    ledger_end_scan(live->ledger, &pending, now);
    for (size_t i = 0; i < n; i++) {
        struct slot_set left = coverage_pending(forward, dbs[i]);
        if (slot_set_count(&left) == 0) ledger_end_database(live->ledger, dbs[i], now);
    }
}

static void live_tell_proved(struct live *live) {
    if (!live->copied_once) {
        event_raise(live->hooks.events, EVENT_COPIED, "job", "initial copy complete; now live");
    } else {
        event_raise(live->hooks.events, EVENT_CLOSED, "job",
                    "the gap is closed: the target is complete again");
    }
    live->copied_once = true;
    atomic_store(&live->swept, true);
}

static void live_prove(struct live *live) {
    struct moment passed = follow_passed(live->follow);
    if (ledger_is_proved(live->ledger) || !follow_all_ready(live->follow)) return;
    if (!follow_all_passed(live->follow, passed)) return; /* a node has passed nothing yet */
    if (ledger_prove(live->ledger, passed)) live_tell_proved(live);
}

static void live_count_gaps(struct live *live) {
    bool open = live->copied_once && !ledger_is_proved(live->ledger);
    if (open && !live->gap_was_open) live->gaps_opened++;
    live->gap_was_open = open;
}

/* ---- how long changes are gathered ---- */

/* Only changes that are followed are gathered: while something is scanned, and at the end, every
 * moment that keys wait is a moment in which the target could be lost without them. */
static void live_choose_gathering(struct live *live, bool stopping) {
    bool steady = live->copied_once && ledger_is_proved(live->ledger) && !stopping;
    int64_t ms =
        steady ? gather_time_ms(follow_busiest_share(live->follow), live->options.gather_ms) : 0;
    bool ends = atomic_exchange(&live->gather_ms, ms) > 0 && ms == 0;
    if (ends) engine_update_lanes(live->engine);
}

/* ---- ends ---- */

/* Changes that only polls find are looked for once more before the job ends. The watermark goes no
 * further than the last poll. */
static void live_ask_polls(struct live *live) {
    live->asked = live->limit = moment_now();
    follow_poll_now(live->follow);
}

/* The polls are answered, and everything that they found, and that was named before, is on the
 * target. */
static bool live_is_whole(struct live *live) {
    struct moment answered, given;
    if (!live->copied_once || !ledger_is_proved(live->ledger) || live->end_waits) return false;
    if (!follow_has_polled(live->follow, live->asked, &answered, &given)) return false;
    if (!follow_all_passed(live->follow, given)) return false;
    live->limit = answered;
    live_compute_watermark(live);
    return live->watermark.boot_us >= answered.boot_us;
}

static bool live_is_idle(struct live *live) {
    int64_t limit_ms = live->options.idle_timeout_ms, changed_us = follow_changed_us(live->follow);
    bool rests = limit_ms > 0 && live->copied_once && ledger_is_proved(live->ledger) &&
                 clock_boot_us() - changed_us >= limit_ms * 1000 &&
                 live->watermark.boot_us > changed_us;
    if (rests && moment_is_never(live->asked)) live_ask_polls(live);
    if (rests) return live_is_whole(live);
    live->asked = MOMENT_NEVER;
    live->limit = MOMENT_NONE;
    return false;
}

static void live_abort_scans(struct live *live) {
    for (int kind = 0; kind < COVERAGE_KINDS; kind++)
        coverage_abort(engine_coverage(live->engine, (enum coverage_kind)kind));
}

static void live_begin_stop(struct live *live) {
    live->stopped = moment_now();
    live->was_whole = live->copied_once && ledger_is_proved(live->ledger);
    live_abort_scans(live);
    live_ask_polls(live);
}

/* A gap that the last polls have opened is repaired, if it can be without an operator and in
 * time. */
static bool live_goes_on_draining(const struct live *live) {
    const struct hold *holds;
    bool late = clock_boot_us() - live->stopped.boot_us >= (int64_t)LIVE_DRAIN_MS * 1000;
    if (late || !live->was_whole) return false;
    return ledger_is_proved(live->ledger) ||
           (follow_all_hearing(live->follow) && sweep_holds(live->sweep, &holds) == 0);
}

/* A stopped job ends when everything acknowledged before the stop is on the target. */
static bool live_has_drained(struct live *live, bool *ended, struct err *err) {
    if (moment_is_none(live->stopped)) live_begin_stop(live);
    *ended = live_is_whole(live);
    if (*ended || live_goes_on_draining(live)) return true;
    *ended = true;
    live_abort_scans(live);
    return err_set(err, ERR_INTERRUPTED, "job",
                   live->copied_once ? "stopped while a gap was open or changes waited; the next "
                                       "start goes on from the last watermark"
                                     : "stopped before the first copy was complete; the next start "
                                       "goes on with it");
}

/* ---- the first scan ---- */

/* Opens the gap of the first scan: over everything, over changes since the last watermark, or
 * none. */
static void live_open_first_gap(struct live *live) {
    const struct live_memory *m = live->memory;
    struct slot_set slots = engine_job_slots(live->engine);
    struct ledger_gap gap = { .since = m->since,
                              .forward = true,
                              .sweep = true,
                              .place = "source",
                              .why = "longhaul was not running" };
    if (m->resumed && m->copied_once) {
        gap.whole = moment_is_never(m->since);
        follow_open_gap(live->follow, &slots, &gap, NULL, 0);
    } else if (live->options.only) {
        return;
    } else if (m->resumed && m->n_cursors > 0 && !moment_is_never(m->since)) {
        follow_resume_copy(live->follow, &slots, m->since);
    } else {
        gap.since = MOMENT_NEVER;
        gap.first_copy = gap.whole = true;
        gap.sweep = m->resumed;
        gap.why = "the first copy";
        follow_open_gap(live->follow, &slots, &gap, NULL, 0);
    }
}

/* Lanes know the streams that they copied. Those that are left out because they have not changed
 * are looked for, once. */
static void live_find_streams(struct live *live) {
    const struct key_filter *filter = engine_settings_of(live->engine)->filter;
    bool wanted = filter->n_types == 0;
    for (size_t i = 0; i < filter->n_types; i++)
        wanted = wanted || strcmp(filter->types[i], "stream") == 0;
    const struct server_info *info = deployment_info(engine_source(live->engine));
    if (!wanted || info->redis_version < SERVER_VERSION(6, 0, 0)) return;
    if (!live->memory->resumed && !live->options.only) return;
    struct slot_set all = engine_job_slots(live->engine);
    coverage_open(engine_coverage(live->engine, COVERAGE_STREAMS), COVERAGE_ALL_DATABASES, &all,
                  false);
}

/* Nothing is copied before it is known, and kept, which keys of the target are not the job's. */
static void live_step_census(struct live *live) {
    sweep_step(live->sweep);
    if (!sweep_census_is_done(live->sweep)) return;
    if (!live->hooks.save_extra(live->hooks.ctx, sweep_extra_keys(live->sweep))) return;
    live->census_runs = false;
    follow_set_deaf(live->follow, false);
    atomic_store(&live->swept, true);
    live_open_first_gap(live);
}

void live_start(struct live *live, uint64_t target_keys) {
    const struct live_memory *m = live->memory;
    struct slot_set slots = engine_job_slots(live->engine);
    live->census_runs = !m->census_done && target_keys > 0;
    follow_set_deaf(live->follow, live->census_runs);
    follow_sync(live->follow, true);
    target_sync(live->target, true);
    for (size_t i = 0; i < m->n_holds; i++) sweep_restore_hold(live->sweep, &m->holds[i]);
    live->copied_once = (m->resumed && m->copied_once) || live->options.only;
    atomic_store(&live->swept, !m->resumed && target_keys == 0);
    if (live->census_runs) {
        sweep_begin_census(live->sweep, &slots);
    } else {
        live_open_first_gap(live);
    }
    live_find_streams(live);
    live->pulse = loop_timer_new(engine_loop(live->engine), on_pulse, live);
    loop_timer_start(live->pulse, LIVE_PULSE_MS);
}

/* ---- rounds ---- */

static void live_scan(struct live *live) {
    struct coverage *forward = engine_coverage(live->engine, COVERAGE_FORWARD);
    coverage_step(forward);
    live_end_scans(live);
    checkpoint_step(live->checkpoint);
    if (coverage_is_complete(forward) && moment_is_none(live->stopped))
        coverage_step(engine_coverage(live->engine, COVERAGE_STREAMS));
    sweep_step(live->sweep);
}

struct common_group {
    const struct follow *follow;
    const char *source; /* a server of the source that replicates with one of the target */
};

static void on_target_replid(void *ctx, const char *run_id, const char *replid) {
    struct common_group *group = ctx;
    if (group->source == NULL && replid[0] != '\0')
        group->source = follow_find_replid(group->follow, replid);
}

/* An operator has made the source a replica of the target: what is read there is what the target
 * held a moment ago, and would overwrite what its clients have written since. */
static bool live_is_one_group(struct live *live, struct err *err) {
    struct common_group group = { .follow = live->follow };
    target_each(live->target, on_target_replid, &group);
    if (group.source == NULL) return false;
    err_set(err, ERR_USAGE, group.source,
            "the source has become a replica of the target (both have one master_replid): nothing "
            "is copied any more, since older values would overwrite newer ones; remove the job by "
            "longhaul forget, or detach the source (REPLICAOF NO ONE) and start again");
    return true;
}

bool live_step(struct live *live, bool stopping, bool *ended, struct err *err) {
    *ended = false;
    follow_step(live->follow);
    if (live_is_one_group(live, err)) return false;
    target_step(live->target, live->watermark);
    live_take_losses(live);
    if (stopping && !live->was_whole) {
        coverage_judge_ended(live->engine);
    } else if (live->census_runs) {
        live_step_census(live);
    } else {
        live_scan(live);
    }
    if (!live->census_runs) live_prove(live);
    live_count_gaps(live);
    live_compute_watermark(live);
    live_choose_gathering(live, stopping);
    if (stopping) return live_has_drained(live, ended, err);
    live->ended_idle = *ended = live_is_idle(live);
    return true;
}

void live_hold_end(struct live *live, bool waits) {
    live->end_waits = waits;
}

bool live_release(struct live *live, const char *hold_id) {
    return sweep_release(live->sweep, hold_id);
}

void live_release_all(struct live *live) {
    const struct hold *holds;
    while (sweep_holds(live->sweep, &holds) > 0) {
        char id[HOLD_ID_MAX];
        memcpy(id, holds[0].id, sizeof(id));
        sweep_release(live->sweep, id);
    }
}

void live_topology_seen(struct live *live, struct moment asked) {
    follow_topology_seen(live->follow, asked);
}

void live_topology_changed(struct live *live, bool source) {
    if (source) {
        follow_sync(live->follow, false);
    } else {
        target_sync(live->target, false);
    }
}

void live_target_lost(struct live *live, uint16_t slot) {
    target_lacks_keys(live->target, slot);
}

/* ---- how it stands ---- */

static void take_source_time(void *ctx, const struct follow_view *view) {
    struct live_state *state = ctx;
    bool this_one = view->passed.boot_us >= state->watermark.boot_us && view->source_time_us > 0;
    if (!this_one || moment_is_never(state->watermark)) return;
    state->source_time_us =
        view->source_time_us - (view->passed.boot_us - state->watermark.boot_us);
}

struct live_state live_look(struct live *live) {
    struct live_state s = { .copied_once = live->copied_once && !live->census_runs,
                            .proved = ledger_is_proved(live->ledger) && !live->census_runs,
                            .nothing = moment_is_never(ledger_since(live->ledger)),
                            .drains = !moment_is_none(live->stopped),
                            .census = live->census_runs,
                            .ended_idle = live->ended_idle,
                            .target_silent = target_is_silent(live->target),
                            .watermark = live->watermark,
                            .gather_ms = atomic_load(&live->gather_ms),
                            .gaps_opened = live->gaps_opened,
                            .target_evicted = target_evicted(live->target),
                            .extra_keys = sweep_count_extra(live->sweep),
                            .lag = lag_look(live->lag, clock_boot_us()),
                            .checkpoint = checkpoint_look(live->checkpoint) };
    s.n_holds = sweep_holds(live->sweep, &s.holds);
    s.held = s.n_holds > 0;
    follow_each(live->follow, take_source_time, &s);
    return s;
}

bool live_explain_gap(const struct live *live, size_t i, struct ledger_view *view) {
    return ledger_explain(live->ledger, i, view);
}

void live_each_node(struct live *live, void (*fn)(void *ctx, const struct follow_view *view),
                    void *ctx) {
    follow_each(live->follow, fn, ctx);
}

void live_each_target(const struct live *live,
                      void (*fn)(void *ctx, const char *run_id, const char *replid), void *ctx) {
    target_each(live->target, fn, ctx);
}

bool live_each_target_counts(const struct live *live,
                             void (*fn)(void *ctx, const struct target_counts *counts), void *ctx) {
    return target_each_counts(live->target, fn, ctx);
}

bool live_takes_function_change(struct live *live) {
    bool changed = follow_takes_function_change(live->follow);
    return target_takes_lost_functions(live->target) || changed;
}

void live_end_function_change(struct live *live) {
    follow_end_function_change(live->follow);
}

struct extra *live_extra(struct live *live) {
    return sweep_extra_keys(live->sweep);
}

/* ---- life ---- */

static struct follow *live_new_follow(struct live *live) {
    const struct live_options *o = &live->options;
    const struct follow_settings settings = { .engine = live->engine,
                                              .ledger = live->ledger,
                                              .events = live->hooks.events,
                                              .capture = o->capture,
                                              .poll_ms = o->poll_ms,
                                              .all_databases = o->all_databases,
                                              .resync_whole = o->resync_whole };
    struct follow *f = follow_new(&settings);
    if (live->memory->resumed) follow_set_resumed(f);
    for (size_t i = 0; i < live->memory->n_base; i++)
        follow_remember(f, live->memory->base[i].address, live->memory->base[i].evidence);
    return f;
}

static struct target *live_new_target(struct live *live) {
    const struct target_settings settings = { .engine = live->engine,
                                              .ledger = live->ledger,
                                              .follow = live->follow,
                                              .events = live->hooks.events,
                                              .read_record = live->hooks.read_target_record,
                                              .release_record = live->hooks.release_target_record,
                                              .allow_record = live->hooks.allow_target_record,
                                              .on_silent = live->hooks.on_target_silent,
                                              .ctx = live->hooks.ctx,
                                              .counts = live->memory->counts,
                                              .n_counts = live->memory->n_counts,
                                              .since = live->memory->since };
    return target_new(&settings);
}

static struct sweep *live_new_sweep(struct live *live) {
    const struct live_options *o = &live->options;
    const struct sweep_settings settings = { .engine = live->engine,
                                             .ledger = live->ledger,
                                             .follow = live->follow,
                                             .events = live->hooks.events,
                                             .max_delete_percent = o->max_delete_percent,
                                             .extra = o->extra,
                                             .spool_dir = o->spool_dir,
                                             .epoch = o->epoch };
    return sweep_new(&settings);
}

struct live *live_new(struct engine *e, const struct live_options *options,
                      const struct live_hooks *hooks, const struct live_memory *memory) {
    struct live *live = mem_zalloc(sizeof(*live));
    live->engine = e;
    live->options = *options;
    live->hooks = *hooks;
    live->memory = memory;
    live->watermark = MOMENT_NEVER;
    live->stopped = live->limit = MOMENT_NONE;
    live->asked = MOMENT_NEVER;
    live->clock = moment_now();
    live->ledger = ledger_new();
    live->follow = live_new_follow(live);
    live->target = live_new_target(live);
    live->sweep = live_new_sweep(live);
    live->checkpoint = checkpoint_new(e, live->ledger, live->follow);
    live->lag = lag_new();
    checkpoint_remember(live->checkpoint, memory->cursors, memory->n_cursors);
    engine_set_user(e, live);
    live_set_rules(live);
    return live;
}

void live_stop(struct live *live) {
    live_compute_watermark(live);
    loop_timer_free(&live->pulse);
    follow_stop(live->follow);
}

void live_free(struct live **live) {
    struct live *l = *live;
    *live = NULL;
    if (l == NULL) return;
    loop_timer_free(&l->pulse);
    target_free(&l->target);
    checkpoint_free(&l->checkpoint);
    sweep_free(&l->sweep);
    follow_free(&l->follow);
    ledger_free(&l->ledger);
    lag_free(&l->lag);
    free(l);
}
