/* See side_ids.h. */
#include "job/side_ids.h"

/* all: every server has told its ids. */
struct ids_now {
    struct record_ids ids;
    bool all;
};

static void side_ids_add_cluster(struct deployment *side, struct record_ids *ids) {
    struct topology *t = deployment_topology(side);
    for (int i = 0; i < t->n_nodes && t->cluster; i++) record_ids_add(ids, t->nodes[i].id);
    topology_unref(&t);
}

static void add_server_ids(void *ctx, struct bytes info) {
    struct record_ids *ids = ctx;
    struct server_info parsed;
    server_info_parse(&parsed, info);
    record_ids_add(ids, parsed.run_id);
    record_ids_add(ids, parsed.replid);
}

bool side_ids_ask(struct deployment *side, struct record_ids *ids, struct err *err) {
    side_ids_add_cluster(side, ids);
    return deployment_primaries_info(side, add_server_ids, ids, err);
}

static void add_target_ids(void *ctx, const char *run_id, const char *replid) {
    struct ids_now *now = ctx;
    now->all = now->all && run_id[0] != '\0';
    record_ids_add(&now->ids, run_id);
    record_ids_add(&now->ids, replid);
}

static void add_source_ids(void *ctx, const struct follow_view *view) {
    add_target_ids(ctx, view->run_id, view->replid);
}

/* The former ids stay until every server is known. */
static void side_ids_replace(struct record_ids *ids, struct ids_now *now, struct deployment *side) {
    if (!now->all || now->ids.n == 0) {
        record_ids_clear(&now->ids);
        return;
    }
    side_ids_add_cluster(side, &now->ids);
    record_ids_clear(ids);
    *ids = now->ids;
}

void side_ids_refresh(const struct job *job, struct job_record *record) {
    struct ids_now source = { .all = true }, target = { .all = true };
    live_each_node(job->live, add_source_ids, &source);
    live_each_target(job->live, add_target_ids, &target);
    side_ids_replace(&record->source_ids, &source, job->source);
    side_ids_replace(&record->target_ids, &target, job->target);
}
