/* longhaul forget: removes the record, the lease and the orders of a live job that is over, so that
 * another job may write where it wrote. The keys that it copied stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/jobs.h"
#include "cli/report.h"
#include "output/json_out.h"
#include "store/job_store.h"
#include "store/state.h"

/* The only job that fits. Jobs of one name in several databases are forgotten together. */
static bool forget_may(const struct jobs *jobs, struct err *err) {
    for (size_t i = 1; i < jobs->n; i++)
        if (strcmp(jobs->list[i]->record.job, jobs->list[0]->record.job) != 0)
            return err_set(err, ERR_USAGE, "--job",
                           "the target knows several jobs; name the one to be forgotten");
    return true;
}

/* NULL: the job does not run. */
static const struct job_seen *forget_find_running(const struct jobs *jobs) {
    for (size_t i = 0; i < jobs->n; i++)
        if (jobs->list[i]->held) return jobs->list[i];
    return NULL;
}

/* The target first: a directory that is left over can be forgotten again. */
static bool forget_all(const struct jobs *jobs, struct err *err) {
    bool ok = true;
    for (size_t i = 0; i < jobs->n && ok && jobs->target != NULL; i++)
        ok = job_store_forget(jobs->target, jobs->list[i]->db, jobs->list[i]->record.job, err);
    if (jobs->options->state_dir == NULL) return ok;
    return ok && state_forget(jobs->options->state_dir, err);
}

static int forget_print_json(const struct jobs *jobs, bool forgotten, int status,
                             const struct err *error) {
    json_t *document = jobs_document(jobs, "forget");
    json_object_set_new(document, "job",
                        jobs->n > 0 ? json_string(jobs->list[0]->record.job) : json_null());
    json_object_set_new(document, "forgotten", json_boolean(forgotten));
    json_object_set_new(document, "error", json_of_error(error));
    struct err err;
    return json_out(document, status, &err) ? status : complain(&err);
}

int cmd_forget(const struct options *options) {
    struct jobs jobs;
    struct err err = { 0 };
    bool found = jobs_open(&jobs, options, &err) && forget_may(&jobs, &err);
    const struct job_seen *running = found ? forget_find_running(&jobs) : NULL;
    bool forgotten = found && running == NULL && forget_all(&jobs, &err);
    int status = forgotten ? STATUS_DONE : err.code != ERR_NONE ? complain(&err) : STATUS_FINDINGS;
    if (options->output == OPT_OUTPUT_JSON) {
        status = forget_print_json(&jobs, forgotten, status, &err);
    } else if (forgotten) {
        printf("job %s is forgotten; the keys that it copied stay\n", jobs.list[0]->record.job);
    } else if (running != NULL) {
        printf("job %s is held by %s; nothing was removed. End that longhaul first, or wait until"
               " its lease has expired\n",
               running->record.job, running->holder);
    }
    jobs_close(&jobs);
    return status;
}
