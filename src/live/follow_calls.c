/* See follow_calls.h. */
#include "live/follow_calls.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "live/follow_gap.h"
#include "live/follow_priv.h"

enum {
    CALLS_HURRY_MS = 200,              /* between two samples that a feed's counters ask for */
    CALLS_GROUPS_MS = 1000,            /* between two looks at all groups */
    FOLLOW_SILENT_REST_MS = 10 * 1000, /* without silent commands for so long, the resync begins */
    FOLLOW_SILENT_MOST_MS = 600 * 1000 /* or after this time */
};

static struct moment sample_moment(int64_t boot_us, int64_t wall_us) {
    return (struct moment){ boot_us, wall_us };
}

/* Before a command that was counted between the sample before and this one. A barrier that was
 * answered meanwhile is newer, where the feed asks for counters: it has found the command
 * uncounted. */
static struct moment calls_since(const struct follow_node *node, const struct evidence *before) {
    struct follow *f = node->follow;
    struct moment since = sample_moment(before->asked_boot_us, before->asked_wall_us);
    pthread_mutex_lock(&f->lock);
    if (node->told.counts && node->told.heard.boot_us > since.boot_us) since = node->told.heard;
    pthread_mutex_unlock(&f->lock);
    return since;
}

/* ---- what was called ---- */

static void on_check_groups(void *ctx) {
    lane_check_groups(ctx);
}

static void node_poll_groups(struct follow_node *node) {
    struct engine *e = node->follow->settings.engine;
    node->groups_ms = clock_mono_ms();
    for (int i = 0; i < engine_lanes(e); i++)
        loop_post(engine_lane_loop(e, i), on_check_groups, engine_lane(e, i));
}

/* The last sample may have been taken behind the order already, the anchor never was. */
static bool node_held_keys(const struct follow_node *node, const struct evidence *before, int db) {
    return evidence_keys(before, db) > 0 ||
           (node->evidence.has_anchor && evidence_keys(&node->evidence.anchor, db) > 0);
}

/* Databases that held keys and are empty now: an order, as long as the process may give one. */
void follow_node_note_orders(struct follow_node *node, const struct evidence *before,
                             const struct evidence *now) {
    struct follow *f = node->follow;
    const struct follow_databases *list = atomic_load(&f->dbs);
    if (before == NULL || !node->deletions_allowed) return;
    for (size_t i = 0; i < list->n; i++) {
        int db = list->dbs[i];
        if (!node_held_keys(node, before, db) || evidence_keys(now, db) > 0) continue;
        f->orders = mem_array(f->orders, f->n_orders + 1, sizeof(*f->orders));
        f->orders[f->n_orders++] = (struct follow_order){ db, follow_slots(node) };
        event_raise(f->settings.events, EVENT_FLUSHED, node->place,
                    "database %d was emptied on the source; its copied keys are deleted", db);
    }
}

void follow_node_swapped(struct follow_node *node, const struct evidence *before,
                         const struct evidence *now, bool sure) {
    struct slot_set slots = follow_job_slots(node);
    struct ledger_gap gap = { .since = calls_since(node, before),
                              .forward = true,
                              .whole = true,
                              .sweep = true,
                              .place = node->place,
                              .why = sure ? "databases were swapped (SWAPDB)"
                                          : "databases may have been swapped (SWAPDB): the "
                                            "source's counters were reset" };
    event_raise(node->follow->settings.events, EVENT_SWAPPED, node->place,
                sure ? "SWAPDB was called on the source: resync of every key"
                     : "the source's counters were reset (CONFIG RESETSTAT), so that SWAPDB cannot "
                       "be excluded: resync of every key");
    follow_node_open_gap(node, &slots, &gap, NULL);
    follow_node_note_orders(node, before, now);
}

void follow_node_emptied(struct follow_node *node, const struct evidence *before,
                         const struct evidence *now) {
    struct slot_set slots = follow_job_slots(node);
    struct ledger_gap gap = { .since = calls_since(node, before),
                              .sweep = true,
                              .place = node->place,
                              .why = "FLUSHDB or FLUSHALL was called" };
    follow_node_open_gap(node, &slots, &gap, NULL);
    follow_node_note_orders(node, before, now);
}

void follow_node_reloaded(struct follow_node *node, const struct evidence *before) {
    struct follow *f = node->follow;
    struct slot_set slots = follow_job_slots(node);
    struct ledger_gap gap = { .since = calls_since(node, before),
                              .forward = true,
                              .whole = true,
                              .sweep = true,
                              .place = node->place,
                              .why = "the source loaded its data anew" };
    event_raise(f->settings.events, EVENT_GAP, node->place,
                "the source loaded its data anew without a restart (DEBUG RELOAD, DEBUG LOADAOF): "
                "gap open, resync of every key");
    f->functions_changed = f->functions_open = true;
    follow_node_open_gap(node, &slots, &gap, NULL);
}

static void node_silent_commands(struct follow_node *node, const struct evidence *before) {
    struct slot_set slots = follow_job_slots(node);
    int64_t now_ms = clock_mono_ms();
    struct ledger_gap gap = { .since = calls_since(node, before),
                              .forward = true,
                              .whole = true,
                              .place = node->place,
                              .why = "commands of modules that announce no change were called" };
    if (node->silent_since_ms == 0) {
        node->silent_since_ms = now_ms;
        event_raise(node->follow->settings.events, EVENT_SILENT, node->place,
                    "commands of modules that announce no change (CMS.INCRBY, TDIGEST.ADD, "
                    "TOPK.ADD) were called: resync of every key once they rest");
    }
    int64_t most_ms = node->silent_since_ms + FOLLOW_SILENT_MOST_MS;
    node->scan_after_ms = now_ms + FOLLOW_SILENT_REST_MS;
    if (node->scan_after_ms > most_ms) node->scan_after_ms = most_ms;
    follow_node_open_gap(node, &slots, &gap, NULL);
}

void follow_node_take_calls(struct follow_node *node, const struct server_sample *sample,
                            const struct server_sample *before, bool go_on) {
    struct follow *f = node->follow;
    bool counted = before != NULL && before->calls_known && sample->calls_known;
    bool known = counted && go_on;
    bool due = known || clock_mono_ms() - node->groups_ms >= f->settings.poll_ms;
#define CALLED(which) (!known || before->calls[which] != sample->calls[which])
    if ((due || counted) && CALLED(SAMPLE_GROUPS)) node_poll_groups(node);
    if (CALLED(SAMPLE_FUNCTIONS)) f->functions_changed = true;
    if (CALLED(SAMPLE_FUNCTIONS) && sample->calls_known) f->functions_open = true;
    bool silent = counted && CALLED(SAMPLE_SILENT) &&
                  before->calls[SAMPLE_SILENT] + sample->calls[SAMPLE_SILENT] > 0;
    if (silent && node->evidence.has_latest) {
        node_silent_commands(node, &node->evidence.latest);
    } else if (clock_mono_ms() >= node->scan_after_ms) {
        node->silent_since_ms = 0;
    }
#undef CALLED
}

/* ---- how far all of it is followed ---- */

bool follow_node_counts(const struct follow_node *node) {
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    bool counts = node->told.counts;
    pthread_mutex_unlock(&f->lock);
    return counts;
}

void follow_node_hurry_sample(struct follow_node *node) {
    struct follow *f = node->follow;
    int64_t now_ms = clock_mono_ms();
    pthread_mutex_lock(&f->lock);
    bool waits = node->hearing && node->told.unsettled && node->told.noticed_us > node->hurried_us;
    bool at_once = node->told.noticed_others;
    bool due = at_once ? now_ms - node->hurried_ms >= CALLS_HURRY_MS
                       : now_ms - node->groups_ms >= CALLS_GROUPS_MS;
    if (waits && due) node->told.noticed_others = false;
    pthread_mutex_unlock(&f->lock);
    if (!waits || !due) return;
    node->hurried_ms = now_ms;
    node->hurried_us = clock_boot_us();
    watch_now(node->watch);
}

struct settling {
    struct follow_node *node;
    struct moment settled;
    int64_t asked_us;
};

/* On the feed's thread, behind everything that the sample has given to the lanes. */
static void on_settled(void *ctx) {
    struct settling *s = ctx;
    struct follow_node *node = s->node;
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    if (node->told.settled.boot_us < s->settled.boot_us) node->told.settled = s->settled;
    if (node->told.noticed_us < s->asked_us) node->told.unsettled = false;
    pthread_mutex_unlock(&f->lock);
    free(s);
}

void follow_node_settle(struct follow_node *node, const struct server_sample *sample) {
    struct follow *f = node->follow;
    struct moment asked = sample_moment(sample->asked_boot_us, sample->asked_wall_us);
    bool replica = !address_equal(&node->primary, &node->reader);
    pthread_mutex_lock(&f->lock);
    bool unsettled = node->told.unsettled;
    struct moment confirmed = node->told.confirmed;
    pthread_mutex_unlock(&f->lock);
    struct moment settled = replica ? node->confirmed_before : asked;
    node->confirmed_before = confirmed;
    if (!unsettled || f->functions_open || !sample->calls_known) return;
    struct settling *s = mem_zalloc(sizeof(*s));
    *s = (struct settling){ node, settled, sample->asked_boot_us };
    loop_post(worker_loop(node->worker), on_settled, s);
}

bool follow_takes_function_change(struct follow *f) {
    bool changed = f->functions_changed;
    f->functions_changed = false;
    return changed;
}

void follow_end_function_change(struct follow *f) {
    if (!f->functions_open || f->functions_changed) return;
    f->functions_open = false;
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) watch_now(n->watch);
}
