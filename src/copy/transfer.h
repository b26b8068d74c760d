/* Copying keys by the commands of their types: large ones in pieces, and every one where DUMP and
 * RESTORE are not used.
 *
 *   small    TYPE, the whole value, expiry ──────────▶ MULTI, UNLINK key, HSET.., PEXPIREAT, EXEC
 *   large    WATCH, TYPE, length ─▶ piece ─▶ piece ──▶ HSET.. to a temporary key in the same slot
 *                    ─▶ MULTI, length, expiry, EXEC: null if the key changed; then it begins again
 *                    ─▶ MULTI, UNLINK key, RENAME temporary key, PEXPIREAT, EXEC
 *   stream   as large, but MULTI reads its end and its length: it may grow and be trimmed meanwhile
 *
 * A reader of the target sees the old value or the new one, and the new one is a value that the key
 * really had. A lane copies one large key at a time, with at most two pieces unacknowledged; small
 * keys go on beside it.
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
    TRANSFER_UNMEASURED_BYTES = 16 * 1024, /* budgeted for such a key */
};

struct flight;
struct transfers; /* of one lane */
struct cleaner;   /* of one lane */

struct transfers *transfers_new(struct flight *flight);
/* When the lane's pools have been freed; not from within callbacks. Leaves NULL. */
void transfers_free(struct transfers **transfers);

/* Copies a key in flight. The key comes back through flight_copied(), flight_failed() and the like.
 */
void transfers_add(struct transfers *transfers, struct key_entry *entry);
/* At the end of a round: frees ended transfers, begins others again, and, if may_start, starts
 * waiting keys while there is room. */
void transfers_work(struct transfers *transfers, bool may_start);
/* The node is being removed: transfers that use it fail. */
void transfers_forget_node(struct transfers *transfers, struct pool_node *node);
/* True while a running transfer uses the temporary key of this slot. */
bool transfers_use_name(const struct transfers *transfers, int db, uint16_t slot);
/* The slots whose temporary keys are used by running transfers. */
struct slot_set transfers_names(const struct transfers *transfers);
/* The connection for large keys, or NULL. The lane breaks it if another process answers there. */
struct client *transfers_reader(const struct transfers *transfers);
/* Large keys are stopped and queued again, and all that wait. */
void transfers_stop(struct transfers *transfers);

/* Removes the temporary keys that a killed job may have left in the lane's slots, on each node of
 * the target, before anything else is sent there. */
struct cleaner *cleaner_new(struct flight *flight, const struct transfers *transfers);
/* Leaves NULL. */
void cleaner_free(struct cleaner **cleaner);
/* Cleans the listed nodes that are ready and not clean yet; nothing before cleaner_begin(). */
void cleaner_begin(struct cleaner *cleaner);
void cleaner_work(struct cleaner *cleaner);
/* Before a node is freed. */
void cleaner_forget_node(struct cleaner *cleaner, const struct pool_node *node);
/* Nodes that have not answered yet. */
size_t cleaner_nodes_left(const struct cleaner *cleaner);

#endif
