/* A worker: its lane serves the keys that other threads name to it, and nothing once it has
 * ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "engine/worker.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, KEYS = 2000 };

static const int database = 0;

struct rig {
    struct deployment *sides[2];
    struct copy_plan plan;
    struct worker *worker;
    _Atomic int64_t in_transit;
    _Atomic int reached; /* marks */
    struct lane_mark mark;
    const struct key_filter filter;
    _Atomic bool closed; /* nothing is written */
};

static bool may_write(void *ctx) {
    return !((struct rig *)ctx)->closed;
}

static void on_failed(void *ctx, const struct err *err) {
    fprintf(stderr, "%s: %s\n", err->place, err->text);
    abort();
}

static void request_refresh(void *ctx, struct deployment *side) {}

static void on_mark(struct lane_mark *mark) {
    ((struct rig *)mark->ctx)->reached++;
}

static void rig_start(struct rig *r) {
    struct err err;
    redis_do(&source, "FLUSHALL");
    redis_do(&target, "FLUSHALL");
    fixture_open_sides(r->sides);
    r->plan = fixture_plan(r->sides);
    r->plan.filter = &r->filter;
    r->plan.structured = true;
    r->plan.may_write = may_write;
    r->plan.on_failed = on_failed;
    r->plan.request_refresh = request_refresh;
    r->plan.target_dbs = &database;
    r->plan.n_target_dbs = 1;
    r->plan.ctx = r;
    r->mark = (struct lane_mark){ .reached = on_mark, .ctx = r };
    r->worker = worker_start(&r->plan, 0, &err);
    assert_non_null(r->worker);
}

static void rig_end(struct rig *r) {
    worker_free(&r->worker);
    assert_null(r->worker);
    assert_int_equal(r->in_transit, 0);
    giveup_free(&r->plan.giveup);
    deployment_free(&r->sides[0]);
    deployment_free(&r->sides[1]);
}

static void name_keys(struct rig *r, int from, int to) {
    struct name_batch *batch = name_batch_new(0);
    char text[32];
    assert_true(name_batch_is_empty(batch));
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof(text), "key:%d", i);
        struct bytes key = bytes_of_str(text);
        name_batch_add(batch, key, slot_of_key(key), REASON_CHANGED);
    }
    assert_false(name_batch_is_empty(batch));
    worker_name(r->worker, batch, &r->in_transit);
}

static uint64_t waiting(const struct rig *r) {
    return stat_get(&lane_stats(worker_lane(r->worker))->waiting);
}

static uint64_t copied(const struct rig *r) {
    return stat_get(&lane_stats(worker_lane(r->worker))->copied);
}

static int target_keys(void) {
    return atoi(redis_do(&target, "DBSIZE") + 1);
}

static void all_names_arrive_whole_and_are_counted_on_their_way(void **state) {
    struct rig r = { .closed = true };
    rig_start(&r);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    name_keys(&r, 0, KEYS / 2);
    name_keys(&r, KEYS / 2, KEYS);
    RUN_UNTIL(r.in_transit == 0 && waiting(&r) == KEYS);
    r.closed = false;
    worker_update(r.worker);
    RUN_UNTIL(waiting(&r) == 0);
    assert_int_equal(copied(&r), KEYS);
    assert_int_equal(target_keys(), KEYS);
    rig_end(&r);
}

static void a_batch_may_be_dropped(void **state) {
    struct name_batch *batch = name_batch_new(0);
    name_batch_add(batch, BYTES_LITERAL("k"), 0, REASON_CHANGED);
    name_batch_free(&batch);
    assert_null(batch);
    name_batch_free(&batch);
}

static void a_mark_comes_behind_the_names_before_it(void **state) {
    struct rig r = { .closed = true };
    rig_start(&r);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    name_keys(&r, 0, KEYS);
    worker_put_mark(r.worker, &r.mark);
    RUN_UNTIL(r.in_transit == 0);
    assert_int_equal(r.reached, 0);
    r.closed = false;
    worker_update(r.worker);
    RUN_UNTIL(r.reached == 1);
    assert_int_equal(target_keys(), KEYS);
    rig_end(&r);
}

static void what_a_killed_job_left_is_removed_once_the_lane_begins(void **state) {
    struct rig r = { 0 };
    char left[64], tag[SLOT_TAG_MAX];
    snprintf(left, sizeof(left), "longhaul:tmp:{%s}", slot_tag(7, tag));
    rig_start(&r);
    redis_do(&target, "SET %s left-behind", left);
    redis_do(&source, "SET key:0 v");
    worker_begin(r.worker, &r.in_transit);
    name_keys(&r, 0, 1);
    RUN_UNTIL(r.in_transit == 0 && waiting(&r) == 0);
    assert_string_equal(redis_do(&target, "EXISTS %s", left), ":0");
    assert_string_equal(redis_do(&target, "GET key:0"), "$1");
    rig_end(&r);
}

static void a_stopped_lane_takes_no_new_keys(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "DEBUG POPULATE 10 key 8");
    name_keys(&r, 0, 1);
    RUN_UNTIL(copied(&r) == 1);
    worker_stop_lane(r.worker);
    name_keys(&r, 1, 10);
    RUN_UNTIL(r.in_transit == 0);
    assert_int_equal(stat_get(&lane_stats(worker_lane(r.worker))->in_flight), 0);
    worker_stop(r.worker);
    assert_int_equal(target_keys(), 1);
    rig_end(&r);
}

/* Other workers may look at its lane until all have ended, and their posts are dropped. */
static void after_its_end_what_is_posted_does_nothing(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    name_keys(&r, 0, 1);
    RUN_UNTIL(copied(&r) == 1);
    worker_stop(r.worker);
    worker_stop(r.worker);
    name_keys(&r, 1, KEYS);
    worker_put_mark(r.worker, &r.mark);
    worker_begin(r.worker, &r.in_transit);
    worker_update(r.worker);
    worker_stop_lane(r.worker);
    assert_int_equal(r.in_transit, 2);
    assert_int_equal(copied(&r), 1);
    rig_end(&r);
    assert_int_equal(r.reached, 0);
    assert_int_equal(target_keys(), 1);
}

static void it_is_an_error_where_no_descriptor_is_left(void **state) {
    struct rlimit before, limit;
    struct err err = { 0 };
    struct rig r = { 0 };
    rig_start(&r);
    getrlimit(RLIMIT_NOFILE, &before);
    limit = before;
    limit.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct worker *worker = worker_start(&r.plan, 0, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_null(worker);
    assert_int_not_equal(err.code, ERR_NONE);
    rig_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_names_arrive_whole_and_are_counted_on_their_way),
        cmocka_unit_test(a_batch_may_be_dropped),
        cmocka_unit_test(a_mark_comes_behind_the_names_before_it),
        cmocka_unit_test(what_a_killed_job_left_is_removed_once_the_lane_begins),
        cmocka_unit_test(a_stopped_lane_takes_no_new_keys),
        cmocka_unit_test(after_its_end_what_is_posted_does_nothing),
        cmocka_unit_test(it_is_an_error_where_no_descriptor_is_left),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
