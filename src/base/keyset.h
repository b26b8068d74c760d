/* The dirty set of a lane: which keys wait to be copied, which are being copied, which changed meanwhile.
 *
 * Keys are (database, bytes). A key that is clean is not in the set. States and moves (DESIGN 3):
 *
 *      keyset_name()        keyset_take()            keyset_done()
 *   clean ───────▶ queued ───────────────▶ in flight ─────────────▶ clean (entry is freed)
 *                    ▲                        │ keyset_name()
 *                    └──── keyset_done() ── in flight, dirty again
 *
 * At most one copy of a key is ever in flight: that is promise P2, and this file is where it is kept.
 * Not thread-safe: a lane's own.
 */
#ifndef LONGHAUL_BASE_KEYSET_H
#define LONGHAUL_BASE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct keyset;

enum key_state { KEY_QUEUED, KEY_IN_FLIGHT, KEY_IN_FLIGHT_DIRTY };

/* One key. Its address is stable while it is in the set. The fields below `attempts` are for the user of the
 * set, zero when the key is named; the set itself never looks at them. */
struct key_entry {
    struct key_entry *next; /* in the queue, or for the user while in flight */
    struct key_entry *prev; /* likewise */
    uint64_t hash;
    uint32_t len;
    int32_t db;
    enum key_state state;
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
/* Frees the set and every entry, in whatever state. Leaves NULL. */
void keyset_free(struct keyset **set);

/* Names a key: clean becomes queued (at the tail), in flight becomes in flight and dirty; otherwise nothing.
 * True when the key was clean, so that the caller can count. slot is stored for the user's convenience. */
bool keyset_name(struct keyset *set, int32_t db, struct bytes key, uint16_t slot);

/* The entry at the head of the queue, still queued; NULL when none waits. */
struct key_entry *keyset_peek(struct keyset *set);

/* Takes the head of the queue into flight; NULL when none waits. */
struct key_entry *keyset_take(struct keyset *set);

/* Ends a flight. Acknowledged and not dirty: the key is clean, the entry freed, false is returned. Dirty, it is
 * queued again as if named just now (attempts, flags and data are zero) and true is returned. *entry is NULL
 * afterwards in both cases. */
bool keyset_done(struct keyset *set, struct key_entry **entry);

/* Ends a flight without success: the key is queued again, at the tail. attempts, flags and data are kept. */
void keyset_requeue(struct keyset *set, struct key_entry **entry);

/* Takes a queued key from wherever it stands out of the set, whatever happens to be its place; false when it is
 * not queued. */
bool keyset_forget(struct keyset *set, int32_t db, struct bytes key);

size_t keyset_queued(const struct keyset *set);
size_t keyset_in_flight(const struct keyset *set);
/* What the set holds in memory, entries and table together. */
size_t keyset_memory_bytes(const struct keyset *set);

#endif
