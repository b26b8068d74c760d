/* See target.h. */
#include "live/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/watch.h"

enum {
    TARGET_SAMPLE_MS = 500,
    TARGET_READ_MS = 250,            /* between two tries to read a node's record */
    TARGET_REST_MS = 10 * 1000,      /* without evictions for so long, the resync begins */
    TARGET_REST_MAX_MS = 1800 * 1000 /* doubled each time evictions come back */
};

struct target_node {
    struct target *target;
    struct address address;
    char place[ADDRESS_HOST_MAX + 32];
    struct watch *watch;
    bool listed, known;
    bool joined; /* while the job ran: function libraries are not there yet */
    bool silent; /* since the last sample: the next answer may come from another process */
    struct moment
        sure; /* the job's watermark at the last sample, beyond which it does not go meanwhile */
    char run_id[RUN_ID_MAX], replid[RUN_ID_MAX];
    struct evidence latest; /* of the process that is known */
    bool has_latest;
    bool lost_waits; /* its record is to be read, and a gap to be opened */
    bool lost_whole; /* everything; its record does not count */
    struct slot_set lost;
    const char *lost_why;
    int64_t read_ms;            /* not before */
    int64_t rest_ms, rested_ms; /* of evictions */
    bool evicts_told;
    struct target_counts counts; /* of the last moment when all was proved */
    struct target_node *next;
};

struct target {
    struct target_settings settings;
    struct target_node *nodes;
    struct target_node *owner[SLOT_COUNT];
    struct moment watermark; /* of the job */
    uint64_t evicted;
    bool functions_lost;
};

static struct slot_set node_slots(const struct target_node *node) {
    struct slot_set slots = { 0 };
    for (int s = 0; s < SLOT_COUNT; s++)
        if (node->target->owner[s] == node) slot_set_add(&slots, (uint16_t)s);
    return slots;
}

/* ---- losses ---- */

static void node_lost_slots(struct target_node *node, const struct slot_set *slots, bool whole,
                            const char *why) {
    if (slot_set_count(slots) == 0) return;
    slot_set_unite(&node->lost, slots);
    node->lost_waits = true;
    node->lost_whole = node->lost_whole || whole;
    node->lost_why = why;
    node->read_ms = 0;
}

static void target_open_gap(struct target *t, const struct slot_set *lost, struct moment since,
                            bool whole, const struct target_record *record, const char *place,
                            const char *why) {
    struct slot_set wanted = engine_job_slots(t->settings.engine),
                    slots = slot_set_common(lost, &wanted);
    struct ledger_gap gap = {
        .since = since, .forward = true, .whole = whole, .sweep = true, .place = place, .why = why
    };
    if (slot_set_count(&slots) == 0) return;
    if (record != NULL && !whole) {
        follow_open_gap(t->settings.follow, &slots, &gap, record->base, record->n_base);
    } else {
        follow_open_gap(t->settings.follow, &slots, &gap, NULL, 0);
    }
}

/* As far as the record that the server itself holds says; from the beginning where it holds
 * none. */
static void node_open_lost(struct target_node *node) {
    struct target *t = node->target;
    struct target_record record = { .watermark = MOMENT_NEVER };
    if (!node->lost_whole && !t->settings.read_record(t->settings.ctx, &node->address, &record)) {
        node->read_ms = clock_mono_ms() + TARGET_READ_MS;
        return;
    }
    bool whole = !record.found || moment_is_never(record.watermark);
    struct moment since = whole ? MOMENT_NEVER : record.watermark;
    event_raise(t->settings.events, EVENT_TARGET_LOST, node->place, "%s: gap open, resync of %s",
                node->lost_why,
                whole ? "every key" : "the keys changed since the record that it holds");
    target_open_gap(t, &node->lost, since, whole, &record, node->place, node->lost_why);
    t->settings.release_record(t->settings.ctx, &record);
    node->lost_waits = node->lost_whole = false;
    node->lost = (struct slot_set){ 0 };
    if (node->known) t->settings.allow_record(t->settings.ctx, &node->address, node->run_id);
}

/* ---- evictions and flushes by others ---- */

static void node_evicts(struct target_node *node, uint64_t n) {
    struct target *t = node->target;
    struct slot_set slots = node_slots(node);
    int64_t now_ms = clock_mono_ms();
    t->evicted += n;
    node->counts.incomplete = true;
    bool again = node->rested_ms > 0 && now_ms > node->rested_ms;
    if (node->rest_ms == 0) node->rest_ms = TARGET_REST_MS;
    if (again && node->rest_ms < TARGET_REST_MAX_MS) node->rest_ms *= 2;
    node->rested_ms = now_ms + node->rest_ms;
    if (!node->evicts_told || again)
        event_raise(t->settings.events, EVENT_EVICTED, node->place,
                    "the target evicts keys (evicted_keys rose by %" PRIu64 "): it has too little "
                    "memory, or an eviction policy (set maxmemory-policy noeviction, or give it "
                    "more memory); resync once it has stopped for %" PRId64 " s",
                    n, node->rest_ms / 1000);
    node->evicts_told = true;
    target_open_gap(t, &slots, node->sure, true, NULL, node->place, "the target evicts keys");
    follow_delay_scan(t->settings.follow, &slots, node->rested_ms);
}

/* told: the event's sentence. why: of the gap. */
static void node_may_lack_keys(struct target_node *node, const char *told, const char *why) {
    struct target *t = node->target;
    struct slot_set slots = node_slots(node);
    node->counts.incomplete = true;
    event_raise(t->settings.events, EVENT_TARGET_LOST, node->place,
                "%s: gap open, resync of every key", told);
    target_open_gap(t, &slots, node->sure, true, NULL, node->place, why);
}

static void node_flushed(struct target_node *node) {
    node_may_lack_keys(node, "another client called FLUSHDB, FLUSHALL or SWAPDB on the target",
                       "another client flushed or swapped databases of the target");
}

static void node_lost_count(struct target_node *node, enum evidence_counters counters) {
    if (counters == COUNTERS_RELOADED) {
        node->target->functions_lost = true;
        node_may_lack_keys(node, "the target loaded its data anew without a restart (DEBUG RELOAD)",
                           "the target loaded its data anew");
    } else {
        node_may_lack_keys(node,
                           "the target's counters were reset (CONFIG RESETSTAT), so that a flush, "
                           "SWAPDB and evictions cannot be excluded",
                           "the target's counters were reset");
    }
}

static uint64_t target_keys(const struct target *t, const struct server_sample *sample) {
    const struct engine_settings *s = engine_settings_of(t->settings.engine);
    size_t n;
    const int *dbs = engine_databases(t->settings.engine, &n);
    uint64_t keys = 0;
    if (s->target_db >= 0) return sample_keys(sample, s->target_db);
    for (size_t i = 0; i < n; i++) keys += sample_keys(sample, dbs[i]);
    return keys;
}

static void node_compare_samples(struct target_node *node, const struct server_sample *sample,
                                 const struct server_sample *before,
                                 enum evidence_counters counters) {
    bool calls = sample->calls_known && before->calls_known, reset = counters == COUNTERS_RESET;
    const uint64_t none[SAMPLE_CALLS] = { 0 }, *then = reset ? none : before->calls;
    bool flushed = calls && (sample->calls[SAMPLE_FLUSH] > then[SAMPLE_FLUSH] ||
                             sample->calls[SAMPLE_SWAPDB] > then[SAMPLE_SWAPDB]);
    bool emptied =
        !calls && target_keys(node->target, before) > 0 && target_keys(node->target, sample) == 0;
    uint64_t evicted = reset ? 0 : before->evicted_keys;
    if (flushed || emptied) {
        node_flushed(node);
    } else if (counters != COUNTERS_GO_ON) {
        node_lost_count(node, counters);
    }
    if (sample->evicted_keys > evicted) {
        node_evicts(node, sample->evicted_keys - evicted);
    } else if (clock_mono_ms() >= node->rested_ms && node->evicts_told) {
        node->evicts_told = false;
    }
}

/* ---- losses while no longhaul watched ---- */

static struct target_counts counts_of(const struct server_sample *sample) {
    struct target_counts c = { .evicted = sample->evicted_keys,
                               .flushes = sample->calls[SAMPLE_FLUSH],
                               .swaps = sample->calls[SAMPLE_SWAPDB] };
    memcpy(c.run_id, sample->info.run_id, sizeof(c.run_id));
    return c;
}

static bool counts_equal(const struct target_counts *a, const struct target_counts *b) {
    return a->evicted == b->evicted && a->flushes == b->flushes && a->swaps == b->swaps;
}

/* The first sample of this run. A process that the record does not name may have taken the place of
 * one that was incomplete, with its data. */
static void node_compare_former(struct target_node *node, const struct target_counts *now) {
    struct target *t = node->target;
    struct slot_set slots = node_slots(node);
    bool incomplete = false, inherited = node->counts.incomplete;
    node->counts = *now;
    node->counts.incomplete = inherited;
    if (node->joined) return; /* the ledger knows what it lacks */
    for (size_t i = 0; i < t->settings.n_counts; i++) {
        const struct target_counts *c = &t->settings.counts[i];
        incomplete = incomplete || c->incomplete;
        if (strcmp(c->run_id, now->run_id) != 0) continue;
        node->counts = *c;
        incomplete = c->incomplete || !counts_equal(c, now);
        break;
    }
    if (!incomplete || slot_set_count(&slots) == 0) return;
    node->counts.incomplete = true;
    event_raise(t->settings.events, EVENT_TARGET_LOST, node->place,
                "keys were evicted or flushed on the target, and not all of them have been copied "
                "again: gap open, resync of every key");
    target_open_gap(t, &slots, t->settings.since, true, NULL, node->place,
                    "the target evicted keys, or another client flushed them");
}

/* ---- samples ---- */

static void node_take_identity(struct target_node *node, const struct server_info *info) {
    bool first = !node->known;
    memcpy(node->run_id, info->run_id, sizeof(node->run_id));
    memcpy(node->replid, info->replid, sizeof(node->replid));
    node->known = true;
    if (first && !node->lost_waits)
        node->target->settings.allow_record(node->target->settings.ctx, &node->address,
                                            node->run_id);
}

/* Do the counters go on from those of the sample before? */
static enum evidence_counters node_note_evidence(struct target_node *node,
                                                 const struct server_sample *sample) {
    struct evidence now;
    evidence_of_sample(&now, sample, "");
    bool same = node->has_latest && strcmp(node->latest.run_id, now.run_id) == 0;
    enum evidence_counters counters =
        same ? evidence_counters(&node->latest, &now) : COUNTERS_GO_ON;
    evidence_fini(&node->latest);
    node->latest = now;
    node->has_latest = true;
    return counters;
}

static void on_sample(void *ctx, const struct server_sample *sample,
                      const struct server_sample *before) {
    struct target_node *node = ctx;
    struct target *t = node->target;
    if (sample->info.replica || sample->info.loading) {
        engine_want_refresh(t->settings.engine, false);
        return;
    }
    bool same = server_info_continues(&sample->info, node->run_id, node->replid);
    enum evidence_counters counters = node_note_evidence(node, sample);
    t->functions_lost = t->functions_lost || (node->known ? !same : node->joined);
    if (node->known && !same) {
        struct slot_set slots = node_slots(node);
        node_lost_slots(node, &slots, false,
                        "the target's server is another process, or has another history");
    } else if (before != NULL) {
        node_compare_samples(node, sample, before, counters);
    }
    struct target_counts now = counts_of(sample);
    if (!node->known) node_compare_former(node, &now);
    node_take_identity(node, &sample->info);
    node->silent = false;
    if (!node->lost_waits && ledger_is_proved(t->settings.ledger)) node->counts = now;
    if (!node->lost_waits) node->sure = t->watermark;
}

static void on_silent(void *ctx, const struct err *err) {
    struct target_node *node = ctx;
    struct target *t = node->target;
    log_debug(err->place, "%s", err->text);
    node->silent = true;
    t->settings.on_silent(t->settings.ctx);
    engine_want_refresh(t->settings.engine, false);
}

/* ---- nodes come and go ---- */

static struct target_node *target_find(struct target *t, const struct address *address) {
    for (struct target_node *n = t->nodes; n != NULL; n = n->next)
        if (address_equal(&n->address, address)) return n;
    return NULL;
}

static struct target_node *node_new(struct target *t, const struct address *address, bool joined) {
    static const struct watch_events events = { on_sample, on_silent };
    struct target_node *node = mem_zalloc(sizeof(*node));
    node->target = t;
    node->address = *address;
    node->joined = joined;
    address_format(address, node->place, sizeof(node->place));
    node->sure = t->watermark;
    node->next = t->nodes;
    t->nodes = node;
    struct client_settings settings =
        deployment_client_settings(engine_target(t->settings.engine), address);
    node->watch = watch_start(engine_loop(t->settings.engine), &settings, TARGET_SAMPLE_MS, true,
                              &events, node);
    return node;
}

static void node_end(struct target *t, struct target_node *node) {
    for (struct target_node **p = &t->nodes; *p != NULL; p = &(*p)->next) {
        if (*p != node) continue;
        *p = node->next;
        break;
    }
    watch_free(&node->watch);
    evidence_fini(&node->latest);
    free(node);
}

/* A primary is none any more. The server that has taken its slots says how far it is, if it was not
 * a primary before: then it was its replica. */
static void target_slots_of_fallen(struct target *t, const struct topology *topology,
                                   const bool *is_new) {
    for (struct target_node *n = t->nodes; n != NULL; n = n->next) {
        if (n->listed) continue;
        for (int i = 0; i < topology->n_nodes; i++) {
            struct slot_set slots = { 0 };
            for (int s = 0; s < SLOT_COUNT; s++)
                if (t->owner[s] == n && topology->owner[s] == i) slot_set_add(&slots, (uint16_t)s);
            struct target_node *to = target_find(t, &topology->nodes[i].address);
            if (to == NULL || slot_set_count(&slots) == 0) continue;
            to->sure = moment_older(to->sure, n->sure);
            to->counts.incomplete = to->counts.incomplete || n->counts.incomplete;
            node_lost_slots(to, &slots, !is_new[i], "another server took a primary's place");
        }
    }
}

static bool node_owns_slots(const struct target_node *node) {
    for (int s = 0; s < SLOT_COUNT; s++)
        if (node->target->owner[s] == node) return true;
    return false;
}

void target_sync(struct target *t, bool first) {
    struct topology *topology = deployment_topology(engine_target(t->settings.engine));
    bool *is_new = mem_zalloc((size_t)topology->n_nodes + 1);
    for (struct target_node *n = t->nodes; n != NULL; n = n->next) n->listed = false;
    for (int i = 0; i < topology->n_nodes; i++) {
        if (!topology_is_primary(topology, i)) continue;
        struct target_node *node = target_find(t, &topology->nodes[i].address);
        is_new[i] = node == NULL;
        if (node == NULL) node = node_new(t, &topology->nodes[i].address, !first);
        node->listed = true;
    }
    if (!first) target_slots_of_fallen(t, topology, is_new);
    for (int s = 0; s < SLOT_COUNT; s++)
        if (topology->owner[s] >= 0)
            t->owner[s] = target_find(t, &topology->nodes[topology->owner[s]].address);
    topology_unref(&topology);
    free(is_new);
    for (struct target_node *n = t->nodes, *next; n != NULL; n = next) {
        next = n->next;
        if (!n->listed && !node_owns_slots(n)) node_end(t, n);
    }
}

/* ---- for the owner ---- */

struct target *target_new(const struct target_settings *settings) {
    struct target *t = mem_zalloc(sizeof(*t));
    t->settings = *settings;
    t->watermark = MOMENT_NEVER;
    return t;
}

void target_free(struct target **target) {
    struct target *t = *target;
    *target = NULL;
    if (t == NULL) return;
    while (t->nodes != NULL) node_end(t, t->nodes);
    free(t);
}

void target_step(struct target *t, struct moment watermark) {
    t->watermark = watermark;
    for (struct target_node *n = t->nodes; n != NULL; n = n->next)
        if (n->lost_waits && n->listed && clock_mono_ms() >= n->read_ms) node_open_lost(n);
}

void target_lacks_keys(struct target *t, uint16_t slot) {
    struct target_node *node = t->owner[slot];
    if (node == NULL || node->lost_waits) return;
    node_may_lack_keys(node, "the job's lease or record is gone from the target",
                       "the job's lease or record was gone from the target");
}

bool target_is_silent(const struct target *t) {
    for (const struct target_node *n = t->nodes; n != NULL; n = n->next)
        if (n->silent || n->lost_waits) return true;
    return false;
}

struct moment target_limit(const struct target *t) {
    struct moment limit = MOMENT_NONE;
    for (const struct target_node *n = t->nodes; n != NULL; n = n->next)
        if (!n->known || n->silent || n->lost_waits) limit = moment_older(limit, n->sure);
    return limit;
}

bool target_each_counts(const struct target *t,
                        void (*fn)(void *ctx, const struct target_counts *counts), void *ctx) {
    for (const struct target_node *n = t->nodes; n != NULL; n = n->next)
        if (!n->known) return false;
    for (const struct target_node *n = t->nodes; n != NULL; n = n->next) fn(ctx, &n->counts);
    return true;
}

bool target_takes_lost_functions(struct target *t) {
    bool lost = t->functions_lost;
    t->functions_lost = false;
    return lost;
}

uint64_t target_evicted(const struct target *t) {
    return t->evicted;
}

void target_each(const struct target *t,
                 void (*fn)(void *ctx, const char *run_id, const char *replid), void *ctx) {
    for (const struct target_node *n = t->nodes; n != NULL; n = n->next)
        fn(ctx, n->run_id, n->replid);
}
