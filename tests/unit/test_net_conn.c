/* Connections to a real server, over TCP, Unix socket and TLS, and to ports where something is
 * wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/conn.h"
#include "support/redis_process.h"

enum { PATIENCE_MS = 20000 };

static struct redis_process server, tls_server, tls_strict;
static struct loop *loop;

/* One connection and all that was heard of it. */
struct heard {
    struct conn *conn;
    int opened, closed;
    struct err err;
    const char *say; /* on open */
    bool free_on_open, free_on_input, free_on_close;
    char got[256];
    size_t n_got;
};

static void on_open(void *ctx) {
    struct heard *h = ctx;
    h->opened++;
    if (h->say != NULL) outq_write(conn_out(h->conn), h->say, strlen(h->say));
    conn_flush(h->conn);
    if (h->free_on_open) conn_free(&h->conn);
}

static void on_input(void *ctx) {
    struct heard *h = ctx;
    struct bytes in = conn_input(h->conn);
    size_t n = in.len < sizeof(h->got) - h->n_got ? in.len : sizeof(h->got) - h->n_got;
    memcpy(h->got + h->n_got, in.ptr, n);
    h->n_got += n;
    conn_consume(h->conn, in.len);
    if (h->free_on_input) conn_free(&h->conn);
}

static void on_close(void *ctx, const struct err *err) {
    struct heard *h = ctx;
    h->closed++;
    h->err = *err;
    if (h->free_on_close) conn_free(&h->conn);
}

static void start(struct heard *h, const struct conn_address *to, int64_t timeout_ms) {
    static const struct conn_callbacks callbacks = { on_open, on_input, on_close };
    h->conn = conn_open(loop, to, timeout_ms, "source test", &callbacks, h);
    assert_int_equal(h->opened + h->closed, 0);
}

/* Until it is closed, or has answered, or nothing comes. */
static void run(struct heard *h, size_t enough) {
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (h->conn != NULL && h->closed == 0 && h->n_got < enough && clock_mono_ms() < deadline_ms)
        loop_run_once(loop, 50);
}

static struct conn_address plain(void) {
    return (struct conn_address){ .host = "127.0.0.1", .port = server.port };
}

static void assert_pong(struct heard *h, const struct conn_address *to) {
    h->say = "PING\r\n";
    start(h, to, PATIENCE_MS);
    run(h, 7);
    if (h->closed > 0) fail_msg("%s", h->err.text);
    assert_int_equal(h->opened, 1);
    assert_true(conn_is_open(h->conn));
    assert_memory_equal(h->got, "+PONG\r\n", 7);
    assert_int_equal(conn_bytes_in(h->conn), 7);
    assert_int_equal(conn_bytes_out(h->conn), 6);
    conn_free(&h->conn);
    assert_null(h->conn);
    assert_int_equal(h->closed, 0);
}

static void assert_fails(const struct conn_address *to, int64_t timeout_ms, enum err_code code,
                         const char *part) {
    struct heard h = { 0 };
    start(&h, to, timeout_ms);
    run(&h, 1);
    assert_int_equal(h.opened, 0);
    assert_int_equal(h.closed, 1);
    if (h.err.code != code || strstr(h.err.text, part) == NULL)
        fail_msg("%s: %s", err_label(h.err.code), h.err.text);
    assert_string_equal(h.err.place, "source test");
    conn_free(&h.conn);
}

static void answers(void **state) {
    struct conn_address to = plain(), named = { .host = "localhost", .port = server.port },
                        unixed = { .path = server.socket };
    struct heard a = { 0 }, b = { 0 }, c = { 0 };
    assert_pong(&a, &to);
    assert_pong(&b, &named);
    assert_pong(&c, &unixed);
}

static void nobody_there(void **state) {
    struct conn_address closed = { .host = "127.0.0.1", .port = port_closed() };
    struct conn_address missing = { .path = "/nonexistent/redis.sock" };
    char path[200];
    memset(path, 'p', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    struct conn_address too_long = { .path = path };
    assert_fails(&closed, PATIENCE_MS, ERR_CONNECT, "refused");
    assert_fails(&missing, PATIENCE_MS, ERR_CONNECT, "No such file");
    assert_fails(&too_long, PATIENCE_MS, ERR_CONNECT, "too long");
}

/* Where no resolver answers at all it is the time limit that ends it. */
static void unknown_name(void **state) {
    struct conn_address to = { .host = "no-such-host.invalid", .port = 6379 };
    struct heard h = { 0 };
    start(&h, &to, 2000);
    run(&h, 1);
    assert_int_equal(h.closed, 1);
    assert_true(h.err.code == ERR_RESOLVE || h.err.code == ERR_TIMEOUT);
    conn_free(&h.conn);
}

static void freed_while_resolving(void **state) {
    struct conn_address to = { .host = "no-such-host.invalid", .port = 6379 };
    for (int i = 0; i < 5; i++) {
        struct heard h = { 0 };
        start(&h, &to, 2000);
        for (int k = 0; k < i; k++) loop_run_once(loop, 0);
        int closed = h.closed; /* a resolver may be that quick */
        conn_free(&h.conn);
        for (int k = 0; k < 3; k++) loop_run_once(loop, 0);
        assert_true(h.opened == 0 && h.closed == closed);
    }
}

static void connect_timeout(void **state) {
    uint16_t port;
    int silent = port_silent(&port, 0), fillers[4];
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fillers[i], (struct sockaddr *)&addr, sizeof(addr)) != 0) continue;
    }
    struct conn_address to = { .host = "127.0.0.1", .port = port };
    int64_t start_ms = clock_mono_ms();
    assert_fails(&to, 300, ERR_TIMEOUT, "no answer in time");
    assert_in_range(clock_mono_ms() - start_ms, 290, 3000);
    for (int i = 0; i < 4; i++) close(fillers[i]);
    close(silent);
}

static void cut_by_the_server(void **state) {
    struct conn_address to = plain();
    struct heard h = { .say = "PING\r\n" };
    start(&h, &to, PATIENCE_MS);
    run(&h, 7);
    assert_int_equal(redis_kill_clients(&server), 1);
    run(&h, SIZE_MAX);
    assert_int_equal(h.closed, 1);
    assert_int_equal(h.err.code, ERR_CLOSED);
    assert_false(conn_is_open(h.conn));
    for (int i = 0; i < 5; i++) loop_run_once(loop, 10);
    assert_int_equal(h.closed, 1);
    conn_free(&h.conn);
}

static void freed_in_callbacks(void **state) {
    struct conn_address to = plain(), closed = { .host = "127.0.0.1", .port = port_closed() };
    struct heard a = { .free_on_open = true, .say = "PING\r\n" },
                 b = { .free_on_input = true, .say = "PING\r\n" };
    struct heard c = { .free_on_close = true }, d = { 0 }, e = { .free_on_close = true };
    start(&a, &to, PATIENCE_MS);
    run(&a, 1);
    start(&b, &to, PATIENCE_MS);
    run(&b, 1);
    start(&c, &closed, PATIENCE_MS);
    run(&c, 1);
    start(&d, &to, PATIENCE_MS);
    conn_free(&d.conn);
    struct conn_address missing = { .path = "/nonexistent/redis.sock" };
    start(&e, &missing, PATIENCE_MS);
    run(&e, 1);
    for (int i = 0; i < 5; i++) loop_run_once(loop, 5);
    assert_true(a.conn == NULL && a.opened == 1 && a.closed == 0 && a.n_got == 0);
    assert_true(b.conn == NULL && b.opened == 1 && b.closed == 0 && b.n_got == 7);
    assert_true(c.conn == NULL && c.opened == 0 && c.closed == 1);
    assert_true(d.opened == 0 && d.closed == 0);
    assert_true(e.conn == NULL && e.closed == 1);
}

/* ---- TLS ---- */

static struct tls *tls_with(const struct redis_process *p, const char *ca, const char *cert,
                            bool insecure) {
    char ca_file[128], cert_file[128], key_file[128];
    snprintf(ca_file, sizeof(ca_file), "%s/%s", p->dir, ca != NULL ? ca : "");
    snprintf(cert_file, sizeof(cert_file), "%s/%s.crt", p->dir, cert != NULL ? cert : "");
    snprintf(key_file, sizeof(key_file), "%s/%s.key", p->dir, cert != NULL ? cert : "");
    struct tls_settings settings = { .insecure = insecure,
                                     .ca_file = ca != NULL ? ca_file : NULL,
                                     .cert_file = cert != NULL ? cert_file : NULL,
                                     .key_file = cert != NULL ? key_file : NULL };
    struct err err;
    struct tls *tls = tls_new(&settings, "source", &err);
    if (tls == NULL) fail_msg("%s", err.text);
    return tls;
}

static void tls_accepted(void **state) {
    struct tls *tls = tls_with(&tls_server, "ca.crt", NULL, false),
               *insecure = tls_with(&tls_server, NULL, NULL, true);
    struct conn_address named = { .host = "localhost", .port = tls_server.tls_port, .tls = tls };
    struct conn_address numbered = { .host = "127.0.0.1", .port = tls_server.tls_port, .tls = tls };
    struct conn_address told = {
        .host = "127.0.0.1", .port = tls_server.tls_port, .tls = tls, .server_name = "localhost"
    };
    struct conn_address unverified = {
        .host = "127.0.0.1", .port = tls_server.tls_port, .tls = insecure, .server_name = "x"
    };
    struct heard a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
    assert_pong(&a, &named);
    assert_pong(&b, &numbered);
    assert_pong(&c, &told);
    assert_pong(&d, &unverified);
    tls_free(&tls);
    tls_free(&insecure);
}

static void tls_refused(void **state) {
    struct tls *tls = tls_with(&tls_server, "ca.crt", NULL, false),
               *other = tls_with(&tls_server, "other-ca.crt", NULL, false);
    struct tls *system = tls_with(&tls_server, NULL, NULL, false);
    uint16_t port = tls_server.tls_port;
    struct conn_address wrong_ca = { .host = "localhost", .port = port, .tls = other };
    struct conn_address no_ca = { .host = "localhost", .port = port, .tls = system };
    struct conn_address wrong_name = {
        .host = "localhost", .port = port, .tls = tls, .server_name = "db.example"
    };
    struct conn_address wrong_address = {
        .host = "localhost", .port = port, .tls = tls, .server_name = "127.0.0.2"
    };
    assert_fails(&wrong_ca, PATIENCE_MS, ERR_TLS, "not accepted");
    assert_fails(&no_ca, PATIENCE_MS, ERR_TLS, "not accepted");
    assert_fails(&wrong_name, PATIENCE_MS, ERR_TLS, "ostname mismatch");
    assert_fails(&wrong_address, PATIENCE_MS, ERR_TLS, "IP address mismatch");
    tls_free(&tls);
    tls_free(&other);
    tls_free(&system);
}

static void tls_client_certificate(void **state) {
    struct tls *with = tls_with(&tls_strict, "ca.crt", "client", false),
               *without = tls_with(&tls_strict, "ca.crt", NULL, false);
    struct conn_address to = { .host = "localhost", .port = tls_strict.tls_port, .tls = with };
    struct heard a = { 0 };
    assert_pong(&a, &to);
    /* TLS 1.3 tells only after the handshake that a certificate was wanted. */
    struct heard b = { .say = "PING\r\n" };
    to.tls = without;
    start(&b, &to, PATIENCE_MS);
    run(&b, 1);
    assert_int_equal(b.closed, 1);
    if (b.err.code != ERR_TLS) fail_msg("%s: %s", err_label(b.err.code), b.err.text);
    conn_free(&b.conn);
    tls_free(&with);
    tls_free(&without);
}

static void tls_where_there_is_none(void **state) {
    struct tls *tls = tls_with(&tls_server, "ca.crt", NULL, false);
    uint16_t port;
    int silent = port_silent(&port, 5);
    struct conn_address mute = { .host = "127.0.0.1", .port = port, .tls = tls };
    assert_fails(&mute, 300, ERR_TIMEOUT, "TLS handshake");
    /* A plain Redis reads the greeting as an inline command without end; either side may be the one
     * to give up. */
    struct conn_address plain_port = { .host = "127.0.0.1", .port = server.port, .tls = tls };
    struct heard h = { 0 };
    start(&h, &plain_port, 1000);
    run(&h, 1);
    assert_true(h.closed == 1 && h.opened == 0);
    conn_free(&h.conn);
    close(silent);
    tls_free(&tls);
}

static void tls_files_that_are_wrong(void **state) {
    char ca[128], key[128];
    struct err err;
    snprintf(ca, sizeof(ca), "%s/ca.crt", tls_server.dir);
    snprintf(key, sizeof(key), "%s/client.key", tls_server.dir);
    struct tls_settings missing = { .ca_file = "/nonexistent/ca.crt" },
                        not_a_ca = { .ca_file = key };
    struct tls_settings mismatch = { .ca_file = ca, .cert_file = ca, .key_file = key };
    assert_null(tls_new(&missing, "source", &err));
    assert_int_equal(err.code, ERR_TLS);
    assert_non_null(strstr(err.text, "/nonexistent/ca.crt: No such file or directory"));
    assert_null(tls_new(&not_a_ca, "source", &err));
    assert_null(tls_new(&mismatch, "source", &err));
    assert_string_equal(err.place, "source");
}

static int setup(void **state) {
    struct err err;
    redis_start(&server, NULL);
    redis_start_tls(&tls_server, false);
    redis_start_tls(&tls_strict, true);
    loop = loop_new(&err);
    return loop == NULL;
}

static int teardown(void **state) {
    loop_free(&loop);
    redis_stop(&server);
    redis_stop(&tls_server);
    redis_stop(&tls_strict);
    return block_total_bytes() != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(unknown_name),
        cmocka_unit_test(freed_while_resolving),
        cmocka_unit_test(connect_timeout),
        cmocka_unit_test(cut_by_the_server),
        cmocka_unit_test(freed_in_callbacks),
        cmocka_unit_test(tls_accepted),
        cmocka_unit_test(tls_refused),
        cmocka_unit_test(tls_client_certificate),
        cmocka_unit_test(tls_where_there_is_none),
        cmocka_unit_test(tls_files_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
