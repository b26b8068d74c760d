/* longhaul ping: how long a command takes to come back, from this machine, per primary.
 *
 * One PING at a time on a connection of its own, so that it measures the round trip and not
 * a queue. Primaries are measured one after the other, so that they do not disturb each other. It
 * shows percentiles: a mean hides the pauses that hurt. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hist.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "output/json_out.h"
#include "output/table.h"
#include "server/deployment.h"

/* How long one wait of the loop may last before the stop flag is looked at again. */
enum { PING_SLICE_MS = 100 };

struct ping_node {
    struct address address;
    char name[ADDRESS_HOST_MAX + 16];
    struct client *client;
    struct hist *now; /* of this iteration */
    struct hist *all;
    uint64_t lost; /* times that the connection broke or could not be made */
};

struct ping {
    const struct options *options;
    struct loop *loop;
    struct deployment *deployment;
    struct ping_node *nodes;
    int n_nodes;
    struct table *table;
    int64_t iteration;
    int status;

    /* of the node that is being measured */
    struct ping_node *node;
    int64_t sent_us, left;
    bool failed;
    struct err err;
    struct err failure; /* why the last node was lost, or none could be reached */
};

static bool ping_is_stopped(void) {
    return *signals_stop_flag();
}

/* ---- measuring ---- */

static void ping_send(struct ping *p);

static void on_pong(void *ctx, void *arg, const struct reply *reply) {
    struct ping *p = ctx;
    int64_t took_us = clock_mono_us() - p->sent_us;
    p->left--;
    if (reply->err != NULL) {
        p->failed = true;
        p->err = *reply->err;
    } else if (resp_is_error(&reply->item)) {
        p->failed = true;
        client_reply_error(p->node->client, &reply->item, &p->err);
    } else {
        hist_add(p->node->now, (uint64_t)(took_us < 0 ? 0 : took_us));
        if (p->left > 0 && !ping_is_stopped()) ping_send(p);
    }
}

static void ping_send(struct ping *p) {
    const struct bytes words[] = { BYTES_LITERAL("PING") };
    p->sent_us = clock_mono_us();
    client_command(p->node->client, on_pong, p, NULL, 1, words);
}

static bool ping_connect_node(struct ping *p, struct ping_node *node) {
    if (node->client != NULL && client_is_ready(node->client)) return true;
    client_close(&node->client);
    node->client = deployment_call_open(p->deployment, &node->address, &p->err);
    return node->client != NULL;
}

static void ping_lose_node(struct ping *p, struct ping_node *node) {
    if (p->err.code == ERR_INTERRUPTED) return;
    node->lost++;
    p->failure = p->err;
    p->status = complain(&p->err);
    client_close(&node->client);
}

static void ping_measure_node(struct ping *p, struct ping_node *node) {
    hist_reset(node->now);
    p->node = node;
    p->left = p->options->count;
    p->failed = false;
    if (!ping_connect_node(p, node)) {
        ping_lose_node(p, node);
        return;
    }
    ping_send(p);
    while (!p->failed && p->left > 0 && !(ping_is_stopped() && client_pending(node->client) == 0)) {
        loop_run_once(p->loop, PING_SLICE_MS);
        /* A server that has stopped answering is not waited for once the user has had enough. */
        if (ping_is_stopped()) break;
    }
    if (p->failed) ping_lose_node(p, node);
    hist_merge(node->all, node->now);
    /* A reply that is still due would be taken for that of the next iteration. */
    if (ping_is_stopped()) client_close(&node->client);
}

/* ---- text ---- */

static const double percentiles[] = { 50, 95, 99, 99.9 };
static const char *const percentile_names[] = { "p50", "p95", "p99", "p99.9" };
enum { PERCENTILES = sizeof(percentiles) / sizeof(percentiles[0]) };

static void ping_add_duration(struct ping *p, double us) {
    if (p->options->unit == OPT_UNIT_US) {
        table_number(p->table, "%.0f", us);
    } else {
        table_number(p->table, "%.3f", us / 1000);
    }
}

static void ping_print_head(struct ping *p) {
    const char *unit = p->options->unit == OPT_UNIT_US ? "us" : "ms";
    table_text(p->table, "%s", deployment_is_cluster(p->deployment) ? "primary" : "server");
    table_number(p->table, "count");
    table_number(p->table, "min");
    table_number(p->table, "mean");
    for (int i = 0; i < PERCENTILES; i++) table_number(p->table, "%s", percentile_names[i]);
    table_number(p->table, "max");
    table_text(p->table, "%s", unit);
    table_end_row(p->table);
}

static void ping_print_row(struct ping *p, const char *name, const struct hist *hist) {
    table_text(p->table, "%s", name);
    table_number(p->table, "%" PRIu64, hist_count(hist));
    if (hist_count(hist) > 0) {
        ping_add_duration(p, (double)hist_min(hist));
        ping_add_duration(p, hist_mean(hist));
        for (int i = 0; i < PERCENTILES; i++)
            ping_add_duration(p, (double)hist_percentile(hist, percentiles[i]));
        ping_add_duration(p, (double)hist_max(hist));
    }
    table_end_row(p->table);
}

static void ping_print_iteration(struct ping *p) {
    if (p->options->output != OPT_OUTPUT_TEXT) return;
    if (p->iteration == 0) ping_print_head(p);
    for (int i = 0; i < p->n_nodes; i++) ping_print_row(p, p->nodes[i].name, p->nodes[i].now);
    table_print(p->table, stdout, 0);
    fflush(stdout);
}

/* The sum over iterations, where there were several. */
static void ping_print_total(struct ping *p) {
    if (p->iteration < 2) return;
    fputs("all measurements\n", stdout);
    for (int i = 0; i < p->n_nodes; i++) ping_print_row(p, p->nodes[i].name, p->nodes[i].all);
    table_print(p->table, stdout, 0);
}

/* ---- JSON ---- */

static json_t *ping_node_json(const struct ping_node *node) {
    const struct hist *h = node->all;
    json_t *json = json_pack("{s:s, s:I, s:I}", "address", node->name, "count",
                             (json_int_t)hist_count(h), "lost", (json_int_t)node->lost);
    if (hist_count(h) == 0) return json;
    json_object_set_new(json, "min_us", json_integer((json_int_t)hist_min(h)));
    json_object_set_new(json, "mean_us", json_real(hist_mean(h)));
    for (int i = 0; i < PERCENTILES; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s_us", percentile_names[i]);
        json_object_set_new(json, name,
                            json_integer((json_int_t)hist_percentile(h, percentiles[i])));
    }
    json_object_set_new(json, "max_us", json_integer((json_int_t)hist_max(h)));
    return json;
}

/* Also when the server could not be reached: then there are no nodes. */
static void ping_print_json(struct ping *p) {
    json_t *nodes = json_array();
    for (int i = 0; i < p->n_nodes; i++) json_array_append_new(nodes, ping_node_json(&p->nodes[i]));
    const char *kind = p->deployment != NULL ? deployment_kind(p->deployment) : NULL;
    json_t *document =
        json_pack("{s:s, s:o, s:s?, s:I, s:b, s:o, s:o}", "command", "ping", "endpoint",
                  side_label_json(p->options, OPT_SERVER), "kind", kind, "iterations",
                  (json_int_t)p->iteration, "interrupted", ping_is_stopped(), "nodes", nodes,
                  "error", json_of_error(&p->failure));
    struct err err;
    if (!json_out(document, p->status, &err)) p->status = complain(&err);
}

/* ---- the command ---- */

static void ping_load_nodes(struct ping *p) {
    struct topology *t = deployment_topology(p->deployment);
    p->nodes = mem_zalloc(sizeof(*p->nodes) * (size_t)t->n_primaries);
    for (int i = 0; i < t->n_nodes && p->n_nodes < t->n_primaries; i++) {
        if (!topology_is_primary(t, i)) continue;
        struct ping_node *node = &p->nodes[p->n_nodes++];
        node->address = t->nodes[i].address;
        address_format(&node->address, node->name, sizeof(node->name));
        node->now = hist_new();
        node->all = hist_new();
    }
    topology_unref(&t);
}

static void ping_wait_between(struct ping *p) {
    int64_t until_ms = clock_mono_ms() + p->options->sleep_ms;
    for (int64_t left; !ping_is_stopped() && (left = until_ms - clock_mono_ms()) > 0;)
        loop_run_once(p->loop, left);
}

static void ping_measure(struct ping *p) {
    int64_t wanted = p->options->iterations;
    while (!ping_is_stopped() && (wanted == 0 || p->iteration < wanted)) {
        if (p->iteration > 0) ping_wait_between(p);
        if (ping_is_stopped()) break;
        for (int i = 0; i < p->n_nodes; i++) {
            if (ping_is_stopped()) {
                hist_reset(p->nodes[i].now);
            } else {
                ping_measure_node(p, &p->nodes[i]);
            }
        }
        ping_print_iteration(p);
        p->iteration++;
    }
    /* Asked to go on until interrupted, an interruption is the proper end. */
    if (ping_is_stopped() && wanted != 0) p->status = STATUS_TROUBLE;
}

static void ping_close(struct ping *p) {
    for (int i = 0; i < p->n_nodes; i++) {
        client_close(&p->nodes[i].client);
        hist_free(&p->nodes[i].now);
        hist_free(&p->nodes[i].all);
    }
    free(p->nodes);
    table_free(&p->table);
    deployment_free(&p->deployment);
    signals_uninstall();
    loop_run_once(p->loop, 0);
    loop_free(&p->loop);
}

int cmd_ping(const struct options *options) {
    struct ping p = { .options = options };
    p.loop = loop_new(&p.failure);
    if (p.loop == NULL) return complain(&p.failure);
    signals_install(p.loop);
    p.table = table_new();
    p.deployment = side_open(p.loop, options, OPT_SERVER, options->timeout_ms, &p.failure);
    if (p.deployment == NULL) {
        p.status = complain(&p.failure);
    } else {
        err_clear(&p.failure);
        ping_load_nodes(&p);
        ping_measure(&p);
    }
    if (options->output == OPT_OUTPUT_JSON) {
        ping_print_json(&p);
    } else {
        ping_print_total(&p);
    }
    ping_close(&p);
    return p.status;
}
