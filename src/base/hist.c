/* Histogram with logarithmic buckets, each power of two cut into 32 linear steps:
 *
 *   value       0..31     32..63    64..127   128..255  ...
 *   step        1         1         2         4         ...
 *   buckets     0..31     32..63    64..95    96..127   ...
 *
 * A bucket is never wider than 1/32 of its lower edge, which is where the 3.2 % come from. The last
 * bucket also takes everything from 2^44 us (200 days) up; for it the largest value seen is the
 * edge.
 */
#include "base/hist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { HIST_STEP_BITS = 5, HIST_STEPS = 1 << HIST_STEP_BITS, HIST_BUCKETS = 40 * HIST_STEPS };

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t min;
    uint64_t max;
    uint64_t buckets[HIST_BUCKETS];
};

struct hist *hist_new(void) {
    return mem_zalloc(sizeof(struct hist));
}

void hist_free(struct hist **hist) {
    free(*hist);
    *hist = NULL;
}

static unsigned bucket_of(uint64_t value) {
    if (value < HIST_STEPS) return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_STEP_BITS;
    unsigned index = (shift + 1) * HIST_STEPS + (unsigned)(value >> shift) - HIST_STEPS;
    return index < HIST_BUCKETS ? index : HIST_BUCKETS - 1;
}

static uint64_t upper_edge(unsigned index) {
    if (index < HIST_STEPS) return index;
    if (index == HIST_BUCKETS - 1) return UINT64_MAX;
    unsigned shift = index / HIST_STEPS - 1;
    uint64_t lower = (uint64_t)(HIST_STEPS + index % HIST_STEPS) << shift;
    return lower + (UINT64_C(1) << shift) - 1;
}

void hist_add(struct hist *hist, uint64_t value_us) {
    hist->buckets[bucket_of(value_us)]++;
    hist->sum += value_us;
    if (hist->count == 0 || value_us < hist->min) hist->min = value_us;
    if (value_us > hist->max) hist->max = value_us;
    hist->count++;
}

void hist_merge(struct hist *into, const struct hist *from) {
    if (from->count == 0) return;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) into->buckets[i] += from->buckets[i];
    if (into->count == 0 || from->min < into->min) into->min = from->min;
    if (from->max > into->max) into->max = from->max;
    into->sum += from->sum;
    into->count += from->count;
}

void hist_reset(struct hist *hist) {
    memset(hist, 0, sizeof(*hist));
}

uint64_t hist_count(const struct hist *hist) {
    return hist->count;
}

uint64_t hist_min(const struct hist *hist) {
    return hist->min;
}

uint64_t hist_max(const struct hist *hist) {
    return hist->max;
}

double hist_mean(const struct hist *hist) {
    return hist->count > 0 ? (double)hist->sum / (double)hist->count : 0;
}

/* The nearest-rank definition: the smallest value that at least so many percent of all values do
 * not exceed. */
static uint64_t rank_of(const struct hist *hist, double percentile) {
    if (!(percentile > 0)) return 1;
    if (percentile >= 100) return hist->count;
    /* 99.9 has no exact double: without the small step down, 99.9 % of 1000 would be the 1000th. */
    uint64_t rank = (uint64_t)ceil(percentile * (double)hist->count / 100 * (1 - 1e-12));
    return rank > 0 ? rank : 1;
}

uint64_t hist_percentile(const struct hist *hist, double percentile) {
    if (hist->count == 0) return 0;
    uint64_t rank = rank_of(hist, percentile);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen < rank) continue;
        uint64_t edge = upper_edge(i);
        return edge < hist->max ? edge : hist->max;
    }
    return hist->max;
}
