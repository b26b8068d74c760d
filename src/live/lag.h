/* How far the target was behind over time: percentiles since the start, and the most of the last
 * minute and the last hour. Pure: the clock is the caller's. */
#ifndef LONGHAUL_LIVE_LAG_H
#define LONGHAUL_LIVE_LAG_H

#include <stdint.h>

struct lag;

struct lag *lag_new(void);
/* Leaves NULL. */
void lag_free(struct lag **lag);
/* lag_us at the moment at_us. steady: no gap is open; only then it counts for the percentiles.
 * Moments do not go back. */
void lag_add(struct lag *l, int64_t at_us, int64_t lag_us, int steady);

struct lag_view {
    int64_t p50_us, p99_us, max_us;     /* while no gap was open */
    int64_t minute_max_us, hour_max_us; /* in any case */
};
struct lag_view lag_look(const struct lag *l, int64_t now_us);

#endif
