/* A lane: copies the keys of one fixed part of the slots from source to target, on one event loop,
 * sharing nothing.
 *
 *      lane_name()               connections of the lane alone
 *   names ──▶ keyset (queued) ─▶ fetch: batches ─▶ apply: commands ─▶ acknowledged
 *                 ▲              of one node         to one node
 *                 │                  │ failed, redirected │
 *                 └──────────────────┴─ parked, or queued again
 *
 * A key stays with its lane when its slot changes its owner, so that failovers and resharding
 * cannot bring two copies of it into flight. Windows bound keys, bytes being read, and bytes
 * waiting to be written. Errors are handled per error class (base/errors.def) in one place,
 * lane_key_failed().
 */
#ifndef LONGHAUL_COPY_LANE_H
#define LONGHAUL_COPY_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/keyset.h"
#include "base/slot.h"
#include "copy/plan.h"
#include "copy/stats.h"
#include "net/loop.h"

struct lane;

/* Connects to both sides. The plan's abilities (can), structured and target_dbs may be filled in
 * until lane_begin(), or until the first key is named. */
struct lane *lane_new(struct loop *loop, const struct copy_plan *plan, int index);
/* The target may be written to: removes temporary keys of a killed job in the lane's slots, before
 * anything else is sent there. Where nothing is to be removed it need not be called. On the lane's
 * thread. */
void lane_begin(struct lane *lane);
/* On the lane's thread, or when that has ended. Leaves NULL. */
void lane_free(struct lane **lane);

/* Names a key: it is copied as it is found then, or only checked, as the reason says. On the
 * lane's thread. */
void lane_name(struct lane *lane, int db, struct bytes key, uint16_t slot, enum key_reason reason);

/* A mark among the names: reached(ctx) is called on the lane's thread once every name given before
 * it has been served and the lane has no untaken losses. In order. Owned by the lane's caller until
 * then. */
struct lane_mark {
    void (*reached)(struct lane_mark *mark);
    void *ctx;              /* the caller's */
    uint32_t epoch;         /* the lane's */
    struct lane_mark *next; /* the lane's */
};
void lane_put_mark(struct lane *lane, struct lane_mark *mark);

/* Work that a live lane had to drop, by slot. Taking it is a duty to do it: no mark is reached
 * before. Any thread. */
struct lane_losses {
    struct slot_set dropped; /* changes were dropped here: their names had no room in memory */
    /* keys are missing on a server process whose deletions are not allowed: not deleted */
    struct slot_set deferred;
    bool any;
};
bool lane_take_losses(struct lane *lane, struct lane_losses *losses);

/* The server process that is to be read at this address of the source. A connection to another
 * process is broken and made anew. Deletions of keys that are missing there are deferred, unless
 * it is this process and `deletions` is true. On the lane's thread. */
void lane_trust(struct lane *lane, const struct address *address, const char *run_id,
                bool deletions);

/* Looks at the groups of all streams known to the lane (REASON_GROUPS): some consumer group may
 * have been used. On the lane's thread. */
void lane_check_groups(struct lane *lane);

/* The pictures of the deployments may have changed. On the lane's thread. */
void lane_update(struct lane *lane);

/* No new keys are taken into flight; those in flight are finished. On the lane's thread. */
void lane_stop(struct lane *lane);

struct loop *lane_loop(struct lane *lane);
const struct copy_stats *lane_stats(const struct lane *lane);

#endif
