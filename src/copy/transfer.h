/* Copying keys by the commands of their types: large ones in pieces, and every one where DUMP and
 * RESTORE are not used.
 *
 *   small    TYPE, the whole value, expiry ─────────────▶ MULTI, UNLINK key, HSET.., PEXPIREAT, EXEC
 *   large    WATCH, TYPE, length ─▶ pieces ─▶ pieces ───▶ HSET.. to a temporary key in the same slot
 *                                     then MULTI, expiry, length, EXEC: null when the key changed, and all begins again
 *                                     then MULTI, UNLINK key, RENAME temporary key, PEXPIREAT, EXEC
 *   stream   as large, but its end is read in one MULTI with its length, so that it may grow and be trimmed meanwhile
 *
 * A reader of the target sees the old value or the new one. What arrives is a value that the key
 * really had. At most one large key at a time per lane, two pieces of it unacknowledged; small ones
 * go on beside it.
 */
#ifndef LONGHAUL_COPY_TRANSFER_H
#define LONGHAUL_COPY_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/keyset.h"
#include "copy/pool.h"
#include "server/deployment.h"

enum {
    TRANSFER_ATTEMPTS = 5, /* of a key that changes while it is read */
    /* small keys at a time per lane: each waits for both sides, and the target may be far */
    TRANSFER_SMALL_MAX = 1000,
    TRANSFER_SMALL_BYTES = 256 * 1024,
    TRANSFER_SMALL_LENGTH = 128,           /* elements, where the source does not tell sizes */
    TRANSFER_UNMEASURED_BYTES = 16 * 1024, /* what such a key is reckoned with */
};

struct lane;
struct transfers; /* a lane's */

struct transfers *transfers_new(struct lane *lane);
/* When the lane's pools have been freed. Leaves NULL. */
void transfers_free(struct transfers **transfers);

/* Copies a key in flight; it comes back through lane_key_done(), lane_key_failed() and the like. */
void transfers_add(struct transfers *transfers, struct key_entry *entry);
/* Starts what waits and has room. */
void transfers_work(struct transfers *transfers);
/* The node goes away: what uses it fails. */
void transfers_forget_node(struct transfers *transfers, struct pool_node *node);
/* Does a transfer that is running use the temporary key of this slot? */
bool transfers_use_name(const struct transfers *transfers, int db, uint16_t slot);
/* The slots whose temporary keys are used by transfers that are running. */
struct slot_set transfers_names(const struct transfers *transfers);
/* Another server process may be trusted at an address: see lane_trust(). */
void transfers_check_trust(struct transfers *transfers);
/* Large keys are broken off and queued again, what waits too. */
void transfers_stop(struct transfers *transfers);

/* Once the lane has begun: removes the temporary keys that a killed job may have left in the lane's
 * slots, on every node of the target that is ready and has not been cleaned. Before anything else
 * is sent there; costs nothing when all is
 * clean. lane->unclean counts the nodes that have not answered. */
void transfers_clean(struct lane *lane);
/* Before a node is freed. */
void transfers_clean_forget(struct lane *lane, struct pool_node *node);

#endif
