/* See bounded.h.
 *
 *   ready ─▶ SUBSCRIBE, PING, INFO memory ─▶ subscribed, has room ─▶ offered
 *                 └── refused: closed for good, strings are read by GETRANGE
 *   timer ─▶ INFO memory ─▶ has room?
 *
 * A subscription is answered by a push; that it was refused by an error, which is taken for the
 * answer to PING.
 */
#include "copy/bounded.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "capture/feed.h"

struct bounded {
    struct loop *loop;
    struct client *client; /* NULL once it was refused */
    struct loop_timer *timer;
    int connections;
    void (*on_lost)(void *ctx);
    void (*on_redirect)(void *ctx, const struct redirect *redirect);
    void *ctx;
    bool subscribed, has_room, looking, closed;
};

bool bounded_fits(const struct server_info *info, int connections) {
    uint64_t data = info->used_memory_dataset > 0 ? info->used_memory_dataset : info->used_memory;
    uint64_t string = data < BOUNDED_STRING_BYTES ? data : BOUNDED_STRING_BYTES;
    uint64_t limit = info->maxmemory > 0 ? info->maxmemory : info->total_system_memory;
    if (info->used_memory == 0 || limit <= info->used_memory) return false;
    return (limit - info->used_memory) / (uint64_t)connections >= BOUNDED_OUTPUT_BYTES + string;
}

/* ---- replies ---- */

static void on_memory(void *ctx, void *arg, const struct reply *reply) {
    struct bounded *b = ctx;
    b->looking = b->has_room = false;
    if (reply->err != NULL || !resp_is_string(&reply->item)) return;
    struct server_info info;
    server_info_parse(&info, reply->item.str);
    b->has_room = bounded_fits(&info, b->connections);
}

static void bounded_look(struct bounded *b) {
    static const struct bytes words[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("memory") };
    if (b->looking || b->client == NULL || !client_is_ready(b->client)) return;
    b->looking = true;
    client_command(b->client, on_memory, b, NULL, 2, words);
}

static void on_timer(void *ctx) {
    struct bounded *b = ctx;
    bounded_look(b);
    loop_timer_start(b->timer, BOUNDED_LOOK_MS);
}

static void on_subscribed(void *ctx, void *arg, const struct reply *reply) {
    struct bounded *b = ctx;
    if (reply->err != NULL) return;
    b->subscribed = !resp_is_error(&reply->item);
    if (b->subscribed) return;
    log_debug(client_place(b->client),
              "strings are read by GETRANGE, as SUBSCRIBE " FEED_CHANNEL_UNUSED " is refused");
    loop_timer_stop(b->timer);
    client_close(&b->client);
}

/* ---- the connection ---- */

static void on_ready(void *ctx) {
    static const struct bytes subscribe[] = { BYTES_LITERAL("SUBSCRIBE"),
                                              BYTES_LITERAL(FEED_CHANNEL_UNUSED) };
    static const struct bytes ping[] = { BYTES_LITERAL("PING") };
    struct bounded *b = ctx;
    resp_write_command(client_out(b->client), 2, subscribe);
    client_command(b->client, on_subscribed, b, NULL, 1, ping);
    bounded_look(b);
    loop_timer_start(b->timer, BOUNDED_LOOK_MS);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct bounded *b = ctx;
    bool used = b->subscribed && b->has_room;
    b->subscribed = b->has_room = b->looking = false;
    loop_timer_stop(b->timer);
    log_debug(err->place, "the connection for strings: %s", err->text);
    if (used && !b->closed && b->on_lost != NULL) b->on_lost(b->ctx);
}

static void bounded_on_redirect(void *ctx, const struct redirect *redirect) {
    struct bounded *b = ctx;
    if (!b->closed && b->on_redirect != NULL) b->on_redirect(b->ctx, redirect);
}

struct bounded *bounded_open(struct loop *loop, const struct client_settings *settings,
                             int connections, void (*on_lost)(void *ctx), void *ctx) {
    static const struct client_events events = { .on_ready = on_ready,
                                                 .on_down = on_down,
                                                 .on_redirect = bounded_on_redirect };
    struct client_settings own = *settings;
    struct bounded *b = mem_zalloc(sizeof(*b));
    own.protocol = 3;
    own.subscriber = true;
    own.reply_bytes_max = BOUNDED_REPLY_MAX;
    b->loop = loop;
    b->connections = connections;
    b->on_lost = on_lost;
    b->ctx = ctx;
    b->timer = loop_timer_new(loop, on_timer, b);
    b->client = client_open(loop, &own, &events, b);
    return b;
}

void bounded_set_redirect(struct bounded *b,
                          void (*on_redirect)(void *ctx, const struct redirect *redirect)) {
    b->on_redirect = on_redirect;
}

static void bounded_release(void *ctx) {
    struct bounded *b = ctx;
    loop_timer_free(&b->timer);
    free(b);
}

void bounded_free(struct bounded **bounded) {
    struct bounded *b = *bounded;
    *bounded = NULL;
    if (b == NULL) return;
    b->closed = true;
    loop_timer_stop(b->timer);
    client_close(&b->client);
    loop_defer(b->loop, bounded_release, b);
}

struct client *bounded_client(struct bounded *b, const char *run_id) {
    if (b == NULL || !b->subscribed || !b->has_room || b->client == NULL ||
        !client_is_ready(b->client))
        return NULL;
    if (strcmp(run_id, client_run_id(b->client)) == 0) return b->client;
    /* One of the two leads to a process that was there before, or not yet. */
    struct err err;
    err_set(&err, ERR_CLOSED, client_place(b->client),
            "another server process answers than on the other connection");
    client_break(b->client, &err);
    return NULL;
}
