/* The live jobs whose records lie on both sides, before anything is written: which of them keep a
 * start away, and whose records it makes untrue. For live jobs, snapshots and repairs alike. */
#ifndef LONGHAUL_JOB_OTHERS_H
#define LONGHAUL_JOB_OTHERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "server/deployment.h"
#include "store/identity.h"
#include "store/record.h"

/* What is copied where to, as records tell it. Borrowed. */
struct job_purpose {
    const char *source, *target; /* labels of the endpoints */
    /* Canonical JSON of every option that decides the content of the target; two jobs with the same
     * source, target and scope are the same job. */
    const char *scope;
    const char *beside; /* --beside: a job that may write to the same keys; NULL: none */
};

struct superseded_job;

struct others {
    char own[RECORD_JOB_MAX]; /* the recorded job that this start goes on with; empty: none */
    struct superseded_job *superseded; /* jobs whose records end when the start begins to write */
    size_t n_superseded;
};

/* For a live job. An error names the job that keeps this start away, and what to do. */
bool others_check(struct deployment *source, struct deployment *target,
                  const struct job_identity *me, struct others *others, struct err *err);
/* For a copy without a record of its own: a running job is in the way also if it is about the same
 * keys, since an older value could overwrite a newer one. */
bool others_check_snapshot(struct deployment *source, struct deployment *target,
                           const struct job_purpose *purpose, struct others *others,
                           struct err *err);
/* For repairs, which may stand beside the job that they mend: only against copying back into the
 * source of a job. */
bool others_check_reverse(struct deployment *source, struct deployment *target,
                          const struct job_purpose *purpose, struct err *err);
/* Removes the records of the superseded jobs, with a warning for each. */
bool others_supersede(struct others *others, struct deployment *target, struct err *err);
void others_fini(struct others *others);

#endif
