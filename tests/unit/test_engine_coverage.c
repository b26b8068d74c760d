/* Coverage of one server: each slot is scanned once, and once more where the scan proved nothing or
 * the slot was opened again; and a pass begins where and when the rules say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/engine_rig.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, KEYS = 1000, MANY = 20000, ROUNDS = 20 };

/* A rig, the names that its passes gave, and a gate: the first name waits there until the gate is
 * opened. */
struct told {
    struct engine_rig rig;
    _Atomic int named, named_db, named_in[SLOT_COUNT];
    _Atomic bool gated, at_gate;
    bool allowed;
    int asked,
        starts; /* of may_scan(); of starts_at(): how many are answered, after `starts_after` */
    int starts_after;
    struct pass_start start;
};

static void on_named(void *ctx, int db, uint16_t slot) {
    struct told *t = ctx;
    t->named++;
    t->named_in[slot]++;
    t->named_db = db;
    if (t->gated) t->at_gate = true;
    while (t->gated) usleep(1000);
}

static bool may_scan(void *ctx, const struct address *primary) {
    struct told *t = ctx;
    t->asked++;
    assert_int_equal(primary->port, source.port);
    return t->allowed;
}

static bool starts_at(void *ctx, const struct pass_view *pass, struct pass_start *start) {
    struct told *t = ctx;
    assert_true(slot_set_count(pass->whole) > 0);
    if (t->starts_after-- > 0 || t->starts == 0) return false;
    t->starts--;
    *start = t->start;
    return true;
}

static int64_t used_since_us(void *ctx, uint16_t slot) {
    return clock_wall_us() - INT64_C(1000) * 1000 * 1000;
}

static struct coverage *forward(struct told *t) {
    return engine_coverage(t->rig.engine, COVERAGE_FORWARD);
}

static struct told *told_begin(bool live, int n_dbs) {
    static struct told told;
    struct told *t = &told;
    const struct coverage_rules rules = { may_scan, starts_at, on_named, t };
    told = (struct told){ .rig = ENGINE_RIG, .allowed = true };
    t->rig.settings.live = live;
    engine_rig_new(&t->rig);
    engine_set_databases(t->rig.engine, (const int[]){ 0, 3 }, (size_t)n_dbs);
    engine_plan(t->rig.engine)->used_since_us = used_since_us;
    coverage_set_rules(forward(t), &rules);
    engine_rig_begin(&t->rig);
    engine_rig_settle(&t->rig);
    return t;
}

static void populate(int keys) {
    redis_do(&source, "DEBUG POPULATE %d key 8", keys);
}

static int keys_of(const struct redis_process *p) {
    return atoi(redis_do(p, "DBSIZE") + 1);
}

static unsigned pending(struct told *t, int db) {
    struct slot_set set = coverage_pending(forward(t), db);
    return slot_set_count(&set);
}

static void open_all(struct told *t) {
    engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
}

static void cover(struct told *t) {
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
}

/* Starts the pass, and waits until its first name is at the gate. */
static void stop_at_gate(struct told *t) {
    t->gated = true;
    open_all(t);
    assert_false(coverage_step(forward(t)));
    RUN_UNTIL(t->at_gate);
}

/* ---- once, and once more ---- */

static void each_slot_is_scanned_once(void **state) {
    struct told *t = told_begin(false, 1);
    populate(KEYS);
    assert_true(coverage_is_complete(forward(t)));
    assert_true(coverage_step(forward(t))); /* nothing has been opened */
    open_all(t);
    assert_false(coverage_is_complete(forward(t)));
    cover(t);
    assert_true(coverage_is_complete(forward(t)));
    assert_int_equal(t->named, KEYS);
    assert_int_equal(keys_of(&target), KEYS);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 0);
    engine_rig_end(&t->rig);
}

static void a_slot_that_is_opened_while_it_is_scanned_is_scanned_once_more(void **state) {
    struct told *t = told_begin(false, 1);
    uint16_t slot = slot_of_key(BYTES_LITERAL("key:7"));
    struct slot_set set = { 0 };
    slot_set_add(&set, slot);
    populate(KEYS);
    stop_at_gate(t);
    coverage_open(forward(t), 0, &set, true);
    t->gated = false;
    cover(t);
    int in_slot = t->named_in[slot];
    assert_true(in_slot > 0 && in_slot % 2 == 0);
    assert_int_equal(t->named, KEYS + in_slot / 2);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 0); /* it was no failure */
    engine_rig_end(&t->rig);
}

static void another_process_is_scanned_from_the_start(void **state) {
    struct told *t = told_begin(false, 1);
    populate(KEYS);
    stop_at_gate(t);
    redis_restart(&source, NULL);
    populate(KEYS);
    t->gated = false;
    cover(t);
    assert_true(t->named > KEYS);
    assert_int_equal(keys_of(&target), KEYS);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 1);
    engine_rig_end(&t->rig);
}

static void an_aborted_pass_proves_nothing(void **state) {
    struct told *t = told_begin(false, 1);
    populate(KEYS);
    stop_at_gate(t);
    coverage_abort(forward(t));
    coverage_abort(forward(t));
    t->gated = false;
    /* Its end is judged, and no other one is started. */
    RUN_UNTIL((coverage_judge_ended(t->rig.engine), engine_scan_restarts(t->rig.engine) == 1));
    assert_int_equal(pending(t, 0), SLOT_COUNT);
    assert_true(engine_takes_refresh(t->rig.engine, true));
    int before = t->named;
    assert_true(before < KEYS);
    for (int i = 0; i < ROUNDS; i++) loop_run_once(loop, 1);
    assert_int_equal(t->named, before);
    cover(t);
    assert_int_equal(t->named, before + KEYS); /* as a whole: it is copied */
    assert_int_equal(keys_of(&target), KEYS);
    engine_rig_end(&t->rig);
}

static void a_scan_that_is_refused_fails_the_engine(void **state) {
    struct told *t = told_begin(false, 1);
    struct err err = { 0 };
    populate(KEYS);
    redis_do(&source, "ACL SETUSER default -scan");
    open_all(t);
    RUN_UNTIL((coverage_step(forward(t)), engine_has_failed(t->rig.engine, &err)));
    redis_do(&source, "ACL SETUSER default +@all");
    assert_int_equal(err.code, ERR_NOPERM);
    assert_int_equal(pending(t, 0), SLOT_COUNT);
    engine_rig_end(&t->rig);
}

/* ---- pending slots ---- */

static void pending_is_told_for_each_database(void **state) {
    struct told *t = told_begin(false, 2);
    struct slot_set some = { 0 };
    slot_set_add_range(&some, 5, 9);
    coverage_open(forward(t), 3, &some, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pending(t, 0), 0);
        assert_int_equal(pending(t, 3), 5);
        assert_int_equal(pending(t, COVERAGE_ALL_DATABASES), 5);
        assert_false(coverage_is_complete(forward(t)));
        /* The second time a pass runs over them. */
        if (i == 0) assert_false(coverage_step(forward(t)));
    }
    cover(t);
    assert_int_equal(pending(t, COVERAGE_ALL_DATABASES), 0);
    engine_rig_end(&t->rig);
}

static void a_database_that_comes_later_is_scanned_alone(void **state) {
    struct told *t = told_begin(false, 1);
    struct slot_set all = engine_job_slots(t->rig.engine);
    populate(KEYS);
    open_all(t);
    cover(t);
    redis_do(&source, "EVAL \"redis.call('select', 7) redis.call('set', 'k', 'v')\" 0");
    engine_add_database(t->rig.engine, 7);
    coverage_open(forward(t), 7, &all, true);
    cover(t);
    assert_int_equal(t->named, KEYS + 1);
    assert_int_equal(t->named_db, 7);
    engine_rig_end(&t->rig);
}

static void count_pass(void *ctx, const struct pass_view *pass) {
    ++*(int *)ctx;
}

static void one_pass_runs_over_a_server_at_a_time(void **state) {
    struct told *t = told_begin(false, 2);
    int passes = 0;
    populate(KEYS);
    stop_at_gate(t);
    for (int i = 0; i < ROUNDS; i++) coverage_step(forward(t));
    coverage_each_pass(t->rig.engine, count_pass, &passes);
    assert_int_equal(passes, 1);
    assert_int_equal(pending(t, 3), SLOT_COUNT);
    t->gated = false;
    cover(t);
    passes = 0;
    coverage_each_pass(t->rig.engine, count_pass, &passes);
    assert_int_equal(passes, 2); /* that have ended well */
    engine_rig_end(&t->rig);
}

/* ---- rules ---- */

static void nothing_is_scanned_before_it_may_be(void **state) {
    struct told *t = told_begin(false, 1);
    populate(KEYS);
    t->allowed = false;
    open_all(t);
    for (int i = 0; i < ROUNDS; i++) {
        assert_false(coverage_step(forward(t)));
        loop_run_once(loop, 1);
    }
    assert_int_equal(t->asked, ROUNDS);
    assert_int_equal(t->named, 0);
    t->allowed = true;
    cover(t);
    assert_int_equal(t->named, KEYS);
    engine_rig_end(&t->rig);
}

static void note_start(void *ctx, const struct pass_view *pass) {
    struct pass_start *start = ctx;
    snprintf(start->cursor, sizeof(start->cursor), "%s", pass->cursor);
    snprintf(start->run_id, sizeof(start->run_id), "%s", pass->run_id);
}

/* Keys that changed since the former run are looked for by another pass behind it. */
static void a_pass_goes_on_where_a_former_one_was(void **state) {
    struct told *t = told_begin(true, 1);
    populate(MANY);
    t->starts_after = t->starts = 1;
    t->rig.closed = true;
    open_all(t);
    assert_false(coverage_step(forward(t)));
    RUN_UNTIL(t->named >= ENGINE_QUEUE_HIGH);
    for (int i = 0; i < ROUNDS; i++) loop_run_once(loop, ENGINE_ROUND_MS); /* it pauses */
    coverage_each_pass(t->rig.engine, note_start, &t->start);
    coverage_abort(forward(t));
    t->rig.closed = false;
    engine_update_lanes(t->rig.engine);
    cover(t);
    assert_int_equal(t->starts, 0);
    assert_int_equal(t->named, 2 * MANY);
    assert_int_equal(keys_of(&target), MANY);
    engine_rig_end(&t->rig);
}

/* The cursor of a process that is gone is worth nothing. */
static void a_pass_of_another_process_begins_anew(void **state) {
    struct told *t = told_begin(true, 1);
    populate(KEYS);
    t->starts = 1;
    strcpy(t->start.cursor, "77");
    strcpy(t->start.run_id, "of-a-former-process");
    open_all(t);
    cover(t);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 1);
    assert_int_equal(t->named, KEYS);
    assert_int_equal(keys_of(&target), KEYS);
    engine_rig_end(&t->rig);
}

static void a_pass_that_was_complete_copies_keys_in_use_alone(void **state) {
    struct told *t = told_begin(true, 1);
    redis_do(&source,
             "EVAL \"redis.call('set', 'any', 'v') local v = redis.call('dump', 'any') "
             "redis.call('del', 'any') for i = 1, %d do "
             "redis.call('restore', 'key:' .. i, 0, v, 'idletime', 5000) end "
             "redis.call('set', 'used', 'v')\" 0",
             KEYS);
    t->starts = 1;
    t->start.copied = true;
    open_all(t);
    cover(t);
    struct copy_stats stats = engine_rig_stats(&t->rig);
    assert_int_equal(t->named, KEYS + 1);
    assert_int_equal(stat_get(&stats.unchanged), KEYS);
    assert_int_equal(keys_of(&target), 1);
    engine_rig_end(&t->rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_slot_is_scanned_once),
        cmocka_unit_test(a_slot_that_is_opened_while_it_is_scanned_is_scanned_once_more),
        cmocka_unit_test(another_process_is_scanned_from_the_start),
        cmocka_unit_test(an_aborted_pass_proves_nothing),
        cmocka_unit_test(a_scan_that_is_refused_fails_the_engine),
        cmocka_unit_test(pending_is_told_for_each_database),
        cmocka_unit_test(a_database_that_comes_later_is_scanned_alone),
        cmocka_unit_test(one_pass_runs_over_a_server_at_a_time),
        cmocka_unit_test(nothing_is_scanned_before_it_may_be),
        cmocka_unit_test(a_pass_goes_on_where_a_former_one_was),
        cmocka_unit_test(a_pass_of_another_process_begins_anew),
        cmocka_unit_test(a_pass_that_was_complete_copies_keys_in_use_alone),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
