/* See engine_rig.h. */
#include "support/engine_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>

#include "support/run_until.h"

enum { PATIENCE_MS = 60000 };

static int open_descriptors(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n;
}

static bool may_write(void *ctx) {
    const struct engine_rig *rig = engine_user(ctx);
    return !rig->closed;
}

void engine_rig_new(struct engine_rig *rig) {
    redis_do(&source, "FLUSHALL");
    redis_do(&target, "FLUSHALL");
    rig->descriptors = open_descriptors();
    fixture_open_sides(rig->sides);
    rig->settings.source = rig->sides[0];
    rig->settings.target = rig->sides[1];
    rig->settings.filter = &rig->filter;
    rig->engine = engine_new(&rig->settings);
    engine_set_user(rig->engine, rig);
    engine_set_databases(rig->engine, &(int){ 0 }, 1);
    struct copy_plan *plan = engine_plan(rig->engine), of_rig = fixture_plan(rig->sides);
    plan->can = of_rig.can;
    plan->batch_keys = of_rig.batch_keys;
    plan->window_keys = of_rig.window_keys;
    plan->max_args = of_rig.max_args;
    plan->lane_bytes = of_rig.lane_bytes;
    plan->big_key_bytes = of_rig.big_key_bytes;
    plan->giveup = rig->giveup = of_rig.giveup;
    plan->structured = true;
    plan->live = rig->settings.live;
    plan->names_bytes_max = rig->settings.buffer_bytes;
    plan->may_write = may_write;
}

void engine_rig_begin(struct engine_rig *rig) {
    struct err err;
    if (!engine_start(rig->engine, &err)) fail_msg("%s", err.text);
    engine_begin(rig->engine);
}

void engine_rig_end(struct engine_rig *rig) {
    engine_free(&rig->engine);
    assert_null(rig->engine);
    giveup_free(&rig->giveup);
    deployment_free(&rig->sides[0]);
    deployment_free(&rig->sides[1]);
    for (int i = 0; i < 3; i++) loop_run_once(loop, 0);
    assert_int_equal(open_descriptors(), rig->descriptors);
}

struct copy_stats engine_rig_stats(struct engine_rig *rig) {
    struct copy_stats stats;
    engine_sum_stats(rig->engine, &stats);
    return stats;
}

void engine_rig_open(struct engine_rig *rig, enum coverage_kind kind, bool whole) {
    struct slot_set all = { 0 };
    slot_set_add_range(&all, 0, SLOT_COUNT - 1);
    coverage_open(engine_coverage(rig->engine, kind), COVERAGE_ALL_DATABASES, &all, whole);
}

static void fail_where_it_failed(struct engine_rig *rig) {
    struct err err;
    if (engine_has_failed(rig->engine, &err)) fail_msg("%s: %s", err.place, err.text);
}

void engine_rig_settle(struct engine_rig *rig) {
    RUN_UNTIL(engine_is_idle(rig->engine));
    fail_where_it_failed(rig);
}

void engine_rig_cover(struct engine_rig *rig, enum coverage_kind kind) {
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!coverage_step(engine_coverage(rig->engine, kind))) {
        fail_where_it_failed(rig);
        if (clock_mono_ms() > deadline_ms) fail_msg("the scan does not end");
        loop_run_once(loop, ENGINE_ROUND_MS);
    }
    engine_rig_settle(rig);
}
