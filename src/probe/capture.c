/* See capture.h. */
#include "probe/capture.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/call.h"

enum {
    CAPTURE_SLICE_MS = 10,
    OWN_KEY_MAX = 64,
};

/* The questions' context. */
struct capture_probe {
    struct deployment *source;
    enum capture_wish wish;
    struct capture_answers *answers;
    struct topology *topology; /* borrowed */
    struct loop *loop;
    int64_t timeout_ms;
};

/* The server that is read for primary i: itself, or a replica. */
static const struct address *capture_reader(const struct capture_probe *p, int i) {
    const struct topology *t = p->topology;
    return &t->nodes[t->nodes[i].reader].address;
}

/* A key of longhaul's own, in a slot of this node's. */
static void own_key(const struct topology *t, int node, char key[OWN_KEY_MAX]) {
    char tag[SLOT_TAG_MAX];
    int slot = 0;
    while (slot < SLOT_COUNT && t->owner[slot] != node) slot++;
    snprintf(key, OWN_KEY_MAX, "longhaul:{%s}:order", slot_tag((uint16_t)(slot % SLOT_COUNT), tag));
}

/* ---- tracking ---- */

/* *tracks: the server speaks RESP3 and accepts CLIENT TRACKING. *resp2: it does not know HELLO. */
static bool try_tracking(const struct capture_probe *p, const struct address *node, bool *tracks,
                         bool *resp2, struct err *err) {
    struct client_settings settings = deployment_client_settings(p->source, node);
    settings.protocol = 3;
    settings.reconnect = false;
    struct client *client =
        call_open(p->loop, &settings, settings.connect_timeout_ms + settings.reply_timeout_ms, err);
    *tracks = *resp2 = false;
    if (client == NULL) {
        *resp2 = err->code == ERR_UNSUPPORTED;
        return *resp2;
    }
    struct call_reply reply;
    bool ok = call_ok(p->loop, client, p->timeout_ms, &reply, err, "CLIENT TRACKING ON BCAST");
    if (ok) call_reply_fini(&reply);
    *tracks = ok;
    client_close(&client);
    return ok || err_class_of(err->code) == ERR_CLASS_KEY;
}

static bool ask_tracking(const struct capture_probe *p, int i, struct err *err) {
    bool tracks, resp2;
    if (!try_tracking(p, capture_reader(p, i), &tracks, &resp2, err)) return false;
    p->answers->resp2 = p->answers->resp2 || resp2;
    if (resp2 && p->topology->nodes[i].reader != i)
        return err_set(
            err, ERR_UNSUPPORTED, "--source-read-from",
            "following changes on a replica needs HELLO 3, which the source lacks; use primary");
    if (tracks) return true;
    p->answers->kind = FEED_NOTIFICATIONS;
    return p->wish != CAPTURE_TRACKING ||
           err_set(err, ERR_UNSUPPORTED, "--capture",
                   "the source has no CLIENT TRACKING, or refuses it; use --capture notifications");
}

/* ---- notifications ---- */

struct listener {
    bool established, over;
    struct err err;
};

static void listener_on_established(void *ctx, const struct server_info *info) {
    struct listener *l = ctx;
    l->established = l->over = true;
}

/* The server answers, and is not fit to be listened to. Trouble that may pass is waited for until
 * the deadline. */
static void listener_on_waiting(void *ctx, const struct err *err) {
    struct listener *l = ctx;
    l->err = *err;
    l->over = err->code == ERR_UNSUPPORTED;
}

static void listener_on_keys(void *ctx, int db, const struct bytes *keys, size_t n) {}

static void listener_on_flush(void *ctx) {}

static void listener_on_barrier(void *ctx, int64_t since_us, const struct feed_seen *seen) {}

static void listener_on_lost(void *ctx, const struct err *err, bool final) {
    struct listener *l = ctx;
    l->err = *err;
    l->over = true;
}

/* The deadline has passed, or the process is to end. The wait is over for this try: the code is the
 * one of silence, after which no step is done again at once. */
static void listener_time_out(struct listener *l, const char *place) {
    if (l->err.code == ERR_INTERRUPTED) return;
    if (l->err.code != ERR_NONE) {
        l->err.code = ERR_TIMEOUT;
        return;
    }
    err_set(&l->err, ERR_TIMEOUT, place,
            "whether keyspace notifications arrive was not found out in time (see --timeout)");
}

/* A feed is established once it has found that the notifications tell of every change. */
static bool ask_notifications(const struct capture_probe *p, int i, struct err *err) {
    static const struct feed_events events = {
        listener_on_established, listener_on_waiting, listener_on_keys,
        listener_on_flush,       listener_on_barrier, listener_on_lost,
    };
    const struct topology *t = p->topology;
    struct client_settings primary = deployment_client_settings(p->source, &t->nodes[i].address);
    struct feed_settings settings = {
        .client = deployment_client_settings(p->source, capture_reader(p, i)),
        .kind = FEED_NOTIFICATIONS,
        .resp2 = p->answers->resp2,
        .primary = t->nodes[i].reader == i ? NULL : &primary,
        .source = p->source,
    };
    struct listener listener = { 0 };
    int64_t deadline_ms = clock_mono_ms() + settings.client.connect_timeout_ms + p->timeout_ms;
    struct feed *feed = feed_start(p->loop, &settings, &events, &listener);
    while (!listener.over && clock_mono_ms() < deadline_ms && !call_interrupted(&listener.err))
        loop_run_once(p->loop, CAPTURE_SLICE_MS);
    if (!listener.over) listener_time_out(&listener, feed_place(feed));
    feed_free(&feed);
    loop_settle(p->loop);
    if (!listener.established) *err = listener.err;
    return listener.established;
}

/* ---- rights ---- */

static bool capture_is_allowed(const struct capture_probe *p, struct client *client,
                               const char *command) {
    struct err err;
    struct call_reply reply;
    bool allowed = call_ok(p->loop, client, p->timeout_ms, &reply, &err, command);
    if (allowed) call_reply_fini(&reply);
    return allowed;
}

static bool ask_rights(const struct capture_probe *p, int i, struct err *err) {
    struct client *client = deployment_call_open(p->source, capture_reader(p, i), err);
    if (client == NULL) return false;
    struct capture_answers *a = p->answers;
    char key[OWN_KEY_MAX], command[OWN_KEY_MAX + 32];
    own_key(p->topology, i, key);
    snprintf(command, sizeof(command), "OBJECT IDLETIME %s", key);
    a->idle_time_allowed = a->idle_time_allowed && capture_is_allowed(p, client, command);
    client_close(&client);
    return true;
}

/* ---- choosing ---- */

typedef bool capture_ask_fn(const struct capture_probe *p, int i, struct err *err);

static bool ask_primaries(const struct capture_probe *p, capture_ask_fn *ask, struct err *err) {
    for (int i = 0; i < p->topology->n_nodes; i++) {
        int tries = 0;
        struct err last;
        if (!topology_is_primary(p->topology, i)) continue;
        while (!ask(p, i, &last)) {
            if (call_again(p->loop, &last, &tries)) continue;
            *err = last;
            return false;
        }
    }
    return true;
}

bool capture_choose(struct deployment *source, enum capture_wish wish,
                    struct capture_answers *answers, struct err *err) {
    struct topology *t = deployment_topology(source);
    struct capture_probe p = {
        source, wish, answers, t, deployment_loop(source), deployment_reply_timeout_ms(source)
    };
    *answers = (struct capture_answers){
        .kind = wish == CAPTURE_NOTIFICATIONS ? FEED_NOTIFICATIONS : FEED_TRACKING,
        .idle_time_allowed = true,
    };
    bool ok = ask_primaries(&p, ask_tracking, err) &&
              (answers->kind == FEED_TRACKING || ask_primaries(&p, ask_notifications, err)) &&
              ask_primaries(&p, ask_rights, err);
    topology_unref(&t);
    if (ok) log_info("source", "changes are captured by %s", feed_kind_name(answers->kind));
    return ok;
}
