/* See follow_gap.h. */
#include "live/follow_gap.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/coverage.h"
#include "live/follow_priv.h"

struct moment follow_node_passed(const struct follow_node *node) {
    struct follow *f = node->follow;
    pthread_mutex_lock(&f->lock);
    struct moment passed = node->told.passed;
    pthread_mutex_unlock(&f->lock);
    return passed;
}

struct slot_set follow_slots(const struct follow_node *node) {
    struct slot_set slots = { 0 };
    for (int s = 0; s < SLOT_COUNT; s++)
        if (node->follow->owner[s] == node) slot_set_add(&slots, (uint16_t)s);
    return slots;
}

struct slot_set follow_job_slots(const struct follow_node *node) {
    struct slot_set owned = follow_slots(node),
                    wanted = engine_job_slots(node->follow->settings.engine);
    return slot_set_common(&owned, &wanted);
}

/* ---- evidence ---- */

static void gap_move_evidence(struct evidence *to, bool *has, const struct evidence *from) {
    if (*has) evidence_fini(to);
    evidence_copy(to, from);
    *has = true;
}

void follow_note_evidence(struct follow_node *node, const struct evidence *now) {
    gap_move_evidence(&node->evidence.latest, &node->evidence.has_latest, now);
    if (!node->evidence.has_next)
        gap_move_evidence(&node->evidence.next, &node->evidence.has_next, now);
}

void follow_doubt_evidence(struct follow_node *node) {
    if (!node->evidence.has_latest || !node->evidence.has_anchor) return;
    if (strcmp(node->evidence.latest.run_id, node->evidence.anchor.run_id) != 0)
        return; /* another process by now */
    gap_move_evidence(&node->evidence.latest, &node->evidence.has_latest, &node->evidence.anchor);
}

void follow_promote_evidence(struct follow_node *node) {
    if (!node->evidence.has_next ||
        follow_node_passed(node).boot_us < node->evidence.next.answered_boot_us)
        return;
    gap_move_evidence(&node->evidence.anchor, &node->evidence.has_anchor, &node->evidence.next);
    node->evidence.has_next = false;
    evidence_fini(&node->evidence.next);
    if (node->evidence.latest.asked_boot_us > node->evidence.anchor.asked_boot_us)
        gap_move_evidence(&node->evidence.next, &node->evidence.has_next, &node->evidence.latest);
}

void follow_set_base(struct follow_node *node, const struct evidence *evidence) {
    if (evidence == NULL && node->evidence.has_anchor) evidence = &node->evidence.anchor;
    if (evidence == NULL) {
        if (!node->evidence.has_base) node->gap_whole = true;
        return;
    }
    bool older = node->evidence.has_base && evidence->time_us >= node->evidence.base.time_us;
    if (!older) gap_move_evidence(&node->evidence.base, &node->evidence.has_base, evidence);
}

void follow_drop_base(struct follow_node *node) {
    if (!node->evidence.has_base) return;
    struct slot_set slots = follow_job_slots(node);
    if (!ledger_are_proved(node->follow->settings.ledger, &slots)) return;
    node->evidence.has_base = node->evidence.base_spoilt = false;
    evidence_fini(&node->evidence.base);
}

void follow_base_free(struct follow_base *base, size_t n) {
    for (size_t i = 0; i < n; i++) {
        struct evidence *e = (struct evidence *)base[i].evidence;
        evidence_fini(e);
        free(e);
        free((char *)base[i].address);
    }
    free(base);
}

/* ---- gaps ---- */

void follow_node_open_gap(struct follow_node *node, const struct slot_set *slots,
                          const struct ledger_gap *gap, const struct evidence *base) {
    struct follow *f = node->follow;
    if (slot_set_count(slots) == 0) return;
    if (gap->forward && !gap->whole) follow_set_base(node, base);
    /* Whole or swept: a later gap may need evidence from before this one all the same, and so does
     * the record. */
    if (!node->evidence.has_base && node->evidence.has_anchor && !gap->first_copy)
        follow_set_base(node, NULL);
    ledger_open_gap(f->settings.ledger, slots, gap);
}

static const struct evidence *base_of(const struct follow_node *node,
                                      const struct follow_base *base, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(base[i].address, node->place) == 0) return base[i].evidence;
    return NULL;
}

void follow_open_gap(struct follow *f, const struct slot_set *slots, const struct ledger_gap *gap,
                     const struct follow_base *base, size_t n_base) {
    struct slot_set left = *slots;
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        struct slot_set owned = follow_slots(n), mine = slot_set_common(&owned, slots);
        struct ledger_gap one = *gap;
        const struct evidence *evidence = base != NULL ? base_of(n, base, n_base) : NULL;
        if (base != NULL && evidence == NULL) one.whole = one.forward;
        follow_node_open_gap(n, &mine, &one, evidence);
        slot_set_subtract(&left, &mine);
    }
    ledger_open_gap(f->settings.ledger, &left, gap); /* of slots that nobody owns now */
}

void follow_resume_copy(struct follow *f, const struct slot_set *slots, struct moment checkpoint) {
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        struct slot_set owned = follow_slots(n), mine = slot_set_common(&owned, slots);
        struct ledger_gap gap = { .since = MOMENT_NEVER,
                                  .first_copy = true,
                                  .forward = true,
                                  .whole = true,
                                  .sweep = true,
                                  .place = n->place,
                                  .why = "the first copy goes on" };
        struct ledger_gap missed = gap;
        missed.first_copy = false;
        missed.since = checkpoint;
        n->resumes = n->evidence.has_base;
        follow_node_open_gap(n, &mine, &gap, NULL);
        follow_node_open_gap(n, &mine, &missed, NULL);
    }
}

void follow_delay_scan(struct follow *f, const struct slot_set *slots, int64_t until_ms) {
    for (struct follow_node *n = f->nodes; n != NULL; n = n->next_node) {
        struct slot_set owned = follow_slots(n), mine = slot_set_common(&owned, slots);
        if (slot_set_count(&mine) > 0 && n->scan_after_ms < until_ms) n->scan_after_ms = until_ms;
    }
}

bool follow_resumes(struct follow *f, const struct address *primary, const char *run_id) {
    for (const struct follow_node *n = f->nodes; n != NULL; n = n->next_node)
        if (address_equal(&n->primary, primary))
            return n->resumes && strcmp(n->run_id, run_id) == 0;
    return false;
}

/* Slots that are scanned by their use. */
static struct slot_set node_slots_by_use(const struct follow_node *node) {
    struct follow *f = node->follow;
    struct slot_set scanned = ledger_slots_in(f->settings.ledger, LEDGER_FORWARD),
                    mine = follow_job_slots(node);
    mine = slot_set_common(&mine, &scanned);
    for (int s = 0; s < SLOT_COUNT; s++)
        if (atomic_load(&f->used_since_us[s]) == 0) slot_set_remove(&mine, (uint16_t)s);
    return mine;
}

/* Each sample may say so, and for good (an LFU policy): what is scanned whole goes on, or a scan
 * that takes longer than the time between two samples would never end. */
void follow_spoil_base(struct follow_node *node, const char *why) {
    if (!node->evidence.has_base) return;
    node->evidence.base_spoilt = true;
    struct slot_set mine = node_slots_by_use(node);
    struct ledger_gap gap = {
        .since = MOMENT_NONE, .forward = true, .whole = true, .place = node->place, .why = why
    };
    follow_node_open_gap(node, &mine, &gap, NULL);
}

/* ---- resync ---- */

static void node_set_used_since(struct follow_node *node, const struct slot_set *slots,
                                int64_t since_us) {
    for (int s = 0; s < SLOT_COUNT; s++)
        if (slot_set_has(slots, (uint16_t)s))
            atomic_store(&node->follow->used_since_us[s], since_us);
}

/* The one place that decides whether idle times are used. *why: where they are not. */
static bool node_judge_base(struct follow_node *node, int64_t *since_us, const char **why) {
    const struct follow_settings *s = &node->follow->settings;
    struct verdict v = { 0 };
    if (node->evidence.has_base && node->evidence.has_latest)
        v = evidence_judge(&node->evidence.base, &node->evidence.latest);
    *since_us = v.since_us;
    *why = s->resync_whole                 ? "--resync full"
           : !s->capture.idle_time_allowed ? "the source refuses OBJECT IDLETIME"
           : node->gap_whole               ? "the process or the slots are others"
           : !node->evidence.has_base      ? "nothing is known of the time before"
           : node->evidence.base_spoilt    ? "idle times were changed meanwhile"
                                           : v.why;
    return *why == NULL;
}

static void node_tell_resync(const struct follow_node *node, unsigned slots, bool used,
                             const char *why) {
    const struct follow_settings *s = &node->follow->settings;
    if (node->resumes) {
        event_raise(s->events, EVENT_RESYNC, node->place,
                    "copying %u slots from where the last run was", slots);
    } else if (ledger_first_copy_goes_on(s->ledger)) {
        event_raise(s->events, EVENT_RESYNC, node->place, "copying %u slots: every key", slots);
    } else if (used) {
        event_raise(s->events, EVENT_RESYNC, node->place,
                    "resync of %u slots: keys accessed since the gap began", slots);
    } else {
        event_raise(s->events, EVENT_RESYNC, node->place, "resync of %u slots: every key (%s)",
                    slots, why != NULL ? why : "the gap asks for it");
    }
}

void follow_begin_scan(struct follow_node *node) {
    const struct follow_settings *s = &node->follow->settings;
    struct slot_set open, whole, used;
    if (!node->ready || node->flush_waits || engine_is_full(s->engine)) return;
    if (clock_mono_ms() < node->scan_after_ms || ledger_is_proved(s->ledger)) return;
    open = ledger_slots_in(s->ledger, LEDGER_OPEN);
    struct slot_set mine = follow_slots(node);
    mine = slot_set_common(&mine, &open);
    if (slot_set_count(&mine) == 0) return;
    ledger_begin_scan(s->ledger, &mine, &whole, &used);
    int64_t since_us;
    const char *why;
    bool usable = node_judge_base(node, &since_us, &why), by_use = slot_set_count(&used) > 0;
    if (!usable) slot_set_unite(&whole, &used);
    if (!usable) node->resumes = false;
    node_set_used_since(node, &whole, node->resumes ? since_us : 0);
    if (usable) node_set_used_since(node, &used, since_us);
    struct coverage *forward = engine_coverage(s->engine, COVERAGE_FORWARD);
    coverage_open(forward, COVERAGE_ALL_DATABASES, &whole, true);
    if (usable) coverage_open(forward, COVERAGE_ALL_DATABASES, &used, false);
    unsigned n = slot_set_count(&whole) + (usable ? slot_set_count(&used) : 0);
    if (n > 0) node_tell_resync(node, n, usable && by_use, why);
    node->gap_whole = false;
}
