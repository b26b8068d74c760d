/* A lane in live mode between two real servers: marks, looking before copying, the lease, trust,
 * losses, the groups of streams, and a target that is full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "copy/gather.h"
#include "copy/lane.h"
#include "server/call.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, NEVER = -1 };

/* One lane and all that it said. */
struct rig {
    struct deployment *sides[2];
    struct copy_plan plan;
    struct lane *lane;
    int allowed; /* so many questions of may_write() are answered with yes; NEVER: all */
    int64_t used_since_us, gather_ms;
    int gone, losses;
    char gone_key[64], gone_run_id[RUN_ID_MAX];
    bool no_room_for_missing;
    struct err failed;
    const struct key_filter filter;
};

static bool may_write(void *ctx) {
    struct rig *r = ctx;
    if (r->allowed > 0) r->allowed--;
    return r->allowed != 0;
}

static int64_t used_since_us(void *ctx, uint16_t slot) {
    return ((struct rig *)ctx)->used_since_us;
}

static int64_t gather_ms(void *ctx) {
    return ((struct rig *)ctx)->gather_ms;
}

static bool on_missing(void *ctx, int db, struct bytes key, uint16_t slot, const char *run_id) {
    struct rig *r = ctx;
    r->gone++;
    snprintf(r->gone_key, sizeof(r->gone_key), "%.*s", (int)key.len, key.ptr);
    snprintf(r->gone_run_id, sizeof(r->gone_run_id), "%s", run_id);
    return !r->no_room_for_missing;
}

static void on_losses(void *ctx) {
    ((struct rig *)ctx)->losses++;
}

static void request_refresh(void *ctx, struct deployment *side) {}

static void on_failed(void *ctx, const struct err *err) {
    ((struct rig *)ctx)->failed = *err;
}

static void rig_start(struct rig *r) {
    redis_do(&source, "FLUSHALL");
    redis_do(&target, "FLUSHALL");
    r->allowed = NEVER;
    fixture_open_sides(r->sides);
    r->plan = fixture_plan(r->sides);
    r->plan.filter = &r->filter;
    r->plan.can.dump = true;
    r->plan.can.same_listpacks = true;
    r->plan.live = true;
    r->plan.may_write = may_write;
    r->plan.gather_ms = gather_ms;
    r->plan.used_since_us = used_since_us;
    r->plan.on_missing = on_missing;
    r->plan.on_losses = on_losses;
    r->plan.request_refresh = request_refresh;
    r->plan.on_failed = on_failed;
    r->plan.ctx = r;
    for (int i = 0; i < ACCEPT_TYPES; i++) r->plan.can.accept.type[i] = true;
    for (int i = 0; i < ACCEPT_VERSIONS; i++) r->plan.can.accept.version[i] = true;
}

/* The run_id of the source process. */
static const char *source_run_id(struct rig *r) {
    static struct server_info info;
    struct topology *t = deployment_topology(r->sides[0]);
    struct err err;
    assert_true(deployment_node_info(r->sides[0], &t->nodes[0].address, &info, NULL, &err));
    topology_unref(&t);
    return info.run_id;
}

static void expect(struct rig *r, const char *run_id, bool deletions) {
    struct topology *t = deployment_topology(r->sides[0]);
    lane_trust(r->lane, &t->nodes[0].address, run_id, deletions);
    topology_unref(&t);
}

static void trust(struct rig *r, const char *run_id) {
    expect(r, run_id, true);
}

static void rig_run(struct rig *r) {
    r->lane = lane_new(loop, &r->plan, 0);
}

static void rig_stop(struct rig *r) {
    assert_int_equal(r->failed.code, ERR_NONE);
    lane_free(&r->lane);
    giveup_free(&r->plan.giveup);
    deployment_free(&r->sides[0]);
    deployment_free(&r->sides[1]);
}

static uint64_t stat(const struct rig *r, size_t offset) {
    return stat_get((const _Atomic uint64_t *)((const char *)lane_stats(r->lane) + offset));
}
#define STAT(r, field) stat(r, offsetof(struct copy_stats, field))

static void run_for(int64_t ms) {
    int64_t until_ms = clock_mono_ms() + ms;
    while (clock_mono_ms() < until_ms) loop_run_once(loop, 10);
}

static void name_as(struct rig *r, const char *key, enum key_reason reason) {
    struct bytes b = bytes_of_str(key);
    lane_name(r->lane, 0, b, slot_of_key(b), reason);
}

static bool is_idle(const struct rig *r) {
    return STAT(r, waiting) == 0;
}

static void serve(struct rig *r, const char *key, enum key_reason reason) {
    name_as(r, key, reason);
    RUN_UNTIL(is_idle(r));
}

static bool target_has(const char *key) {
    return strcmp(redis_do(&target, "EXISTS %s", key), ":1") == 0;
}

static int target_number(const char *key) {
    return atoi(redis_do(&target, "EVAL \"return tonumber(redis.call('get',KEYS[1]))\" 1 %s", key) +
                1);
}

static int db_size(const struct redis_process *p) {
    return atoi(redis_do(p, "DBSIZE") + 1);
}

/* ---- marks ---- */

struct counted_mark {
    struct lane_mark mark;
    struct rig *rig;
    int n, db_size, again;
    int *order;
};

static void on_mark(struct lane_mark *mark) {
    struct counted_mark *m = (struct counted_mark *)mark;
    m->n = ++*m->order;
    m->db_size = db_size(&target);
    if (m->again-- > 0) lane_put_mark(m->rig->lane, mark);
}

static void marks_come_after_the_names_before_them(void **state) {
    struct rig r = { 0 };
    char key[32];
    int order = 0;
    rig_start(&r);
    redis_do(&source, "EVAL \"for i=1,3000 do redis.call('set','k'..i,i) end\" 0");
    rig_run(&r);
    struct counted_mark idle = { { .reached = on_mark }, &r, .order = &order, .again = 3 };
    lane_put_mark(r.lane, &idle.mark);
    assert_int_equal(order, 0);
    RUN_UNTIL(idle.n == 4); /* it was put anew three times */
    struct counted_mark first = { { .reached = on_mark }, &r, .order = &order }, second = first;
    order = 0;
    for (int i = 1; i <= 3000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        name_as(&r, key, REASON_CHANGED);
        if (i == 2000) lane_put_mark(r.lane, &first.mark);
    }
    lane_put_mark(r.lane, &second.mark);
    RUN_UNTIL(second.n > 0);
    assert_int_equal(first.n, 1);
    assert_int_equal(second.n, 2);
    assert_true(first.db_size >= 2000);
    assert_int_equal(second.db_size, 3000);
    rig_stop(&r);
}

/* ---- looking ---- */

static void what_was_not_used_is_not_copied(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "MSET old aaa used bbb shared 7");
    redis_do(&target, "SET gone x");
    RUN_UNTIL(atoi(redis_do(&source, "OBJECT IDLETIME old") + 1) >= 4);
    redis_do(&source, "GET used");
    r.used_since_us = clock_wall_us();
    rig_run(&r);
    trust(&r, source_run_id(&r));
    name_as(&r, "used", REASON_IF_USED);
    name_as(&r, "shared", REASON_IF_USED); /* has no idle time of its own */
    name_as(&r, "gone", REASON_IF_USED);
    serve(&r, "old", REASON_IF_USED);
    assert_int_equal(STAT(&r, unchanged), 1);
    assert_false(target_has("old"));
    assert_true(target_has("used"));
    assert_true(target_has("shared"));
    assert_true(target_has("gone")); /* a conclusion, which is counted first */
    assert_int_equal(r.gone, 1);
    assert_string_equal(r.gone_key, "gone");
    /* Longer ago than the key was used. */
    r.used_since_us = clock_wall_us() - INT64_C(3600) * 1000 * 1000;
    serve(&r, "old", REASON_IF_USED);
    assert_true(target_has("old"));
    rig_stop(&r);
}

static void without_idle_times_all_is_copied(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "CONFIG SET maxmemory-policy allkeys-lfu");
    redis_do(&source, "SET k aaa");
    r.used_since_us = clock_wall_us(); /* nothing can have been used since */
    rig_run(&r);
    serve(&r, "k", REASON_IF_USED);
    redis_do(&source, "CONFIG SET maxmemory-policy noeviction");
    assert_true(target_has("k"));
    assert_int_equal(STAT(&r, unchanged), 0);
    rig_stop(&r);
}

static void looking_for_what_is_gone_writes_nothing(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "SET both new");
    redis_do(&target, "MSET both x stale x");
    rig_run(&r);
    trust(&r, source_run_id(&r));
    name_as(&r, "both", REASON_IF_MISSING);
    serve(&r, "stale", REASON_IF_MISSING);
    assert_int_equal(STAT(&r, looked), 1);
    assert_int_equal(r.gone, 1);
    assert_string_equal(r.gone_key, "stale");
    assert_int_equal(STAT(&r, copied) + STAT(&r, vanished), 0);
    assert_true(target_has("stale"));
    /* Named for another reason too, it is deleted. */
    name_as(&r, "stale", REASON_IF_MISSING);
    serve(&r, "stale", REASON_CHANGED);
    assert_false(target_has("stale"));
    assert_int_equal(r.gone, 1);
    rig_stop(&r);
}

/* Only a key that capture announced, or that the guard allowed, is deleted; every other one is told
 * first. */
static void concluded_deletions_are_told_and_not_made(void **state) {
    static const enum key_reason concluded[] = { REASON_RESYNC, REASON_IF_USED, REASON_IF_MISSING,
                                                 REASON_GROUPS };
    static const enum key_reason ordered[] = { REASON_CHANGED, REASON_DELETE };
    for (int structured = 0; structured <= 1; structured++) {
        struct rig r = { 0 };
        struct lane_losses losses;
        rig_start(&r);
        r.plan.structured = structured;
        rig_run(&r);
        trust(&r, source_run_id(&r));
        redis_do(&target, "SET stale x");
        for (int i = 0; i < 4; i++) {
            serve(&r, "stale", concluded[i]);
            assert_int_equal(r.gone, i + 1);
            assert_string_equal(r.gone_run_id, source_run_id(&r));
            assert_true(target_has("stale"));
        }
        assert_int_equal(STAT(&r, vanished), 0);
        assert_int_equal(r.losses, 0);
        /* A name that cannot be kept is a deferred deletion. */
        r.no_room_for_missing = true;
        serve(&r, "stale", REASON_RESYNC);
        assert_true(lane_take_losses(r.lane, &losses));
        assert_true(slot_set_has(&losses.deferred, slot_of_key(BYTES_LITERAL("stale"))));
        for (int i = 0; i < 2; i++) {
            redis_do(&target, "SET stale x");
            serve(&r, "stale", ordered[i]);
            assert_false(target_has("stale"));
        }
        assert_int_equal(r.gone, 5);
        /* The key is back on the source: its deletion was allowed, and it is copied. */
        redis_do(&source, "SET stale back");
        serve(&r, "stale", REASON_DELETE);
        assert_true(target_has("stale"));
        rig_stop(&r);
    }
}

/* ---- groups ---- */

static void poll_groups(struct rig *r) {
    lane_check_groups(r->lane);
    RUN_UNTIL(is_idle(r));
}

static void groups_are_compared(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "XADD plain 1-1 f v");
    redis_do(&source, "XADD s 1-1 f v");
    redis_do(&source, "XADD s 1-2 f v");
    redis_do(&source, "XGROUP CREATE s g 0");
    redis_do(&source, "XREADGROUP GROUP g c COUNT 2 STREAMS s >");
    rig_run(&r);
    trust(&r, source_run_id(&r));
    name_as(&r, "plain", REASON_CHANGED);
    serve(&r, "s", REASON_CHANGED);
    assert_int_equal(STAT(&r, copied), 2);
    poll_groups(&r); /* nobody knows their state at the time of the copy */
    assert_int_equal(STAT(&r, copied), 4);
    poll_groups(&r);
    assert_int_equal(STAT(&r, copied), 4);
    assert_int_equal(STAT(&r, unchanged), 2);
    redis_do(&source, "XSETID s 5-5");
    poll_groups(&r);
    assert_int_equal(STAT(&r, copied), 5);
    redis_do(&source, "XACK s g 1-1");
    poll_groups(&r);
    assert_int_equal(STAT(&r, copied), 6);
    assert_int_equal(STAT(&r, unchanged), 2 + 1 + 1);
    assert_string_equal(redis_do(&target, "EVAL \"return redis.call('xpending','s','g')[1]\" 0"),
                        ":1");
    /* A scan finds one that is not known. */
    redis_do(&source, "COPY s other");
    serve(&r, "other", REASON_GROUPS);
    assert_true(target_has("other"));
    /* Neither gone nor another type is it a stream. */
    redis_do(&source, "DEL other");
    redis_do(&source, "SET s string");
    uint64_t before = STAT(&r, copied);
    poll_groups(&r);
    assert_true(target_has("other")); /* a conclusion, which is counted first */
    assert_int_equal(r.gone, 1);
    assert_string_equal(r.gone_key, "other");
    assert_int_equal(STAT(&r, copied), before + 1);
    uint64_t unchanged = STAT(&r, unchanged);
    poll_groups(&r);
    assert_int_equal(STAT(&r, unchanged), unchanged + 1); /* plain */
    assert_int_equal(r.gone, 1);
    assert_int_equal(STAT(&r, copied), before + 1);
    rig_stop(&r);
}

/* ---- gathering ---- */

enum { SWEPT = 3000, LONG_MS = 3600 * 1000 };

static void name_all(struct rig *r, struct lane_mark *mark) {
    char key[32];
    for (int i = 1; i <= SWEPT; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        name_as(r, key, REASON_CHANGED);
    }
    if (mark != NULL) lane_put_mark(r->lane, mark);
}

/* A lane of a busy source whose gate has been opened, passed by SWEPT keys, and closed again. */
static void rig_run_swept(struct rig *r) {
    rig_start(r);
    redis_do(&source, "EVAL \"for i=1,%d do redis.call('set','k'..i,i) end\" 0", SWEPT);
    /* So little is read without waiting that the test need not hurry. */
    r->plan.lanes = GATHER_FREE_PER_S;
    rig_run(r);
    serve(r, "k1", REASON_CHANGED); /* the connections are there */
    r->gather_ms = LONG_MS;
    name_all(r, NULL);
    RUN_UNTIL(is_idle(r));
    assert_int_equal(STAT(r, copied), SWEPT + 1);
}

static void what_a_busy_source_changes_is_read_once(void **state) {
    struct rig r = { 0 };
    int order = 0;
    struct counted_mark mark = { { .reached = on_mark }, &r, .order = &order };
    rig_run_swept(&r);
    name_all(&r, &mark.mark);
    run_for(100);
    name_all(&r, NULL);
    run_for(100);
    assert_int_equal(STAT(&r, waiting), SWEPT);
    assert_int_equal(STAT(&r, in_flight), 0);
    assert_int_equal(STAT(&r, copied), SWEPT + 1);
    assert_int_equal(mark.n, 0);
    r.gather_ms = 0; /* it is calm, or all is to be ended */
    lane_update(r.lane);
    RUN_UNTIL(mark.n == 1);
    assert_int_equal(STAT(&r, copied), 2 * SWEPT + 1);
    rig_stop(&r);
}

static void names_that_fill_the_memory_are_not_gathered(void **state) {
    struct rig r = { 0 };
    rig_run_swept(&r);
    /* Half of it is taken by fewer than there are, all of it by more. */
    r.plan.names_bytes_max = SWEPT * 140;
    name_all(&r, NULL);
    RUN_UNTIL(is_idle(&r));
    assert_int_equal(STAT(&r, copied), 2 * SWEPT + 1);
    assert_int_equal(r.losses, 0);
    rig_stop(&r);
}

/* ---- the lease ---- */

static void nothing_is_written_without_the_lease(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "SET k 1");
    redis_do(&target, "SET gone x");
    r.allowed = 0;
    rig_run(&r);
    trust(&r, source_run_id(&r));
    name_as(&r, "k", REASON_CHANGED);
    name_as(&r, "gone", REASON_CHANGED);
    run_for(600);
    assert_int_equal(STAT(&r, in_flight), 0);
    /* It is lost when the values are on their way: they must not be written after the pause. */
    r.allowed = 3;
    run_for(600);
    redis_do(&source, "SET k 2");
    assert_int_equal(r.allowed, 0);
    r.allowed = NEVER;
    RUN_UNTIL(is_idle(&r));
    assert_int_equal(target_number("k"), 2);
    assert_false(target_has("gone"));
    rig_stop(&r);
}

/* The lease is lost while the source is asked: the answer is not written, and the key is read anew
 * when the lease is held again. */
static void what_was_read_with_the_lease_is_not_written_without(void **state) {
    for (int large = 0; large <= 1; large++) {
        struct rig r = { 0 };
        rig_start(&r);
        redis_do(&source, "SET k older");
        if (large) redis_do(&source, "SETRANGE k 2000000 x");
        rig_run(&r);
        trust(&r, source_run_id(&r));
        serve(&r, "other", REASON_CHANGED); /* so it is connected */
        kill(source.pid, SIGSTOP);
        name_as(&r, "k", REASON_CHANGED);
        run_for(100);
        assert_int_equal(STAT(&r, in_flight), 1);
        r.allowed = 0;
        kill(source.pid, SIGCONT);
        run_for(500);
        assert_int_equal(db_size(&target), 0);
        redis_do(&source, "SET k newer");
        r.allowed = NEVER;
        RUN_UNTIL(is_idle(&r));
        assert_string_equal(redis_do(&target, "STRLEN k"), ":5");
        rig_stop(&r);
    }
}

/* The lease is lost at every possible moment of a structured copy; a transaction that was begun
 * with MULTI is ended. */
static void the_lease_is_lost_anywhere(void **state) {
    for (int allowed = 2; allowed < 40; allowed++) {
        struct rig r = { 0 };
        rig_start(&r);
        redis_do(&source, "RPUSH l a b c");
        redis_do(&source, "EVAL \"for i=1,3000 do redis.call('hset','large',i,i) end\" 0");
        redis_do(&source, "XADD s 1-1 f v");
        redis_do(&source, "XGROUP CREATE s g 0");
        r.plan.structured = true;
        r.plan.big_key_bytes = 10000;
        r.allowed = allowed;
        rig_run(&r);
        trust(&r, source_run_id(&r));
        name_as(&r, "l", REASON_CHANGED);
        name_as(&r, "large", REASON_CHANGED);
        name_as(&r, "s", REASON_CHANGED);
        name_as(&r, "gone", REASON_CHANGED);
        int64_t until_ms = clock_mono_ms() + 2000;
        while (r.allowed > 1 && !is_idle(&r) && clock_mono_ms() < until_ms) loop_run_once(loop, 10);
        run_for(120);
        r.allowed = NEVER;
        RUN_UNTIL(is_idle(&r));
        assert_string_equal(redis_do(&target, "LLEN l"), ":3");
        assert_string_equal(redis_do(&target, "HLEN large"), ":3000");
        assert_string_equal(redis_do(&target, "XLEN s"), ":1");
        assert_int_equal(db_size(&target), 3);
        rig_stop(&r);
    }
}

/* ---- trust and losses ---- */

static void deletions_wait_for_trust(void **state) {
    for (int structured = 0; structured <= 1; structured++) {
        struct rig r = { 0 };
        struct lane_losses losses;
        int order = 0;
        struct counted_mark mark = { { .reached = on_mark }, &r, .order = &order };
        rig_start(&r);
        redis_do(&target, "SET k x");
        r.plan.structured = structured;
        /* so that the transfer finds that it is gone */
        r.plan.can.source_memory_usage = !structured;
        rig_run(&r);
        assert_false(lane_take_losses(r.lane, &losses));
        name_as(&r, "k", REASON_CHANGED);
        lane_put_mark(r.lane, &mark.mark);
        RUN_UNTIL(is_idle(&r));
        run_for(300);
        assert_true(target_has("k"));
        assert_int_equal(r.losses, 1);
        assert_int_equal(mark.n, 0);
        assert_true(lane_take_losses(r.lane, &losses));
        assert_true(slot_set_has(&losses.deferred, slot_of_key(BYTES_LITERAL("k"))));
        assert_int_equal(slot_set_count(&losses.dropped), 0);
        RUN_UNTIL(mark.n == 1);
        /* Another process is to be read: the connection is made anew, and the keys that it finds
         * missing are as doubtful. */
        trust(&r, "0123456789");
        RUN_UNTIL(STAT(&r, reconnects) == 2);
        serve(&r, "k", REASON_CHANGED);
        serve(&r, "k", REASON_IF_MISSING);
        assert_int_equal(r.gone, 0);
        assert_true(target_has("k"));
        assert_int_equal(r.losses, 2);
        trust(&r, source_run_id(&r));
        uint64_t reconnects = STAT(&r, reconnects);
        serve(&r, "k", REASON_IF_MISSING);
        assert_int_equal(r.gone, 1);
        serve(&r, "k", REASON_CHANGED);
        assert_false(target_has("k"));
        run_for(1300);
        assert_int_equal(STAT(&r, reconnects), reconnects);
        rig_stop(&r);
    }
}

/* A stranger is read, and what it says of keys that are gone is counted; but it deletes none. */
static void a_stranger_is_read_and_deletes_nothing(void **state) {
    struct rig r = { 0 };
    struct lane_losses losses;
    rig_start(&r);
    redis_do(&source, "SET there 1");
    redis_do(&target, "SET k x");
    rig_run(&r);
    expect(&r, source_run_id(&r), false);
    serve(&r, "there", REASON_CHANGED);
    assert_true(target_has("there"));
    serve(&r, "k", REASON_IF_MISSING);
    assert_int_equal(r.gone, 1);
    assert_int_equal(r.losses, 0);
    serve(&r, "k", REASON_CHANGED);
    serve(&r, "k", REASON_DELETE);
    assert_true(target_has("k"));
    assert_true(lane_take_losses(r.lane, &losses));
    assert_true(slot_set_has(&losses.deferred, slot_of_key(BYTES_LITERAL("k"))));
    trust(&r, source_run_id(&r));
    serve(&r, "k", REASON_DELETE);
    assert_false(target_has("k"));
    rig_stop(&r);
}

static int source_connections(void) {
    return atoi(redis_do(&source, "EVAL \"return tonumber("
                                  "redis.call('info','clients')"
                                  ":match('connected_clients:(%%d+)'))\" 0") +
                1);
}

/* Large keys are read on a connection of their own. */
static void large_keys_obey_trust(void **state) {
    struct rig r = { 0 };
    rig_start(&r);
    redis_do(&source, "EVAL \"for i=1,3000 do redis.call('hset','large',i,i) end\" 0");
    r.plan.big_key_bytes = 10000;
    rig_run(&r);
    trust(&r, source_run_id(&r));
    serve(&r, "large", REASON_CHANGED);
    assert_string_equal(redis_do(&target, "HLEN large"), ":3000");
    RUN_UNTIL(source_connections() == 4); /* the lane's, its bounded one, the reader's, this one */
    trust(&r, "0123456789");
    /* the reader's is broken too, made when needed */
    RUN_UNTIL(source_connections() < 4 && STAT(&r, reconnects) >= 1);
    serve(&r, "large", REASON_CHANGED);
    assert_string_equal(redis_do(&target, "HLEN large"), ":3000");
    redis_do(&source, "DEL large");
    serve(&r, "large", REASON_CHANGED);
    assert_true(target_has("large"));
    assert_true(r.losses == 1);
    rig_stop(&r);
}

static void names_beyond_the_memory_are_losses(void **state) {
    struct rig r = { 0 };
    struct lane_losses losses;
    char key[32];
    int order = 0;
    struct counted_mark mark = { { .reached = on_mark }, &r, .order = &order };
    rig_start(&r);
    r.plan.names_bytes_max = 100 * 1000;
    r.allowed = 0;
    rig_run(&r);
    for (int i = 0; i < 50000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        name_as(&r, key, REASON_CHANGED);
    }
    name_as(&r, "k0", REASON_CHANGED); /* is waiting: no debt */
    run_for(50);                       /* the gauge is told at the end of a round */
    assert_in_range(STAT(&r, waiting_bytes), 50 * 1000, 110 * 1000);
    assert_true(STAT(&r, waiting) < 50000);
    assert_int_equal(r.losses, 1);
    lane_put_mark(r.lane, &mark.mark);
    trust(&r, source_run_id(&r));
    r.allowed = NEVER;
    RUN_UNTIL(is_idle(&r));
    run_for(300);
    assert_int_equal(mark.n, 0);
    assert_true(lane_take_losses(r.lane, &losses));
    assert_true(slot_set_count(&losses.dropped) > 10000);
    assert_false(slot_set_has(&losses.dropped, slot_of_key(BYTES_LITERAL("k0"))) &&
                 slot_set_count(&losses.deferred) > 0);
    RUN_UNTIL(mark.n == 1);
    name_as(&r, "k1", REASON_CHANGED);
    RUN_UNTIL(is_idle(&r));
    assert_int_equal(r.losses, 1);
    rig_stop(&r);
}

/* ---- a full target ---- */

static void a_full_target_gets_its_deletions(void **state) {
    struct rig r = { 0 };
    char key[32];
    rig_start(&r);
    redis_do(&source,
             "EVAL \"for i=1,5000 do redis.call('set','new'..i,string.rep('x',1000)) end\" 0");
    redis_do(&target,
             "EVAL \"for i=1,7000 do redis.call('set','old'..i,string.rep('x',1000)) end\" 0");
    redis_do(&target, "EVAL \"local m=redis.call('info','memory'):match('used_memory:(%%d+)'); "
                      "redis.call('config','set','maxmemory',m)\" 0");
    redis_do(&target, "CONFIG SET maxmemory 8mb");
    rig_run(&r);
    trust(&r, source_run_id(&r));
    for (int i = 1; i <= 5000; i++) {
        snprintf(key, sizeof(key), "new%d", i);
        name_as(&r, key, REASON_CHANGED);
    }
    for (int i = 1; i <= 7000; i++) {
        snprintf(key, sizeof(key), "old%d", i);
        name_as(&r, key, REASON_CHANGED);
    }
    int64_t start_ms = clock_mono_ms();
    RUN_UNTIL(is_idle(&r));
    assert_true(clock_mono_ms() - start_ms < 30000);
    redis_do(&target, "CONFIG SET maxmemory 0");
    assert_int_equal(db_size(&target), 5000);
    assert_false(target_has("old7000"));
    assert_true(STAT(&r, retries) > 0);
    rig_stop(&r);
}

/* ---- the traces of a killed job ---- */

static const char *leftover(const char *key) {
    static char name[64];
    char tag[SLOT_TAG_MAX];
    snprintf(name, sizeof(name), "longhaul:tmp:{%s}",
             slot_tag(slot_of_key(bytes_of_str(key)), tag));
    return name;
}

/* A lane that is connected and has not begun, and a leftover on its target. */
static void rig_with_leftover(struct rig *r) {
    static const int dbs[] = { 0 };
    rig_start(r);
    r->plan.target_dbs = dbs;
    r->plan.n_target_dbs = 1;
    redis_do(&target, "SET %s x", leftover("k"));
    redis_do(&source, "SET k v");
    rig_run(r);
    serve(r, "k", REASON_CHANGED); /* so it is connected */
    assert_true(target_has(leftover("k")));
}

static void leftovers_are_removed_when_the_lane_begins(void **state) {
    struct rig r = { 0 };
    rig_with_leftover(&r);
    redis_do(&target, "CONFIG RESETSTAT");
    lane_begin(r.lane);
    assert_false(is_idle(&r));
    RUN_UNTIL(is_idle(&r));
    assert_false(target_has(leftover("k")));
    assert_true(target_has("k"));
    /* All names in few commands. */
    const char *calls =
        redis_do(&target, "EVAL \"return tonumber("
                          "redis.call('info','commandstats'):match('unlink:calls=(%%d+)'))\" 0");
    assert_in_range(atoi(calls + 1), 1, 64);
    rig_stop(&r);
}

static void leftovers_are_removed_after_a_lost_connection(void **state) {
    struct rig r = { 0 };
    rig_with_leftover(&r);
    lane_begin(r.lane); /* nothing has left the process yet */
    assert_true(redis_kill_clients(&target) > 0);
    RUN_UNTIL(STAT(&r, reconnects) > 0 && is_idle(&r));
    assert_false(target_has(leftover("k")));
    rig_stop(&r);
}

static void leftovers_stay_without_the_lease_and_in_a_dry_run(void **state) {
    struct rig r = { 0 };
    rig_with_leftover(&r);
    r.allowed = 0;
    lane_begin(r.lane);
    run_for(600);
    assert_true(target_has(leftover("k")));
    r.allowed = NEVER;
    RUN_UNTIL(is_idle(&r));
    assert_false(target_has(leftover("k")));
    rig_stop(&r);
    struct rig dry = { 0 };
    rig_with_leftover(&dry);
    dry.plan.dry_run = true;
    lane_begin(dry.lane);
    run_for(600);
    assert_true(is_idle(&dry));
    assert_true(target_has(leftover("k")));
    rig_stop(&dry);
}

/* Names that a transfer uses when a node is cleaned, as one that came later: the copy does not
 * begin anew. */
static void names_in_use_stay(void **state) {
    struct rig r = { 0 };
    rig_with_leftover(&r);
    redis_do(&source, "SETRANGE k 40000000 x");
    redis_do(&source, "CONFIG RESETSTAT");
    redis_do(&target, "DEL %s", leftover("k"));
    name_as(&r, "k", REASON_CHANGED);
    RUN_UNTIL(target_has(leftover("k")));
    lane_begin(r.lane);
    RUN_UNTIL(is_idle(&r));
    assert_string_equal(redis_do(&target, "STRLEN k"), ":40000001");
    assert_false(target_has(leftover("k")));
    const char *watched =
        redis_do(&source, "EVAL \"return tonumber("
                          "redis.call('info','commandstats'):match('_watch:calls=(%%d+)'))\" 0");
    assert_string_equal(watched, ":1");
    rig_stop(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_come_after_the_names_before_them),
        cmocka_unit_test(what_was_not_used_is_not_copied),
        cmocka_unit_test(without_idle_times_all_is_copied),
        cmocka_unit_test(looking_for_what_is_gone_writes_nothing),
        cmocka_unit_test(concluded_deletions_are_told_and_not_made),
        cmocka_unit_test(groups_are_compared),
        cmocka_unit_test(what_a_busy_source_changes_is_read_once),
        cmocka_unit_test(names_that_fill_the_memory_are_not_gathered),
        cmocka_unit_test(nothing_is_written_without_the_lease),
        cmocka_unit_test(what_was_read_with_the_lease_is_not_written_without),
        cmocka_unit_test(the_lease_is_lost_anywhere),
        cmocka_unit_test(deletions_wait_for_trust),
        cmocka_unit_test(a_stranger_is_read_and_deletes_nothing),
        cmocka_unit_test(large_keys_obey_trust),
        cmocka_unit_test(names_beyond_the_memory_are_losses),
        cmocka_unit_test(a_full_target_gets_its_deletions),
        cmocka_unit_test(leftovers_are_removed_when_the_lane_begins),
        cmocka_unit_test(leftovers_are_removed_after_a_lost_connection),
        cmocka_unit_test(leftovers_stay_without_the_lease_and_in_a_dry_run),
        cmocka_unit_test(names_in_use_stay),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
