/* The ledger: for each slot, whether everything that the source acknowledged is proved to be on the
 * target; if not, since when it is not, why, and which work goes on. There is no other notion of
 * "since when": gaps, resync, the deletion sweep, checkpoints of the first copy, the record and the
 * watermark are read from here.
 *
 *            gap                     scan starts         all databases scanned
 *   PROVED ───────▶ OPEN ──────────────────────▶ FORWARD ───────────────────────▶ SWEEP
 *     ▲              ▲ │ only deletions are missing │                              │ │
 *     │              │ └────────────────────────────┼──────────────────────────────┘ │ too many
 *     │              └── gap again (from any state) ┘              counted, deleted  │ deletions
 *     │                                                                 │            ▼
 *     └──── a barrier sent afterwards has passed ◀── settled ◀──────────┘           HELD
 *                                                             SWEEP ◀── released ────┘
 *
 * "Settled" is a time within FORWARD (where no deletions can be missing) or SWEEP: nothing is left
 * to do, and a barrier must show that the lanes have done it. A slot that is held and gets a gap is
 * copied as any other, and is HELD again behind that.
 *
 * Databases that came into use later stand in a short list beside the slots.
 *
 * Pure: no clock, no thread, no server. Control thread.
 */
#ifndef LONGHAUL_LIVE_LEDGER_H
#define LONGHAUL_LIVE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/slot.h"

struct ledger;

enum ledger_state { LEDGER_PROVED, LEDGER_OPEN, LEDGER_FORWARD, LEDGER_SWEEP, LEDGER_HELD };

enum { LEDGER_TEXT_MAX = 256 };

/* A gap that opens. */
struct ledger_gap {
    struct moment since; /* proved before; MOMENT_NEVER: nothing is */
    bool first_copy; /* nothing was copied before: since is MOMENT_NEVER, no change was missed */
    bool forward;    /* changes may be missing: the source is scanned */
    bool whole;      /* every key is copied, idle or not */
    bool sweep;      /* deletions may be missing: the target is scanned */
    const char *place, *why;
};

struct ledger *ledger_new(void);
/* Leaves NULL. */
void ledger_free(struct ledger **ledger);

/* True when everything was proved before it. */
bool ledger_open_gap(struct ledger *l, const struct slot_set *slots, const struct ledger_gap *gap);
/* The same for one database that came into use; it is scanned whole, and needs no sweep. */
void ledger_open_database(struct ledger *l, int db, struct moment since);

/* OPEN slots of these become FORWARD. *whole: to be copied as if nothing were on the target; *used:
 * by their use. Those where only deletions are missing go to SWEEP, and are in neither. */
void ledger_begin_scan(struct ledger *l, const struct slot_set *slots, struct slot_set *whole,
                       struct slot_set *used);
/* FORWARD slots that no scan is left for (they are not in `pending`) go on. now: settled since. */
void ledger_end_scan(struct ledger *l, const struct slot_set *pending, struct moment now);
void ledger_end_database(struct ledger *l, int db, struct moment now);

/* Slots that wait for a sweep: in SWEEP, not held, not settled. */
struct slot_set ledger_sweep_due(const struct ledger *l);
/* Their deletions were counted and given to the lanes. Slots that have a gap again are left
 * alone. */
void ledger_end_sweep(struct ledger *l, const struct slot_set *slots, struct moment now);
/* Deletions there are held; stays so until released, through gaps and restarts. */
void ledger_hold(struct ledger *l, const struct slot_set *slots, struct moment since);
/* Held no more; a sweep follows. */
void ledger_release(struct ledger *l, const struct slot_set *slots);

/* A barrier of every node, sent at this moment, has passed: the slots that were settled before are
 * proved. True when no other slot was left to prove. */
bool ledger_prove(struct ledger *l, struct moment passed);

/* ---- asking ---- */

enum ledger_state ledger_state_of(const struct ledger *l, uint16_t slot);
struct slot_set ledger_slots_in(const struct ledger *l, enum ledger_state state);
bool ledger_is_proved(const struct ledger *l);
/* All of these slots are, and no database has a gap. */
bool ledger_are_proved(const struct ledger *l, const struct slot_set *slots);
/* The beginning of the oldest gap: the watermark goes no further. MOMENT_NONE: all is proved. */
struct moment ledger_since(struct ledger *l);
/* The oldest moment since which changes may be missing in the copied slots; other than
 * ledger_since(), a first copy that goes on undisturbed does not count. A checkpoint of the first
 * copy goes no further. MOMENT_NONE: none are missing. */
struct moment ledger_changes_since(struct ledger *l);
/* Some slot was never copied whole. */
bool ledger_first_copy_goes_on(const struct ledger *l);
/* Gaps of one cause as one, the oldest first; false when there is no i-th. */
struct ledger_view {
    struct moment since;
    unsigned slots;
    const char *place, *why; /* good until the ledger changes */
};
bool ledger_explain(const struct ledger *l, size_t i, struct ledger_view *view);

#endif
