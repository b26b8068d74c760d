/* What the target may have lost again: a primary that restarted, or was replaced by its replica,
 * may lack writes that it had acknowledged. Then the gap begins at the last watermark that was
 * known to be on its replicas too, or at the beginning. Moving slots between primaries that live on
 * loses nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "live/live_priv.h"

static struct slot_set slots_of(struct live *live, const struct address *address) {
    struct slot_set slots = { 0 };
    struct topology *t = deployment_topology(live->job->target);
    int node = topology_find(t, address);
    for (int s = 0; s < SLOT_COUNT && node >= 0; s++)
        if (t->owner[s] == node) slot_set_add(&slots, (uint16_t)s);
    topology_unref(&t);
    return slots;
}

/* The source's keys of these slots are gone through again. */
static void reopen(struct live *live, const struct slot_set *slots, int64_t since_us,
                   const char *why) {
    struct slot_set all = job_slots(live->job), mine = slot_set_common(slots, &all);
    if (slot_set_count(&mine) == 0) return;
    log_warn("target", "%s; what it may have lost is copied again", why);
    for (struct live_node *n = live->nodes; n != NULL; n = n->next) {
        struct slot_set owned = live_slots_of(live, n), part = slot_set_common(&owned, &mine);
        live_gap(live, n, &part, since_us, since_us == LIVE_NEVER, why);
    }
    live_gap_behind(live, &mine, since_us, false);
}

static void take_identity(struct target_node *node, const struct server_info *info) {
    memcpy(node->run_id, info->run_id, sizeof(node->run_id));
    memcpy(node->replid, info->replid, sizeof(node->replid));
    node->known = true;
}

static void on_look(void *ctx, const struct watch_look *look, const struct watch_look *before) {
    struct target_node *node = ctx;
    struct live *live = node->live;
    bool same = server_info_continues(&look->info, node->run_id, node->replid);
    if (look->info.replica || look->info.loading) {
        atomic_store(&live->job->want_target, true);
        return;
    }
    if (node->known && !same) {
        struct slot_set slots = slots_of(live, &node->address);
        node->safe_us = LIVE_NEVER;
        node->awaited_offset = 0;
        reopen(live, &slots, LIVE_NEVER,
               "the target's server is another process, or has another history");
    }
    take_identity(node, &look->info);
    if (node->silent) {
        node->silent = false;
        live_compute_watermark(live);
        live->published_ms = 0;
    }
    if (node->awaited_offset > 0 && look->n_replicas > 0 &&
        look->replicas_offset >= node->awaited_offset) {
        node->safe_us = node->awaited_us;
        node->awaited_offset = 0;
    }
    if (node->awaited_offset == 0 && look->offset > 0 && live->watermark_us != LIVE_NEVER) {
        node->awaited_offset = look->offset;
        node->awaited_us = node->last_us; /* of the look before: certainly older than this offset */
    }
    node->last_us = node->sure_us = live->watermark_us;
}

static void on_silent(void *ctx, const struct err *err) {
    struct target_node *node = ctx;
    log_debug(err->place, "%s", err->text);
    node->silent = true;
    if (node->live->writer != NULL) record_writer_put(node->live->writer, NULL);
    atomic_store(&node->live->job->want_target, true);
}

static struct target_node *find(struct live *live, const struct address *address) {
    for (struct target_node *n = live->targets; n != NULL; n = n->next)
        if (address_equal(&n->address, address)) return n;
    return NULL;
}

static struct target_node *node_new(struct live *live, const struct address *address) {
    static const struct watch_events events = { on_look, on_silent };
    struct target_node *node = mem_zalloc(sizeof(*node));
    node->live = live;
    node->address = *address;
    node->safe_us = node->last_us = LIVE_NEVER;
    node->sure_us = live->watermark_us;
    node->next = live->targets;
    live->targets = node;
    struct client_settings settings = deployment_client_settings(live->job->target, address);
    node->watch = watch_start(live->job->loop, &settings, LIVE_LOOK_MS / 2, false, &events, node);
    return node;
}

static void node_end(struct live *live, struct target_node *node) {
    for (struct target_node **p = &live->targets; *p != NULL; p = &(*p)->next) {
        if (*p != node) continue;
        *p = node->next;
        break;
    }
    watch_free(&node->watch);
    free(node);
}

/* Slots whose former primary is none any more. */
static void slots_of_fallen(struct live *live, const struct topology *t) {
    for (struct target_node *n = live->targets; n != NULL; n = n->next) {
        if (n->listed) continue;
        struct slot_set slots = { 0 };
        for (int s = 0; s < SLOT_COUNT; s++)
            if (live->target_owner[s] == n && t->owner[s] >= 0) slot_set_add(&slots, (uint16_t)s);
        reopen(live, &slots, n->safe_us, "another server took a primary's place");
    }
}

void live_targets_sync(struct live *live, bool first) {
    struct topology *t = deployment_topology(live->job->target);
    for (struct target_node *n = live->targets; n != NULL; n = n->next) n->listed = false;
    for (int i = 0; i < t->n_nodes; i++) {
        if (!topology_is_primary(t, i)) continue;
        struct target_node *node = find(live, &t->nodes[i].address);
        if (node == NULL) node = node_new(live, &t->nodes[i].address);
        node->listed = true;
    }
    if (!first) slots_of_fallen(live, t);
    for (int s = 0; s < SLOT_COUNT; s++)
        if (t->owner[s] >= 0) live->target_owner[s] = find(live, &t->nodes[t->owner[s]].address);
    topology_unref(&t);
    for (struct target_node *n = live->targets, *next; n != NULL; n = next) {
        next = n->next;
        bool owns = false;
        for (int s = 0; s < SLOT_COUNT; s++) owns = owns || live->target_owner[s] == n;
        if (!n->listed && !owns) node_end(live, n);
    }
}

bool live_target_is_silent(const struct live *live) {
    for (const struct target_node *n = live->targets; n != NULL; n = n->next)
        if (n->silent) return true;
    return false;
}

int64_t live_targets_limit_us(const struct live *live) {
    int64_t limit_us = LIVE_NO_GAP;
    for (const struct target_node *n = live->targets; n != NULL; n = n->next)
        if (n->silent && n->sure_us < limit_us) limit_us = n->sure_us;
    return limit_us;
}

void live_targets_free(struct live *live) {
    live->target_was_silent = live_target_is_silent(live);
    while (live->targets != NULL) node_end(live, live->targets);
}
