/* Inside of a live job; see live.h. */
#ifndef LONGHAUL_LIVE_LIVE_PRIV_H
#define LONGHAUL_LIVE_LIVE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/hist.h"
#include "base/slot.h"
#include "capture/feed.h"
#include "copy/gather.h"
#include "engine/spool.h"
#include "job/replicate_priv.h"
#include "live/live.h"
#include "probe/capture.h"
#include "server/watch.h"
#include "store/job_store.h"
#include "store/lease.h"
#include "store/orders.h"
#include "store/record_writer.h"
#include "store/state.h"

/* Moments before the first and behind the last. */
#define LIVE_NEVER INT64_MIN
#define LIVE_NO_GAP INT64_MAX

enum {
    LIVE_DATABASES_MAX = 1024,
    LIVE_BARRIERS = 16,        /* of one node, on their way through the lanes */
    LIVE_LOOK_MS = 1000,       /* between two looks at a server by INFO, at most */
    LIVE_PUBLISH_MS = 250,     /* between two records handed to the record's writer */
    LIVE_STATE_MS = 2000,      /* between two records written into the state directory */
    LIVE_DRAIN_MS = 30 * 1000, /* how long a stopped job waits for its last watermark */
    LIVE_TELL_MS = 10 * 1000,  /* between two lines of log about the same trouble */
    LIVE_DELETE_BATCH = 10000, /* names of a backward pass handed to the lanes at once */
};

struct live_node;

/* A barrier on its way through the lanes. */
struct barrier {
    struct live_node *node;
    int64_t sent_us;
    _Atomic int left; /* lanes that have not reached it; 0: not in use */
    struct lane_mark marks[JOB_THREADS_MAX];
};

/* A server process of the source that owns slots. */
struct live_node {
    struct live *live;
    struct address primary, reader;
    struct worker *worker;
    struct feed *feed;   /* worker's thread */
    struct watch *watch; /* control */
    struct barrier barriers[LIVE_BARRIERS];
    _Atomic bool muted;       /* a loss is not dealt with yet: no barrier counts */
    _Atomic int64_t heard_us; /* of the last barrier that was answered */
    /* of the last barrier that all lanes have reached; LIVE_NEVER: none */
    _Atomic int64_t passed_us;

    /* Under the live job's lock, written by the feed's thread. */
    struct server_info info;
    uint64_t established, lost, flushes, waits;
    int64_t established_us;
    int64_t lost_heard_us; /* the last barrier before the first loss that is not dealt with */
    struct err why;

    /* Control. */
    uint64_t seen_established, seen_lost, seen_flushes, seen_waits;
    bool listed, hearing;
    int64_t hearing_since_us;
    bool ready; /* hearing, and looked at since then */
    char run_id[RUN_ID_MAX], replid[RUN_ID_MAX];
    /* its deletions are believed when this backward round is over; 0: they are */
    uint64_t trust_round;
    int64_t asked_us;  /* when the look after the establishment was asked for, wall clock */
    int64_t groups_ms; /* streams were looked at, where the commands are not counted */
    bool watch_stale;
    struct gather_load load; /* of the server's main thread */
    /* the last look at the process that is heard; run_id empty: none yet */
    struct watch_look taken;
    int64_t recorded_swaps; /* as the record counted SWAPDB; -1: unknown */
    uint64_t forks;
    int64_t
        /* since then no child process ran: reading and writing touch idle times; LIVE_NO_GAP:
         * unknown */
        quiet_since_us;
    bool policy_is_lfu;
    struct slot_set gap; /* slots that wait for this node to be scanned again */
    bool gap_open, gap_whole;
    bool resumes;      /* its gap is an interrupted first copy */
    bool uses_cursors; /* whose cursors are good */
    int64_t gap_since_us;
    char gap_why[RECORD_TEXT_MAX];
    struct live_node *next;
};

/* A primary of the target. */
struct target_node {
    struct live *live;
    struct address address;
    struct watch *watch;
    bool listed, known;
    bool silent; /* since the last look: whoever answers next may be another process */
    /* the job's watermark at the last look, beyond which it does not go meanwhile */
    int64_t sure_us;
    char run_id[RUN_ID_MAX], replid[RUN_ID_MAX];
    uint64_t awaited_offset; /* the replicas are to reach it; 0: nothing is awaited */
    int64_t awaited_us;      /* then this watermark is safe */
    int64_t last_us;         /* the job's watermark at the last look */
    int64_t safe_us;         /* a failover loses nothing from before; LIVE_NEVER: unknown */
    struct target_node *next;
};

/* How far the first copy has come, on its way through the lanes: see live_checkpoint.c. */
struct checkpoint {
    bool under_way;
    int64_t taken_us, next_ms;
    _Atomic int marks_left;
    struct lane_mark marks[JOB_THREADS_MAX];
    struct job_record noted; /* only its cursors */
};

/* Backward: see live_behind.c. */
enum behind_state { BEHIND_IDLE, BEHIND_SCANNING, BEHIND_SETTLING, BEHIND_DELETING };

struct behind {
    enum behind_state state;
    struct slot_set wanted;  /* to be looked at by the next round */
    struct slot_set ordered; /* of those, and of the held: whose deletions need no guard */
    struct slot_set held;    /* deletions wait for the operator */
    struct slot_set guarded; /* of the present round */
    struct slot_set round;   /* of the present round, all */
    uint64_t rounds;         /* begun */
    bool counting;           /* under the lock: the spool takes further names */
    struct spool *spool;     /* under the live job's lock while a round runs */
    uint64_t gone, gone_guarded, seen_before, seen_guarded_before;
    uint64_t hold_gone, hold_seen;
    _Atomic int marks_left;
    struct lane_mark marks[JOB_THREADS_MAX];
};

struct live {
    struct job *job;
    const struct live_settings *settings;
    pthread_mutex_t lock;
    struct capture_answers capture;

    _Atomic int feeds;                /* not ended yet */
    struct live_node *nodes, *former; /* former: kept until the workers have ended */
    struct target_node *targets;
    bool target_was_silent; /* when they were given up, at the end */
    struct live_node *owner[SLOT_COUNT];
    struct target_node *target_owner[SLOT_COUNT];
    struct behind behind;
    struct checkpoint checkpoint;
    struct job_record begun;                   /* only the cursors that this run begins with */
    int64_t begun_us;                          /* monotonic: when they were good */
    _Atomic int64_t slot_since_ms[SLOT_COUNT]; /* of gaps, for REASON_IF_USED */

    /* Databases that names are given in; grows only. */
    int dbs[LIVE_DATABASES_MAX];
    _Atomic size_t n_dbs;
    bool new_dbs[LIVE_DATABASES_MAX]; /* under lock: found by a barrier, not yet taken */
    _Atomic bool any_new_dbs;

    int64_t limit_us;     /* beginning of the oldest open gap */
    int64_t settled_us;   /* when the last of all gaps was read again; 0: something is open */
    int64_t watermark_us; /* LIVE_NEVER: none yet */
    int64_t topology_us;  /* the source's picture was asked for last, with success */
    _Atomic bool swept;   /* every slot, since the process started */
    bool copied_once, held_told;
    _Atomic bool losses, released;
    _Atomic int64_t changed_us; /* the last change that was named */
    _Atomic int64_t gather_ms;  /* how long lanes gather changes now */
    struct hist *lag;           /* microseconds */
    int64_t stop_us;            /* when the end was asked for; 0: it was not */
    uint64_t gaps_opened, gaps_closed;
    bool check_functions;
    int64_t functions_ms; /* when they are tried next */
    const char *phase;
    struct loop_timer *pulse;

    /* live_keep.c */
    struct state *state;
    struct lease *lease;
    struct record_writer *writer;
    struct order_reader *orders;
    /* from the target, from the state directory; id empty: none waits */
    struct order order[2];
    bool order_is_new;           /* not followed by a former run */
    char hold_id[RECORD_ID_MAX]; /* empty: no deletions are held */
    struct job_record record;    /* as it was found, then as it was put last */
    bool resumed, lease_lost, started;
    char owner_name[128];
    uint64_t epoch, copied_before, given_up_before;
    int64_t published_ms, stated_ms;
    bool state_trouble;
};

/* ---- live.c ---- */

/* reached(ctx) of each of these, one per lane, is called behind all names that the lanes have now;
 * *left counts down. */
void live_put_marks(struct live *live, struct lane_mark *marks, _Atomic int *left);

/* Continuity of these slots is not proved since then (LIVE_NEVER: at all). They are read again once
 * their nodes can be scanned. whole: nothing of what is on the target counts. */
void live_gap(struct live *live, struct live_node *node, const struct slot_set *slots,
              int64_t since_us, bool whole, const char *why);
/* Only deletions may be missing in these slots. order: they were asked for, no guard. */
void live_gap_behind(struct live *live, const struct slot_set *slots, int64_t since_us, bool order);
struct slot_set live_slots_of(const struct live *live, const struct live_node *node);
void live_compute_watermark(struct live *live);
int64_t live_to_wall_us(int64_t mono_us);
int64_t live_to_mono_us(int64_t wall_us);

/* ---- live_node.c ---- */

/* Opens feeds of new primaries, ends those of former ones, moves gaps with their slots. first: at
 * the start. */
void live_nodes_sync(struct live *live, bool first);
/* Takes what the feeds have said. */
void live_nodes_step(struct live *live);
void live_nodes_stop(struct live *live);
void live_nodes_free(struct live *live);
/* How busy the busiest server's main thread is; 1: all the time. */
double live_busiest_share(const struct live *live);
/* Tells every lane which process is to be read at this node, and whether its deletions are
 * believed. */
void live_node_trust(struct live_node *node);

/* ---- live_behind.c ---- */

void behind_step(struct live *live);
bool behind_is_idle(const struct live *live);
void behind_release(struct live *live);
void behind_free(struct live *live);

/* ---- live_checkpoint.c ---- */

/* Takes the record's cursors over. */
void checkpoint_load(struct live *live);
/* While the first copy goes on: writes into the record how far it has come. */
void checkpoint_step(struct live *live);

/* ---- live_target.c ---- */

void live_targets_sync(struct live *live, bool first);
void live_targets_free(struct live *live);
/* While a primary of the target does not answer: it may have restarted without what it had
 * acknowledged, and be written to again before that is noticed. So no record is written, and the
 * watermark goes no further than the limit (LIVE_NO_GAP: as far as it likes). */
bool live_target_is_silent(const struct live *live);
int64_t live_targets_limit_us(const struct live *live);

/* ---- live_keep.c ---- */

bool keep_open(struct live *live, struct err *err);
void keep_start(struct live *live);
void keep_step(struct live *live);
/* What the record says of nodes, gaps and the watermark; while the nodes are there. */
void keep_fill(struct live *live);
void keep_end(struct live *live, const char *phase);
void keep_close(struct live *live);
void keep_audit(struct live *live, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
