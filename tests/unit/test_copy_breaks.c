/* Connections that break, a lease that is lost and a lane that stops, in the middle of every step
 * of copies by commands: nothing crashes, and afterwards the target equals the source.
 *
 * may_write() is asked before each command to the target, from inside of the callbacks that write;
 * so the fault happens there, at the first question, at the second, and so on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"
#include "server/call.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, ELEMENTS = 60, PAST_THE_END = 2000 };

static const char *const keys[] = { "string", "list", "set", "hash", "zset", "stream", "gone" };

struct rig;
typedef void fault_fn(struct rig *r);

struct rig {
    struct deployment *sides[2];
    struct copy_plan plan;
    struct lane *lane;
    fault_fn *fault;
    int questions, fault_at;
    bool refuse;
    struct err failed;
    const struct key_filter filter;
};

static bool may_write(void *ctx) {
    struct rig *r = ctx;
    r->refuse = false;
    if (++r->questions == r->fault_at) r->fault(r);
    return !r->refuse;
}

static void request_refresh(void *ctx, struct deployment *side) {}

static void on_failed(void *ctx, const struct err *err) {
    ((struct rig *)ctx)->failed = *err;
}

/* ---- faults ---- */

static void break_client(struct client *client, enum err_code code) {
    struct err err;
    if (client == NULL || !client_is_ready(client)) return;
    err_set(&err, code, client_place(client), "broken by the test");
    client_break(client, &err);
}

static void break_target(struct rig *r) {
    break_client(pool_first(r->lane->flight.target)->client, ERR_CLOSED);
}

static void demote_target(struct rig *r) {
    break_client(pool_first(r->lane->flight.target)->client, ERR_READONLY);
}

static void break_source(struct rig *r) {
    break_client(pool_first(r->lane->flight.source)->client, ERR_CLOSED);
}

static void break_reader(struct rig *r) {
    break_client(transfers_reader(r->lane->flight.transfers), ERR_CLOSED);
}

static void break_all(struct rig *r) {
    break_source(r);
    break_reader(r);
    break_target(r);
}

static void lose_lease(struct rig *r) {
    r->refuse = true;
}

static void kill_connections(struct rig *r) {
    redis_kill_clients(&target);
    redis_kill_clients(&source);
}

static void stop_lane(struct rig *r) {
    lane_stop(r->lane);
}

/* ---- the rig ---- */

static void rig_start(struct rig *r, bool large) {
    redis_do(&target, "FLUSHALL");
    redis_do(&target, "SET gone older");
    fixture_open_sides(r->sides);
    r->plan = fixture_plan(r->sides);
    r->plan.filter = &r->filter;
    r->plan.max_args = 40;
    if (large) r->plan.big_key_bytes = 1;
    r->plan.structured = true;
    r->plan.may_write = may_write;
    r->plan.request_refresh = request_refresh;
    r->plan.on_failed = on_failed;
    r->plan.ctx = r;
    r->lane = lane_new(loop, &r->plan, 0);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct bytes key = bytes_of_str(keys[i]);
        lane_name(r->lane, 0, key, slot_of_key(key), REASON_CHANGED);
    }
}

static bool is_idle(const struct rig *r) {
    return stat_get(&lane_stats(r->lane)->waiting) == 0;
}

static void rig_stop(struct rig *r) {
    lane_free(&r->lane);
    giveup_free(&r->plan.giveup);
    deployment_free(&r->sides[0]);
    deployment_free(&r->sides[1]);
}

static void assert_equal_data(int fault_at) {
    char digest[64];
    snprintf(digest, sizeof(digest), "%s", redis_do(&source, "DEBUG DIGEST"));
    if (strcmp(digest, redis_do(&target, "DEBUG DIGEST")) != 0)
        fail_msg("the target differs after a fault at question %d", fault_at);
}

/* Returns the number of questions; fault_at 0: no fault. */
static int copy_with_fault(fault_fn *fault, int fault_at, bool large) {
    struct rig r = { .fault = fault, .fault_at = fault_at };
    rig_start(&r, large);
    if (fault == stop_lane) {
        RUN_UNTIL(is_idle(&r) || r.questions >= fault_at);
    } else {
        RUN_UNTIL(is_idle(&r));
        assert_int_equal(r.failed.code, ERR_NONE);
        assert_int_equal(stat_get(&lane_stats(r.lane)->given_up), 0);
    }
    rig_stop(&r);
    if (fault != stop_lane) assert_equal_data(fault_at);
    return r.questions;
}

static void at_every_question(fault_fn *fault, int step) {
    for (int large = 0; large < 2; large++) {
        int total = copy_with_fault(NULL, 0, large);
        assert_in_range(total, 10, PAST_THE_END);
        for (int at = 1; at <= total; at += step) copy_with_fault(fault, at, large);
    }
}

static void target_breaks(void **state) {
    at_every_question(break_target, 3);
}

static void target_is_demoted(void **state) {
    at_every_question(demote_target, 5);
}

static void source_breaks(void **state) {
    at_every_question(break_source, 5);
}

static void reader_breaks(void **state) {
    at_every_question(break_reader, 5);
}

static void everything_breaks(void **state) {
    at_every_question(break_all, 5);
}

static void lease_is_lost(void **state) {
    at_every_question(lose_lease, 5);
}

static void servers_kill_connections(void **state) {
    at_every_question(kill_connections, 9);
}

static void lane_stops(void **state) {
    at_every_question(stop_lane, 1);
}

/* ---- */

static void fill_source(void) {
    redis_do(&source, "SET string %0500d", 7);
    for (int i = 0; i < ELEMENTS; i++) {
        redis_do(&source, "RPUSH list element:%d", i);
        redis_do(&source, "SADD set member:%d", i);
        redis_do(&source, "HSET hash field:%d value:%d", i, i);
        redis_do(&source, "ZADD zset %d member:%d", i, i);
        redis_do(&source, "XADD stream %d-1 field value:%d", i + 1, i);
    }
    redis_do(&source, "PEXPIREAT hash 4102444800000");
    redis_do(&source, "ZADD zset 0 %0100d", 1); /* a skiplist, which has a -0 */
    redis_do(&source, "ZADD zset -0.0 negative");
    redis_do(&source, "XGROUP CREATE stream readers 0");
    redis_do(&source, "XREADGROUP GROUP readers one COUNT 20 STREAMS stream >");
    redis_do(&source, "XDEL stream 7-1");
}

static int setup(void **state) {
    if (fixture_start_sides(state) != 0) return 1;
    fill_source();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_breaks),     cmocka_unit_test(target_is_demoted),
        cmocka_unit_test(source_breaks),     cmocka_unit_test(reader_breaks),
        cmocka_unit_test(everything_breaks), cmocka_unit_test(lease_is_lost),
        cmocka_unit_test(lane_stops),        cmocka_unit_test(servers_kill_connections),
    };
    return cmocka_run_group_tests(tests, setup, fixture_stop_sides);
}
