/* Watches one side of a job: its topology, and since when the side cannot be reached.
 *
 * The topology is asked for when somebody wants it (a redirect, a lost connection), and, where it
 * can change by itself (clusters, Sentinel), every poll_ms; never more often than every pause_ms.
 * sight_want() is for every thread; the rest belongs to the deployment's thread. There is one
 * sentence for "unusable for longer than --outage-timeout", and it stands here.
 */
#ifndef LONGHAUL_SERVER_SIGHT_H
#define LONGHAUL_SERVER_SIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/deployment.h"
#include "server/topology.h"

struct sight;

enum { SIGHT_PAUSE_MS = 250, SIGHT_POLL_MS = 2000 };

struct sight_settings {
    int64_t pause_ms;          /* between two refreshes */
    int64_t poll_ms;           /* refresh unasked this often; 0: only when wanted */
    int64_t outage_timeout_ms; /* 0: none */
};

struct sight_events {
    /* The topology is another one than at the last step. Both are borrowed during the call.
     * asked_us: monotonic time before it was asked for; 0 where another caller of
     * deployment_refresh() has found it. May be NULL. */
    void (*on_changed)(void *ctx, const struct topology *before, const struct topology *now,
                       int64_t asked_us);
    /* A refresh succeeded, whether or not the topology changed; after on_changed. May be NULL. */
    void (*on_seen)(void *ctx, int64_t asked_us);
};

struct sight *sight_new(struct deployment *deployment, const struct sight_settings *settings,
                        const struct sight_events *events, void *ctx);
/* Leaves NULL. */
void sight_free(struct sight **sight);

/* The topology shall be asked for again. Any thread. */
void sight_want(struct sight *sight);
bool sight_is_wanted(struct sight *sight);
/* The next step asks, however short ago the last refresh was. */
void sight_want_now(struct sight *sight);

/* Refreshes where that is wanted or due, and reports a changed topology, also one that another
 * caller of deployment_refresh() found. Takes as long as the servers take to answer; not from
 * within a callback. */
void sight_step(struct sight *sight);

/* Since when refreshing has failed, monotonic ms; 0: the last refresh succeeded. */
int64_t sight_down_since_ms(const struct sight *sight);
const struct err *sight_last_error(const struct sight *sight);
/* True when refreshing has failed for longer than outage_timeout_ms; then *err says so. */
bool sight_outage(const struct sight *sight, struct err *err);

/* The same for any trouble: true when since_ms (monotonic; 0: no trouble) is limit_ms ago or more
 * (0: no limit). Then *err is ERR_OUTAGE with the one sentence, ending in the cause. */
bool sight_outage_since(const char *place, int64_t since_ms, int64_t limit_ms, const char *cause,
                        struct err *err);

#endif
