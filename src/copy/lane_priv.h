/* Inside of a lane: shared by lane.c (states and errors), lane_live.c (live mode),
 * fetch.c (reading) and apply.c (writing). */
#ifndef LONGHAUL_COPY_LANE_PRIV_H
#define LONGHAUL_COPY_LANE_PRIV_H

#include <pthread.h>

#include "copy/flight.h"
#include "copy/foreign.h"
#include "copy/gather.h"
#include "copy/lane.h"
#include "copy/streams.h"
#include "copy/suspect.h"
#include "copy/window.h"

enum {
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
    LANE_KEY_TOLD = 256, /* bytes of a key in a line of log */
    FOREIGN_SHARE = 8, /* this part of the lane's bytes, for names of keys that are not the job's */
    REDIRECTS_IN_A_ROW = 16, /* then a pause before the next */
    STREAMS_SHARE = 8,       /* this part of the lane's bytes, to remember streams */
};

_Static_assert((int)STAGE_TRANSFER <= (int)POOL_STAGES, "pool_node.building has a place per stage");

struct lane {
    struct flight flight; /* first: a flight leads to its lane */
    struct keyset *keys;
    struct cleaner *cleaner;             /* removes temporary keys of a killed job */
    struct lane_mark *marks, *last_mark; /* not reached yet */
    pthread_mutex_t losses_lock;
    struct lane_losses losses; /* under losses_lock */
    struct trusted *trusted;
    int64_t trust_checked_ms;
    struct foreign *foreign; /* keys of the target that are not the job's; NULL unless live */
    int64_t unwanted_told_ms;
    bool stopping, failed, kicked;

    /* parked: in flight, but nothing can be done until something changes */
    struct key_entry *parked;
    struct loop_timer *retry; /* takes parked keys up again */
    struct loop_timer *tick;  /* outages and gauges */
    struct loop_timer *pace;  /* --rate */
    struct loop_timer *linger;
    bool lingered;            /* the queued keys have waited for company */
    struct gather_gate gate;  /* live, while the source is busy: queued keys are read in sweeps */
    struct key_list staged;   /* in flight, waiting for their next step of reading */
    struct suspects suspects; /* in flight, waiting to be sent apart from others */
    struct key_list turn;     /* in flight, their values too large for the room there is now */

    /* windows */
    struct window window;
    /* the source's nodes have bounded connections, where that makes sense */
    bool bounded;
    double tokens;
    int64_t tokens_at_us;

    /* trouble that keeps the target from taking writes */
    int64_t hold_until_ms, hold_ms, trouble_since_ms, trouble_logged_ms;
    struct err trouble;
    /* the node that is in trouble; NULL: any node that works ends the trouble */
    const struct pool_node *trouble_node;
    bool trouble_told;
};

static inline struct lane *lane_of(struct flight *flight) {
    return (struct lane *)flight;
}

/* ---- lane.c ---- */

/* Asked as late as can be before commands are written to a target. */
static inline bool lane_may_write(const struct lane *lane) {
    return flight_may_write(&lane->flight);
}

/* Looks for work at the end of the round. */
void lane_kick(struct lane *lane);
/* The key's next step of reading is `stage`. */
void lane_stage(struct lane *lane, struct key_entry *entry, enum stage stage);
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
/* The key is there, and the filters leave it out: the one place that decides about the copy of it
 * that the target may have. */
void lane_key_unwanted(struct lane *lane, struct key_entry *entry, const struct client *source);
void lane_target_typed(struct lane *lane, struct key_entry *entry, struct bytes type);
/* The one place where errors of a key are decided. node may be NULL. */
void lane_key_failed(struct lane *lane, struct key_entry *entry, struct pool_node *node,
                     const struct err *err);
/* Parks a key whose slot nobody owns now; that counts as an outage of the side. */
void lane_park_unowned(struct lane *lane, struct key_entry *entry, struct pool *side);
/* The node did as asked, so its trouble is over. */
void lane_node_works(struct lane *lane, const struct pool_node *node);
/* The node has deleted a key: it can do that also when it is out of memory, and may have room now.
 */
void lane_node_deleted(struct lane *lane, const struct pool_node *node);

/* ---- lane_ends.c ---- */

/* Ends the job. */
void lane_fail(struct lane *lane, const struct err *err);
/* The target has acknowledged the key: counted, and done. */
void lane_acknowledged(struct lane *lane, struct key_entry *entry);

/* ---- lane_live.c ---- */

void lane_live_init(struct lane *lane);
void lane_live_fini(struct lane *lane);
void lane_serve_marks(struct lane *lane);
/* A change of this slot was dropped, a deletion there was put off: see struct lane_losses. */
void lane_lose_name(struct lane *lane, uint16_t slot);
void lane_defer_deletion(struct lane *lane, uint16_t slot);
/* True if keys that are missing on this connection may be deleted on the target. */
bool lane_trusts(const struct lane *lane, const struct client *source);
/* True if it is connected to the expected server process: keys missing there are reported, whether
 * or not lane_trusts() allows deleting them. */
bool lane_expects(const struct lane *lane, const struct client *source);
/* Breaks all connections to processes other than those that are trusted. */
void lane_check_trust(struct lane *lane);
/* Breaks a connection to another process than the one that is trusted. */
void lane_break_untrusted(const struct lane *lane, struct client *source);
/* The target has acknowledged the key, by type or as gone. */
void lane_note_type(struct lane *lane, const struct key_entry *entry);

/* ---- fetch.c ---- */

/* Puts a key into the batch of its node; sends that when it is full. */
void fetch_add(struct flight *flight, struct key_entry *entry);
/* Sends the batches that are being filled. */
void fetch_flush(struct flight *flight);
/* The node goes away: keys of batches that are being filled for it are parked. */
void fetch_forget_node(struct flight *flight, struct pool_node *node);

/* ---- apply.c ---- */

/* Sends the values of one batch to the target; takes over the keys. */
void apply_values(struct flight *flight, const struct fetched *const *values, size_t n);
/* Asks the target for the key's type: flight_target_typed(). Takes the key over. */
void apply_ask_type(struct flight *flight, struct key_entry *entry);
/* Deletes the key on the target; takes it over. */
void apply_deletion(struct flight *flight, struct key_entry *entry);

#endif
