/* Temporary keys have one name per slot, so those of a killed job can be removed without searching.
 *
 * A lane does it for its own slots, with the first commands on its own connections. A connection
 * executes commands in order, so a transfer that begins later finds its name free, and nothing has
 * to wait. If a connection is lost before the last reply, the node is cleaned again when it is
 * back. A name that a transfer uses by then is left out: the transfer removed it when it began.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "copy/transfer_priv.h"

enum {
    CLEAN_NAMES_MAX = 512, /* in one UNLINK: the server stands still for a tenth of a millisecond */
    CLEAN_DBS_AT_ONCE = 8, /* half a megabyte of names waits in the socket for each */
};

/* One node of the target. */
struct clean_node {
    struct clean_node *next;
    struct cleaner *cleaner;
    struct pool_node *node; /* NULL when it was removed */
    size_t dbs_left, dbs_asked, replies_due;
};

struct cleaner {
    struct flight *flight;
    const struct transfers *transfers;
    bool begun;
    struct clean_node *nodes;
    size_t nodes_left;
    uint64_t removed; /* not logged yet */
};

static void cleaner_clean(struct clean_node *c);

static void cleaner_node_done(struct cleaner *cleaner) {
    cleaner->nodes_left--;
    flight_schedule(cleaner->flight);
    if (cleaner->nodes_left > 0 || cleaner->removed == 0) return;
    log_info("target", "%llu unfinished copies of large keys were removed",
             (unsigned long long)cleaner->removed);
    cleaner->removed = 0;
}

static void cleaner_release(struct clean_node *c) {
    struct clean_node **p = &c->cleaner->nodes;
    if (c->node != NULL || c->replies_due > 0) return;
    while (*p != c) p = &(*p)->next;
    *p = c->next;
    free(c);
}

/* Errors are ignored. A migrating slot is cleaned by its next transfer; a user without permission
 * cannot have left such keys; anything worse will also fail the keys that follow. */
static void on_names_unlinked(void *ctx, void *arg, const struct reply *reply) {
    struct clean_node *c = ctx;
    c->replies_due--;
    if (c->node == NULL) {
        cleaner_release(c);
        return;
    }
    if (reply->err != NULL) return;
    if (reply->item.type == RESP_INTEGER) c->cleaner->removed += (uint64_t)reply->item.num;
    if (c->replies_due > 0) return;
    c->dbs_left -= c->dbs_asked;
    if (c->dbs_left > 0) {
        cleaner_clean(c);
    } else {
        cleaner_node_done(c->cleaner);
    }
}

static void cleaner_unlink(struct clean_node *c, const uint16_t *slots, size_t n) {
    char name[TRANSFER_NAME_MAX];
    if (n == 0 || !client_is_ready(c->node->client)) return;
    struct outq *out = client_out(c->node->client);
    resp_write_head(out, n + 1);
    resp_write_literal(out, "UNLINK");
    for (size_t i = 0; i < n; i++)
        resp_write_arg(out, bytes_of(name, transfer_name(slots[i], name)));
    c->replies_due++;
    client_end_command(c->node->client, on_names_unlinked, c, NULL);
}

/* One command in a cluster may name keys of one slot only. */
static size_t cleaner_names_at_once(const struct copy_plan *plan) {
    if (!plan->can.target_spans_slots) return 1;
    return plan->max_args > CLEAN_NAMES_MAX ? CLEAN_NAMES_MAX
           : plan->max_args > 1             ? plan->max_args - 1
                                            : 1;
}

static void cleaner_clean_database(struct clean_node *c, int db) {
    struct flight *flight = c->cleaner->flight;
    size_t most = cleaner_names_at_once(flight->plan);
    struct slot_set used = transfers_names(c->cleaner->transfers);
    uint16_t slots[CLEAN_NAMES_MAX];
    size_t n = 0;
    client_select(c->node->client, db);
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        uint16_t s = (uint16_t)slot;
        if (lane_of_slot(flight->plan, s) != flight->index ||
            pool_route(flight->target, s) != c->node || slot_set_has(&used, s))
            continue;
        slots[n++] = s;
        if (n < most) continue;
        cleaner_unlink(c, slots, n);
        n = 0;
    }
    cleaner_unlink(c, slots, n);
}

static void cleaner_clean(struct clean_node *c) {
    const struct copy_plan *plan = c->cleaner->flight->plan;
    size_t first = c->dbs_left > CLEAN_DBS_AT_ONCE ? c->dbs_left - CLEAN_DBS_AT_ONCE : 0;
    c->dbs_asked = c->dbs_left - first;
    for (size_t i = first; i < c->dbs_left && client_is_ready(c->node->client); i++)
        cleaner_clean_database(c, plan->target_dbs[i]);
    if (c->replies_due > 0 || !client_is_ready(c->node->client)) return;
    c->dbs_left = 0; /* none of the lane's slots is there */
    cleaner_node_done(c->cleaner);
}

static struct clean_node *cleaner_find(const struct cleaner *cleaner,
                                       const struct pool_node *node) {
    struct clean_node *c = cleaner->nodes;
    while (c != NULL && c->node != node) c = c->next;
    return c;
}

/* A node that has just been listed is cleaned once. */
static struct clean_node *cleaner_node(struct cleaner *cleaner, struct pool_node *node) {
    struct clean_node *c = cleaner_find(cleaner, node);
    if (c != NULL || !node->listed) return c;
    c = mem_zalloc(sizeof(*c));
    *c = (struct clean_node){ .next = cleaner->nodes,
                              .cleaner = cleaner,
                              .node = node,
                              .dbs_left = cleaner->flight->plan->n_target_dbs };
    cleaner->nodes = c;
    cleaner->nodes_left += c->dbs_left > 0;
    return c;
}

void cleaner_begin(struct cleaner *cleaner) {
    cleaner->begun = true;
    cleaner_work(cleaner);
}

void cleaner_work(struct cleaner *cleaner) {
    struct flight *flight = cleaner->flight;
    if (!cleaner->begun) return;
    for (struct pool_node *n = pool_first(flight->target); n != NULL; n = n->next) {
        struct clean_node *c = cleaner_node(cleaner, n);
        if (c == NULL || c->dbs_left == 0 || c->replies_due > 0) continue;
        if (flight_may_write(flight) && client_is_ready(n->client)) cleaner_clean(c);
    }
}

/* Replies may still be due: the record stays until the last of them. */
void cleaner_forget_node(struct cleaner *cleaner, const struct pool_node *node) {
    struct clean_node *c = cleaner_find(cleaner, node);
    if (c == NULL) return;
    c->node = NULL;
    if (c->dbs_left > 0) cleaner_node_done(cleaner);
    c->dbs_left = 0;
    cleaner_release(c);
}

size_t cleaner_nodes_left(const struct cleaner *cleaner) {
    return cleaner->nodes_left;
}

struct cleaner *cleaner_new(struct flight *flight, const struct transfers *transfers) {
    struct cleaner *cleaner = mem_zalloc(sizeof(*cleaner));
    cleaner->flight = flight;
    cleaner->transfers = transfers;
    return cleaner;
}

void cleaner_free(struct cleaner **cleaner) {
    if (*cleaner == NULL) return;
    while ((*cleaner)->nodes != NULL) {
        struct clean_node *next = (*cleaner)->nodes->next;
        free((*cleaner)->nodes);
        (*cleaner)->nodes = next;
    }
    free(*cleaner);
    *cleaner = NULL;
}
