/* longhaul resume: the operator has looked at the source, and the deletions that a live job holds
 * may happen.
 *
 * Only what is held is released: an order that waits for something to come would let the next
 * disaster through. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/jobs.h"
#include "cli/report.h"
#include "output/json_out.h"
#include "store/keeper.h"
#include "store/state.h"

/* The only job, or the only one that holds deletions. NULL, with an error that names them, where
 * there are several. */
static const struct job_seen *choose(const struct jobs *jobs, struct err *err) {
    const struct job_seen *chosen = NULL;
    char names[256] = "";
    size_t holding = 0;
    for (size_t i = 0; i < jobs->n; i++) {
        if (jobs->list[i]->record.n_holds == 0) continue;
        size_t used = strlen(names);
        snprintf(names + used, sizeof(names) - used, "%s%s", holding++ > 0 ? ", " : "",
                 jobs->list[i]->record.job);
        chosen = jobs->list[i];
    }
    if (holding <= 1) return chosen != NULL ? chosen : jobs->list[0];
    err_set(err, ERR_USAGE, "--job", "several jobs hold deletions; name one of %s", names);
    return NULL;
}

static bool give_order(const struct jobs *jobs, const struct job_seen *job, struct err *err) {
    if (jobs->target == NULL) return state_order_release(jobs->options->state_dir, err);
    return keeper_order_release(jobs->target, jobs->db, job->record.job, err);
}

static void print_text(const struct jobs *jobs, const struct job_seen *job, bool ordered) {
    const struct job_record *r = &job->record;
    char deletions[32];
    if (!ordered) {
        printf("job %s holds no deletions; nothing was ordered\n", r->job);
        return;
    }
    printf("job %s may delete what it holds:\n", r->job);
    for (size_t i = 0; i < r->n_holds; i++)
        printf("  %s: %s keys\n", r->holds[i].place,
               units_format_number(r->holds[i].deletions, deletions, sizeof(deletions)));
    if (job->alive) {
        puts("It is running and follows the order within seconds.");
    } else if (jobs->target == NULL) {
        puts("No longhaul is running for it; the order waits in the state directory.");
    } else {
        printf("No longhaul is running for it; the order waits on the target for %d hours.\n",
               KEEPER_ORDER_S / 3600);
    }
}

static int print_json(const struct jobs *jobs, const struct job_seen *job, bool ordered, int status,
                      const struct err *error) {
    json_t *document = jobs_document(jobs, "resume");
    json_t *record = job != NULL ? record_to_json(&job->record) : NULL;
    json_object_set_new(document, "job", job != NULL ? json_string(job->record.job) : json_null());
    json_object_set_new(document, "ordered", json_boolean(ordered));
    json_object_set_new(document, "alive", json_boolean(job != NULL && job->alive));
    json_object_set(document, "holds",
                    record != NULL ? json_object_get(record, "holds") : json_null());
    json_object_set_new(document, "error", json_of_error(error));
    json_decref(record);
    struct err err;
    return json_out(document, status, &err) ? status : complain(&err);
}

int cmd_resume(const struct options *options) {
    struct jobs jobs;
    struct err err = { 0 };
    bool ordered = false;
    const struct job_seen *job = jobs_open(&jobs, options, &err) ? choose(&jobs, &err) : NULL;
    if (job != NULL && job->record.n_holds > 0) ordered = give_order(&jobs, job, &err);
    int status = ordered ? STATUS_DONE : err.code != ERR_NONE ? complain(&err) : STATUS_FINDINGS;
    if (options->output == OPT_OUTPUT_JSON) {
        status = print_json(&jobs, job, ordered, status, &err);
    } else if (status != STATUS_TROUBLE) {
        print_text(&jobs, job, ordered);
    }
    jobs_close(&jobs);
    return status;
}
