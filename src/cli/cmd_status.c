/* longhaul status: what the target, or a state directory, says of its live jobs.
 *
 * The lag is only told of a job that runs. Of one that does not, the watermark is the answer that
 * counts after a disaster: what the target is sure to have. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/jobs.h"
#include "cli/report.h"
#include "output/json_out.h"
#include "output/table.h"

enum { NUMBER_MAX = 32, LINE_MAX_LEN = 1024 };

static int64_t since_ms(const struct job_seen *job, int64_t us) {
    int64_t ms = (job->seen_us - us) / 1000;
    return ms < 0 ? 0 : ms;
}

static int64_t to_ms(int64_t us) {
    return (us + 999) / 1000;
}

/* As the job saw it: the record itself is up to a second old. */
static int64_t lag_ms(const struct job_record *r) {
    return r->updated_us > r->watermark_us ? to_ms(r->updated_us - r->watermark_us) : 0;
}

/* "2026-01-31T23:59:59.123Z, 1.20 s ago", or the words for none. */
static const char *time_and_age(const struct job_seen *job, int64_t us, const char *none,
                                char buf[LINE_MAX_LEN]) {
    char when[NUMBER_MAX], age[NUMBER_MAX];
    if (us == 0) return none;
    snprintf(buf, LINE_MAX_LEN, "%s, %s ago", units_format_time(us, when, sizeof(when)),
             units_format_duration(since_ms(job, us), age, sizeof(age)));
    return buf;
}

/* ---- text ---- */

static void print_promise(const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char line[LINE_MAX_LEN], when[NUMBER_MAX];
    printf("  watermark  %s\n",
           time_and_age(job, r->watermark_us,
                        "none yet: the target is not known to hold everything", line));
    if (job->alive && r->watermark_us > 0) {
        printf("  lag        %" PRId64 " ms when that was written", lag_ms(r));
        if (r->lag_p99_us > 0)
            printf("; 99 %% of the time below %" PRId64 " ms, at most %" PRId64 " ms",
                   to_ms(r->lag_p99_us), to_ms(r->lag_max_us));
        putchar('\n');
        if (r->gather_ms > 0)
            printf("  busy       the source's server is: changes are gathered for up to %" PRId64
                   " ms, which is part of the lag\n",
                   r->gather_ms);
    } else if (!job->alive) {
        printf("  no longhaul is running for this job%s; its record is of %s\n",
               job->held ? " any more, or it cannot write" : "",
               time_and_age(job, r->updated_us, "?", line));
        if (r->watermark_us > 0)
            printf("  every write that the source acknowledged before %s is on this target\n",
                   units_format_time(r->watermark_us, when, sizeof(when)));
    }
}

static void print_counts(const struct job_record *r) {
    char n[4][NUMBER_MAX];
    printf("  keys       %s copied, %s deleted, %s waiting, %s given up\n",
           units_format_number(r->copied, n[0], NUMBER_MAX),
           units_format_number(r->deleted, n[1], NUMBER_MAX),
           units_format_number(r->waiting, n[2], NUMBER_MAX),
           units_format_number(r->given_up, n[3], NUMBER_MAX));
}

static void print_gaps(const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char line[LINE_MAX_LEN];
    for (size_t i = 0; i < r->n_gaps; i++)
        printf("  gap        %s, since %s: %s\n", r->gaps[i].place,
               time_and_age(job, r->gaps[i].since_us, "the beginning", line), r->gaps[i].why);
}

static void print_holds(const struct jobs *jobs, const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char deletions[NUMBER_MAX], seen[NUMBER_MAX];
    for (size_t i = 0; i < r->n_holds; i++)
        printf("  HELD       %s: %s of %s keys would be deleted: %s\n", r->holds[i].place,
               units_format_number(r->holds[i].deletions, deletions, sizeof(deletions)),
               units_format_number(r->holds[i].seen, seen, sizeof(seen)), r->holds[i].why);
    if (r->n_holds == 0) return;
    char *command = jobs_resume_command(jobs, job);
    printf("             Is the source right? Then this lets it happen: %s\n", command);
    free(command);
}

static void print_nodes(const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char line[LINE_MAX_LEN];
    struct table *table = table_new();
    for (size_t i = 0; i < r->n_nodes; i++) {
        table_text(table, "node");
        table_text(table, "     %s", r->nodes[i].address);
        table_text(table, "%s",
                   time_and_age(job, r->nodes[i].watermark_us, "no watermark yet", line));
        table_end_row(table);
    }
    table_print(table, stdout, 2);
    table_free(&table);
}

static void print_text(const struct jobs *jobs) {
    for (size_t i = 0; i < jobs->n; i++) {
        const struct job_seen *job = jobs->list[i];
        const struct job_record *r = &job->record;
        printf("%s%s: %s -> %s\n", i > 0 ? "\n" : "", r->job, r->source, r->target);
        printf("  phase      %s%s%s\n", r->phase, job->alive ? ", by " : "",
               job->alive ? r->owner : "");
        if (r->settings[0] != '\0') printf("  about      %s\n", r->settings);
        print_promise(job);
        print_counts(r);
        print_gaps(job);
        print_holds(jobs, job);
        print_nodes(job);
    }
}

/* ---- JSON ---- */

/* Beside "NAME_us" goes "NAME" in words, null for none. */
static void add_time(json_t *object, const char *name, int64_t us) {
    char when[NUMBER_MAX];
    json_object_set_new(object, name,
                        us == 0 ? json_null()
                                : json_string(units_format_time(us, when, sizeof(when))));
}

static json_t *job_json(const struct jobs *jobs, const struct job_seen *job) {
    const struct job_record *r = &job->record;
    json_t *json = record_to_json(r), *lists;
    json_object_set_new(json, "alive", json_boolean(job->alive));
    json_object_set_new(json, "lease_held", json_boolean(job->held));
    json_object_set_new(json, "healthy", json_boolean(job->healthy));
    bool lag = job->alive && r->watermark_us > 0;
    json_object_set_new(json, "lag_ms", lag ? json_integer(lag_ms(r)) : json_null());
    json_object_set_new(json, "watermark_age_ms",
                        r->watermark_us > 0 ? json_integer(since_ms(job, r->watermark_us))
                                            : json_null());
    add_time(json, "watermark", r->watermark_us);
    add_time(json, "updated", r->updated_us);
    lists = json_object_get(json, "nodes");
    for (size_t i = 0; i < r->n_nodes; i++)
        add_time(json_array_get(lists, i), "watermark", r->nodes[i].watermark_us);
    lists = json_object_get(json, "gaps");
    for (size_t i = 0; i < r->n_gaps; i++)
        add_time(json_array_get(lists, i), "since", r->gaps[i].since_us);
    if (r->n_holds > 0) {
        char *command = jobs_resume_command(jobs, job);
        json_object_set_new(json, "resume_command", json_of_bytes(bytes_of_str(command)));
        free(command);
    }
    return json;
}

static int print_json(const struct jobs *jobs, int status, const struct err *error) {
    json_t *document = jobs_document(jobs, "status"), *list = json_array();
    for (size_t i = 0; i < jobs->n; i++) json_array_append_new(list, job_json(jobs, jobs->list[i]));
    json_object_set_new(document, "jobs", list);
    json_object_set_new(document, "error", json_of_error(error));
    struct err err;
    return json_out(document, status, &err) ? status : complain(&err);
}

/* ---- the command ---- */

int cmd_status(const struct options *options) {
    struct jobs jobs;
    struct err err = { 0 };
    int status = STATUS_DONE;
    if (!jobs_open(&jobs, options, &err)) status = complain(&err);
    for (size_t i = 0; i < jobs.n && status == STATUS_DONE; i++)
        if (!jobs.list[i]->healthy) status = STATUS_FINDINGS;
    if (options->output == OPT_OUTPUT_JSON) {
        status = print_json(&jobs, status, &err);
    } else if (status != STATUS_TROUBLE) {
        print_text(&jobs);
    }
    jobs_close(&jobs);
    return status;
}
