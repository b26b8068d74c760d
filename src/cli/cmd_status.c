/* longhaul status: the live jobs of a target, or the one of a state directory. */
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/jobs.h"
#include "cli/status_clients.h"
#include "cli/status_history.h"
#include "cli/status_view.h"
#include "output/json_out.h"

static int status_judge(const struct status_view *view) {
    for (size_t i = 0; i < view->jobs->n; i++)
        if (!status_view_is_healthy(view, view->jobs->list[i])) return STATUS_FINDINGS;
    return STATUS_DONE;
}

static int status_print_json(const struct status_view *view, int status, struct err *error) {
    json_t *document = jobs_document(view->jobs, "status");
    json_object_set_new(document, "jobs", status_view_json(view));
    if (status != STATUS_TROUBLE && !status_history_json(view->options, document, error))
        status = complain(error);
    json_object_set_new(document, "error", json_of_error(error));
    struct err err;
    return json_out(document, status, &err) ? status : complain(&err);
}

static int status_print_text(const struct status_view *view, int status, struct err *error) {
    if (status == STATUS_TROUBLE) return status;
    status_view_text(view);
    return status_history_text(view->options, error) ? status : complain(error);
}

int cmd_status(const struct options *options) {
    struct jobs jobs;
    struct err err = { 0 };
    struct status_clients *clients = NULL;
    struct status_view view = { .options = options, .jobs = &jobs };
    bool good = jobs_open(&jobs, options, &err);
    if (good && jobs.target != NULL) view.clients = clients = status_clients_read(jobs.target);
    int status = good ? status_judge(&view) : complain(&err);
    if (options->output == OPT_OUTPUT_JSON) {
        status = status_print_json(&view, status, &err);
    } else {
        status = status_print_text(&view, status, &err);
    }
    status_clients_free(&clients);
    jobs_close(&jobs);
    return status;
}
