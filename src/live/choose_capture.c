/* Which of its ways of announcing changes a source has: found out by trying, because CONFIG may be
 * refused and versions tell little about what a provider has switched off. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "live/live_priv.h"
#include "server/call.h"

enum { EVENT_WAIT_MS = 2000 };

static int64_t timeout_of(const struct live *live) {
    return deployment_reply_timeout_ms(live->job->source);
}

/* Speaks RESP3 and tracks? *resp2: not even HELLO is known. */
static bool try_tracking(struct live *live, const struct address *node, bool *tracks, bool *resp2,
                         struct err *err) {
    struct client_settings settings = deployment_client_settings(live->job->source, node);
    settings.protocol = 3;
    settings.reconnect = false;
    struct client *client = call_open(live->job->loop, &settings,
                                      settings.connect_timeout_ms + settings.reply_timeout_ms, err);
    *tracks = *resp2 = false;
    if (client == NULL) {
        *resp2 = err->code == ERR_UNSUPPORTED;
        return *resp2;
    }
    struct call_reply reply;
    bool ok =
        call_ok(live->job->loop, client, timeout_of(live), &reply, err, "CLIENT TRACKING ON BCAST");
    if (ok) call_reply_fini(&reply);
    *tracks = ok;
    client_close(&client);
    return ok || err_class_of(err->code) == ERR_CLASS_KEY;
}

/* ---- notifications ---- */

struct listener {
    const char *key;
    bool established, heard, final;
    struct err err;
};

static void on_established(void *ctx, const struct server_info *info) {
    ((struct listener *)ctx)->established = true;
}

static void on_keys(void *ctx, int db, const struct bytes *keys, size_t n) {
    struct listener *l = ctx;
    for (size_t i = 0; i < n; i++) l->heard = l->heard || bytes_equal_str(keys[i], l->key);
}

static void on_flush(void *ctx) {}

static void on_barrier(void *ctx, int64_t sent_us, const int *dbs, size_t n_dbs) {}

static void on_lost(void *ctx, const struct err *err, bool final) {
    struct listener *l = ctx;
    l->err = *err;
    l->final = final;
}

static void wait_for(struct live *live, const struct listener *l, const bool *what,
                     int64_t timeout_ms) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    while (!*what && !l->final && clock_mono_ms() < deadline_ms) loop_run_once(live->job->loop, 10);
}

/* A key of longhaul's own is written, for a moment, and listened for. *wrote: the server took it.
 */
static bool hears_itself(struct live *live, const struct address *node, uint16_t slot, bool *wrote,
                         struct err *err) {
    static const struct feed_events events = { on_established, on_keys, on_flush, on_barrier,
                                               on_lost };
    char tag[SLOT_TAG_MAX], key[64], command[128];
    snprintf(key, sizeof(key), "longhaul:{%s}:order", slot_tag(slot, tag));
    snprintf(command, sizeof(command), "SET %s probe PX 500", key);
    struct listener listener = { .key = key };
    struct feed_settings settings = { .client = deployment_client_settings(live->job->source, node),
                                      .kind = FEED_NOTIFICATIONS,
                                      .resp2 = live->resp2 };
    struct feed *feed = feed_start(live->job->loop, &settings, &events, &listener);
    wait_for(live, &listener, &listener.established, timeout_of(live));
    struct client *client =
        listener.established ? deployment_call_open(live->job->source, node, err) : NULL;
    struct call_reply reply;
    *wrote =
        client != NULL && call_ok(live->job->loop, client, timeout_of(live), &reply, err, command);
    if (*wrote) {
        call_reply_fini(&reply);
        wait_for(live, &listener, &listener.heard, EVENT_WAIT_MS);
    } else if (!listener.established) {
        *err = listener.err;
    }
    client_close(&client);
    feed_free(&feed);
    loop_run_once(live->job->loop, 0);
    return listener.heard;
}

static bool not_switched_on(const struct address *node, struct err *err) {
    char where[ADDRESS_HOST_MAX + 32];
    address_format(node, where, sizeof(where));
    return err_set(
        err, ERR_UNSUPPORTED, where,
        "keyspace notifications are not switched on; set notify-keyspace-events to AE (CONFIG SET, or in the "
        "parameter group of an ElastiCache cluster)");
}

static bool check_notifications(struct live *live, const struct address *node, uint16_t slot,
                                struct err *err) {
    struct client *client = deployment_call_open(live->job->source, node, err);
    if (client == NULL) return false;
    struct call_reply reply;
    bool told = call_ok(live->job->loop, client, timeout_of(live), &reply, err,
                        "CONFIG GET notify-keyspace-events");
    bool suffices = false;
    if (told) {
        struct resp_cursor c = reply.cursor;
        struct resp_item name, flags;
        told = resp_next(&c, &name) && resp_next(&c, &flags);
        suffices = told && feed_flags_suffice(flags.str);
        call_reply_fini(&reply);
    }
    client_close(&client);
    if (told) return suffices || not_switched_on(node, err);
    bool wrote;
    if (hears_itself(live, node, slot, &wrote, err)) return true;
    if (wrote) return not_switched_on(node, err);
    if (err_class_of(err->code) != ERR_CLASS_KEY && err->code != ERR_READONLY) return false;
    log_warn(
        err->place,
        "whether keyspace notifications are switched on cannot be tried here (%s); they are relied upon",
        err->text);
    return true;
}

/* ---- choosing ---- */

static void probe_idle_time(struct live *live, const struct address *node) {
    struct err err;
    struct call_reply reply;
    struct client *client = deployment_call_open(live->job->source, node, &err);
    if (client == NULL) return;
    live->idle_time_allowed = call_ok(live->job->loop, client, timeout_of(live), &reply, &err,
                                      "OBJECT IDLETIME longhaul:nothing");
    if (live->idle_time_allowed) call_reply_fini(&reply);
    client_close(&client);
}

static uint16_t first_slot_of(const struct topology *t, int node) {
    for (int s = 0; s < SLOT_COUNT; s++)
        if (t->owner[s] == node) return (uint16_t)s;
    return 0;
}

/* Does this one track? */
static bool ask_tracking(struct live *live, const struct topology *t, int i, struct err *err) {
    const struct address *node = &t->nodes[t->nodes[i].reader].address;
    bool tracks, resp2;
    if (!try_tracking(live, node, &tracks, &resp2, err)) return false;
    live->resp2 = live->resp2 || resp2;
    if (resp2 && t->nodes[i].reader != i)
        return err_set(
            err, ERR_UNSUPPORTED, "--source-read-from",
            "following changes on a replica needs HELLO 3, which the source does not have; use primary");
    if (tracks) return true;
    live->kind = FEED_NOTIFICATIONS;
    return live->settings->capture != LIVE_CAPTURE_TRACKING ||
           err_set(err, ERR_UNSUPPORTED, "--capture",
                   "the source has no CLIENT TRACKING, or refuses it; use --capture notifications");
}

/* Do its notifications arrive? */
static bool ask_notifications(struct live *live, const struct topology *t, int i, struct err *err) {
    return check_notifications(live, &t->nodes[t->nodes[i].reader].address, first_slot_of(t, i),
                               err);
}

static bool ask_all(struct live *live, const struct topology *t,
                    bool (*ask)(struct live *, const struct topology *, int, struct err *),
                    struct err *err) {
    for (int i = 0; i < t->n_nodes; i++) {
        int tries = 0;
        struct err last;
        if (!topology_is_primary(t, i)) continue;
        while (!ask(live, t, i, &last)) {
            if (call_again(live->job->loop, &last, &tries)) continue;
            *err = last;
            return false;
        }
        if (i == 0 || !live->idle_time_allowed)
            probe_idle_time(live, &t->nodes[t->nodes[i].reader].address);
    }
    return true;
}

bool live_choose_capture(struct live *live, struct err *err) {
    struct topology *t = deployment_topology(live->job->source);
    live->kind =
        live->settings->capture == LIVE_CAPTURE_NOTIFICATIONS ? FEED_NOTIFICATIONS : FEED_TRACKING;
    live->resp2 = false;
    bool ok = ask_all(live, t, ask_tracking, err) &&
              (live->kind == FEED_TRACKING || ask_all(live, t, ask_notifications, err));
    topology_unref(&t);
    if (ok) log_info("source", "changes are captured by %s", feed_kind_name(live->kind));
    return ok;
}
