/* Between follow.c, follow_calls.c and follow_gap.c (control thread) and follow_feed.c (the feeds'
 * threads). */
#ifndef LONGHAUL_LIVE_FOLLOW_PRIV_H
#define LONGHAUL_LIVE_FOLLOW_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "capture/feed.h"
#include "copy/gather.h"
#include "engine/worker.h"
#include "live/follow.h"
#include "server/watch.h"

enum {
    FOLLOW_BARRIERS = 16, /* of one node, on their way through the lanes */
    FOLLOW_STAMPS = 8
};

/* The same moment by all clocks. */
struct follow_stamp {
    int64_t mono_us;
    struct moment at;
};

/* A barrier on its way through the lanes. */
struct barrier {
    struct follow_node *node;
    struct moment sent;
    _Atomic int left;        /* lanes that have not reached it; 0: not in use */
    struct lane_mark *marks; /* one per lane; owned */
};

/* Databases that names are given in. Never changed: a longer list takes its place. */
struct follow_databases {
    struct follow_databases *former; /* somebody may still read it */
    size_t n;
    int dbs[];
};

/* Told by the feed to the control thread: under the follow's lock. */
struct follow_told {
    bool muted;              /* a loss or a flush is not dealt with yet: no barrier counts */
    struct moment heard;     /* proved by the last barrier that was answered, as far as it counts */
    struct moment confirmed; /* of the last barrier that was answered, announced changes alone */
    struct moment settled;   /* commands from before it that no capture announces are followed */
    bool unsettled;          /* some may have been called since */
    bool counts;             /* the server shows its counters to the feed */
    int64_t noticed_us;      /* counters were found changed, clock_boot_us() */
    bool noticed_others;     /* others than those of consumer groups; no sample was asked for yet */
    struct moment passed;    /* of the last barrier that all lanes have reached */
    struct server_info info;
    uint64_t established, lost, flushes, waits;
    struct moment established_at;
    struct moment lost_heard;  /* the last barrier before the first loss that is not dealt with */
    struct moment flush_heard; /* the same of a flush */
    struct err why;
};

/* The counts of follow_told that the control thread has dealt with. */
struct follow_seen {
    uint64_t established, lost, flushes, waits;
};

/* See follow_gap.h. */
struct follow_evidence {
    struct evidence latest, next, anchor, base;
    bool has_latest, has_next, has_anchor, has_base;
    bool base_spoilt; /* idle times since the base mean nothing */
};

struct follow_node {
    struct follow *follow;
    struct address primary, reader;
    char place[ADDRESS_HOST_MAX + 32]; /* of the reader */
    struct worker *worker;
    struct feed *feed; /* worker's thread, as the stamps */
    struct follow_stamp stamps[FOLLOW_STAMPS];
    unsigned next_stamp;
    uint64_t calls[SAMPLE_CALLS]; /* as the last barrier found them; worker's thread */
    bool calls_known;
    struct barrier barriers[FOLLOW_BARRIERS];

    struct follow_told told;

    /* Control. */
    struct watch *watch;
    struct follow_seen seen;
    bool listed, hearing, watch_stale;
    struct moment hearing_since;
    bool ready; /* hearing, and sampled since then */
    int64_t
        ask_after_us; /* a sample that makes it ready was asked for after this, clock_boot_us() */
    char run_id[RUN_ID_MAX], replid[RUN_ID_MAX];
    bool unknown_process; /* nobody knows it: no evidence names it */
    bool deletions_allowed;
    struct moment appeared;         /* when it became one whose deletions are not allowed */
    int64_t groups_ms;              /* streams were polled */
    int64_t hurried_ms, hurried_us; /* a sample was asked for because of changed counters */
    struct moment confirmed_before; /* `confirmed` at the last sample */
    int64_t scan_after_ms;          /* not before */
    int64_t poll_after_us; /* a sample asked for later polls all there is; 0: none is wanted */
    /* The last sample: when it was asked for, and when its finds were with ledger and lanes. Where
     * barriers bring counters they do not pass a sample before its finds are there. */
    struct moment polled, given;
    int64_t silent_since_ms; /* when commands that announce nothing were first seen; 0: never */
    struct gather_load load;

    struct follow_evidence evidence;
    bool gap_whole;   /* the process is another one: every key */
    bool flush_waits; /* for a sample that tells which databases are empty */
    bool resumes;     /* its gap is an interrupted first copy whose cursors are good */
    struct follow_node *next_node;
};

struct follow {
    struct follow_settings settings;
    char boot_id[EVIDENCE_BOOT_ID_MAX];
    bool resumed;
    _Atomic bool deaf; /* changed names are dropped */
    pthread_mutex_t lock;
    _Atomic int feeds;                  /* not ended yet */
    struct follow_node *nodes, *former; /* former: kept until the workers have ended */
    struct follow_node *owner[SLOT_COUNT];
    _Atomic int64_t used_since_us[SLOT_COUNT]; /* by the owner's clock; 0: copy every key */
    struct moment topology_seen;

    _Atomic(struct follow_databases *) dbs;
    int *new_dbs; /* under lock: found by a feed, not yet taken */
    size_t n_new_dbs;
    _Atomic bool any_new_dbs;

    struct follow_order *orders;
    size_t n_orders;
    bool functions_changed;
    bool functions_open; /* and are not copied yet */
    _Atomic int64_t changed_us;

    struct { /* of a former run */
        char address[ADDRESS_HOST_MAX + 32];
        struct evidence evidence;
    } * remembered;
    size_t n_remembered;
};

/* ---- follow_feed.c: on the worker's thread of the node ---- */

void follow_feed_start(struct follow_node *node);
void follow_feed_stop(struct follow_node *node);
/* Breaks the connection; the feed comes back by itself. */
void follow_feed_break(struct follow_node *node);

#endif
