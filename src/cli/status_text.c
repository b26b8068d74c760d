/* The jobs of a target as text. The lag is only told of a job that runs. Of one that does not, the
 * watermark is the answer that counts after a disaster: the target has everything before it. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/units.h"
#include "cli/status_view.h"
#include "output/line.h"
#include "output/table.h"

enum { NUMBER_MAX = 32, LINE_MAX_LEN = 1024 };

static int64_t to_ms(int64_t us) {
    return (us + 999) / 1000;
}

/* "2026-01-31T23:59:59.123Z, 1.20 s ago", or the words for none. */
static const char *time_and_age(const struct job_seen *job, int64_t us, const char *none,
                                char buf[LINE_MAX_LEN]) {
    char when[NUMBER_MAX], age[NUMBER_MAX];
    if (us == 0) return none;
    snprintf(buf, LINE_MAX_LEN, "%s, %s ago", units_format_time(us, when, sizeof(when)),
             units_format_duration(status_view_age_ms(job, us), age, sizeof(age)));
    return buf;
}

static void status_print_trouble(const struct job_seen *job) {
    const struct record_trouble *trouble = &job->record.trouble;
    char line[LINE_MAX_LEN];
    if (trouble->text[0] == '\0') return;
    line_print(stdout, "  TROUBLE    %s%s%s, since %s", trouble->place,
               trouble->place[0] != '\0' ? ": " : "", trouble->text,
               time_and_age(job, trouble->since_us, "an unknown time", line));
}

static void status_print_watermark(const struct status_view *view, const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char line[LINE_MAX_LEN], when[NUMBER_MAX], limit[NUMBER_MAX];
    line_print(stdout, "  watermark  %s",
               time_and_age(job, r->watermark_us,
                            "none yet: the target is not known to hold everything", line));
    if (status_view_clocks_differ(r))
        line_print(stdout, "             %s by the source's own clock",
                   units_format_time(r->source_time_us, when, sizeof(when)));
    if (status_view_is_late(view, job))
        line_print(stdout, "  LATE       the watermark is older than --max-lag, %s",
                   units_format_duration(view->options->max_lag_ms, limit, sizeof(limit)));
    if (r->only)
        line_print(stdout, "  liveonly   only changes are followed: keys that the source held when "
                           "the job began were never copied");
}

static void status_print_lag(const struct job_seen *job) {
    const struct job_record *r = &job->record;
    if (!job->alive || r->watermark_us == 0) return;
    char line[LINE_MAX_LEN];
    int used = snprintf(line, sizeof(line), "  lag        %" PRId64 " ms when that was written",
                        status_view_lag_ms(r));
    if (r->lag.minute_max_us > 0)
        used +=
            snprintf(line + used, sizeof(line) - (size_t)used,
                     "; at most %" PRId64 " ms in the last minute, %" PRId64 " ms in the last hour",
                     to_ms(r->lag.minute_max_us), to_ms(r->lag.hour_max_us));
    if (r->lag.p99_us > 0)
        snprintf(line + used, sizeof(line) - (size_t)used,
                 "; since the start 99 %% of the time below %" PRId64 " ms, at most %" PRId64 " ms",
                 to_ms(r->lag.p99_us), to_ms(r->lag.max_us));
    line_print(stdout, "%s", line);
    if (r->gather_ms > 0)
        line_print(stdout,
                   "  busy       the source's server is: changes are gathered for up to %" PRId64
                   " ms, which is part of the lag",
                   r->gather_ms);
}

/* The process that does the work, or the reason to think that there is none. */
static void status_print_process(const struct status_view *view, const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char line[LINE_MAX_LEN], when[NUMBER_MAX];
    const char *record_age = time_and_age(job, r->updated_us, "?", line), *standby;
    enum status_run run = status_view_run(view, job);
    if (run == STATUS_SILENT)
        line_print(stdout, "  SILENT     a longhaul %s, but its record is of %s",
                   job->held ? "holds this job" : "is connected for this job, without the lease",
                   record_age);
    if (run == STATUS_ABSENT)
        line_print(stdout, "  no longhaul is running for this job%s; its record is of %s",
                   view->clients != NULL ? ", or it does not reach this target" : "", record_age);
    if (run != STATUS_RUNS && r->watermark_us > 0 && !r->only)
        line_print(stdout, "  every write that the source acknowledged before %s is on this target",
                   units_format_time(r->watermark_us, when, sizeof(when)));
    for (size_t i = 0; (standby = status_clients_standby(view->clients, r->job, i)) != NULL; i++)
        line_print(stdout, "  standby    %s waits to take over", standby);
}

static void status_print_counts(const struct job_record *r) {
    char n[4][NUMBER_MAX];
    line_print(stdout, "  keys       %s copied, %s deleted, %s waiting, %s given up",
               units_format_number(r->copied, n[0], NUMBER_MAX),
               units_format_number(r->deleted, n[1], NUMBER_MAX),
               units_format_number(r->waiting, n[2], NUMBER_MAX),
               units_format_number(r->given_up, n[3], NUMBER_MAX));
    if (r->extra_keys > 0)
        line_print(stdout, "  extra      %s keys of the target were never copied by this job",
                   units_format_number(r->extra_keys, n[0], NUMBER_MAX));
    if (r->target_evicted > 0)
        line_print(stdout, "  evicted    %s keys by the target, for lack of memory",
                   units_format_number(r->target_evicted, n[0], NUMBER_MAX));
}

static void status_print_gaps(const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char line[LINE_MAX_LEN];
    for (size_t i = 0; i < r->n_gaps; i++)
        line_print(stdout, "  gap        %s, since %s: %s", r->gaps[i].place,
                   time_and_age(job, r->gaps[i].since_us, "the beginning", line), r->gaps[i].why);
}

static void status_print_holds(const struct jobs *jobs, const struct job_seen *job) {
    const struct job_record *r = &job->record;
    char deletions[NUMBER_MAX], seen[NUMBER_MAX];
    for (size_t i = 0; i < r->n_holds; i++)
        line_print(stdout, "  HELD       %s: %s of %s keys would be deleted: %s", r->holds[i].place,
                   units_format_number(r->holds[i].deletions, deletions, sizeof(deletions)),
                   units_format_number(r->holds[i].seen, seen, sizeof(seen)), r->holds[i].why);
    if (r->n_holds == 0) return;
    char *command = jobs_resume_command(jobs, job);
    line_print(stdout, "             Is the source right? Then this lets it happen: %s", command);
    free(command);
}

static void status_print_nodes(const struct job_seen *job) {
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

void status_view_text(const struct status_view *view) {
    for (size_t i = 0; i < view->jobs->n; i++) {
        const struct job_seen *job = view->jobs->list[i];
        const struct job_record *r = &job->record;
        if (i > 0) fputc('\n', stdout);
        line_print(stdout, "%s: %s -> %s", r->job, r->source, r->target);
        line_print(stdout, "  phase      %s%s%s", r->phase, job->alive ? ", by " : "",
                   job->alive ? r->owner : "");
        if (r->settings[0] != '\0') line_print(stdout, "  about      %s", r->settings);
        status_print_trouble(job);
        status_print_watermark(view, job);
        status_print_lag(job);
        status_print_process(view, job);
        status_print_counts(r);
        status_print_gaps(job);
        status_print_holds(view->jobs, job);
        status_print_nodes(job);
    }
}
