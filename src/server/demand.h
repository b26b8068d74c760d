/* How many file descriptors a job needs, from the topology of both sides. */
#ifndef LONGHAUL_SERVER_DEMAND_H
#define LONGHAUL_SERVER_DEMAND_H

#include <stdbool.h>

#include "base/err.h"
#include "server/deployment.h"

/* Descriptors of a job with so many primaries on each side and so many threads. */
long long demand_of(int source_primaries, int target_primaries, int threads);

/* Before a job starts: false with ERR_FILES when the limit of open files is lower than the job
 * needs. */
bool demand_is_met(struct deployment *source, struct deployment *target, int threads,
                   struct err *err);

#endif
