/* See call.h. The state of a wait is on the heap and counted, because a reply may still come after a wait timed out. */
#include "server/call.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { CALL_WORDS_MAX = 16, CALL_SLICE_MS = 100 };

static _Thread_local const volatile bool *interrupt_flag;

struct call_wait {
    bool done, abandoned;
    struct err err; /* code ERR_NONE when a reply came */
    struct call_reply reply;
};

void call_reply_fini(struct call_reply *reply) {
    free(reply->raw);
    *reply = (struct call_reply){ 0 };
}

void call_set_interrupt(const volatile bool *flag) {
    interrupt_flag = flag;
}

bool call_interrupted(struct err *err) {
    if (interrupt_flag == NULL || !*interrupt_flag) return false;
    err_set(err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
    return true;
}

struct client *call_open(struct loop *loop, const struct client_settings *settings, int64_t timeout_ms,
                         struct err *err) {
    struct client *client = client_open(loop, settings, NULL, NULL);
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    while (!client_is_ready(client)) {
        const struct err *last = client_last_error(client);
        bool over = last->code != ERR_NONE && (!settings->reconnect || err_class_of(last->code) == ERR_CLASS_STOP);
        bool late = clock_mono_ms() >= deadline_ms;
        if (call_interrupted(err) || over || late) {
            if (over || (late && last->code != ERR_NONE)) *err = *last;
            if (late && last->code == ERR_NONE)
                err_set(err, ERR_TIMEOUT, client_place(client), "no answer to the handshake in time (see --timeout)");
            client_close(&client);
            return NULL;
        }
        loop_run_once(loop, CALL_SLICE_MS);
    }
    return client;
}

static void on_reply(void *ctx, void *arg, const struct reply *reply) {
    struct call_wait *w = ctx;
    if (w->abandoned) {
        free(w);
        return;
    }
    w->done = true;
    if (reply->err != NULL) {
        w->err = *reply->err;
        return;
    }
    w->reply.len = reply->raw.len;
    w->reply.raw = mem_alloc(reply->raw.len + 1);
    memcpy(w->reply.raw, reply->raw.ptr, reply->raw.len);
    w->reply.cursor = resp_cursor_of(bytes_of(w->reply.raw, w->reply.len));
    resp_next(&w->reply.cursor, &w->reply.item);
}

bool call_send(struct loop *loop, struct client *client, int64_t timeout_ms, struct call_reply *reply, struct err *err,
               size_t argc, const struct bytes *argv) {
    *reply = (struct call_reply){ 0 };
    if (!client_is_ready(client)) {
        *err = *client_last_error(client);
        return false;
    }
    struct call_wait *w = mem_zalloc(sizeof(*w));
    client_command(client, on_reply, w, NULL, argc, argv);
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    while (!w->done) {
        if (call_interrupted(err)) {
            w->abandoned = true;
            return false;
        }
        if (clock_mono_ms() >= deadline_ms) {
            w->abandoned = true;
            return err_set(err, ERR_TIMEOUT, client_place(client), "no answer to %.*s in time (see --timeout)",
                           (int)argv[0].len, argv[0].ptr);
        }
        loop_run_once(loop, CALL_SLICE_MS);
    }
    bool ok = w->err.code == ERR_NONE;
    if (ok) {
        *reply = w->reply;
    } else {
        *err = w->err;
    }
    free(w);
    return ok;
}

bool call_again(struct loop *loop, const struct err *err, int *tries) {
    /* Silence has been waited out already, and loading where it is waited for. */
    bool passing = err->code == ERR_CLOSED || err->code == ERR_MASTERDOWN || err->code == ERR_CLUSTERDOWN ||
                   err->code == ERR_TRYAGAIN;
    if (!passing || ++*tries >= CALL_TRIES_MAX) return false;
    int64_t until_ms = clock_mono_ms() + CALL_SLICE_MS;
    while (clock_mono_ms() < until_ms) loop_run_once(loop, CALL_SLICE_MS / 4);
    return interrupt_flag == NULL || !*interrupt_flag;
}

bool call_ok(struct loop *loop, struct client *client, int64_t timeout_ms, struct call_reply *reply, struct err *err,
             const char *command) {
    struct bytes words[CALL_WORDS_MAX], rest = bytes_of_str(command);
    size_t n = 0;
    while (rest.len > 0 && n < CALL_WORDS_MAX) words[n++] = bytes_split(&rest, ' ');
    if (!call_send(loop, client, timeout_ms, reply, err, n, words)) return false;
    if (!resp_is_error(&reply->item)) return true;
    client_reply_error(client, &reply->item, err);
    call_reply_fini(reply);
    return false;
}
