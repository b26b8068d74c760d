/* An event loop: one per thread, on libevent.
 *
 * Everything that hangs on a loop (connections, timers) is used from the thread that runs it, with
 * one exception: loop_post() may be called from any thread. Work is done in rounds: the events of
 * one wait, then the work that was deferred in them; connections write in the deferred part, so
 * that many commands leave in one system call.
 */
#ifndef LONGHAUL_NET_LOOP_H
#define LONGHAUL_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    LOOP_REST_MAX_US = 1000,
    LOOP_SLICE_MS = 10,
    LOOP_DESCRIPTORS = 6, /* epoll, timer, signals (2), wake-up, and one to spare */
};
#define LOOP_NO_DEADLINE INT64_MAX

struct loop;
struct loop_timer;
struct event_base;

typedef void loop_fn(void *ctx);

struct loop *loop_new(struct err *err);
/* Everything on it must have been closed before. Leaves NULL. */
void loop_free(struct loop **loop);

/* Runs until loop_stop(). */
void loop_run(struct loop *loop);
/* One round: waits for events for at most timeout_ms (-1: until one comes), then handles them. Not
 * from within a callback: libevent's loop does not nest. */
void loop_run_once(struct loop *loop, int64_t timeout_ms);
/* Runs rounds until done(ctx), which is asked before each of them; true when it holds. False once
 * deadline_ms (clock_mono_ms(); LOOP_NO_DEADLINE: none) has come or *stop is set (NULL: none). The
 * condition may also be met, or the flag set, by another thread: a round waits LOOP_SLICE_MS at
 * most. Not from within a callback. */
typedef bool loop_done_fn(void *ctx);
bool loop_until(struct loop *loop, loop_done_fn *done, void *ctx, int64_t deadline_ms,
                const volatile bool *stop);
/* Runs rounds for so long, or until *stop is set: a pause in which the loop's work goes on. True
 * when the time has passed. */
bool loop_pause(struct loop *loop, int64_t pause_ms, const volatile bool *stop);
/* Makes loop_run() return after the round. From any thread through loop_post(). */
void loop_stop(struct loop *loop);

/* Before the loop waits the next time, it sleeps for so long and no event ends the sleep: many
 * small events then are one round. For a caller that has so much work under way that the sleep
 * delays none of it. At most LOOP_REST_MAX_US. */
void loop_rest(struct loop *loop, int64_t us);

/* Runs fn at the end of the present round. */
void loop_defer(struct loop *loop, loop_fn *fn, void *ctx);
/* Takes back the work that was deferred for this ctx and has not run yet. */
void loop_undefer(struct loop *loop, void *ctx);

/* Runs the deferred work at once: for owners that close connections outside of any callback, and
 * free memory that the connections' callbacks use. Not from within a callback. */
void loop_settle(struct loop *loop);

/* Runs fn on the loop's thread, soon; thread-safe. Work that has not run when the loop is freed is
 * dropped. */
void loop_post(struct loop *loop, loop_fn *fn, void *ctx);

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx);
/* Fires once, after delay_ms; starting it again moves it. */
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_is_pending(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer **timer);

/* Calls fn for each delivery of a signal; on one loop of the process only. */
typedef void loop_signal_fn(void *ctx, int signum);
void loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *ctx);

/* For net/ and for libraries that hang on libevent. */
struct event_base *loop_base(struct loop *loop);

#endif
