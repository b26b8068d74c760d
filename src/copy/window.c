/* See window.h. The clock is asked for the timed key only, once or twice in a round trip. */
#include "copy/window.h"

#include "base/clock.h"

/* Above 1, so that a window that is the limit grows from one round trip to the next. For a near
 * target no more than that: values in flight beyond the pipe's own length wait in memory, and
 * fall out of the processor's caches. Over a distance keys come in bursts, which the link's own
 * rate draws out: through 20 ms the machine stood idle for a fifth of the time with 1.5, and no
 * longer than without a distance with 3. */
#define WINDOW_SPARE 1.5
#define WINDOW_SPARE_FAR 3

/* The share of the speed that is kept after an interval that was slower: acknowledgements come in
 * bursts. */
#define WINDOW_SPEED_KEPT 0.9

void window_init(struct window *w, size_t fixed, uint64_t bytes) {
    size_t most = (size_t)(bytes / WINDOW_KEY_BYTES);
    *w = (struct window){ .base = fixed > 0 ? fixed : WINDOW_KEYS_BASE,
                          .most = fixed > 0 ? fixed : most };
    if (w->most < w->base) w->most = w->base;
    w->keys = w->base;
}

void window_reset(struct window *w) {
    w->timed = NULL;
    w->round_trip_us = 0;
    w->speed = 0;
    w->expected_us = 0;
    w->answered = false;
    w->keys = w->base;
}

static void window_set(struct window *w, int64_t round_trip_us) {
    double near_us = round_trip_us < WINDOW_NEAR_US ? (double)round_trip_us : WINDOW_NEAR_US;
    double spare_us = WINDOW_SPARE * near_us + WINDOW_SPARE_FAR * ((double)round_trip_us - near_us);
    double wanted = (double)w->base + w->speed * spare_us;
    w->keys = wanted > (double)w->most ? w->most : (size_t)wanted;
}

void window_expect(struct window *w, int64_t round_trip_us) {
    w->expected_us = round_trip_us > 0 ? round_trip_us : 1;
    w->speed = WINDOW_SPEED_EXPECTED / 1e6;
    window_set(w, round_trip_us);
}

size_t window_now(const struct window *w, uint64_t values_known, double value_bytes) {
    if (w->expected_us == 0 || w->keys <= w->base) return w->keys;
    if (values_known < WINDOW_VALUES_KNOWN) return w->base;
    double by_bytes =
        (double)w->base + WINDOW_BYTES_EXPECTED / 1e6 * (double)w->expected_us / (value_bytes + 1);
    return (double)w->keys > by_bytes ? (size_t)by_bytes : w->keys;
}

static void window_learn(struct window *w, double speed) {
    bool kept = w->expected_us == 0 && speed <= w->speed * WINDOW_SPEED_KEPT;
    w->speed = kept ? w->speed * WINDOW_SPEED_KEPT : speed;
    w->expected_us = 0;
    window_set(w, w->round_trip_us);
}

void window_take_at(struct window *w, const void *key, int64_t now_us) {
    w->timed = key;
    w->taken_at_us = now_us;
    if (w->looked_at_us == 0) w->looked_at_us = now_us;
}

void window_take(struct window *w, const void *key) {
    if (w->timed == NULL) window_take_at(w, key, clock_mono_us());
}

void window_done_at(struct window *w, int64_t now_us) {
    int64_t trip_us = now_us - w->taken_at_us > 0 ? now_us - w->taken_at_us : 1;
    int64_t since_us = now_us - w->looked_at_us;
    w->timed = NULL;
    if (w->round_trip_us == 0 || trip_us < w->round_trip_us) w->round_trip_us = trip_us;
    if (since_us < WINDOW_INTERVAL_US) return;
    if (w->expected_us == 0 || w->answered) window_learn(w, (double)w->done / (double)since_us);
    w->answered = true;
    w->done = 0;
    w->looked_at_us = now_us;
}

void window_done(struct window *w, const void *key) {
    w->done++;
    w->round++;
    if (key == w->timed) window_done_at(w, clock_mono_us());
}

int64_t window_rest_us(struct window *w, size_t in_flight) {
    double part = (double)(w->keys / WINDOW_ROUNDS), done = (double)w->round;
    w->round = 0;
    if (w->speed <= 0 || in_flight < w->keys / 2 || done >= part) return 0;
    return (int64_t)((part - done) / w->speed);
}

void window_forget(struct window *w, const void *key) {
    if (key == w->timed) w->timed = NULL;
}
