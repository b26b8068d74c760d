/* See jobs.h. */
#include "cli/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "output/json_out.h"
#include "store/job_store.h"
#include "store/state.h"

static void jobs_add(struct jobs *jobs, const struct job_record *record, int db, bool held,
                     const char *holder) {
    if (jobs->only[0] != '\0' && strcmp(jobs->only, record->job) != 0) return;
    struct job_seen *job = mem_zalloc(sizeof(*job));
    record_copy(&job->record, record);
    job->db = db;
    job->held = held;
    snprintf(job->holder, sizeof(job->holder), "%s", holder);
    job->seen_us = clock_wall_us();
    job->alive = held && job->seen_us - record->updated_us < (int64_t)JOBS_FRESH_MS * 1000;
    job->healthy =
        job->alive && record->n_gaps == 0 && record->n_holds == 0 && record->given_up == 0;
    jobs->list = mem_array(jobs->list, jobs->n + 1, sizeof(struct job_seen *));
    jobs->list[jobs->n++] = job;
}

/* Its record tells the name of the job that the target is asked about, or is all there is. */
static bool jobs_read_directory(struct jobs *jobs, bool alone, struct err *err) {
    struct job_record record = { 0 };
    bool locked, ok = state_read(jobs->options->state_dir, &record, &locked, err);
    if (ok && jobs->only[0] != '\0' && strcmp(jobs->only, record.job) != 0)
        ok = err_set(err, ERR_USAGE, jobs->options->state_dir, "belongs to job %s, not to %s",
                     record.job, jobs->only);
    if (ok && alone) jobs_add(jobs, &record, -1, locked, record.owner);
    if (ok) snprintf(jobs->only, sizeof(jobs->only), "%s", record.job);
    record_fini(&record);
    return ok;
}

static bool jobs_read_store(struct jobs *jobs, struct err *err) {
    struct job_list list = { 0 };
    bool ok = job_store_read_all(jobs->target, jobs->db, &list, err);
    for (size_t i = 0; i < list.n && ok; i++)
        jobs_add(jobs, &list.jobs[i].record, list.jobs[i].db, list.jobs[i].lease_held,
                 list.jobs[i].holder);
    job_list_fini(&list);
    return ok;
}

static bool jobs_read_target(struct jobs *jobs, struct err *err) {
    jobs->loop = loop_new(err);
    if (jobs->loop == NULL) return false;
    signals_install(jobs->loop);
    jobs->target = side_open(jobs->loop, jobs->options, OPT_TARGET, jobs->options->timeout_ms, err);
    if (jobs->target == NULL) return false;
    const struct endpoint *endpoint = deployment_endpoint(jobs->target);
    jobs->db = endpoint->db;
    if (!jobs_read_store(jobs, err)) return false;
    if (jobs->n > 0) return true;
    char job[RECORD_JOB_MAX + 8] = "live job";
    if (jobs->only[0] != '\0') snprintf(job, sizeof(job), "job %s", jobs->only);
    return err_set(err, ERR_USAGE, "target", "%s knows no %s in database %d", endpoint->label, job,
                   jobs->db);
}

bool jobs_open(struct jobs *jobs, const struct options *options, struct err *err) {
    *jobs = (struct jobs){ .options = options };
    if (options->job != NULL) snprintf(jobs->only, sizeof(jobs->only), "%s", options->job);
    bool alone = options->side[OPT_TARGET].uri == NULL;
    if (options->state_dir != NULL && !jobs_read_directory(jobs, alone, err)) return false;
    return alone || jobs_read_target(jobs, err);
}

void jobs_close(struct jobs *jobs) {
    for (size_t i = 0; i < jobs->n; i++) {
        record_fini(&jobs->list[i]->record);
        free(jobs->list[i]);
    }
    free(jobs->list);
    deployment_free(&jobs->target);
    if (jobs->loop == NULL) return;
    signals_uninstall();
    loop_run_once(jobs->loop, 0);
    loop_free(&jobs->loop);
}

char *jobs_resume_command(const struct jobs *jobs, const struct job_seen *job) {
    if (jobs->target == NULL)
        return mem_printf("longhaul resume --state-dir %s", jobs->options->state_dir);
    return mem_printf("longhaul resume %s --job %s", deployment_endpoint(jobs->target)->label,
                      job->record.job);
}

json_t *jobs_document(const struct jobs *jobs, const char *command) {
    json_t *document = json_pack("{ss}", "command", command);
    const char *dir = jobs->options->state_dir;
    json_object_set_new(document, "target",
                        jobs->target == NULL ? json_null()
                                             : json_of_bytes(bytes_of_str(
                                                   deployment_endpoint(jobs->target)->label)));
    json_object_set_new(document, "state_dir",
                        dir == NULL ? json_null() : json_of_bytes(bytes_of_str(dir)));
    return document;
}
