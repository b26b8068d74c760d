/* The live part of a job: it follows changes, knows how far it has come, and repairs each break of
 * the proof.
 *
 *   ledger      for each slot: proved, or since when not, why, and the work that goes on (pure)
 *   evidence    a source process's answers about itself; may idle times be used? (pure)
 *   follow      a feed per source process names changes; barriers on it become marks in every lane
 *   sweep       keys that the target has and the source does not, under the deletion guard
 *   target      writes that the target may have lost again
 *   checkpoint  how far the first copy has come
 *
 *   watermark = the oldest of: barriers that have passed (follow), the ledger's oldest gap, the
 *   target's limit
 *
 * Control thread, but for the feeds. Nothing here writes anything down: the job does.
 */
#ifndef LONGHAUL_LIVE_LIVE_H
#define LONGHAUL_LIVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "live/checkpoint.h"
#include "live/follow.h"
#include "live/lag.h"
#include "live/sweep.h"
#include "live/target.h"

struct live;

struct live_options {
    struct capture_answers capture;
    bool only; /* follow changes; keys that are there already are not copied */
    bool all_databases, resync_whole;
    int64_t poll_ms;         /* for changes that no capture announces */
    int64_t gather_ms;       /* how long changes of a busy source are gathered at most; 0: never */
    int64_t idle_timeout_ms; /* without changes for so long, the job ends; 0: never */
    double max_delete_percent;
    enum sweep_extra extra;
    const char *spool_dir; /* NULL: TMPDIR */
    uint64_t epoch;
};

/* The records of a former run. */
struct live_memory {
    bool resumed;             /* there was a former run */
    bool copied_once;         /* its first copy was complete */
    struct moment since;      /* its watermark, or its checkpoint; MOMENT_NEVER: none */
    struct follow_base *base; /* evidence of the source's processes from before it */
    size_t n_base;
    struct checkpoint_cursor *cursors; /* of a first copy that was interrupted */
    size_t n_cursors;
    struct hold *holds;
    size_t n_holds;
    bool census_done;
    struct target_counts *counts; /* of the target's processes */
    size_t n_counts;
};

struct live_hooks {
    const struct event_sink *events;
    /* The keys of the target that are not the job's are to be kept; false: they cannot be kept
     * now. */
    bool (*save_extra)(void *ctx, const struct extra *extra);
    bool (*read_target_record)(void *ctx, const struct address *node, struct target_record *record);
    void (*release_target_record)(void *ctx, struct target_record *record);
    void (*allow_target_record)(void *ctx, const struct address *node, const char *run_id);
    void (*on_target_silent)(void *ctx);
    /* The lease is held. Any thread. */
    bool (*may_write)(void *ctx);
    void *ctx;
};

/* Borrows all; the engine's workers have started. */
struct live *live_new(struct engine *e, const struct live_options *options,
                      const struct live_hooks *hooks, const struct live_memory *memory);
/* Once the workers have ended. Leaves NULL. */
void live_free(struct live **live);
/* For the lanes' plan, before the workers start: the callbacks of a live job. The engine's user is
 * the live job from live_new() on. */
void live_fill_plan(struct copy_plan *plan);
/* Keys of the target that are not the job's, of a former run; before the first live_step(). */
struct extra *live_extra(struct live *live);

/* Feeds, and the first scan. target_keys: how many keys the databases of the target hold now;
 * unknown: not 0. */
void live_start(struct live *live, uint64_t target_keys);
/* One round of the control thread. *ended: the job is over, with success. stopping: it is to end
 * when everything acknowledged before is on the target. False: it cannot. */
bool live_step(struct live *live, bool stopping, bool *ended, struct err *err);
/* From now on the end waits for something beside the keys, or no more; a stopped job only as long
 * as it waits for changes. */
void live_hold_end(struct live *live, bool waits);
/* An order releases a hold; false: there is no such one. */
bool live_release(struct live *live, const char *hold_id);
/* --release-deletions: all holds that there are now. */
void live_release_all(struct live *live);
/* The topology of the source that was asked for at this moment is known. */
void live_topology_seen(struct live *live, struct moment asked);
/* The topology of a side has changed. */
void live_topology_changed(struct live *live, bool source);
/* The job's own key in this slot is gone from the target, which lost other keys with it. */
void live_target_lost(struct live *live, uint16_t slot);
/* Feeds end; the lanes still run. */
void live_stop(struct live *live);

/* ---- how it stands ---- */

struct live_state {
    bool copied_once; /* the first copy is complete */
    bool proved;      /* no gap is open */
    bool nothing;     /* some slot lacks everything: no watermark of before holds */
    bool held;        /* deletions wait for an operator */
    bool drains, census, ended_idle, target_silent;
    struct moment watermark; /* MOMENT_NEVER: none yet */
    int64_t source_time_us;  /* the source's clock at the watermark; 0: unknown */
    int64_t gather_ms;
    uint64_t gaps_opened, target_evicted, extra_keys;
    struct lag_view lag;
    struct checkpoint_view checkpoint;
    const struct hold *holds;
    size_t n_holds;
};
/* Views are good until the next live_step(). */
struct live_state live_look(struct live *live);
bool live_explain_gap(const struct live *live, size_t i, struct ledger_view *view);
void live_each_node(struct live *live, void (*fn)(void *ctx, const struct follow_view *view),
                    void *ctx);
void live_each_target(const struct live *live,
                      void (*fn)(void *ctx, const char *run_id, const char *replid), void *ctx);
/* False, without a call, while a primary of the target has not answered yet. */
bool live_each_target_counts(const struct live *live,
                             void (*fn)(void *ctx, const struct target_counts *counts), void *ctx);
/* Function libraries are to be copied again: since the last question the source may have changed
 * them, or the target may have lost them. */
bool live_takes_function_change(struct live *live);
void live_end_function_change(struct live *live);

#endif
