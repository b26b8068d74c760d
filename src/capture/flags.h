/* Whether keyspace notifications tell of every change, checked all the time while a feed listens to
 * them: notify-keyspace-events is changed by CONFIG SET, lost by a restart, and may differ on a
 * replica that is promoted.
 *
 *   CONFIG GET is allowed:  the value itself, and how often CONFIG SET was called (from 7.0 on, by
 *                           INFO commandstats), so that a change that is undone shows
 *   CONFIG GET is refused:  a key of longhaul's own is written by a command of each class, and its
 *                           events must arrive; expiry and eviction (x, e) are not tried
 *
 * Checks travel on a connection of their own, since a subscriber of RESP2 may not ask anything. One
 * thread.
 */
#ifndef LONGHAUL_CAPTURE_FLAGS_H
#define LONGHAUL_CAPTURE_FLAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"
#include "server/deployment.h"
#include "server/sample.h"

struct flags;

#define FLAGS_NEVER INT64_MIN

/* The remedy for flags that do not suffice; one place for every message. */
#define FLAGS_ADVICE                                                                               \
    "set notify-keyspace-events to AE (CONFIG SET, or in the parameter group of an ElastiCache "   \
    "cluster)"

struct flags_settings {
    struct client_settings reader; /* the server that is listened to */
    /* a replica's primary, where keys are written; else NULL. Copied. */
    const struct client_settings *primary;
    /* where a slot of the primary's is looked up for longhaul's own key; NULL: any slot will do */
    struct deployment *source;
};

/* Notifications are incomplete, or may have been; or that cannot be found out. Not from within
 * flags_new(). */
typedef void flags_fn(void *ctx, const struct err *err);

struct flags *flags_new(struct loop *loop, const struct flags_settings *settings, flags_fn *on_bad,
                        void *ctx);
/* Also from within on_bad. NULL is ignored. Leaves NULL. */
void flags_free(struct flags **flags);

/* The feed listens on a new connection, to the process of this run_id: nothing is proved yet. */
void flags_reset(struct flags *flags, const char *run_id);
/* A check is begun if one is due. */
void flags_step(struct flags *flags);
/* An event has arrived ("set"). True: it is of longhaul's own key, and nobody else's business. */
bool flags_take_event(struct flags *flags, struct bytes key, struct bytes event);
/* All events of before this moment have arrived. */
void flags_passed(struct flags *flags, int64_t since_us);
/* When the last check was sent that found all well; FLAGS_NEVER: none since flags_reset(). */
int64_t flags_proved_us(const struct flags *flags);

/* The counters of commands (SAMPLE_CALLS) as the last check found them; NULL: unknown. */
const uint64_t *flags_calls(const struct flags *flags);

/* Does this value of notify-keyspace-events tell of every change? E, and every class of commands
 * ('A' stands for all). */
bool flags_suffice(struct bytes flags);

#endif
