/* When a server has room for a reply of unknown size; and the connection that is offered then,
 * against a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "copy/bounded.h"
#include "support/fixture.h"
#include "support/run_until.h"

#define MIB (UINT64_C(1) << 20)

enum { PATIENCE_MS = 60000 };

static struct server_info info_of(uint64_t used, uint64_t data, uint64_t maxmemory,
                                  uint64_t machine) {
    return (struct server_info){ .used_memory = used * MIB,
                                 .used_memory_dataset = data * MIB,
                                 .maxmemory = maxmemory * MIB,
                                 .total_system_memory = machine * MIB };
}

static void room_below_maxmemory(void **state) {
    struct server_info info = info_of(7000, 6000, 8000, 16000);
    /* 32 MB of output and a string of 512 MB, for each connection. */
    assert_true(bounded_fits(&info, 1));
    assert_false(bounded_fits(&info, 2));
    info = info_of(7500, 6000, 8000, 16000);
    assert_false(bounded_fits(&info, 1));
}

static void room_in_the_machine(void **state) {
    struct server_info info = info_of(7000, 6000, 0, 16000);
    assert_true(bounded_fits(&info, 4));
    info = info_of(7000, 6000, 0, 7100);
    assert_false(bounded_fits(&info, 1));
}

/* No string is larger than all data together. */
static void little_data_needs_little_room(void **state) {
    struct server_info info = info_of(20, 10, 64, 0);
    assert_true(bounded_fits(&info, 1));
    info = info_of(30, 10, 64, 0);
    assert_false(bounded_fits(&info, 1));
}

static void what_is_not_said_is_not_believed(void **state) {
    struct server_info info = info_of(0, 0, 0, 0);
    assert_false(bounded_fits(&info, 1));
    info = info_of(100, 50, 0, 0);
    assert_false(bounded_fits(&info, 1));
    info = info_of(0, 0, 8000, 16000);
    assert_false(bounded_fits(&info, 1));
    info = info_of(900, 50, 800, 16000);
    assert_false(bounded_fits(&info, 1));
}

/* ---- the connection ---- */

static struct client_settings to_server(void) {
    struct client_settings s = {
        .role = "source", .reconnect = true, .identify = true, .connect_timeout_ms = PATIENCE_MS
    };
    address_set(&s.address, BYTES_LITERAL("127.0.0.1"), server.port);
    return s;
}

static void on_lost(void *ctx) {
    ++*(int *)ctx;
}

/* A number that the script returns. */
static long asked(const char *script) {
    return atol(redis_do(&server, "EVAL \"return %s\" 0", script) + 1);
}

static const char *run_id(void) {
    static char text[64];
    const char *reply = redis_do(
        &server, "EVAL \"return {ok=redis.call('info','server'):match('run_id:(%%x+)')}\" 0");
    snprintf(text, sizeof(text), "%s", reply + 1);
    return text;
}

static long connections(void) {
    return asked("tonumber(redis.call('info','clients'):match('connected_clients:(%d+)'))");
}

static void offered_in_the_class_that_servers_bound(void **state) {
    struct client_settings s = to_server();
    int lost = 0;
    struct bounded *b = bounded_open(loop, &s, 1, on_lost, &lost);
    RUN_UNTIL(bounded_client(b, run_id()) != NULL);
    assert_true(asked("redis.call('pubsub','numsub','longhaul:nobody')[2]") > 0);
    assert_int_equal(lost, 0);
    bounded_free(&b);
}

/* However many values of a reply are large, the server holds one beside its bound. The peak is
 * noted after each command (redis 7.0.15 src/server.c call()). */
static void large_values_are_not_heaped_up(void **state) {
    struct client_settings s = to_server();
    int lost = 0;
    redis_do(&server,
             "EVAL \"for i=1,10 do redis.call('set','b'..i,string.rep('x',20000000)) end\" 0");
    struct bounded *b = bounded_open(loop, &s, 1, on_lost, &lost);
    struct client *client;
    RUN_UNTIL((client = bounded_client(b, run_id())) != NULL);
    struct bytes words[11] = { BYTES_LITERAL("MGET") };
    char names[10][8];
    for (int i = 0; i < 10; i++) {
        snprintf(names[i], sizeof(names[i]), "b%d", i + 1);
        words[i + 1] = bytes_of_str(names[i]);
    }
    client_command(client, NULL, NULL, NULL, 11, words);
    RUN_UNTIL(lost == 1);
    long peak = asked("tonumber(redis.call('info','memory'):match('used_memory_peak:(%d+)'))");
    long used = asked("tonumber(redis.call('info','memory'):match('used_memory:(%d+)'))");
    assert_true(used > 200 * 1000 * 1000);
    assert_in_range(peak - used, 0, BOUNDED_OUTPUT_BYTES + 30 * 1000 * 1000);
    bounded_free(&b);
    redis_do(&server, "FLUSHALL");
}

/* It may lead to a process that was there before, and is made anew. */
static void not_to_another_process(void **state) {
    struct client_settings s = to_server();
    int lost = 0;
    struct bounded *b = bounded_open(loop, &s, 1, on_lost, &lost);
    RUN_UNTIL(bounded_client(b, run_id()) != NULL);
    assert_null(bounded_client(b, "0123456789"));
    loop_settle(loop);
    assert_int_equal(lost, 1);
    RUN_UNTIL(bounded_client(b, run_id()) != NULL);
    bounded_free(&b);
}

static void only_while_there_is_room(void **state) {
    struct client_settings s = to_server();
    redis_do(&server, "CONFIG SET maxmemory 30mb");
    struct bounded *b = bounded_open(loop, &s, 1, NULL, NULL);
    RUN_UNTIL(asked("redis.call('pubsub','numsub','longhaul:nobody')[2]") > 0);
    for (int i = 0; i < 20; i++) {
        loop_run_once(loop, 20);
        assert_null(bounded_client(b, run_id()));
    }
    redis_do(&server, "CONFIG SET maxmemory 0");
    RUN_UNTIL(bounded_client(b, run_id()) != NULL);
    redis_do(&server, "CONFIG SET maxmemory 30mb");
    RUN_UNTIL(bounded_client(b, run_id()) == NULL);
    redis_do(&server, "CONFIG SET maxmemory 0");
    bounded_free(&b);
}

static void given_up_where_the_channel_is_refused(void **state) {
    struct client_settings s = to_server();
    s.user = "app";
    s.pass = "secret";
    redis_do(&server, "ACL SETUSER app on >secret ~* resetchannels +@all");
    struct bounded *b = bounded_open(loop, &s, 1, NULL, NULL);
    RUN_UNTIL(asked("tonumber(redis.call('info','commandstats')"
                    ":match('subscribe:calls=%d+.-rejected_calls=(%d+)') or 0)") > 0 &&
              connections() == 1);
    assert_null(bounded_client(b, run_id()));
    bounded_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_below_maxmemory),
        cmocka_unit_test(room_in_the_machine),
        cmocka_unit_test(little_data_needs_little_room),
        cmocka_unit_test(what_is_not_said_is_not_believed),
        cmocka_unit_test(offered_in_the_class_that_servers_bound),
        cmocka_unit_test(large_values_are_not_heaped_up),
        cmocka_unit_test(not_to_another_process),
        cmocka_unit_test(only_while_there_is_room),
        cmocka_unit_test(given_up_where_the_channel_is_refused),
    };
    return cmocka_run_group_tests_name("copy/bounded", tests, fixture_start_server,
                                       fixture_stop_server);
}
