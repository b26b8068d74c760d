/* See pass.h. */
#include "engine/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine_priv.h"
#include "engine/enqueue.h"

enum { PASS_PAUSE_MS = 1 };

/* ---- on the worker's thread ---- */

static void pass_end_scan(struct pass *pass) {
    atomic_fetch_add(&pass->engine->scan_reconnects, scan_reconnects(pass->scan));
    scan_free(&pass->scan);
}

static void pass_ended(struct pass *pass, enum scan_end end, const struct err *err) {
    struct engine *e = pass->engine;
    pass->end = end;
    if (err != NULL) pass->err = *err;
    pass_end_scan(pass);
    loop_timer_free(&pass->pause);
    pthread_mutex_lock(&e->lock);
    pass->next_ended = e->ended;
    e->ended = pass;
    pthread_mutex_unlock(&e->lock);
    engine_wake(e);
}

static void pass_start_scan(struct pass *pass);

static void on_scan_end(void *ctx, enum scan_end end, const struct err *err) {
    struct pass *pass = ctx;
    bool sweep = pass->coverage->kind == COVERAGE_SWEEP;
    if (end == SCAN_COMPLETE && sweep && pass->type + 1 < pass->engine->plan.filter->n_types) {
        pass->type++; /* SCAN takes one type at a time */
        pass_end_scan(pass);
        pass_start_scan(pass);
        return;
    }
    if (err == NULL) {
        pass_ended(pass, end, NULL);
        return;
    }
    struct err copy = *err;
    pass_ended(pass, end, &copy);
}

static void on_abort(void *ctx) {
    struct pass *pass = ctx;
    if (pass->scan != NULL) pass_ended(pass, SCAN_NODE_CHANGED, NULL);
}

static bool on_may_continue(void *ctx) {
    struct pass *pass = ctx;
    struct engine *e = pass->engine;
    uint64_t bytes_high = e->settings.buffer_bytes / 4 / (uint64_t)e->n_workers + 1;
    for (int i = 0; i < e->n_workers; i++) {
        const struct copy_stats *stats = lane_stats(worker_lane(e->workers[i]));
        uint64_t in_flight = stat_get(&stats->in_flight);
        bool queue_is_high = stat_get(&stats->waiting) >= in_flight + ENGINE_QUEUE_HIGH;
        if (!queue_is_high && stat_get(&stats->waiting_bytes) < bytes_high) continue;
        loop_timer_start(pass->pause, PASS_PAUSE_MS);
        return false;
    }
    return true;
}

static void on_pause_over(void *ctx) {
    struct pass *pass = ctx;
    if (pass->scan != NULL) scan_resume(pass->scan);
}

static enum key_reason pass_reason(const struct pass *pass, uint16_t slot) {
    if (pass->coverage->kind == COVERAGE_SWEEP) return REASON_IF_MISSING;
    if (pass->coverage->kind == COVERAGE_STREAMS) return REASON_GROUPS;
    return slot_set_has(&pass->whole, slot) ? REASON_RESYNC : REASON_IF_USED;
}

/* Everything before it has been named. */
static void pass_note_cursor(struct pass *pass) {
    struct engine *e = pass->engine;
    pthread_mutex_lock(&e->lock);
    snprintf(pass->cursor, sizeof(pass->cursor), "%s", scan_cursor(pass->scan));
    snprintf(pass->run_id, sizeof(pass->run_id), "%s", scan_run_id(pass->scan));
    pthread_mutex_unlock(&e->lock);
}

static bool pass_wants(const struct pass *pass, struct bytes key, uint16_t slot) {
    return slot_set_has(&pass->slots, slot) &&
           key_filter_wants(pass->engine->plan.filter, key, slot);
}

static void on_keys(void *ctx, const struct bytes *keys, size_t n) {
    struct pass *pass = ctx;
    struct engine *e = pass->engine;
    const struct coverage_rules *rules = &pass->coverage->rules;
    bool sweep = pass->coverage->kind == COVERAGE_SWEEP;
    struct enqueue queue;
    uint64_t named = 0;
    enqueue_begin(&queue, e, pass->worker, pass->db);
    for (size_t i = 0; i < n; i++) {
        uint16_t slot = slot_of_key(keys[i]);
        /* Left behind by a target that restarted with old data. */
        if (sweep && key_is_temporary(keys[i])) enqueue_key(&queue, keys[i], slot, REASON_CHANGED);
        if (!pass_wants(pass, keys[i], slot)) continue;
        named++;
        if (rules->on_named != NULL) rules->on_named(rules->ctx, pass->db, slot);
        enqueue_key(&queue, keys[i], slot, pass_reason(pass, slot));
    }
    enqueue_end(&queue);
    if (e->settings.live) pass_note_cursor(pass);
    if (pass->coverage->kind == COVERAGE_FORWARD)
        atomic_fetch_add_explicit(&e->scanned, named, memory_order_relaxed);
}

/* Of the target only keys of these types are the job's; the source's are asked for their type,
 * where SCAN does not do it. */
static const char *pass_type(const struct pass *pass) {
    const struct key_filter *filter = pass->engine->plan.filter;
    if (pass->coverage->kind == COVERAGE_STREAMS) return "stream";
    if (filter->n_types == 0) return NULL;
    if (pass->coverage->kind == COVERAGE_SWEEP) return filter->types[pass->type];
    return filter->n_types == 1 && !pass->engine->plan.typed ? filter->types[0] : NULL;
}

static void pass_start_scan(struct pass *pass) {
    static const struct scan_events events = { on_keys, on_may_continue, on_scan_end };
    const struct engine *e = pass->engine;
    struct scan_settings scan = { .client = pass->client,
                                  .db = pass->scan_db,
                                  .count = e->settings.scan_count,
                                  .match = e->plan.filter->pattern,
                                  .type = pass_type(pass),
                                  .sleep_ms = e->settings.sleep_ms,
                                  .cursor = pass->start_cursor,
                                  .run_id = pass->start_run_id };
    pass->scan = scan_start(worker_loop(pass->worker), &scan, &events, pass);
}

static void on_start(void *ctx) {
    struct pass *pass = ctx;
    pass->pause = loop_timer_new(worker_loop(pass->worker), on_pause_over, pass);
    pass_start_scan(pass);
}

/* ---- on the control thread ---- */

struct pass *pass_new(struct coverage *c, const struct address *primary,
                      const struct slot_set *slots) {
    struct pass *pass = mem_zalloc(sizeof(*pass));
    pass->coverage = c;
    pass->engine = c->engine;
    pass->worker = engine_next_worker(c->engine);
    pass->primary = *primary;
    pass->slots = pass->undisturbed = *slots;
    return pass;
}

void pass_free(struct pass **pass) {
    free(*pass);
    *pass = NULL;
}

void passes_free(struct pass *list) {
    while (list != NULL) {
        struct pass *next = list->next;
        free(list);
        list = next;
    }
}

void pass_start_on_worker(struct pass *pass) {
    loop_post(worker_loop(pass->worker), on_start, pass);
}

void pass_abort(struct pass *pass) {
    if (!atomic_exchange(&pass->aborted, true))
        loop_post(worker_loop(pass->worker), on_abort, pass);
}

struct pass_view pass_view_of(const struct pass *pass) {
    return (struct pass_view){ .primary = &pass->primary,
                               .db = pass->db,
                               .slots = &pass->slots,
                               .whole = &pass->whole,
                               .run_id = pass->run_id,
                               .cursor = pass->cursor };
}
