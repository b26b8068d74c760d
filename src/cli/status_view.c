/* See status_view.h: judges a job, without printing. */
#include "cli/status_view.h"

#define CLOCKS_DIFFER_US INT64_C(1000000)

int64_t status_view_age_ms(const struct job_seen *job, int64_t us) {
    int64_t ms = (job->seen_us - us) / 1000;
    return ms < 0 ? 0 : ms;
}

/* As the job saw it: the record itself is up to a second old. */
int64_t status_view_lag_ms(const struct job_record *r) {
    return r->updated_us > r->watermark_us ? (r->updated_us - r->watermark_us + 999) / 1000 : 0;
}

bool status_view_clocks_differ(const struct job_record *r) {
    int64_t ahead_us = r->source_time_us - r->watermark_us;
    if (r->source_time_us == 0 || r->watermark_us == 0) return false;
    return ahead_us > CLOCKS_DIFFER_US || ahead_us < -CLOCKS_DIFFER_US;
}

enum status_run status_view_run(const struct status_view *view, const struct job_seen *job) {
    if (job->alive) return STATUS_RUNS;
    bool connected = status_clients_working(view->clients, job->record.job) > 0;
    return job->held || connected ? STATUS_SILENT : STATUS_ABSENT;
}

bool status_view_is_late(const struct status_view *view, const struct job_seen *job) {
    int64_t limit_ms = view->options->max_lag_ms;
    const struct job_record *r = &job->record;
    if (limit_ms == 0) return false;
    return r->watermark_us == 0 || status_view_age_ms(job, r->watermark_us) > limit_ms;
}

bool status_view_is_healthy(const struct status_view *view, const struct job_seen *job) {
    const struct job_record *r = &job->record;
    return job->alive && r->n_gaps == 0 && r->n_holds == 0 && r->given_up == 0 &&
           r->trouble.text[0] == '\0' && !status_view_is_late(view, job);
}
