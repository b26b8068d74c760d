/* See lag.h. Two rings of maxima: of 60 seconds, of 60 minutes. */
#include "live/lag.h"

#include <stdlib.h>

#include "base/hist.h"
#include "base/mem.h"

enum { LAG_RING = 60 };
#define LAG_SECOND_US INT64_C(1000000)

struct lag_ring {
    int64_t step_us;
    int64_t number[LAG_RING]; /* of the step that a place holds */
    int64_t max_us[LAG_RING];
};

struct lag {
    struct hist *hist;
    struct lag_ring seconds, minutes;
};

struct lag *lag_new(void) {
    struct lag *l = mem_zalloc(sizeof(*l));
    l->hist = hist_new();
    l->seconds.step_us = LAG_SECOND_US;
    l->minutes.step_us = 60 * LAG_SECOND_US;
    for (int i = 0; i < LAG_RING; i++) l->seconds.number[i] = l->minutes.number[i] = -1;
    return l;
}

void lag_free(struct lag **lag) {
    if (*lag == NULL) return;
    hist_free(&(*lag)->hist);
    free(*lag);
    *lag = NULL;
}

static void ring_add(struct lag_ring *r, int64_t at_us, int64_t lag_us) {
    int64_t number = at_us / r->step_us;
    size_t at = (size_t)(number % LAG_RING);
    if (r->number[at] != number) r->max_us[at] = 0;
    r->number[at] = number;
    if (lag_us > r->max_us[at]) r->max_us[at] = lag_us;
}

static int64_t ring_max(const struct lag_ring *r, int64_t now_us) {
    int64_t number = now_us / r->step_us, max_us = 0;
    for (int i = 0; i < LAG_RING; i++)
        if (r->number[i] > number - LAG_RING && r->max_us[i] > max_us) max_us = r->max_us[i];
    return max_us;
}

void lag_add(struct lag *l, int64_t at_us, int64_t lag_us, int steady) {
    if (lag_us < 0) lag_us = 0;
    if (steady) hist_add(l->hist, (uint64_t)lag_us);
    ring_add(&l->seconds, at_us, lag_us);
    ring_add(&l->minutes, at_us, lag_us);
}

struct lag_view lag_look(const struct lag *l, int64_t now_us) {
    return (struct lag_view){ .p50_us = (int64_t)hist_percentile(l->hist, 50),
                              .p99_us = (int64_t)hist_percentile(l->hist, 99),
                              .max_us = (int64_t)hist_max(l->hist),
                              .minute_max_us = ring_max(&l->seconds, now_us),
                              .hour_max_us = ring_max(&l->minutes, now_us) };
}
