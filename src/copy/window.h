/* How many keys of a lane may be in flight: as many as the round trip holds at the speed that is reached, and a base.
 *
 *   keys = base + 2 * (speed: keys done a second) * (shortest round trip)        at most what memory allows
 *
 * A near target keeps the base: more would only wait in the servers' sockets and delay what is named next. Through 80 ms
 * the base alone would be the limit; then the keys done are one window per round trip, and the window doubles until
 * something else is the limit. A key's way from being taken until it is done is timed, one key at a time. The shortest is
 * the round trip: a longer one has waited behind others, and would grow with the window.
 */
#ifndef LONGHAUL_COPY_WINDOW_H
#define LONGHAUL_COPY_WINDOW_H

#include <stddef.h>
#include <stdint.h>

enum {
    WINDOW_KEYS_BASE = 3000,
    WINDOW_KEY_BYTES = 128,         /* what a key in flight takes beside its value, about */
    WINDOW_INTERVAL_US = 20 * 1000, /* the speed is not looked at more often */
    WINDOW_ROUNDS = 5,              /* so many rounds of the loop for a window's worth of keys */
};

struct window {
    size_t base, most, keys; /* keys: the window now */
    const void *timed;       /* the key that is being timed; only compared */
    int64_t taken_at_us;
    int64_t round_trip_us; /* the shortest; 0: not known yet */
    double speed;          /* keys done a microsecond: the best, forgotten slowly */
    uint64_t done;         /* since looked_at_us */
    int64_t looked_at_us;
    uint64_t round; /* done since the last window_rest_us() */
};

/* fixed: this many, whatever is measured; 0: between WINDOW_KEYS_BASE and what fits into `bytes`. */
void window_init(struct window *w, size_t fixed, uint64_t bytes);
/* A key was taken into flight, is done, or goes back to where it came from. */
void window_take(struct window *w, const void *key);
void window_done(struct window *w, const void *key);
void window_forget(struct window *w, const void *key);
/* A connection was made anew, perhaps to another place: the round trip is not known any more. */
void window_reset(struct window *w);

/* At the end of a round, with so many keys in flight: for how long nothing needs to be looked at, as about that long it
 * takes until a WINDOW_ROUNDSth part of the window is done. 0 when this round had as much, and when less than half of
 * the window is in flight: then somebody waits for more. */
int64_t window_rest_us(struct window *w, size_t in_flight);

/* For window_take() and window_done(), and for tests. */
void window_take_at(struct window *w, const void *key, int64_t now_us);
void window_done_at(struct window *w, int64_t now_us);

#endif
