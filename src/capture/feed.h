/* Listens to one server process of the source: which keys change there. Names only; values are read
 * afterwards.
 *
 *   connect ─▶ INFO ─▶ CLIENT TRACKING ON BCAST, SUBSCRIBE ─▶ on_established ─▶ on_keys, on_flush ... ─▶ on_lost ─▶ again
 *                 or ─▶ PSUBSCRIBE __keyevent@*__:*              on_barrier, one at a time
 *
 * tracking: pushes of RESP3 without a database number (redis 7.0.15 src/tracking.c). The connection
 * also subscribes to a channel that nobody uses, so that the server counts it among the pubsub
 * clients: with their output buffer limit a reader that stalls is cut off, without it the server
 * may evict all its keys. The narrow channels of consumer groups, which tracking does not announce,
 * are listened to where the user may. notifications: keyspace events with the database; also on
 * RESP2.
 *
 * A barrier is a ROLE on the same connection: when its reply is here, every change that the process
 * had acknowledged before the ROLE was sent has been named (pushes are written before replies:
 * src/tracking.c trackingBroadcastInvalidationMessages(), called by beforeSleep()), and the process
 * had still its role.
 *
 * On a replica that says nothing of what its primary has acknowledged. There the primary is asked
 * by ROLE how far its stream goes, and the barrier counts from that moment once the replica's own
 * ROLE has come as far.
 *
 * The socket is always read; whoever takes the names must not block. One thread.
 */
#ifndef LONGHAUL_CAPTURE_FEED_H
#define LONGHAUL_CAPTURE_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"
#include "server/info.h"

struct feed;

/* The channel that nobody uses, and the patterns: a user whose ACL names channels needs these, as
 * they are written here (redis 7.0.15 src/acl.c ACLCheckChannelAgainstList(): patterns are compared
 * as text). */
#define FEED_CHANNEL_UNUSED "longhaul:nobody"
#define FEED_PATTERN_ALL "__keyevent@*__:*"
#define FEED_PATTERN_GROUPS "__keyevent@*__:xgroup-*"
#define FEED_PATTERN_SETID "__keyevent@*__:xsetid"

enum feed_kind { FEED_TRACKING, FEED_NOTIFICATIONS };

enum { FEED_BARRIER_MS = 5, FEED_ANY_DB = -1, FEED_DATABASES_MAX = 1024 };

struct feed_settings {
    struct client_settings client; /* protocol is chosen by the feed */
    enum feed_kind kind;
    bool resp2;         /* notifications only: the server has no HELLO */
    bool ask_databases; /* each barrier also tells which databases hold keys */
    const struct client_settings
        *primary; /* where the process listened to is a replica: its primary; else NULL. Copied. */
};

struct feed_events {
    /* From now on every change is named. info is of the connection's process, good during the call.
     */
    void (*on_established)(void *ctx, const struct server_info *info);
    /* db is FEED_ANY_DB for tracking. The views are good during the call. */
    void (*on_keys)(void *ctx, int db, const struct bytes *keys, size_t n);
    /* One database or all were emptied, on a process that kept its role. Tracking only. */
    void (*on_flush)(void *ctx);
    /* dbs: those that hold keys, with ask_databases, else none. sent_us: monotonic. */
    void (*on_barrier)(void *ctx, int64_t sent_us, const int *dbs, size_t n_dbs);
    /* Continuity is lost; the feed comes back by itself unless final. */
    void (*on_lost)(void *ctx, const struct err *err, bool final);
};

struct feed *feed_start(struct loop *loop, const struct feed_settings *settings,
                        const struct feed_events *events, void *ctx);
/* Without on_lost. Also from within its callbacks. Leaves NULL. */
void feed_free(struct feed **feed);
/* Breaks the connection and comes back: the process behind it is not the right one any more. */
void feed_break(struct feed *feed, const struct err *why);

const char *feed_place(const struct feed *feed);
const char *feed_kind_name(enum feed_kind kind);
/* Does this value of notify-keyspace-events tell of every change? E, and every class of commands
 * ('A' stands for all). */
bool feed_flags_suffice(struct bytes flags);

#endif
