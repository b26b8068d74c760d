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
    plan->can.source_spans_slots = !deployment_is_cluster(rig->sides[0]);
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

struct trust {
    struct lane *lane;
    const struct address *address;
    const char *run_id;
    _Atomic int *left;
};

static void on_trust(void *ctx) {
    const struct trust *trust = ctx;
    lane_trust(trust->lane, trust->address, trust->run_id, true);
    (*trust->left)--;
}

static void trust_node(struct engine_rig *rig, const struct address *address) {
    struct server_info info;
    struct err err;
    struct trust trusts[ENGINE_LANES_MAX];
    int lanes = engine_lanes(rig->engine);
    _Atomic int left = lanes;
    if (!deployment_node_info(rig->sides[0], address, &info, NULL, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < lanes; i++) {
        trusts[i] = (struct trust){ engine_lane(rig->engine, i), address, info.run_id, &left };
        loop_post(engine_lane_loop(rig->engine, i), on_trust, &trusts[i]);
    }
    RUN_UNTIL(left == 0);
}

void engine_rig_begin(struct engine_rig *rig) {
    struct err err;
    if (!engine_start(rig->engine, &err)) fail_msg("%s", err.text);
    engine_begin(rig->engine);
    if (!rig->settings.live) return;
    struct topology *t = deployment_topology(rig->sides[0]);
    for (int i = 0; i < t->n_nodes; i++)
        if (topology_is_primary(t, i)) trust_node(rig, &t->nodes[i].address);
    topology_unref(&t);
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

/* As a job does in each round. */
static void rig_round(struct engine_rig *rig) {
    struct err err;
    if (engine_has_failed(rig->engine, &err)) fail_msg("%s: %s", err.place, err.text);
    for (int of_source = 0; of_source <= 1; of_source++) {
        struct deployment *side = rig->sides[!of_source];
        if (!engine_takes_refresh(rig->engine, of_source)) continue;
        uint64_t epoch = deployment_epoch(side);
        if (deployment_refresh(side, &err) && deployment_epoch(side) != epoch)
            engine_topology_changed(rig->engine, of_source);
    }
    loop_run_once(loop, ENGINE_ROUND_MS);
}

void engine_rig_settle(struct engine_rig *rig) {
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!engine_is_idle(rig->engine)) {
        if (clock_mono_ms() > deadline_ms) fail_msg("the names are not served");
        rig_round(rig);
    }
}

void engine_rig_cover(struct engine_rig *rig, enum coverage_kind kind) {
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!coverage_step(engine_coverage(rig->engine, kind))) {
        if (clock_mono_ms() > deadline_ms) fail_msg("the scan does not end");
        rig_round(rig);
    }
    engine_rig_settle(rig);
}
