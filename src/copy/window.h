/* How many keys of a lane may be in flight: as many as the round trip holds at the speed that is
 * reached, and a base.
 *
 *   keys = base + (speed: keys done a second) *
 *                 (1.5 * shortest round trip up to 5 ms + 3 * the rest of it), as memory allows
 *
 * A near target keeps the base: more would only wait in the servers' sockets and delay the keys
 * named next. Through 80 ms the base alone would be the limit; then the keys done are one window
 * per round trip, and the window grows until something else is the limit. A key's way from being
 * taken until it is done is timed, one key at a time. The shortest is the round trip: a longer one
 * has waited behind others, and would grow with the window.
 *
 * Growing from the base costs some round trips. So the first window holds as much as the
 * handshakes' round trips do at speeds that are only expected, of keys and of bytes
 * (window_expect()), once the sizes of some values are known. The first acknowledgement tells no
 * speed; from the second look on measured values take the place of the expected ones.
 */
#ifndef LONGHAUL_COPY_WINDOW_H
#define LONGHAUL_COPY_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WINDOW_KEYS_BASE = 3000,
    /* memory of a key in flight beside its value, about */
    WINDOW_KEY_BYTES = 128,
    WINDOW_NEAR_US = 5000,          /* so long a near target's round trip may be */
    WINDOW_INTERVAL_US = 20 * 1000, /* the speed is not looked at more often */
    /* so many rounds of the loop for a window's worth of keys */
    WINDOW_ROUNDS = 5,
    WINDOW_SPEED_EXPECTED = 250 * 1000,        /* keys a second */
    WINDOW_BYTES_EXPECTED = 100 * 1000 * 1000, /* a second */
    WINDOW_VALUES_KNOWN = 1000,                /* values of which the average size is believed */
};

struct window {
    size_t base, most, keys; /* keys: the window now */
    const void *timed;       /* the key that is being timed; only compared */
    int64_t taken_at_us;
    int64_t round_trip_us; /* the shortest; 0: not known yet */
    double speed;          /* keys done a microsecond: the best, forgotten slowly */
    uint64_t done;         /* since looked_at_us */
    int64_t looked_at_us;
    uint64_t round;      /* done since the last window_rest_us() */
    int64_t expected_us; /* the handshakes' round trips, while nothing better is known; else 0 */
    bool answered;       /* something was acknowledged since then */
};

/* fixed: always this many; 0: from WINDOW_KEYS_BASE to as many as fit into `bytes`. */
void window_init(struct window *w, size_t fixed, uint64_t bytes);
/* A key was taken into flight, is done, or goes back to where it came from. */
void window_take(struct window *w, const void *key);
void window_done(struct window *w, const void *key);
void window_forget(struct window *w, const void *key);
/* A connection was made anew, perhaps to another place: the round trip is not known any more. */
void window_reset(struct window *w);
/* The handshakes took so long, to both sides together. After window_reset(), before a key is taken.
 */
void window_expect(struct window *w, int64_t round_trip_us);
/* The window now, with the average size of so many values. */
size_t window_now(const struct window *w, uint64_t values_known, double value_bytes);

/* At the end of a round, with so many keys in flight: for how long nothing needs to be looked at,
 * as about that long it takes until a WINDOW_ROUNDSth part of the window is done. 0 when this round
 * had as much, and when less than half of the window is in flight: then somebody waits for more. */
int64_t window_rest_us(struct window *w, size_t in_flight);

/* For window_take() and window_done(), and for tests. */
void window_take_at(struct window *w, const void *key, int64_t now_us);
void window_done_at(struct window *w, int64_t now_us);

#endif
