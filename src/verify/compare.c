/* The run of a comparison; see compare.h for what it promises and compare_priv.h for its parts. */
#include "verify/compare.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "verify/compare_priv.h"

enum {
    WINDOW_ALONE = 8192,          /* keys being looked at by themselves, at least */
    WINDOW_MIN = 16,              /* however large their values are */
    LOOK_COST_BYTES = 256,        /* of a key without its value */
    FRESH_MAX = 8192,             /* keys that wait after the scans; a page may go over it */
    FRESH_BYTES_MAX = 4 << 20,    /* likewise */
    SUSPECT_BYTES_MAX = 16 << 20, /* keys that wait to be looked at again */
    ROUND_MS = 50,                /* longest wait for events, so that clocks are looked at */
    RESCANS_MAX = 100,            /* of slots that moved meanwhile */
    WATERMARK_ASK_MS = 200,       /* how often a live job is asked how far it is */
    WATERMARK_WAIT_MS = 60000,    /* how long it is waited for: it may be repairing a gap */
};

struct compare_settings compare_settings_default(void) {
    static const struct key_filter all;
    static const int zero[] = { 0 };
    return (struct compare_settings){ .mode = COMPARE_FULL,
                                      .both_directions = true,
                                      .ttl_tolerance_ms = 100,
                                      .filter = &all,
                                      .dbs = zero,
                                      .n_dbs = 1,
                                      .target_db_override = -1,
                                      .scan_count = 1000,
                                      .rounds = 3,
                                      .interval_ms = 1000,
                                      .max_differences = 1000,
                                      .buffer_bytes = 32 << 20,
                                      .outage_timeout_ms = 300000 };
}

uint64_t compare_result_different(const struct compare_result *result) {
    uint64_t n = 0;
    for (int i = 0; i < DIFFERENCE_KINDS; i++) n += result->count[i];
    return n;
}

static void difference_fini(struct difference *d) {
    free(d->key);
    free(d->parts);
}

void compare_result_fini(struct compare_result *result) {
    for (size_t i = 0; i < result->n_differences; i++) difference_fini(&result->differences[i]);
    free(result->differences);
    *result = (struct compare_result){ 0 };
}

void compare_fail(struct comparison *cmp, const struct err *err) {
    if (cmp->failed || cmp->closing) return;
    cmp->failed = true;
    cmp->fatal = *err;
}

/* ---- names ---- */

void name_queue_push(struct name_queue *q, struct name *name) {
    name->next = NULL;
    if (q->head == NULL) {
        q->head = name;
    } else {
        q->tail->next = name;
    }
    q->tail = name;
    q->n++;
    q->bytes += sizeof(*name) + name->len;
}

struct name *name_queue_pop(struct name_queue *q) {
    struct name *name = q->head;
    q->head = name->next;
    q->n--;
    q->bytes -= sizeof(*name) + name->len;
    return name;
}

static void name_queue_clear(struct name_queue *q) {
    while (q->head != NULL) free(name_queue_pop(q));
}

static int mapped_db(const struct comparison *cmp, int side, int db) {
    int override = cmp->settings->target_db_override;
    return side == TARGET && override >= 0 ? override : db;
}

int compare_db(const struct comparison *cmp, int side, const struct name *name) {
    return mapped_db(cmp, side, name->db);
}

/* ---- slots that move while they are scanned ---- */

struct tally *compare_tally(struct comparison *cmp, const struct name *name) {
    return &cmp->tally[name->backward ? TARGET : SOURCE][name->slot];
}

static bool in_clusters(const struct comparison *cmp) {
    return deployment_is_cluster(cmp->side[SOURCE].deployment) ||
           deployment_is_cluster(cmp->side[TARGET].deployment);
}

static int scanning_side(const struct comparison *cmp) {
    return cmp->backward ? TARGET : SOURCE;
}

static bool passes_over(const struct comparison *cmp) {
    return cmp->db_at == cmp->settings->n_dbs;
}

/* Findings of these slots that the present direction made. */
static void drop_differences(struct comparison *cmp, const struct slot_set *slots) {
    struct compare_result *r = cmp->result;
    bool clusters = in_clusters(cmp);
    size_t kept = 0;
    for (size_t i = 0; i < r->n_differences; i++) {
        struct difference d = r->differences[i];
        uint16_t slot = clusters ? slot_of_key(bytes_of(d.key, d.key_len)) : 0;
        bool backward = d.kind == DIFFERENCE_EXTRA && cmp->settings->names == NULL;
        if (backward == cmp->backward && slot_set_has(slots, slot)) {
            difference_fini(&d);
        } else {
            r->differences[kept++] = d;
        }
    }
    r->n_differences = kept;
}

/* A scan may have missed keys that moved to a node it had passed already, or have seen them twice:
 * what was found in these slots is taken back, and they are scanned again. */
static void take_back(struct comparison *cmp, const struct slot_set *slots) {
    struct tally *tally = cmp->tally[scanning_side(cmp)];
    const struct compare_settings *s = cmp->settings;
    cmp->sums_spoilt = true;
    if (s->on_taken_back != NULL && slot_set_count(slots) > 0)
        s->on_taken_back(s->ctx, slots, cmp->backward);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (!slot_set_has(slots, (uint16_t)slot)) continue;
        for (int kind = 0; kind < DIFFERENCE_KINDS; kind++)
            cmp->different -= tally[slot].kind[kind];
        tally[slot] = (struct tally){ .generation = tally[slot].generation + 1 };
        slot_set_add(&cmp->moved, (uint16_t)slot);
    }
    drop_differences(cmp, slots);
}

static const struct address *reader_of(const struct topology *t, unsigned slot) {
    int owner = t->owner[slot];
    return owner < 0 ? NULL : &t->nodes[t->nodes[owner].reader].address;
}

/* The slots that are read from this node; slot 0 stands for all keys where there is no cluster. */
static void add_slots_of(struct comparison *cmp, const struct address *address,
                         struct slot_set *slots) {
    const struct side *side = &cmp->side[scanning_side(cmp)];
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const struct address *reader = reader_of(side->topology, slot);
        if (reader == NULL || address_equal(reader, address)) slot_set_add(slots, (uint16_t)slot);
    }
}

/* Names of the target may have been missed: they cannot be added up. */
static void sums_end(struct comparison *cmp) {
    cmp->sums_spoilt = true;
    for (size_t i = 0; i < cmp->n_scans; i++) {
        if (!cmp->scans[i].sums || cmp->scans[i].ended) continue;
        cmp->scans[i].ended = true;
        scan_free(&cmp->scans[i].scan);
    }
}

void compare_on_topology(struct comparison *cmp, int side, const struct topology *old,
                         const struct topology *fresh) {
    struct slot_set moved = { { 0 } };
    if (side == TARGET) sums_end(cmp);
    if (passes_over(cmp) || side != scanning_side(cmp)) return;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        const struct address *a = reader_of(old, slot), *b = reader_of(fresh, slot);
        if (a != b && (a == NULL || b == NULL || !address_equal(a, b)))
            slot_set_add(&moved, (uint16_t)slot);
    }
    take_back(cmp, &moved);
    for (size_t i = 0; i < cmp->n_scans; i++) {
        struct node_scan *node = &cmp->scans[i];
        int at = topology_find(fresh, &node->address);
        bool read = at >= 0 && fresh->nodes[fresh->nodes[at].primary].reader == at;
        if (read || node->ended || node->sums) continue;
        /* nothing is read from it any more; its slots have moved, all of them */
        node->ended = true;
        scan_free(&node->scan);
    }
}

/* ---- scans ---- */

/* By name, so that both directions and every node choose alike. */
static bool is_in_sample(const struct comparison *cmp, struct bytes key) {
    return cmp->settings->sample == 0 || digest_place(key, cmp->settings->seed) < cmp->sample_below;
}

static void take_name(struct comparison *cmp, struct bytes key, bool listed) {
    const struct key_filter *filter = cmp->settings->filter;
    uint16_t slot = filter->slots != NULL || in_clusters(cmp) ? slot_of_key(key) : 0;
    if (!slot_set_has(&cmp->wanted, slot) || slot_set_has(&cmp->moved, slot)) return;
    if (!key_filter_wants(filter, key, slot) || !is_in_sample(cmp, key)) return;
    struct name *name = mem_alloc(sizeof(*name) + key.len);
    *name = (struct name){ .generation = cmp->tally[scanning_side(cmp)][slot].generation,
                           .len = (uint32_t)key.len,
                           .db = cmp->settings->dbs[cmp->db_at],
                           .slot = slot,
                           .backward = cmp->backward,
                           .listed = listed };
    if (key.len > 0) memcpy(name->key, key.ptr, key.len);
    name_queue_push(&cmp->fresh, name);
}

/* Does this run compare sums of names, so that keys of the target need not be looked for one by
 * one? */
static bool sums_here(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    return s->both_directions && s->names == NULL && !cmp->backward && !remote_sums_names(cmp);
}

static bool sums_are_equal(const struct comparison *cmp) {
    const struct names_seen *a = &cmp->seen[SOURCE], *b = &cmp->seen[TARGET];
    if (cmp->sums_spoilt) return false;
    if (remote_sums_names(cmp)) return cmp->summed && cmp->names_equal;
    return sums_here(cmp) && a->n == b->n && digest_equal(a->digest, b->digest);
}

static void see_name(struct comparison *cmp, int side, struct bytes key) {
    const struct key_filter *filter = cmp->settings->filter;
    uint16_t slot = filter->slots != NULL ? slot_of_key(key) : 0;
    if (!key_filter_wants(filter, key, slot) || !is_in_sample(cmp, key)) return;
    struct digest db = digest_chain_number((struct digest){ 0 }, (int64_t)cmp->db_at);
    digest_add(&cmp->seen[side].digest, digest_chain(db, key));
    cmp->seen[side].n++;
}

static void on_keys(void *ctx, const struct bytes *keys, size_t n) {
    struct node_scan *node = ctx;
    struct comparison *cmp = node->cmp;
    if (node->sums) {
        for (size_t i = 0; i < n; i++) see_name(cmp, TARGET, keys[i]);
        if (cmp->progress != NULL) cmp->progress->keys += n;
        return;
    }
    if (cmp->backward) cmp->result->target_keys += n;
    bool remote = !cmp->backward && remote_sums_names(cmp), here = sums_here(cmp);
    for (size_t i = 0; i < n; i++) {
        if (remote) remote_add_name(cmp, keys[i]);
        if (here) see_name(cmp, SOURCE, keys[i]);
        take_name(cmp, keys[i], false);
    }
}

/* As a page of a scan would, from the list of names. */
static void read_names(struct comparison *cmp) {
    const struct compare_names *names = cmp->settings->names;
    struct err err = { 0 };
    while (cmp->names_left && cmp->fresh.n < FRESH_MAX && cmp->fresh.bytes < FRESH_BYTES_MAX) {
        struct bytes key;
        cmp->names_left = names->next(names->ctx, cmp->settings->dbs[cmp->db_at], &key, &err);
        if (cmp->names_left) take_name(cmp, key, true);
    }
    if (err.code != ERR_NONE) compare_fail(cmp, &err);
}

static bool may_continue(void *ctx) {
    struct node_scan *node = ctx;
    const struct name_queue *fresh = &node->cmp->fresh;
    return node->sums || (fresh->n < FRESH_MAX && fresh->bytes < FRESH_BYTES_MAX);
}

static void on_scan_end(void *ctx, enum scan_end end, const struct err *err) {
    struct node_scan *node = ctx;
    node->ended = true;
    if (end == SCAN_FAILED) compare_fail(node->cmp, err);
    if (end == SCAN_NODE_CHANGED && node->sums) {
        node->cmp->sums_spoilt = true;
    } else if (end == SCAN_NODE_CHANGED) {
        log_warn(err->place, "%s", err->text);
        struct slot_set slots = { { 0 } };
        add_slots_of(node->cmp, &node->address, &slots);
        take_back(node->cmp, &slots);
    }
}

static void scan_node(struct comparison *cmp, struct node_scan *node, int side,
                      const struct address *address) {
    static const struct scan_events events = { .on_keys = on_keys,
                                               .may_continue = may_continue,
                                               .on_end = on_scan_end };
    const struct compare_settings *s = cmp->settings;
    struct deployment *deployment = cmp->side[side].deployment;
    bool one_type = s->filter->n_types == 1 &&
                    deployment_info(deployment)->redis_version >= SERVER_VERSION(6, 0, 0);
    struct scan_settings settings = { .client = deployment_client_settings(deployment, address),
                                      .db = mapped_db(cmp, side, s->dbs[cmp->db_at]),
                                      .count = s->scan_count,
                                      .match = s->filter->pattern,
                                      .type = one_type ? s->filter->types[0] : NULL,
                                      .sleep_ms = s->sleep_ms };
    *node =
        (struct node_scan){ .cmp = cmp, .address = *address, .sums = side != scanning_side(cmp) };
    node->scan = scan_start(cmp->loop, &settings, &events, node);
}

static void scans_free(struct comparison *cmp) {
    for (size_t i = 0; i < cmp->n_scans; i++) scan_free(&cmp->scans[i].scan);
    free(cmp->scans);
    cmp->scans = NULL;
    cmp->n_scans = 0;
}

static bool owns_wanted(const struct comparison *cmp, const struct topology *t, int node) {
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        if (t->owner[slot] == node && slot_set_has(&cmp->wanted, (uint16_t)slot)) return true;
    return false;
}

static void scan_side(struct comparison *cmp, int side) {
    const struct topology *t = cmp->side[side].topology;
    bool all = side != scanning_side(cmp);
    for (int i = 0; i < t->n_nodes; i++)
        if (topology_is_primary(t, i) && (all || owns_wanted(cmp, t, i)))
            scan_node(cmp, &cmp->scans[cmp->n_scans++], side,
                      &t->nodes[t->nodes[i].reader].address);
}

/* The scans of one database in one direction, a node each. */
static void pass_start(struct comparison *cmp) {
    scans_free(cmp);
    if (cmp->settings->names != NULL) {
        cmp->settings->names->rewind(cmp->settings->names->ctx);
        cmp->names_left = true;
        return;
    }
    size_t most = (size_t)cmp->side[SOURCE].topology->n_primaries +
                  (size_t)cmp->side[TARGET].topology->n_primaries;
    cmp->scans = mem_array(NULL, most + 1, sizeof(*cmp->scans)); /* scans know their place in it */
    scan_side(cmp, scanning_side(cmp));
    if (sums_here(cmp) && cmp->rescans == 0) scan_side(cmp, TARGET);
    if (cmp->progress != NULL) cmp->progress->backward = cmp->backward;
}

static void direction_start(struct comparison *cmp, bool backward) {
    memset(&cmp->wanted, 0xff, sizeof(cmp->wanted));
    memset(&cmp->moved, 0, sizeof(cmp->moved));
    cmp->backward = backward;
    cmp->rescans = 0;
    cmp->db_at = 0;
    if (!passes_over(cmp)) pass_start(cmp);
}

/* All keys of the source have been named, and nothing tells so far that the target has no others. A
 * key that turns out to have gone from the source reopens this. */
static bool extras_may_be(const struct comparison *cmp) {
    bool both = cmp->settings->both_directions && cmp->settings->names == NULL;
    return both && !cmp->backward && passes_over(cmp) && (cmp->summing || !sums_are_equal(cmp));
}

/* By sums that the target makes, else by its keys. */
static void look_for_extras(struct comparison *cmp) {
    if (!extras_may_be(cmp) || cmp->summing) return;
    if (remote_sums_names(cmp) && !cmp->summed && !cmp->sums_spoilt && !cmp->no_scripts) {
        remote_sum_start(cmp);
    } else {
        direction_start(cmp, true);
    }
}

/* The databases have been scanned: again for slots that moved meanwhile. */
static void direction_next(struct comparison *cmp) {
    struct err err;
    if (slot_set_count(&cmp->moved) == 0) {
        look_for_extras(cmp);
    } else if (++cmp->rescans > RESCANS_MAX) {
        err_set(&err, ERR_OUTAGE, deployment_role(cmp->side[scanning_side(cmp)].deployment),
                "its nodes change all the time; compare again when they have settled");
        compare_fail(cmp, &err);
    } else {
        cmp->wanted = cmp->moved;
        memset(&cmp->moved, 0, sizeof(cmp->moved));
        cmp->db_at = 0;
        pass_start(cmp);
    }
}

static void pass_next(struct comparison *cmp) {
    if (passes_over(cmp)) look_for_extras(cmp);
    if (passes_over(cmp) || cmp->fresh.n > 0 || cmp->names_left) return;
    for (size_t i = 0; i < cmp->n_scans; i++)
        if (!cmp->scans[i].ended) return;
    /* A slot may have moved without anybody having asked for one of its keys since. */
    if (cmp->n_scans > 0 && in_clusters(cmp)) side_refresh_now(cmp, scanning_side(cmp));
    scans_free(cmp);
    if (++cmp->db_at < cmp->settings->n_dbs) {
        pass_start(cmp);
    } else {
        direction_next(cmp);
    }
}

/* ---- feeding ---- */

static size_t window(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    size_t most = cmp->pace.keys;
    if (s->pipeline == 0 && !batches_are_likely(cmp) && most < WINDOW_ALONE) most = WINDOW_ALONE;
    size_t n = s->buffer_bytes / 2 / (batch_bound(cmp) + LOOK_COST_BYTES);
    if (n < WINDOW_MIN) n = WINDOW_MIN;
    return n < most ? n : most;
}

static bool has_place(const struct comparison *cmp) {
    return cmp->n_exams + cmp->again.n < window(cmp);
}

/* A side that is not ready takes the name on to those that are tried again. */
static void feed(struct comparison *cmp, struct name *name) {
    if (!name_is_current(cmp, name)) {
        free(name);
    } else if (!exam_start(cmp, name)) {
        name_queue_push(&cmp->again, name);
    }
}

/* One that was never looked at. */
static void feed_one(struct comparison *cmp, struct name *name) {
    if (name_is_current(cmp, name) && remote_batch_take(cmp, name)) return;
    if (!name_is_current(cmp, name) || !string_batch_take(cmp, name)) feed(cmp, name);
}

static void feed_again(struct comparison *cmp, int64_t now_ms) {
    for (size_t n = cmp->again.n; n > 0; n--) {
        struct name *name = name_queue_pop(&cmp->again);
        if (now_ms < name->due_ms) {
            name_queue_push(&cmp->again, name);
        } else {
            feed(cmp, name);
        }
    }
}

/* Under a live job a difference means something when the job says that the target has what was read
 * of the source. */
static bool suspect_is_due(const struct comparison *cmp, const struct name *name, int64_t now_ms) {
    if (cmp->watermark_us == 0) return name->due_ms <= now_ms;
    return cmp->watermark_us > name->read_us || name->due_ms + WATERMARK_WAIT_MS <= now_ms;
}

/* Not from within callbacks. */
static void ask_watermark(struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    int64_t now_ms = clock_mono_ms();
    bool due = cmp->watermark_asked_ms == 0 || now_ms - cmp->watermark_asked_ms >= WATERMARK_ASK_MS;
    if (s->watermark_us == NULL || cmp->suspects.n == 0 || !due) return;
    cmp->watermark_us = s->watermark_us(s->watermark_ctx);
    cmp->watermark_asked_ms = clock_mono_ms();
}

static void feed_suspects(struct comparison *cmp, int64_t now_ms) {
    while (cmp->suspects.head != NULL && suspect_is_due(cmp, cmp->suspects.head, now_ms) &&
           has_place(cmp))
        feed(cmp, name_queue_pop(&cmp->suspects));
}

static void feed_fresh(struct comparison *cmp, int64_t now_ms) {
    int64_t rate = cmp->settings->rate;
    if (rate > 0) {
        cmp->credit += (double)(now_ms - cmp->credited_ms) * (double)rate / 1000;
        if (cmp->credit > (double)rate / 10 + 1) cmp->credit = (double)rate / 10 + 1;
        cmp->credited_ms = now_ms;
    }
    while (cmp->fresh.head != NULL && has_place(cmp) && cmp->suspects.bytes < SUSPECT_BYTES_MAX) {
        if (rate > 0 && cmp->credit < 1) return;
        size_t taken =
            exists_batch_start(cmp, &cmp->fresh, rate > 0 ? (size_t)cmp->credit : SIZE_MAX);
        if (taken == 0) {
            feed_one(cmp, name_queue_pop(&cmp->fresh));
            taken = 1;
        }
        if (rate > 0) cmp->credit -= (double)taken;
    }
}

static bool names_are_coming(const struct comparison *cmp) {
    if (cmp->fresh.n > 0 || cmp->names_left) return true;
    for (size_t i = 0; i < cmp->n_scans; i++)
        if (!cmp->scans[i].ended && !cmp->scans[i].sums) return true;
    return false;
}

static void feed_all(struct comparison *cmp) {
    int64_t now_ms = clock_mono_ms();
    for (int side = 0; side < SIDES; side++)
        for (size_t i = 0; i < cmp->side[side].n_links; i++)
            cmp->side[side].links[i]->clock_asked = false;
    exams_let_in(cmp);
    feed_again(cmp, now_ms);
    feed_suspects(cmp, now_ms);
    feed_fresh(cmp, now_ms);
    batches_flush(cmp);
    /* full ones cost fewer bytes per key */
    if (!names_are_coming(cmp) || !has_place(cmp)) remote_flush(cmp);
    if (cmp->names_left) read_names(cmp);
    if (cmp->fresh.n < FRESH_MAX / 2)
        for (size_t i = 0; i < cmp->n_scans; i++)
            if (!cmp->scans[i].ended) scan_resume(cmp->scans[i].scan);
}

/* ---- the run ---- */

static bool is_finished(const struct comparison *cmp) {
    if (extras_may_be(cmp)) return false;
    return passes_over(cmp) && cmp->n_exams == 0 && cmp->fresh.n == 0 && cmp->again.n == 0 &&
           cmp->suspects.n == 0;
}

static int64_t wait_ms(const struct comparison *cmp) {
    int64_t wait = ROUND_MS;
    if (cmp->names_left && cmp->fresh.n == 0) wait = 1;
    if (cmp->again.n > 0 || (cmp->settings->rate > 0 && cmp->fresh.n > 0)) wait = 10;
    if (cmp->suspects.head != NULL && cmp->watermark_us == 0 &&
        cmp->suspects.head->due_ms - clock_mono_ms() < wait)
        wait = cmp->suspects.head->due_ms - clock_mono_ms();
    return wait < 1 ? 1 : wait;
}

static void run(struct comparison *cmp, const volatile bool *stop) {
    while (!cmp->failed && !is_finished(cmp)) {
        if (stop != NULL && *stop) {
            struct err err;
            err_set(&err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
            compare_fail(cmp, &err);
            return;
        }
        ask_watermark(cmp);
        feed_all(cmp);
        loop_rest(cmp->loop, window_rest_us(&cmp->pace, cmp->n_exams));
        loop_run_once(cmp->loop, wait_ms(cmp));
        sides_look_after(cmp);
        pass_next(cmp);
        if (cmp->progress != NULL) cmp->progress->different = cmp->different + cmp->suspects.n;
    }
}

/* What the servers count themselves; a node that does not answer now only makes the estimate worse.
 */
static uint64_t count_keys(struct comparison *cmp, int side, struct deployment *deployment) {
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
            info_keyspace(text.item.str, mapped_db(cmp, side, cmp->settings->dbs[k]), &keys,
                          &expires);
            total += keys;
        }
        call_reply_fini(&text);
    }
    topology_unref(&t);
    return total;
}

static void estimate(struct comparison *cmp, struct deployment *source, struct deployment *target) {
    const struct compare_settings *s = cmp->settings;
    cmp->keys_of[SOURCE] = count_keys(cmp, SOURCE, source);
    cmp->keys_of[TARGET] = count_keys(cmp, TARGET, target);
    double share =
        cmp->keys_of[SOURCE] > s->sample ? (double)s->sample / (double)cmp->keys_of[SOURCE] : 1;
    cmp->sample_below = share < 1 ? (uint64_t)(share * 0x1p64) : UINT64_MAX;
    if (s->sample == 0) share = 1;
    if (cmp->progress == NULL || s->names != NULL) return;
    uint64_t total = cmp->keys_of[SOURCE] + (s->both_directions ? cmp->keys_of[TARGET] : 0);
    cmp->progress->total = (uint64_t)((double)total * share);
}

static void fill_result(struct comparison *cmp) {
    struct compare_result *r = cmp->result;
    for (int side = 0; side < SIDES; side++) {
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            const struct tally *t = &cmp->tally[side][slot];
            r->equal += t->equal;
            r->skipped += t->skipped;
            r->rechecked_away += t->away;
            r->moving += t->moving;
            for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) r->count[kind] += t->kind[kind];
        }
    }
    if (r->target_keys < cmp->keys_of[TARGET]) r->target_keys = cmp->keys_of[TARGET];
    if (cmp->settings->sample > 0) r->sampled_of = cmp->keys_of[SOURCE];
    r->keys = r->equal + compare_result_different(r) - r->count[DIFFERENCE_EXTRA];
}

static void cleanup(struct comparison *cmp) {
    cmp->closing = true;
    scans_free(cmp);
    while (cmp->heavy != NULL) {
        struct exam *exam = cmp->heavy;
        cmp->heavy = exam->next;
        free(exam->name);
        exam_free(exam);
    }
    for (int side = 0; side < SIDES; side++) links_close(cmp, side);
    name_queue_clear(&cmp->fresh);
    name_queue_clear(&cmp->again);
    name_queue_clear(&cmp->suspects);
    exam_pool_free(cmp);
    digest_set_free(&cmp->unreadable);
    for (int side = 0; side < SIDES; side++) free(cmp->tally[side]);
    loop_run_once(cmp->loop, 0); /* what was closed is released at the end of a round */
}

bool compare_run(struct deployment *source, struct deployment *target,
                 const struct compare_settings *settings, struct compare_progress *progress,
                 const volatile bool *stop, struct compare_result *result, struct err *err) {
    int64_t started_ms = clock_mono_ms();
    struct comparison *cmp = mem_zalloc(sizeof(*cmp));
    *result = (struct compare_result){ 0 };
    if (progress != NULL) *progress = (struct compare_progress){ 0 };
    cmp->settings = settings;
    cmp->loop = deployment_loop(source);
    cmp->progress = progress;
    cmp->result = result;
    cmp->string_score = 64;
    cmp->look_bytes = LOOK_BYTES_FIRST;
    window_init(&cmp->pace, (size_t)settings->pipeline, settings->buffer_bytes / 8);
    cmp->credited_ms = started_ms;
    estimate(cmp, source, target);
    remote_init(cmp);
    links_open(cmp, SOURCE, source);
    links_open(cmp, TARGET, target);
    links_await(cmp, stop);
    for (int side = 0; side < SIDES; side++)
        cmp->tally[side] = mem_zalloc(SLOT_COUNT * sizeof(struct tally));
    direction_start(cmp, false);
    run(cmp, stop);
    fill_result(cmp);
    cleanup(cmp);
    result->duration_ms = clock_mono_ms() - started_ms;
    bool ok = !cmp->failed;
    if (!ok) *err = cmp->fatal;
    free(cmp);
    return ok;
}
