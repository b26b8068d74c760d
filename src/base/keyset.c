/* The dirty set: a hash table of pointers to entries, and through the queued ones a list in the
 * order of naming.
 *
 *   cells   [ h,e ][  ·  ][ h,e ][ h,e ][  ·  ] ...     every entry, in any state
 *               │             │      └──────────┐
 *   queue   head ▶ entry ◀▶ entry ◀ tail     entry       in flight: in the table, not in the queue
 *
 * The table is open addressing with linear probing. The hash stands beside the pointer, so that
 * probing, growing and removing touch no entry that is not meant; removing shifts the followers
 * back, so that there are no tombstones and a set through which millions of keys pass stays as
 * quick as a new one. It doubles at 3/4 and shrinks when nearly empty: a burst of keys must not
 * hold its memory for ever.
 *
 * Epochs are counted in a ring, from the oldest with something outstanding to the present one:
 * naming and ending cost an increment and a decrement, and a mark is reached when the oldest has
 * moved past it.
 *
 * Entries come and go by the million and are mostly of the same size: those that are done are kept,
 * within a bound, for the next ones.
 *
 * The seed is random: clients of the source choose the keys, and must not be able to
 * pile up.
 */
#include "base/keyset.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    EPOCHS_MIN = 16,
    CELLS_MIN = 256,
    SHRINK_BELOW = 16, /* shrink when less than 1/16 of the cells is used */
    SHRINK_BY = 4,     /* leaves it at most 1/4 full: far from both bounds */
    /* a table that was this large had entries worth giving back to the system */
    TRIM_FROM_CELLS = 1 << 18,
    SPARE_STEP = 16,
    SPARE_SIZES = 16, /* entries up to 256 bytes are kept for the next key of that size */
#ifdef __SANITIZE_ADDRESS__
    SPARE_BYTES_MAX = 0 /* so that an entry that is used after its end is found */
#else
    SPARE_BYTES_MAX = 1 << 20
#endif
};

struct cell {
    uint64_t hash;
    struct key_entry *entry; /* NULL: empty */
};

struct keyset {
    struct cell *cells;
    size_t n_cells; /* a power of two */
    size_t n_entries;
    size_t n_queued;
    size_t entry_bytes;
    uint64_t seed;
    struct key_entry *head;
    struct key_entry *tail;
    /* obligations per epoch; a ring, by epoch modulo n_epochs */
    size_t *outstanding;
    uint32_t n_epochs;                    /* a power of two */
    uint32_t oldest, epoch;               /* every count outside of them is zero; they may wrap */
    struct key_entry *spare[SPARE_SIZES]; /* by size; see cost_of() */
    size_t spare_bytes;
};

static uint64_t random_seed(void) {
    uint64_t seed;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = (uint64_t)clock_wall_us();
    return seed;
}

struct keyset *keyset_new(void) {
    struct keyset *set = mem_zalloc(sizeof(*set));
    set->n_cells = CELLS_MIN;
    set->cells = mem_zalloc(set->n_cells * sizeof(struct cell));
    set->seed = random_seed();
    set->n_epochs = EPOCHS_MIN;
    set->outstanding = mem_zalloc(set->n_epochs * sizeof(*set->outstanding));
    return set;
}

static void free_spares(struct keyset *set) {
    for (size_t i = 0; i < SPARE_SIZES; i++) {
        while (set->spare[i] != NULL) {
            struct key_entry *next = set->spare[i]->next;
            free(set->spare[i]);
            set->spare[i] = next;
        }
    }
    set->spare_bytes = 0;
}

void keyset_free(struct keyset **set) {
    if (*set == NULL) return;
    free_spares(*set);
    for (size_t i = 0; i < (*set)->n_cells; i++) free((*set)->cells[i].entry);
    free((*set)->cells);
    free((*set)->outstanding);
    free(*set);
    *set = NULL;
}

/* ---- epochs ---- */

static size_t *epoch_count(struct keyset *set, uint32_t epoch) {
    return &set->outstanding[epoch & (set->n_epochs - 1)];
}

static uint32_t keyset_begin_obligation(struct keyset *set) {
    ++*epoch_count(set, set->epoch);
    return set->epoch;
}

static void keyset_end_obligation(struct keyset *set, uint32_t epoch) {
    assert(*epoch_count(set, epoch) > 0);
    --*epoch_count(set, epoch);
    while (set->oldest != set->epoch && *epoch_count(set, set->oldest) == 0) set->oldest++;
}

static void grow_epochs(struct keyset *set) {
    struct keyset old = *set;
    set->n_epochs *= 2;
    set->outstanding = mem_zalloc(set->n_epochs * sizeof(*set->outstanding));
    for (uint32_t e = old.oldest; e != old.epoch + 1; e++)
        *epoch_count(set, e) = *epoch_count(&old, e);
    free(old.outstanding);
}

uint32_t keyset_mark(struct keyset *set) {
    /* Nothing arose since the last mark: this one is reached with it. So marks alone take no room.
     */
    if (*epoch_count(set, set->epoch) == 0) return set->epoch - 1;
    if (set->epoch - set->oldest + 1 == set->n_epochs) grow_epochs(set);
    return set->epoch++;
}

bool keyset_reached(const struct keyset *set, uint32_t mark) {
    return (int32_t)(set->oldest - mark) > 0;
}

void keyset_start_at(struct keyset *set, uint32_t epoch) {
    assert(set->n_entries == 0);
    set->oldest = set->epoch = epoch;
}

/* ---- the table ---- */

static uint64_t hash_key(const struct keyset *set, int32_t db, struct bytes key) {
    return XXH3_64bits_withSeed(key.ptr, key.len,
                                set->seed + (uint32_t)db * UINT64_C(0x9e3779b97f4a7c15));
}

/* Bytes that malloc takes for an entry of a key: its header, and the rounding to 16. */
static size_t cost_of(size_t key_len) {
    return (sizeof(struct key_entry) + key_len + sizeof(size_t) + 15) & ~(size_t)15;
}

static bool is_key(const struct key_entry *e, int32_t db, struct bytes key) {
    return e->db == db && bytes_equal(key_entry_bytes(e), key);
}

/* The cell of the key, or the empty cell where it would go. */
static size_t find_cell(const struct keyset *set, uint64_t hash, int32_t db, struct bytes key) {
    size_t i = hash & (set->n_cells - 1);
    while (set->cells[i].entry != NULL) {
        if (set->cells[i].hash == hash && is_key(set->cells[i].entry, db, key)) return i;
        i = (i + 1) & (set->n_cells - 1);
    }
    return i;
}

static void keyset_resize(struct keyset *set, size_t n_cells) {
    struct cell *cells = mem_array(NULL, n_cells, sizeof(struct cell));
    memset(cells, 0, n_cells * sizeof(struct cell));
    for (size_t i = 0; i < set->n_cells; i++) {
        if (set->cells[i].entry == NULL) continue;
        size_t to = set->cells[i].hash & (n_cells - 1);
        while (cells[to].entry != NULL) to = (to + 1) & (n_cells - 1);
        cells[to] = set->cells[i];
    }
    free(set->cells);
    set->cells = cells;
    set->n_cells = n_cells;
}

static void shrink_if_nearly_empty(struct keyset *set) {
    if (set->n_cells <= CELLS_MIN || set->n_entries >= set->n_cells / SHRINK_BELOW) return;
    bool was_huge = set->n_cells >= TRIM_FROM_CELLS;
    keyset_resize(set, set->n_cells / SHRINK_BY > CELLS_MIN ? set->n_cells / SHRINK_BY : CELLS_MIN);
    if (!was_huge) return;
    /* free() keeps small blocks inside the heap; only this gives their pages back. */
    free_spares(set);
    malloc_trim(0);
}

/* Empties a cell and moves back those behind it that had to step over it. */
static void remove_cell(struct keyset *set, size_t hole) {
    size_t mask = set->n_cells - 1;
    for (size_t i = (hole + 1) & mask; set->cells[i].entry != NULL; i = (i + 1) & mask) {
        size_t home = set->cells[i].hash & mask;
        /* May stay where its home lies cyclically behind the hole. */
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        set->cells[hole] = set->cells[i];
        hole = i;
    }
    set->cells[hole] = (struct cell){ 0 };
}

/* ---- the queue ---- */

static void enqueue(struct keyset *set, struct key_entry *e) {
    e->state = KEY_QUEUED;
    e->next = NULL;
    e->prev = set->tail;
    if (set->tail != NULL)
        set->tail->next = e;
    else
        set->head = e;
    set->tail = e;
    set->n_queued++;
}

static void unqueue(struct keyset *set, struct key_entry *e) {
    if (e->prev != NULL)
        e->prev->next = e->next;
    else
        set->head = e->next;
    if (e->next != NULL)
        e->next->prev = e->prev;
    else
        set->tail = e->prev;
    e->next = e->prev = NULL;
    set->n_queued--;
}

/* ---- keys ---- */

/* All bytes of a class of sizes are there, so that any key of the class fits into any entry of it.
 */
static struct key_entry *take_entry(struct keyset *set, size_t key_len) {
    size_t cost = cost_of(key_len), size = cost / SPARE_STEP - 1;
    if (size >= SPARE_SIZES) return mem_alloc(sizeof(struct key_entry) + key_len);
    struct key_entry *e = set->spare[size];
    if (e == NULL) return mem_alloc(cost - sizeof(size_t));
    set->spare[size] = e->next;
    set->spare_bytes -= cost;
    return e;
}

static void give_entry(struct keyset *set, struct key_entry *e) {
    size_t cost = cost_of(e->len), size = cost / SPARE_STEP - 1;
    if (size >= SPARE_SIZES || set->spare_bytes + cost > SPARE_BYTES_MAX) {
        free(e);
        return;
    }
    e->next = set->spare[size];
    set->spare[size] = e;
    set->spare_bytes += cost;
}

static struct key_entry *new_entry(struct keyset *set, uint64_t hash, int32_t db, struct bytes key,
                                   uint16_t slot) {
    assert(key.len <= UINT32_MAX);
    struct key_entry *e = take_entry(set, key.len);
    *e = (struct key_entry){ .hash = hash, .len = (uint32_t)key.len, .db = db, .slot = slot };
    if (key.len > 0) memcpy(e->bytes, key.ptr, key.len);
    return e;
}

static size_t cell_of(const struct keyset *set, const struct key_entry *e) {
    size_t i = e->hash & (set->n_cells - 1);
    while (set->cells[i].entry != e) i = (i + 1) & (set->n_cells - 1);
    return i;
}

/* The entry must not be in the queue any more. */
static void keyset_drop(struct keyset *set, struct key_entry *e) {
    remove_cell(set, cell_of(set, e));
    set->n_entries--;
    set->entry_bytes -= cost_of(e->len);
    give_entry(set, e);
    shrink_if_nearly_empty(set);
}

/* The first three are in the order of their strength; see keyset.h. */
enum key_reason keyset_merge_reasons(enum key_reason a, enum key_reason b) {
    enum key_reason stronger = a < b ? a : b;
    if (a == b || stronger <= REASON_BOTH_SIDES) return stronger;
    return a == REASON_IF_MISSING || b == REASON_IF_MISSING ? REASON_BOTH_SIDES : REASON_RESYNC;
}

static uint8_t keyset_merge(uint8_t a, enum key_reason b) {
    return (uint8_t)keyset_merge_reasons((enum key_reason)a, b);
}

static void name_again(struct keyset *set, struct key_entry *e, enum key_reason reason) {
    switch ((enum key_state)e->state) {
    case KEY_QUEUED:
        e->reason = keyset_merge(e->reason, reason);
        return;
    case KEY_IN_FLIGHT:
        e->state = KEY_IN_FLIGHT_DIRTY;
        e->reason_again = (uint8_t)reason;
        e->epoch_again = keyset_begin_obligation(set);
        return;
    case KEY_IN_FLIGHT_DIRTY:
        e->reason_again = keyset_merge(e->reason_again, reason);
        return;
    }
}

bool keyset_name(struct keyset *set, int32_t db, struct bytes key, uint16_t slot,
                 enum key_reason reason) {
    uint64_t hash = hash_key(set, db, key);
    size_t i = find_cell(set, hash, db, key);
    struct key_entry *e = set->cells[i].entry;
    if (e != NULL) {
        name_again(set, e, reason);
        return false;
    }
    e = new_entry(set, hash, db, key, slot);
    e->reason = (uint8_t)reason;
    e->epoch = keyset_begin_obligation(set);
    set->cells[i] = (struct cell){ .hash = hash, .entry = e };
    set->n_entries++;
    set->entry_bytes += cost_of(key.len);
    enqueue(set, e);
    if (set->n_entries > set->n_cells / 4 * 3) keyset_resize(set, set->n_cells * 2);
    return true;
}

struct key_entry *keyset_find(const struct keyset *set, int32_t db, struct bytes key) {
    return set->cells[find_cell(set, hash_key(set, db, key), db, key)].entry;
}

struct key_entry *keyset_peek(struct keyset *set) {
    return set->head;
}

void keyset_each_in_flight(struct keyset *set, void (*fn)(void *ctx, const struct key_entry *entry),
                           void *ctx) {
    for (size_t i = 0; i < set->n_cells; i++) {
        const struct key_entry *e = set->cells[i].entry;
        if (e != NULL && e->state != KEY_QUEUED) fn(ctx, e);
    }
}

struct key_entry *keyset_take(struct keyset *set) {
    struct key_entry *e = set->head;
    if (e == NULL) return NULL;
    unqueue(set, e);
    e->state = KEY_IN_FLIGHT;
    return e;
}

bool keyset_done(struct keyset *set, struct key_entry **entry) {
    struct key_entry *e = *entry;
    *entry = NULL;
    assert(e->state != KEY_QUEUED);
    keyset_end_obligation(set, e->epoch);
    if (e->state == KEY_IN_FLIGHT_DIRTY) {
        /* It was named anew, so it starts anew: the attempts of the flight that succeeded do not
         * count. */
        e->reason = e->reason_again;
        e->epoch = e->epoch_again;
        e->attempts = 0;
        e->flags = 0;
        e->extra = 0;
        e->data = 0;
        enqueue(set, e);
        return true;
    }
    keyset_drop(set, e);
    return false;
}

void keyset_requeue(struct keyset *set, struct key_entry **entry) {
    struct key_entry *e = *entry;
    *entry = NULL;
    assert(e->state != KEY_QUEUED);
    if (e->state == KEY_IN_FLIGHT_DIRTY) {
        e->reason = keyset_merge(e->reason, (enum key_reason)e->reason_again);
        keyset_end_obligation(set, e->epoch_again);
    }
    enqueue(set, e);
}

bool keyset_forget(struct keyset *set, int32_t db, struct bytes key) {
    size_t i = find_cell(set, hash_key(set, db, key), db, key);
    struct key_entry *e = set->cells[i].entry;
    if (e == NULL || e->state != KEY_QUEUED) return false;
    unqueue(set, e);
    keyset_end_obligation(set, e->epoch);
    keyset_drop(set, e);
    return true;
}

size_t keyset_queued(const struct keyset *set) {
    return set->n_queued;
}

size_t keyset_in_flight(const struct keyset *set) {
    return set->n_entries - set->n_queued;
}

size_t keyset_memory_bytes(const struct keyset *set) {
    return sizeof(*set) + set->n_epochs * sizeof(*set->outstanding) +
           set->n_cells * sizeof(struct cell) + set->entry_bytes;
}
