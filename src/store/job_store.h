/* The records of live jobs, read by calls (see server/call.h) from the target on which they lie:
 * for `longhaul status`, `resume` and `forget`, and for a job that starts. Each primary has a copy
 * of each record. A primary that has none has lost writes, or the job has not written to it yet:
 * then nothing is proved (record_drop_proof()). */
#ifndef LONGHAUL_STORE_JOB_STORE_H
#define LONGHAUL_STORE_JOB_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "server/deployment.h"
#include "store/record.h"

enum {
    JOB_STORE_JOBS_MAX = 1000, /* of one target; more are an error */
    /* Instead of the number of a database: all databases that hold keys. */
    JOB_STORE_ALL_DBS = -1
};

/* Of the key that holds the records, with its terminator. */
enum { JOB_STORE_KEY_MAX = 96 };

struct stored_job {
    struct job_record record;
    int db;          /* in which its record lies */
    bool lease_held; /* a process is at work on it, or was just now */
    char holder[128];
};

struct job_list {
    struct stored_job *jobs; /* by name */
    size_t n;
};

/* The name of the hash in which this primary of the topology keeps the records, so that a look
 * whether there are any costs no round trip of its own. False: it is no primary, or owns no
 * slot. */
bool job_store_record_key(const struct topology *t, int node, char key[JOB_STORE_KEY_MAX]);
/* All jobs that the server knows. *list is released with job_list_fini(), also on false. */
bool job_store_read_all(struct deployment *target, int db, struct job_list *list, struct err *err);
void job_list_fini(struct job_list *list);
/* One job. `record` must be empty or initialised; *found says whether there is any. */
bool job_store_read(struct deployment *target, int db, const char *job, struct job_record *record,
                    bool *found, struct err *err);
/* Removes record, lease, epoch, orders and remembered keys of a job. A held lease is an error. */
bool job_store_forget(struct deployment *target, int db, const char *job, struct err *err);

#endif
