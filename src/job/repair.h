/* Copies named keys anew: a key that a comparison found different becomes as it is on the source
 * now.
 *
 * The keys go through the lanes of a replication: each is read when its turn comes, so a finding
 * that is no longer true does no harm. A key that the source does not have is deleted on the target
 * only where the caller asks for deletions.
 */
#ifndef LONGHAUL_JOB_REPAIR_H
#define LONGHAUL_JOB_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "copy/giveup.h"
#include "copy/stats.h"
#include "engine/spool.h"
#include "job/others.h"
#include "server/deployment.h"

struct repair_settings {
    struct spool *keys; /* borrowed; gone through from its beginning */
    uint64_t tags;      /* those whose bit 1 << tag is set */
    bool may_delete;
    struct job_purpose purpose;
    const int *dbs; /* of the source, that occur */
    size_t n_dbs;
    int target_db; /* -1: the same numbers */
    uint64_t buffer_bytes, big_key_bytes;
    size_t max_args;
    bool no_ttl;
    int64_t outage_timeout_ms;
};

struct repair_result {
    struct copy_stats stats;
    struct giveup *giveup; /* owned; NULL when nothing was begun */
};

/* Runs on the deployments' loop until all is done, *stop becomes true, or trouble. The result is
 * filled in every case; release it with repair_result_fini(). */
bool repair_run(struct deployment *source, struct deployment *target,
                const struct repair_settings *settings, const volatile bool *stop,
                struct repair_result *result, struct err *err);
void repair_result_fini(struct repair_result *result);

#endif
