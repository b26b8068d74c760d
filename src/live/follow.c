/* See follow.h: the part that runs on the control thread. */
#include "live/follow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/coverage.h"
#include "live/follow_calls.h"
#include "live/follow_gap.h"
#include "live/follow_priv.h"

enum { FOLLOW_SAMPLE_MS = 1000 }; /* between two samples of a server, at most */

/* ---- samples ---- */

/* A flush was announced, and the server counts its commands: was it FLUSHDB, FLUSHALL or SWAPDB?
 * Else the data was loaded anew. The last sample may have been taken behind the command already. */
static bool node_flush_was_called(const struct follow_node *node, const struct evidence *before,
                                  const struct evidence *now) {
    const struct evidence *then = node->evidence.has_anchor ? &node->evidence.anchor : before;
    bool counted = then->flushes >= 0 && now->flushes >= 0;
    return !counted || then->flushes != now->flushes || then->swaps != now->swaps ||
           evidence_counters(then, now) == COUNTERS_RESET;
}

static void node_judge_flush(struct follow_node *node, const struct evidence *before,
                             const struct evidence *now) {
    if (node_flush_was_called(node, before, now)) {
        follow_node_note_orders(node, before, now);
    } else {
        follow_node_reloaded(node, before);
    }
}

/* The sample is of the process that the node is known by. A clock that was set makes it look like a
 * process that was started at another time: idle times mean nothing then, counters still do. */
static enum evidence_counters node_judge_sample(struct follow_node *node,
                                                const struct evidence *now) {
    /* Tracking announces a flush, but for one that nobody listened to. */
    bool unannounced = node->follow->settings.capture.kind == FEED_NOTIFICATIONS || !node->ready;
    const struct evidence *before = node->evidence.has_latest ? &node->evidence.latest : NULL;
    if (before == NULL || strcmp(before->run_id, now->run_id) != 0) return COUNTERS_GO_ON;
    struct verdict v = evidence_judge(before, now);
    enum evidence_counters counters = evidence_counters(before, now);
    bool reset = counters == COUNTERS_RESET, reloaded = counters == COUNTERS_RELOADED;
    if (!v.same_process || v.times_spoilt) follow_spoil_base(node, v.why);
    bool swapped = before->swaps >= 0 && now->swaps >= 0 && before->swaps != now->swaps;
    if (reloaded) follow_node_reloaded(node, before);
    if (swapped || (reset && evidence_may_be_swapped(before, now)))
        follow_node_swapped(node, before, now, swapped);
    bool flushed = before->flushes >= 0 && now->flushes >= 0 && before->flushes != now->flushes;
    if (unannounced && (flushed || reset)) follow_node_emptied(node, before, now);
    if (node->flush_waits && !reloaded && now->asked_boot_us >= node->ask_after_us)
        node_judge_flush(node, before, now);
    return counters;
}

static void node_take_sample(struct follow_node *node, const struct server_sample *sample,
                             const struct server_sample *before) {
    struct evidence now;
    evidence_of_sample(&now, sample, node->follow->boot_id);
    enum evidence_counters counters = node_judge_sample(node, &now);
    if (node->poll_after_us > 0 && sample->asked_boot_us >= node->poll_after_us)
        node->groups_ms = node->poll_after_us = 0;
    follow_node_take_calls(node, sample, before, counters == COUNTERS_GO_ON);
    follow_note_evidence(node, &now);
    evidence_fini(&now);
    follow_node_settle(node, sample);
    if (sample->asked_boot_us < node->ask_after_us) return;
    node->ready = true;
    node->flush_waits = false;
    node->polled = (struct moment){ sample->asked_boot_us, sample->asked_wall_us };
    node->given = follow_node_counts(node) ? node->polled : moment_now();
}

static void on_sample(void *ctx, const struct server_sample *sample,
                      const struct server_sample *before) {
    struct follow_node *node = ctx;
    gather_load_note(&node->load, sample->asked_boot_us, sample->cpu_us);
    if (!node->hearing) return;
    if (strcmp(sample->info.run_id, node->run_id) != 0) {
        /* Two connections, two processes: the name leads elsewhere now. Both are made anew. */
        node->watch_stale = true;
        follow_feed_break(node);
    } else if (!server_info_continues(&sample->info, node->run_id, node->replid)) {
        follow_feed_break(node);
    } else {
        node_take_sample(node, sample, before);
    }
}

static void on_silent(void *ctx, const struct err *err) {
    struct follow_node *node = ctx;
    node->load = (struct gather_load){ 0 };
    log_debug(err->place, "%s", err->text);
}

/* ---- nodes come and go ---- */

static struct follow_node *follow_find(struct follow *f, const struct address *primary,
                                       const struct address *reader) {
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (address_equal(&n->primary, primary) && address_equal(&n->reader, reader)) return n;
    return NULL;
}

static void node_watch(struct follow_node *node) {
    static const struct watch_events events = { on_sample, on_silent };
    const struct follow_settings *s = &node->follow->settings;
    struct client_settings settings =
        deployment_client_settings(engine_source(s->engine), &node->reader);
    int64_t interval_ms = s->poll_ms < FOLLOW_SAMPLE_MS ? s->poll_ms : FOLLOW_SAMPLE_MS;
    watch_free(&node->watch);
    node->watch_stale = false;
    node->watch = watch_start(engine_loop(s->engine), &settings, interval_ms, true, &events, node);
}

/* A process that evidence of a former run names is known by it. */
static void node_recall(struct follow_node *node) {
    struct follow *f = node->follow;
    for (size_t i = 0; i < f->n_remembered; i++) {
        const struct evidence *e = &f->remembered[i].evidence;
        if (strcmp(f->remembered[i].address, node->place) != 0) continue;
        memcpy(node->run_id, e->run_id, sizeof(node->run_id));
        memcpy(node->replid, e->replid, sizeof(node->replid));
        evidence_copy(&node->evidence.base, e);
        evidence_copy(&node->evidence.latest, e);
        node->evidence.has_base = node->evidence.has_latest = true;
        return;
    }
    node->unknown_process = f->resumed;
}

static struct follow_node *node_new(struct follow *f, const struct address *primary,
                                    const struct address *reader, bool first) {
    struct follow_node *node = mem_zalloc(sizeof(*node));
    node->follow = f;
    node->primary = *primary;
    node->reader = *reader;
    address_format(reader, node->place, sizeof(node->place));
    node->worker = engine_next_worker(f->settings.engine);
    node->told.heard = node->told.passed = node->told.confirmed = node->told.settled =
        node->confirmed_before = MOMENT_NEVER;
    node->polled = node->given = MOMENT_NEVER;
    node->deletions_allowed = true;
    if (first) {
        node_recall(node);
    } else {
        node->unknown_process = true;
    }
    node->next_node = f->nodes;
    f->nodes = node;
    node_watch(node);
    follow_feed_start(node);
    return node;
}

static void node_end(struct follow *f, struct follow_node *node) {
    for (struct follow_node **p = &f->nodes; *p != NULL; p = &(*p)->next_node) {
        if (*p != node) continue;
        *p = node->next_node;
        break;
    }
    watch_free(&node->watch);
    follow_feed_stop(node);
    node->next_node = f->former;
    f->former = node;
}

/* Heard without a break since the former topology, in which the slot was another node's. */
static bool node_was_heard(struct follow_node *node) {
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    bool muted = node->told.muted;
    pthread_mutex_unlock(&f->lock);
    return node->hearing && !muted && node->hearing_since.boot_us <= f->topology_seen.boot_us;
}

static struct moment node_heard(struct follow_node *node) {
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    struct moment heard = node->told.heard;
    pthread_mutex_unlock(&f->lock);
    return heard;
}

/* The slot has another owner. When both were heard all the time nothing was missed; otherwise there
 * may be changes from before the new owner was heard. */
static void follow_move_slot(struct follow *f, uint16_t slot, struct follow_node *to,
                             struct slot_set *moved, struct moment *since) {
    struct follow_node *from = f->owner[slot];
    f->owner[slot] = to;
    atomic_store(&f->used_since_us[slot], 0);
    bool waits = ledger_state_of(f->settings.ledger, slot) == LEDGER_OPEN;
    bool heard = from != NULL && from->listed && node_was_heard(from) && node_was_heard(to);
    if (heard && !waits) return;
    slot_set_add(moved, slot);
    if (heard) return; /* its gap has a beginning */
    struct moment at = from != NULL ? node_heard(from) : MOMENT_NEVER;
    *since = moment_older(*since, moment_older(at, f->topology_seen));
}

static void follow_sync_owner(struct follow *f, const struct topology *t, int i,
                              struct follow_node *to, bool first) {
    struct slot_set moved = { 0 };
    struct moment since = MOMENT_NONE;
    for (int s = 0; s < SLOT_COUNT; s++) {
        if (t->owner[s] != i || f->owner[s] == to) continue;
        if (first) {
            f->owner[s] = to;
        } else {
            follow_move_slot(f, (uint16_t)s, to, &moved, &since);
        }
    }
    struct slot_set job = follow_job_slots(to);
    moved = slot_set_common(&moved, &job);
    struct ledger_gap gap = { .since = since,
                              .forward = true,
                              .whole = true,
                              .sweep = true,
                              .place = to->place,
                              .why = "slots moved to a server that was not listened to" };
    follow_node_open_gap(to, &moved, &gap, NULL);
}

static void follow_end_unlisted(struct follow *f) {
    for (struct follow_node *n = f->nodes, *next; n != NULL; n = next) {
        next = n->next_node;
        bool owns = false;
        for (int s = 0; s < SLOT_COUNT && !n->listed; s++) owns = owns || f->owner[s] == n;
        if (!n->listed && !owns) node_end(f, n);
    }
}

void follow_sync(struct follow *f, bool first) {
    struct topology *t = deployment_topology(engine_source(f->settings.engine));
    struct follow_node **by_index = mem_zalloc(((size_t)t->n_nodes + 1) * sizeof(*by_index));
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) n->listed = false;
    for (int i = 0; i < t->n_nodes; i++) {
        if (!topology_is_primary(t, i)) continue;
        const struct address *primary = &t->nodes[i].address,
                             *reader = &t->nodes[t->nodes[i].reader].address;
        by_index[i] = follow_find(f, primary, reader);
        if (by_index[i] == NULL) by_index[i] = node_new(f, primary, reader, first);
        by_index[i]->listed = true;
    }
    if (!first) follow_step(f); /* losses are losses of the slots of before */
    for (int i = 0; i < t->n_nodes; i++)
        if (by_index[i] != NULL) follow_sync_owner(f, t, i, by_index[i], first);
    follow_end_unlisted(f);
    free(by_index);
    topology_unref(&t);
}

void follow_topology_seen(struct follow *f, struct moment asked) {
    f->topology_seen = asked;
}

/* ---- deletions ---- */

struct trust_note {
    struct lane *lane;
    struct address address;
    char run_id[RUN_ID_MAX];
    bool allowed;
};

static void on_trust(void *ctx) {
    struct trust_note *note = ctx;
    lane_trust(note->lane, &note->address, note->run_id, note->allowed);
    free(note);
}

static void node_tell_lanes(struct follow_node *node) {
    struct engine *e = node->follow->settings.engine;
    for (int i = 0; i < engine_lanes(e); i++) {
        struct trust_note *note = mem_zalloc(sizeof(*note));
        note->lane = engine_lane(e, i);
        note->address = node->reader;
        note->allowed = node->deletions_allowed;
        memcpy(note->run_id, node->run_id, sizeof(note->run_id));
        loop_post(engine_lane_loop(e, i), on_trust, note);
    }
}

const char *follow_find_replid(const struct follow *f, const char *replid) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (n->replid[0] != '\0' && strcmp(n->replid, replid) == 0) return n->place;
    return NULL;
}

bool follow_deletions_allowed(const struct follow_node *node) {
    return node->deletions_allowed;
}

void follow_allow_deletions(struct follow_node *node, struct moment sweep_began) {
    if (node->deletions_allowed || node->appeared.boot_us >= sweep_began.boot_us) return;
    node->deletions_allowed = true;
    if (node->hearing) node_tell_lanes(node);
}

/* ---- what feeds have said ---- */

static void node_lost(struct follow_node *node, struct moment heard, const struct err *why) {
    struct slot_set slots = follow_job_slots(node);
    struct ledger_gap gap = { .since = heard,
                              .forward = true,
                              .whole = moment_is_never(heard),
                              .sweep = true,
                              .place = node->place,
                              .why = why->text };
    node->hearing = node->ready = false;
    event_raise(node->follow->settings.events, EVENT_GAP, why->place,
                "change stream lost (%s): gap open, resync when it reconnects", why->text);
    follow_doubt_evidence(node);
    follow_node_open_gap(node, &slots, &gap, NULL);
}

/* The server is not fit to be listened to: the gap says why. */
static void node_waits(struct follow_node *node, const struct err *why) {
    struct ledger *l = node->follow->settings.ledger;
    struct slot_set open = ledger_slots_in(l, LEDGER_OPEN), mine = follow_job_slots(node);
    struct ledger_gap gap = {
        .since = MOMENT_NONE, .forward = true, .place = node->place, .why = why->text
    };
    event_raise(node->follow->settings.events, EVENT_WAITING, why->place,
                "changes cannot be listened to: %s", why->text);
    mine = slot_set_common(&mine, &open);
    ledger_open_gap(l, &mine, &gap);
}

static void node_established(struct follow_node *node, const struct server_info *info) {
    struct follow *f = node->follow;
    bool first = node->run_id[0] == '\0' && !node->unknown_process;
    if (!first && !server_info_continues(info, node->run_id, node->replid)) {
        node->gap_whole = true;
        node->deletions_allowed = false;
        node->appeared = moment_now();
        if (node->evidence.has_latest) evidence_fini(&node->evidence.latest);
        node->evidence.has_latest = false;
    }
    node->unknown_process = false;
    memcpy(node->run_id, info->run_id, sizeof(node->run_id));
    memcpy(node->replid, info->replid, sizeof(node->replid));
    node->hearing = true;
    node->ready = false;
    node->ask_after_us = clock_boot_us();
    watch_now(node->watch);
    node_tell_lanes(node);
    /* samples of the time before were not compared */
    f->functions_changed = f->functions_open = true;
    log_debug(node->place, "changes are captured by %s", feed_kind_name(f->settings.capture.kind));
}

static void node_flushed(struct follow_node *node, struct moment heard) {
    struct slot_set slots = follow_job_slots(node);
    struct ledger_gap gap = {
        .since = heard, .sweep = true, .place = node->place, .why = "FLUSHDB or FLUSHALL was called"
    };
    node->flush_waits = true;
    node->ask_after_us = clock_boot_us();
    watch_now(node->watch);
    follow_node_open_gap(node, &slots, &gap, NULL);
}

static void node_step(struct follow_node *node) {
    struct follow *f = node->follow;
    if (node->watch_stale) node_watch(node);
    pthread_mutex_lock(&f->lock);
    uint64_t established = node->told.established, lost = node->told.lost,
             flushes = node->told.flushes;
    struct server_info info = node->told.info;
    struct moment established_at = node->told.established_at, lost_heard = node->told.lost_heard,
                  flush_heard = node->told.flush_heard;
    struct err why = node->told.why;
    bool was_lost = lost != node->seen.lost, was_flushed = flushes != node->seen.flushes;
    node->seen.lost = lost;
    node->seen.flushes = flushes;
    bool waits = node->told.waits != node->seen.waits;
    node->seen.waits = node->told.waits;
    pthread_mutex_unlock(&f->lock);
    if (was_flushed) node_flushed(node, flush_heard);
    if (was_lost) node_lost(node, lost_heard, &why);
    if (waits) node_waits(node, &why);
    if (established != node->seen.established && established > lost) {
        node->hearing_since = established_at;
        node_established(node, &info);
    }
    node->seen.established = established;
    pthread_mutex_lock(&f->lock);
    if (established > lost && node->told.lost == lost && node->told.flushes == flushes)
        node->told.muted = false;
    pthread_mutex_unlock(&f->lock);
    follow_node_hurry_sample(node);
    follow_promote_evidence(node);
    follow_begin_scan(node);
    follow_drop_base(node);
}

/* ---- databases ---- */

static void follow_add_database(struct follow *f, int db) {
    struct follow_databases *former = atomic_load(&f->dbs);
    for (size_t i = 0; i < former->n; i++)
        if (former->dbs[i] == db) return;
    struct follow_databases *list =
        mem_alloc(sizeof(*list) + (former->n + 1) * sizeof(list->dbs[0]));
    list->former = former;
    list->n = former->n + 1;
    if (former->n > 0) memcpy(list->dbs, former->dbs, former->n * sizeof(list->dbs[0]));
    list->dbs[former->n] = db;
    atomic_store(&f->dbs, list);
}

/* Its keys are named first, then read from the beginning. */
static void follow_take_database(struct follow *f, int db) {
    const struct follow_settings *s = &f->settings;
    struct slot_set all = { 0 };
    follow_add_database(f, db);
    if (!engine_add_database(s->engine, db)) return;
    event_raise(s->events, EVENT_DATABASE, "source",
                "database %d came into use on the source; it is copied too", db);
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        struct slot_set mine = follow_job_slots(n);
        slot_set_unite(&all, &mine);
        follow_set_base(n, NULL);
    }
    ledger_open_database(s->ledger, db, follow_passed(f));
    coverage_open(engine_coverage(s->engine, COVERAGE_FORWARD), db, &all, true);
}

static void follow_take_databases(struct follow *f) {
    if (!atomic_load(&f->any_new_dbs)) return;
    pthread_mutex_lock(&f->lock);
    int *dbs = f->new_dbs;
    size_t n = f->n_new_dbs;
    f->new_dbs = NULL;
    f->n_new_dbs = 0;
    pthread_mutex_unlock(&f->lock);
    for (size_t i = 0; i < n; i++) follow_take_database(f, dbs[i]);
    free(dbs);
    atomic_store(&f->any_new_dbs, false);
}

void follow_step(struct follow *f) {
    follow_take_databases(f);
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) node_step(n);
}

/* ---- asking ---- */

bool follow_may_scan(const struct follow *f, const struct address *primary) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (address_equal(&n->primary, primary)) return n->ready;
    return false;
}

bool follow_all_ready(const struct follow *f) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (n->listed && (!n->ready || n->flush_waits)) return false;
    return true;
}

bool follow_all_hearing(const struct follow *f) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (n->listed && !n->hearing) return false;
    return true;
}

void follow_poll_now(struct follow *f) {
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        n->poll_after_us = clock_boot_us();
        watch_now(n->watch);
    }
}

bool follow_has_polled(const struct follow *f, struct moment since, struct moment *asked,
                       struct moment *given) {
    *asked = MOMENT_NONE;
    *given = MOMENT_NEVER;
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        if (!n->listed) continue;
        if (n->polled.boot_us < since.boot_us) return false;
        *asked = moment_older(*asked, n->polled);
        if (n->given.boot_us > given->boot_us) *given = n->given;
    }
    return !moment_is_none(*asked);
}

struct moment follow_passed(struct follow *f) {
    struct moment oldest = MOMENT_NONE;
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        struct moment passed = follow_node_passed(n);
        if (!moment_is_never(passed)) oldest = moment_older(oldest, passed);
    }
    return moment_is_none(oldest) ? MOMENT_NEVER : oldest;
}

bool follow_all_passed(struct follow *f, struct moment moment) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (follow_node_passed(n).boot_us < moment.boot_us) return false;
    return f->nodes != NULL;
}

int64_t follow_changed_us(const struct follow *f) {
    return atomic_load(&((struct follow *)f)->changed_us);
}

double follow_busiest_share(const struct follow *f) {
    double share = 0;
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (n->listed && n->load.share > share) share = n->load.share;
    return share;
}

int64_t follow_used_since_us(const struct follow *f, uint16_t slot) {
    return atomic_load_explicit((_Atomic int64_t *)&f->used_since_us[slot], memory_order_relaxed);
}

bool follow_takes_order(struct follow *f, struct follow_order *order) {
    if (f->n_orders == 0) return false;
    *order = f->orders[--f->n_orders];
    return true;
}

struct follow_node *follow_first(const struct follow *f) {
    return f->nodes;
}

struct follow_node *follow_next(const struct follow_node *node) {
    return node->next_node;
}

const char *follow_place(const struct follow_node *node) {
    return node->place;
}

const char *follow_run_id(const struct follow_node *node) {
    return node->run_id;
}

static int64_t source_time_at(const struct follow_node *node, struct moment passed) {
    const struct evidence *e = node->evidence.has_anchor ? &node->evidence.anchor : NULL;
    if (e == NULL || e->time_us <= 0 || moment_is_never(passed)) return 0;
    return e->time_us + (passed.boot_us - e->asked_boot_us);
}

void follow_each(struct follow *f, void (*fn)(void *ctx, const struct follow_view *view),
                 void *ctx) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        struct moment passed = follow_node_passed(n);
        bool usable = n->run_id[0] != '\0' && n->deletions_allowed && !n->gap_whole;
        struct follow_view view = { .run_id = n->run_id,
                                    .replid = n->replid,
                                    .passed = passed,
                                    .evidence = !usable                  ? NULL
                                                : n->evidence.has_base   ? &n->evidence.base
                                                : n->evidence.has_anchor ? &n->evidence.anchor
                                                                         : NULL,
                                    .source_time_us = source_time_at(n, passed) };
        snprintf(view.address, sizeof(view.address), "%s", n->place);
        fn(ctx, &view);
    }
}

/* ---- life ---- */

struct follow *follow_new(const struct follow_settings *settings) {
    struct follow *f = mem_zalloc(sizeof(*f));
    size_t n;
    const int *dbs = engine_databases(settings->engine, &n);
    struct follow_databases *list = mem_alloc(sizeof(*list) + n * sizeof(list->dbs[0]));
    f->settings = *settings;
    pthread_mutex_init(&f->lock, NULL);
    evidence_boot_id(f->boot_id);
    list->former = NULL;
    list->n = n;
    if (n > 0) memcpy(list->dbs, dbs, n * sizeof(list->dbs[0]));
    atomic_init(&f->dbs, list);
    atomic_init(&f->changed_us, clock_boot_us());
    f->topology_seen = moment_now();
    return f;
}

void follow_remember(struct follow *f, const char *address, const struct evidence *evidence) {
    f->remembered = mem_array(f->remembered, f->n_remembered + 1, sizeof(*f->remembered));
    snprintf(f->remembered[f->n_remembered].address, sizeof(f->remembered[0].address), "%s",
             address);
    evidence_copy(&f->remembered[f->n_remembered++].evidence, evidence);
}

void follow_set_deaf(struct follow *f, bool deaf) {
    atomic_store(&f->deaf, deaf);
}

void follow_set_resumed(struct follow *f) {
    f->resumed = true;
}

/* Feeds name keys to the lanes of all workers, so they end before any of these does. */
void follow_stop(struct follow *f) {
    while (f->nodes != NULL) node_end(f, f->nodes);
    while (atomic_load(&f->feeds) > 0)
        loop_run_once(engine_loop(f->settings.engine), ENGINE_ROUND_MS);
}

static void node_free(struct follow_node *node) {
    for (size_t i = 0; i < FOLLOW_BARRIERS; i++) free(node->barriers[i].marks);
    evidence_fini(&node->evidence.latest);
    evidence_fini(&node->evidence.next);
    evidence_fini(&node->evidence.anchor);
    evidence_fini(&node->evidence.base);
    free(node);
}

void follow_free(struct follow **follow) {
    struct follow *f = *follow;
    *follow = NULL;
    if (f == NULL) return;
    while (f->former != NULL) {
        struct follow_node *node = f->former;
        f->former = node->next_node;
        node_free(node);
    }
    for (struct follow_databases *list = atomic_load(&f->dbs), *former; list != NULL;
         list = former) {
        former = list->former;
        free(list);
    }
    for (size_t i = 0; i < f->n_remembered; i++) evidence_fini(&f->remembered[i].evidence);
    free(f->remembered);
    free(f->new_dbs);
    free(f->orders);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
