/* Names, queues, counts and differences of a comparison; see compare_priv.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "verify/compare_priv.h"

/* ---- kinds and results ---- */

static const struct {
    const char *label, *title, *sentence;
} kinds[DIFFERENCE_KINDS] = {
#define DIFFERENCE(id, label, title, sentence) { #label, title, sentence },
#include "verify/difference.def"
#undef DIFFERENCE
};

const char *compare_mode_name(enum compare_mode mode) {
    switch (mode) {
    case COMPARE_QUICK:
        return "quick";
    case COMPARE_FULL:
        return "full";
    case COMPARE_DIGEST:
        break;
    }
    return "digest";
}

const char *difference_label(enum difference_kind kind) {
    return kinds[kind].label;
}

const char *difference_title(enum difference_kind kind) {
    return kinds[kind].title;
}

const char *difference_sentence(enum difference_kind kind) {
    return kinds[kind].sentence;
}

uint64_t compare_result_different(const struct compare_result *result) {
    uint64_t n = 0;
    for (int i = 0; i < DIFFERENCE_KINDS; i++) n += result->count[i];
    return n;
}

bool compare_result_is_equal(const struct compare_result *result) {
    return compare_result_different(result) == 0 && result->unproved == 0;
}

static void difference_fini(struct difference *d) {
    free(d->key);
    free(d->parts);
}

static void differences_free(struct difference *list, size_t n) {
    for (size_t i = 0; i < n; i++) difference_fini(&list[i]);
    free(list);
}

void compare_result_fini(struct compare_result *result) {
    differences_free(result->differences, result->n_differences);
    differences_free(result->unproved_keys, result->n_unproved_keys);
    *result = (struct compare_result){ 0 };
}

/* ---- the run ---- */

void comparison_fail(struct comparison *cmp, const struct err *err) {
    if (cmp->state != RUN_GOES_ON) return;
    cmp->state = RUN_FAILED;
    cmp->fatal = *err;
}

bool comparison_has_clusters(const struct comparison *cmp) {
    return deployment_is_cluster(cmp->side[SOURCE].deployment) ||
           deployment_is_cluster(cmp->side[TARGET].deployment);
}

bool filter_wants_all(const struct key_filter *f) {
    return f->pattern == NULL && f->n_include == 0 && f->n_exclude == 0 && f->slots == NULL &&
           f->n_types == 0;
}

bool scan_filters_type(const struct comparison *cmp, int side) {
    return cmp->settings->filter->n_types == 1 && cmp->side[side].scans_by_type;
}

int comparison_db(const struct comparison *cmp, int side, int db) {
    int override = cmp->settings->target_db_override;
    return side == TARGET && override >= 0 ? override : db;
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

void name_queue_clear(struct name_queue *q) {
    while (q->head != NULL) free(name_queue_pop(q));
}

/* ---- counts and differences ---- */

struct tally *comparison_tally(struct comparison *cmp, const struct name *name) {
    return &cmp->tally[name->backward ? TARGET : SOURCE][name->slot];
}

/* Arrays of differences grow by doubling. */
static void difference_append(struct difference **list, size_t *n, const struct difference *d) {
    if ((*n & (*n - 1)) == 0) *list = mem_array(*list, *n == 0 ? 1 : *n * 2, sizeof(**list));
    struct difference *kept = &(*list)[(*n)++];
    *kept = *d;
    kept->key = bytes_dup(bytes_of(d->key, d->key_len));
}

/* The name's key is lent, for the time of a call. */
static struct difference difference_of(const struct name *name, const char *detail) {
    struct difference d = { .db = name->db,
                            .backward = name->backward,
                            .left_out = name->left_out,
                            .key = (char *)name->key,
                            .key_len = name->len };
    snprintf(d.detail, sizeof(d.detail), "%s", detail);
    return d;
}

void comparison_report(struct comparison *cmp, const struct name *name, enum difference_kind kind,
                       const char *detail) {
    const struct compare_settings *s = cmp->settings;
    struct compare_result *r = cmp->result;
    struct difference d = difference_of(name, detail);
    d.kind = kind;
    comparison_tally(cmp, name)->kind[kind]++;
    cmp->different++;
    if (s->on_difference != NULL) s->on_difference(s->ctx, &d);
    if (r->n_differences < s->max_differences)
        difference_append(&r->differences, &r->n_differences, &d);
}

void comparison_report_unproved(struct comparison *cmp, const struct name *name,
                                const char *detail) {
    const struct compare_settings *s = cmp->settings;
    struct compare_result *r = cmp->result;
    struct difference d = difference_of(name, detail);
    comparison_tally(cmp, name)->unproved++;
    if (s->on_unproved != NULL) s->on_unproved(s->ctx, &d);
    if (r->n_unproved_keys < s->max_differences)
        difference_append(&r->unproved_keys, &r->n_unproved_keys, &d);
}

static void differences_drop(const struct comparison *cmp, struct difference *list, size_t *n,
                             const struct slot_set *slots, bool backward) {
    bool clusters = comparison_has_clusters(cmp) || cmp->settings->filter->slots != NULL;
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        struct difference d = list[i];
        uint16_t slot = clusters ? slot_of_key(bytes_of(d.key, d.key_len)) : 0;
        if (d.backward == backward && slot_set_has(slots, slot)) {
            difference_fini(&d);
        } else {
            list[kept++] = d;
        }
    }
    *n = kept;
}

void comparison_take_back(struct comparison *cmp, const struct slot_set *slots, bool backward) {
    struct tally *tally = cmp->tally[backward ? TARGET : SOURCE];
    struct compare_result *r = cmp->result;
    const struct compare_settings *s = cmp->settings;
    if (slot_set_count(slots) == 0) return;
    if (s->on_taken_back != NULL) s->on_taken_back(s->ctx, slots, backward);
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
        if (!slot_set_has(slots, (uint16_t)slot)) continue;
        for (int kind = 0; kind < DIFFERENCE_KINDS; kind++)
            cmp->different -= tally[slot].kind[kind];
        tally[slot] = (struct tally){ .generation = tally[slot].generation + 1 };
    }
    differences_drop(cmp, r->differences, &r->n_differences, slots, backward);
    differences_drop(cmp, r->unproved_keys, &r->n_unproved_keys, slots, backward);
}

bool expiry_is_equal(const struct comparison *cmp, int64_t a_ms, int64_t b_ms, int64_t error_ms) {
    if (cmp->settings->no_ttl) return true;
    if (a_ms < 0 || b_ms < 0) return a_ms < 0 && b_ms < 0;
    int64_t gap_ms = a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;
    return gap_ms <= cmp->settings->ttl_tolerance_ms + error_ms;
}

/* ---- the estimate ---- */

void estimate_saw_string(struct estimate *estimate, uint64_t len) {
    estimate->length -= (estimate->length + LENGTH_DECAY - 1) / LENGTH_DECAY;
    if (len > estimate->length) estimate->length = len;
    if (len >= BATCH_BOUND_MAX) estimate->trust.surprised = true;
}

void estimate_saw_type(struct estimate *estimate, bool string) {
    int *score = &estimate->string_score;
    if (string) {
        *score += *score < STRING_SCORE_MAX;
    } else {
        *score -= *score > 0;
    }
}
