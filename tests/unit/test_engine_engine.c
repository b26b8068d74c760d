/* The engine as a whole: threads, failures, wishes, databases, marks, and its end at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/engine_priv.h"
#include "engine/enqueue.h"
#include "support/engine_rig.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, KEYS = 2000, WAIT_MS = 2000, UNPAUSE_MS = 50 };

static int target_keys(void) {
    return atoi(redis_do(&target, "DBSIZE") + 1);
}

static void name_numbers(struct engine_rig *rig, int from, int to) {
    struct enqueue q;
    char text[32];
    enqueue_begin(&q, rig->engine, NULL, 0);
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof(text), "key:%d", i);
        struct bytes key = bytes_of_str(text);
        enqueue_key(&q, key, slot_of_key(key), REASON_CHANGED);
    }
    enqueue_end(&q);
}

/* ---- threads ---- */

static int lanes_for(struct engine_rig *rig, int threads) {
    rig->settings.threads = threads;
    engine_rig_new(rig);
    int lanes = engine_plan(rig->engine)->lanes;
    assert_int_equal(engine_lanes(rig->engine), 0); /* none has been started */
    engine_rig_end(rig);
    return lanes;
}

static void threads_are_as_many_as_asked_for_within_bounds(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    assert_int_equal(lanes_for(&rig, 3), 3);
    assert_int_equal(lanes_for(&rig, ENGINE_LANES_MAX + 1), ENGINE_LANES_MAX);
    assert_int_equal(lanes_for(&rig, -1), 1);
    assert_int_equal(lanes_for(&rig, 0), 1); /* one primary each: one keeps them busy */
}

static void a_thread_that_cannot_start_is_an_error(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct rlimit before, limit;
    struct err err = { 0 };
    engine_rig_new(&rig);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_false(engine_start(rig.engine, &err));
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_not_equal(err.code, ERR_NONE);
    engine_rig_end(&rig);
}

static void everything_has_its_place(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct slot_set some = { 0 };
    rig.settings.threads = 2;
    engine_rig_new(&rig);
    assert_ptr_equal(engine_loop(rig.engine), loop);
    assert_ptr_equal(engine_source(rig.engine), rig.sides[0]);
    assert_ptr_equal(engine_target(rig.engine), rig.sides[1]);
    assert_ptr_equal(engine_user(rig.engine), &rig);
    assert_int_equal(engine_settings_of(rig.engine)->scan_count, rig.settings.scan_count);
    struct slot_set wanted = engine_job_slots(rig.engine);
    assert_int_equal(slot_set_count(&wanted), SLOT_COUNT);
    slot_set_add_range(&some, 5, 9);
    rig.filter.slots = &some;
    wanted = engine_job_slots(rig.engine);
    assert_memory_equal(&wanted, &some, sizeof(some));
    engine_rig_begin(&rig);
    assert_int_equal(engine_lanes(rig.engine), 2);
    struct worker *first = engine_next_worker(rig.engine);
    struct worker *second = engine_next_worker(rig.engine);
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(engine_next_worker(rig.engine), first);
    assert_ptr_equal(engine_lane_loop(rig.engine, 1), lane_loop(engine_lane(rig.engine, 1)));
    engine_rig_end(&rig);
}

/* ---- failures and wishes ---- */

static void the_first_failure_counts(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct err first, second, got = { 0 };
    engine_rig_new(&rig);
    assert_false(engine_has_failed(rig.engine, &got));
    assert_int_equal(got.code, ERR_NONE);
    err_set(&first, ERR_NOPERM, "source", "the first");
    err_set(&second, ERR_OUTAGE, "target", "the second");
    engine_plan(rig.engine)->on_failed(rig.engine, &first); /* as a lane tells it */
    engine_fail(rig.engine, &second);
    assert_true(engine_has_failed(rig.engine, &got));
    assert_int_equal(got.code, ERR_NOPERM);
    assert_string_equal(got.text, "the first");
    assert_true(engine_has_failed(rig.engine, &got));
    engine_rig_end(&rig);
}

static void a_wish_for_a_topology_is_taken_once(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    engine_rig_new(&rig);
    for (int of_source = 0; of_source <= 1; of_source++) {
        struct copy_plan *plan = engine_plan(rig.engine);
        for (int i = 0; i < 2; i++) plan->request_refresh(plan->ctx, rig.sides[!of_source]);
        assert_false(engine_takes_refresh(rig.engine, !of_source));
        assert_true(engine_takes_refresh(rig.engine, of_source));
        assert_false(engine_takes_refresh(rig.engine, of_source));
    }
    engine_rig_end(&rig);
}

static void assert_woken(void) {
    int64_t before_ms = clock_mono_ms();
    loop_run_once(loop, WAIT_MS);
    assert_true(clock_mono_ms() < before_ms + WAIT_MS);
    for (int i = 0; i < 5; i++) loop_run_once(loop, 0);
}

/* A failure and a wish end the wait of the control loop. */
static void the_control_loop_is_woken(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct err err;
    engine_rig_new(&rig);
    for (int i = 0; i < 5; i++) loop_run_once(loop, 0);
    err_set(&err, ERR_OUTAGE, "target", "down");
    engine_want_refresh(rig.engine, true);
    assert_woken();
    engine_fail(rig.engine, &err);
    assert_woken();
    engine_rig_end(&rig);
}

/* ---- databases ---- */

static void databases_grow_and_none_is_there_twice(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    size_t n;
    engine_rig_new(&rig);
    engine_set_databases(rig.engine, (const int[]){ 0, 4 }, 2);
    assert_false(engine_add_database(rig.engine, 4));
    assert_true(engine_add_database(rig.engine, 9));
    const int *dbs = engine_databases(rig.engine, &n);
    assert_int_equal(n, 3);
    assert_true(dbs[0] == 0 && dbs[1] == 4 && dbs[2] == 9);
    engine_rig_end(&rig);
}

/* Databases of the target whose remains of a killed job are removed. */
static void the_databases_that_are_written_to_are_cleaned(void **state) {
    static const char exists[] =
        "EVAL \"local n = 0 for db = 0, 4 do redis.call('select', db) n = n * 2 + "
        "redis.call('exists', KEYS[1]) end return n\" 1 %s";
    char left[64], tag[SLOT_TAG_MAX];
    snprintf(left, sizeof(left), "longhaul:tmp:{%s}", slot_tag(7, tag));
    for (int target_db = -1; target_db <= 1; target_db += 2) {
        struct engine_rig rig = ENGINE_RIG;
        rig.settings.target_db = target_db;
        engine_rig_new(&rig);
        engine_set_databases(rig.engine, (const int[]){ 0, 3 }, 2);
        redis_do(&target,
                 "EVAL \"for db = 0, 4 do redis.call('select', db) redis.call('set', KEYS[1], 1) "
                 "end\" 1 %s",
                 left);
        assert_string_equal(redis_do(&target, exists, left), ":31");
        engine_rig_begin(&rig);
        engine_rig_settle(&rig);
        assert_string_equal(redis_do(&target, exists, left), target_db < 0 ? ":13" : ":23");
        engine_rig_end(&rig);
    }
}

/* ---- marks ---- */

static void marks_are_reached_when_all_lanes_have_served_the_names_before(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct engine_marks marks = { 0 };
    rig.settings.threads = 3;
    engine_rig_new(&rig);
    engine_rig_begin(&rig);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    for (int i = 1; i <= 2; i++) { /* the struct is good for another round */
        rig.closed = true;
        name_numbers(&rig, (i - 1) * KEYS / 2, i * KEYS / 2);
        engine_put_marks(rig.engine, &marks);
        RUN_UNTIL(engine_names_arrived(rig.engine));
        assert_false(engine_marks_reached(&marks));
        rig.closed = false;
        engine_update_lanes(rig.engine);
        RUN_UNTIL(engine_marks_reached(&marks));
        assert_int_equal(target_keys(), i * KEYS / 2);
    }
    engine_stop(rig.engine);
    engine_marks_fini(&marks);
    engine_rig_end(&rig);
}

struct own_mark {
    struct lane_mark mark;
    struct engine *engine;
    struct worker *here;
    _Atomic int reached;
};

static void on_own_mark(struct lane_mark *mark) {
    ((struct own_mark *)mark)->reached++;
}

static void on_put_mark(void *ctx) {
    struct own_mark *m = ctx;
    engine_put_mark(m->engine, m->here, 0, &m->mark);
}

static void a_lane_is_marked_from_its_own_thread_too(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    engine_rig_new(&rig);
    engine_rig_begin(&rig);
    struct own_mark m = { .mark = { .reached = on_own_mark },
                          .engine = rig.engine,
                          .here = engine_next_worker(rig.engine) };
    loop_post(worker_loop(m.here), on_put_mark, &m);
    RUN_UNTIL(m.reached == 1);
    engine_rig_end(&rig);
}

/* ---- memory ---- */

static void half_of_the_memory_for_names_is_full(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    engine_rig_new(&rig);
    engine_rig_begin(&rig);
    engine_rig_settle(&rig);
    rig.closed = true;
    assert_false(engine_is_full(rig.engine));
    name_numbers(&rig, 0, KEYS);
    struct copy_stats stats;
    RUN_UNTIL((stats = engine_rig_stats(&rig),
               stat_get(&stats.waiting) == KEYS && stat_get(&stats.waiting_bytes) > 16 * KEYS));
    assert_false(engine_is_full(rig.engine));
    uint64_t bytes = stat_get(&stats.waiting_bytes);
    engine_plan(rig.engine)->names_bytes_max = 2 * bytes - 2;
    assert_true(engine_is_full(rig.engine));
    engine_plan(rig.engine)->names_bytes_max = 2 * bytes;
    assert_false(engine_is_full(rig.engine));
    engine_rig_end(&rig);
}

/* ---- ends ---- */

static void on_unpause(void *ctx) {
    redis_do(&target, "CLIENT UNPAUSE");
}

/* The target takes writes again while the engine drains. */
static void a_drain_waits_for_keys_in_flight_and_takes_no_others(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    engine_rig_new(&rig);
    engine_plan(rig.engine)->window_keys = 100;
    engine_rig_begin(&rig);
    engine_rig_settle(&rig);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    redis_do(&target, "CLIENT PAUSE %d WRITE", PATIENCE_MS);
    name_numbers(&rig, 0, KEYS);
    struct copy_stats stats;
    RUN_UNTIL((stats = engine_rig_stats(&rig), stat_get(&stats.in_flight) > 0));
    struct loop_timer *timer = loop_timer_new(loop, on_unpause, NULL);
    loop_timer_start(timer, UNPAUSE_MS);
    engine_drain(rig.engine);
    loop_timer_free(&timer);
    stats = engine_rig_stats(&rig);
    assert_int_equal(stat_get(&stats.in_flight), 0);
    assert_true(stat_get(&stats.waiting) > 0);
    assert_int_equal(target_keys(), stat_get(&stats.copied));
    assert_in_range(stat_get(&stats.copied), 1, KEYS - 1);
    engine_rig_end(&rig);
}

static void a_drain_ends_at_its_deadline(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    engine_rig_new(&rig);
    engine_rig_begin(&rig);
    engine_rig_settle(&rig);
    redis_do(&source, "DEBUG POPULATE 10 key 8");
    redis_do(&target, "CLIENT PAUSE %d WRITE", PATIENCE_MS);
    name_numbers(&rig, 0, 10);
    struct copy_stats stats;
    RUN_UNTIL((stats = engine_rig_stats(&rig), stat_get(&stats.in_flight) > 0));
    int64_t before_ms = clock_mono_ms();
    engine_drain(rig.engine);
    int64_t took_ms = clock_mono_ms() - before_ms;
    engine_rig_end(&rig);
    redis_do(&target, "CLIENT UNPAUSE");
    assert_in_range(took_ms, ENGINE_DRAIN_MS, PATIENCE_MS / 2);
}

/* Passes are under way on several threads, and nobody drains. */
static void it_may_end_at_any_moment(void **state) {
    for (int i = 0; i < 5; i++) {
        struct engine_rig rig = ENGINE_RIG;
        rig.settings.threads = 4;
        rig.settings.scan_count = 10;
        engine_rig_new(&rig);
        for (int db = 1; db < 4; db++) engine_add_database(rig.engine, db);
        engine_rig_begin(&rig);
        redis_do(&source, "DEBUG POPULATE %d key 8", 20 * KEYS);
        engine_rig_open(&rig, COVERAGE_FORWARD, true);
        engine_rig_open(&rig, COVERAGE_SWEEP, true);
        engine_rig_open(&rig, COVERAGE_STREAMS, true);
        for (int kind = 0; kind < COVERAGE_KINDS; kind++)
            assert_false(coverage_step(engine_coverage(rig.engine, (enum coverage_kind)kind)));
        RUN_UNTIL(engine_scanned(rig.engine) > (uint64_t)i * KEYS);
        engine_rig_end(&rig);
    }
}

static void an_engine_that_never_began_is_freed(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    engine_rig_new(&rig);
    engine_rig_open(&rig, COVERAGE_FORWARD, true);
    engine_rig_end(&rig);
    engine_free(&rig.engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_are_as_many_as_asked_for_within_bounds),
        cmocka_unit_test(a_thread_that_cannot_start_is_an_error),
        cmocka_unit_test(everything_has_its_place),
        cmocka_unit_test(the_first_failure_counts),
        cmocka_unit_test(a_wish_for_a_topology_is_taken_once),
        cmocka_unit_test(the_control_loop_is_woken),
        cmocka_unit_test(databases_grow_and_none_is_there_twice),
        cmocka_unit_test(the_databases_that_are_written_to_are_cleaned),
        cmocka_unit_test(marks_are_reached_when_all_lanes_have_served_the_names_before),
        cmocka_unit_test(a_lane_is_marked_from_its_own_thread_too),
        cmocka_unit_test(half_of_the_memory_for_names_is_full),
        cmocka_unit_test(a_drain_waits_for_keys_in_flight_and_takes_no_others),
        cmocka_unit_test(a_drain_ends_at_its_deadline),
        cmocka_unit_test(it_may_end_at_any_moment),
        cmocka_unit_test(an_engine_that_never_began_is_freed),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
