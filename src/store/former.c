/* See former_priv.h. One client to each primary; all at the same time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/former_priv.h"
#include "store/keys_priv.h"
#include "store/record.h"

struct former_node {
    struct former_sweep *sweep;
    struct client *client;
    int slot;
    size_t awaited; /* replies */
    bool over;
};

struct former_sweep {
    struct deployment *target;
    int db;
    char job[RECORD_JOB_MAX], prefix[RECORD_JOB_MAX + 16]; /* "longhaul:JOB:" */
    struct former_node *nodes;
    size_t n_nodes, left;
    struct former_result result;
    struct loop_timer *timer; /* tells the result: not from within a client's callback */
    void (*fn)(void *ctx, const struct former_result *result);
    void *ctx;
};

static void former_node_end(struct former_node *node, const struct err *err) {
    struct former_sweep *sweep = node->sweep;
    if (node->over) return;
    node->over = true;
    if (err != NULL && sweep->result.ok) {
        sweep->result.ok = false;
        sweep->result.err = *err;
    }
    if (--sweep->left == 0) loop_timer_start(sweep->timer, 0);
}

/* True where the reply is of use. */
static bool former_take_reply(struct former_node *node, const struct reply *reply) {
    if (reply->err != NULL) former_node_end(node, reply->err);
    return reply->err == NULL && !resp_is_error(&reply->item);
}

static void former_reply_is_done(struct former_node *node) {
    if (!node->over && --node->awaited == 0) former_node_end(node, NULL);
}

static void on_killed(void *ctx, void *arg, const struct reply *reply) {
    struct former_node *node = ctx;
    bool ended = former_take_reply(node, reply);
    if (reply->err == NULL && (!ended || reply->item.num > 0))
        log_info(client_place(node->client), "job %s: a connection of its former holder %s",
                 node->sweep->job, ended ? "was ended" : "could not be ended");
    former_reply_is_done(node);
}

static void former_kill(struct former_node *node, struct bytes id) {
    const struct bytes words[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("KILL"),
                                   BYTES_LITERAL("ID"), id };
    node->sweep->result.had_holder = true;
    node->awaited++;
    client_command(node->client, on_killed, node, NULL, 4, words);
}

/* Lines "id=7 addr=... name=longhaul:JOB:EPOCH ...": all epochs, since a target that was emptied
 * counts them anew. */
static void former_kill_named(struct former_node *node, struct bytes list) {
    while (list.len > 0) {
        struct bytes line = bytes_split(&list, '\n'), id = bytes_of("", 0);
        bool named = false;
        while (line.len > 0) {
            struct bytes value = bytes_split(&line, ' '), name = bytes_split(&value, '=');
            if (bytes_equal_str(name, "id")) id = value;
            if (bytes_equal_str(name, "name")) named = bytes_has_prefix(value, node->sweep->prefix);
        }
        if (named) former_kill(node, id);
    }
}

static void on_clients(void *ctx, void *arg, const struct reply *reply) {
    struct former_node *node = ctx;
    bool ok = former_take_reply(node, reply);
    if (ok && resp_is_string(&reply->item)) {
        former_kill_named(node, reply->item.str);
    } else if (reply->err == NULL) {
        node->sweep->result.had_holder = true;
        log_warn(client_place(node->client),
                 "CLIENT LIST is refused: if the job's former holder still runs, its last commands"
                 " cannot be stopped");
    }
    former_reply_is_done(node);
}

static void on_record_is_known(void *ctx, void *arg, const struct reply *reply) {
    struct former_node *node = ctx;
    if (former_take_reply(node, reply) && reply->item.num > 0)
        node->sweep->result.had_holder = true;
    former_reply_is_done(node);
}

static void on_former_ready(void *ctx) {
    struct former_node *node = ctx;
    char key[STORE_KEY_MAX];
    const struct bytes list[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("LIST") };
    const struct bytes known[] = { BYTES_LITERAL("HEXISTS"),
                                   bytes_of_str(store_state_key(key, (uint16_t)node->slot)),
                                   bytes_of_str(node->sweep->job) };
    if (node->over) return;
    node->awaited = 2;
    client_command(node->client, on_clients, node, NULL, 2, list);
    client_command(node->client, on_record_is_known, node, NULL, 3, known);
}

static void on_former_down(void *ctx, const struct err *err, bool final) {
    former_node_end(ctx, err);
}

static void on_sweep_over(void *ctx) {
    struct former_sweep *sweep = ctx;
    struct former_result result = sweep->result;
    sweep->fn(sweep->ctx, &result);
}

static void former_node_open(struct former_node *node, const struct address *address,
                             int64_t timeout_ms) {
    static const struct client_events events = { .on_ready = on_former_ready,
                                                 .on_down = on_former_down };
    struct deployment *target = node->sweep->target;
    struct client_settings settings = deployment_client_settings(target, address);
    settings.db = node->sweep->db;
    settings.fence = false;
    settings.reconnect = false;
    settings.name = NULL;
    if (settings.connect_timeout_ms > timeout_ms) settings.connect_timeout_ms = timeout_ms;
    if (settings.reply_timeout_ms > timeout_ms) settings.reply_timeout_ms = timeout_ms;
    node->client = client_open(deployment_loop(target), &settings, &events, node);
}

struct former_sweep *former_sweep_start(struct deployment *target, int db, const char *job,
                                        int64_t timeout_ms,
                                        void (*fn)(void *ctx, const struct former_result *result),
                                        void *ctx) {
    struct topology *t = deployment_topology(target);
    struct former_sweep *sweep = mem_zalloc(sizeof(*sweep));
    *sweep = (struct former_sweep){
        .target = target, .db = db, .result.ok = true, .fn = fn, .ctx = ctx
    };
    snprintf(sweep->job, sizeof(sweep->job), "%s", job);
    snprintf(sweep->prefix, sizeof(sweep->prefix), "longhaul:%s:", job);
    sweep->timer = loop_timer_new(deployment_loop(target), on_sweep_over, sweep);
    sweep->nodes = mem_array(NULL, (size_t)t->n_nodes, sizeof(struct former_node));
    sweep->left = 1;
    for (int i = 0; i < t->n_nodes; i++) {
        int slot = store_lowest_slot(t, i);
        if (slot < 0) continue;
        struct former_node *node = &sweep->nodes[sweep->n_nodes++];
        *node = (struct former_node){ .sweep = sweep, .slot = slot };
        sweep->left++;
        former_node_open(node, &t->nodes[i].address, timeout_ms);
    }
    if (--sweep->left == 0) loop_timer_start(sweep->timer, 0);
    topology_unref(&t);
    return sweep;
}

static void former_sweep_destroy(void *ctx) {
    struct former_sweep *sweep = ctx;
    free(sweep->nodes);
    free(sweep);
}

void former_sweep_free(struct former_sweep **sweep) {
    struct former_sweep *s = *sweep;
    *sweep = NULL;
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_nodes; i++) {
        s->nodes[i].over = true;
        client_close(&s->nodes[i].client);
    }
    loop_timer_free(&s->timer);
    /* The callbacks of the closed clients come at the end of the round. */
    loop_defer(deployment_loop(s->target), former_sweep_destroy, s);
}
