/* The lease of a job on the target: at most one process writes at any time.
 *
 *   longhaul:{JOB}:lease   "EPOCH OWNER", expires after the lease's length; "EPOCH -": given back
 *   longhaul:{JOB}:epoch   the number of the last holder
 *
 * The lease is changed by compare-and-set of that one key: EVAL, or where EVAL is refused WATCH,
 * MULTI and EXEC. Both keys lie in one slot; ASK is followed while that slot is half moved.
 *
 * Why two holders never write:
 * - A holder may write until nine tenths of a lease after it sent its last successful renewal, by
 *   its own clock, and only while its connection to the lease's node stands: a broken connection
 *   ends the right at once, until a renewal on the next one.
 * - A newcomer that finds a lease given back, or held by a process that is known to be dead, takes
 *   the lease. A newcomer that finds no lease although there was a holder (expired, evicted, the
 *   target's clock stepped, lost by a failover) ends the connections of former holders (CLIENT KILL
 *   by their names, which hold the job), takes the lease, waits for the length of a lease, ends
 *   those connections again, and only then writes. If the lease is lost during the wait, the
 *   newcomer starts again from the beginning.
 * - A lease that a newcomer finds without an expiry, or with a longer one than a lease can have
 *   (PERSIST, the target's clock set back), gets the expiry of a lease: a holder that runs renews
 *   it, and a dead one's ends.
 * - A holder whose right has ended by its clock is a newcomer, but for its epoch: a later epoch
 *   means that another process held the lease meanwhile, and the job is lost.
 */
#ifndef LONGHAUL_STORE_LEASE_H
#define LONGHAUL_STORE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "server/deployment.h"

struct lease;

enum { LEASE_DEFAULT_MS = 10 * 1000 };

/* The last holder, as far as it is known before the lease is taken. */
struct lease_former {
    /* A process that is known to be dead (the lock of its state directory was free): its lease may
     * be taken at once. NULL or "": none. */
    const char *dead_owner;
    /* The epoch that it had, 0: unknown. If no later one is known, there is nothing to wait for. */
    uint64_t dead_epoch;
    /* The length of the former holder's lease (job_record.lease_ms), 0: unknown. If it is longer
     * than our own, a newcomer waits that long. */
    int64_t lease_ms;
};

/* owner: "host:pid:random". lease_ms: LEASE_DEFAULT_MS, or shorter in tests. db: the database of
 * the record. */
struct lease *lease_new(struct deployment *target, int db, const char *job, const char *owner,
                        int64_t lease_ms);
/* Takes the lease, or waits for it as a standby: on_wait is called with the present holder, once
 * for each. former may be NULL. While the target is down, the wait goes on. False: interrupted
 * (ERR_INTERRUPTED by call_set_interrupt()'s flag), or an error that waiting does not mend. From
 * then on the lease is renewed whenever the loop runs. Until then the connection to the lease's
 * node is called "longhaul-standby:JOB:OWNER". A call: see server/call.h. */
bool lease_acquire(struct lease *lease, const struct lease_former *former,
                   void (*on_wait)(void *ctx, const char *holder), void *ctx, uint64_t *epoch,
                   struct err *err);
/* "longhaul:JOB:EPOCH", once it is acquired: the name that every connection that writes to the
 * target must have (CLIENT SETNAME), so that a successor can end it. Good for the lease's life. */
const char *lease_client_name(const struct lease *lease);
/* From now on a loss is told, also one that happened since the lease was acquired: on_lost is
 * called once, from the loop. */
void lease_start(struct lease *lease, void (*on_lost)(void *ctx, const char *holder), void *ctx);
/* From now on on_gone is called, from the loop, each time the lease or its epoch is found gone from
 * the target although nobody can have removed it in order: the target's server lost data. slot: of
 * the lease. */
void lease_watch_gone(struct lease *lease, void (*on_gone)(void *ctx, uint16_t slot), void *ctx);
/* May the holder write now? Any thread. */
bool lease_may_write(const struct lease *lease);
/* The target's topology may have changed. Not from within the lease's callbacks. */
void lease_update_topology(struct lease *lease);
/* Ends the right to write and gives the lease back; at most timeout_ms. */
void lease_give_back(struct lease *lease, int64_t timeout_ms);
/* Leaves NULL; NULL is ignored. */
void lease_free(struct lease **lease);

#endif
