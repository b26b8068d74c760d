/* The engine: names of keys to lanes. Worker threads with a lane each, the passes that scan either
 * side, and the names on their way. The engine drives a snapshot, a live job and a repair; it knows
 * nothing of proof.
 *
 *   control (the caller's thread)                        worker threads: a loop, a lane, passes
 *      coverage_open(), coverage_step() ── passes ─────▶ scan ── names ──▶ lanes (enqueue.h)
 *      ◀── ended passes, failures, wishes for a topology refresh ──┘
 */
#ifndef LONGHAUL_ENGINE_ENGINE_H
#define LONGHAUL_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "copy/lane.h"
#include "net/loop.h"
#include "server/deployment.h"

struct engine;

enum {
    ENGINE_LANES_MAX = 64,
    ENGINE_QUEUE_HIGH = 3000, /* names queued in a lane; beyond, scanning pauses */
    ENGINE_ROUND_MS = 10,     /* of a control loop */
};

struct engine_settings {
    struct deployment *source, *target; /* on one loop */
    const struct key_filter *filter;
    int target_db; /* -1: the same numbers as on the source */
    int threads;   /* 0: automatic */
    int64_t scan_count, sleep_ms, outage_timeout_ms;
    uint64_t buffer_bytes;
    bool live; /* passes note their cursors; orphaned slots are waited for */
};

struct engine *engine_new(const struct engine_settings *settings);
/* Ends the workers first where engine_stop() has not. Leaves NULL. */
void engine_free(struct engine **engine);

/* The databases that are copied. They may grow while the engine runs; control thread. */
void engine_set_databases(struct engine *e, const int *dbs, size_t n);
/* False when it was there. */
bool engine_add_database(struct engine *e, int db);
const int *engine_databases(const struct engine *e, size_t *n);

/* The lanes' plan: lanes, request_refresh, on_failed and ctx (the engine) are filled in; the caller
 * fills in the rest before engine_start(), and the members that copy/lane.h allows until
 * engine_begin(). The callbacks of a live job find their own context by engine_user(). */
struct copy_plan *engine_plan(struct engine *e);
void engine_set_user(struct engine *e, void *user);
void *engine_user(const struct engine *e);
/* Starts the threads. Their lanes connect at once, but copy nothing before engine_begin(). */
bool engine_start(struct engine *e, struct err *err);
void engine_begin(struct engine *e);
/* Waits until the keys in flight are done, at most ENGINE_DRAIN_MS: so the figures of a job that
 * was interrupted are true. */
void engine_drain(struct engine *e);
/* Ends the threads; lanes are gone then. */
void engine_stop(struct engine *e);

int engine_lanes(const struct engine *e);
struct lane *engine_lane(struct engine *e, int i);
struct loop *engine_lane_loop(struct engine *e, int i);
struct loop *engine_loop(struct engine *e);
struct deployment *engine_source(struct engine *e);
struct deployment *engine_target(struct engine *e);
const struct engine_settings *engine_settings_of(const struct engine *e);
/* The slots that the filter wants. */
struct slot_set engine_job_slots(const struct engine *e);
struct worker;
/* One after the other, for things that live on a worker's thread. */
struct worker *engine_next_worker(struct engine *e);
/* The lanes look at their plan and the topologies anew. */
void engine_update_lanes(struct engine *e);

/* Wakes the control loop. Any thread. */
void engine_wake(struct engine *e);
/* The first failure counts. Any thread. */
void engine_fail(struct engine *e, const struct err *err);
bool engine_has_failed(struct engine *e, struct err *err);
/* Somebody wishes that a side's topology is asked for. Any thread. */
void engine_want_refresh(struct engine *e, bool source);
/* Takes the wish. */
bool engine_takes_refresh(struct engine *e, bool source);
/* The topology of a side was asked for and is another one: passes and lanes follow it. */
void engine_topology_changed(struct engine *e, bool source);

void engine_sum_stats(struct engine *e, struct copy_stats *sum);
/* Keys of the source that passes have named, and passes that had to be begun again. */
uint64_t engine_scanned(const struct engine *e);
uint64_t engine_scan_restarts(const struct engine *e);
/* No name is on its way and no key waits. */
bool engine_is_idle(struct engine *e);
/* No name is on its way to a lane. */
bool engine_names_arrived(const struct engine *e);
/* Lanes have more queued than they should be given: stop naming for a while. */
bool engine_is_busy(struct engine *e);
/* Half of the memory for changed names is in use in some lane. */
bool engine_is_full(struct engine *e);

/* A mark behind all names that each lane has now. At most one at a time per struct. */
struct engine_marks {
    struct engine *engine;
    struct lane_mark *marks; /* one per lane; owned */
    _Atomic int left;        /* lanes that have not reached theirs */
};
void engine_put_marks(struct engine *e, struct engine_marks *marks);
static inline bool engine_marks_reached(const struct engine_marks *marks) {
    return atomic_load((_Atomic int *)&marks->left) == 0;
}
/* Once the workers have ended. */
void engine_marks_fini(struct engine_marks *marks);

/* Posts lane_mark `mark` behind all names that went to lane i before, from the thread of `here`
 * (NULL: the control thread). */
void engine_put_mark(struct engine *e, struct worker *here, int i, struct lane_mark *mark);

#endif
