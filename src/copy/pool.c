/* See pool.h. */
#include "copy/pool.h"

#include <stdlib.h>

#include "base/mem.h"
#include "copy/bounded.h"

struct pool {
    struct loop *loop;
    struct deployment *deployment;
    struct pool_events events;
    void *ctx;
    uint64_t epoch;
    struct pool_node *nodes;
    struct pool_node *route[SLOT_COUNT];
    /* every slot leads there; NULL when that is not so: the table is as large as a cache */
    struct pool_node *only;
    struct pool_node **ask; /* by slot; made when the first ASK comes */
    uint64_t reconnects_before;
    int bounded; /* connections of the job to a node; 0: none */
    bool identify;
};

static void on_ready(void *ctx) {
    struct pool_node *node = ctx;
    if (!node->closing) node->pool->events.on_ready(node->pool->ctx, node);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct pool_node *node = ctx;
    if (!node->closing) node->pool->events.on_down(node->pool->ctx, node, err, final);
}

static void on_bounded_lost(void *ctx) {
    struct pool_node *node = ctx;
    if (!node->closing) node->pool->events.on_bounded_lost(node->pool->ctx, node);
}

static void pool_on_redirect(void *ctx, const struct redirect *redirect);

static void pool_bound_node(struct pool *pool, struct pool_node *node) {
    if (pool->bounded == 0 || node->bounded != NULL) return;
    struct client_settings settings = deployment_client_settings(pool->deployment, &node->address);
    settings.identify = pool->identify;
    node->bounded = bounded_open(pool->loop, &settings, pool->bounded, on_bounded_lost, node);
    bounded_set_redirect(node->bounded, pool_on_redirect);
}

void pool_bound(struct pool *pool, int connections) {
    pool->bounded = connections;
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next) pool_bound_node(pool, n);
}

static struct pool_node *pool_find(struct pool *pool, const struct address *address) {
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next)
        if (address_equal(&n->address, address)) return n;
    return NULL;
}

static struct pool_node *pool_open_node(struct pool *pool, const struct address *address);

/* A node that a redirect names; NULL where a broken server names ever new ones. */
static struct pool_node *pool_find_or_open_stranger(struct pool *pool,
                                                    const struct address *address) {
    struct pool_node *node = pool_find(pool, address);
    int strangers = 0;
    if (node != NULL) return node;
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next) strangers += !n->listed;
    return strangers < POOL_STRANGERS_MAX ? pool_open_node(pool, address) : NULL;
}

void pool_follow(struct pool *pool, const struct redirect *redirect) {
    struct pool_node *to = pool_find_or_open_stranger(pool, &redirect->address);
    if (to == NULL) return;
    if (!redirect->ask) {
        pool->route[redirect->slot] = to;
        pool->only = NULL;
        return;
    }
    if (pool->ask == NULL) pool->ask = mem_zalloc(SLOT_COUNT * sizeof(struct pool_node *));
    pool->ask[redirect->slot] = to;
}

static void pool_on_redirect(void *ctx, const struct redirect *redirect) {
    struct pool_node *from = ctx;
    if (!from->closing) pool_follow(from->pool, redirect);
}

static struct pool_node *pool_new_node(struct pool *pool, const struct address *address) {
    static const struct client_events events = { .on_ready = on_ready,
                                                 .on_down = on_down,
                                                 .on_redirect = pool_on_redirect };
    struct client_settings settings = deployment_client_settings(pool->deployment, address);
    settings.identify = pool->identify;
    if (!deployment_is_written(pool->deployment)) settings.reply_bytes_max = CLIENT_VALUES_MAX;
    struct pool_node *node = mem_zalloc(sizeof(*node));
    node->pool = pool;
    node->address = *address;
    node->client = client_open(pool->loop, &settings, &events, node);
    return node;
}

static struct pool_node *pool_open_node(struct pool *pool, const struct address *address) {
    struct pool_node *node = pool_new_node(pool, address);
    node->next = pool->nodes;
    pool->nodes = node;
    pool_bound_node(pool, node);
    return node;
}

struct pool_node *pool_twin(struct pool_node *node) {
    if (node->is_twin || node->closing) return node;
    if (node->twin == NULL) {
        node->twin = pool_new_node(node->pool, &node->address);
        node->twin->is_twin = true;
    }
    return node->twin;
}

static void pool_node_release(void *ctx) {
    struct pool_node *node = ctx;
    node->pool->events.on_gone(node->pool->ctx, node);
    client_close(&node->client);
    free(node);
}

static void pool_close_node(struct pool *pool, struct pool_node *node) {
    if (node->twin != NULL) pool_close_node(pool, node->twin);
    node->twin = NULL;
    for (struct pool_node **p = &pool->nodes; *p != NULL; p = &(*p)->next) {
        if (*p != node) continue;
        *p = node->next;
        break;
    }
    if (pool->only == node) pool->only = NULL;
    for (int s = 0; s < SLOT_COUNT; s++) {
        if (pool->route[s] == node) pool->route[s] = NULL;
        if (pool->ask != NULL && pool->ask[s] == node) pool->ask[s] = NULL;
    }
    pool->reconnects_before += client_reconnects(node->client);
    /* Pending callbacks still find the node at the end of the round, and its client not ready. */
    struct err err;
    err_set(&err, ERR_CLOSED, client_place(node->client),
            "the node is no longer part of the deployment");
    node->closing = true;
    client_break(node->client, &err);
    bounded_free(&node->bounded);
    loop_defer(pool->loop, pool_node_release, node);
}

static void pool_take_routes(struct pool *pool, const struct topology *t) {
    struct pool_node **by_index = mem_zalloc((size_t)t->n_nodes * sizeof(struct pool_node *));
    for (int i = 0; i < t->n_nodes; i++) {
        if (!topology_is_primary(t, i)) continue;
        const struct address *address = &t->nodes[t->nodes[i].reader].address;
        struct pool_node *node = pool_find(pool, address);
        if (node == NULL) node = pool_open_node(pool, address);
        node->listed = true;
        by_index[i] = node;
    }
    for (int s = 0; s < SLOT_COUNT; s++)
        pool->route[s] = t->owner[s] >= 0 ? by_index[t->owner[s]] : NULL;
    pool->only = pool->route[0];
    for (int s = 0; s < SLOT_COUNT && pool->only != NULL; s++)
        if (pool->route[s] != pool->only) pool->only = NULL;
    free(by_index);
}

void pool_update(struct pool *pool) {
    uint64_t epoch = deployment_epoch(pool->deployment);
    if (epoch == pool->epoch) return;
    pool->epoch = epoch;
    struct topology *t = deployment_topology(pool->deployment);
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next) n->listed = false;
    pool_take_routes(pool, t);
    for (struct pool_node *n = pool->nodes, *next; n != NULL; n = next) {
        next = n->next;
        if (!n->listed) pool_close_node(pool, n);
    }
    topology_unref(&t);
}

struct pool *pool_new(struct loop *loop, struct deployment *deployment, bool identify,
                      const struct pool_events *events, void *ctx) {
    struct pool *pool = mem_zalloc(sizeof(*pool));
    pool->loop = loop;
    pool->deployment = deployment;
    pool->identify = identify;
    pool->events = *events;
    pool->ctx = ctx;
    pool_update(pool);
    return pool;
}

void pool_free(struct pool **pool) {
    struct pool *p = *pool;
    *pool = NULL;
    if (p == NULL) return;
    while (p->nodes != NULL) pool_close_node(p, p->nodes);
    loop_settle(p->loop);
    free(p->ask);
    free(p);
}

void *pool_ctx(const struct pool *pool) {
    return pool->ctx;
}

struct deployment *pool_deployment(const struct pool *pool) {
    return pool->deployment;
}

struct pool_node *pool_route(struct pool *pool, uint16_t slot) {
    return pool->only != NULL ? pool->only : pool->route[slot];
}

struct pool_node *pool_ask(struct pool *pool, uint16_t slot) {
    return pool->ask == NULL ? NULL : pool->ask[slot];
}

struct pool_node *pool_first(struct pool *pool) {
    return pool->nodes;
}

size_t pool_unsent_bytes(const struct pool *pool) {
    size_t bytes = 0;
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next)
        bytes += client_unsent_bytes(n->client);
    return bytes;
}

int64_t pool_round_trip_us(const struct pool *pool) {
    int64_t longest_us = 0;
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next) {
        int64_t us = client_is_ready(n->client) ? client_round_trip_us(n->client) : 0;
        if (us > longest_us) longest_us = us;
    }
    return longest_us;
}

uint64_t pool_reconnects(const struct pool *pool) {
    uint64_t n = pool->reconnects_before;
    for (struct pool_node *node = pool->nodes; node != NULL; node = node->next)
        n += client_reconnects(node->client);
    return n;
}

int64_t pool_down_since_ms(const struct pool *pool, const struct pool_node **which) {
    int64_t oldest = 0;
    for (struct pool_node *n = pool->nodes; n != NULL; n = n->next) {
        int64_t since = n->listed ? client_down_since_ms(n->client) : 0;
        if (since == 0 || (oldest != 0 && since >= oldest)) continue;
        oldest = since;
        *which = n;
    }
    return oldest;
}
