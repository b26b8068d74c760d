/* The source's nodes in a live job: a feed each, and a look by INFO every so often.
 *
 *   worker thread: feed ── names ──▶ lanes        barrier ──▶ a mark in every lane ──▶ passed_us
 *                   │ established, lost, flushed (under the lock)
 *   control:       live_nodes_step(): gaps, trust
 *
 * What a gap may leave out: a key that was idle since before the gap began has not changed. That
 * holds while nothing kept the server from noting uses: it does not while a child process saves
 * (redis 7.0.15 src/db.c lookupKey()), nor where frequencies are kept in the place of times. So the
 * count of forks is watched. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "live/live_priv.h"

/* ---- on the feed's thread ---- */

static void name_in_database(struct live_node *node, int db, const struct bytes *keys, size_t n) {
    struct job *job = node->live->job;
    struct naming naming;
    naming_begin(&naming, job, node->worker, db);
    for (size_t i = 0; i < n; i++) {
        uint16_t slot = slot_of_key(keys[i]);
        if (key_filter_wants(job->settings->filter, keys[i], slot))
            naming_add(&naming, keys[i], slot, REASON_CHANGED);
    }
    naming_end(&naming);
}

/* A database that nobody has heard of: the control thread takes it up. */
static void found_database(struct live *live, int db) {
    if (db < 0 || db >= LIVE_DATABASES_MAX) return;
    pthread_mutex_lock(&live->lock);
    live->new_dbs[db] = true;
    pthread_mutex_unlock(&live->lock);
    atomic_store(&live->any_new_dbs, true);
    job_wake(live->job);
}

static bool knows_database(struct live *live, int db) {
    size_t n = atomic_load_explicit(&live->n_dbs, memory_order_acquire);
    for (size_t i = 0; i < n; i++)
        if (live->dbs[i] == db) return true;
    return false;
}

static void on_keys(void *ctx, int db, const struct bytes *keys, size_t n) {
    struct live_node *node = ctx;
    struct live *live = node->live;
    atomic_store_explicit(&live->changed_us, clock_mono_us(), memory_order_relaxed);
    if (db != FEED_ANY_DB) {
        if (knows_database(live, db)) {
            name_in_database(node, db, keys, n);
        } else if (live->job->settings->all_databases) {
            found_database(live, db);
        }
        return;
    }
    size_t n_dbs = atomic_load_explicit(&live->n_dbs, memory_order_acquire);
    for (size_t i = 0; i < n_dbs; i++) name_in_database(node, live->dbs[i], keys, n);
}

static void on_flush(void *ctx) {
    struct live_node *node = ctx;
    atomic_store_explicit(&node->live->changed_us, clock_mono_us(), memory_order_relaxed);
    pthread_mutex_lock(&node->live->lock);
    node->flushes++;
    pthread_mutex_unlock(&node->live->lock);
    job_wake(node->live->job);
}

static void on_mark_reached(struct lane_mark *mark) {
    struct barrier *b = mark->ctx;
    struct live_node *node = b->node;
    int64_t sent_us = b->sent_us;
    if (atomic_fetch_sub(&b->left, 1) > 1) return; /* at 0 it may be used again */
    int64_t before = atomic_load(&node->passed_us);
    while (before < sent_us && !atomic_compare_exchange_weak(&node->passed_us, &before, sent_us)) {
    }
    job_wake(node->live->job);
}

struct posted_mark {
    struct lane *lane;
    struct lane_mark *mark;
};

static void on_posted_mark(void *ctx) {
    struct posted_mark *posted = ctx;
    lane_put_mark(posted->lane, posted->mark);
    free(posted);
}

/* Behind all names that went the same way before. */
static void put_mark(struct worker *worker, struct worker *here, struct lane_mark *mark) {
    if (worker == here) {
        lane_put_mark(worker_lane(worker), mark);
        return;
    }
    struct posted_mark *posted = mem_alloc(sizeof(*posted));
    *posted = (struct posted_mark){ worker_lane(worker), mark };
    loop_post(worker_loop(worker), on_posted_mark, posted);
}

static struct barrier *free_barrier(struct live_node *node) {
    for (size_t i = 0; i < LIVE_BARRIERS; i++)
        if (atomic_load(&node->barriers[i].left) == 0) return &node->barriers[i];
    return NULL;
}

static void on_barrier(void *ctx, int64_t sent_us, const int *dbs, size_t n_dbs) {
    struct live_node *node = ctx;
    struct job *job = node->live->job;
    bool news = false;
    for (size_t i = 0; i < n_dbs; i++) {
        if (knows_database(node->live, dbs[i])) continue;
        found_database(node->live, dbs[i]);
        news = true;
    }
    /* its names were not given in all databases */
    if (news || atomic_load(&node->live->any_new_dbs)) return;
    if (atomic_load(&node->muted)) return;
    atomic_store(&node->heard_us, sent_us);
    struct barrier *b = free_barrier(node);
    if (b == NULL) return; /* the lanes are behind; a later one will do */
    b->node = node;
    b->sent_us = sent_us;
    atomic_store(&b->left, job->n_workers);
    for (int i = 0; i < job->n_workers; i++) {
        b->marks[i] = (struct lane_mark){ .reached = on_mark_reached, .ctx = b };
        put_mark(job->workers[i], node->worker, &b->marks[i]);
    }
}

static void on_established(void *ctx, const struct server_info *info) {
    struct live_node *node = ctx;
    pthread_mutex_lock(&node->live->lock);
    node->info = *info;
    node->established_us = clock_mono_us();
    node->established++;
    pthread_mutex_unlock(&node->live->lock);
    job_wake(node->live->job);
}

/* The server cannot be listened to yet: the reason is shown with the gap. */
static void on_waiting(void *ctx, const struct err *err) {
    struct live_node *node = ctx;
    pthread_mutex_lock(&node->live->lock);
    node->why = *err;
    node->waits++;
    pthread_mutex_unlock(&node->live->lock);
    job_wake(node->live->job);
}

static void on_lost(void *ctx, const struct err *err, bool final) {
    struct live_node *node = ctx;
    struct live *live = node->live;
    int64_t heard_us = atomic_load(&node->heard_us);
    pthread_mutex_lock(&live->lock);
    atomic_store(&node->muted, true);
    if (node->lost == node->seen_lost || heard_us < node->lost_heard_us)
        node->lost_heard_us = heard_us;
    node->lost++;
    node->why = *err;
    pthread_mutex_unlock(&live->lock);
    if (final) {
        job_fail(live->job, err);
    } else {
        job_wake(live->job);
        atomic_store(&live->job->want_source, true);
    }
}

static void on_feed_start(void *ctx) {
    static const struct feed_events events = { on_established, on_waiting, on_keys,
                                               on_flush,       on_barrier, on_lost };
    struct live_node *node = ctx;
    const struct live *live = node->live;
    struct feed_settings settings = { .client = deployment_client_settings(live->job->source,
                                                                           &node->reader),
                                      .kind = live->capture.kind,
                                      .resp2 = live->capture.resp2,
                                      .ask_databases = live->job->settings->all_databases,
                                      .source = live->job->source };
    struct client_settings primary = deployment_client_settings(live->job->source, &node->primary);
    if (!address_equal(&node->primary, &node->reader)) settings.primary = &primary;
    if (node->feed == NULL)
        node->feed = feed_start(worker_loop(node->worker), &settings, &events, node);
}

static void on_feed_stop(void *ctx) {
    struct live_node *node = ctx;
    feed_free(&node->feed);
    atomic_fetch_sub(&node->live->feeds, 1);
    job_wake(node->live->job);
}

static void on_feed_break(void *ctx) {
    struct live_node *node = ctx;
    struct err err;
    if (node->feed == NULL) return;
    err_set(&err, ERR_CLOSED, feed_place(node->feed), "the server's role or history changed");
    feed_break(node->feed, &err);
}

/* ---- looks, on the control thread ---- */

static void take_quietness(struct live_node *node, const struct watch_look *look,
                           const struct watch_look *before) {
    bool known = look->forks_known && !look->has_child;
    bool same =
        before != NULL && before->forks_known && before->forks == look->forks && !before->has_child;
    if (!known) {
        node->quiet_since_us = LIVE_NO_GAP;
    } else if (!same || node->quiet_since_us == LIVE_NO_GAP) {
        bool as_recorded = node->quiet_since_us == LIVE_NEVER && node->forks == look->forks;
        if (!as_recorded) node->quiet_since_us = live_to_mono_us(look->asked_us);
    }
    node->forks = look->forks;
    node->policy_is_lfu = strstr(look->info.maxmemory_policy, "lfu") != NULL;
}

static bool rose(const struct watch_look *look, const struct watch_look *before,
                 enum watch_calls which) {
    return before == NULL || !before->calls_known || !look->calls_known ||
           before->calls[which] != look->calls[which];
}

static void on_check_groups(void *ctx) {
    lane_check_groups(ctx);
}

static void take_silent_commands(struct live_node *node, const struct watch_look *look,
                                 const struct watch_look *before) {
    struct live *live = node->live;
    struct job *job = live->job;
    struct slot_set slots = live_slots_of(live, node);
    bool known = before != NULL && before->calls_known && look->calls_known;
    bool due = known || clock_mono_ms() - node->groups_ms >= live->settings->poll_ms;
    if (due) node->groups_ms = clock_mono_ms();
    if (due && rose(look, before, WATCH_GROUPS))
        for (int i = 0; i < job->n_workers; i++)
            loop_post(worker_loop(job->workers[i]), on_check_groups, worker_lane(job->workers[i]));
    if (rose(look, before, WATCH_FUNCTIONS)) live->check_functions = true;
    int64_t since_us = atomic_load(&node->passed_us);
    bool swapped = known && before->calls[WATCH_SWAPDB] != look->calls[WATCH_SWAPDB];
    if (before == NULL && node->recorded_swaps >= 0 && look->calls_known)
        swapped = (uint64_t)node->recorded_swaps != look->calls[WATCH_SWAPDB];
    node->recorded_swaps = -1;
    if (swapped) {
        log_info(watch_address(node->watch)->host,
                 "databases were swapped; both sides are gone through again");
        live_gap(live, node, &slots, since_us, true, "databases were swapped");
        live_gap_behind(live, &slots, since_us, true);
    }
    if (live->capture.kind == FEED_NOTIFICATIONS && known &&
        before->calls[WATCH_FLUSH] != look->calls[WATCH_FLUSH])
        live_gap_behind(live, &slots, since_us, true);
}

static void on_look(void *ctx, const struct watch_look *look, const struct watch_look *before) {
    struct live_node *node = ctx;
    take_quietness(node, look, before);
    gather_load_note(&node->load, look->asked_us, look->cpu_us);
    bool mine = node->hearing && strcmp(look->info.run_id, node->run_id) == 0;
    if (mine && !server_info_continues(&look->info, node->run_id, node->replid)) {
        loop_post(worker_loop(node->worker), on_feed_break, node);
        return;
    }
    /* Against the last look that was taken: what happened while nothing was heard is not passed
     * over. */
    if (mine) {
        bool same = strcmp(node->taken.info.run_id, look->info.run_id) == 0;
        take_silent_commands(node, look, same ? &node->taken : NULL);
        node->taken = *look;
    }
    if (mine && look->asked_us >= node->asked_us) node->ready = true;
    if (node->hearing && !mine) {
        /* Two connections, two processes: the name leads elsewhere now. Both are made anew. */
        node->watch_stale = true;
        loop_post(worker_loop(node->worker), on_feed_break, node);
    }
}

static void on_silent(void *ctx, const struct err *err) {
    struct live_node *node = ctx;
    node->load = (struct gather_load){ 0 };
    log_debug(err->place, "%s", err->text);
}

/* ---- nodes come and go, on the control thread ---- */

static struct live_node *node_find(struct live *live, const struct address *primary,
                                   const struct address *reader) {
    for (struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (address_equal(&n->primary, primary) && address_equal(&n->reader, reader)) return n;
    return NULL;
}

static const struct record_node *recorded(const struct live *live, const struct address *address) {
    char where[RECORD_LABEL_MAX];
    address_format(address, where, sizeof(where));
    for (size_t i = 0; live->resumed && i < live->record.n_nodes; i++)
        if (strcmp(live->record.nodes[i].address, where) == 0) return &live->record.nodes[i];
    return NULL;
}

/* -1: the record does not say. */
static int64_t recorded_count(const struct record_node *known, const char *name) {
    const json_t *count = json_object_get(known->evidence, name);
    return json_is_integer(count) ? json_integer_value(count) : -1;
}

static void node_watch(struct live_node *node) {
    static const struct watch_events events = { on_look, on_silent };
    const struct live *live = node->live;
    struct client_settings settings = deployment_client_settings(live->job->source, &node->reader);
    int64_t interval_ms =
        live->settings->poll_ms < LIVE_LOOK_MS ? live->settings->poll_ms : LIVE_LOOK_MS;
    watch_free(&node->watch);
    node->watch_stale = false;
    node->watch = watch_start(live->job->loop, &settings, interval_ms, true, &events, node);
}

static struct live_node *node_new(struct live *live, const struct address *primary,
                                  const struct address *reader, bool first) {
    struct job *job = live->job;
    struct live_node *node = mem_zalloc(sizeof(*node));
    node->live = live;
    node->primary = *primary;
    node->reader = *reader;
    node->worker = job->workers[job->next_worker++ % (unsigned)job->n_workers];
    atomic_init(&node->passed_us, LIVE_NEVER);
    atomic_init(&node->heard_us, LIVE_NEVER);
    node->quiet_since_us = LIVE_NO_GAP;
    node->recorded_swaps = -1;
    const struct record_node *known = recorded(live, reader);
    if (first && known != NULL) {
        snprintf(node->run_id, sizeof(node->run_id), "%s", known->run_id);
        snprintf(node->replid, sizeof(node->replid), "%s", known->replid);
        int64_t forks = recorded_count(known, "forks");
        node->forks = (uint64_t)forks;
        node->recorded_swaps = recorded_count(known, "swaps");
        if (forks >= 0) node->quiet_since_us = LIVE_NEVER;
    } else if (!first || live->resumed) {
        /* a process that nobody has seen before: what it lacks may be its own loss */
        node->run_id[0] = '?';
    }
    node->next = live->nodes;
    live->nodes = node;
    node_watch(node);
    atomic_fetch_add(&live->feeds, 1);
    loop_post(worker_loop(node->worker), on_feed_start, node);
    return node;
}

static void node_end(struct live *live, struct live_node *node) {
    for (struct live_node **p = &live->nodes; *p != NULL; p = &(*p)->next) {
        if (*p != node) continue;
        *p = node->next;
        break;
    }
    watch_free(&node->watch);
    loop_post(worker_loop(node->worker), on_feed_stop, node);
    node->next = live->former;
    live->former = node;
}

struct slot_set live_slots_of(const struct live *live, const struct live_node *node) {
    struct slot_set slots = { 0 };
    for (int s = 0; s < SLOT_COUNT; s++)
        if (live->owner[s] == node) slot_set_add(&slots, (uint16_t)s);
    return slots;
}

/* Has it been heard without a break since the former picture of the topology, in which the slot was
 * another's? */
static bool was_heard(const struct live *live, const struct live_node *node) {
    return node->hearing && !atomic_load(&((struct live_node *)node)->muted) &&
           node->hearing_since_us <= live->topology_us;
}

/* The slot has another owner. Both having been heard all the time, nothing was missed; otherwise
 * there may be changes from before the new owner was heard. */
static void slot_moves(struct live *live, uint16_t slot, struct live_node *from,
                       struct live_node *to, struct slot_set *moved, int64_t *since_us) {
    live->owner[slot] = to;
    if (to == NULL) return;
    if (from != NULL && slot_set_has(&from->gap, slot)) {
        slot_set_remove(&from->gap, slot);
        slot_set_add(moved, slot);
        if (from->gap_since_us < *since_us) *since_us = from->gap_since_us;
        return;
    }
    if (from != NULL && from->listed && was_heard(live, from) && was_heard(live, to)) return;
    slot_set_add(moved, slot);
    int64_t heard_us = from != NULL ? atomic_load(&from->heard_us) : LIVE_NEVER;
    if (live->topology_us < heard_us) heard_us = live->topology_us;
    if (heard_us < *since_us) *since_us = heard_us;
}

static void owners_sync(struct live *live, const struct topology *t, struct live_node **by_index,
                        bool first) {
    for (int i = 0; i < t->n_nodes; i++) {
        struct live_node *to = by_index[i];
        struct slot_set moved = { 0 };
        int64_t since_us = LIVE_NO_GAP;
        if (to == NULL) continue;
        for (int s = 0; s < SLOT_COUNT; s++) {
            if (t->owner[s] != i || live->owner[s] == to) continue;
            if (first) {
                live->owner[s] = to;
            } else {
                slot_moves(live, (uint16_t)s, live->owner[s], to, &moved, &since_us);
            }
        }
        if (slot_set_count(&moved) > 0) {
            live_gap(live, to, &moved, since_us, true,
                     "slots moved to a server that was not listened to");
            live_gap_behind(live, &moved, since_us, false);
        }
    }
}

void live_nodes_sync(struct live *live, bool first) {
    struct topology *t = deployment_topology(live->job->source);
    struct live_node **by_index = mem_zalloc((size_t)t->n_nodes * sizeof(struct live_node *));
    for (struct live_node *n = live->nodes; n != NULL; n = n->next) n->listed = false;
    for (int i = 0; i < t->n_nodes; i++) {
        if (!topology_is_primary(t, i)) continue;
        const struct address *primary = &t->nodes[i].address,
                             *reader = &t->nodes[t->nodes[i].reader].address;
        by_index[i] = node_find(live, primary, reader);
        if (by_index[i] == NULL) by_index[i] = node_new(live, primary, reader, first);
        by_index[i]->listed = true;
    }
    if (!first) live_nodes_step(live); /* what was lost is lost with the slots of before */
    owners_sync(live, t, by_index, first);
    for (struct live_node *n = live->nodes, *next; n != NULL; n = next) {
        next = n->next;
        if (!n->listed && slot_set_count(&n->gap) == 0) node_end(live, n);
    }
    free(by_index);
    topology_unref(&t);
}

/* ---- what feeds have said, on the control thread ---- */

struct trust_note {
    struct lane *lane;
    struct address address;
    char run_id[RUN_ID_MAX];
    bool trusted;
};

static void on_trust(void *ctx) {
    struct trust_note *note = ctx;
    lane_trust(note->lane, &note->address, note->run_id, note->trusted);
    free(note);
}

void live_node_trust(struct live_node *node) {
    struct job *job = node->live->job;
    for (int i = 0; i < job->n_workers; i++) {
        struct trust_note *note = mem_zalloc(sizeof(*note));
        note->lane = worker_lane(job->workers[i]);
        note->address = node->reader;
        note->trusted = node->trust_round == 0;
        memcpy(note->run_id, node->run_id, sizeof(note->run_id));
        loop_post(worker_loop(job->workers[i]), on_trust, note);
    }
}

static void node_lost(struct live *live, struct live_node *node, int64_t heard_us,
                      const struct err *why) {
    struct slot_set slots = live_slots_of(live, node);
    node->hearing = node->ready = false;
    log_warn(
        why->place,
        "the stream of changes broke (%s); what changed meanwhile is looked for when it is back",
        why->text);
    live_gap(live, node, &slots, heard_us, false, why->text);
    live_gap_behind(live, &slots, heard_us, false);
}

static void node_established(struct live *live, struct live_node *node,
                             const struct server_info *info) {
    bool first = node->run_id[0] == '\0';
    bool same = server_info_continues(info, node->run_id, node->replid);
    if (!first && !same) {
        node->gap_whole = true;
        node->trust_round = live->behind.rounds + 1;
        node->quiet_since_us = LIVE_NO_GAP;
    }
    memcpy(node->run_id, info->run_id, sizeof(node->run_id));
    memcpy(node->replid, info->replid, sizeof(node->replid));
    node->hearing = true;
    node->ready = false;
    node->asked_us = clock_wall_us();
    watch_now(node->watch);
    live_node_trust(node);
    char where[RECORD_LABEL_MAX];
    address_format(&node->reader, where, sizeof(where));
    log_debug(where, "changes are listened to by %s", feed_kind_name(live->capture.kind));
}

/* More changes wait than the lanes can keep: a scan now would find them no room either. */
static bool lanes_are_full(const struct live *live) {
    const struct job *job = live->job;
    for (int i = 0; i < job->n_workers; i++) {
        const struct copy_stats *stats = lane_stats(worker_lane(job->workers[i]));
        if (stat_get(&stats->waiting_bytes) > job->plan.names_bytes_max / 2) return true;
    }
    return false;
}

/* Since when keys count as used. What is still open from before keeps its earlier beginning, unless
 * that asked for no idle times (LIVE_NEVER): such a pass is under way, and what changed since it
 * began is all that is new. */
static void node_set_since(struct live *live, const struct live_node *node, int64_t since_us) {
    struct slot_set open = coverage_open_slots(&live->job->forward);
    int64_t none_ms = LIVE_NEVER / 1000, since_ms = since_us / 1000;
    for (int s = 0; s < SLOT_COUNT; s++) {
        if (!slot_set_has(&node->gap, (uint16_t)s)) continue;
        int64_t before_ms =
            slot_set_has(&open, (uint16_t)s) ? atomic_load(&live->slot_since_ms[s]) : none_ms;
        bool earlier = before_ms != none_ms && (since_ms == none_ms || before_ms < since_ms);
        atomic_store(&live->slot_since_ms[s], earlier ? before_ms : since_ms);
    }
}

/* Once it can be scanned: what its gap needs. */
static void node_open_gap(struct live *live, struct live_node *node) {
    if (!node->gap_open || !node->ready || lanes_are_full(live)) return;
    bool sound = live->capture.idle_time_allowed && !node->policy_is_lfu &&
                 node->gap_since_us != LIVE_NEVER && node->quiet_since_us <= node->gap_since_us;
    if (!sound || node->gap_whole) node->resumes = false;
    bool resumes = node->resumes;
    /* where it resumes, the rest is copied whole first */
    bool whole = node->gap_whole || !sound || resumes;
    node_set_since(live, node, whole && !resumes ? LIVE_NEVER : node->gap_since_us);
    coverage_open(&live->job->forward, -1, &node->gap, whole);
    char where[RECORD_LABEL_MAX];
    address_format(&node->reader, where, sizeof(where));
    log_info(where,
             live->copied_once ? "%u slots are gone through again, %s" : "%u slots are copied, %s",
             slot_set_count(&node->gap),
             resumes ? "from where the last run was"
             : whole ? "every key"
                     : "the keys that were used since");
    node->gap = (struct slot_set){ 0 };
    node->gap_open = node->gap_whole = node->resumes = false;
    node->uses_cursors = resumes;
}

static void node_step(struct live *live, struct live_node *node) {
    if (node->watch_stale) node_watch(node);
    pthread_mutex_lock(&live->lock);
    uint64_t established = node->established, lost = node->lost, flushes = node->flushes;
    struct server_info info = node->info;
    int64_t established_us = node->established_us, heard_us = node->lost_heard_us;
    struct err why = node->why;
    bool waits = node->waits != node->seen_waits;
    node->seen_waits = node->waits;
    bool was_lost = lost != node->seen_lost;
    node->seen_lost = lost;
    pthread_mutex_unlock(&live->lock);
    if (was_lost) node_lost(live, node, heard_us, &why);
    if (waits) {
        log_warn(why.place, "changes cannot be listened to: %s", why.text);
        snprintf(node->gap_why, sizeof(node->gap_why), "%.*s", RECORD_TEXT_MAX - 1, why.text);
    }
    if (established != node->seen_established && established > lost) {
        node->hearing_since_us = established_us;
        node_established(live, node, &info);
    }
    pthread_mutex_lock(&live->lock);
    if (established > lost && node->lost == lost) atomic_store(&node->muted, false);
    pthread_mutex_unlock(&live->lock);
    node->seen_established = established;
    if (flushes != node->seen_flushes) {
        struct slot_set slots = live_slots_of(live, node);
        node->seen_flushes = flushes;
        live_gap_behind(live, &slots, atomic_load(&node->passed_us), true);
    }
    node_open_gap(live, node);
}

void live_nodes_step(struct live *live) {
    for (struct live_node *n = live->nodes, *next; n != NULL; n = next) {
        next = n->next;
        node_step(live, n);
        if (!n->listed && slot_set_count(&n->gap) == 0) node_end(live, n);
    }
}

double live_busiest_share(const struct live *live) {
    double share = 0;
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (n->listed && n->load.share > share) share = n->load.share;
    return share;
}

bool live_hears(const struct live *live, const struct address *primary) {
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (address_equal(&n->primary, primary)) return n->ready;
    return false;
}

/* Feeds name keys to the lanes of all workers, so they end before any of these does. */
void live_nodes_stop(struct live *live) {
    while (live->nodes != NULL) node_end(live, live->nodes);
    while (atomic_load(&live->feeds) > 0) loop_run_once(live->job->loop, JOB_ROUND_MS);
}

void live_nodes_free(struct live *live) {
    while (live->former != NULL) {
        struct live_node *node = live->former;
        live->former = node->next;
        free(node);
    }
}
