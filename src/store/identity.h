/* Which recorded job a start is, and which jobs it must not be started beside. Pure functions over
 * records that were read with job_store_read_all(JOB_STORE_ALL_DBS).
 *
 * A scope is a JSON object with sorted keys of every option that decides which keys and values are
 * on the target. Of its members only two are understood here, to tell that two jobs cannot write
 * the same key:
 *   "target_databases"   a list of the numbers of the databases that are written to; missing: all
 *   "slots"              "0-99,200": the slots that are copied; missing: all
 * Everything else (patterns, types) is taken to overlap. */
#ifndef LONGHAUL_STORE_IDENTITY_H
#define LONGHAUL_STORE_IDENTITY_H

#include <stdbool.h>

#include "base/err.h"
#include "store/job_store.h"
#include "store/record.h"

/* The job that is being started. Borrowed. */
struct job_identity {
    const char *job;             /* --job; NULL: none was named */
    const char *source, *target; /* labels */
    const char *scope;
    const struct record_ids *source_ids, *target_ids; /* replids, run_ids, cluster node ids */
    const char *beside; /* --beside: a job whose keys may overlap; NULL: none */
};

/* The record of this very job: the one that --job names, else the one with the same scope and the
 * same servers, however their addresses are written. NULL: this job is new here. */
const struct stored_job *identity_find_job(const struct job_list *on_target,
                                           const struct job_identity *me);
/* --job names a record of another source, target or scope: an error that names the difference. */
bool identity_check_job(const struct stored_job *found, const struct job_identity *me,
                        struct err *err);
/* A job, other than `own` (may be NULL) and me->beside, that runs, was not ended in order, or was
 * stopped and copies from another source, and that may write the same keys: an error that names
 * it. */
bool identity_check_conflict(const struct job_list *on_target, const struct stored_job *own,
                             const struct job_identity *me, struct err *err);
/* Is this job, which is no conflict, at rest and overlapped by the job that starts? Its record must
 * be forgotten before anything is written: it would say of values that the starting job has changed
 * (without their time to live, by another filter) that they are proved. */
bool identity_is_superseded(const struct stored_job *job, const struct stored_job *own,
                            const struct job_identity *me);
/* A running or unfinished job that copies from our target into our source: an error that names
 * it. */
bool identity_check_reverse(const struct job_list *on_source, const struct job_identity *me,
                            struct err *err);
/* May two scopes write the same key? */
bool identity_scopes_overlap(const char *a, const char *b);

#endif
