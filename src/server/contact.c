/* See contact.h. */
#include "server/contact.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/conn.h"
#include "net/tls.h"

enum { CONTACT_PROBE_MS = 2000 };

/* How a port answers a probe. */
enum contact_answer {
    CONTACT_WAITING,
    CONTACT_OPEN, /* the TLS handshake succeeded */
    CONTACT_RESP, /* PING was answered in RESP */
    CONTACT_OTHER /* anything else, or nothing */
};

struct contact_probe {
    struct conn *conn;
    bool plain;
    enum contact_answer answer;
    struct err err;
};

static void contact_on_open(void *ctx) {
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    struct contact_probe *p = ctx;
    if (!p->plain) {
        p->answer = CONTACT_OPEN;
        return;
    }
    outq_write(conn_out(p->conn), ping, sizeof(ping) - 1);
    conn_flush(p->conn);
}

/* "+PONG", or "-NOAUTH ..." and the like. */
static void contact_on_input(void *ctx) {
    struct contact_probe *p = ctx;
    struct bytes input = conn_input(p->conn);
    if (input.len == 0 || p->answer != CONTACT_WAITING) return;
    p->answer = input.ptr[0] == '+' || input.ptr[0] == '-' ? CONTACT_RESP : CONTACT_OTHER;
}

static void contact_on_close(void *ctx, const struct err *err) {
    struct contact_probe *p = ctx;
    p->err = *err;
    if (p->answer == CONTACT_WAITING) p->answer = CONTACT_OTHER;
}

static bool contact_is_answered(void *ctx) {
    const struct contact_probe *p = ctx;
    return p->answer != CONTACT_WAITING;
}

static enum contact_answer contact_ask(struct loop *loop, const struct contact *c,
                                       struct tls *tls) {
    static const struct conn_callbacks callbacks = { contact_on_open, contact_on_input,
                                                     contact_on_close };
    struct contact_probe p = { .plain = tls == NULL };
    const struct conn_address to = { .path = c->address.is_unix ? c->address.host : NULL,
                                     .host = c->address.host,
                                     .port = c->address.port,
                                     .tls = tls };
    int64_t timeout_ms = c->timeout_ms < CONTACT_PROBE_MS ? c->timeout_ms : CONTACT_PROBE_MS;
    p.conn = conn_open(loop, &to, timeout_ms, c->role, &callbacks, &p);
    loop_until(loop, contact_is_answered, &p, clock_mono_ms() + timeout_ms, NULL);
    conn_free(&p.conn);
    loop_settle(loop);
    return p.answer;
}

static const char *contact_option(const struct contact *c, char *buf, size_t size) {
    bool sided = strcmp(c->role, "source") == 0 || strcmp(c->role, "target") == 0;
    snprintf(buf, size, "--%s%stls", sided ? c->role : "", sided ? "-" : "");
    return buf;
}

/* A server that asks for a client certificate refuses the handshake only after its own part of it,
 * with TLS 1.3 even later: so either way it speaks TLS. */
static bool contact_speaks_tls(struct loop *loop, const struct contact *c) {
    const struct tls_settings settings = { .insecure = true };
    struct tls *tls = tls_new(&settings, c->role, NULL);
    if (tls == NULL) return false;
    bool speaks = contact_ask(loop, c, tls) == CONTACT_OPEN;
    tls_free(&tls);
    return speaks;
}

static bool contact_is_silent(enum err_code code) {
    return code == ERR_CLOSED || code == ERR_TIMEOUT || code == ERR_PROTOCOL ||
           code == ERR_UNSUPPORTED;
}

bool contact_explain_tls(struct loop *loop, const struct contact *c, struct err *err) {
    char place[ERR_PLACE_MAX], option[32];
    if (c->address.is_unix || !(contact_is_silent(err->code) || (c->tls && err->code == ERR_TLS)))
        return false;
    snprintf(place, sizeof(place), "%s", err->place);
    contact_option(c, option, sizeof(option));
    if (!c->tls && contact_speaks_tls(loop, c)) {
        err_set(err, ERR_TLS, place, "the port speaks TLS; add %s, or write rediss://", option);
        return true;
    }
    if (c->tls && contact_ask(loop, c, NULL) == CONTACT_RESP) {
        err_set(err, ERR_TLS, place,
                "the port does not speak TLS, it answers without; leave out %s and write redis://, "
                "or name the TLS port",
                option);
        return true;
    }
    return false;
}

bool contact_explain_proxy(struct loop *loop, const struct contact *c, struct err *err) {
    char place[ERR_PLACE_MAX];
    if (c->tls || err->code != ERR_CLOSED || contact_ask(loop, c, NULL) != CONTACT_RESP)
        return false;
    snprintf(place, sizeof(place), "%s", err->place);
    err_set(err, ERR_UNSUPPORTED, place,
            "the port answers PING, and closes the connection at CLIENT or INFO: a proxy "
            "(twemproxy or the like) that lacks commands; name the servers behind it");
    return true;
}
