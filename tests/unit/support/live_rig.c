/* See live_rig.h. */
#include "support/live_rig.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/coverage.h"

/* ---- hooks ---- */

static void on_event(void *ctx, enum event_id id, const char *place, const char *text) {
    struct live_rig *r = ctx;
    r->events[id]++;
    snprintf(r->text[id], sizeof(r->text[id]), "%s", text);
    if (r->on_event != NULL) r->on_event(r, id);
}

static bool on_save_extra(void *ctx, const struct extra *extra) {
    struct live_rig *r = ctx;
    r->saves++;
    return !r->saves_fail;
}

static bool on_read_record(void *ctx, const struct address *node, struct target_record *record) {
    struct live_rig *r = ctx;
    r->records_read++;
    if (r->record_unreadable) return false;
    *record = r->record;
    return true;
}

static void on_release_record(void *ctx, struct target_record *record) {}

static void on_allow_record(void *ctx, const struct address *node, const char *run_id) {
    struct live_rig *r = ctx;
    r->allowed++;
    snprintf(r->allowed_run_id, sizeof(r->allowed_run_id), "%s", run_id);
}

static void on_target_silent(void *ctx) {
    struct live_rig *r = ctx;
    r->silences++;
}

static bool on_may_write(void *ctx) {
    const struct live_rig *r = ctx;
    return atomic_load(&((struct live_rig *)r)->may_write);
}

/* ---- topology ---- */

static void rig_topology_changed(struct live_rig *r, bool of_source) {
    r->topologies[of_source ? 0 : 1]++;
    engine_topology_changed(r->engine, of_source);
    live_topology_changed(r->live, of_source);
}

static void on_source_changed(void *ctx, const struct topology *before, const struct topology *now,
                              int64_t asked_us) {
    rig_topology_changed(ctx, true);
}

static void on_target_changed(void *ctx, const struct topology *before, const struct topology *now,
                              int64_t asked_us) {
    rig_topology_changed(ctx, false);
}

static void on_source_seen(void *ctx, int64_t asked_us) {
    struct live_rig *r = ctx;
    struct moment now = moment_now();
    int64_t back_us = clock_mono_us() - asked_us;
    r->seen++;
    live_topology_seen(r->live, (struct moment){ now.boot_us - back_us, now.wall_us - back_us });
}

static void rig_open_sights(struct live_rig *r) {
    static const struct sight_events events[2] = { { on_source_changed, on_source_seen },
                                                   { on_target_changed, NULL } };
    for (int i = 0; i < 2; i++) {
        const struct sight_settings settings = { .pause_ms = 50,
                                                 .poll_ms =
                                                     deployment_is_cluster(r->sides[i]) ? 100 : 0 };
        r->sights[i] = sight_new(r->sides[i], &settings, &events[i], r);
    }
}

/* ---- life ---- */

void rig_init(struct live_rig *r) {
    *r = (struct live_rig){ .options = { .capture = { .kind = FEED_TRACKING,
                                                      .idle_time_allowed = true },
                                         .poll_ms = 100,
                                         .max_delete_percent = 10,
                                         .epoch = 7 },
                            .n_dbs = 1,
                            .threads = 1,
                            .scan_count = 1000,
                            .buffer_bytes = 64 * 1024 * 1024,
                            .may_write = true };
}

static void rig_start_engine(struct live_rig *r) {
    struct err err;
    const struct engine_settings settings = { .source = r->sides[0],
                                              .target = r->sides[1],
                                              .filter = &r->filter,
                                              .target_db = -1,
                                              .threads = r->threads,
                                              .scan_count = r->scan_count,
                                              .sleep_ms = r->sleep_ms,
                                              .buffer_bytes = r->buffer_bytes,
                                              .live = true };
    struct copy_plan fixture = fixture_plan(r->sides);
    r->engine = engine_new(&settings);
    engine_set_databases(r->engine, r->dbs, r->n_dbs);
    struct copy_plan *plan = engine_plan(r->engine);
    live_fill_plan(plan);
    plan->can = fixture.can;
    plan->can.source_spans_slots = !deployment_is_cluster(r->sides[0]);
    plan->can.target_spans_slots = !deployment_is_cluster(r->sides[1]);
    plan->structured = true;
    plan->typed = r->typed;
    plan->batch_keys = fixture.batch_keys;
    plan->max_args = fixture.max_args;
    plan->lane_bytes = fixture.lane_bytes;
    plan->big_key_bytes = fixture.big_key_bytes;
    plan->names_bytes_max = r->buffer_bytes / 2 / (uint64_t)plan->lanes;
    plan->giveup = fixture.giveup;
    if (!engine_start(r->engine, &err)) fail_msg("%s", err.text);
    engine_begin(r->engine);
}

static uint64_t rig_target_keys(const struct live_rig *r) {
    uint64_t keys = 0, n, expires;
    for (size_t i = 0; i < r->n_dbs; i++) {
        info_keyspace(deployment_info_text(r->sides[1]), r->dbs[i], &n, &expires);
        keys += n;
    }
    return keys;
}

void rig_start(struct live_rig *r) {
    static const struct live_memory none = { .since = MOMENT_NEVER };
    r->observer = (struct event_observer){ .fn = on_event, .ctx = r };
    event_observe(&r->sink, &r->observer);
    fixture_open_sides(r->sides);
    for (int i = 0; i < 2; i++) deployment_set_persistent(r->sides[i]);
    rig_start_engine(r);
    rig_open_sights(r);
    const struct live_hooks hooks = { .events = &r->sink,
                                      .save_extra = on_save_extra,
                                      .read_target_record = on_read_record,
                                      .release_target_record = on_release_record,
                                      .allow_target_record = on_allow_record,
                                      .on_target_silent = on_target_silent,
                                      .may_write = on_may_write,
                                      .ctx = r };
    const struct rig_memory *m = r->memory;
    r->live = live_new(r->engine, &r->options, &hooks, m != NULL ? &m->live : &none);
    if (m != NULL)
        assert_true(extra_from_bytes(live_extra(r->live), bytes_of(m->extra, m->extra_len)));
    live_start(r->live, rig_target_keys(r));
}

void rig_round(struct live_rig *r) {
    if (engine_has_failed(r->engine, &r->err)) fail_msg("%s: %s", r->err.place, r->err.text);
    for (int i = 0; i < 2; i++) {
        if (engine_takes_refresh(r->engine, i == 0)) sight_want(r->sights[i]);
        sight_step(r->sights[i]);
    }
    r->stepped = live_step(r->live, r->stopping, &r->ended, &r->err);
    if (!r->stepped && !r->stopping) fail_msg("%s", r->err.text);
    r->function_changes += live_takes_function_change(r->live);
    if (!r->functions_wait) live_end_function_change(r->live);
    loop_run_once(loop, ENGINE_ROUND_MS);
}

void rig_stop(struct live_rig *r) {
    if (r->live == NULL) return;
    struct giveup *giveup = engine_plan(r->engine)->giveup;
    live_stop(r->live);
    engine_sum_stats(r->engine, &r->stats);
    engine_stop(r->engine);
    live_free(&r->live);
    engine_free(&r->engine);
    giveup_free(&giveup);
    for (int i = 0; i < 2; i++) {
        sight_free(&r->sights[i]);
        deployment_free(&r->sides[i]);
    }
}

/* ---- from one run to the next ---- */

static void memory_add_node(struct rig_memory *m, const char *address,
                            const struct evidence *evidence) {
    size_t i = m->live.n_base++;
    assert_true(i < RIG_NODES);
    m->live.base = mem_array(m->live.base, i + 1, sizeof(*m->live.base));
    snprintf(m->addresses[i], sizeof(m->addresses[i]), "%s", address);
    evidence_copy(&m->evidence[i], evidence);
    m->live.base[i] = (struct follow_base){ m->addresses[i], &m->evidence[i] };
}

static void on_node(void *ctx, const struct follow_view *view) {
    if (view->evidence != NULL) memory_add_node(ctx, view->address, view->evidence);
}

void rig_remember(struct live_rig *r, struct rig_memory *m) {
    struct live_state s = rig_look(r);
    *m = (struct rig_memory){ .live = { .resumed = true,
                                        .copied_once = s.copied_once,
                                        .since = s.watermark,
                                        .census_done = true } };
    m->extra_len = extra_to_bytes(live_extra(r->live), &m->extra);
    m->live.holds = mem_array(NULL, s.n_holds, sizeof(*s.holds));
    for (size_t i = 0; i < s.n_holds; i++) m->live.holds[m->live.n_holds++] = s.holds[i];
    if (s.copied_once) {
        live_each_node(r->live, on_node, m);
        return;
    }
    m->live.since = s.checkpoint.at;
    for (size_t i = 0; i < s.checkpoint.n_base; i++)
        memory_add_node(m, s.checkpoint.base[i].address, s.checkpoint.base[i].evidence);
    m->live.cursors = mem_array(NULL, s.checkpoint.n_cursors, sizeof(*s.checkpoint.cursors));
    for (size_t i = 0; i < s.checkpoint.n_cursors; i++)
        m->live.cursors[m->live.n_cursors++] = s.checkpoint.cursors[i];
}

void rig_forget(struct rig_memory *m) {
    for (size_t i = 0; i < m->live.n_base; i++) evidence_fini(&m->evidence[i]);
    free(m->live.base);
    free(m->live.cursors);
    free(m->live.holds);
    free(m->extra);
}

/* ---- looking ---- */

struct live_state rig_look(struct live_rig *r) {
    return live_look(r->live);
}

static void count_evidence(void *ctx, const struct follow_view *view) {
    if (view->evidence != NULL) ++*(unsigned *)ctx;
}

bool rig_has_evidence(struct live_rig *r) {
    unsigned n = 0;
    live_each_node(r->live, count_evidence, &n);
    return n > 0;
}

const char *rig_gap(struct live_rig *r, size_t i) {
    struct ledger_view view;
    return live_explain_gap(r->live, i, &view) ? view.why : "";
}

uint64_t rig_copied(struct live_rig *r) {
    struct copy_stats sum;
    engine_sum_stats(r->engine, &sum);
    return stat_get(&sum.copied);
}

bool rig_sides_are_equal(void) {
    char digest[64];
    snprintf(digest, sizeof(digest), "%s", redis_do(&source, "DEBUG DIGEST"));
    return strcmp(digest, redis_do(&target, "DEBUG DIGEST")) == 0;
}

void rig_empty_sides(void) {
    redis_do(&source, "FLUSHALL");
    redis_do(&target, "FLUSHALL");
}

/* ---- for cmocka ---- */

struct live_rig rig;

int rig_setup(void **state) {
    rig_empty_sides();
    rig_init(&rig);
    return 0;
}

int rig_teardown(void **state) {
    rig_stop(&rig);
    return 0;
}

int rig_setup_sides(void **state) {
    log_set_level(LOG_ERROR);
    return fixture_start_sides(state);
}
