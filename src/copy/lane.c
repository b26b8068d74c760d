/* See lane.h. */
#include "copy/lane.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "copy/database.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"

/* ---- gauges ---- */

static void lane_publish_waiting(struct lane *lane) {
    uint64_t waiting = keyset_queued(lane->keys) + keyset_in_flight(lane->keys) +
                       cleaner_nodes_left(lane->cleaner);
    /* Release: a reader that sees nothing waiting also sees all that was copied. */
    atomic_store_explicit(&lane->flight.stats.in_flight, keyset_in_flight(lane->keys),
                          memory_order_relaxed);
    atomic_store_explicit(&lane->flight.stats.waiting, waiting, memory_order_release);
    atomic_store_explicit(&lane->flight.stats.waiting_bytes, keyset_memory_bytes(lane->keys),
                          memory_order_relaxed);
}

/* ---- parked and staged keys ---- */

void lane_park(struct lane *lane, struct key_entry *entry) {
    entry->next = lane->parked;
    suspects_note_end(&lane->suspects, entry, false);
    lane->parked = entry;
    if (!loop_timer_is_pending(lane->retry)) loop_timer_start(lane->retry, LANE_RETRY_MS);
}

void lane_requeue(struct lane *lane, struct key_entry *entry) {
    suspects_note_end(&lane->suspects, entry, false);
    entry->flags &= KEY_ALONE | KEY_ASK_SOURCE | KEY_ASK_TARGET | KEY_LOSSES_MASK;
    entry->data = 0;
    window_forget(&lane->window, entry);
    keyset_requeue(lane->keys, &entry);
    lane_kick(lane);
}

static void lane_unpark(struct lane *lane) {
    struct key_entry *entry = lane->parked;
    lane->parked = NULL;
    while (entry != NULL) {
        struct key_entry *next = entry->next;
        lane_requeue(lane, entry);
        entry = next;
    }
}

static void on_retry(void *ctx) {
    struct lane *lane = ctx;
    int64_t now_ms = clock_mono_ms();
    if (now_ms < lane->hold_until_ms) {
        loop_timer_start(lane->retry, lane->hold_until_ms - now_ms);
        return;
    }
    lane_unpark(lane);
    lane_kick(lane);
}

void lane_stage(struct lane *lane, struct key_entry *entry, enum stage stage) {
    key_set_stage(entry, stage);
    key_list_add(&lane->staged, entry);
    lane_kick(lane);
}

/* Every end of a batch and every acknowledgement kicks the lane, so the turn comes. */
void lane_wait_turn(struct lane *lane, struct key_entry *entry) {
    key_list_add(&lane->turn, entry);
}

/* ---- taking keys into flight ---- */

static enum stage copy_stage(const struct lane *lane, const struct key_entry *entry) {
    if (lane->flight.plan->typed) return STAGE_TYPE;
    bool preserves =
        lane->flight.plan->can.source_memory_usage && lane->flight.plan->preserve != PRESERVE_NONE;
    if (preserves || flight_measures_first(&lane->flight, entry)) return STAGE_MEASURE;
    if (!lane->flight.plan->can.target_set_pxat ||
        !estimate_expects_strings(&lane->flight.estimate))
        return lane->flight.plan->can.source_memory_usage ? STAGE_MEASURE
                                                          : flight_value_stage(&lane->flight);
    return STAGE_STRINGS;
}

/* Does the source have the key, as one that the filters take? */
static enum stage check_stage(const struct copy_plan *plan) {
    if (plan->typed) return STAGE_TYPE;
    return plan->mem_limit_bytes > 0 && plan->can.source_memory_usage ? STAGE_MEASURE
                                                                      : STAGE_EXISTS;
}

static enum stage first_stage(const struct lane *lane, const struct key_entry *entry) {
    switch ((enum key_reason)entry->reason) {
    case REASON_IF_USED:
        return STAGE_USED;
    case REASON_IF_MISSING:
        return check_stage(lane->flight.plan);
    case REASON_GROUPS:
        return STAGE_GROUPS;
    case REASON_CHANGED:
    case REASON_DELETE:
    case REASON_BOTH_SIDES:
    case REASON_RESYNC:
    case KEY_REASONS:
        break;
    }
    return copy_stage(lane, entry);
}

void lane_copy_after_all(struct lane *lane, struct key_entry *entry) {
    entry->reason = (uint8_t)keyset_merge_reasons((enum key_reason)entry->reason, REASON_RESYNC);
    lane_stage(lane, entry, copy_stage(lane, entry));
}

/* How many keys --rate lets through now; starts the timer for the rest. */
static size_t lane_allowance(struct lane *lane, size_t wanted) {
    if (lane->flight.plan->rate <= 0) return wanted;
    int64_t now_us = clock_mono_us();
    double burst = lane->flight.plan->rate / 20 < 1 ? 1 : lane->flight.plan->rate / 20;
    lane->tokens += (double)(now_us - lane->tokens_at_us) * lane->flight.plan->rate / 1e6;
    if (lane->tokens > burst) lane->tokens = burst;
    lane->tokens_at_us = now_us;
    size_t n = lane->tokens < (double)wanted ? (size_t)lane->tokens : wanted;
    if (n < wanted) loop_timer_start(lane->pace, (int64_t)(1000 / lane->flight.plan->rate) + 5);
    lane->tokens -= (double)n;
    return n;
}

static void on_pace(void *ctx) {
    lane_kick(ctx);
}

static void on_linger(void *ctx) {
    struct lane *lane = ctx;
    lane->lingered = true;
    lane_kick(lane);
}

/* Changes come a few at a time, and each wakes up three processes. A little later there are more,
 * and some of them the same: the source has less to do for each. */
static bool lane_lingers(struct lane *lane, size_t queued) {
    if (!lane->flight.plan->live || lane->lingered || queued >= LANE_LINGER_KEYS) return false;
    if (!loop_timer_is_pending(lane->linger)) loop_timer_start(lane->linger, LANE_LINGER_MS);
    return true;
}

/* How many of the queued keys may be read now, as far as waiting for company goes. */
static size_t lane_ripe(struct lane *lane, size_t queued) {
    const struct copy_plan *plan = lane->flight.plan;
    int64_t gather_ms = plan->live && plan->gather_ms != NULL ? plan->gather_ms(plan->ctx) : 0;
    if (gather_ms == 0) {
        lane->gate = (struct gather_gate){ 0 };
        return lane_lingers(lane, queued) ? 0 : queued;
    }
    bool full = plan->names_bytes_max > 0 &&
                keyset_memory_bytes(lane->keys) >= plan->names_bytes_max / LANE_GATHER_SHARE;
    size_t free_per_s = GATHER_FREE_PER_S / (size_t)plan->lanes;
    size_t ripe = gather_allows(&lane->gate, clock_mono_ms(), queued, gather_ms, free_per_s, full);
    if (ripe == 0 && !loop_timer_is_pending(lane->linger))
        loop_timer_start(lane->linger, GATHER_LEAST_MS);
    return ripe;
}

/* Room in all windows for so many further keys; 0 when it is not worth a batch yet. */
static size_t lane_room(struct lane *lane) {
    const struct copy_plan *plan = lane->flight.plan;
    const struct estimate *e = &lane->flight.estimate;
    size_t queued = keyset_queued(lane->keys),
           in_flight = keyset_in_flight(lane->keys) - lane->suspects.n_waiting;
    size_t window = window_now(&lane->window, e->values, e->value_bytes);
    if (lane->stopping || lane->failed || queued == 0 || in_flight >= window) return 0;
    size_t ripe = lane_may_write(lane) ? lane_ripe(lane, queued) : 0;
    if (ripe == 0) return 0;
    uint64_t half = plan->lane_bytes / 2;
    if (lane->flight.target_full || (estimate_free_bytes(e) == 0 && in_flight > 0)) return 0;
    size_t room = window - in_flight;
    /* While the target is in trouble a single batch tries whether it is over. */
    if (lane->trouble_since_ms != 0 && in_flight > 0) return 0;
    if (lane->trouble_since_ms != 0 && room > plan->batch_keys) room = plan->batch_keys;
    uint64_t by_bytes = estimate_values_in(e, estimate_free_bytes(e));
    if (by_bytes < room) room = (size_t)by_bytes;
    /* A server that is woken for a few keys costs more than they do: wait for a quarter of the
     * window, or of the values that fit. */
    uint64_t quantum = estimate_values_in(e, half / 4);
    if (quantum > window / 4) quantum = window / 4;
    if (room < quantum && room < ripe && in_flight > 0) return 0;
    return lane_allowance(lane, room < ripe ? room : ripe);
}

/* A full target may get room only by deletions that wait behind values it cannot take. So, beside
 * the batch that tries whether the trouble is over, further keys are looked at, which costs little:
 * those that are gone are deleted. */
static size_t lane_probes(const struct lane *lane, size_t tried) {
    bool full = lane->trouble_since_ms != 0 && lane->trouble.code == ERR_OOM;
    return full && lane->flight.plan->live && lane->window.keys > tried ? lane->window.keys - tried
                                                                        : 0;
}

static bool lane_take(struct lane *lane, bool probe) {
    struct key_entry *entry = keyset_take(lane->keys);
    if (entry == NULL) return false;
    window_take(&lane->window, entry);
    key_set_stage(entry, first_stage(lane, entry));
    if (probe && entry->reason != REASON_IF_MISSING) {
        entry->flags |= KEY_PROBE;
        key_set_stage(entry, STAGE_EXISTS);
    }
    estimate_note_taken(&lane->flight.estimate);
    if (key_is_suspect(entry)) {
        suspects_add(&lane->suspects, entry);
    } else {
        fetch_add(&lane->flight, entry);
    }
    return true;
}

/* With the first key: before, the abilities of the source are not known. */
static void lane_bound_source(struct lane *lane) {
    const struct copy_abilities *can = &lane->flight.plan->can;
    lane->bounded = true;
    if (can->source_memory_usage && can->source_getrange)
        pool_bound(lane->flight.source, lane->flight.plan->lanes);
}

static void lane_take_up(struct lane *lane) {
    if (!lane->bounded && keyset_queued(lane->keys) > 0) lane_bound_source(lane);
    size_t n = lane_room(lane), probes = n > 0 ? lane_probes(lane, n) : 0;
    if (n > 0) lane->lingered = false;
    gather_took(&lane->gate, n + probes);
    while (n > 0 && lane_take(lane, false)) n--;
    while (probes > 0 && lane_take(lane, true)) probes--;
}

static void fetch_list(struct lane *lane, struct key_list *list) {
    struct key_entry *entry = list->head;
    *list = (struct key_list){ 0 };
    while (entry != NULL) {
        struct key_entry *next = entry->next;
        fetch_add(&lane->flight, entry);
        entry = next;
    }
}

/* The node's usual connection must be there too: then nothing that was under way when it broke is
 * executed any more. */
static void lane_send_suspects(struct lane *lane) {
    int64_t now_ms = lane->suspects.waiting.head != NULL ? clock_mono_ms() : 0;
    struct key_entry *entry;
    while ((entry = suspects_next(&lane->suspects, now_ms)) != NULL) {
        struct pool_node *node = pool_route(lane->flight.target, entry->slot);
        bool ready = node != NULL && client_is_ready(node->client) &&
                     client_is_ready(pool_twin(node)->client);
        if (ready) {
            fetch_add(&lane->flight, entry);
        } else {
            lane_park(lane, entry);
        }
    }
}

static void lane_work(void *ctx) {
    struct lane *lane = ctx;
    lane->kicked = false;
    int64_t now_ms = lane->hold_until_ms > 0 ? clock_mono_ms() : 0;
    bool held = lane->hold_until_ms > now_ms;
    lane->flight.target_full =
        pool_unsent_bytes(lane->flight.target) >= lane->flight.plan->lane_bytes / 2;
    fetch_list(lane, &lane->turn);
    fetch_list(lane, &lane->staged);
    transfers_work(lane->flight.transfers, !held && !lane->stopping && lane_may_write(lane));
    if (!held) lane_take_up(lane);
    if (!held) lane_send_suspects(lane);
    fetch_flush(&lane->flight);
    /* Nothing is left that could find out whether the trouble is over. */
    if (lane->trouble_since_ms != 0 &&
        keyset_queued(lane->keys) + keyset_in_flight(lane->keys) == 0)
        lane->trouble_since_ms = lane->hold_until_ms = 0;
    lane_publish_waiting(lane);
    lane_serve_marks(lane);
    loop_rest(lane->flight.loop, window_rest_us(&lane->window, keyset_in_flight(lane->keys)));
}

void lane_kick(struct lane *lane) {
    if (lane->kicked) return;
    lane->kicked = true;
    loop_defer(lane->flight.loop, lane_work, lane);
}

/* ---- nodes ---- */

static void on_node_ready(void *ctx, struct pool_node *node) {
    struct lane *lane = ctx;
    if (node->is_twin) {
        lane_kick(lane);
        return;
    }
    window_reset(&lane->window);
    window_expect(&lane->window, pool_round_trip_us(lane->flight.source) +
                                     pool_round_trip_us(lane->flight.target));
    cleaner_work(lane->cleaner); /* first of all */
    if (!lane->stopping && lane->parked != NULL && clock_mono_ms() >= lane->hold_until_ms)
        lane_unpark(lane);
    lane_kick(lane);
}

static void on_node_down(void *ctx, struct pool_node *node, const struct err *err, bool final) {
    struct lane *lane = ctx;
    if (lane->flight.closing) return;
    if (node->is_twin) suspects_note_down(&lane->suspects);
    if (final && node->listed) {
        lane_fail(lane, err);
        return;
    }
    if (lane->flight.index == 0 && client_last_error(node->client)->code != ERR_NONE)
        log_debug(err->place, "%s", err->text);
    lane->flight.plan->request_refresh(lane->flight.plan->ctx, pool_deployment(node->pool));
}

/* Perhaps because of a large string: then measuring finds it, and that is a surprise. */
static void on_bounded_lost(void *ctx, struct pool_node *node) {
    struct lane *lane = ctx;
    estimate_note_lost_connection(&lane->flight.estimate);
}

static void on_node_gone(void *ctx, struct pool_node *node) {
    struct lane *lane = ctx;
    if (lane->trouble_node == node) lane->trouble_node = NULL;
    fetch_forget_node(&lane->flight, node);
    cleaner_forget_node(lane->cleaner, node);
    transfers_forget_node(lane->flight.transfers, node);
}

static void lane_check_outage(struct lane *lane) {
    const struct pool_node *node = NULL, *other = NULL;
    int64_t since = pool_down_since_ms(lane->flight.source, &node),
            since_target = pool_down_since_ms(lane->flight.target, &other);
    if (since == 0 || (since_target != 0 && since_target < since)) {
        since = since_target;
        node = other;
    }
    const struct err *why = since != 0 ? client_last_error(node->client) : NULL;
    const char *place = since != 0 ? client_place(node->client) : NULL;
    if (lane->trouble_since_ms != 0 && (since == 0 || lane->trouble_since_ms < since)) {
        since = lane->trouble_since_ms;
        why = &lane->trouble;
        place = lane->trouble.place;
    }
    int64_t limit_ms = lane->flight.plan->outage_timeout_ms, now_ms = clock_mono_ms();
    if (since == 0 || lane->failed) return;
    if (now_ms - lane->trouble_logged_ms > 10000 && now_ms - since > 5000) {
        lane->trouble_logged_ms = now_ms;
        log_warn(place, "unusable for %lld s: %s; waiting", (long long)(now_ms - since) / 1000,
                 why->code == ERR_NONE ? "not connected yet" : why->text);
    }
    if (limit_ms == 0 || now_ms - since < limit_ms) return;
    struct err err;
    err_set(&err, ERR_OUTAGE, place, "unusable for %lld s, longer than --outage-timeout allows: %s",
            (long long)(now_ms - since) / 1000,
            why->code == ERR_NONE ? "no connection" : why->text);
    lane_fail(lane, &err);
}

static void on_tick(void *ctx) {
    struct lane *lane = ctx;
    lane_check_outage(lane);
    if (clock_mono_ms() - lane->trust_checked_ms >= LANE_TRUST_MS) lane_check_trust(lane);
    atomic_store_explicit(&lane->flight.stats.reconnects,
                          pool_reconnects(lane->flight.source) +
                              pool_reconnects(lane->flight.target),
                          memory_order_relaxed);
    cleaner_work(lane->cleaner); /* where nothing could be written when the node became ready */
    lane_kick(lane);
    loop_timer_start(lane->tick, LANE_TICK_MS);
}

/* ---- calls from reading and writing: see flight.h ---- */

static void on_schedule(struct flight *flight) {
    lane_kick(lane_of(flight));
}

static void on_stage(struct flight *flight, struct key_entry *entry, enum stage stage) {
    lane_stage(lane_of(flight), entry, stage);
}

static void on_wait_turn(struct flight *flight, struct key_entry *entry) {
    lane_wait_turn(lane_of(flight), entry);
}

static void on_copied(struct flight *flight, struct key_entry *entry) {
    lane_acknowledged(lane_of(flight), entry);
}

static void on_done(struct flight *flight, struct key_entry *entry) {
    lane_key_done(lane_of(flight), entry);
}

static void on_failed(struct flight *flight, struct key_entry *entry, struct pool_node *node,
                      const struct err *err) {
    lane_key_failed(lane_of(flight), entry, node, err);
}

static void on_missing(struct flight *flight, struct key_entry *entry,
                       const struct client *source) {
    lane_key_missing(lane_of(flight), entry, source);
}

static void on_unwanted(struct flight *flight, struct key_entry *entry,
                        const struct client *source) {
    lane_key_unwanted(lane_of(flight), entry, source);
}

static void on_target_typed(struct flight *flight, struct key_entry *entry, struct bytes type) {
    lane_target_typed(lane_of(flight), entry, type);
}

static void on_park(struct flight *flight, struct key_entry *entry) {
    lane_park(lane_of(flight), entry);
}

static void on_park_unowned(struct flight *flight, struct key_entry *entry, struct pool *side) {
    lane_park_unowned(lane_of(flight), entry, side);
}

static void on_requeue(struct flight *flight, struct key_entry *entry) {
    lane_requeue(lane_of(flight), entry);
}

static void on_copy_after_all(struct flight *flight, struct key_entry *entry) {
    lane_copy_after_all(lane_of(flight), entry);
}

static void on_node_works(struct flight *flight, const struct pool_node *node) {
    lane_node_works(lane_of(flight), node);
}

static void on_node_deleted(struct flight *flight, const struct pool_node *node) {
    lane_node_deleted(lane_of(flight), node);
}

static void on_name(struct flight *flight, int db, struct bytes key, uint16_t slot,
                    enum key_reason reason) {
    lane_name(lane_of(flight), db, key, slot, reason);
}

static const struct flight_calls lane_calls = {
    .values = apply_values,
    .schedule = on_schedule,
    .stage = on_stage,
    .wait_turn = on_wait_turn,
    .copied = on_copied,
    .done = on_done,
    .failed = on_failed,
    .missing = on_missing,
    .unwanted = on_unwanted,
    .target_typed = on_target_typed,
    .park = on_park,
    .park_unowned = on_park_unowned,
    .requeue = on_requeue,
    .copy_after_all = on_copy_after_all,
    .node_works = on_node_works,
    .node_deleted = on_node_deleted,
    .name = on_name,
};

/* ---- life ---- */

struct lane *lane_new(struct loop *loop, const struct copy_plan *plan, int index) {
    static const struct pool_events events = { on_node_ready, on_node_down, on_bounded_lost,
                                               on_node_gone };
    struct lane *lane = mem_zalloc(sizeof(*lane));
    lane->flight.plan = plan;
    lane->flight.loop = loop;
    lane->flight.index = index;
    lane->keys = keyset_new();
    suspects_init(&lane->suspects);
    estimate_init(&lane->flight.estimate, plan->lane_bytes / 2);
    lane->flight.calls = &lane_calls;
    window_init(&lane->window, plan->window_keys, plan->lane_bytes / 2);
    lane->tokens_at_us = clock_mono_us();
    lane->retry = loop_timer_new(loop, on_retry, lane);
    lane->tick = loop_timer_new(loop, on_tick, lane);
    lane->pace = loop_timer_new(loop, on_pace, lane);
    lane->linger = loop_timer_new(loop, on_linger, lane);
    lane->flight.databases = databases_new(&lane->flight);
    lane->flight.transfers = transfers_new(&lane->flight);
    lane->cleaner = cleaner_new(&lane->flight, lane->flight.transfers);
    lane_live_init(lane);
    lane->flight.source = pool_new(loop, plan->source, plan->live, &events, lane);
    lane->flight.target = pool_new(loop, plan->target, false, &events, lane);
    loop_timer_start(lane->tick, LANE_TICK_MS);
    return lane;
}

void lane_free(struct lane **lane) {
    struct lane *l = *lane;
    *lane = NULL;
    if (l == NULL) return;
    l->stopping = l->failed = l->flight.closing = true;
    loop_undefer(l->flight.loop, l);
    l->kicked = true; /* no more work is deferred */
    pool_free(&l->flight.source);
    pool_free(&l->flight.target);
    databases_free(&l->flight.databases);
    transfers_free(&l->flight.transfers);
    cleaner_free(&l->cleaner);
    loop_timer_free(&l->retry);
    loop_timer_free(&l->tick);
    loop_timer_free(&l->pace);
    loop_timer_free(&l->linger);
    keyset_free(&l->keys);
    lane_live_fini(l);
    free(l);
}

void lane_begin(struct lane *lane) {
    if (!lane->flight.plan->dry_run) cleaner_begin(lane->cleaner);
    lane_publish_waiting(lane);
}

void lane_name(struct lane *lane, int db, struct bytes key, uint16_t slot, enum key_reason reason) {
    const struct copy_plan *plan = lane->flight.plan;
    bool full = plan->live && plan->names_bytes_max > 0 &&
                keyset_memory_bytes(lane->keys) >= plan->names_bytes_max;
    if (full && keyset_find(lane->keys, db, key) == NULL) {
        lane_lose_name(lane, slot);
        return;
    }
    keyset_name(lane->keys, db, key, slot, reason);
    /* That something waits must be seen at once; how much, at the end of the round. */
    if (stat_get(&lane->flight.stats.waiting) == 0) lane_publish_waiting(lane);
    lane_kick(lane);
}

void lane_update(struct lane *lane) {
    pool_update(lane->flight.source);
    pool_update(lane->flight.target);
    cleaner_work(lane->cleaner);
    if (!lane->stopping && lane->parked != NULL && clock_mono_ms() >= lane->hold_until_ms)
        lane_unpark(lane);
    lane_kick(lane);
}

void lane_stop(struct lane *lane) {
    lane->stopping = true;
    transfers_stop(lane->flight.transfers);
}

struct loop *lane_loop(struct lane *lane) {
    return lane->flight.loop;
}

const struct copy_stats *lane_stats(const struct lane *lane) {
    return &lane->flight.stats;
}
