/* See feed.h. Steps of the handshake are sent one after the other: a subscription that succeeds is
 * answered by a push, one that is refused by an error in the place of the next reply, so each is
 * followed by a PING of its own. */
#include "capture/feed.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "capture/barrier.h"
#include "capture/flags.h"

/* Longest push; servers disconnect a subscriber at 32 MB by default. */
enum { FEED_PUSH_MAX = 512 * 1024 * 1024 };

enum {
    FEED_PRIMARY_RETRY_MS = 50,
    FEED_FEEDER_RETRY_MS = 250,
    FEED_TELL_MS = 10 * 1000, /* between two on_waiting */
    FEED_WORD_MAX = 24,
};

enum feed_step { FEED_INFO, FEED_TRACK, FEED_SUBSCRIBE, FEED_NARROW, FEED_FEEDER };

struct feed {
    struct loop *loop;
    struct feed_settings settings;
    struct feed_events events;
    void *ctx;
    struct client *client, *primary; /* primary: of a replica, else NULL */
    struct flags *flags;             /* notifications, else NULL */
    struct loop_timer *timer;
    struct server_info info; /* of the process behind the connection */
    /* listening: the handshake is over; established: and the flags were found to suffice */
    bool closed, subscribed, listening, established;
    bool narrow_refused, role_refused, flush_unproved;
    bool feeder_refused, feeder_by_type, feeder_no_id; /* how CLIENT LIST is used */
    int64_t told_ms;                                   /* on_waiting was called; 0: not yet */
    struct barrier barrier;
    int *dbs;
    size_t n_dbs, dbs_cap;
    uint64_t calls[SAMPLE_CALLS]; /* counters, asked for by the barrier that is under way */
    bool calls_told;
    struct bytes *keys; /* of one push */
    size_t keys_cap;
};

static const struct bytes ping_words[] = { BYTES_LITERAL("PING") };
static const struct bytes role_words[] = { BYTES_LITERAL("ROLE") };

const char *feed_kind_name(enum feed_kind kind) {
    return kind == FEED_TRACKING ? "tracking" : "notifications";
}

/* Ends the connection, which is then made anew. */
static void feed_fail(struct feed *f, const struct err *err) {
    struct err copy = *err;
    f->subscribed = f->listening = false;
    client_break(f->client, &copy);
}

/* The server proves nothing now: a feed that was established is lost. */
static void feed_reject(struct feed *f, enum err_code code, const char *why) {
    struct err err;
    if (f->established) {
        err_set(&err, ERR_CLOSED, client_place(f->client), "%s", why);
        feed_fail(f, &err);
        return;
    }
    err_set(&err, code, client_place(f->client), "%s", why);
    int64_t now_ms = clock_mono_ms();
    if (f->events.on_waiting == NULL || (f->told_ms != 0 && now_ms - f->told_ms < FEED_TELL_MS))
        return;
    f->told_ms = now_ms;
    f->events.on_waiting(f->ctx, &err);
}

/* ---- pushes ---- */

static void feed_name(struct feed *f, int db, const struct bytes *keys, size_t n) {
    if (!f->closed && n > 0) f->events.on_keys(f->ctx, db, keys, n);
}

/* On a primary a database was emptied, once the next barrier shows that the process kept its role.
 * A replica says the same when all of its data are replaced. */
static void take_null(struct feed *f) {
    struct err err;
    f->flush_unproved = !f->info.replica;
    if (f->info.replica && f->subscribed) {
        err_set(&err, ERR_CLOSED, client_place(f->client),
                "the replica was resynchronised from its primary, or a database was flushed");
        feed_fail(f, &err);
    }
}

/* >2 invalidate, and the names; a null instead of them says that a database was emptied. */
static void on_invalidate(struct feed *f, struct resp_cursor c) {
    struct resp_item list, key;
    if (!resp_next(&c, &list)) return;
    if (!resp_is_aggregate(&list)) {
        take_null(f);
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

/* "__keyevent@5__:set": the database, the event, and whether it is a change. */
static bool parse_channel(struct bytes channel, int *db, struct bytes *event) {
    static const char prefix[] = "__keyevent@";
    size_t skip = sizeof(prefix) - 1;
    if (channel.len < skip || memcmp(channel.ptr, prefix, skip) != 0) return false;
    struct bytes rest = bytes_of(channel.ptr + skip, channel.len - skip);
    struct bytes number = bytes_split(&rest, ':');
    int64_t value;
    if (number.len < 3 || !bytes_to_i64(bytes_of(number.ptr, number.len - 2), &value)) return false;
    *db = (int)value;
    *event = rest;
    return value >= 0 && value < INT32_MAX && !bytes_equal_str(rest, "keymiss");
}

static void on_event(struct feed *f, struct resp_cursor c, bool pattern) {
    struct resp_item item, channel, key;
    struct bytes event;
    int db;
    if (pattern && !resp_next(&c, &item)) return;
    if (!resp_next(&c, &channel) || !resp_next(&c, &key)) return;
    if (!parse_channel(channel.str, &db, &event)) return;
    if (f->flags != NULL && flags_take_event(f->flags, key.str, event)) return;
    feed_name(f, db, &key.str, 1);
}

static void feed_on_push(void *ctx, struct resp_cursor c) {
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

static void on_keyspace(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    f->n_dbs = 0;
    if (reply->err != NULL || !resp_is_string(&reply->item)) return;
    struct bytes text = reply->item.str;
    for (int db; info_next_database(&text, &db); f->n_dbs++) {
        if (f->n_dbs == f->dbs_cap) {
            f->dbs_cap = f->dbs_cap * 2 + 16;
            f->dbs = mem_array(f->dbs, f->dbs_cap, sizeof(*f->dbs));
        }
        f->dbs[f->n_dbs] = db;
    }
}

static void on_calls(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    if (reply->err != NULL || !resp_is_string(&reply->item)) return;
    f->calls_told = sample_count_calls(f->calls, reply->item.str);
}

/* The replica's client of its primary is asked for by its id, which is cheap however many clients
 * there are; by its type where that finds none. */
static void on_feeder(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    struct err err;
    bool by_id = arg != NULL;
    if (f->closed || reply->err != NULL || !f->listening) return;
    if (resp_is_error(&reply->item)) {
        f->feeder_no_id = f->feeder_no_id || by_id; /* before 6.2 */
        if (!by_id)
            feed_break(f, &(struct err){ .code = ERR_CLOSED, .text = "CLIENT LIST is refused" });
        return;
    }
    uint64_t id = barrier_feeder_parse(reply->item.str);
    f->feeder_by_type = id == 0;
    if (!barrier_take_feeder(&f->barrier, id, &err)) feed_break(f, &err);
}

static void ask_feeder(struct feed *f) {
    static const struct bytes by_type[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("LIST"),
                                            BYTES_LITERAL("TYPE"), BYTES_LITERAL("master") };
    if (f->feeder_by_type || f->feeder_no_id) {
        client_command(f->client, on_feeder, f, NULL, 4, by_type);
        return;
    }
    char id[FEED_WORD_MAX];
    snprintf(id, sizeof(id), "%llu", (unsigned long long)f->barrier.feeder);
    const struct bytes by_id[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("LIST"),
                                   BYTES_LITERAL("ID"), bytes_of_str(id) };
    client_command(f->client, on_feeder, f, f, 4, by_id);
}

/* Once the flags are proved where they matter, the feed is established. */
static void feed_proved(struct feed *f, int64_t since_us) {
    if (f->flags != NULL) {
        flags_passed(f->flags, since_us);
        if (f->closed || !f->listening) return;
        int64_t flags_us = flags_proved_us(f->flags);
        if (flags_us == FLAGS_NEVER) return;
        if (flags_us < since_us) since_us = flags_us;
    }
    if (!f->established) {
        f->established = true;
        f->told_ms = 0;
        f->events.on_established(f->ctx, &f->info);
        return;
    }
    if (f->flush_unproved) {
        f->flush_unproved = false;
        f->events.on_flush(f->ctx);
    }
    if (f->closed) return;
    struct feed_seen seen = { f->dbs, f->n_dbs, f->calls_told ? f->calls : NULL };
    if (f->settings.resp2 && f->flags != NULL) seen.calls = flags_calls(f->flags);
    f->events.on_barrier(f->ctx, since_us, &seen);
}

static void feed_ask(struct feed *f);

static void feed_take_role(struct feed *f, const struct barrier_role *role) {
    struct err err;
    switch (barrier_take_role(&f->barrier, role, &err)) {
    case BARRIER_BROKEN:
        feed_break(f, &err);
        return;
    case BARRIER_ASK_AGAIN:
        feed_ask(f);
        return;
    case BARRIER_PROVED:
        feed_proved(f, f->barrier.since_us);
        break;
    case BARRIER_WAIT:
        break;
    }
    if (!f->closed && f->listening) loop_timer_start(f->timer, FEED_BARRIER_MS);
}

/* False: the connection ends. */
static bool take_role_error(struct feed *f, const struct reply *reply, bool role_asked) {
    struct err err;
    client_reply_error(f->client, &reply->item, &err);
    bool refused = role_asked && err_class_of(err.code) == ERR_CLASS_KEY;
    if (refused && f->primary == NULL) {
        f->role_refused = true; /* INFO tells the role, a second later */
        return true;
    }
    if (refused)
        err_set(
            &err, ERR_UNSUPPORTED, client_place(f->client),
            "ROLE is refused, without which nobody knows how far a replica is; allow it, or read "
            "from primaries");
    feed_fail(f, &err);
    return false;
}

static void on_role(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    if (f->closed || reply->err != NULL || !f->listening) return;
    struct barrier_role role = { 0 };
    if (resp_is_error(&reply->item)) {
        if (!take_role_error(f, reply, arg != NULL)) return;
    } else if (arg != NULL) {
        role = barrier_role_parse(&reply->item, reply->cursor);
    }
    feed_take_role(f, &role);
}

static void feed_ask(struct feed *f) {
    static const struct bytes keyspace[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("keyspace") };
    static const struct bytes calls[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("commandstats") };
    if (!client_is_ready(f->client)) return;
    bool by_role = (!f->settings.resp2 && !f->role_refused) || f->primary != NULL;
    bool confirming = f->barrier.state == BARRIER_CONFIRMING;
    if (confirming && f->info.replica && !f->feeder_refused) ask_feeder(f);
    if (confirming && f->settings.ask_databases && !f->settings.resp2)
        client_command(f->client, on_keyspace, f, NULL, 2, keyspace);
    if (confirming && !f->settings.resp2) {
        f->calls_told = false;
        client_command(f->client, on_calls, f, NULL, 2, calls);
    }
    client_command(f->client, on_role, f, by_role ? f : NULL, 1, by_role ? role_words : ping_words);
}

static void feed_send(struct feed *f, enum feed_step step);

static void feed_begin(struct feed *f, int64_t now_us, int64_t primary_offset) {
    struct err err;
    if (barrier_begin(&f->barrier, now_us, primary_offset, &err)) {
        feed_ask(f);
    } else {
        feed_break(f, &err);
    }
}

static void on_primary_role(void *ctx, void *arg, const struct reply *reply) {
    struct feed *f = ctx;
    if (f->closed || !f->listening) return;
    struct barrier_role role = { 0 };
    if (reply->err == NULL) role = barrier_role_parse(&reply->item, reply->cursor);
    if (role.known && !role.replica) {
        feed_begin(f, (int64_t)(intptr_t)arg, role.offset);
    } else {
        loop_timer_start(f->timer, FEED_PRIMARY_RETRY_MS);
    }
}

static void feed_on_timer(void *ctx) {
    struct feed *f = ctx;
    if (f->closed || !f->subscribed) return;
    if (!f->listening) {
        feed_send(f, FEED_FEEDER);
        return;
    }
    if (f->flags != NULL) flags_step(f->flags);
    int64_t now_us = clock_mono_us();
    if (f->barrier.state != BARRIER_IDLE) {
        feed_ask(f);
    } else if (f->primary == NULL) {
        feed_begin(f, now_us, 0);
    } else if (client_is_ready(f->primary)) {
        client_command(f->primary, on_primary_role, f, (void *)(intptr_t)now_us, 1, role_words);
    } else {
        loop_timer_start(f->timer, FEED_PRIMARY_RETRY_MS);
    }
}

/* ---- handshake ---- */

/* Flags are found to suffice by the first rounds of barriers. */
static void feed_listen(struct feed *f) {
    f->subscribed = f->listening = true;
    f->established = f->flags == NULL;
    f->flush_unproved = false;
    if (f->flags != NULL) flags_reset(f->flags, f->info.run_id);
    if (f->established) f->events.on_established(f->ctx, &f->info);
    if (!f->closed && f->listening) feed_on_timer(f);
}

/* Which client of its primary's a replica has: from now on it must keep it. */
static void take_first_feeder(struct feed *f, const struct reply *reply) {
    struct err err;
    uint64_t id = 0;
    bool refused = resp_is_error(&reply->item);
    if (!refused) id = barrier_feeder_parse(reply->item.str);
    f->subscribed = true;
    f->feeder_refused = refused;
    if (!refused && id == 0) {
        feed_reject(f, ERR_MASTERDOWN, "the replica is not connected to its primary");
        if (!f->closed) loop_timer_start(f->timer, FEED_FEEDER_RETRY_MS);
        return;
    }
    barrier_take_feeder(&f->barrier, id, &err);
    feed_listen(f);
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
    if (step == FEED_FEEDER) {
        take_first_feeder(f, reply);
        return;
    }
    if (resp_is_error(&reply->item)) {
        feed_refused(f, step, &reply->item);
        return;
    }
    if (step == FEED_INFO) {
        server_info_parse(&f->info, reply->item.str);
        barrier_reset(&f->barrier, f->info.replica);
        f->feeder_by_type = f->feeder_refused = false;
    }
    bool tracks = f->settings.kind == FEED_TRACKING;
    if (step == FEED_INFO && tracks) {
        feed_send(f, FEED_TRACK);
    } else if (step == FEED_INFO || step == FEED_TRACK) {
        feed_send(f, FEED_SUBSCRIBE);
    } else if (step == FEED_SUBSCRIBE && tracks && !f->narrow_refused) {
        feed_send(f, FEED_NARROW);
    } else if (f->info.replica && !f->settings.resp2) {
        feed_send(f, FEED_FEEDER);
    } else {
        feed_listen(f);
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
    static const struct bytes feeder[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("LIST"),
                                           BYTES_LITERAL("TYPE"), BYTES_LITERAL("master") };
    bool tracks = f->settings.kind == FEED_TRACKING;
    void *arg = (void *)(intptr_t)step;
    switch (step) {
    case FEED_INFO:
        client_command(f->client, on_step, f, arg, 1, info);
        return;
    case FEED_TRACK:
        client_command(f->client, on_step, f, arg, 4, track);
        return;
    case FEED_SUBSCRIBE:
        feed_subscribe(f, step, 2, tracks ? unused : all);
        return;
    case FEED_NARROW:
        feed_subscribe(f, step, 3, narrow);
        return;
    case FEED_FEEDER:
        client_command(f->client, on_step, f, arg, 4, feeder);
        return;
    }
}

static void feed_on_ready(void *ctx) {
    feed_send(ctx, FEED_INFO);
}

static void feed_on_down(void *ctx, const struct err *err, bool final) {
    struct feed *f = ctx;
    bool was = f->established;
    f->established = f->listening = f->subscribed = false;
    loop_timer_stop(f->timer);
    if (was || final) f->events.on_lost(f->ctx, err, final);
}

/* ---- life ---- */

static void on_bad_flags(void *ctx, const struct err *err) {
    struct feed *f = ctx;
    if (!f->closed && f->listening) feed_reject(f, err->code, err->text);
}

struct feed *feed_start(struct loop *loop, const struct feed_settings *settings,
                        const struct feed_events *events, void *ctx) {
    static const struct client_events client_events = { .on_ready = feed_on_ready,
                                                        .on_down = feed_on_down,
                                                        .on_push = feed_on_push };
    struct feed *f = mem_zalloc(sizeof(*f));
    f->loop = loop;
    f->settings = *settings;
    f->settings.client.protocol = settings->resp2 ? 2 : 3;
    f->settings.client.subscriber = true;
    f->settings.client.reconnect = true;
    f->settings.client.reply_bytes_max = FEED_PUSH_MAX;
    f->settings.client.fence = false;
    f->events = *events;
    f->ctx = ctx;
    f->timer = loop_timer_new(loop, feed_on_timer, f);
    f->client = client_open(loop, &f->settings.client, &client_events, f);
    if (settings->primary != NULL) {
        struct client_settings primary = *settings->primary;
        primary.readonly = primary.fence = false;
        f->primary = client_open(loop, &primary, NULL, f);
    }
    if (settings->kind == FEED_NOTIFICATIONS) {
        struct flags_settings flags = { settings->client, settings->primary, settings->source };
        f->flags = flags_new(loop, &flags, on_bad_flags, f);
    }
    f->settings.primary = NULL;
    return f;
}

static void feed_release(void *ctx) {
    struct feed *f = ctx;
    loop_timer_free(&f->timer);
    free(f->keys);
    free(f->dbs);
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
    flags_free(&f->flags);
    loop_defer(f->loop, feed_release, f);
}

void feed_break(struct feed *feed, const struct err *why) {
    struct err err;
    err_set(&err, ERR_CLOSED, client_place(feed->client), "%s", why->text);
    feed_fail(feed, &err);
}

const char *feed_place(const struct feed *feed) {
    return client_place(feed->client);
}
