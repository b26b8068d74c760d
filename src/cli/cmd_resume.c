/* longhaul resume: the operator has looked at the source, and the deletions that a live job holds
 * may be made.
 *
 * An order names the hold that it releases, by its id: an order that is followed late never
 * releases another hold that came after it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/jobs.h"
#include "cli/report.h"
#include "output/json_out.h"
#include "store/orders.h"
#include "store/state.h"

/* The only job, or the only one that holds deletions. NULL, with an error that names them, where
 * there are several. */
static const struct job_seen *resume_choose(const struct jobs *jobs, struct err *err) {
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

static bool resume_order(const struct jobs *jobs, const struct job_seen *job,
                         const struct record_hold *hold, struct err *err) {
    struct order order;
    if (hold->id[0] == '\0')
        return err_set(err, ERR_UNSUPPORTED, "job",
                       "%s runs in a longhaul of an older version, whose hold has no id; restart it"
                       " with this version, then give the order again",
                       job->record.job);
    order_make_release(&order, hold->id);
    if (jobs->target == NULL) return state_give_order(jobs->options->state_dir, &order, err);
    return orders_give(jobs->target, job->db, job->record.job, &order, err);
}

static bool resume_order_all(const struct jobs *jobs, const struct job_seen *job, struct err *err) {
    bool ok = job->record.n_holds > 0;
    for (size_t i = 0; i < job->record.n_holds && ok; i++)
        ok = resume_order(jobs, job, &job->record.holds[i], err);
    return ok;
}

static void resume_print_text(const struct jobs *jobs, const struct job_seen *job, bool ordered) {
    const struct job_record *r = &job->record;
    char deletions[32];
    if (!ordered) {
        printf("job %s holds no deletions; nothing was ordered\n", r->job);
        return;
    }
    printf("job %s may delete what it holds:\n", r->job);
    for (size_t i = 0; i < r->n_holds; i++)
        printf("  hold %s, %s: %s keys\n", r->holds[i].id, r->holds[i].place,
               units_format_number(r->holds[i].deletions, deletions, sizeof(deletions)));
    if (job->alive) {
        puts("It is running and follows the order within seconds.");
    } else if (jobs->target == NULL) {
        puts("No longhaul is running for it; the order waits in the state directory.");
    } else {
        printf("No longhaul is running for it; the order waits on the target for %d hours.\n",
               ORDER_LIFE_S / 3600);
    }
}

static int resume_print_json(const struct jobs *jobs, const struct job_seen *job, bool ordered,
                             int status, const struct err *error) {
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
    const struct job_seen *job =
        jobs_open(&jobs, options, &err) ? resume_choose(&jobs, &err) : NULL;
    bool ordered = job != NULL && resume_order_all(&jobs, job, &err);
    int status = ordered ? STATUS_DONE : err.code != ERR_NONE ? complain(&err) : STATUS_FINDINGS;
    if (options->output == OPT_OUTPUT_JSON) {
        status = resume_print_json(&jobs, job, ordered, status, &err);
    } else if (status != STATUS_TROUBLE) {
        resume_print_text(&jobs, job, ordered);
    }
    jobs_close(&jobs);
    return status;
}
