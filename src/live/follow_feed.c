/* The part of follow.h that runs on the feeds' threads: names to lanes, barriers, losses. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/enqueue.h"
#include "live/follow_priv.h"

/* ---- names ---- */

static void node_name_keys(struct follow_node *node, int db, const struct bytes *keys, size_t n) {
    struct engine *e = node->follow->settings.engine;
    const struct key_filter *filter = engine_settings_of(e)->filter;
    struct enqueue queue;
    enqueue_begin(&queue, e, node->worker, db);
    for (size_t i = 0; i < n; i++) {
        uint16_t slot = slot_of_key(keys[i]);
        if (key_filter_wants(filter, keys[i], slot))
            enqueue_key(&queue, keys[i], slot, REASON_CHANGED);
    }
    enqueue_end(&queue);
}

static bool follow_knows_database(struct follow *f, int db) {
    const struct follow_databases *list = atomic_load(&f->dbs);
    for (size_t i = 0; i < list->n; i++)
        if (list->dbs[i] == db) return true;
    return false;
}

/* The control thread takes it up. */
static void follow_found_database(struct follow *f, int db) {
    bool there = false;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_new_dbs; i++) there = there || f->new_dbs[i] == db;
    if (!there) {
        f->new_dbs = mem_array(f->new_dbs, f->n_new_dbs + 1, sizeof(*f->new_dbs));
        f->new_dbs[f->n_new_dbs++] = db;
    }
    pthread_mutex_unlock(&f->lock);
    atomic_store(&f->any_new_dbs, true);
    engine_wake(f->settings.engine);
}

static void on_keys(void *ctx, int db, const struct bytes *keys, size_t n) {
    struct follow_node *node = ctx;
    struct follow *f = node->follow;
    atomic_store_explicit(&f->changed_us, clock_boot_us(), memory_order_relaxed);
    if (atomic_load_explicit(&f->deaf, memory_order_acquire)) return;
    if (db != FEED_ANY_DB) {
        if (follow_knows_database(f, db)) {
            node_name_keys(node, db, keys, n);
        } else if (f->settings.all_databases) {
            follow_found_database(f, db);
        }
        return;
    }
    const struct follow_databases *list = atomic_load(&f->dbs);
    for (size_t i = 0; i < list->n; i++) node_name_keys(node, list->dbs[i], keys, n);
}

/* ---- flushes and losses: no barrier counts before the control thread has opened a gap ---- */

static void on_flush(void *ctx) {
    struct follow_node *node = ctx;
    struct follow *f = node->follow;
    atomic_store_explicit(&f->changed_us, clock_boot_us(), memory_order_relaxed);
    pthread_mutex_lock(&f->lock);
    if (node->told.flushes == node->seen.flushes) node->told.flush_heard = node->told.heard;
    node->told.flushes++;
    node->told.muted = true;
    pthread_mutex_unlock(&f->lock);
    engine_wake(f->settings.engine);
}

static void on_waiting(void *ctx, const struct err *err) {
    struct follow_node *node = ctx;
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    node->told.why = *err;
    node->told.waits++;
    pthread_mutex_unlock(&f->lock);
    engine_wake(f->settings.engine);
}

static void on_lost(void *ctx, const struct err *err, bool final) {
    struct follow_node *node = ctx;
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    if (node->told.lost == node->seen.lost) node->told.lost_heard = node->told.heard;
    node->told.lost_heard = moment_older(node->told.lost_heard, node->told.heard);
    node->told.muted = true;
    node->told.lost++;
    node->told.why = *err;
    pthread_mutex_unlock(&f->lock);
    if (final) {
        engine_fail(f->settings.engine, err);
    } else {
        engine_wake(f->settings.engine);
        engine_want_refresh(f->settings.engine, true);
    }
}

static void on_established(void *ctx, const struct server_info *info) {
    struct follow_node *node = ctx;
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    node->told.info = *info;
    node->told.established_at = moment_now();
    node->calls_known = false;
    node->told.established++;
    pthread_mutex_unlock(&f->lock);
    engine_wake(f->settings.engine);
}

/* ---- barriers ---- */

static void on_mark_reached(struct lane_mark *mark) {
    struct barrier *b = mark->ctx;
    struct follow_node *node = b->node;
    struct follow *f = node->follow;
    struct moment sent = b->sent;
    if (atomic_fetch_sub(&b->left, 1) > 1) return; /* at 0 it may be used again */
    pthread_mutex_lock(&f->lock);
    if (node->told.passed.boot_us < sent.boot_us) node->told.passed = sent;
    pthread_mutex_unlock(&f->lock);
    engine_wake(f->settings.engine);
}

static struct barrier *node_free_barrier(struct follow_node *node) {
    for (size_t i = 0; i < FOLLOW_BARRIERS; i++)
        if (atomic_load(&node->barriers[i].left) == 0) return &node->barriers[i];
    return NULL;
}

/* *sent becomes older where commands that no capture announces are not followed yet. */
static bool node_takes_barrier(struct follow_node *node, struct moment *sent) {
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    if (node->told.unsettled) *sent = moment_older(*sent, node->told.settled);
    bool counts = !node->told.muted && sent->boot_us > node->told.heard.boot_us;
    if (counts) node->told.heard = *sent;
    pthread_mutex_unlock(&f->lock);
    return counts;
}

static void node_send_marks(struct follow_node *node, struct moment sent) {
    struct engine *e = node->follow->settings.engine;
    struct barrier *b = node_free_barrier(node);
    if (b == NULL) return; /* the lanes are behind; a later one will do */
    int lanes = engine_lanes(e);
    if (b->marks == NULL) b->marks = mem_array(NULL, (size_t)lanes, sizeof(*b->marks));
    b->node = node;
    b->sent = sent;
    atomic_store(&b->left, lanes);
    for (int i = 0; i < lanes; i++) {
        b->marks[i] = (struct lane_mark){ .reached = on_mark_reached, .ctx = b };
        engine_put_mark(e, node->worker, i, &b->marks[i]);
    }
}

/* When a question was sent, from the monotonic clock that the feed keeps. Computed from a time
 * stamp before it and from one behind it; the older result counts, so that a clock that was set, or
 * a machine that stood still in between, makes the moment older and never newer. */
static struct moment node_moment_at(struct follow_node *node, int64_t since_us) {
    struct moment now = moment_now();
    int64_t now_us = clock_mono_us(), back_us = now_us - since_us;
    struct moment at = { now.boot_us - back_us, now.wall_us - back_us };
    for (size_t i = 0; i < FOLLOW_STAMPS; i++) {
        const struct follow_stamp *stamp = &node->stamps[i];
        if (stamp->mono_us == 0 || stamp->mono_us > since_us) continue;
        int64_t on_us = since_us - stamp->mono_us;
        if (stamp->at.boot_us + on_us < at.boot_us) at.boot_us = stamp->at.boot_us + on_us;
        if (stamp->at.wall_us + on_us < at.wall_us) at.wall_us = stamp->at.wall_us + on_us;
    }
    node->stamps[node->next_stamp++ % FOLLOW_STAMPS] = (struct follow_stamp){ now_us, now };
    return at;
}

/* ---- counters of commands that no capture announces: see follow_calls.h ---- */

static bool node_calls_differ(const struct follow_node *node, const uint64_t *calls,
                              enum sample_calls which) {
    return !node->calls_known || node->calls[which] != calls[which];
}

static void node_note_calls(struct follow_node *node, struct moment sent, const uint64_t *calls) {
    struct follow *f = node->follow;
    bool groups = false, others = false, reset = false;
    if (calls != NULL) {
        /* INFO is asked for by each barrier, so that its count falls only when it is reset. */
        reset = node->calls_known && calls[SAMPLE_INFO] < node->calls[SAMPLE_INFO];
        bool flushes = f->settings.capture.kind == FEED_NOTIFICATIONS;
        groups = node_calls_differ(node, calls, SAMPLE_GROUPS);
        others = reset || node_calls_differ(node, calls, SAMPLE_SWAPDB) ||
                 node_calls_differ(node, calls, SAMPLE_FUNCTIONS) ||
                 node_calls_differ(node, calls, SAMPLE_SILENT) ||
                 node_calls_differ(node, calls, SAMPLE_DEBUG) ||
                 (flushes && node_calls_differ(node, calls, SAMPLE_FLUSH));
        memcpy(node->calls, calls, sizeof(node->calls));
    }
    node->calls_known = calls != NULL;
    pthread_mutex_lock(&f->lock);
    node->told.confirmed = sent;
    node->told.counts = calls != NULL;
    if (calls == NULL) node->told.unsettled = false;
    if (groups || others) {
        node->told.unsettled = true;
        node->told.noticed_us = clock_boot_us();
        node->told.noticed_others = node->told.noticed_others || others;
    }
    pthread_mutex_unlock(&f->lock);
    if (others) engine_wake(f->settings.engine);
}

/* Names of a database that nobody knew were not given, so that a barrier proves nothing before the
 * database is taken up. */
static void on_barrier(void *ctx, int64_t since_us, const struct feed_seen *seen) {
    struct follow_node *node = ctx;
    struct follow *f = node->follow;
    struct moment sent = node_moment_at(node, since_us);
    bool news = false;
    node_note_calls(node, sent, seen->calls);
    for (size_t i = 0; i < seen->n_dbs; i++) {
        if (follow_knows_database(f, seen->dbs[i])) continue;
        follow_found_database(f, seen->dbs[i]);
        news = true;
    }
    if (news || atomic_load(&f->any_new_dbs)) return;
    if (node_takes_barrier(node, &sent)) node_send_marks(node, sent);
}

/* ---- life ---- */

static void on_feed_start(void *ctx) {
    static const struct feed_events events = { .on_established = on_established,
                                               .on_waiting = on_waiting,
                                               .on_keys = on_keys,
                                               .on_flush = on_flush,
                                               .on_barrier = on_barrier,
                                               .on_lost = on_lost };
    struct follow_node *node = ctx;
    const struct follow *f = node->follow;
    struct deployment *source = engine_source(f->settings.engine);
    struct feed_settings settings = { .source = source,
                                      .client = deployment_client_settings(source, &node->reader),
                                      .kind = f->settings.capture.kind,
                                      .resp2 = f->settings.capture.resp2,
                                      .ask_databases = f->settings.all_databases };
    struct client_settings primary = deployment_client_settings(source, &node->primary);
    if (!address_equal(&node->primary, &node->reader)) settings.primary = &primary;
    if (node->feed == NULL)
        node->feed = feed_start(worker_loop(node->worker), &settings, &events, node);
}

static void on_feed_stop(void *ctx) {
    struct follow_node *node = ctx;
    feed_free(&node->feed);
    atomic_fetch_sub(&node->follow->feeds, 1);
    engine_wake(node->follow->settings.engine);
}

static void on_feed_break(void *ctx) {
    struct follow_node *node = ctx;
    struct err err;
    if (node->feed == NULL) return;
    err_set(&err, ERR_CLOSED, feed_place(node->feed), "the server's role or history changed");
    feed_break(node->feed, &err);
}

void follow_feed_start(struct follow_node *node) {
    atomic_fetch_add(&node->follow->feeds, 1);
    loop_post(worker_loop(node->worker), on_feed_start, node);
}

void follow_feed_stop(struct follow_node *node) {
    loop_post(worker_loop(node->worker), on_feed_stop, node);
}

void follow_feed_break(struct follow_node *node) {
    loop_post(worker_loop(node->worker), on_feed_break, node);
}
