/* A worker: a thread with an event loop and one lane on it. */
#ifndef LONGHAUL_ENGINE_WORKER_H
#define LONGHAUL_ENGINE_WORKER_H

#include <stdbool.h>

#include "base/err.h"
#include "copy/lane.h"
#include "net/loop.h"

struct worker;

/* Starts the thread. plan is borrowed. NULL on error. */
struct worker *worker_start(const struct copy_plan *plan, int index, struct err *err);
/* Ends the thread and waits for it. Others may still look at its lane, and post to it, which does
 * nothing. */
void worker_stop(struct worker *worker);
/* Frees its lane too. When no other thread knows it any more: workers that name keys to each other
 * are all stopped first. Leaves NULL. */
void worker_free(struct worker **worker);

struct loop *worker_loop(struct worker *worker);
struct lane *worker_lane(struct worker *worker);

/* Runs lane_begin() on the worker's thread, soon; `in_transit` is raised before and lowered when it
 * has run. */
void worker_begin(struct worker *worker, _Atomic int64_t *in_transit);
/* Runs lane_update() on the worker's thread, soon. */
void worker_update(struct worker *worker);
/* Runs lane_stop() on the worker's thread, soon. */
void worker_stop_lane(struct worker *worker);
/* Runs lane_put_mark() on the worker's thread, soon, behind all names that were posted before. */
void worker_put_mark(struct worker *worker, struct lane_mark *mark);

/* Names keys to the worker's lane from another thread. Names are copied; `in_transit` is raised
 * before and lowered when they have arrived. */
struct name_batch;
struct name_batch *name_batch_new(int db);
void name_batch_add(struct name_batch *batch, struct bytes key, uint16_t slot,
                    enum key_reason reason);
bool name_batch_is_empty(const struct name_batch *batch);
/* Takes the batch over. */
void worker_name(struct worker *worker, struct name_batch *batch, _Atomic int64_t *in_transit);
void name_batch_free(struct name_batch **batch);

#endif
