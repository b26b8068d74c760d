/* Temporary keys have one name per slot, so what a killed job has left behind can be removed
 * without looking for it.
 *
 * A lane does it for its own slots, as the first thing it says on its own connections: commands on
 * one connection are executed in order, so a transfer that begins later finds its name free and
 * keeps it, and nobody waits. A connection that is lost before the last answer says all of it again
 * when it is back. A name that a transfer uses by then is left out: it was removed when that began.
 */
#include <stdio.h>

#include "base/log.h"
#include "copy/transfer_priv.h"

enum {
    CLEAN_NAMES_MAX = 512, /* in one UNLINK: the server stands still for a tenth of a millisecond */
    CLEAN_DBS_AT_ONCE = 8, /* half a megabyte of names waits in the socket for each */
};

size_t transfer_name(uint16_t slot, char name[TRANSFER_NAME_MAX]) {
    char tag[SLOT_TAG_MAX];
    return (
        size_t)(stpcpy(stpcpy(stpcpy(name, TRANSFER_NAME_PREFIX "{"), slot_tag(slot, tag)), "}") -
                name);
}

static void clean_node(struct lane *lane, struct pool_node *node);

static void node_is_clean(struct lane *lane) {
    lane->unclean--;
    lane_kick(lane);
    if (lane->unclean > 0 || lane->leftovers == 0) return;
    log_info("target", "%llu unfinished copies of large keys were removed",
             (unsigned long long)lane->leftovers);
    lane->leftovers = 0;
}

/* A refusal is no trouble: of a slot that is on its way, the key, should there be one, is removed
 * by the next transfer there; a user who may not touch such keys has left none; and what else keeps
 * a server from deleting is met by the keys that follow. */
static void on_unlinked(void *ctx, void *arg, const struct reply *reply) {
    struct pool_node *node = ctx;
    struct lane *lane = pool_ctx(node->pool);
    node->cleaning_due--;
    if (reply->err != NULL) return;
    if (reply->item.type == RESP_INTEGER) lane->leftovers += (uint64_t)reply->item.num;
    if (node->cleaning_due > 0) return;
    node->unclean_dbs -= node->cleaning_dbs;
    if (node->unclean_dbs > 0) {
        clean_node(lane, node);
    } else {
        node_is_clean(lane);
    }
}

static void unlink_names(struct pool_node *node, const uint16_t *slots, size_t n) {
    char name[TRANSFER_NAME_MAX];
    struct outq *out = client_out(node->client);
    if (n == 0) return;
    resp_write_head(out, n + 1);
    resp_write_literal(out, "UNLINK");
    for (size_t i = 0; i < n; i++)
        resp_write_arg(out, bytes_of(name, transfer_name(slots[i], name)));
    node->cleaning_due++;
    client_end_command(node->client, on_unlinked, node, NULL);
}

/* A cluster's command may name keys of one slot only. */
static size_t names_at_once(const struct copy_plan *plan) {
    if (!plan->can.target_spans_slots) return 1;
    return plan->max_args > CLEAN_NAMES_MAX ? CLEAN_NAMES_MAX
           : plan->max_args > 1             ? plan->max_args - 1
                                            : 1;
}

static void clean_database(struct lane *lane, struct pool_node *node, int db) {
    const struct copy_plan *plan = lane->plan;
    size_t most = names_at_once(plan);
    struct slot_set used = transfers_names(lane->flight.transfers);
    uint16_t slots[CLEAN_NAMES_MAX];
    size_t n = 0;
    client_select(node->client, db);
    for (int slot = 0; slot < SLOT_COUNT && client_is_ready(node->client); slot++) {
        uint16_t s = (uint16_t)slot;
        if (lane_of_slot(plan, s) != lane->index || pool_route(lane->target, s) != node ||
            slot_set_has(&used, s))
            continue;
        slots[n++] = s;
        if (n < most) continue;
        unlink_names(node, slots, n);
        n = 0;
    }
    if (client_is_ready(node->client)) unlink_names(node, slots, n);
}

static void clean_node(struct lane *lane, struct pool_node *node) {
    size_t first =
        node->unclean_dbs > CLEAN_DBS_AT_ONCE ? node->unclean_dbs - CLEAN_DBS_AT_ONCE : 0;
    node->cleaning_dbs = node->unclean_dbs - first;
    for (size_t i = first; i < node->unclean_dbs && client_is_ready(node->client); i++)
        clean_database(lane, node, lane->plan->target_dbs[i]);
    if (node->cleaning_due > 0 || !client_is_ready(node->client)) return;
    node->unclean_dbs = 0; /* none of the lane's slots is there */
    node_is_clean(lane);
}

void transfers_clean(struct lane *lane) {
    for (struct pool_node *n = pool_first(lane->target); n != NULL && lane->begun; n = n->next) {
        if (n->listed && !n->clean_begun) {
            n->clean_begun = true;
            n->unclean_dbs = lane->plan->n_target_dbs;
            lane->unclean += n->unclean_dbs > 0;
        }
        if (n->unclean_dbs > 0 && n->cleaning_due == 0 && !lane->stopping && lane_may_write(lane))
            clean_node(lane, n);
    }
}

void transfers_clean_forget(struct lane *lane, struct pool_node *node) {
    if (node->unclean_dbs > 0) node_is_clean(lane);
    node->unclean_dbs = 0;
}
