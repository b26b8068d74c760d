/* See call.h. A call is on the heap, and is left to its reply when nobody wants that any more: it
 * may still come after a wait timed out. */
#include "server/call.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { CALL_WORDS_MAX = 16, CALL_COMMAND_MAX = 32, CALL_PAUSE_MS = 100 };

static _Thread_local const volatile bool *interrupt_flag;

struct call {
    struct client *client;
    char command[CALL_COMMAND_MAX]; /* for people */
    bool done, dropped;
    struct err err; /* code ERR_NONE when a reply came */
    struct call_reply reply;
};

void call_reply_fini(struct call_reply *reply) {
    free(reply->raw);
    *reply = (struct call_reply){ 0 };
}

const volatile bool *call_set_interrupt(const volatile bool *flag) {
    const volatile bool *former = interrupt_flag;
    interrupt_flag = flag;
    return former;
}

bool call_interrupted(struct err *err) {
    if (interrupt_flag == NULL || !*interrupt_flag) return false;
    err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
    return true;
}

bool call_pause(struct loop *loop, int64_t pause_ms, struct err *err) {
    return loop_pause(loop, pause_ms, interrupt_flag) || !call_interrupted(err);
}

/* A client that is being opened; patient: errors that may pass are waited out. */
struct opening {
    const struct client *client;
    bool patient;
};

static bool opening_has_failed(const struct opening *o) {
    enum err_code code = client_last_error(o->client)->code;
    return code != ERR_NONE && (!o->patient || err_class_of(code) == ERR_CLASS_STOP);
}

static bool opening_is_over(void *ctx) {
    const struct opening *o = ctx;
    return client_is_ready(o->client) || opening_has_failed(o);
}

bool call_await_open(struct loop *loop, struct client **client, bool patient, int64_t timeout_ms,
                     struct err *err) {
    struct opening o = { *client, patient };
    loop_until(loop, opening_is_over, &o, clock_mono_ms() + timeout_ms, interrupt_flag);
    if (client_is_ready(*client)) return true;
    const struct err *last = client_last_error(*client);
    if (!opening_has_failed(&o) && call_interrupted(err)) {
        client_close(client);
        return false;
    }
    if (last->code != ERR_NONE) {
        *err = *last;
    } else {
        err_set(err, ERR_TIMEOUT, client_place(*client),
                "no answer to the handshake in time (see --timeout)");
    }
    client_close(client);
    return false;
}

struct client *call_open(struct loop *loop, const struct client_settings *settings,
                         int64_t timeout_ms, struct err *err) {
    struct client *client = client_open(loop, settings, NULL, NULL);
    call_await_open(loop, &client, settings->reconnect, timeout_ms, err);
    return client;
}

static void call_on_reply(void *ctx, void *arg, const struct reply *reply) {
    struct call *c = ctx;
    if (c->dropped) {
        free(c);
        return;
    }
    c->done = true;
    if (reply->err != NULL) {
        c->err = *reply->err;
        return;
    }
    c->reply.len = reply->raw.len;
    c->reply.raw = mem_alloc(reply->raw.len + 1);
    memcpy(c->reply.raw, reply->raw.ptr, reply->raw.len);
    c->reply.cursor = resp_cursor_of(bytes_of(c->reply.raw, c->reply.len));
    resp_next(&c->reply.cursor, &c->reply.item);
}

struct call *call_start(struct client *client, size_t argc, const struct bytes *argv) {
    struct call *c = mem_zalloc(sizeof(*c));
    c->client = client;
    snprintf(c->command, sizeof(c->command), "%.*s", (int)argv[0].len, argv[0].ptr);
    if (client_is_ready(client)) {
        client_command(client, call_on_reply, c, NULL, argc, argv);
    } else {
        c->done = true;
        c->err = *client_last_error(client);
    }
    return c;
}

void call_drop(struct call **call) {
    struct call *c = *call;
    *call = NULL;
    if (c == NULL) return;
    c->dropped = true;
    if (!c->done) return;
    call_reply_fini(&c->reply);
    free(c);
}

static bool call_is_done(void *ctx) {
    const struct call *c = ctx;
    return c->done;
}

/* True when the reply, or the error instead of it, is there. */
static bool call_await_reply(struct loop *loop, struct call *c, int64_t timeout_ms,
                             struct err *err) {
    if (!loop_until(loop, call_is_done, c, clock_mono_ms() + timeout_ms, interrupt_flag)) {
        if (call_interrupted(err)) return false;
        return err_set(err, ERR_TIMEOUT, client_place(c->client),
                       "no answer to %s in time (see --timeout)", c->command);
    }
    if (c->err.code == ERR_NONE) return true;
    *err = c->err;
    return false;
}

bool call_finish(struct loop *loop, struct call **call, int64_t timeout_ms,
                 struct call_reply *reply, struct err *err) {
    *reply = (struct call_reply){ 0 };
    bool ok = call_await_reply(loop, *call, timeout_ms, err);
    if (ok) {
        *reply = (*call)->reply;
        (*call)->reply = (struct call_reply){ 0 };
    }
    call_drop(call);
    return ok;
}

bool call_send(struct loop *loop, struct client *client, int64_t timeout_ms,
               struct call_reply *reply, struct err *err, size_t argc, const struct bytes *argv) {
    struct call *call = call_start(client, argc, argv);
    return call_finish(loop, &call, timeout_ms, reply, err);
}

bool call_again(struct loop *loop, const struct err *err, int *tries) {
    /* Silence has been waited out already, and loading where it is waited for. */
    bool passing = err->code == ERR_CLOSED || err->code == ERR_MASTERDOWN ||
                   err->code == ERR_CLUSTERDOWN || err->code == ERR_TRYAGAIN;
    if (!passing || ++*tries >= CALL_TRIES_MAX) return false;
    return loop_pause(loop, CALL_PAUSE_MS, interrupt_flag);
}

bool call_ok(struct loop *loop, struct client *client, int64_t timeout_ms, struct call_reply *reply,
             struct err *err, const char *command) {
    struct bytes words[CALL_WORDS_MAX], rest = bytes_of_str(command);
    size_t n = 0;
    while (rest.len > 0 && n < CALL_WORDS_MAX) words[n++] = bytes_split(&rest, ' ');
    if (!call_send(loop, client, timeout_ms, reply, err, n, words)) return false;
    if (!resp_is_error(&reply->item)) return true;
    client_reply_error(client, &reply->item, err);
    call_reply_fini(reply);
    return false;
}
