/* The plan of a copy: abilities of both sides, the way of values, and the lane's callbacks. Shared
 * by all lanes of a job and never changed once they have begun. */
#ifndef LONGHAUL_COPY_PLAN_H
#define LONGHAUL_COPY_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "copy/accept.h"
#include "copy/filter.h"
#include "copy/giveup.h"
#include "server/deployment.h"

/* Abilities that a lane may rely on, tried before the copy starts. */
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
    struct accept accept;     /* payloads that the target's RESTORE takes */
};

/* --preserve-idle: the idle time or frequency that RESTORE gets. */
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
    /* all that are written to when the lane begins: temporary keys of a killed job go there */
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
    /* REASON_IF_USED: when the slot's gap began, by the clock of the server process that owns it;
     * 0: not known, the key is copied */
    int64_t (*used_since_us)(void *ctx, uint16_t slot);
    /* A named key is missing on the source, and neither a change nor an order asks for its
     * deletion (see enum key_reason). The lane does not delete it: the callee counts it, and names
     * it as REASON_DELETE later. False: the name could not be kept; the lane then reports the slot
     * as one with deferred deletions. run_id: of the process that lacks the key. NULL (nothing is
     * counted): the lane deletes it. */
    bool (*on_missing)(void *ctx, int db, struct bytes key, uint16_t slot, const char *run_id);
    /* Has the slot been swept since the process started, so that on the target keys which are not
     * the job's copies are known to the lane? NULL: yes. */
    bool (*is_swept)(void *ctx, uint16_t slot);
    /* lane_take_losses() has something new */
    void (*on_losses)(void *ctx);
    void (*request_refresh)(void *ctx, struct deployment *side);
    void (*on_failed)(void *ctx, const struct err *err);
    void *ctx;
};

/* Which lane a slot belongs to. */
static inline int lane_of_slot(const struct copy_plan *plan, uint16_t slot) {
    return slot * plan->lanes / SLOT_COUNT;
}

#endif
