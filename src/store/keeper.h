/* Keeps a live job's record and its lease on the target. On the control loop; never waits, but for
 * keeper_read(), keeper_acquire() and keeper_end().
 *
 *   longhaul:{TAG}:state        on every primary of the target: a hash, one field per job, the record as JSON.
 *                               TAG makes it fall into the lowest slot that the primary owns.
 *   longhaul:{JOB}:lease        one per job: "EPOCH OWNER", with an expiry of the lease's length
 *   longhaul:{JOB}:epoch        counts the holders
 *   longhaul:{JOB}:order        "release TIME": written by `longhaul resume`; gone after KEEPER_ORDER_S
 *
 * A writer that was stopped and comes back must not write any more: keeper_may_write() says no once
 * the lease has run out by the holder's own clock (counted from before the renewal was sent, with a
 * margin), and whoever takes a lease ends the connections of all former holders (CLIENT LIST,
 * CLIENT KILL by their name, which holds job and epoch).
 *
 * The lease is changed by compare-and-set: EVAL, or where that is refused WATCH, MULTI and EXEC. A
 * target that lost it (a restart without persistence, a failover) is given it again by the holder,
 * unless somebody else has it now, or had it meanwhile: the epoch tells.
 */
#ifndef LONGHAUL_STORE_KEEPER_H
#define LONGHAUL_STORE_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "server/deployment.h"
#include "store/record.h"

struct keeper;

enum {
    KEEPER_LEASE_MS = 10 * 1000,
    KEEPER_WRITE_MS = 1000,
    KEEPER_ORDER_S = 24 * 3600,
    KEEPER_JOBS_MAX = 1000, /* of one target */
    KEEPER_NAME_MAX = 128
};

/* The same as key_is_own() of copy/filter.h. */
bool keeper_owns_key(struct bytes key);

/* What the target knows of a job, from all its primaries: the newest record, its watermark the
 * oldest of them all and 0 where a primary has none. *found says whether there is any. A call: see
 * server/call.h. */
bool keeper_read(struct deployment *target, int db, const char *job, struct job_record *record,
                 bool *found, struct err *err);
/* All jobs that the target knows, one after the other, by name. lease_held: some process is at work
 * on it, or was just now. */
typedef void keeper_job_fn(void *ctx, const struct job_record *record, bool lease_held);
bool keeper_read_all(struct deployment *target, int db, keeper_job_fn *fn, void *ctx,
                     struct err *err);
/* `longhaul resume`: held deletions of the job may go on. False when the target knows no such job.
 */
bool keeper_order_release(struct deployment *target, int db, const char *job, struct err *err);

/* owner: "host:pid:random". lease_ms: KEEPER_LEASE_MS, or shorter in tests. */
struct keeper *keeper_new(struct deployment *target, int db, const char *job, const char *owner,
                          int64_t lease_ms);
/* Takes the lease, or waits for it as a standby: on_wait is called with the present holder, once
 * for each. predecessor: an owner that is known to be dead (its state directory's lock was free),
 * whose lease may be taken at once; NULL for none. While the target is down it goes on waiting.
 * False: interrupted (ERR_INTERRUPTED by call_set_interrupt()'s flag), or what waiting does not
 * mend. From then on the lease is renewed whenever the loop runs. */
bool keeper_acquire(struct keeper *keeper, const char *predecessor,
                    void (*on_wait)(void *ctx, const char *holder), void *ctx, uint64_t *epoch,
                    struct err *err);
/* "longhaul:JOB:EPOCH", once it is acquired: what every connection that writes to the target must
 * be named (CLIENT SETNAME), so that a successor can end it. Good for the keeper's life. */
const char *keeper_client_name(const struct keeper *keeper);
/* From now on also writes the record put last, about every KEEPER_WRITE_MS, and looks for orders. A
 * lease that was lost since it was acquired is told on the loop's next rounds. on_lost is the last
 * that is called; the keeper writes nothing after it. */
void keeper_start(struct keeper *keeper, void (*on_release)(void *ctx),
                  void (*on_lost)(void *ctx, const char *holder), void *ctx);
/* NULL: nothing is written until there is another one. */
void keeper_put(struct keeper *keeper, const struct job_record *record);
/* Any thread. */
bool keeper_may_write(const struct keeper *keeper);
/* Watermark that is on every primary of the target, as acknowledged; 0: none, or one of them was
 * lost since. */
int64_t keeper_written_us(const struct keeper *keeper);
/* The target's topology may have changed. Not from within the keeper's callbacks. */
void keeper_update(struct keeper *keeper);
/* Writes the last record and gives the lease back; at most timeout_ms. */
void keeper_end(struct keeper *keeper, const struct job_record *last, int64_t timeout_ms);
/* Leaves NULL. */
void keeper_free(struct keeper **keeper);

#endif
