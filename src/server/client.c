/* See client.h. Pending replies are a ring in the order of the commands; the handshake's and
 * SELECT's are in it like everybody's. Pending commands of a connection that ended are failed, and
 * a closed client is released, at the end of the loop's round. */
#include "server/client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "net/conn.h"
#include "server/info.h"

enum { PENDING_MIN = 64 };

struct pending {
    client_reply_fn *fn;
    void *ctx, *arg;
};

enum client_state {
    CLIENT_CONNECTING,
    CLIENT_HANDSHAKE,
    CLIENT_READY,
    CLIENT_WAITING,
    CLIENT_FAILED
};

enum handshake_step {
    STEP_AUTH,
    STEP_HELLO,
    STEP_OPTIONAL,
    STEP_IDENTITY,
    STEP_RUN_ID,
    STEP_SELECT,
    STEP_PING
};

enum { CLIENT_IDENTITY_MAX = 80 };

/* How the server knows a connection. The id alone would name somebody else's after a failover. */
struct client_identity {
    char id[CLIENT_IDENTITY_MAX], addr[CLIENT_IDENTITY_MAX];
};

struct client {
    struct loop *loop;
    struct client_settings settings;
    struct client_events events;
    void *ctx;
    char place[ERR_PLACE_MAX];
    enum client_state state;
    bool closed; /* by its owner; nothing is called any more */

    struct conn *conn;
    struct login login; /* of this connection; its password is wiped once it was sent */
    struct resp_framer framer;
    /* of this connection, and of a lost one that had commands under way */
    struct client_identity self, stale;
    char run_id[RUN_ID_MAX];
    struct pending *ring;
    size_t ring_cap, ring_head, ring_n;
    int db; /* of the last SELECT sent */

    struct loop_timer *retry, *watch;
    int64_t backoff_ms, down_since_ms, progress_ms;
    struct err last_err;
    struct err end_err;    /* fails the pending commands at the end of the round */
    bool failing;          /* that is still to be done */
    int64_t round_trip_us; /* while the handshake is under way: when it was sent, negative */
    uint64_t reconnects, bytes_in_before, bytes_out_before, watched_out;
    bool was_ready;
};

static void client_connect(struct client *c);

/* ---- pending replies ---- */

static void ring_grow(struct client *c) {
    size_t cap = c->ring_cap == 0 ? PENDING_MIN : c->ring_cap * 2;
    struct pending *ring = mem_array(NULL, cap, sizeof(*ring));
    for (size_t i = 0; i < c->ring_n; i++)
        ring[i] = c->ring[(c->ring_head + i) & (c->ring_cap - 1)];
    free(c->ring);
    c->ring = ring;
    c->ring_cap = cap;
    c->ring_head = 0;
}

static void ring_push(struct client *c, struct pending p) {
    if (c->ring_n == c->ring_cap) ring_grow(c);
    c->ring[(c->ring_head + c->ring_n++) & (c->ring_cap - 1)] = p;
}

static struct pending ring_pop(struct client *c) {
    struct pending p = c->ring[c->ring_head];
    c->ring_head = (c->ring_head + 1) & (c->ring_cap - 1);
    c->ring_n--;
    return p;
}

/* ---- ending and retrying ---- */

/* At the end of the round in which the connection ended: no caller of client_break(),
 * client_close() or of a command has its own callbacks run below it on the stack, where it could be
 * freed. The client cannot be ready again before, so the ring holds commands of the lost connection
 * only. */
static void client_fail_pending(void *ctx) {
    struct client *c = ctx;
    struct err err = c->end_err;
    struct reply reply = { .err = &err };
    c->failing = false;
    while (c->ring_n > 0) {
        struct pending p = ring_pop(c);
        if (p.fn != NULL) p.fn(p.ctx, p.arg, &reply);
    }
    if (!c->closed && c->events.on_down != NULL)
        c->events.on_down(c->ctx, &err, c->state == CLIENT_FAILED);
}

static void client_drop_conn(struct client *c) {
    if (c->conn != NULL) {
        c->bytes_in_before += conn_bytes_in(c->conn);
        c->bytes_out_before += conn_bytes_out(c->conn);
    }
    conn_free(&c->conn);
    login_fini(&c->login);
    c->framer = (struct resp_framer){ 0 };
    loop_timer_stop(c->watch);
}

static void on_retry(void *ctx) {
    struct client *c = ctx;
    client_connect(c);
}

/* A password that is being changed, a certificate that is being replaced. */
static bool may_pass(const struct client *c, enum err_code code) {
    return c->settings.persistent &&
           (code == ERR_WRONGPASS || code == ERR_NOAUTH || code == ERR_DENIED || code == ERR_TLS);
}

/* A login that was refused, or a TLS handshake that failed, may succeed with the present contents
 * of the credentials' files. */
static bool client_renews_login(struct client *c, enum err_code code) {
    bool refused = code == ERR_WRONGPASS || code == ERR_NOAUTH || code == ERR_TLS;
    return refused && c->settings.credentials != NULL &&
           credentials_renew(c->settings.credentials, c->login.generation);
}

/* The one way in which a connection ends, for every reason. */
static void client_end(struct client *c, const struct err *err) {
    if (c->state == CLIENT_WAITING || c->state == CLIENT_FAILED) return;
    struct err copy = *err;
    bool renewed = !c->closed && client_renews_login(c, copy.code);
    c->last_err = copy;
    if (renewed) err_clear(&c->last_err); /* the next attempt tells */
    if (copy.code == ERR_CLOSED && c->state == CLIENT_HANDSHAKE && !c->was_ready &&
        c->login.tls == NULL && !c->closed)
        err_set(&c->last_err, ERR_CLOSED, c->place,
                "%.300s, before any answer; does the port speak TLS?", err->text);
    if (c->settings.fence && c->state == CLIENT_READY && c->ring_n > 0) c->stale = c->self;
    c->self = (struct client_identity){ 0 };
    client_drop_conn(c);
    bool final =
        !renewed && (!c->settings.reconnect ||
                     (err_class_of(copy.code) == ERR_CLASS_STOP && !may_pass(c, copy.code)));
    c->state = final ? CLIENT_FAILED : CLIENT_WAITING;
    if (c->down_since_ms == 0) c->down_since_ms = clock_mono_ms();
    if (!final) {
        /* A third of the pause is chance, so that many connections do not come back in step. */
        int64_t pause_ms = c->backoff_ms * 2 / 3 + random() % (c->backoff_ms / 3 + 1);
        loop_timer_start(c->retry, renewed ? 0 : pause_ms);
        c->backoff_ms =
            c->backoff_ms * 2 > CLIENT_BACKOFF_MAX_MS ? CLIENT_BACKOFF_MAX_MS : c->backoff_ms * 2;
    }
    c->end_err = renewed ? copy : c->last_err;
    c->failing = true;
    loop_defer(c->loop, client_fail_pending, c);
}

static void on_watch(void *ctx) {
    struct client *c = ctx;
    int64_t limit_ms = c->settings.reply_timeout_ms;
    /* A long value on its way out is progress too. */
    if (client_bytes_out(c) != c->watched_out) c->progress_ms = clock_mono_ms();
    c->watched_out = client_bytes_out(c);
    int64_t quiet_ms = clock_mono_ms() - c->progress_ms;
    if (c->ring_n > 0 && quiet_ms >= limit_ms) {
        struct err err;
        err_set(&err, ERR_TIMEOUT, c->place, "no answer for %lld ms (see --timeout)",
                (long long)quiet_ms);
        client_end(c, &err);
        return;
    }
    loop_timer_start(c->watch, limit_ms / 4 + 1);
}

/* ---- handshake ---- */

void client_reply_error(const struct client *c, const struct resp_item *item, struct err *err) {
    enum err_code code = err_code_of_reply(item->str.ptr, item->str.len);
    char text[256];
    bytes_escape(bytes_of(item->str.ptr, item->str.len), text, sizeof(text));
    const char *role = c->settings.role;
    bool sided = strcmp(role, "source") == 0 || strcmp(role, "target") == 0;
    if (code == ERR_NOAUTH || code == ERR_WRONGPASS) {
        err_set(err, code, c->place,
                sided ? "AUTH refused (%s); set --%s-user/--%s-pass"
                      : "AUTH refused (%s); set --%suser/--%spass",
                text, sided ? role : "", sided ? role : "");
    } else {
        err_set(err, code, c->place, "%s: %s", text, err_sentence(code));
    }
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 host:6381" (redis 7.0 src/cluster.c
 * clusterRedirectClient()). */
bool client_redirect(const struct client *c, const struct resp_item *item,
                     struct redirect *redirect) {
    if (!resp_is_error(item)) return false;
    struct bytes rest = item->str, word = bytes_split(&rest, ' ');
    struct bytes slot = bytes_split(&rest, ' '), where = bytes_split(&rest, ' ');
    int64_t number;
    bool ask = bytes_equal_str(word, "ASK");
    if ((!ask && !bytes_equal_str(word, "MOVED")) || !bytes_to_i64(slot, &number) || number < 0 ||
        number >= SLOT_COUNT)
        return false;
    redirect->ask = ask;
    redirect->slot = (uint16_t)number;
    return address_parse(&redirect->address, where, &c->settings.address);
}

/* The server does not want this command, now and later; otherwise it only cannot answer at this
 * moment (a script blocks it, data are being loaded), or nobody is logged in. */
static bool is_refusal(enum err_code code) {
    return err_class_of(code) == ERR_CLASS_KEY;
}

static void client_handshake_failed(struct client *c, const struct resp_item *item,
                                    enum handshake_step step) {
    struct err err;
    client_reply_error(c, item, &err);
    if (step == STEP_AUTH || (step == STEP_HELLO && err.code != ERR_UNKNOWN_COMMAND)) {
        bool passing = err_class_of(err.code) == ERR_CLASS_HERE || err.code == ERR_MAXCLIENTS ||
                       err.code == ERR_DENIED;
        if (!passing && err.code != ERR_WRONGPASS && err.code != ERR_NOAUTH) {
            char text[256];
            bytes_escape(item->str, text, sizeof(text));
            err_set(&err, ERR_WRONGPASS, c->place,
                    "AUTH refused (%s); check user and password, or leave them out", text);
        }
    } else if (step == STEP_HELLO) {
        err_set(&err, ERR_UNSUPPORTED, c->place,
                "the server does not know HELLO; tracking needs Redis 6.0 or newer");
    } else if (step == STEP_SELECT && is_refusal(err.code)) {
        char text[128];
        bytes_escape(item->str, text, sizeof(text));
        err_set(&err, ERR_UNSUPPORTED, c->place, "database %d cannot be selected (%s)",
                c->settings.db, text);
    }
    client_end(c, &err);
}

static void client_became_ready(struct client *c) {
    c->state = CLIENT_READY;
    c->round_trip_us += clock_mono_us();
    c->stale = (struct client_identity){ 0 };
    c->backoff_ms = CLIENT_BACKOFF_MIN_MS;
    c->down_since_ms = 0;
    if (c->was_ready) c->reconnects++;
    c->was_ready = true;
    if (c->events.on_ready != NULL) c->events.on_ready(c->ctx);
}

/* From "id=7 addr=127.0.0.1:4711 laddr=... fd=8 ..." (CLIENT INFO, 6.2). */
static void client_take_identity(struct client *c, struct bytes info) {
    while (info.len > 0) {
        struct bytes value = bytes_split(&info, ' '), name = bytes_split(&value, '=');
        bool id = bytes_equal_str(name, "id"), addr = bytes_equal_str(name, "addr");
        if (!(id || addr) || value.len >= CLIENT_IDENTITY_MAX) continue;
        snprintf(id ? c->self.id : c->self.addr, CLIENT_IDENTITY_MAX, "%.*s", (int)value.len,
                 value.ptr);
    }
}

static void on_handshake_reply(void *ctx, void *arg, const struct reply *reply) {
    struct client *c = ctx;
    enum handshake_step step = (enum handshake_step)(intptr_t)arg;
    if (reply->err != NULL || c->state != CLIENT_HANDSHAKE) return;
    if (resp_is_error(&reply->item)) {
        enum err_code code = err_code_of_reply(reply->item.str.ptr, reply->item.str.len);
        /* An optional command may be refused or unknown. */
        bool optional = step == STEP_OPTIONAL || step == STEP_IDENTITY || step == STEP_RUN_ID;
        bool tolerated =
            (optional && is_refusal(code)) || (step == STEP_PING && code == ERR_NOPERM);
        if (!tolerated) {
            client_handshake_failed(c, &reply->item, step);
            return;
        }
    }
    if (step == STEP_IDENTITY && resp_is_string(&reply->item))
        client_take_identity(c, reply->item.str);
    if (step == STEP_RUN_ID && resp_is_string(&reply->item)) {
        struct bytes run_id = info_field(reply->item.str, "run_id");
        snprintf(c->run_id, sizeof(c->run_id), "%.*s", (int)run_id.len,
                 run_id.ptr != NULL ? run_id.ptr : "");
    }
    if (step == STEP_PING) client_became_ready(c);
}

static void handshake_send(struct client *c, enum handshake_step step, size_t argc,
                           const struct bytes *argv) {
    resp_write_command(conn_out(c->conn), argc, argv);
    client_end_command(c, on_handshake_reply, c, (void *)(intptr_t)step);
}

#define HANDSHAKE(c, step, ...)                                                                    \
    do {                                                                                           \
        const struct bytes words[] = { __VA_ARGS__ };                                              \
        handshake_send(c, step, sizeof(words) / sizeof(words[0]), words);                          \
    } while (0)

static void client_send_identity(struct client *c) {
    const struct login *login = &c->login;
    struct bytes user = bytes_of_str(login->user != NULL ? login->user : "default");
    struct bytes pass = bytes_of_str(login->pass != NULL ? login->pass : "");
    if (c->settings.protocol == 3 && login->pass != NULL) {
        HANDSHAKE(c, STEP_HELLO, BYTES_LITERAL("HELLO"), BYTES_LITERAL("3"), BYTES_LITERAL("AUTH"),
                  user, pass);
    } else if (c->settings.protocol == 3) {
        HANDSHAKE(c, STEP_HELLO, BYTES_LITERAL("HELLO"), BYTES_LITERAL("3"));
    } else if (login->pass != NULL && login->user != NULL) {
        HANDSHAKE(c, STEP_AUTH, BYTES_LITERAL("AUTH"), user, pass);
    } else if (login->pass != NULL) {
        HANDSHAKE(c, STEP_AUTH, BYTES_LITERAL("AUTH"), pass);
    }
    endpoint_wipe(&c->login.pass);
}

/* Bytes of the lost connection may lie unread in the server, and would be executed after the
 * commands that are written here. */
static void client_send_fence(struct client *c) {
    if (c->stale.id[0] != '\0' && c->stale.addr[0] != '\0')
        HANDSHAKE(c, STEP_OPTIONAL, BYTES_LITERAL("CLIENT"), BYTES_LITERAL("KILL"),
                  BYTES_LITERAL("ID"), bytes_of_str(c->stale.id), BYTES_LITERAL("ADDR"),
                  bytes_of_str(c->stale.addr));
    HANDSHAKE(c, STEP_IDENTITY, BYTES_LITERAL("CLIENT"), BYTES_LITERAL("INFO"));
}

static void on_conn_open(void *ctx) {
    struct client *c = ctx;
    c->state = CLIENT_HANDSHAKE;
    c->progress_ms = clock_mono_ms();
    c->run_id[0] = '\0';
    client_send_identity(c);
    HANDSHAKE(c, STEP_OPTIONAL, BYTES_LITERAL("CLIENT"), BYTES_LITERAL("SETNAME"),
              bytes_of_str(c->settings.name != NULL ? c->settings.name : "longhaul"));
    if (c->settings.identify)
        HANDSHAKE(c, STEP_RUN_ID, BYTES_LITERAL("INFO"), BYTES_LITERAL("server"));
    if (c->settings.no_touch)
        HANDSHAKE(c, STEP_OPTIONAL, BYTES_LITERAL("CLIENT"), BYTES_LITERAL("NO-TOUCH"),
                  BYTES_LITERAL("ON"));
    if (c->settings.fence) client_send_fence(c);
    if (c->settings.readonly) HANDSHAKE(c, STEP_OPTIONAL, BYTES_LITERAL("READONLY"));
    c->db = c->settings.db;
    if (c->db != 0) {
        char text[16];
        snprintf(text, sizeof(text), "%d", c->db);
        HANDSHAKE(c, STEP_SELECT, BYTES_LITERAL("SELECT"), bytes_of_str(text));
    }
    HANDSHAKE(c, STEP_PING, BYTES_LITERAL("PING"));
    c->round_trip_us = -clock_mono_us();
    if (c->settings.reply_timeout_ms > 0)
        loop_timer_start(c->watch, c->settings.reply_timeout_ms / 4 + 1);
}

/* ---- replies ---- */

/* RESP2 has no type for pushes. Words: redis 7.0.15 src/pubsub.c, addReplyPubsub*(). */
static bool is_push(const struct client *c, const struct reply *reply) {
    static const char *const words[] = { "message",    "pmessage",    "subscribe",
                                         "psubscribe", "unsubscribe", "punsubscribe" };
    struct resp_cursor elements = reply->cursor;
    struct resp_item word;
    if (reply->item.type == RESP_PUSH) return true;
    if (!c->settings.subscriber || c->settings.protocol != 2 || reply->item.type != RESP_ARRAY)
        return false;
    if (!resp_next(&elements, &word) || word.type != RESP_BULK) return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (bytes_equal_str(word.str, words[i])) return true;
    return false;
}

static void client_dispatch(struct client *c, struct bytes raw) {
    struct reply reply = { .raw = raw,
                           .cursor = resp_cursor_of(raw),
                           .block = conn_input_block(c->conn) };
    if (!resp_next(&reply.cursor, &reply.item)) return;
    if (is_push(c, &reply)) {
        if (c->events.on_push != NULL) c->events.on_push(c->ctx, resp_cursor_of(raw));
        return;
    }
    if (c->ring_n == 0) {
        struct err err;
        if (resp_is_error(&reply.item)) {
            client_reply_error(c, &reply.item, &err);
        } else {
            err_set(&err, ERR_PROTOCOL, c->place, "a reply came that nobody asked for");
        }
        client_end(c, &err);
        return;
    }
    struct pending p = ring_pop(c);
    struct redirect redirect;
    if (c->events.on_redirect != NULL && client_redirect(c, &reply.item, &redirect))
        c->events.on_redirect(c->ctx, &redirect);
    if (p.fn != NULL) p.fn(p.ctx, p.arg, &reply);
}

/* The reply that comes in will have so many bytes at least. An array does not say how many, so the
 * bytes that are there already count too. */
static void client_expect(struct client *c, size_t announced, size_t received) {
    size_t bytes = announced > received ? announced : received;
    if (bytes <= c->settings.reply_bytes_max) {
        conn_expect(c->conn, announced);
        return;
    }
    struct err err;
    err_set(&err, ERR_PROTOCOL, c->place,
            "a reply is longer than the %zu bytes that are taken here; is this a Redis or Valkey "
            "server?",
            c->settings.reply_bytes_max);
    client_end(c, &err);
}

static void on_conn_input(void *ctx) {
    struct client *c = ctx;
    struct conn *conn = c->conn;
    c->progress_ms = clock_mono_ms();
    while (c->conn == conn && conn != NULL) {
        struct bytes input = conn_input(conn);
        if (input.len == 0) return;
        struct err err;
        enum resp_frame framed = resp_frame(&c->framer, input, &err);
        if (framed == RESP_BAD) {
            snprintf(err.place, sizeof(err.place), "%s", c->place);
            err.code =
                /* a port that never spoke RESP is not tried again */
                c->was_ready ? ERR_PROTOCOL : ERR_UNSUPPORTED;
            client_end(c, &err);
            return;
        }
        if (framed == RESP_NEED_MORE) {
            client_expect(c, c->framer.need, input.len);
            return;
        }
        size_t len = c->framer.pos;
        resp_framer_reset(&c->framer);
        /* Consumed first: the bytes stay where they are until the connection reads again. */
        conn_consume(conn, len);
        client_dispatch(c, bytes_of(input.ptr, len));
    }
}

static void on_conn_close(void *ctx, const struct err *err) {
    struct client *c = ctx;
    client_end(c, err);
}

static void client_take_login(struct client *c) {
    const struct client_settings *s = &c->settings;
    login_fini(&c->login);
    if (s->credentials != NULL) {
        credentials_take(s->credentials, &c->login);
        return;
    }
    c->login = (struct login){ .user = s->user != NULL ? mem_strdup(s->user) : NULL,
                               .pass = s->pass != NULL ? mem_strdup(s->pass) : NULL,
                               .tls = s->tls != NULL ? tls_ref(s->tls) : NULL };
}

static void client_connect(struct client *c) {
    static const struct conn_callbacks callbacks = { on_conn_open, on_conn_input, on_conn_close };
    const struct address *a = &c->settings.address;
    client_take_login(c);
    struct conn_address to = { .path = a->is_unix ? a->host : NULL,
                               .host = a->host,
                               .port = a->port,
                               .tls = c->login.tls,
                               .server_name = c->settings.server_name };
    loop_timer_stop(c->retry);
    c->state = CLIENT_CONNECTING;
    c->conn = conn_open(c->loop, &to, c->settings.connect_timeout_ms, c->place, &callbacks, c);
}

/* ---- for the owner ---- */

struct client *client_open(struct loop *loop, const struct client_settings *settings,
                           const struct client_events *events, void *ctx) {
    struct client *c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    c->settings = *settings;
    if (c->settings.reply_bytes_max == 0) c->settings.reply_bytes_max = CLIENT_REPLY_MAX;
    if (events != NULL) c->events = *events;
    c->ctx = ctx;
    char where[ADDRESS_HOST_MAX + 16];
    snprintf(c->place, sizeof(c->place), "%s %.150s", settings->role,
             address_format(&settings->address, where, sizeof(where)));
    c->retry = loop_timer_new(loop, on_retry, c);
    c->watch = loop_timer_new(loop, on_watch, c);
    c->backoff_ms = CLIENT_BACKOFF_MIN_MS;
    c->down_since_ms = clock_mono_ms();
    client_connect(c);
    return c;
}

static void client_release(void *ctx) {
    struct client *c = ctx;
    free(c->ring);
    loop_timer_free(&c->retry);
    loop_timer_free(&c->watch);
    free(c);
}

void client_close(struct client **client) {
    struct client *c = *client;
    *client = NULL;
    if (c == NULL) return;
    c->closed = true;
    struct err err;
    err_set(&err, ERR_CLOSED, c->place, "closed by longhaul");
    c->settings.reconnect = false;
    client_end(c, &err);
    loop_timer_stop(c->retry);
    c->state = CLIENT_FAILED;
    loop_defer(c->loop, client_release, c); /* behind client_fail_pending() */
}

bool client_is_ready(const struct client *client) {
    return client->state == CLIENT_READY;
}

const char *client_place(const struct client *client) {
    return client->place;
}

const struct address *client_address(const struct client *client) {
    return &client->settings.address;
}

struct outq *client_out(struct client *client) {
    return conn_out(client->conn);
}

void client_end_command(struct client *c, client_reply_fn *fn, void *ctx, void *arg) {
    assert(c->state == CLIENT_READY || c->state == CLIENT_HANDSHAKE);
    if (c->ring_n == 0) c->progress_ms = clock_mono_ms();
    ring_push(c, (struct pending){ fn, ctx, arg });
    conn_flush(c->conn);
}

void client_end_commands(struct client *c, client_reply_fn *fn, void *ctx, size_t n) {
    if (n == 0) return;
    client_end_command(c, fn, ctx, NULL);
    while (c->ring_cap - c->ring_n < n) ring_grow(c);
    size_t at = c->ring_head + c->ring_n - 1, mask = c->ring_cap - 1;
    for (size_t i = 1; i < n; i++)
        c->ring[(at + i) & mask] = (struct pending){ fn, ctx, (void *)(uintptr_t)i };
    c->ring_n += n - 1;
}

void client_end_unanswered(struct client *c) {
    assert(c->state == CLIENT_READY);
    conn_flush(c->conn);
}

void client_command(struct client *c, client_reply_fn *fn, void *ctx, void *arg, size_t argc,
                    const struct bytes *argv) {
    resp_write_command(conn_out(c->conn), argc, argv);
    client_end_command(c, fn, ctx, arg);
}

/* Commands that follow would act on another database than they are meant for, so a refusal ends the
 * client. */
static void on_select_reply(void *ctx, void *arg, const struct reply *reply) {
    struct client *c = ctx;
    if (reply->err != NULL || !resp_is_error(&reply->item)) return;
    struct err err;
    client_reply_error(c, &reply->item, &err);
    if (is_refusal(err.code)) err.code = ERR_UNSUPPORTED;
    client_end(c, &err);
}

void client_select(struct client *c, int db) {
    if (db == c->db) return;
    c->db = db;
    resp_write_head(conn_out(c->conn), 2);
    resp_write_literal(conn_out(c->conn), "SELECT");
    resp_write_arg_i64(conn_out(c->conn), db);
    client_end_command(c, on_select_reply, c, NULL);
}

void client_asking(struct client *c) {
    const struct bytes words[] = { BYTES_LITERAL("ASKING") };
    client_command(c, NULL, NULL, NULL, 1, words);
}

void client_break(struct client *client, const struct err *reason) {
    client_end(client, reason);
}

void client_hurry(struct client *c) {
    c->backoff_ms = CLIENT_BACKOFF_MIN_MS;
    if (c->state == CLIENT_WAITING) loop_timer_start(c->retry, 0);
}

const char *client_run_id(const struct client *client) {
    return client->run_id;
}

int64_t client_round_trip_us(const struct client *client) {
    return client->round_trip_us > 0 ? client->round_trip_us : 0;
}

size_t client_pending(const struct client *client) {
    return client->ring_n;
}

size_t client_unsent_bytes(const struct client *client) {
    return client->conn == NULL ? 0 : outq_bytes(conn_out(client->conn));
}

int64_t client_down_since_ms(const struct client *client) {
    return client->down_since_ms;
}

const struct err *client_last_error(const struct client *client) {
    return &client->last_err;
}

uint64_t client_reconnects(const struct client *client) {
    return client->reconnects;
}

uint64_t client_bytes_in(const struct client *c) {
    return c->bytes_in_before + (c->conn != NULL ? conn_bytes_in(c->conn) : 0);
}

uint64_t client_bytes_out(const struct client *c) {
    return c->bytes_out_before + (c->conn != NULL ? conn_bytes_out(c->conn) : 0);
}
