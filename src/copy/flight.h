/* The part of a lane that reading and writing see.
 *
 *   lane ── flight_begin ──▶ reader ─▶ values ─▶ writer ─▶ acknowledged
 *    ▲                          │                  │
 *    └── done, failed, missing, stage, park, requeue: struct flight_calls, which the lane fills in
 *
 * struct lane begins with a struct flight and is private to lane*.c. Everything here is of the
 * lane's thread. A key is in flight from the moment the lane takes it up until exactly one of
 * flight_done(), _failed(), _missing(), _unwanted(), _park() or _requeue() has been called for it;
 * flight_stage() and flight_wait_turn() hand it to its next step of reading.
 */
#ifndef LONGHAUL_COPY_FLIGHT_H
#define LONGHAUL_COPY_FLIGHT_H

#include "base/block.h"
#include "base/keyset.h"
#include "copy/estimate.h"
#include "copy/plan.h"
#include "copy/pool.h"
#include "copy/stats.h"
#include "net/loop.h"

/* Steps of reading a key. */
enum stage {
    STAGE_STRINGS,
    STAGE_MEASURE,
    STAGE_DUMP,
    STAGE_TYPE,
    STAGE_USED,   /* REASON_IF_USED */
    STAGE_EXISTS, /* REASON_IF_MISSING, KEY_PROBE */
    STAGE_GROUPS, /* REASON_GROUPS */
    STAGE_TRANSFER
};

/* key_entry.flags */
enum key_flag {
    KEY_ALONE = 1 << 0,      /* no MGET or MSET: such a one failed because of another key */
    KEY_ASK_SOURCE = 1 << 1, /* once, with ASKING */
    KEY_ASK_TARGET = 1 << 2,
    KEY_MEASURED = 1 << 3, /* its size is known, in data */
    KEY_NOT_STRING = 1 << 4,
    KEY_TYPED = 1 << 5,
    KEY_GONE = 1 << 6,        /* its deletion was sent to the target */
    KEY_LARGE = 1 << 7,       /* in pieces */
    KEY_PROBE = 1 << 11,      /* the target is full: only asked whether it is to be deleted */
    KEY_STAGE_SHIFT = 8,      /* 3 bits: the stage that follows */
    KEY_TYPE_SHIFT = 12,      /* 4 bits: enum value_type of the value that was sent */
    KEY_COUNT_ALL = 1 << 16,  /* its size is asked for once more, of all elements */
    KEY_SENT_APART = 1 << 17, /* a suspect under way; see copy/suspect.h */
    KEY_LOSSES_SHIFT = 18,    /* 4 bits: connections of the target lost with it under way */
    KEY_LOSSES_MAX = 15,
    KEY_LOSSES_MASK = KEY_LOSSES_MAX << KEY_LOSSES_SHIFT,
    KEY_SUSPECT_LOSSES = 2, /* from here on it is a suspect */
};

static inline enum stage key_stage(const struct key_entry *e) {
    return (enum stage)((e->flags >> KEY_STAGE_SHIFT) & 7);
}
static inline void key_set_stage(struct key_entry *e, enum stage stage) {
    e->flags = (e->flags & ~(7u << KEY_STAGE_SHIFT)) | (uint32_t)stage << KEY_STAGE_SHIFT;
}
static inline enum value_type key_type(const struct key_entry *e) {
    return (enum value_type)((e->flags >> KEY_TYPE_SHIFT) & 15);
}
static inline void key_set_type(struct key_entry *e, enum value_type type) {
    e->flags = (e->flags & ~(15u << KEY_TYPE_SHIFT)) | (uint32_t)type << KEY_TYPE_SHIFT;
}

static inline unsigned key_losses(const struct key_entry *e) {
    return (e->flags >> KEY_LOSSES_SHIFT) & KEY_LOSSES_MAX;
}
static inline void key_set_losses(struct key_entry *e, unsigned n) {
    e->flags = (e->flags & ~(uint32_t)KEY_LOSSES_MASK) | (uint32_t)n << KEY_LOSSES_SHIFT;
}
static inline bool key_is_suspect(const struct key_entry *e) {
    return key_losses(e) >= KEY_SUSPECT_LOSSES;
}

struct key_list {
    struct key_entry *head, *tail;
};

static inline void key_list_add(struct key_list *list, struct key_entry *entry) {
    entry->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = entry;
    } else {
        list->head = entry;
    }
    list->tail = entry;
}

/* A value as it was read. */
struct fetched {
    struct key_entry *entry;
    struct bytes value;
    struct block *block; /* holds value; the reference is the reader's */
    int64_t expiry_ms;   /* absolute; -1: none */
    bool is_payload;     /* DUMP's, else the bytes of a string */
};

struct flight;

/* See the wrappers below. */
struct flight_calls {
    void (*schedule)(struct flight *flight);
    void (*stage)(struct flight *flight, struct key_entry *entry, enum stage stage);
    void (*wait_turn)(struct flight *flight, struct key_entry *entry);
    void (*values)(struct flight *flight, const struct fetched *const *values, size_t n);
    void (*copied)(struct flight *flight, struct key_entry *entry);
    void (*done)(struct flight *flight, struct key_entry *entry);
    void (*failed)(struct flight *flight, struct key_entry *entry, struct pool_node *node,
                   const struct err *err);
    void (*missing)(struct flight *flight, struct key_entry *entry, const struct client *source);
    void (*unwanted)(struct flight *flight, struct key_entry *entry, const struct client *source);
    void (*target_typed)(struct flight *flight, struct key_entry *entry, struct bytes type);
    void (*park)(struct flight *flight, struct key_entry *entry);
    void (*park_unowned)(struct flight *flight, struct key_entry *entry, struct pool *side);
    void (*requeue)(struct flight *flight, struct key_entry *entry);
    void (*copy_after_all)(struct flight *flight, struct key_entry *entry);
    void (*node_works)(struct flight *flight, const struct pool_node *node);
    void (*node_deleted)(struct flight *flight, const struct pool_node *node);
    void (*name)(struct flight *flight, int db, struct bytes key, uint16_t slot,
                 enum key_reason reason);
};

struct flight {
    const struct copy_plan *plan;
    struct loop *loop;
    int index; /* of the lane */
    struct pool *source, *target;
    struct copy_stats stats;
    struct estimate estimate;
    struct transfers *transfers;
    struct databases *databases; /* of the target; see copy/database.h */
    struct streams *streams;     /* whose groups are polled; NULL unless live */
    uint64_t cut_off_bytes; /* values from here on the target cut the connection off; 0: none */
    bool target_full;       /* more waits to be written than half the budget */
    bool closing;           /* the lane is being freed: nothing is to be called any more */
    const struct flight_calls *calls;
};

/* Asked as late as can be before commands are written to a target. */
static inline bool flight_may_write(const struct flight *flight) {
    return flight->plan->may_write == NULL || flight->plan->may_write(flight->plan->ctx);
}

/* The node of the target to write the key to; NULL when nobody owns its slot. It may be not ready.
 */
static inline struct pool_node *flight_target(const struct flight *flight,
                                              const struct key_entry *entry) {
    struct pool_node *node = pool_route(flight->target, entry->slot);
    return node != NULL && key_is_suspect(entry) ? pool_twin(node) : node;
}

/* Is there room to read a value of this size now? Always when nothing is being read. */
static inline bool flight_has_room(const struct flight *flight, uint64_t bytes) {
    return !flight->target_full && estimate_has_room(&flight->estimate, bytes);
}

/* The stage that reads keys which are no strings, or may be none. Where sizes are not told, a
 * transfer finds out by the length. */
static inline enum stage flight_value_stage(const struct flight *flight) {
    const struct copy_plan *plan = flight->plan;
    bool unmeasured = plan->big_key_bytes > 0 && !plan->can.source_memory_usage;
    return plan->structured || unmeasured ? STAGE_TRANSFER : STAGE_DUMP;
}

/* Is the key's size asked for before it is read? One that failed before may have failed because of
 * its size. */
static inline bool flight_measures_first(const struct flight *flight,
                                         const struct key_entry *entry) {
    if (!flight->plan->can.source_memory_usage) return false;
    return flight->plan->mem_limit_bytes > 0 || estimate_measures(&flight->estimate) ||
           entry->attempts > 0;
}

/* The lane looks for work at the end of the loop's round. */
static inline void flight_schedule(struct flight *flight) {
    flight->calls->schedule(flight);
}
/* The key's next step of reading is `stage`. */
static inline void flight_stage(struct flight *flight, struct key_entry *entry, enum stage stage) {
    flight->calls->stage(flight, entry, stage);
}
/* The key's value waits for flight_has_room(). */
static inline void flight_wait_turn(struct flight *flight, struct key_entry *entry) {
    flight->calls->wait_turn(flight, entry);
}
/* Values were read: they go to the target. The keys are taken over, the bytes only borrowed. */
static inline void flight_values(struct flight *flight, const struct fetched *const *values,
                                 size_t n) {
    flight->calls->values(flight, values, n);
}
/* The target has acknowledged the key (key_type(), entry->data; KEY_GONE: its deletion): counted
 * and done. */
static inline void flight_copied(struct flight *flight, struct key_entry *entry) {
    flight->calls->copied(flight, entry);
}
/* The key is served, and nothing is to be counted. */
static inline void flight_done(struct flight *flight, struct key_entry *entry) {
    flight->calls->done(flight, entry);
}
/* An error of a key, on node, which may be NULL: the one place where errors are decided. */
static inline void flight_failed(struct flight *flight, struct key_entry *entry,
                                 struct pool_node *node, const struct err *err) {
    flight->calls->failed(flight, entry, node, err);
}
/* The key is missing on the source, as this connection says. */
static inline void flight_missing(struct flight *flight, struct key_entry *entry,
                                  const struct client *source) {
    flight->calls->missing(flight, entry, source);
}
/* The key is there, and the filters leave it out: its type is none of --key-type, or it is larger
 * than --mem-limit. */
static inline void flight_unwanted(struct flight *flight, struct key_entry *entry,
                                   const struct client *source) {
    flight->calls->unwanted(flight, entry, source);
}
/* The target has the key as one of this type, as TYPE says. */
static inline void flight_target_typed(struct flight *flight, struct key_entry *entry,
                                       struct bytes type) {
    flight->calls->target_typed(flight, entry, type);
}
/* Waits until a node comes back, the topology changes, or the retry timer fires. */
static inline void flight_park(struct flight *flight, struct key_entry *entry) {
    flight->calls->park(flight, entry);
}
/* The same, as nobody owns its slot: that counts as an outage of the side. */
static inline void flight_park_unowned(struct flight *flight, struct key_entry *entry,
                                       struct pool *side) {
    flight->calls->park_unowned(flight, entry, side);
}
/* Queued again, to be taken up from the start. */
static inline void flight_requeue(struct flight *flight, struct key_entry *entry) {
    flight->calls->requeue(flight, entry);
}
/* A key that was only to be checked is copied, also when that has to be begun anew. */
static inline void flight_copy_after_all(struct flight *flight, struct key_entry *entry) {
    flight->calls->copy_after_all(flight, entry);
}
/* The node did as asked, so its trouble is over. */
static inline void flight_node_works(struct flight *flight, const struct pool_node *node) {
    flight->calls->node_works(flight, node);
}
/* The node has deleted a key, which it can also do when it is out of memory, and has room now. */
static inline void flight_node_deleted(struct flight *flight, const struct pool_node *node) {
    flight->calls->node_deleted(flight, node);
}
/* Names a key of this lane: see lane_name(). */
static inline void flight_name(struct flight *flight, int db, struct bytes key, uint16_t slot,
                               enum key_reason reason) {
    flight->calls->name(flight, db, key, slot, reason);
}

#endif
