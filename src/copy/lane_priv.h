/* Inside of a lane: shared by lane.c (states and errors), lane_live.c (what only live mode needs),
 * fetch.c (reading) and apply.c (writing). */
#ifndef LONGHAUL_COPY_LANE_PRIV_H
#define LONGHAUL_COPY_LANE_PRIV_H

#include <pthread.h>

#include "base/block.h"
#include "base/keyset.h"
#include "copy/bounded.h"
#include "copy/gather.h"
#include "copy/lane.h"
#include "copy/pool.h"
#include "copy/streams.h"
#include "copy/window.h"

enum {
    VALUE_LARGE = 64 * 1024,       /* from here on a value is read with its size known before */
    VALUE_ALONE = 1024 * 1024,     /* from here on it is read by a batch of its own */
    BATCH_BYTES_MAX = 1024 * 1024, /* of measured values in one batch */
    /* keys measured before reading, until the data is known to be small */
    GUARDED_AT_START = 512,
    GUARDED_AFTER_LARGE = 100 * 1000,
    BOUNDED_VALUE_MAX = 4096, /* strings that are larger on average gain nothing by MGET */
    MSET_VALUE_MAX = 16 * 1024,
    LANE_RETRY_MS = 100,
    LANE_LINGER_MS = 4,     /* live: how long a change waits for company */
    LANE_LINGER_KEYS = 400, /* so many need no more */
    /* this part of the memory for names ends gathering, before any are dropped */
    LANE_GATHER_SHARE = 2,
    LANE_HOLD_MIN_MS = 100,
    LANE_HOLD_MAX_MS = 2000,
    LANE_TICK_MS = 250,
    LANE_TELL_MS = 10 * 1000, /* between two lines of log about trouble that comes and goes */
    LANE_TRUST_MS = 1000,
    REDIRECTS_IN_A_ROW = 16, /* then a pause before the next */
    STREAMS_SHARE = 8,       /* this part of the lane's bytes, to remember streams */
    /* OBJECT IDLETIME is in whole seconds, by a clock that is up to a second late */
    IDLE_SLACK_S = 2,
};

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
_Static_assert((int)STAGE_TRANSFER <= (int)POOL_STAGES, "pool_node.building has a place per stage");

/* key_entry.flags */
enum key_flag {
    KEY_ALONE = 1 << 0,      /* no MGET or MSET: such a one failed because of another key */
    KEY_ASK_SOURCE = 1 << 1, /* once, with ASKING */
    KEY_ASK_TARGET = 1 << 2,
    KEY_MEASURED = 1 << 3,
    KEY_NOT_STRING = 1 << 4,
    KEY_TYPED = 1 << 5,
    KEY_GONE = 1 << 6,   /* what was sent to the target is its deletion */
    KEY_LARGE = 1 << 7,  /* in pieces */
    KEY_PROBE = 1 << 11, /* the target is full: looked at only, whether it is to be deleted */
    KEY_STAGE_SHIFT = 8, /* 3 bits: the stage that follows */
    KEY_TYPE_SHIFT = 12, /* 4 bits: enum value_type of what was sent */
};

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

struct lane {
    const struct copy_plan *plan;
    struct loop *loop;
    int index;
    struct keyset *keys;
    struct pool *source, *target;
    struct transfers *transfers;
    struct copy_stats stats;
    struct lane_mark *marks, *last_mark; /* not reached yet */
    pthread_mutex_t losses_lock;
    struct lane_losses losses; /* under losses_lock */
    struct trusted *trusted;
    int64_t trust_checked_ms;
    struct streams *streams; /* NULL unless live */
    bool begun, stopping, failed, kicked, closing;
    /* nodes of the target that may still have what a killed job left; see copy/transfer.h */
    size_t unclean;
    uint64_t leftovers; /* that were removed, and not told yet */

    /* parked: in flight, but nothing can be done until something changes */
    struct key_entry *parked;
    struct loop_timer *retry; /* takes parked keys up again */
    struct loop_timer *tick;  /* outages and gauges */
    struct loop_timer *pace;  /* --rate */
    struct loop_timer *linger;
    bool lingered;           /* what waits has waited for company */
    struct gather_gate gate; /* live, while the source is busy: what waits is read in sweeps */
    struct key_list staged;  /* in flight, waiting for their next step of reading */
    struct key_list turn;    /* in flight, their values too large for the room there is now */

    /* windows */
    struct window window;
    uint64_t reading_bytes; /* expected of the batches that are out or being filled */
    bool target_full;       /* more waits to be written than half the budget */
    double value_bytes;     /* moving average of a value */
    uint64_t values_known;  /* that the average is of */
    double string_share;    /* moving average: how many of the keys are strings */
    uint64_t guarded;       /* keys still to be measured before they are read */
    /* the source's nodes have bounded connections, where that makes sense */
    bool bounded;
    struct bounded_trust trust;
    double tokens;
    int64_t tokens_at_us;

    /* what keeps the target from taking writes */
    int64_t hold_until_ms, hold_ms, trouble_since_ms, trouble_logged_ms;
    struct err trouble;
    bool trouble_told;
};

/* ---- lane.c ---- */

/* Asked as late as can be before commands are written to a target. */
static inline bool lane_may_write(const struct lane *lane) {
    return lane->plan->may_write == NULL || lane->plan->may_write(lane->plan->ctx);
}

static inline enum stage key_stage(const struct key_entry *e) {
    return (enum stage)((e->flags >> KEY_STAGE_SHIFT) & 7);
}
/* The stage that reads what is no string, or may be none. Where sizes are not told, a transfer
 * finds out by the length. */
static inline enum stage lane_value_stage(const struct lane *lane) {
    const struct copy_plan *plan = lane->plan;
    bool unmeasured = plan->big_key_bytes > 0 && !plan->can.source_memory_usage;
    return plan->structured || unmeasured ? STAGE_TRANSFER : STAGE_DUMP;
}
static inline void key_set_stage(struct key_entry *e, enum stage stage) {
    e->flags = (e->flags & ~(7u << KEY_STAGE_SHIFT)) | (uint32_t)stage << KEY_STAGE_SHIFT;
}

/* Looks for work at the end of the round. */
void lane_kick(struct lane *lane);
/* The key's next step of reading is `stage`. */
void lane_stage(struct lane *lane, struct key_entry *entry, enum stage stage);
/* Is there room to read a value of this size now? Always when nothing is being read. */
bool lane_has_room_for(const struct lane *lane, uint64_t bytes);
/* A string was large, or may have been: from now on their sizes are known before. */
void lane_surprised(struct lane *lane);
/* Is the key's size asked for before it is read? */
bool lane_measures_first(const struct lane *lane, const struct key_entry *entry);
/* Waits for that room. */
void lane_wait_turn(struct lane *lane, struct key_entry *entry);
/* A key that was named to be looked at is copied after all, also when that has to be begun anew. */
void lane_copy_after_all(struct lane *lane, struct key_entry *entry);
/* Queued again, to be taken up from the start. */
void lane_requeue(struct lane *lane, struct key_entry *entry);
/* Waits until a node comes back, the topology changes, or the retry timer fires. */
void lane_park(struct lane *lane, struct key_entry *entry);
/* The key is copied, deleted or skipped. */
void lane_key_done(struct lane *lane, struct key_entry *entry);
/* The key is missing on the source, as this connection says: the one place that decides whether it
 * is deleted. */
void lane_key_missing(struct lane *lane, struct key_entry *entry, const struct client *source);
/* The one place where errors of a key are decided. node may be NULL. */
void lane_key_failed(struct lane *lane, struct key_entry *entry, struct pool_node *node,
                     const struct err *err);
/* Parks a key whose slot nobody owns now; that counts as an outage of the side. */
void lane_park_unowned(struct lane *lane, struct key_entry *entry, struct pool *side);
/* The node did what it was asked: whatever kept it from working is over. */
void lane_node_works(struct lane *lane, const struct pool_node *node);
/* The node has deleted a key: it can do that also when it is out of memory, and may have room now.
 */
void lane_node_deleted(struct lane *lane, const struct pool_node *node);

/* ---- lane_live.c ---- */

void lane_live_init(struct lane *lane);
void lane_live_fini(struct lane *lane);
void lane_serve_marks(struct lane *lane);
/* A change of this slot was dropped, a deletion there was put off: see struct lane_losses. */
void lane_lose_name(struct lane *lane, uint16_t slot);
void lane_defer_deletion(struct lane *lane, uint16_t slot);
/* Is what this connection does not find to be deleted on the target? */
bool lane_trusts(const struct lane *lane, const struct client *source);
/* Does it lead to the process that is to be read? Then what it does not find is counted, before
 * anybody decides whether its deletions are believed. */
bool lane_expects(const struct lane *lane, const struct client *source);
/* Breaks all connections to processes other than those that are trusted. */
void lane_check_trust(struct lane *lane);
/* Breaks a connection to another process than the one that is trusted. */
void lane_break_untrusted(const struct lane *lane, struct client *source);
/* The target has acknowledged the key, by type or as gone. */
void lane_note_type(struct lane *lane, const struct key_entry *entry);

/* ---- fetch.c ---- */

/* Puts a key into the batch of its node; sends that when it is full. */
void fetch_add(struct lane *lane, struct key_entry *entry);
/* Sends what is being filled. */
void fetch_flush(struct lane *lane);
/* The node goes away: what is being filled for it is parked. */
void fetch_forget_node(struct lane *lane, struct pool_node *node);

/* ---- apply.c ---- */

/* A value as it was read. */
struct fetched {
    struct key_entry *entry;
    struct bytes value;
    struct block *block; /* holds value; the reference is the batch's */
    int64_t expiry_ms;   /* absolute; -1: none */
    bool is_payload;     /* DUMP's, else the bytes of a string */
};

/* Sends the values of one batch to the target; takes over the keys. */
void apply_values(struct lane *lane, const struct fetched *const *values, size_t n);
/* The target has acknowledged the key: it is counted, by type and size (KEY_TYPE_SHIFT, data), and
 * done. */
void apply_acknowledged(struct lane *lane, struct key_entry *entry);
/* Deletes the key on the target; takes it over. */
void apply_deletion(struct lane *lane, struct key_entry *entry);

#endif
