/* The live jobs that `status`, `resume` and `forget` are asked about: from the target, or from a
 * state directory. */
#ifndef LONGHAUL_CLI_JOBS_H
#define LONGHAUL_CLI_JOBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/options.h"
#include "net/loop.h"
#include "server/deployment.h"
#include "store/record.h"

/* A record that is older than this is not one of a job that runs; it is written about once a
 * second. */
enum { JOBS_FRESH_MS = 15 * 1000 };

struct job_seen {
    struct job_record record;
    int db;           /* in which its record lies; -1: a state directory */
    char holder[128]; /* of the lease, or its last owner */
    bool held;        /* its lease, or the lock of its directory */
    bool alive;       /* held, and the record is fresh */
    bool healthy;     /* alive, and there is nothing to attend to */
    int64_t seen_us;
};

struct jobs {
    const struct options *options;
    struct loop *loop;         /* NULL where only a directory is asked */
    struct deployment *target; /* the same */
    int db;
    char only[RECORD_JOB_MAX]; /* the job asked for; "": all */
    struct job_seen **list;
    size_t n;
};

/* Reads all that the options ask for. No job at all is an error. Release it with jobs_close(), also
 * on false. */
bool jobs_open(struct jobs *jobs, const struct options *options, struct err *err);
void jobs_close(struct jobs *jobs);

/* "longhaul resume TARGET --job NAME": releases the held deletions of this job. The caller
 * frees it. */
char *jobs_resume_command(const struct jobs *jobs, const struct job_seen *job);

/* {"command", "target", "state_dir"} */
json_t *jobs_document(const struct jobs *jobs, const char *command);

#endif
