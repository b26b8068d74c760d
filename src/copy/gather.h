/* How long changes of a busy source are gathered before they are read.
 *
 *   processor time of its thread ─ load_note() ─▶ share ─ gather_time_ms() ─▶ gathering time:
 *                                          0 below GATHER_FROM, the most from GATHER_FULLY on
 *   queue:  [ taken in this sweep | named since the gate opened ]
 *   gate:   gather_allows(): open until the sweep's keys are taken, then closed for that time
 *
 * A key that changes often is read once in that time instead of each time. A key named after an
 * opening waits for the next one. Where reads cost little (few keys wait for the time that passed:
 * few change, or the same ones) the gate opens earlier, so that lag is added only where it buys
 * something. Pure: the clock and the queue are the caller's.
 */
#ifndef LONGHAUL_COPY_GATHER_H
#define LONGHAUL_COPY_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GATHER_LEAST_MS = 4, /* between two openings */
    /* so many keys a second are read without waiting, of the whole job */
    GATHER_FREE_PER_S = 10 * 1000,
    GATHER_LOAD_MIN_MS = 200,      /* a share is not computed over less */
    GATHER_LOAD_MAX_MS = 10 * 1000 /* nor over more: then it begins anew */
};

/* How busy a thread is, from its processor time now and then. All zero: nothing known, which is
 * idle. */
struct gather_load {
    int64_t at_us, cpu_us;
    double share; /* 1: all the time. Rises at once, falls by half of the difference */
};
/* cpu_us: used since the process started; negative: not told. Less than before: another process. */
void gather_load_note(struct gather_load *load, int64_t at_us, int64_t cpu_us);

/* The gathering time for this share, most_ms at most. */
int64_t gather_time_ms(double share, int64_t most_ms);

/* The gate of one queue. All zero: never opened, which it will be as soon as it is asked. */
struct gather_gate {
    int64_t opened_ms;
    size_t sweep; /* keys that may still be taken */
};
/* How many of the queued keys, from the head, may be taken now. free_per_s: of this queue. full:
 * they take too much memory to wait. Then gather_took() of those that were. */
size_t gather_allows(struct gather_gate *gate, int64_t now_ms, size_t queued, int64_t time_ms,
                     size_t free_per_s, bool full);
void gather_took(struct gather_gate *gate, size_t n);

#endif
