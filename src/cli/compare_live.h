/* The watermark of a live job of longhaul that runs between the two sides that are compared. The
 * job's record is on the target (store/record.h); the job is known by the labels of its endpoints.
 */
#ifndef LONGHAUL_CLI_COMPARE_LIVE_H
#define LONGHAUL_CLI_COMPARE_LIVE_H

#include "server/deployment.h"
#include "verify/compare.h"

struct compare_live;

struct compare_live_settings {
    int db; /* of the target, where the job keeps its record */
    const char *source_label, *target_label;
    /* of the keys that are compared, as options_scope() writes it for a job */
    const char *scope;
};

/* Borrows target and all of the settings. */
struct compare_live *compare_live_new(struct deployment *target,
                                      const struct compare_live_settings *settings);
/* For compare_settings.watermark; ctx is the struct compare_live. 0 when no job runs, or when its
 * watermark is not worth waiting for (cli/compare_wait.h): the log then warns once for each reason.
 * Waits for the target: not from within callbacks. */
struct compare_watermark compare_live_watermark(void *ctx);
/* Leaves NULL. */
void compare_live_free(struct compare_live **live);

#endif
