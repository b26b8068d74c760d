/* A lane: copies the keys of one fixed part of the slots from source to target, on one event loop,
 * sharing nothing.
 *
 *            lane_name()                                                  lane's own connections
 *   names ───────────────▶ keyset (queued) ─▶ fetch: batches per node ─▶ apply: commands per node ─▶ acknowledged
 *                              ▲                      │ failed, redirected        │
 *                              └──────────────────────┴── parked / queued again ──┘
 *
 * A key belongs to the same lane whatever its slot's owner, so that failovers and resharding cannot
 * bring two copies of it into flight. Windows bound keys, bytes being read, and bytes waiting to be
 * written. What goes wrong is decided per error class (base/errors.def) in one place,
 * lane_key_failed().
 */
#ifndef LONGHAUL_COPY_LANE_H
#define LONGHAUL_COPY_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/keyset.h"
#include "base/slot.h"
#include "copy/accept.h"
#include "copy/filter.h"
#include "copy/giveup.h"
#include "copy/stats.h"
#include "net/loop.h"
#include "server/deployment.h"

struct lane;

/* What a lane may rely on, found out by trying before the copy starts. */
struct copy_abilities {
    bool source_pexpiretime;  /* else PTTL and TIME */
    bool source_memory_usage; /* else sizes are unknown before reading */
    bool source_getrange;     /* strings of unknown size are read with a bound */
    bool source_spans_slots;  /* one MGET may name keys of any slot: standalone */
    bool target_set_pxat;     /* else strings with expiry travel as DUMP and RESTORE */
    bool target_spans_slots;  /* the same for MSET */
    bool dump;                /* DUMP on the source, RESTORE on the target */
    bool source_field_ttl;    /* fields of hashes may expire there: HPEXPIRETIME */
    bool target_field_ttl;    /* HPEXPIREAT */
    bool same_listpacks;      /* both sides write listpacks alike; see rdb/portable.h */
    struct accept accept;     /* what the target's RESTORE takes */
};

/* --preserve-idle: what RESTORE is told of a key's use. */
enum copy_preserve { PRESERVE_NONE, PRESERVE_IDLE, PRESERVE_FREQ };

/* Shared by all lanes, never changed once they have begun. Borrowed. */
struct copy_plan {
    struct deployment *source, *target;
    const struct key_filter *filter;
    struct copy_abilities can;
    int lanes;
    bool typed; /* types must be asked for: the filter names several, or SCAN cannot filter */
    bool no_ttl;
    enum copy_preserve preserve;
    bool dry_run;
    bool log_keys;
    bool never_delete; /* a key that the source does not have stays on the target */
    int target_db;     /* -1: the same number as on the source */
    /* all that are written to when the lane begins: what a killed job left there is removed */
    const int *target_dbs;
    size_t n_target_dbs;
    size_t batch_keys; /* keys read by one batch */
    /* keys in flight per lane; 0: as many as the way to the target holds */
    size_t window_keys;
    size_t max_args;          /* words in one command */
    uint64_t lane_bytes;      /* budget of a lane for values being read and written */
    uint64_t mem_limit_bytes; /* 0: none */
    uint64_t big_key_bytes;   /* from here on a value is copied in pieces; 0: never */
    bool structured;          /* by the commands of each type, not by DUMP and RESTORE */
    bool merge;               /* structured: add to hashes, sets and sorted sets that are there */
    /* structured: entries of streams get new ids; their groups stay behind */
    bool no_stream_id;
    bool stream_prune;         /* structured: streams without entries are not copied */
    double rate;               /* keys a second per lane; 0: unlimited */
    int64_t outage_timeout_ms; /* 0: for ever */
    struct giveup *giveup;
    /* changes are captured: streams and reconnections are kept track of, see below */
    bool live;
    /* live: memory for waiting names per lane; beyond it new ones are dropped */
    uint64_t names_bytes_max;

    /* Called from lane threads; those behind `live` only then. */
    /* false: nothing is started (the lease is not held) */
    bool (*may_write)(void *ctx);
    /* how long changes are gathered; 0: the source is not busy */
    int64_t (*gather_ms)(void *ctx);
    /* REASON_IF_USED: monotonic ms at which the slot's gap began */
    int64_t (*gap_since_ms)(void *ctx, uint16_t slot);
    /* A named key is missing on the source, and neither a change nor an order asks for its
     * deletion (see enum key_reason). The lane does not delete it: the callee counts it, and names
     * it as REASON_DELETE later. False: the name could not be kept; the lane then reports the slot
     * as one with deferred deletions. run_id: of the process that lacks the key. NULL (nothing is
     * counted): the lane deletes it. */
    bool (*on_missing)(void *ctx, int db, struct bytes key, uint16_t slot, const char *run_id);
    /* lane_take_losses() has something new */
    void (*on_losses)(void *ctx);
    void (*request_refresh)(void *ctx, struct deployment *side);
    void (*on_failed)(void *ctx, const struct err *err);
    void *ctx;
};

/* Connects to both sides. What the plan says of abilities and of the way of copying (can,
 * structured) and of target_dbs may be filled in until lane_begin(), or until the first key is
 * named. */
struct lane *lane_new(struct loop *loop, const struct copy_plan *plan, int index);
/* The target may be written to: removes what a killed job left in the lane's slots, before anything
 * else is sent there. Where nothing is to be removed it need not be called. On the lane's thread.
 */
void lane_begin(struct lane *lane);
/* On the lane's thread, or when that has ended. Leaves NULL. */
void lane_free(struct lane **lane);

/* Which lane a slot belongs to. */
int lane_of_slot(const struct copy_plan *plan, uint16_t slot);

/* Names a key: it is copied as it is found then, or only checked, as the reason says. On the
 * lane's thread. */
void lane_name(struct lane *lane, int db, struct bytes key, uint16_t slot, enum key_reason reason);

/* A mark among the names: reached(ctx) is called on the lane's thread once every name given before
 * it has been served and the lane has no untaken losses. In order. Owned by the lane's caller until
 * then. */
struct lane_mark {
    void (*reached)(struct lane_mark *mark);
    void *ctx;              /* the caller's */
    uint32_t epoch;         /* the lane's */
    struct lane_mark *next; /* the lane's */
};
void lane_put_mark(struct lane *lane, struct lane_mark *mark);

/* Work that a live lane had to drop, by slot. Taking it is a duty to do it: no mark is reached
 * before. Any thread. */
struct lane_losses {
    struct slot_set dropped; /* changes were dropped here: their names had no room in memory */
    /* keys are missing on a server process whose deletions are not allowed: not deleted */
    struct slot_set deferred;
    bool any;
};
bool lane_take_losses(struct lane *lane, struct lane_losses *losses);

/* The server process that is to be read at this address of the source. A connection to another
 * process is broken and made anew. What is found gone is deferred, unless it is this process that
 * says so and `deletions` is true. On the lane's thread. */
void lane_trust(struct lane *lane, const struct address *address, const char *run_id,
                bool deletions);

/* Looks at the groups of all streams known to the lane (REASON_GROUPS): some consumer group may
 * have been used. On the lane's thread. */
void lane_check_groups(struct lane *lane);

/* The pictures of the deployments may have changed. On the lane's thread. */
void lane_update(struct lane *lane);

/* No new keys are taken into flight; those in flight are finished. On the lane's thread. */
void lane_stop(struct lane *lane);

struct loop *lane_loop(struct lane *lane);
const struct copy_stats *lane_stats(const struct lane *lane);

#endif
