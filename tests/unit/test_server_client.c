/* The pipelined client against a real server: every callback exactly once and in order even if the
 * connection breaks, coming back after a loss, errors that are final, and large values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/call.h"
#include "server/client.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, LARGE = 50 * 1024 * 1024 };

static struct redis_process tls_server;

/* One client and all that was heard of it. */
struct heard {
    struct client *client;
    int ready, down, final;
    struct err err;
    int sent, answered, failed; /* commands */
    int kill_at, close_at;      /* answers after which something happens; 0: never */
    bool close_on_ready, close_on_down, out_of_order;
    int pushes;
    int64_t down_ms[32];
};

static void on_ready(void *ctx) {
    struct heard *h = ctx;
    h->ready++;
    assert_true(client_is_ready(h->client));
    assert_int_equal(client_pending(h->client), 0);
    if (h->close_on_ready) client_close(&h->client);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct heard *h = ctx;
    if (h->down < 32) h->down_ms[h->down] = clock_mono_ms();
    h->down++;
    h->final += final;
    h->err = *err;
    assert_int_equal(client_pending(h->client), 0);
    assert_false(client_is_ready(h->client));
    if (h->close_on_down) client_close(&h->client);
}

static void on_push(void *ctx, struct resp_cursor cursor) {
    struct heard *h = ctx;
    struct resp_item item;
    assert_true(resp_next(&cursor, &item) && (item.type == RESP_PUSH || item.type == RESP_ARRAY));
    h->pushes++;
}

static void start(struct heard *h, const struct client_settings *settings) {
    static const struct client_events events = { .on_ready = on_ready,
                                                 .on_down = on_down,
                                                 .on_push = on_push };
    h->client = client_open(loop, settings, &events, h);
    assert_int_equal(h->ready + h->down, 0);
}

/* The answer to ECHO n must be n, and come n-th. */
static void on_echo(void *ctx, void *arg, const struct reply *reply) {
    struct heard *h = ctx;
    char text[16];
    int n = h->answered + h->failed;
    if ((int)(intptr_t)arg != n) h->out_of_order = true;
    if (reply->err != NULL) {
        h->failed++;
    } else {
        snprintf(text, sizeof(text), "%d", n);
        if (!bytes_equal_str(reply->item.str, text)) h->out_of_order = true;
        h->answered++;
    }
    if (h->answered == h->kill_at && reply->err == NULL) redis_kill_clients(&server);
    if (n + 1 == h->close_at) client_close(&h->client);
}

static void send_echoes(struct heard *h, int n) {
    for (int i = 0; i < n; i++) {
        resp_write_head(client_out(h->client), 2);
        resp_write_literal(client_out(h->client), "ECHO");
        resp_write_arg_i64(client_out(h->client), h->sent);
        client_end_command(h->client, on_echo, h, (void *)(intptr_t)h->sent++);
    }
}

/* A command that only the end of the connection answers: all commands before it may have been
 * answered. */
static void send_blocked(struct heard *h) {
    const struct bytes words[] = { BYTES_LITERAL("BLPOP"), BYTES_LITERAL("nobody pushes here"),
                                   BYTES_LITERAL("0") };
    client_command(h->client, on_echo, h, (void *)(intptr_t)h->sent++, 3, words);
}

static void assert_all_called(const struct heard *h) {
    assert_int_equal(h->answered + h->failed, h->sent);
    assert_false(h->out_of_order);
}

static void pipelined(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    assert_int_equal(client_down_since_ms(h.client), 0);
    send_echoes(&h, 20000);
    assert_int_equal(client_pending(h.client), 20000);
    RUN_UNTIL(h.answered == 20000);
    assert_all_called(&h);
    assert_int_equal(client_pending(h.client), 0);
    assert_int_equal(client_unsent_bytes(h.client), 0);
    assert_true(client_bytes_out(h.client) > 20000 * 20);
    client_close(&h.client);
    assert_null(h.client);
    assert_int_equal(h.down, 0);
}

static void killed_in_between(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    for (int round = 0; round < 10; round++) {
        h.kill_at = h.answered + 1 + rand() % 3000;
        int downs = h.down;
        int failed = h.failed;
        send_echoes(&h, 30000);
        send_blocked(&h);
        RUN_UNTIL(h.answered + h.failed == h.sent && h.down > downs);
        assert_true(h.failed > failed);
        assert_int_equal(h.err.code, ERR_CLOSED);
        assert_true(client_down_since_ms(h.client) > 0);
        RUN_UNTIL(client_is_ready(h.client));
    }
    assert_all_called(&h);
    assert_int_equal(client_reconnects(h.client), h.ready - 1);
    assert_int_equal(h.final, 0);
    client_close(&h.client);
    assert_all_called(&h);
}

static void comes_back(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    uint16_t port = s.address.port;
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    kill(server.pid, SIGSTOP);
    send_echoes(&h, 10);
    kill(server.pid, SIGCONT);
    redis_restart(&server, NULL);
    assert_int_equal(server.port, port);
    RUN_UNTIL(h.ready == 2);
    assert_all_called(&h);
    assert_int_equal(client_reconnects(h.client), 1);
    client_close(&h.client);
}

static void pauses_grow(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    s.address.port = port_closed();
    start(&h, &s);
    RUN_UNTIL(h.down == 6);
    for (int i = 1; i < 6; i++) {
        int64_t pause_ms = h.down_ms[i] - h.down_ms[i - 1];
        assert_true(pause_ms >= (CLIENT_BACKOFF_MIN_MS << (i - 1)) * 2 / 3 - 2);
    }
    assert_int_equal(h.err.code, ERR_CONNECT);
    int downs = h.down;
    client_hurry(h.client);
    int64_t start_ms = clock_mono_ms();
    RUN_UNTIL(h.down > downs);
    assert_true(clock_mono_ms() - start_ms < 500);
    client_close(&h.client);
}

static void no_answer(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    s.reply_timeout_ms = 300;
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    for (int i = 0; i < 40; i++) loop_run_once(loop, 20); /* idle is no timeout */
    assert_int_equal(h.down, 0);
    kill(server.pid, SIGSTOP);
    send_echoes(&h, 5);
    int64_t start_ms = clock_mono_ms();
    RUN_UNTIL(h.down == 1);
    assert_in_range(clock_mono_ms() - start_ms, 290, 2000);
    assert_int_equal(h.err.code, ERR_TIMEOUT);
    assert_int_equal(h.failed, 5);
    /* The kernel takes the connection, nobody answers the handshake. */
    RUN_UNTIL(h.down == 2);
    assert_int_equal(h.err.code, ERR_TIMEOUT);
    kill(server.pid, SIGCONT);
    RUN_UNTIL(h.ready == 2);
    client_close(&h.client);
}

static void without_reconnecting(void **state) {
    struct heard h = { .kill_at = 5 };
    struct client_settings s = fixture_client_settings();
    s.reconnect = false;
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    send_echoes(&h, 20000);
    RUN_UNTIL(h.down == 1);
    assert_int_equal(h.final, 1);
    assert_all_called(&h);
    for (int i = 0; i < 10; i++) loop_run_once(loop, 20);
    assert_true(h.ready == 1 && h.down == 1);
    client_close(&h.client);
}

static void closed_in_callbacks(void **state) {
    struct client_settings s = fixture_client_settings();
    struct heard a = { .close_on_ready = true }, b = { .close_at = 3000 },
                 c = { .kill_at = 10, .close_on_down = true };
    struct heard d = { .close_at = 4999 };
    start(&a, &s);
    RUN_UNTIL(a.client == NULL);
    start(&b, &s);
    RUN_UNTIL(b.ready == 1);
    send_echoes(&b, 5000);
    RUN_UNTIL(b.client == NULL);
    assert_all_called(&b);
    assert_int_equal(b.down, 0);
    start(&c, &s);
    RUN_UNTIL(c.ready == 1);
    send_echoes(&c, 30000);
    RUN_UNTIL(c.client == NULL);
    assert_all_called(&c);
    /* Closed by a callback that is itself told of the loss. */
    start(&d, &s);
    RUN_UNTIL(d.ready == 1);
    kill(server.pid, SIGSTOP);
    send_echoes(&d, 5000);
    struct err reason;
    err_set(&reason, ERR_CLOSED, "test", "broken");
    client_break(d.client, &reason);
    kill(server.pid, SIGCONT);
    assert_int_equal(d.failed, 0); /* not on the stack of the caller that breaks */
    loop_settle(loop);
    assert_true(d.client == NULL && d.down == 0);
    assert_all_called(&d);
    for (int i = 0; i < 10; i++) loop_run_once(loop, 20);
    assert_int_equal(a.ready + b.ready + c.ready + d.ready, 4);
}

/* ---- logging in ---- */

static void assert_final(const struct client_settings *s, enum err_code code, const char *part) {
    struct heard h = { 0 };
    start(&h, s);
    RUN_UNTIL(h.down == 1);
    assert_true(h.final == 1 && h.ready == 0);
    if (h.err.code != code || strstr(h.err.text, part) == NULL)
        fail_msg("%s: %s", err_label(h.err.code), h.err.text);
    for (int i = 0; i < 10; i++) loop_run_once(loop, 20);
    assert_int_equal(h.down, 1);
    client_close(&h.client);
}

static void assert_ready(const struct client_settings *s) {
    struct heard h = { 0 };
    start(&h, s);
    RUN_UNTIL(h.ready + h.down > 0);
    if (h.ready == 0) fail_msg("%s", h.err.text);
    client_close(&h.client);
}

static void logins(void **state) {
    struct redis_process guarded;
    const char *const args[] = { "--requirepass", "secret", "--user", "copy", "on",
                                 ">pw",           "~*",     "+@all",  NULL };
    redis_start(&guarded, args);
    for (int protocol = 2; protocol <= 3; protocol++) {
        struct client_settings s = fixture_client_settings();
        s.address.port = guarded.port;
        s.protocol = protocol;
        assert_final(&s, ERR_NOAUTH, "--source-pass");
        s.pass = "wrong";
        assert_final(&s, ERR_WRONGPASS, "WRONGPASS");
        s.pass = "secret";
        assert_ready(&s);
        s.user = "copy";
        assert_final(&s, ERR_WRONGPASS, "WRONGPASS");
        s.pass = "pw";
        assert_ready(&s);
    }
    redis_stop(&guarded);
    struct client_settings s = fixture_client_settings();
    s.pass = "needless";
    assert_final(&s, ERR_WRONGPASS, "AUTH refused");
}

static void databases(void **state) {
    struct client_settings s = fixture_client_settings();
    struct err err;
    struct call_reply reply;
    redis_do(&server, "FLUSHALL");
    s.db = 3;
    struct client *client = call_open(loop, &s, PATIENCE_MS, &err);
    assert_non_null(client);
    assert_true(call_ok(loop, client, 1000, &reply, &err, "SET k v"));
    call_reply_fini(&reply);
    client_select(client, 5);
    client_select(client, 5);
    assert_int_equal(client_pending(client), 1);
    assert_true(call_ok(loop, client, 1000, &reply, &err, "MSET k v l v"));
    call_reply_fini(&reply);
    client_close(&client);
    s.db = 5;
    client = call_open(loop, &s, PATIENCE_MS, &err);
    assert_true(call_ok(loop, client, 1000, &reply, &err, "DBSIZE"));
    assert_int_equal(reply.item.num, 2);
    call_reply_fini(&reply);
    client_close(&client);
    s.db = 99;
    assert_final(&s, ERR_UNSUPPORTED, "database 99");
}

static void options_the_server_lacks(void **state) {
    struct client_settings s = fixture_client_settings();
    s.no_touch = true; /* 7.2 and newer */
    s.readonly = true; /* refused outside clusters */
    assert_ready(&s);
}

/* ---- servers that cannot answer now ---- */

static void too_many_clients(void **state) {
    struct redis_process crowded;
    const char *const args[] = { "--maxclients", "1", NULL };
    redis_start(&crowded, args);
    struct client_settings s = fixture_client_settings();
    s.address.port = crowded.port;
    struct heard a = { 0 }, b = { 0 };
    start(&a, &s);
    RUN_UNTIL(a.ready == 1);
    start(&b, &s);
    for (int i = 1; i < 6; i++) {
        RUN_UNTIL(b.down == i);
        assert_int_equal(b.err.code, ERR_MAXCLIENTS);
    }
    client_close(&a.client);
    RUN_UNTIL(b.ready == 1);
    assert_int_equal(b.final, 0);
    client_close(&b.client);
    redis_stop(&crowded);
}

/* A script that blocks the server makes it refuse SELECT and the like for a while; that is no
 * reason to give up. */
static void blocked_by_a_script(void **state) {
    struct client_settings s = fixture_client_settings();
    struct heard script = { 0 }, other = { 0 }, selecting = { 0 };
    redis_do(&server, "CONFIG SET busy-reply-threshold 50");
    start(&script, &s);
    start(&selecting, &s);
    RUN_UNTIL(script.ready == 1 && selecting.ready == 1);
    const struct bytes words[] = { BYTES_LITERAL("EVAL"), BYTES_LITERAL("while true do end"),
                                   BYTES_LITERAL("0") };
    client_command(script.client, NULL, NULL, NULL, 3, words);
    for (int i = 0; i < 10; i++) loop_run_once(loop, 20);
    s.db = 3;
    start(&other, &s);
    client_select(selecting.client, 4);
    RUN_UNTIL(other.down == 2 && selecting.down >= 1);
    assert_int_equal(other.err.code, ERR_BUSY);
    redis_do(&server, "SCRIPT KILL");
    RUN_UNTIL(other.ready == 1 && selecting.ready == 2);
    assert_int_equal(other.final + selecting.final, 0);
    client_close(&script.client);
    client_close(&selecting.client);
    client_close(&other.client);
}

/* ---- large values ---- */

struct large {
    struct block *block;
    int done;
    bool equal;
};

static void on_large(void *ctx, void *arg, const struct reply *reply) {
    struct large *l = ctx;
    l->done++;
    if (arg != NULL)
        l->equal =
            reply->err == NULL && bytes_equal(reply->item.str, bytes_of(l->block->data, LARGE));
}

/* Out by reference, back into one block, byte for byte. */
static void assert_large_round_trip(const struct client_settings *s) {
    struct heard h = { 0 };
    struct large l = { .block = block_new(LARGE) };
    for (size_t i = 0; i < LARGE / sizeof(int); i++) ((int *)l.block->data)[i] = rand();
    start(&h, s);
    RUN_UNTIL(h.ready == 1);
    struct outq *out = client_out(h.client);
    resp_write_head(out, 3);
    resp_write_literal(out, "SET");
    resp_write_literal(out, "large");
    resp_write_arg_ref(out, l.block, bytes_of(l.block->data, LARGE));
    client_end_command(h.client, on_large, &l, NULL);
    assert_true(block_total_bytes() < 2 * (size_t)LARGE);
    const struct bytes get[] = { BYTES_LITERAL("GET"), BYTES_LITERAL("large") };
    client_command(h.client, on_large, &l, &l, 2, get);
    send_echoes(&h, 100);
    RUN_UNTIL(l.done == 2 && h.answered == 100);
    assert_true(l.equal);
    assert_all_called(&h);
    assert_int_equal(l.block->refs, 1);
    block_unref(&l.block);
    /* The large reply's block is not kept. */
    assert_true(block_total_bytes() < LARGE / 10);
    client_close(&h.client);
    loop_run_once(loop, 0);
    assert_int_equal(block_total_bytes(), 0);
}

static struct tls *shared_tls(void) {
    char ca_file[128];
    snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", tls_server.dir);
    struct tls_settings settings = { .ca_file = ca_file };
    struct err err;
    struct tls *tls = tls_new(&settings, "source", &err);
    assert_non_null(tls);
    return tls;
}

static struct client_settings to_tls_server(struct tls *tls) {
    struct client_settings s = fixture_client_settings();
    address_set(&s.address, BYTES_LITERAL("localhost"), tls_server.tls_port);
    s.tls = tls;
    return s;
}

static void large_values(void **state) {
    struct client_settings s = fixture_client_settings();
    assert_large_round_trip(&s);
    address_set_unix(&s.address, server.socket);
    assert_large_round_trip(&s);
    struct tls *tls = shared_tls();
    s = to_tls_server(tls);
    assert_large_round_trip(&s);
    tls_free(&tls);
}

static void on_kept(void *ctx, void *arg, const struct reply *reply) {
    struct large *l = ctx;
    if (l->block == NULL) {
        l->block = block_ref(reply->block);
        *(struct bytes *)arg = reply->item.str;
    }
    l->done++;
}

/* A user that keeps a reply's block keeps its bytes, however much arrives behind it. */
static void kept_replies(void **state) {
    struct heard h = { 0 };
    struct large l = { 0 };
    struct bytes kept;
    struct client_settings s = fixture_client_settings();
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    char value[1001];
    memset(value, 'k', 1000);
    value[1000] = '\0';
    for (int i = 0; i < 5000; i++) {
        const struct bytes words[] = { BYTES_LITERAL("ECHO"), bytes_of_str(value) };
        client_command(h.client, on_kept, &l, &kept, 2, words);
        memset(value, 'a' + i % 26, 1000);
    }
    RUN_UNTIL(l.done == 5000);
    memset(value, 'k', 1000);
    assert_true(bytes_equal_str(kept, value));
    block_unref(&l.block);
    client_close(&h.client);
}

static void pushes(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    s.protocol = 3;
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    const struct bytes words[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("TRACKING"),
                                   BYTES_LITERAL("ON"), BYTES_LITERAL("BCAST") };
    client_command(h.client, NULL, NULL, NULL, 4, words);
    RUN_UNTIL(client_pending(h.client) == 0);
    for (int i = 0; i < 20; i++) {
        redis_do(&server, "SET tracked %d", i);
        send_echoes(&h, 50);
        RUN_UNTIL(h.answered == h.sent);
    }
    assert_int_equal(h.pushes, 20);
    assert_all_called(&h);
    client_close(&h.client);
}

static void on_pong(void *ctx, void *arg, const struct reply *reply) {
    struct heard *h = ctx;
    if (reply->err == NULL && !resp_is_error(&reply->item)) h->answered++;
}

/* Messages of channels come beside the answers to commands, with both protocols. */
static void subscriber(void **state) {
    for (int protocol = 2; protocol <= 3; protocol++) {
        struct heard h = { 0 };
        struct client_settings s = fixture_client_settings();
        s.protocol = protocol;
        s.subscriber = true;
        start(&h, &s);
        RUN_UNTIL(h.ready == 1);
        const struct bytes one[] = { BYTES_LITERAL("SUBSCRIBE"), BYTES_LITERAL("news") };
        const struct bytes more[] = { BYTES_LITERAL("PSUBSCRIBE"), BYTES_LITERAL("ne*") };
        const struct bytes ping[] = { BYTES_LITERAL("PING") };
        resp_write_command(client_out(h.client), 2, one);
        client_end_unanswered(h.client);
        resp_write_command(client_out(h.client), 2, more);
        client_end_unanswered(h.client);
        for (int i = 0; i < 20; i++) {
            client_command(h.client, on_pong, &h, NULL, 1, ping);
            RUN_UNTIL(h.answered == i + 1);
            redis_do(&server, "PUBLISH news %d", i);
        }
        RUN_UNTIL(h.pushes == 2 + 2 * 20);
        assert_int_equal(client_pending(h.client), 0);
        assert_int_equal(h.down, 0);
        client_close(&h.client);
    }
}

/* Which process it is, known with the connection; and another one after a restart. */
static void identified(void **state) {
    struct heard h = { 0 }, plain = { 0 };
    struct client_settings s = fixture_client_settings();
    char before[64];
    start(&plain, &s);
    s.identify = true;
    s.name = "longhaul-feed";
    start(&h, &s);
    RUN_UNTIL(h.ready == 1 && plain.ready == 1);
    assert_int_equal(strlen(client_run_id(h.client)), 40);
    assert_string_equal(client_run_id(plain.client), "");
    snprintf(before, sizeof(before), "%s", client_run_id(h.client));
    redis_restart(&server, NULL);
    RUN_UNTIL(h.ready == 2 && plain.ready == 2);
    assert_int_equal(strlen(client_run_id(h.client)), 40);
    assert_string_not_equal(client_run_id(h.client), before);
    client_close(&h.client);
    client_close(&plain.client);
}

/* ---- threads ---- */

static void *talk_over_tls(void *arg) {
    struct err err;
    struct loop *mine = loop_new(&err);
    for (int round = 0; round < 5; round++) {
        struct client_settings s = to_tls_server(arg);
        struct client *client = call_open(mine, &s, PATIENCE_MS, &err);
        if (client == NULL) return (void *)"no client";
        for (int i = 0; i < 200; i++) {
            struct call_reply reply;
            if (!call_ok(mine, client, PATIENCE_MS, &reply, &err, "PING"))
                return (void *)"no answer";
            call_reply_fini(&reply);
        }
        client_close(&client);
    }
    loop_free(&mine);
    return NULL;
}

/* One TLS context, resolving, and the counting of blocks, used by several loops at once. */
static void threads_share_tls(void **state) {
    struct tls *tls = shared_tls();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, talk_over_tls, tls);
    for (int i = 0; i < 4; i++) {
        void *failure;
        pthread_join(threads[i], &failure);
        assert_null(failure);
    }
    tls_free(&tls);
}

static int setup(void **state) {
    redis_start_tls(&tls_server, false);
    return fixture_start_server(state);
}

/* How often CLIENT KILL was called, as the server counts it. */
static int kills_counted(void) {
    const char *line = redis_do(
        &server, "EVAL \"return redis.status_reply(string.match(redis.call('info','commandstats'),"
                 "'client|kill:calls=(%%d+)') or '0')\" 0");
    assert_int_equal(line[0], '+');
    return atoi(line + 1);
}

/* Commands that a lost connection had under way must not be executed after those of the next
 * one. */
static void stale_connection_is_killed(void **state) {
    struct heard h = { 0 };
    struct client_settings s = fixture_client_settings();
    struct err err;
    err_set(&err, ERR_TIMEOUT, "", "test");
    s.fence = true;
    start(&h, &s);
    RUN_UNTIL(h.ready == 1);
    redis_do(&server, "CONFIG RESETSTAT");
    client_break(h.client, &err);
    RUN_UNTIL(h.ready == 2);
    assert_int_equal(kills_counted(), 0); /* nothing was under way */
    kill(server.pid, SIGSTOP);
    send_echoes(&h, 100);
    for (int i = 0; i < 3; i++) loop_run_once(loop, 10);
    client_break(h.client, &err);
    loop_settle(loop);
    assert_int_equal(h.failed, 100);
    kill(server.pid, SIGCONT);
    RUN_UNTIL(h.ready == 3);
    assert_int_equal(kills_counted(), 1);
    client_close(&h.client);
}

static int teardown(void **state) {
    redis_stop(&tls_server);
    return fixture_stop_server(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined),
        cmocka_unit_test(killed_in_between),
        cmocka_unit_test(comes_back),
        cmocka_unit_test(pauses_grow),
        cmocka_unit_test(no_answer),
        cmocka_unit_test(without_reconnecting),
        cmocka_unit_test(closed_in_callbacks),
        cmocka_unit_test(logins),
        cmocka_unit_test(databases),
        cmocka_unit_test(options_the_server_lacks),
        cmocka_unit_test(too_many_clients),
        cmocka_unit_test(blocked_by_a_script),
        cmocka_unit_test(large_values),
        cmocka_unit_test(kept_replies),
        cmocka_unit_test(pushes),
        cmocka_unit_test(subscriber),
        cmocka_unit_test(identified),
        cmocka_unit_test(threads_share_tls),
        cmocka_unit_test(stale_connection_is_killed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
