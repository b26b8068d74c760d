/* Histogram of durations in microseconds: logarithmic buckets with 32 linear steps each, so that a
 * percentile is right within 3.2 %; fixed memory (about 10 KB); values past the last bucket are
 * counted in it. */
#ifndef LONGHAUL_BASE_HIST_H
#define LONGHAUL_BASE_HIST_H

#include <stdint.h>

struct hist;

struct hist *hist_new(void);
void hist_free(struct hist **hist);
void hist_add(struct hist *hist, uint64_t value_us);
void hist_merge(struct hist *into, const struct hist *from);
void hist_reset(struct hist *hist);
uint64_t hist_count(const struct hist *hist);
uint64_t hist_min(const struct hist *hist);
uint64_t hist_max(const struct hist *hist);
double hist_mean(const struct hist *hist);
/* percentile from 0 to 100; the upper edge of the bucket, never above hist_max(); 0 when empty. */
uint64_t hist_percentile(const struct hist *hist, double percentile);

#endif
