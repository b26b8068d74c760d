/* The sweep: keys that the target has and the source does not. One round at a time, over all slots
 * that wait for one in the ledger, once nothing is left to copy:
 *
 *   IDLE ─▶ SCANNING: passes over the target name keys, lanes ask the source for each
 *        ─▶ SETTLING: until the lanes have asked for all ─▶ counted per process of the source
 *        ├─ within --max-delete: DELETING, named to the lanes, which read once more ─▶ IDLE
 *        └─ beyond: HELD with an id, until an order that names it; then the round is done again
 *
 * Missing keys are spooled to a file and counted before any is deleted. A key that this job never
 * copied is never deleted unasked: a census before the first copy remembers the keys that the
 * target has and the source does not (extra.h); later rounds leave them alone.
 */
#ifndef LONGHAUL_LIVE_SWEEP_H
#define LONGHAUL_LIVE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "live/extra.h"
#include "live/follow.h"

struct sweep;

/* --extra: keys of the target that this job never copied and the source does not have. */
enum sweep_extra { SWEEP_EXTRA_HOLD, SWEEP_EXTRA_DELETE, SWEEP_EXTRA_KEEP };

struct sweep_settings {
    struct engine *engine;
    struct ledger *ledger;
    struct follow *follow;
    const struct event_sink *events;
    double max_delete_percent;
    enum sweep_extra extra;
    const char *spool_dir; /* NULL: TMPDIR */
    uint64_t epoch;        /* of the lease: makes ids of holds unique */
};

struct sweep *sweep_new(const struct sweep_settings *settings);
/* Once the workers have ended. Leaves NULL. */
void sweep_free(struct sweep **sweep);

void sweep_step(struct sweep *s);
/* Census: before anything is copied, the keys of the target that the source does not have are
 * remembered as not the job's. sweep_census_is_done() once it is over, or was not begun. */
void sweep_begin_census(struct sweep *s, const struct slot_set *slots);
bool sweep_census_is_done(const struct sweep *s);
/* Keys of the target that are not the job's. Control thread, while no round runs. */
struct extra *sweep_extra_keys(struct sweep *s);
/* How many there are; also while a round runs. */
uint64_t sweep_count_extra(struct sweep *s);

/* A lane found that the source's process does not have this key. Any thread. False: the key could
 * not be kept. */
bool sweep_on_missing(struct sweep *s, int db, struct bytes key, uint16_t slot);
/* A key of the target was named. Any thread. */
void sweep_on_named(struct sweep *s, uint16_t slot);

/* Deletions that wait for an operator. */
enum hold_cause { HOLD_MISSING, HOLD_EXTRA };
enum { HOLD_ID_MAX = 64 };
struct hold {
    char id[HOLD_ID_MAX];
    enum hold_cause cause;
    char place[ADDRESS_HOST_MAX + 32]; /* of the source's process */
    struct slot_set slots;
    uint64_t deletions, seen;
    struct moment since;
};
size_t sweep_holds(const struct sweep *s, const struct hold **holds);
/* A hold of a former run stays one. Before the first round. */
void sweep_restore_hold(struct sweep *s, const struct hold *hold);
/* An order names the hold; at most as many keys are deleted as it has counted. False: there is no
 * such hold. */
bool sweep_release(struct sweep *s, const char *id);

#endif
