/* A job's state directory: an SQLite database and a lock. Optional: without one the target's record
 * is all there is.
 *
 *   job        one row: identity (job, source, target, settings), the owner that has it open
 *   record     one row: the newest job_record as JSON
 *   given_up   keys that could not be copied, and why
 *   finding    what comparisons found
 *   run        verification runs
 *   audit      what happened: started, stopped, gaps, holds, releases, takeovers
 *   released   one row while an order to release held deletions waits
 *
 * The database is written ahead (WAL) and not forced to the disk with each record: after a power
 * cut the newest seconds may be missing, which makes the repair after it larger and never wrong.
 * One process writes; others may read.
 */
#ifndef LONGHAUL_STORE_STATE_H
#define LONGHAUL_STORE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "store/record.h"

struct state;

/* Events that are kept; the oldest go first. */
enum { STATE_AUDIT_MAX = 100000 };

/* Opens or makes the directory and takes its lock (another process that holds it is an error that
 * names it). A directory made for another job is refused, naming both. identity: job, source,
 * target and settings are looked at. On success *found says whether there is a record, then in
 * *record, and predecessor (of 128 bytes, may be NULL) the owner that had it open last. NULL on
 * error. */
struct state *state_open(const char *dir, const struct job_record *identity,
                         struct job_record *record, bool *found, char *predecessor,
                         struct err *err);
/* For `longhaul status`: reads only, without the lock. */
bool state_read(const char *dir, struct job_record *record, bool *locked, struct err *err);
/* Leaves NULL; gives the lock back. */
void state_close(struct state **state);

/* Each is one transaction. A full disk is an error that names the file; the job goes on and says
 * so. */
bool state_put(struct state *state, const struct job_record *record, struct err *err);
bool state_audit(struct state *state, const char *event, const char *text, struct err *err);
bool state_give_up(struct state *state, int db, struct bytes key, const char *reason,
                   struct err *err);

struct state_finding {
    int db;
    struct bytes key;
    const char *kind, *detail;
};
bool state_run_begin(struct state *state, const char *mode, int64_t *run, struct err *err);
bool state_finding(struct state *state, int64_t run, const struct state_finding *finding,
                   struct err *err);
bool state_run_end(struct state *state, int64_t run, uint64_t compared, uint64_t different,
                   const char *outcome, struct err *err);
/* `longhaul resume --state-dir`: an order that the job with this directory finds with
 * state_take_release(). */
bool state_order_release(const char *dir, struct err *err);
bool state_take_release(struct state *state);

#endif
