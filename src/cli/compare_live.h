/* Is a live job of longhaul running between the two sides that are compared, and how far is it? Its
 * record lies on the target (store/job_store.h); the job is known by the labels of its endpoints.
 */
#ifndef LONGHAUL_CLI_COMPARE_LIVE_H
#define LONGHAUL_CLI_COMPARE_LIVE_H

#include <stdint.h>

#include "server/deployment.h"

struct compare_live;

/* target is borrowed; db: where the job keeps its record. */
struct compare_live *compare_live_new(struct deployment *target, int db, const char *source_label,
                                      const char *target_label);
/* Every write that the source acknowledged before this moment (wall clock, microseconds) is on the
 * target; 0: no job runs, or it has stopped saying so. ctx is the struct compare_live. Waits for
 * the target: not from within callbacks. */
int64_t compare_live_watermark_us(void *ctx);
/* Leaves NULL. */
void compare_live_free(struct compare_live **live);

#endif
