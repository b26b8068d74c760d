/* A pass over a real server: it names the keys of its slots to the lanes for the right reason,
 * waits while the lanes have enough, and remembers how far it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/call.h"
#include "support/engine_rig.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, KEYS = 2000, MANY = 20000, LOW = SLOT_COUNT / 2, QUIET_MS = 100 };

/* A rig, and the events that its passes and lanes told. */
struct told {
    struct engine_rig rig;
    _Atomic int named[SLOT_COUNT];
    _Atomic int named_db, missing, missing_db;
    char missing_key[64];
};

static void on_named(void *ctx, int db, uint16_t slot) {
    struct told *t = ctx;
    t->named[slot]++;
    t->named_db = db;
}

static bool on_missing(void *ctx, int db, struct bytes key, uint16_t slot, const char *run_id) {
    struct told *t = (struct told *)engine_user(ctx); /* begins with its rig */
    snprintf(t->missing_key, sizeof(t->missing_key), "%.*s", (int)key.len, key.ptr);
    t->missing_db = db;
    t->missing++;
    return true;
}

static int64_t used_since_us(void *ctx, uint16_t slot) {
    return clock_wall_us() - INT64_C(1000) * 1000 * 1000;
}

static struct told *told_new(void) {
    static struct told told;
    told = (struct told){ .rig = ENGINE_RIG };
    return &told;
}

static void told_begin(struct told *t, enum coverage_kind kind) {
    const struct coverage_rules rules = { .on_named = on_named, .ctx = t };
    engine_rig_new(&t->rig);
    engine_plan(t->rig.engine)->on_missing = on_missing;
    engine_plan(t->rig.engine)->used_since_us = used_since_us;
    coverage_set_rules(engine_coverage(t->rig.engine, kind), &rules);
    engine_rig_begin(&t->rig);
    engine_rig_settle(&t->rig);
}

static int named_in(const struct told *t, int first, int last) {
    int n = 0;
    for (int slot = first; slot <= last; slot++) n += t->named[slot];
    return n;
}

static int keys_in_low_slots(int keys) {
    int n = 0;
    char text[32];
    for (int i = 0; i < keys; i++) {
        snprintf(text, sizeof(text), "key:%d", i);
        n += slot_of_key(bytes_of_str(text)) < LOW;
    }
    return n;
}

static int keys_of(const struct redis_process *p) {
    return atoi(redis_do(p, "DBSIZE") + 1);
}

static void cover_low_slots(struct told *t, bool whole) {
    struct slot_set low = { 0 };
    slot_set_add_range(&low, 0, LOW - 1);
    coverage_open(engine_coverage(t->rig.engine, COVERAGE_FORWARD), 0, &low, whole);
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
}

/* ---- which keys, and why ---- */

static void the_keys_of_its_slots_are_copied_and_no_others(void **state) {
    struct told *t = told_new();
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    cover_low_slots(t, true);
    int low = keys_in_low_slots(KEYS);
    assert_int_equal(keys_of(&target), low);
    assert_true(named_in(t, 0, LOW - 1) >= low); /* SCAN may name a key twice */
    assert_int_equal(named_in(t, LOW, SLOT_COUNT - 1), 0);
    assert_int_equal(engine_scanned(t->rig.engine), named_in(t, 0, LOW - 1));
    assert_int_equal(engine_scan_restarts(t->rig.engine), 0);
    engine_rig_end(&t->rig);
}

static void filters_and_own_keys_are_left_out(void **state) {
    struct told *t = told_new();
    char keys[] = "key:1?", own[] = "longhaul*", *include[] = { keys, own };
    t->rig.filter.include = include;
    t->rig.filter.n_include = 2;
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    redis_do(&source, "SET longhaul:{job}:state x");
    engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
    assert_int_equal(keys_of(&target), 10);
    assert_int_equal(engine_scanned(t->rig.engine), 10);
    engine_rig_end(&t->rig);
}

static void the_server_picks_keys_of_one_type(void **state) {
    struct told *t = told_new();
    char list[] = "list", *types[] = { list };
    t->rig.filter.types = types;
    t->rig.filter.n_types = 1;
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source, "MSET a 1 b 2");
    redis_do(&source, "RPUSH l 1");
    engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
    assert_int_equal(engine_scanned(t->rig.engine), 1);
    assert_string_equal(redis_do(&target, "TYPE l"), "+list");
    engine_rig_end(&t->rig);
}

static void slots_that_are_not_whole_are_copied_if_used(void **state) {
    struct told *t = told_new();
    t->rig.settings.live = true;
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source,
             "EVAL \"redis.call('set', 'any', 'v') local v = redis.call('dump', 'any') "
             "redis.call('del', 'any') for i = 0, %d do "
             "redis.call('restore', 'key:' .. i, 0, v, 'idletime', 5000) end\" 0",
             KEYS - 1);
    engine_rig_open(&t->rig, COVERAGE_FORWARD, false);
    cover_low_slots(t, true);
    struct copy_stats stats = engine_rig_stats(&t->rig);
    int low = keys_in_low_slots(KEYS);
    assert_int_equal(keys_of(&target), low);
    assert_int_equal(stat_get(&stats.unchanged), KEYS - low);
    engine_rig_end(&t->rig);
}

/* ---- sweeps and streams ---- */

static void a_sweep_asks_of_each_key_of_the_target_whether_it_is_missing(void **state) {
    struct told *t = told_new();
    t->rig.settings.live = true;
    told_begin(t, COVERAGE_SWEEP);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    redis_do(&target, "DEBUG POPULATE %d key 8", KEYS);
    redis_do(&target, "SET extra x");
    engine_rig_open(&t->rig, COVERAGE_SWEEP, true);
    engine_rig_cover(&t->rig, COVERAGE_SWEEP);
    struct copy_stats stats = engine_rig_stats(&t->rig);
    assert_int_equal(t->missing, 1);
    assert_string_equal(t->missing_key, "extra");
    assert_int_equal(stat_get(&stats.looked), KEYS);
    assert_int_equal(stat_get(&stats.copied), 0);
    assert_int_equal(engine_scanned(t->rig.engine), 0); /* those are keys of the source */
    assert_string_equal(redis_do(&target, "EXISTS extra"), ":1");
    engine_rig_end(&t->rig);
}

static void a_sweep_scans_the_database_that_is_copied_to(void **state) {
    struct told *t = told_new();
    t->rig.settings.live = true;
    t->rig.settings.target_db = 5;
    told_begin(t, COVERAGE_SWEEP);
    redis_do(&target, "SET elsewhere x");
    redis_do(&target, "EVAL \"redis.call('select', 5) redis.call('set', 'extra', 'x')\" 0");
    engine_rig_open(&t->rig, COVERAGE_SWEEP, true);
    engine_rig_cover(&t->rig, COVERAGE_SWEEP);
    assert_int_equal(t->missing, 1);
    assert_string_equal(t->missing_key, "extra");
    assert_int_equal(t->missing_db, 0); /* of the source */
    assert_int_equal(t->named_db, 0);
    engine_rig_end(&t->rig);
}

static void a_sweep_scans_one_type_after_the_other(void **state) {
    struct told *t = told_new();
    char list[] = "list", string[] = "string", *types[] = { list, string };
    t->rig.settings.live = true;
    t->rig.filter.types = types;
    t->rig.filter.n_types = 2;
    told_begin(t, COVERAGE_SWEEP);
    redis_do(&target, "SET s x");
    redis_do(&target, "RPUSH l x");
    redis_do(&target, "SADD not-of-the-job x");
    engine_rig_open(&t->rig, COVERAGE_SWEEP, true);
    engine_rig_cover(&t->rig, COVERAGE_SWEEP);
    assert_int_equal(named_in(t, 0, SLOT_COUNT - 1), 2);
    assert_int_equal(t->missing, 2);
    engine_rig_end(&t->rig);
}

static void a_sweep_removes_what_a_target_with_old_data_brought_back(void **state) {
    struct told *t = told_new();
    char left[64], tag[SLOT_TAG_MAX];
    snprintf(left, sizeof(left), "longhaul:tmp:{%s}", slot_tag(7, tag));
    t->rig.settings.live = true;
    told_begin(t, COVERAGE_SWEEP);
    redis_do(&target, "SET %s x", left);
    engine_rig_open(&t->rig, COVERAGE_SWEEP, true);
    engine_rig_cover(&t->rig, COVERAGE_SWEEP);
    assert_string_equal(redis_do(&target, "EXISTS %s", left), ":0");
    assert_int_equal(t->missing, 0);
    engine_rig_end(&t->rig);
}

static void streams_alone_are_asked_for_their_groups(void **state) {
    struct told *t = told_new();
    t->rig.settings.live = true;
    told_begin(t, COVERAGE_STREAMS);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    redis_do(&source, "XADD stream 1-1 f v");
    redis_do(&source, "XGROUP CREATE stream g 0");
    engine_rig_open(&t->rig, COVERAGE_STREAMS, true);
    engine_rig_cover(&t->rig, COVERAGE_STREAMS);
    assert_int_equal(named_in(t, 0, SLOT_COUNT - 1), 1);
    assert_int_equal(t->named[slot_of_key(BYTES_LITERAL("stream"))], 1);
    assert_int_equal(engine_scanned(t->rig.engine), 0);
    engine_rig_end(&t->rig);
}

/* ---- bounds ---- */

static void run_for(int64_t ms) {
    for (int64_t until_ms = clock_mono_ms() + ms; clock_mono_ms() < until_ms;)
        loop_run_once(loop, ENGINE_ROUND_MS);
}

static void start_while_closed(struct told *t) {
    t->rig.closed = true;
    engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
    assert_false(coverage_step(engine_coverage(t->rig.engine, COVERAGE_FORWARD)));
}

static void it_pauses_while_lanes_have_enough_names(void **state) {
    struct told *t = told_new();
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source, "DEBUG POPULATE %d key 8", MANY);
    start_while_closed(t);
    RUN_UNTIL(engine_scanned(t->rig.engine) >= ENGINE_QUEUE_HIGH);
    run_for(QUIET_MS);
    assert_in_range(engine_scanned(t->rig.engine), ENGINE_QUEUE_HIGH, ENGINE_QUEUE_HIGH + 1000);
    t->rig.closed = false;
    engine_update_lanes(t->rig.engine);
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
    assert_int_equal(keys_of(&target), MANY);
    engine_rig_end(&t->rig);
}

static void it_pauses_while_names_take_much_memory(void **state) {
    struct told *t = told_new();
    t->rig.settings.buffer_bytes = 80000;
    t->rig.settings.scan_count = 10;
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    start_while_closed(t);
    struct copy_stats stats;
    RUN_UNTIL((stats = engine_rig_stats(&t->rig),
               stat_get(&stats.waiting_bytes) >= t->rig.settings.buffer_bytes / 4));
    run_for(QUIET_MS);
    assert_in_range(engine_scanned(t->rig.engine), 1, KEYS / 2);
    t->rig.closed = false;
    engine_update_lanes(t->rig.engine);
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
    assert_int_equal(keys_of(&target), KEYS);
    engine_rig_end(&t->rig);
}

/* ---- how far it is ---- */

struct seen_pass {
    int n;
    char cursor[SCAN_CURSOR_MAX], run_id[RUN_ID_MAX];
    uint16_t port;
    unsigned slots, whole;
};

static void see_pass(void *ctx, const struct pass_view *pass) {
    struct seen_pass *seen = ctx;
    seen->n++;
    snprintf(seen->cursor, sizeof(seen->cursor), "%s", pass->cursor);
    snprintf(seen->run_id, sizeof(seen->run_id), "%s", pass->run_id);
    seen->port = pass->primary->port;
    seen->slots = slot_set_count(pass->slots);
    seen->whole = slot_set_count(pass->whole);
}

static struct seen_pass see(struct told *t) {
    struct seen_pass seen = { 0 };
    coverage_each_pass(t->rig.engine, see_pass, &seen);
    return seen;
}

static void a_live_pass_tells_the_cursor_behind_the_names_it_gave(void **state) {
    struct told *t = told_new();
    struct topology *topology;
    struct server_info info;
    struct err err;
    t->rig.settings.live = true;
    told_begin(t, COVERAGE_FORWARD);
    redis_do(&source, "DEBUG POPULATE %d key 8", MANY);
    assert_int_equal(see(t).n, 0);
    start_while_closed(t);
    RUN_UNTIL(engine_scanned(t->rig.engine) >= ENGINE_QUEUE_HIGH);
    run_for(QUIET_MS);
    topology = deployment_topology(t->rig.sides[0]);
    assert_true(
        deployment_node_info(t->rig.sides[0], &topology->nodes[0].address, &info, NULL, &err));
    topology_unref(&topology);
    struct seen_pass seen = see(t);
    assert_int_equal(seen.n, 1);
    assert_string_equal(seen.run_id, info.run_id);
    assert_true(strcmp(seen.cursor, "") != 0 && strcmp(seen.cursor, "0") != 0);
    assert_int_equal(seen.port, source.port);
    assert_true(seen.slots == SLOT_COUNT && seen.whole == SLOT_COUNT);
    t->rig.closed = false;
    engine_update_lanes(t->rig.engine);
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
    seen = see(t);
    assert_int_equal(seen.n, 1); /* it has ended well */
    assert_string_equal(seen.cursor, "0");
    engine_rig_end(&t->rig);
}

/* The connections of all scans of a pass. */
static void lost_connections_are_counted(void **state) {
    struct told *t = told_new();
    char string[] = "string", list[] = "list", *types[] = { string, list };
    t->rig.settings.live = true;
    t->rig.settings.scan_count = 10;
    t->rig.filter.types = types;
    t->rig.filter.n_types = 2;
    told_begin(t, COVERAGE_SWEEP);
    redis_do(&target, "DEBUG POPULATE %d key 8", MANY);
    t->rig.closed = true;
    engine_rig_open(&t->rig, COVERAGE_SWEEP, true);
    assert_false(coverage_step(engine_coverage(t->rig.engine, COVERAGE_SWEEP)));
    RUN_UNTIL(named_in(t, 0, SLOT_COUNT - 1) >= ENGINE_QUEUE_HIGH);
    struct copy_stats stats = engine_rig_stats(&t->rig);
    uint64_t before = stat_get(&stats.reconnects);
    redis_kill_clients(&target);
    t->rig.closed = false;
    engine_update_lanes(t->rig.engine);
    engine_rig_cover(&t->rig, COVERAGE_SWEEP);
    /* The lane's, and the scan's. */
    RUN_UNTIL((stats = engine_rig_stats(&t->rig), stat_get(&stats.reconnects) >= before + 2));
    assert_int_equal(t->missing, MANY);
    engine_rig_end(&t->rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keys_of_its_slots_are_copied_and_no_others),
        cmocka_unit_test(filters_and_own_keys_are_left_out),
        cmocka_unit_test(the_server_picks_keys_of_one_type),
        cmocka_unit_test(slots_that_are_not_whole_are_copied_if_used),
        cmocka_unit_test(a_sweep_asks_of_each_key_of_the_target_whether_it_is_missing),
        cmocka_unit_test(a_sweep_scans_the_database_that_is_copied_to),
        cmocka_unit_test(a_sweep_scans_one_type_after_the_other),
        cmocka_unit_test(a_sweep_removes_what_a_target_with_old_data_brought_back),
        cmocka_unit_test(streams_alone_are_asked_for_their_groups),
        cmocka_unit_test(it_pauses_while_lanes_have_enough_names),
        cmocka_unit_test(it_pauses_while_names_take_much_memory),
        cmocka_unit_test(a_live_pass_tells_the_cursor_behind_the_names_it_gave),
        cmocka_unit_test(lost_connections_are_counted),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
