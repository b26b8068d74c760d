/* The jobs as `longhaul status` sees them: judged once, and shown as text or as JSON. */
#ifndef LONGHAUL_CLI_STATUS_VIEW_H
#define LONGHAUL_CLI_STATUS_VIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/jobs.h"
#include "cli/status_clients.h"

/* Does a process do the job's work? */
enum status_run {
    STATUS_RUNS,   /* it holds the lease, and its record is fresh */
    STATUS_SILENT, /* it holds the lease or is connected, but does not write its record */
    STATUS_ABSENT  /* nothing is to be seen of one */
};

struct status_view {
    const struct options *options;
    const struct jobs *jobs;
    const struct status_clients *clients; /* NULL: a state directory alone */
};

enum status_run status_view_run(const struct status_view *view, const struct job_seen *job);
/* The watermark is older than --max-lag. */
bool status_view_is_late(const struct status_view *view, const struct job_seen *job);
/* Nothing of the job needs attention. */
bool status_view_is_healthy(const struct status_view *view, const struct job_seen *job);

void status_view_text(const struct status_view *view);
json_t *status_view_json(const struct status_view *view);

/* The times that text and JSON show, in milliseconds. */
int64_t status_view_age_ms(const struct job_seen *job, int64_t us);
int64_t status_view_lag_ms(const struct job_record *record);
/* The source's clock and longhaul's differ by more than a second. */
bool status_view_clocks_differ(const struct job_record *record);

#endif
