/* Calls: one command and its reply at a time, several that are under way together, replies that are
 * long, and redirects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/call.h"
#include "server/client.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000 };

static void calls(void **state) {
    struct client_settings s = fixture_client_settings();
    struct err err;
    struct call_reply reply;
    s.reconnect = false;
    struct client *client = call_open(loop, &s, PATIENCE_MS, &err);
    assert_non_null(client);
    assert_false(call_ok(loop, client, 1000, &reply, &err, "NOSUCH COMMAND"));
    assert_int_equal(err.code, ERR_UNKNOWN_COMMAND);
    const struct bytes words[] = { BYTES_LITERAL("INCR"), BYTES_LITERAL("no number") };
    assert_true(call_send(loop, client, 1000, &reply, &err, 2, words));
    call_reply_fini(&reply);
    volatile bool stop = true;
    call_set_interrupt(&stop);
    assert_false(call_ok(loop, client, 1000, &reply, &err, "PING"));
    assert_int_equal(err.code, ERR_INTERRUPTED);
    call_set_interrupt(NULL);
    kill(server.pid, SIGSTOP);
    assert_false(call_ok(loop, client, 200, &reply, &err, "PING"));
    assert_int_equal(err.code, ERR_TIMEOUT);
    kill(server.pid, SIGCONT);
    /* The answers that came too late are not taken for this one's. */
    assert_true(call_ok(loop, client, 5000, &reply, &err, "ECHO mine"));
    assert_true(bytes_equal_str(reply.item.str, "mine"));
    call_reply_fini(&reply);
    redis_kill_clients(&server);
    assert_false(call_ok(loop, client, 5000, &reply, &err, "PING"));
    assert_int_equal(err.code, ERR_CLOSED);
    assert_false(call_ok(loop, client, 5000, &reply, &err, "PING"));
    client_close(&client);
    s.address.port = port_closed();
    assert_null(call_open(loop, &s, PATIENCE_MS, &err));
    assert_int_equal(err.code, ERR_CONNECT);
    s.reconnect = true;
    int64_t start_ms = clock_mono_ms();
    assert_null(call_open(loop, &s, 400, &err));
    assert_in_range(clock_mono_ms() - start_ms, 390, 3000);
    assert_int_equal(err.code, ERR_CONNECT);
}

/* A reply whose length nobody announces: 50 MB in 10,000 elements must not be copied again for each
 * of them. */
static void reply_of_many_values(void **state) {
    struct client_settings s = fixture_client_settings();
    struct err err;
    struct call_reply reply;
    redis_do(
        &server,
        "EVAL \"for i=1,10000 do redis.call('RPUSH','many',string.rep('x',5000)) end return 1\" 0");
    struct client *client = call_open(loop, &s, PATIENCE_MS, &err);
    int64_t start_ms = clock_mono_ms();
    assert_true(call_ok(loop, client, PATIENCE_MS, &reply, &err, "LRANGE many 0 -1"));
    assert_true(clock_mono_ms() - start_ms < 10000);
    assert_int_equal(reply.item.num, 10000);
    struct resp_item item;
    for (int i = 0; i < 10000; i++)
        assert_true(resp_next(&reply.cursor, &item) && item.str.len == 5000);
    call_reply_fini(&reply);
    client_close(&client);
}

/* Where replies have a bound, one that announces more ends the connection before it has come. */
static void replies_are_bounded(void **state) {
    struct client_settings s = fixture_client_settings();
    struct err err;
    struct call_reply reply;
    redis_do(&server, "EVAL \"redis.call('SET','b',string.rep('x',3000000)) "
                      "redis.call('SET','s','y') return 1\" 0");
    s.reply_bytes_max = 1000000;
    s.reconnect = false;
    struct client *client = call_open(loop, &s, PATIENCE_MS, &err);
    assert_true(call_ok(loop, client, PATIENCE_MS, &reply, &err, "MGET s s"));
    call_reply_fini(&reply);
    uint64_t before = client_bytes_in(client);
    assert_false(call_ok(loop, client, PATIENCE_MS, &reply, &err, "MGET s b"));
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.text, "longer than the 1000000 bytes"));
    assert_true(client_bytes_in(client) - before < 2000000);
    client_close(&client);
}

static void named(void **state) {
    const char *const names[] = { NULL, "longhaul-feed" };
    for (int i = 0; i < 2; i++) {
        struct client_settings s = fixture_client_settings();
        struct call_reply reply;
        struct err err;
        s.name = names[i];
        struct client *client = call_open(loop, &s, PATIENCE_MS, &err);
        assert_non_null(client);
        assert_true(call_ok(loop, client, PATIENCE_MS, &reply, &err, "CLIENT GETNAME"));
        assert_true(bytes_equal_str(reply.item.str, i == 0 ? "longhaul" : names[i]));
        call_reply_fini(&reply);
        client_close(&client);
    }
}

/* ---- calls that are under way together ---- */

static struct call *start_echo(struct client *client, const char *word) {
    const struct bytes words[] = { BYTES_LITERAL("ECHO"), bytes_of_str(word) };
    return call_start(client, 2, words);
}

static void assert_echo(struct call **call, const char *word) {
    struct call_reply reply;
    struct err err;
    assert_true(call_finish(loop, call, PATIENCE_MS, &reply, &err));
    assert_null(*call);
    assert_true(bytes_equal_str(reply.item.str, word));
    call_reply_fini(&reply);
}

static void calls_are_finished_in_any_order(void **state) {
    struct client_settings settings = fixture_client_settings();
    struct err err;
    settings.reconnect = false;
    struct client *client = call_open(loop, &settings, PATIENCE_MS, &err);
    struct call *a = start_echo(client, "a"), *b = start_echo(client, "b"),
                *c = start_echo(client, "c");
    assert_int_equal(client_pending(client), 3);
    call_drop(&b);
    assert_null(b);
    assert_echo(&c, "c");
    assert_int_equal(client_pending(client), 0); /* all came in the same round trip */
    assert_echo(&a, "a");
    call_drop(&a); /* of nothing */
    client_close(&client);
    loop_run_once(loop, 0);
}

static void calls_fail_with_their_connection(void **state) {
    struct client_settings settings = fixture_client_settings();
    struct call_reply reply;
    struct err err;
    settings.reconnect = false;
    struct client *client = call_open(loop, &settings, PATIENCE_MS, &err);
    struct call *lost = start_echo(client, "lost"), *dropped = start_echo(client, "dropped");
    redis_kill_clients(&server);
    assert_false(call_finish(loop, &lost, PATIENCE_MS, &reply, &err));
    assert_int_equal(err.code, ERR_CLOSED);
    call_drop(&dropped);
    struct call *late = start_echo(client, "late");
    assert_false(call_finish(loop, &late, PATIENCE_MS, &reply, &err));
    assert_int_equal(err.code, ERR_CLOSED);
    client_close(&client);
    loop_run_once(loop, 0);
}

static void a_client_knows_how_far_its_server_is(void **state) {
    struct client_settings settings = fixture_client_settings();
    struct err err;
    struct client *client = client_open(loop, &settings, NULL, NULL);
    assert_int_equal(client_round_trip_us(client), 0);
    assert_true(call_await_open(loop, &client, true, PATIENCE_MS, &err));
    assert_in_range(client_round_trip_us(client), 1, 10 * 1000 * 1000);
    client_close(&client);
    loop_run_once(loop, 0);
}

/* ---- redirects ---- */

struct redirected {
    int redirects, replies;
    struct redirect last;
};

static void on_redirect(void *ctx, const struct redirect *redirect) {
    struct redirected *r = ctx;
    assert_int_equal(r->redirects, r->replies); /* before the command's own callback */
    r->redirects++;
    r->last = *redirect;
}

static void on_redirected_reply(void *ctx, void *arg, const struct reply *reply) {
    struct redirected *r = ctx;
    r->replies++;
    if (arg != NULL) assert_int_equal(r->redirects, r->replies);
}

static void ask_for(struct client *client, struct redirected *r, const char *error, bool redirect) {
    char script[200];
    snprintf(script, sizeof(script), "return redis.error_reply('%s')", error);
    const struct bytes words[] = { BYTES_LITERAL("EVAL"), bytes_of_str(script),
                                   BYTES_LITERAL("0") };
    *r = (struct redirected){ 0 };
    client_command(client, on_redirected_reply, r, redirect ? r : NULL, 3, words);
    RUN_UNTIL(r->replies == 1);
    assert_int_equal(r->redirects, redirect);
}

static void redirects_are_data(void **state) {
    static const struct client_events events = { .on_redirect = on_redirect };
    struct redirected r = { 0 };
    struct client_settings s = fixture_client_settings();
    struct client *client = client_open(loop, &s, &events, &r);
    RUN_UNTIL(client_is_ready(client));
    ask_for(client, &r, "MOVED 3999 10.0.0.7:7001", true);
    assert_false(r.last.ask);
    assert_int_equal(r.last.slot, 3999);
    assert_string_equal(r.last.address.host, "10.0.0.7");
    assert_int_equal(r.last.address.port, 7001);
    ask_for(client, &r, "ASK 0 host.example:6379", true);
    assert_true(r.last.ask);
    assert_string_equal(r.last.address.host, "host.example");
    ask_for(client, &r, "MOVED 16383 :7002", true); /* the host that was asked */
    assert_string_equal(r.last.address.host, "127.0.0.1");
    ask_for(client, &r, "MOVED 1 fd00::7:7003", true);
    assert_string_equal(r.last.address.host, "fd00::7");
    ask_for(client, &r, "MOVED 16384 10.0.0.7:7001", false);
    ask_for(client, &r, "MOVED -1 10.0.0.7:7001", false);
    ask_for(client, &r, "MOVED 1 10.0.0.7:70000", false);
    ask_for(client, &r, "MOVED 1", false);
    ask_for(client, &r, "MOVED", false);
    ask_for(client, &r, "ERR MOVED 1 10.0.0.7:7001", false);
    client_close(&client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls),
        cmocka_unit_test(reply_of_many_values),
        cmocka_unit_test(replies_are_bounded),
        cmocka_unit_test(named),
        cmocka_unit_test(calls_are_finished_in_any_order),
        cmocka_unit_test(calls_fail_with_their_connection),
        cmocka_unit_test(a_client_knows_how_far_its_server_is),
        cmocka_unit_test(redirects_are_data),
    };
    return cmocka_run_group_tests(tests, fixture_start_server, fixture_stop_server);
}
