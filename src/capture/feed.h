/* Listens to one server process of the source: which keys change there. Names only; values are read
 * afterwards.
 *
 *   connect ─▶ INFO ─▶ CLIENT TRACKING ON BCAST, SUBSCRIBE ─▶ on_established
 *      ▲          or ─▶ PSUBSCRIBE __keyevent@*__:*, flags     ─▶ on_keys, on_flush, on_barrier ...
 *      └──────────────────────────── on_lost ◀─────────────────────┘
 *
 * tracking: pushes of RESP3 without a database number (redis 7.0.15 src/tracking.c). The connection
 * also subscribes to a channel that nobody uses, so that the server counts it among the pubsub
 * clients: with their output buffer limit a reader that stalls is cut off, without it the server
 * may evict all its keys. The narrow channels of consumer groups, which tracking does not announce,
 * are listened to where the user may.
 *
 * notifications: keyspace events with the database; also on RESP2. The server's flags decide which
 * events there are, and may change: they are checked all the time (see flags.h), a barrier proves
 * no more than the last check, and flags that do not suffice end the connection.
 *
 * A barrier is a ROLE on the same connection, answered, and a second one behind it: then every
 * change that the process had acknowledged before the first was sent has been named, and the
 * process had still its role. barrier.h says why one is not enough, and how a replica is treated.
 * Between the two the server is asked for its counters of commands: some change data and are
 * announced by no feed. They are counted before they are acknowledged, so that counters which have
 * not changed prove that there was none.
 *
 * The socket is always read; the callbacks must not block. One thread.
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
#include "server/deployment.h"
#include "server/info.h"
#include "server/sample.h"

struct feed;

/* The channel that nobody uses, and the patterns: a user whose ACL names channels needs these, as
 * they are written here (redis 7.0.15 src/acl.c ACLCheckChannelAgainstList(): patterns are compared
 * as text). */
#define FEED_CHANNEL_UNUSED "longhaul:nobody"
#define FEED_PATTERN_ALL "__keyevent@*__:*"
#define FEED_PATTERN_GROUPS "__keyevent@*__:xgroup-*"
#define FEED_PATTERN_SETID "__keyevent@*__:xsetid"

enum feed_kind { FEED_TRACKING, FEED_NOTIFICATIONS };

enum { FEED_BARRIER_MS = 10, FEED_ANY_DB = -1 };

struct feed_settings {
    struct client_settings client; /* protocol is chosen by the feed */
    enum feed_kind kind;
    bool resp2;         /* notifications only: the server has no HELLO */
    bool ask_databases; /* each barrier also tells which databases hold keys */
    /* where the process listened to is a replica: its primary; else NULL. Copied. */
    const struct client_settings *primary;
    struct deployment *source; /* see flags_settings; may be NULL */
};

/* The state of the server behind the changes that a barrier speaks of. The views are good during
 * the call. */
struct feed_seen {
    const int *dbs; /* that hold keys; with ask_databases, else none */
    size_t n_dbs;
    /* SAMPLE_CALLS counters of commands, which tell of those that no feed announces; NULL: the
     * server hides them */
    const uint64_t *calls;
};

struct feed_events {
    /* From now on every change is named. info is of the connection's process, good during the call.
     */
    void (*on_established)(void *ctx, const struct server_info *info);
    /* Not established yet, or not again, because the server is not fit to be listened to; the feed
     * goes on trying. ERR_UNSUPPORTED: an operator must act; any other code may pass. May be
     * NULL. */
    void (*on_waiting)(void *ctx, const struct err *err);
    /* db is FEED_ANY_DB for tracking. The views are good during the call. */
    void (*on_keys)(void *ctx, int db, const struct bytes *keys, size_t n);
    /* One database or all were emptied, on a primary that kept its role. Tracking only. */
    void (*on_flush)(void *ctx);
    /* Every change acknowledged before since_us (monotonic) has been named. */
    void (*on_barrier)(void *ctx, int64_t since_us, const struct feed_seen *seen);
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

#endif
