/* Looking at a real server: the findings of one look, and of a second one, one report per outage,
 * and freeing from within its callbacks. */
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
#include "server/watch.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 30000, OFTEN_MS = 20, NEVER_MS = 3600 * 1000, REPLY_MS = 300 };

/* One watch and the events that it told. */
struct heard {
    struct watch *watch;
    int looks, silences, firsts; /* firsts: looks with nothing before */
    struct server_sample now, before;
    struct err err;
    size_t n_dbs; /* of the last sample, as db0_keys and db11_keys */
    uint64_t db0_keys, db11_keys;
    bool free_on_sample, free_on_silent, again_on_sample;
};

static void on_sample(void *ctx, const struct server_sample *look,
                      const struct server_sample *before) {
    struct heard *h = ctx;
    h->looks++;
    h->now = *look; /* its list of databases is good during the call */
    h->n_dbs = look->n_dbs;
    h->db0_keys = sample_keys(look, 0);
    h->db11_keys = sample_keys(look, 11);
    if (before == NULL) h->firsts++;
    if (before != NULL) h->before = *before;
    if (h->again_on_sample) {
        h->again_on_sample = false;
        watch_now(h->watch);
        assert_memory_equal(look, &h->now, sizeof(*look));
    }
    if (h->free_on_sample) watch_free(&h->watch);
}

static void on_silent(void *ctx, const struct err *err) {
    struct heard *h = ctx;
    h->silences++;
    h->err = *err;
    if (h->free_on_silent) watch_free(&h->watch);
}

static struct client_settings to(const struct redis_process *p) {
    struct client_settings s = {
        .role = "source", .protocol = 2, .connect_timeout_ms = 5000, .reply_timeout_ms = REPLY_MS
    };
    address_set(&s.address, BYTES_LITERAL("127.0.0.1"), p->port);
    return s;
}

static void start(struct heard *h, const struct client_settings *settings, int64_t interval_ms,
                  bool with_commands) {
    static const struct watch_events events = { on_sample, on_silent };
    h->watch = watch_start(loop, settings, interval_ms, with_commands, &events, h);
    assert_int_equal(h->looks + h->silences, 0);
}

/* A look that was asked for after this call. */
static void look_anew(struct heard *h) {
    int64_t from_us = clock_wall_us();
    watch_now(h->watch);
    RUN_UNTIL(h->looks > 0 && h->now.asked_wall_us >= from_us);
}

static void what_it_finds(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    redis_do(&server, "MSET a 1 b 2");
    redis_do(&server, "EVAL \"redis.call('select', 11) redis.call('set', 'k', 'v')\" 0");
    int64_t from_us = clock_wall_us();
    start(&h, &s, NEVER_MS, false);
    assert_true(address_equal(watch_address(h.watch), &s.address));
    RUN_UNTIL(h.looks == 1);
    assert_in_range(h.now.asked_wall_us, from_us, clock_wall_us());
    assert_int_equal(h.firsts, 1);
    assert_int_equal(h.n_dbs, 2);
    assert_true(h.db0_keys == 2 && h.db11_keys == 1);
    assert_true(h.now.time_us > 0 && h.now.uptime_s >= 0);
    assert_true(h.now.forks_known && h.now.forks == 0 && !h.now.has_child);
    assert_int_equal(strlen(h.now.info.run_id), 40);
    assert_false(h.now.calls_known); /* not asked for */
    watch_free(&h.watch);
    assert_null(h.watch);
    assert_int_equal(h.silences, 0);
}

static void at_intervals(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    int64_t start_ms = clock_mono_ms();
    start(&h, &s, OFTEN_MS, true);
    RUN_UNTIL(h.looks == 6);
    assert_true(clock_mono_ms() - start_ms >= 5 * OFTEN_MS - 5);
    assert_int_equal(h.firsts, 1);
    assert_true(h.before.asked_wall_us < h.now.asked_wall_us && h.before.asked_wall_us > 0);
    watch_free(&h.watch);
}

/* The counter moves by the command's count. */
static void assert_counts(struct heard *h, enum sample_calls which, uint64_t n,
                          const char *command) {
    look_anew(h);
    uint64_t calls[SAMPLE_CALLS];
    memcpy(calls, h->now.calls, sizeof(calls));
    assert_true(h->now.calls_known);
    const char *reply = redis_do(&server, "%s", command);
    if (reply[0] == '-') fail_msg("%s: %s", command, reply);
    look_anew(h);
    for (int i = 0; i < SAMPLE_CALLS; i++)
        if (i != SAMPLE_INFO && h->now.calls[i] != calls[i] + (i == (int)which ? n : 0))
            fail_msg("%s: counter %d went from %lu to %lu", command, i, calls[i], h->now.calls[i]);
}

static void counters(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    redis_do(&server, "FUNCTION FLUSH");
    start(&h, &s, NEVER_MS, true);
    assert_counts(&h, SAMPLE_CALLS, 0, "SET a 1");
    assert_counts(&h, SAMPLE_CALLS, 0, "XADD s 1-1 f v");
    assert_counts(&h, SAMPLE_GROUPS, 1, "XGROUP CREATE s g 0");
    assert_counts(&h, SAMPLE_GROUPS, 1, "XREADGROUP GROUP g c STREAMS s >");
    assert_counts(&h, SAMPLE_GROUPS, 1, "XCLAIM s g d 0 1-1");
    assert_counts(&h, SAMPLE_GROUPS, 1, "XAUTOCLAIM s g e 0 0");
    assert_counts(&h, SAMPLE_GROUPS, 1, "EVAL \"return redis.call('xack', 's', 'g', '1-1')\" 0");
    assert_counts(&h, SAMPLE_GROUPS, 1, "XSETID s 5-5");
    assert_counts(&h, SAMPLE_GROUPS, 1, "XGROUP DESTROY s g");
    assert_counts(&h, SAMPLE_CALLS, 0, "XINFO STREAM s");
    assert_counts(&h, SAMPLE_SWAPDB, 1, "SWAPDB 0 3");
    assert_counts(&h, SAMPLE_FLUSH, 1, "FLUSHDB");
    assert_counts(&h, SAMPLE_FLUSH, 1, "FLUSHALL");
    assert_counts(
        &h, SAMPLE_FUNCTIONS, 1,
        "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function() return 1 end)\"");
    assert_counts(&h, SAMPLE_CALLS, 0, "FUNCTION LIST");
    assert_counts(&h, SAMPLE_FUNCTIONS, 1, "FUNCTION DELETE l");
    watch_free(&h.watch);
}

/* A fork freezes the server for a moment; one that has come and gone between two looks is seen by
 * the count. */
static void forks(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    redis_do(&server, "MSET a 1 b 2 c 3 d 4 e 5 f 6 g 7 h 8 i 9 j 10");
    start(&h, &s, OFTEN_MS, false);
    RUN_UNTIL(h.looks > 0);
    uint64_t forks = h.now.forks;
    redis_do(&server, "CONFIG SET rdb-key-save-delay 30000");
    redis_do(&server, "BGSAVE");
    RUN_UNTIL(h.now.has_child);
    assert_int_equal(h.now.forks, forks + 1);
    RUN_UNTIL(!h.now.has_child);
    assert_int_equal(h.now.forks, forks + 1);
    redis_do(&server, "CONFIG SET rdb-key-save-delay 0");
    watch_free(&h.watch);
}

static void silence_and_return(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    start(&h, &s, OFTEN_MS, true);
    RUN_UNTIL(h.looks == 2);
    kill(server.pid, SIGSTOP);
    int64_t start_ms = clock_mono_ms();
    RUN_UNTIL(h.silences == 1);
    assert_in_range(clock_mono_ms() - start_ms, REPLY_MS - 10, 10 * REPLY_MS);
    assert_int_equal(h.err.code, ERR_TIMEOUT);
    /* Its attempts to come back fail too, which is no news. */
    for (start_ms = clock_mono_ms(); clock_mono_ms() - start_ms < 4 * REPLY_MS;)
        loop_run_once(loop, 20);
    assert_int_equal(h.silences, 1);
    kill(server.pid, SIGCONT);
    int looks = h.looks;
    RUN_UNTIL(h.looks > looks);
    assert_int_equal(h.firsts, 1); /* the same process */
    redis_kill_clients(&server);
    RUN_UNTIL(h.silences == 2);
    looks = h.looks;
    RUN_UNTIL(h.looks > looks);
    assert_int_equal(h.firsts, 1);
    watch_free(&h.watch);
}

static void another_process(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    start(&h, &s, OFTEN_MS, true);
    RUN_UNTIL(h.looks == 2);
    char run_id[RUN_ID_MAX];
    memcpy(run_id, h.now.info.run_id, sizeof(run_id));
    redis_restart(&server, NULL);
    RUN_UNTIL(h.firsts == 2);
    assert_int_equal(h.silences, 1);
    assert_string_not_equal(h.now.info.run_id, run_id);
    watch_free(&h.watch);
}

/* A server that is away from the start, and an error that a client holds to be final. */
static void never_there(void **state) {
    struct heard h = { 0 };
    struct client_settings s = to(&server);
    s.address.port = port_closed();
    start(&h, &s, OFTEN_MS, false);
    RUN_UNTIL(h.silences == 1);
    assert_int_equal(h.err.code, ERR_CONNECT);
    watch_free(&h.watch);
}

static void password_mended(void **state) {
    struct redis_process guarded;
    const char *const args[] = { "--user", "eye", "on", ">new", "~*", "+@all", NULL };
    redis_start(&guarded, args);
    struct heard h = { 0 };
    struct client_settings s = to(&guarded);
    s.user = "eye";
    s.pass = "old";
    start(&h, &s, OFTEN_MS, false);
    RUN_UNTIL(h.silences == 1);
    assert_int_equal(h.err.code, ERR_WRONGPASS);
    redis_do(&guarded, "ACL SETUSER eye >old");
    RUN_UNTIL(h.looks == 1);
    assert_int_equal(h.silences, 1);
    watch_free(&h.watch);
    redis_stop(&guarded);
}

/* INFO refused by an ACL, and allowed later. */
static void refused(void **state) {
    struct heard blind = { 0 };
    struct client_settings s = to(&server);
    redis_do(&server, "ACL SETUSER blind on nopass ~* +@all -info");
    s.user = "blind";
    s.pass = "x";
    start(&blind, &s, OFTEN_MS, true);
    RUN_UNTIL(blind.silences == 1);
    assert_int_equal(blind.err.code, ERR_NOPERM);
    for (int64_t from_ms = clock_mono_ms(); clock_mono_ms() - from_ms < 10 * OFTEN_MS;)
        loop_run_once(loop, 20);
    assert_true(blind.silences == 1 && blind.looks == 0);
    redis_do(&server, "ACL SETUSER blind +info");
    RUN_UNTIL(blind.looks > 0 && blind.now.calls_known);
    watch_free(&blind.watch);
}

static void freed_in_callbacks(void **state) {
    struct heard a = { .free_on_sample = true }, b = { .free_on_silent = true },
                 c = { .free_on_sample = true };
    struct client_settings s = to(&server), away = s;
    away.address.port = port_closed();
    start(&a, &s, OFTEN_MS, true);
    start(&b, &away, OFTEN_MS, true);
    start(&c, &s, OFTEN_MS, false);
    RUN_UNTIL(a.watch == NULL && b.watch == NULL && c.watch == NULL);
    for (int i = 0; i < 10; i++) loop_run_once(loop, OFTEN_MS);
    assert_true(a.looks == 1 && b.silences == 1 && c.looks == 1);
    watch_free(&a.watch);
}

static void looked_at_anew_in_the_callback(void **state) {
    struct heard h = { .again_on_sample = true };
    struct client_settings s = to(&server);
    start(&h, &s, NEVER_MS, true);
    RUN_UNTIL(h.looks == 2);
    assert_int_equal(h.firsts, 1);
    assert_true(h.before.asked_wall_us < h.now.asked_wall_us);
    watch_now(h.watch);
    watch_now(h.watch); /* behind the one that is under way */
    RUN_UNTIL(h.looks == 4);
    watch_free(&h.watch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_finds),
        cmocka_unit_test(at_intervals),
        cmocka_unit_test(counters),
        cmocka_unit_test(forks),
        cmocka_unit_test(silence_and_return),
        cmocka_unit_test(another_process),
        cmocka_unit_test(never_there),
        cmocka_unit_test(password_mended),
        cmocka_unit_test(refused),
        cmocka_unit_test(freed_in_callbacks),
        cmocka_unit_test(looked_at_anew_in_the_callback),
    };
    return cmocka_run_group_tests(tests, fixture_start_server, fixture_stop_server);
}
