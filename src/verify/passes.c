/* Which keys are compared, in which order; see compare_priv.h.
 *
 *   forward    the source's keys, database after database, all nodes at once
 *   extras     are sums of all names of both sides equal? then no key is extra
 *   backward   else the target's keys: does the source have them?
 *
 * Slots are scanned again when they move, since a scan may miss keys of theirs. They are compared
 * anew, in both directions, when another server process answers for them: after a restart or a
 * failover it may have lost keys that were found equal before.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "verify/compare_priv.h"

enum {
    FRESH_MAX = 8192,          /* names that wait after the scans; a page may go over it */
    FRESH_BYTES_MAX = 4 << 20, /* likewise */
    RESCANS_MAX = 100,         /* of slots that moved or changed their process */
};

/* ---- slots that are compared again ---- */

static int scanning_side(const struct comparison *cmp) {
    return cmp->passes.backward ? TARGET : SOURCE;
}

static bool all_databases_scanned(const struct comparison *cmp) {
    return cmp->passes.db_at == cmp->settings->n_dbs;
}

static void slot_set_merge(struct slot_set *into, const struct slot_set *from) {
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (slot_set_has(from, (uint16_t)slot)) slot_set_add(into, (uint16_t)slot);
}

/* Sums over the target's names need every one of them. */
static void sum_scans_end(struct comparison *cmp) {
    extras_spoil(cmp);
    for (size_t i = 0; i < cmp->passes.n_scans; i++) {
        struct node_scan *node = &cmp->passes.scans[i];
        if (!node->sums || node->ended) continue;
        node->ended = true;
        scan_free(&node->scan);
    }
}

/* A scan may have missed keys that moved to a node it had passed already, or named them twice. */
static void scan_again(struct comparison *cmp, const struct slot_set *slots) {
    extras_spoil(cmp);
    comparison_take_back(cmp, slots, cmp->passes.backward);
    slot_set_merge(&cmp->passes.again, slots);
}

/* Keys of these slots may have been lost since they were found equal. */
static void compare_anew(struct comparison *cmp, const struct slot_set *slots) {
    if (slot_set_count(slots) == 0) return;
    if (!cmp->passes.backward) {
        scan_again(cmp, slots);
        return;
    }
    extras_spoil(cmp);
    comparison_take_back(cmp, slots, false);
    slot_set_merge(&cmp->passes.anew, slots);
}

static const struct address *reader_of(const struct topology *t, unsigned slot) {
    int owner = t->owner[slot];
    return owner < 0 ? NULL : &t->nodes[t->nodes[owner].reader].address;
}

static bool is_read(const struct topology *t, const struct address *address) {
    int at = topology_find(t, address);
    return at >= 0 && t->nodes[t->nodes[at].primary].reader == at;
}

/* The slots that are read from this node; slot 0 stands for all keys where there is no cluster. */
static struct slot_set passes_slots_of(const struct comparison *cmp, int side,
                                       const struct address *address) {
    const struct topology *t = cmp->side[side].topology;
    struct slot_set slots = { { 0 } };
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const struct address *reader = reader_of(t, slot);
        if (reader == NULL || address_equal(reader, address)) slot_set_add(&slots, (uint16_t)slot);
    }
    return slots;
}

static void on_process(struct comparison *cmp, struct link *link) {
    struct slot_set slots = passes_slots_of(cmp, link->side, client_address(link->client));
    log_warn(client_place(link->client),
             "another server process answers than before (restart or failover): "
             "its slots are compared again");
    if (link->side == TARGET) sum_scans_end(cmp);
    compare_anew(cmp, &slots);
}

/* Scans of nodes that are not read any more: all their slots have moved. */
static void scans_of_gone_nodes_end(struct comparison *cmp, const struct topology *fresh) {
    for (size_t i = 0; i < cmp->passes.n_scans; i++) {
        struct node_scan *node = &cmp->passes.scans[i];
        if (node->ended || node->sums || is_read(fresh, &node->address)) continue;
        node->ended = true;
        scan_free(&node->scan);
    }
}

/* A slot that goes to a node which was read before has moved. One that goes to another node may
 * have failed over. */
static void on_topology(struct comparison *cmp, int side, const struct topology *old,
                        const struct topology *fresh) {
    struct slot_set moved = { { 0 } }, lost = { { 0 } };
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const struct address *a = reader_of(old, slot), *b = reader_of(fresh, slot);
        if (a == b || (a != NULL && b != NULL && address_equal(a, b))) continue;
        slot_set_add(b == NULL || is_read(old, b) ? &moved : &lost, (uint16_t)slot);
    }
    if (side == TARGET) sum_scans_end(cmp);
    compare_anew(cmp, &lost);
    if (all_databases_scanned(cmp) || side != scanning_side(cmp)) return;
    slot_set_merge(&moved, &lost);
    scan_again(cmp, &moved);
    scans_of_gone_nodes_end(cmp, fresh);
}

/* ---- names ---- */

/* By name, so that both directions and every node choose alike. */
static bool is_in_sample(const struct comparison *cmp, struct bytes key) {
    return cmp->settings->sample == 0 ||
           digest_place(key, cmp->settings->seed) < cmp->passes.sample_below;
}

static void take_name(struct comparison *cmp, struct bytes key, bool listed) {
    const struct key_filter *filter = cmp->settings->filter;
    const struct passes *passes = &cmp->passes;
    bool slotted = filter->slots != NULL || comparison_has_clusters(cmp);
    uint16_t slot = slotted ? slot_of_key(key) : 0;
    if (!slot_set_has(&passes->wanted, slot) || slot_set_has(&passes->again, slot)) return;
    if (!key_filter_wants(filter, key, slot) || !is_in_sample(cmp, key)) return;
    struct name *name = mem_alloc(sizeof(*name) + key.len);
    *name = (struct name){ .generation = cmp->tally[scanning_side(cmp)][slot].generation,
                           .len = (uint32_t)key.len,
                           .db = cmp->settings->dbs[passes->db_at],
                           .slot = slot,
                           .backward = passes->backward,
                           .listed = listed };
    if (key.len > 0) memcpy(name->key, key.ptr, key.len);
    name_queue_push(&cmp->fresh, name);
}

/* Does this run add up the names of both sides by itself? */
static bool sums_here(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    return s->both_directions && s->names == NULL && !cmp->passes.backward &&
           !digest_sums_names(cmp);
}

static bool sums_are_equal(const struct comparison *cmp) {
    const struct names_seen *a = &cmp->extras.seen[SOURCE], *b = &cmp->extras.seen[TARGET];
    if (cmp->extras.sums == SUMS_SPOILT) return false;
    if (digest_sums_names(cmp)) return cmp->extras.sums == SUMS_EQUAL;
    return sums_here(cmp) && a->n == b->n && digest_equal(a->digest, b->digest);
}

static void see_name(struct comparison *cmp, int side, struct bytes key) {
    const struct key_filter *filter = cmp->settings->filter;
    uint16_t slot = filter->slots != NULL ? slot_of_key(key) : 0;
    if (!key_filter_wants(filter, key, slot) || !is_in_sample(cmp, key)) return;
    struct digest db = digest_chain_number((struct digest){ 0 }, (int64_t)cmp->passes.db_at);
    digest_add(&cmp->extras.seen[side].digest, digest_chain(db, key));
    cmp->extras.seen[side].n++;
}

static void on_keys(void *ctx, const struct bytes *keys, size_t n) {
    struct node_scan *node = ctx;
    struct comparison *cmp = node->cmp;
    if (node->sums) {
        for (size_t i = 0; i < n; i++) see_name(cmp, TARGET, keys[i]);
        if (cmp->progress != NULL) cmp->progress->keys += n;
        return;
    }
    if (cmp->passes.backward) cmp->result->target_keys += n;
    bool remote = !cmp->passes.backward && digest_sums_names(cmp), here = sums_here(cmp);
    for (size_t i = 0; i < n; i++) {
        if (remote) digest_add_name(cmp, keys[i]);
        if (here) see_name(cmp, SOURCE, keys[i]);
        take_name(cmp, keys[i], false);
    }
}

static bool has_room_for_names(const struct comparison *cmp) {
    return cmp->fresh.n < FRESH_MAX && cmp->fresh.bytes < FRESH_BYTES_MAX;
}

/* From the list of names, as a page of a scan would. */
static void read_names(struct comparison *cmp) {
    const struct compare_names *names = cmp->settings->names;
    struct passes *passes = &cmp->passes;
    struct err err = { 0 };
    while (passes->names_left && has_room_for_names(cmp)) {
        struct bytes key;
        passes->names_left = names->next(names->ctx, cmp->settings->dbs[passes->db_at], &key, &err);
        if (passes->names_left) take_name(cmp, key, true);
    }
    if (err.code != ERR_NONE) comparison_fail(cmp, &err);
}

/* ---- scans ---- */

static bool may_continue(void *ctx) {
    struct node_scan *node = ctx;
    return node->sums || has_room_for_names(node->cmp);
}

/* The scan and the reads of a node go over two connections. Behind a load balancer they may lead to
 * different servers, which need not have the same keys. */
static bool is_read_from_the_same(const struct node_scan *node, int side) {
    const struct link *link = link_find(node->cmp, side, &node->address);
    const char *scanned = scan_run_id(node->scan);
    return link == NULL || link->run_id[0] == '\0' || scanned[0] == '\0' ||
           strcmp(link->run_id, scanned) == 0;
}

static void on_scan_end(void *ctx, enum scan_end end, const struct err *err) {
    struct node_scan *node = ctx;
    struct comparison *cmp = node->cmp;
    int side = node->sums ? TARGET : scanning_side(cmp);
    bool same = end != SCAN_COMPLETE || is_read_from_the_same(node, side);
    node->ended = true;
    if (end == SCAN_FAILED) comparison_fail(cmp, err);
    if (end == SCAN_NODE_CHANGED) log_warn(err->place, "%s", err->text);
    if (!same)
        log_warn(scan_place(node->scan),
                 "SCAN and reads are answered by different server processes: compared again");
    if (end == SCAN_FAILED || (end == SCAN_COMPLETE && same)) return;
    struct slot_set slots = passes_slots_of(cmp, side, &node->address);
    if (node->sums) {
        extras_spoil(cmp);
    } else {
        compare_anew(cmp, &slots);
    }
}

static void scan_node(struct comparison *cmp, struct node_scan *node, int side,
                      const struct address *address) {
    static const struct scan_events events = { .on_keys = on_keys,
                                               .may_continue = may_continue,
                                               .on_end = on_scan_end };
    const struct compare_settings *s = cmp->settings;
    struct deployment *deployment = cmp->side[side].deployment;
    bool one_type = scan_filters_type(cmp, side);
    struct scan_settings settings = { .client = deployment_client_settings(deployment, address),
                                      .db = comparison_db(cmp, side, s->dbs[cmp->passes.db_at]),
                                      .count = s->scan_count,
                                      .match = s->filter->pattern,
                                      .type = one_type ? s->filter->types[0] : NULL,
                                      .sleep_ms = s->sleep_ms };
    *node =
        (struct node_scan){ .cmp = cmp, .address = *address, .sums = side != scanning_side(cmp) };
    node->scan = scan_start(cmp->loop, &settings, &events, node);
}

static void scans_free(struct comparison *cmp) {
    struct passes *passes = &cmp->passes;
    for (size_t i = 0; i < passes->n_scans; i++) scan_free(&passes->scans[i].scan);
    free(passes->scans);
    passes->scans = NULL;
    passes->n_scans = 0;
}

static bool owns_wanted(const struct comparison *cmp, const struct topology *t, int node) {
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (t->owner[slot] == node && slot_set_has(&cmp->passes.wanted, (uint16_t)slot))
            return true;
    return false;
}

static void scan_side(struct comparison *cmp, int side) {
    const struct topology *t = cmp->side[side].topology;
    struct passes *passes = &cmp->passes;
    bool all = side != scanning_side(cmp);
    for (int i = 0; i < t->n_nodes; i++)
        if (topology_is_primary(t, i) && (all || owns_wanted(cmp, t, i)))
            scan_node(cmp, &passes->scans[passes->n_scans++], side,
                      &t->nodes[t->nodes[i].reader].address);
}

/* ---- the order of passes ---- */

/* The scans of one database in one direction, a node each. */
static void pass_start(struct comparison *cmp) {
    struct passes *passes = &cmp->passes;
    scans_free(cmp);
    if (cmp->settings->names != NULL) {
        cmp->settings->names->rewind(cmp->settings->names->ctx);
        passes->names_left = true;
        return;
    }
    size_t most = (size_t)cmp->side[SOURCE].topology->n_primaries +
                  (size_t)cmp->side[TARGET].topology->n_primaries;
    passes->scans = mem_array(NULL, most + 1, sizeof(*passes->scans)); /* scans point into it */
    scan_side(cmp, scanning_side(cmp));
    if (sums_here(cmp) && passes->rescans == 0) scan_side(cmp, TARGET);
    if (cmp->progress != NULL) cmp->progress->backward = passes->backward;
}

static void direction_start(struct comparison *cmp, bool backward, const struct slot_set *slots) {
    struct passes *passes = &cmp->passes;
    scans_free(cmp);
    passes->wanted = *slots;
    passes->again = (struct slot_set){ { 0 } };
    passes->backward = backward;
    passes->db_at = 0;
    if (!all_databases_scanned(cmp)) pass_start(cmp);
}

static struct slot_set all_slots(void) {
    struct slot_set all;
    memset(&all, 0xff, sizeof(all));
    return all;
}

/* All keys of the source have been named, and nothing tells so far that the target has no others. A
 * key that turns out to have gone from the source reopens this. */
static bool extras_are_possible(const struct comparison *cmp) {
    bool both = cmp->settings->both_directions && cmp->settings->names == NULL;
    return both && !cmp->passes.backward && all_databases_scanned(cmp) && !sums_are_equal(cmp);
}

/* By sums that the target makes, else by its keys. */
static void look_for_extras(struct comparison *cmp) {
    if (!extras_are_possible(cmp) || cmp->extras.sums == SUMS_ASKED) return;
    if (digest_sums_names(cmp) && cmp->extras.sums == SUMS_OPEN && !cmp->scripts_refused) {
        digest_sums_start(cmp);
    } else {
        struct slot_set all = all_slots();
        direction_start(cmp, true, &all);
    }
}

/* False, and the run has failed, when slots had to be scanned again too often. */
static bool count_rescan(struct comparison *cmp, int side) {
    struct err err;
    if (++cmp->passes.rescans <= RESCANS_MAX) return true;
    err_set(&err, ERR_OUTAGE, deployment_role(cmp->side[side].deployment),
            "its nodes change all the time; compare again when they have settled");
    comparison_fail(cmp, &err);
    return false;
}

/* All databases have been scanned: slots that moved meanwhile are scanned again. */
static void direction_next(struct comparison *cmp) {
    struct slot_set again = cmp->passes.again;
    if (slot_set_count(&again) == 0) {
        look_for_extras(cmp);
    } else if (count_rescan(cmp, scanning_side(cmp))) {
        direction_start(cmp, cmp->passes.backward, &again);
    }
}

/* In the middle of the backward direction: forward first, then backward from the start. */
static void start_anew(struct comparison *cmp) {
    struct slot_set anew = cmp->passes.anew, all = all_slots();
    cmp->passes.anew = (struct slot_set){ { 0 } };
    if (!count_rescan(cmp, TARGET)) return;
    comparison_take_back(cmp, &all, true);
    cmp->result->target_keys = 0;
    direction_start(cmp, false, &anew);
}

static bool scans_have_ended(const struct comparison *cmp) {
    for (size_t i = 0; i < cmp->passes.n_scans; i++)
        if (!cmp->passes.scans[i].ended) return false;
    return true;
}

void passes_next(struct comparison *cmp) {
    struct passes *passes = &cmp->passes;
    if (slot_set_count(&passes->anew) > 0) start_anew(cmp);
    if (all_databases_scanned(cmp)) direction_next(cmp);
    if (all_databases_scanned(cmp) || cmp->fresh.n > 0 || passes->names_left) return;
    if (!scans_have_ended(cmp)) return;
    /* A slot may have moved although no key of it has been read since. */
    if (passes->n_scans > 0 && comparison_has_clusters(cmp))
        side_refresh_now(cmp, scanning_side(cmp));
    scans_free(cmp);
    if (++passes->db_at < cmp->settings->n_dbs) {
        pass_start(cmp);
    } else {
        direction_next(cmp);
    }
}

bool passes_are_over(const struct comparison *cmp) {
    const struct passes *passes = &cmp->passes;
    return all_databases_scanned(cmp) && slot_set_count(&passes->again) == 0 &&
           slot_set_count(&passes->anew) == 0 && !extras_are_possible(cmp);
}

bool passes_name_more(const struct comparison *cmp) {
    const struct passes *passes = &cmp->passes;
    if (cmp->fresh.n > 0 || passes->names_left) return true;
    for (size_t i = 0; i < passes->n_scans; i++)
        if (!passes->scans[i].ended && !passes->scans[i].sums) return true;
    return false;
}

void passes_feed(struct comparison *cmp) {
    struct passes *passes = &cmp->passes;
    if (passes->names_left) read_names(cmp);
    for (size_t i = 0; i < passes->n_scans; i++) {
        struct node_scan *node = &passes->scans[i];
        if (node->ended) continue;
        if (cmp->fresh.n < FRESH_MAX / 2) scan_resume(node->scan);
        outage_check(cmp, scan_place(node->scan), scan_down_since_ms(node->scan),
                     scan_last_error(node->scan)->text);
    }
}

/* ---- the start ---- */

/* By the servers' own counts; a node that does not answer now only makes the estimate worse. */
static uint64_t passes_count_keys(struct comparison *cmp, int side, struct deployment *deployment) {
    struct topology *t = deployment_topology(deployment);
    uint64_t total = 0;
    for (int i = 0; i < t->n_nodes; i++) {
        struct server_info info;
        struct call_reply text;
        struct err ignored;
        if (!topology_is_primary(t, i) ||
            !deployment_node_info(deployment, &t->nodes[i].address, &info, &text, &ignored))
            continue;
        for (size_t k = 0; k < cmp->settings->n_dbs; k++) {
            uint64_t keys, expires;
            info_keyspace(text.item.str, comparison_db(cmp, side, cmp->settings->dbs[k]), &keys,
                          &expires);
            total += keys;
        }
        call_reply_fini(&text);
    }
    topology_unref(&t);
    return total;
}

void passes_count(struct comparison *cmp, struct deployment *source, struct deployment *target) {
    const struct compare_settings *s = cmp->settings;
    struct passes *passes = &cmp->passes;
    passes->keys_of[SOURCE] = passes_count_keys(cmp, SOURCE, source);
    passes->keys_of[TARGET] = passes_count_keys(cmp, TARGET, target);
    double keys = (double)passes->keys_of[SOURCE], share = 1;
    if (s->sample > 0 && keys > (double)s->sample) share = (double)s->sample / keys;
    passes->sample_below = share < 1 ? (uint64_t)(share * 0x1p64) : UINT64_MAX;
    if (cmp->progress == NULL || s->names != NULL) return;
    uint64_t total = passes->keys_of[SOURCE] + (s->both_directions ? passes->keys_of[TARGET] : 0);
    cmp->progress->total = (uint64_t)((double)total * share);
}

void passes_init(struct comparison *cmp) {
    cmp->on_topology = on_topology;
    cmp->on_process = on_process;
}

void passes_start(struct comparison *cmp) {
    struct slot_set all = all_slots();
    direction_start(cmp, false, &all);
}

void passes_end(struct comparison *cmp) {
    scans_free(cmp);
}
