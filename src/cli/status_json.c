/* The jobs of a target as JSON: the record, and conclusions from it. */
#include <stdlib.h>

#include "base/units.h"
#include "cli/status_view.h"
#include "output/json_out.h"

enum { NUMBER_MAX = 32 };

/* Beside "NAME_us" goes "NAME" in words, null for none. */
static void add_time(json_t *object, const char *name, int64_t us) {
    char when[NUMBER_MAX];
    json_object_set_new(object, name,
                        us == 0 ? json_null()
                                : json_string(units_format_time(us, when, sizeof(when))));
}

static void add_times(json_t *json, const struct job_record *r) {
    add_time(json, "watermark", r->watermark_us);
    add_time(json, "updated", r->updated_us);
    json_t *nodes = json_object_get(json, "nodes"), *gaps = json_object_get(json, "gaps");
    for (size_t i = 0; i < r->n_nodes; i++)
        add_time(json_array_get(nodes, i), "watermark", r->nodes[i].watermark_us);
    for (size_t i = 0; i < r->n_gaps; i++)
        add_time(json_array_get(gaps, i), "since", r->gaps[i].since_us);
    json_object_set_new(json, "clocks_differ", json_boolean(status_view_clocks_differ(r)));
}

static json_t *standbys(const struct status_view *view, const struct job_record *r) {
    json_t *list = json_array();
    const char *owner;
    for (size_t i = 0; (owner = status_clients_standby(view->clients, r->job, i)) != NULL; i++)
        json_array_append_new(list, json_of_bytes(bytes_of_str(owner)));
    return list;
}

static json_t *job_json(const struct status_view *view, const struct job_seen *job) {
    static const char *const runs[] = { "running", "silent", "absent" };
    const struct job_record *r = &job->record;
    json_t *json = record_to_json(r);
    json_object_set_new(json, "alive", json_boolean(job->alive));
    json_object_set_new(json, "process", json_string(runs[status_view_run(view, job)]));
    json_object_set_new(json, "lease_held", json_boolean(job->held));
    json_object_set_new(json, "standbys", standbys(view, r));
    json_object_set_new(json, "healthy", json_boolean(status_view_is_healthy(view, job)));
    bool lag = job->alive && r->watermark_us > 0;
    json_object_set_new(json, "lag_ms", lag ? json_integer(status_view_lag_ms(r)) : json_null());
    json_object_set_new(json, "watermark_age_ms",
                        r->watermark_us > 0 ? json_integer(status_view_age_ms(job, r->watermark_us))
                                            : json_null());
    json_object_set_new(json, "late", json_boolean(status_view_is_late(view, job)));
    add_times(json, r);
    if (r->n_holds > 0) {
        char *command = jobs_resume_command(view->jobs, job);
        json_object_set_new(json, "resume_command", json_of_bytes(bytes_of_str(command)));
        free(command);
    }
    return json;
}

json_t *status_view_json(const struct status_view *view) {
    json_t *list = json_array();
    for (size_t i = 0; i < view->jobs->n; i++)
        json_array_append_new(list, job_json(view, view->jobs->list[i]));
    return list;
}
