/* The dirty set of a lane: which keys wait to be copied, which are being copied, which changed
 * meanwhile.
 *
 * Keys are (database, bytes). A key that is clean is not in the set. States and moves:
 *
 *      keyset_name()        keyset_take()            keyset_done()
 *   clean ───────▶ queued ───────────────▶ in flight ─────────────▶ clean (entry is freed)
 *                    ▲                        │ keyset_name()
 *                    └──── keyset_done() ── in flight, dirty again
 *
 * At most one copy of a key is ever in flight: that is promise P2, and this file is where it is
 * kept. Not thread-safe: a lane's own.
 */
#ifndef LONGHAUL_BASE_KEYSET_H
#define LONGHAUL_BASE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct keyset;

enum key_state { KEY_QUEUED, KEY_IN_FLIGHT, KEY_IN_FLIGHT_DIRTY };

/* Why a key is named. The reason decides whether the key is copied, and whether its deletion is an
 * order of the source or only a conclusion, which must be counted before it is followed. Named for
 * two reasons at once, a key gets the stronger obligation: see keyset_merge_reasons(). */
enum key_reason {
    /* Capture announced a change, or the user ordered the copy: copied, or deleted if missing. */
    REASON_CHANGED,
    /* The deletion was counted and allowed: deleted if still missing, copied if it is back. */
    REASON_DELETE,
    /* Scans of both sides found the key: as REASON_RESYNC and REASON_IF_MISSING. */
    REASON_BOTH_SIDES,
    /* A scan found the key: copied; if it is missing by now, that is a conclusion. */
    REASON_RESYNC,
    /* As REASON_RESYNC, but only if the key was accessed since the gap of its slot began. */
    REASON_IF_USED,
    /* A scan of the target found the key: copied never, asked whether it is missing. */
    REASON_IF_MISSING,
    /* A stream: copied only if its groups changed since the last poll. */
    REASON_GROUPS,
    KEY_REASONS
};

/* The one reason that stands for both. REASON_CHANGED and REASON_DELETE, which copy and delete, are
 * stronger than all others; two different ones of the rest copy the key, and keep in mind that the
 * target has it. */
enum key_reason keyset_merge_reasons(enum key_reason a, enum key_reason b);

/* One key. Its address is stable while it is in the set. The fields below `attempts` are for the
 * user of the set, zero when the key is named; the set itself never looks at them. */
struct key_entry {
    struct key_entry *next; /* in the queue, or for the user while in flight */
    struct key_entry *prev; /* likewise */
    uint64_t hash;
    uint32_t len;
    int32_t db;
    uint8_t state;        /* enum key_state */
    uint8_t reason;       /* enum key_reason, of the present obligation */
    uint8_t reason_again; /* of the next one, while in flight and dirty */
    uint32_t epoch;       /* in which the present obligation arose; see keyset_mark() */
    uint32_t epoch_again; /* of the next one */
    uint16_t attempts;
    uint16_t slot;
    uint32_t flags;
    uint32_t extra;
    uint64_t data;
    char bytes[];
};

static inline struct bytes key_entry_bytes(const struct key_entry *e) {
    return bytes_of(e->bytes, e->len);
}

struct keyset *keyset_new(void);
/* Frees the set and every entry, in any state. Leaves NULL. */
void keyset_free(struct keyset **set);

/* Marks: a mark ends an epoch, and is reached when every obligation (a queued key, a flight, a
 * flight that is to be repeated) that arose in it or before has ended: then all names given before
 * the mark are served. */
uint32_t keyset_mark(struct keyset *set);
/* Is the mark that keyset_mark() returned reached? Asked in the order of the marks; they may wrap.
 */
bool keyset_reached(const struct keyset *set, uint32_t mark);

/* Numbers the epochs from here on, in an empty set: for tests, which cannot wait for them to wrap.
 */
void keyset_start_at(struct keyset *set, uint32_t epoch);

/* Names a key: clean becomes queued (at the tail), in flight becomes in flight and dirty. A key
 * that is queued or dirty already keeps its place and its epoch; only the reason is merged.
 * True when the key was clean, so that the caller can count. slot is stored
 * for the user's convenience. */
bool keyset_name(struct keyset *set, int32_t db, struct bytes key, uint16_t slot,
                 enum key_reason reason);

/* The key's entry, in any state; NULL when it is clean. */
struct key_entry *keyset_find(const struct keyset *set, int32_t db, struct bytes key);

/* The entry at the head of the queue, still queued; NULL when none waits. */
struct key_entry *keyset_peek(struct keyset *set);

/* Takes the head of the queue into flight; NULL when none waits. */
struct key_entry *keyset_take(struct keyset *set);

/* Ends a flight. Acknowledged and not dirty: the key is clean, the entry freed, false is returned.
 * Dirty, it is queued again with the reason and the epoch of its second naming (attempts, flags,
 * extra and data are zero) and true is returned. *entry is NULL afterwards in both cases. */
bool keyset_done(struct keyset *set, struct key_entry **entry);

/* Ends a flight without success: the key is queued again, at the tail. attempts, flags and data are
 * kept. Was it dirty, the two obligations become one: of the older epoch, their reasons merged. */
void keyset_requeue(struct keyset *set, struct key_entry **entry);

/* Takes a queued key out of the set, from any place in the queue; false when it is not queued. */
bool keyset_forget(struct keyset *set, int32_t db, struct bytes key);

size_t keyset_queued(const struct keyset *set);
size_t keyset_in_flight(const struct keyset *set);
/* Memory that the set takes, entries and table together. */
size_t keyset_memory_bytes(const struct keyset *set);

#endif
