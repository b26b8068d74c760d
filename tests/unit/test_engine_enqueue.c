/* Names on their way to lanes: each key to the lane of its slot, at once on the lane's own thread
 * and in one batch each elsewhere; and the engine tells when there are enough of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/enqueue.h"
#include "support/engine_rig.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, LANES = 4, KEYS = 400 };

static void enqueue_numbers(struct enqueue *q, int from, int to) {
    char text[32];
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof(text), "key:%d", i);
        struct bytes key = bytes_of_str(text);
        enqueue_key(q, key, slot_of_key(key), REASON_CHANGED);
    }
}

static int keys_of_lane(struct engine *e, int lane, int keys) {
    int n = 0;
    char text[32];
    for (int i = 0; i < keys; i++) {
        snprintf(text, sizeof(text), "key:%d", i);
        n += lane_of_slot(engine_plan(e), slot_of_key(bytes_of_str(text))) == lane;
    }
    return n;
}

static uint64_t waiting(struct engine *e, int lane) {
    return stat_get(&lane_stats(engine_lane(e, lane))->waiting);
}

static void rig_start(struct engine_rig *rig) {
    rig->settings.threads = LANES;
    engine_rig_new(rig);
    assert_int_equal(engine_plan(rig->engine)->lanes, LANES);
    engine_rig_begin(rig);
    engine_rig_settle(rig); /* nothing was left behind by a killed job */
    rig->closed = true;
}

static void each_key_goes_to_the_lane_of_its_slot(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct enqueue q;
    rig_start(&rig);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    enqueue_begin(&q, rig.engine, NULL, 0);
    enqueue_numbers(&q, 0, KEYS);
    assert_true(engine_is_idle(rig.engine)); /* nothing has been sent */
    enqueue_end(&q);
    RUN_UNTIL(engine_names_arrived(rig.engine));
    for (int i = 0; i < LANES; i++)
        RUN_UNTIL(waiting(rig.engine, i) == (uint64_t)keys_of_lane(rig.engine, i, KEYS));
    assert_false(engine_is_idle(rig.engine));
    rig.closed = false;
    engine_update_lanes(rig.engine);
    engine_rig_settle(&rig);
    for (int i = 0; i < LANES; i++)
        assert_int_equal(stat_get(&lane_stats(engine_lane(rig.engine, i))->copied),
                         keys_of_lane(rig.engine, i, KEYS));
    assert_int_equal(atoi(redis_do(&target, "DBSIZE") + 1), KEYS);
    engine_rig_end(&rig);
}

static void a_name_goes_to_the_database_that_was_given(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct enqueue q;
    rig_start(&rig);
    rig.closed = false;
    redis_do(&source, "EVAL \"redis.call('select', 3) redis.call('set', 'key:7', 'v')\" 0");
    enqueue_begin(&q, rig.engine, NULL, 3);
    enqueue_numbers(&q, 7, 8);
    enqueue_end(&q);
    engine_rig_settle(&rig);
    assert_string_equal(
        redis_do(&target, "EVAL \"redis.call('select', 3) return redis.call('dbsize')\" 0"), ":1");
    engine_rig_end(&rig);
}

/* From a worker's thread. */
struct from_worker {
    struct engine_rig *rig;
    struct worker *here;
    struct enqueue queue;
    uint64_t own; /* names in the lane of this thread before the end */
    bool sent;    /* was a batch sent by then? */
    _Atomic bool done;
};

static void on_worker(void *ctx) {
    struct from_worker *f = ctx;
    struct engine *e = f->rig->engine;
    enqueue_begin(&f->queue, e, f->here, 0);
    enqueue_numbers(&f->queue, 0, KEYS);
    f->own = stat_get(&lane_stats(worker_lane(f->here))->waiting);
    f->sent = !engine_names_arrived(e);
    enqueue_end(&f->queue);
    f->done = true;
}

static void the_lane_of_the_same_thread_is_told_at_once(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    rig_start(&rig);
    struct from_worker f = { .rig = &rig, .here = engine_next_worker(rig.engine) };
    loop_post(worker_loop(f.here), on_worker, &f);
    RUN_UNTIL(f.done && engine_names_arrived(rig.engine));
    for (int i = 0; i < LANES; i++)
        RUN_UNTIL(waiting(rig.engine, i) == (uint64_t)keys_of_lane(rig.engine, i, KEYS));
    assert_true(f.own > 0);
    assert_false(f.sent);
    engine_rig_end(&rig);
}

/* Where keys are named without a scan, this is when to stop for a while. */
static void too_many_names_are_told(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct enqueue q;
    rig.settings.threads = 1;
    engine_rig_new(&rig);
    engine_rig_begin(&rig);
    engine_rig_settle(&rig);
    rig.closed = true;
    for (int i = 0; i <= 1; i++) {
        enqueue_begin(&q, rig.engine, NULL, 0);
        enqueue_numbers(&q, i * ENGINE_QUEUE_HIGH, (i + 1) * ENGINE_QUEUE_HIGH);
        enqueue_end(&q);
        RUN_UNTIL(engine_names_arrived(rig.engine) &&
                  waiting(rig.engine, 0) == (uint64_t)(i + 1) * ENGINE_QUEUE_HIGH);
        assert_int_equal(engine_is_busy(rig.engine), i);
    }
    engine_rig_end(&rig);
}

/* Keeps a lane's thread until it may go on. */
static void on_busy_thread(void *ctx) {
    _Atomic bool *go_on = ctx;
    while (!*go_on) usleep(1000);
}

/* One batch for each lane may be on its way; more are to wait. */
static void batches_that_have_not_arrived_are_told(void **state) {
    struct engine_rig rig = ENGINE_RIG;
    struct enqueue q;
    _Atomic bool go_on = false;
    rig_start(&rig);
    rig.closed = false;
    for (int i = 0; i < LANES; i++)
        loop_post(engine_lane_loop(rig.engine, i), on_busy_thread, &go_on);
    for (int i = 1; i <= 2; i++) {
        enqueue_begin(&q, rig.engine, NULL, 0);
        enqueue_numbers(&q, 0, KEYS);
        enqueue_end(&q);
        assert_int_equal(engine_is_busy(rig.engine), i == 2);
        assert_false(engine_names_arrived(rig.engine) || engine_is_idle(rig.engine));
    }
    go_on = true;
    engine_rig_settle(&rig);
    assert_false(engine_is_busy(rig.engine));
    engine_rig_end(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_goes_to_the_lane_of_its_slot),
        cmocka_unit_test(a_name_goes_to_the_database_that_was_given),
        cmocka_unit_test(the_lane_of_the_same_thread_is_told_at_once),
        cmocka_unit_test(too_many_names_are_told),
        cmocka_unit_test(batches_that_have_not_arrived_are_told),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
