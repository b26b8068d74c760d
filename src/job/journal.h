/* Everything that a live job writes down: its record on the target and in its state directory, the
 * lease that keeps a second writer away, the audit, and the orders that it follows. Without a state
 * directory the target's record is all there is, and enough to go on from.
 *
 * A proof is never mixed from two records: watermark and evidence are the target's, of the primary
 * that is furthest behind.
 */
#ifndef LONGHAUL_JOB_JOURNAL_H
#define LONGHAUL_JOB_JOURNAL_H

#include "job/job_priv.h"

/* Before anything is written to either side: refuses a job that must not run (identity.h, role.h),
 * opens the state directory, takes the lease (waiting as a standby if it must), reads the records
 * of former runs. NULL on error. */
struct journal *journal_open(struct job *job, struct err *err);
/* There was a former run, or another process runs this job now. */
bool journal_is_resumed(const struct journal *j);
const struct live_memory *journal_memory(const struct journal *j);
uint64_t journal_epoch(const struct journal *j);
const char *journal_job(const struct journal *j);
/* Of former runs. */
int64_t journal_copied_before(const struct journal *j);
int64_t journal_deleted_before(const struct journal *j);
int64_t journal_given_up_before(const struct journal *j);
/* Forgets the records of jobs at rest whose keys this job writes from now on. Once the job is known
 * to run, before it writes. */
bool journal_supersede(struct journal *j, struct err *err);
/* The keys of the target that are not the job's, of a former run. */
bool journal_load_extra(struct journal *j, struct extra *extra, struct err *err);
/* Callbacks for struct live_hooks, with the journal as ctx. */
void journal_fill_hooks(struct journal *j, struct live_hooks *hooks);

/* From now on the record is written, orders are followed, and the loss of the lease is told. */
void journal_start(struct journal *j);
void journal_step(struct journal *j);
void journal_topology_changed(struct journal *j);
/* The live job's state is recorded once more; it may end then. */
void journal_fill(struct journal *j);
/* When nothing is written any more: the last record, with this phase; the lease is given back. */
void journal_end(struct journal *j, enum phase phase);
/* Leaves NULL. */
void journal_free(struct journal **journal);

#endif
