/* See feed.h. Steps of the handshake are sent one after the other: a subscription that succeeds is
 * answered by a push, one that is refused by an error in the place of the next reply, so each is
 * followed by a PING of its own. */
#include "capture/feed.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { FEED_PRIMARY_RETRY_MS = 50 };

enum feed_step { FEED_INFO, FEED_TRACK, FEED_SUBSCRIBE, FEED_NARROW };

struct feed {
    struct loop *loop;
    struct feed_settings settings;
    struct feed_events events;
    void *ctx;
    struct client *client, *primary; /* primary: of a replica, else NULL */
    int64_t wanted_offset;           /* of the primary when it was asked; 0: ask it */
    struct loop_timer *timer;
    struct server_info info; /* of the process behind the connection */
    bool closed, established, narrow_refused, role_refused, flush_unproved;
    int64_t sent_us;
    int dbs[FEED_DATABASES_MAX];
    size_t n_dbs;
    struct bytes *keys; /* of one push */
    size_t keys_cap;
};

static const struct bytes ping_words[] = { BYTES_LITERAL("PING") };

const char *feed_kind_name(enum feed_kind kind) {
    return kind == FEED_TRACKING ? "tracking" : "notifications";
}

bool feed_flags_suffice(struct bytes flags) {
    static const char classes[] = "g$lshzxet";
    bool event = false, all = false;
    size_t found = 0;
    for (size_t i = 0; i < flags.len; i++) {
        event = event || flags.ptr[i] == 'E';
        all = all || flags.ptr[i] == 'A';
    }
    for (const char *c = classes; *c != '\0' && flags.len > 0; c++)
        found += memchr(flags.ptr, *c, flags.len) != NULL;
    return event && (all || found == sizeof(classes) - 1);
}

/* ---- what comes by itself ---- */

static void feed_name(struct feed *f, int db, const struct bytes *keys, size_t n) {
    if (!f->closed && n > 0) f->events.on_keys(f->ctx, db, keys, n);
}

/* >2 invalidate, and the names; a null instead of them says that a database was emptied. */
static void on_invalidate(struct feed *f, struct resp_cursor c) {
    struct resp_item list, key;
    if (!resp_next(&c, &list)) return;
    if (!resp_is_aggregate(&list)) {
        f->flush_unproved = true; /* until the next barrier shows that the process kept its role */
        return;
    }
    size_t n = (size_t)list.num, got = 0;
    if (n > f->keys_cap) {
        f->keys_cap = n + n / 4;
        f->keys = mem_array(f->keys, f->keys_cap, sizeof(*f->keys));
    }
    while (got < n && resp_next(&c, &key)) f->keys[got++] = key.str;
    feed_name(f, FEED_ANY_DB, f->keys, got);
}

/* "__keyevent@5__:set": the database, and whether the event is a change. */
static bool parse_channel(struct bytes channel, int *db) {
    static const char prefix[] = "__keyevent@";
    size_t skip = sizeof(prefix) - 1;
    if (channel.len < skip || memcmp(channel.ptr, prefix, skip) != 0) return false;
    struct bytes rest = bytes_of(channel.ptr + skip, channel.len - skip);
    struct bytes number = bytes_split(&rest, ':');
    int64_t value;
    if (number.len < 3 || !bytes_to_i64(bytes_of(number.ptr, number.len - 2), &value)) return false;
    *db = (int)value;
    return value >= 0 && value < INT32_MAX && !bytes_equal_str(rest, "keymiss");
}

static void on_event(struct feed *f, struct resp_cursor c, bool pattern) {
    struct resp_item item, channel, key;
    int db;
    if (pattern && !resp_next(&c, &item)) return;
    if (!resp_next(&c, &channel) || !resp_next(&c, &key)) return;
    if (parse_channel(channel.str, &db)) feed_name(f, db, &key.str, 1);
}

static void on_push(void *ctx, struct resp_cursor c) {
    struct feed *f = ctx;
    struct resp_item head, kind;
    if (!resp_next(&c, &head) || !resp_next(&c, &kind)) return;
    if (bytes_equal_str(kind.str, "invalidate")) {
        on_invalidate(f, c);
    } else if (bytes_equal_str(kind.str, "pmessage")) {
        on_event(f, c, true);
    } else if (bytes_equal_str(kind.str, "message")) {
        on_event(f, c, false);
    }
}

/* ---- barriers ---- */

static void feed_fail(struct feed *f, const struct err *err) {
    struct err copy = *err;
    client_break(f->client, &copy);
}

static void on_keyspace(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    f->n_dbs = 0;
    if (reply->err != NULL || !resp_is_string(&reply->item)) return;
    f->n_dbs = (size_t)info_databases(reply->item.str, f->dbs, FEED_DATABASES_MAX);
}

/* "master" or "slave" first. */
static bool role_is_kept(struct feed *f, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item role;
    if (!resp_is_aggregate(&reply->item) || !resp_next(&c, &role)) return true;
    return bytes_equal_str(role.str, "slave") == f->info.replica;
}

/* The number of words in front of the offset differs: "master" offset ...; "slave" host port state
 * offset. */
static int64_t offset_of(const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item item;
    int64_t offset = 0;
    if (!resp_is_aggregate(&reply->item) || !resp_next(&c, &item)) return 0;
    int skip = bytes_equal_str(item.str, "slave") ? 3 : 0;
    while (skip-- > 0) resp_next(&c, &item);
    if (!resp_next(&c, &item)) return 0;
    return item.type == RESP_INTEGER ? item.num : bytes_to_i64(item.str, &offset) ? offset : 0;
}

/* False: the replica is not as far as its primary was; it is asked again. */
static bool has_followed(struct feed *f, const struct reply *reply) {
    if (f->primary == NULL) return true;
    if (offset_of(reply) < f->wanted_offset) return false;
    f->wanted_offset = 0;
    return true;
}

static void feed_ask(struct feed *f);

static void on_primary_role(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    struct resp_cursor c = reply->cursor;
    struct resp_item role;
    if (f->closed || !f->established) return;
    bool told = reply->err == NULL && resp_is_aggregate(&reply->item) && resp_next(&c, &role);
    if (told && bytes_equal_str(role.str, "master")) {
        f->wanted_offset = offset_of(reply);
        feed_ask(f);
    } else {
        loop_timer_start(f->timer, FEED_PRIMARY_RETRY_MS);
    }
}

static void on_barrier(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    if (f->closed || reply->err != NULL) return;
    struct err err;
    bool role_asked = arg != NULL;
    if (resp_is_error(&reply->item)) {
        client_reply_error(f->client, &reply->item, &err);
        bool refused = role_asked && err_class_of(err.code) == ERR_CLASS_KEY;
        if (refused && f->primary != NULL)
            err_set(
                &err, ERR_UNSUPPORTED, client_place(f->client),
                "ROLE is refused, without which nobody knows how far a replica is; allow it, or read from primaries");
        if (!refused || f->primary != NULL) {
            feed_fail(f, &err);
            return;
        }
        f->role_refused = true; /* a look by INFO tells, later */
    } else if (role_asked && !role_is_kept(f, reply)) {
        err_set(&err, ERR_CLOSED, client_place(f->client), "the server is a %s now",
                f->info.replica ? "primary" : "replica");
        feed_fail(f, &err);
        return;
    }
    if (!has_followed(f, reply)) {
        loop_timer_start(f->timer, FEED_BARRIER_MS);
        return;
    }
    if (f->flush_unproved) {
        f->flush_unproved = false;
        f->events.on_flush(f->ctx);
    }
    if (!f->closed) f->events.on_barrier(f->ctx, f->sent_us, f->dbs, f->n_dbs);
    if (!f->closed) loop_timer_start(f->timer, FEED_BARRIER_MS);
}

static const struct bytes role[] = { BYTES_LITERAL("ROLE") };

static void feed_ask(struct feed *f) {
    static const struct bytes keyspace[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("keyspace") };
    if (!client_is_ready(f->client)) return;
    bool by_role = (!f->settings.resp2 && !f->role_refused) || f->primary != NULL;
    if (f->primary == NULL) f->sent_us = clock_mono_us();
    if (f->settings.ask_databases && !f->settings.resp2)
        client_command(f->client, on_keyspace, f, NULL, 2, keyspace);
    client_command(f->client, on_barrier, f, by_role ? f : NULL, 1, by_role ? role : ping_words);
}

static void on_timer(void *ctx) {
    struct feed *f = ctx;
    if (f->closed || !f->established) return;
    if (f->primary == NULL || f->wanted_offset > 0) {
        feed_ask(f);
    } else if (client_is_ready(f->primary)) {
        f->sent_us = clock_mono_us();
        client_command(f->primary, on_primary_role, f, NULL, 1, role);
    } else {
        loop_timer_start(f->timer, FEED_PRIMARY_RETRY_MS);
    }
}

/* ---- handshake ---- */

static void feed_send(struct feed *f, enum feed_step step);

static void feed_established(struct feed *f) {
    f->established = true;
    f->flush_unproved = false;
    f->wanted_offset = 0;
    f->events.on_established(f->ctx, &f->info);
    if (!f->closed) on_timer(f);
}

static void feed_refused(struct feed *f, enum feed_step step, const struct resp_item *item) {
    struct err err;
    client_reply_error(f->client, item, &err);
    bool refused = err_class_of(err.code) == ERR_CLASS_KEY;
    if (step == FEED_NARROW && refused) {
        f->narrow_refused = true;
        log_info(
            err.place,
            "events of consumer groups may not be subscribed to (%s); they are found by polling",
            err.text);
    } else if (refused) {
        char text[160];
        bytes_escape(item->str, text, sizeof(text));
        err_set(&err, ERR_UNSUPPORTED, client_place(f->client),
                "%s is refused (%s); allow it to the user, or use another --capture",
                step == FEED_TRACK  ? "CLIENT TRACKING"
                : step == FEED_INFO ? "INFO"
                                    : "subscribing to channels",
                text);
    }
    feed_fail(f, &err);
}

static void on_step(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    enum feed_step step = (enum feed_step)(intptr_t)arg;
    if (f->closed || reply->err != NULL) return;
    if (resp_is_error(&reply->item)) {
        feed_refused(f, step, &reply->item);
        return;
    }
    if (step == FEED_INFO) server_info_parse(&f->info, reply->item.str);
    bool tracks = f->settings.kind == FEED_TRACKING;
    if (step == FEED_INFO && tracks) {
        feed_send(f, FEED_TRACK);
    } else if (step == FEED_INFO || step == FEED_TRACK) {
        feed_send(f, FEED_SUBSCRIBE);
    } else if (step == FEED_SUBSCRIBE && tracks && !f->narrow_refused) {
        feed_send(f, FEED_NARROW);
    } else {
        feed_established(f);
    }
}

/* A subscription is answered by pushes alone; see the head of this file. */
static void feed_subscribe(struct feed *f, enum feed_step step, size_t n,
                           const struct bytes *words) {
    resp_write_command(client_out(f->client), n, words);
    client_command(f->client, on_step, f, (void *)(intptr_t)step, 1, ping_words);
}

static void feed_send(struct feed *f, enum feed_step step) {
    static const struct bytes info[] = { BYTES_LITERAL("INFO") };
    static const struct bytes track[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("TRACKING"),
                                          BYTES_LITERAL("ON"), BYTES_LITERAL("BCAST") };
    static const struct bytes unused[] = { BYTES_LITERAL("SUBSCRIBE"),
                                           BYTES_LITERAL(FEED_CHANNEL_UNUSED) };
    static const struct bytes all[] = { BYTES_LITERAL("PSUBSCRIBE"),
                                        BYTES_LITERAL(FEED_PATTERN_ALL) };
    static const struct bytes narrow[] = { BYTES_LITERAL("PSUBSCRIBE"),
                                           BYTES_LITERAL(FEED_PATTERN_GROUPS),
                                           BYTES_LITERAL(FEED_PATTERN_SETID) };
    bool tracks = f->settings.kind == FEED_TRACKING;
    switch (step) {
    case FEED_INFO:
        client_command(f->client, on_step, f, (void *)(intptr_t)step, 1, info);
        return;
    case FEED_TRACK:
        client_command(f->client, on_step, f, (void *)(intptr_t)step, 4, track);
        return;
    case FEED_SUBSCRIBE:
        feed_subscribe(f, step, 2, tracks ? unused : all);
        return;
    case FEED_NARROW:
        feed_subscribe(f, step, 3, narrow);
        return;
    }
}

static void on_ready(void *ctx) {
    feed_send(ctx, FEED_INFO);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct feed *f = ctx;
    bool was = f->established;
    f->established = false;
    loop_timer_stop(f->timer);
    if (was || final) f->events.on_lost(f->ctx, err, final);
}

/* ---- life ---- */

struct feed *feed_start(struct loop *loop, const struct feed_settings *settings,
                        const struct feed_events *events, void *ctx) {
    static const struct client_events client_events = { .on_ready = on_ready,
                                                        .on_down = on_down,
                                                        .on_push = on_push };
    struct feed *f = mem_zalloc(sizeof(*f));
    f->loop = loop;
    f->settings = *settings;
    f->settings.client.protocol = settings->resp2 ? 2 : 3;
    f->settings.client.subscriber = true;
    f->settings.client.reconnect = true;
    f->settings.client.fence = false;
    f->events = *events;
    f->ctx = ctx;
    f->timer = loop_timer_new(loop, on_timer, f);
    f->client = client_open(loop, &f->settings.client, &client_events, f);
    if (settings->primary != NULL) {
        struct client_settings primary = *settings->primary;
        primary.readonly = primary.fence = false;
        f->primary = client_open(loop, &primary, NULL, f);
    }
    f->settings.primary = NULL;
    return f;
}

static void feed_release(void *ctx) {
    struct feed *f = ctx;
    loop_timer_free(&f->timer);
    free(f->keys);
    free(f);
}

void feed_free(struct feed **feed) {
    struct feed *f = *feed;
    *feed = NULL;
    if (f == NULL) return;
    f->closed = true;
    loop_timer_stop(f->timer);
    client_close(&f->client);
    client_close(&f->primary);
    loop_defer(f->loop, feed_release, f);
}

void feed_break(struct feed *feed, const struct err *why) {
    feed_fail(feed, why);
}

const char *feed_place(const struct feed *feed) {
    return client_place(feed->client);
}
