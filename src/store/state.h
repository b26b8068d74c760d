/* A job's state directory: an SQLite database and a lock. Optional: without one the target's record
 * is all there is.
 *
 *   job        one row: identity (job, source, target, settings), the owner that has it open
 *   record     one row: the newest job_record as JSON
 *   given_up   keys that could not be copied, and why
 *   finding    differences that comparisons found
 *   run        verification runs
 *   audit      events: started, stopped, gaps, holds, releases, takeovers
 *   orders     orders that wait: see orders.h
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
#include "store/orders.h"
#include "store/record.h"

struct state;

/* Events that are kept; the oldest go first. */
enum { STATE_AUDIT_MAX = 100000 };

/* Opens the directory, or makes it with its parents (its files are for the user alone, with any
 * umask), and takes its lock: if another process holds the lock, the error names that process. A
 * directory of another job is refused, naming both. Of identity, job, source, target, their ids,
 * scope and settings are read. On success *found says whether there is a record, then in *record,
 * and predecessor (of 128 bytes, may be NULL) the owner that had the directory open last. NULL on
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
/* `longhaul resume --state-dir`: an order to the job with this directory. */
bool state_give_order(const char *dir, const struct order *order, struct err *err);
/* The oldest order that waits; false: none. It is recorded as followed (state_put()) before it is
 * followed, then removed. An order that cannot be read is removed. */
bool state_next_order(struct state *state, struct order *order);
/* This order, and no other that was given meanwhile. */
bool state_remove_order(struct state *state, const char *id, struct err *err);
/* `longhaul forget --state-dir`: removes the record and the orders of a job that does not run;
 * findings and audit events stay. An error where the directory is in use. */
bool state_forget(const char *dir, struct err *err);

#endif
