/* Backward: keys that the target has and the source has not any more. One round at a time, over all
 * slots that want it:
 *
 *   IDLE ─▶ SCANNING: passes over the target name keys, lanes ask the source whether it has them ─▶ SETTLING: until the
 *   lanes have looked at all ─▶ within --max-delete: DELETING, the names go to the lanes as any others ─▶ IDLE
 *                             └▶ beyond: held, until somebody releases them; then the round is done again without guard
 *
 * Between the look and the deletion the source is read once more, so a key that came back is
 * copied. What was found gone is spooled to a file: it may be as much as the target holds.
 *
 * A process of the source that nobody knows is believed in its deletions only when the first round
 * after its appearance has found nothing to hold. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "live/live_priv.h"

/* so many may go without asking, while the source's processes are the same */
enum { GUARD_FEW = 1000 };

/* False outside of a round: the slot is swept later, and the key is counted then. */
bool live_on_missing(void *ctx, int db, struct bytes key, uint16_t slot, const char *run_id) {
    struct job *job = ctx;
    struct live *live = job->live;
    struct behind *b = &live->behind;
    struct spooled one = { .key = key, .db = db, .tag = slot };
    struct err err;
    pthread_mutex_lock(&live->lock);
    bool mine = b->counting && slot_set_has(&b->round, slot);
    bool ok = !mine || spool_add(b->spool, &one, &err);
    b->gone += mine;
    if (mine && slot_set_has(&b->guarded, slot)) b->gone_guarded++;
    pthread_mutex_unlock(&live->lock);
    if (!ok) job_fail(job, &err);
    return mine;
}

bool behind_is_idle(const struct live *live) {
    const struct behind *b = &live->behind;
    return b->state == BEHIND_IDLE && slot_set_count(&b->wanted) == 0 &&
           slot_set_count(&b->held) == 0;
}

/* ---- a round ---- */

static struct slot_set due(const struct behind *b) {
    struct slot_set slots = b->wanted;
    slot_set_subtract(&slots, &b->held);
    struct slot_set released = slot_set_common(&b->wanted, &b->ordered);
    slot_set_unite(&slots, &released);
    return slots;
}

/* Whatever is to be copied again comes first: what that finds gone needs no second look. */
static bool forward_is_done(const struct live *live) {
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (n->gap_open || (n->listed && !n->ready)) return false;
    return coverage_is_complete(&live->job->forward);
}

static bool begin(struct live *live) {
    struct behind *b = &live->behind;
    struct err err;
    struct slot_set slots = due(b);
    if (slot_set_count(&slots) == 0 || !forward_is_done(live)) return false;
    struct spool *spool = spool_new(&err);
    if (spool == NULL) {
        job_fail(live->job, &err);
        return false;
    }
    struct slot_set guarded = slots, orders = slot_set_common(&slots, &b->ordered);
    slot_set_subtract(&guarded, &orders);
    pthread_mutex_lock(&live->lock);
    b->spool = spool;
    b->counting = true;
    b->round = slots;
    b->guarded = guarded;
    b->gone = b->gone_guarded = 0;
    pthread_mutex_unlock(&live->lock);
    b->rounds++;
    b->seen_guarded_before = atomic_load(&live->job->looked_guarded);
    slot_set_subtract(&b->wanted, &slots);
    slot_set_subtract(&b->ordered, &slots);
    slot_set_subtract(&b->held, &slots);
    coverage_open(&live->job->backward, -1, &guarded, true);
    coverage_open(&live->job->backward, -1, &orders, false);
    b->state = BEHIND_SCANNING;
    log_debug("target", "keys of %u slots are looked for on the source", slot_set_count(&slots));
    return true;
}

/* The names are with the lanes; when they have reached these marks they have looked at all of them.
 */
static void settle(struct live *live) {
    live_put_marks(live, live->behind.marks, &live->behind.marks_left);
    live->behind.state = BEHIND_SETTLING;
}

static bool processes_are_known(const struct live *live) {
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
        if (n->trust_round != 0) return false;
    return true;
}

static bool must_hold(const struct live *live, uint64_t seen) {
    const struct behind *b = &live->behind;
    if (b->gone_guarded == 0) return false;
    if (processes_are_known(live) && b->gone_guarded <= GUARD_FEW) return false;
    return (double)b->gone_guarded * 100 > live->settings->max_delete_percent * (double)seen;
}

static void trust_processes(struct live *live) {
    for (struct live_node *n = live->nodes; n != NULL; n = n->next) {
        if (n->trust_round == 0 || n->trust_round > live->behind.rounds) continue;
        n->trust_round = 0;
        if (n->hearing) live_node_trust(n);
    }
}

static void hold(struct live *live, uint64_t seen) {
    struct behind *b = &live->behind;
    char gone[32], of[32];
    b->hold_gone = b->gone_guarded;
    b->hold_seen = seen;
    slot_set_unite(&b->held, &b->guarded);
    slot_set_unite(&b->wanted, &b->guarded);
    units_format_number(b->gone_guarded, gone, sizeof(gone));
    units_format_number(seen, of, sizeof(of));
    log_error(
        "target",
        "deletions are HELD: %s of %s keys are gone on the source, more than --max-delete allows. The target keeps "
        "them, copying goes on. If they are to go: longhaul resume TARGET",
        gone, of);
    keep_audit(live, "held", "%s of %s keys are gone on the source", gone, of);
}

/* What is ordered goes in any case; what is held stays in the spool unread, the next round finds it
 * again. */
static void decide(struct live *live) {
    struct behind *b = &live->behind;
    uint64_t seen = atomic_load(&live->job->looked_guarded) - b->seen_guarded_before;
    /* Emptied by an order meanwhile: the next round does as it says. */
    struct slot_set ordered = slot_set_common(&b->wanted, &b->ordered), left = b->guarded;
    slot_set_subtract(&left, &ordered);
    bool held = must_hold(live, seen);
    if (held && slot_set_count(&left) > 0) {
        hold(live, seen);
    } else if (!held) {
        b->guarded = (struct slot_set){ 0 };
        b->hold_gone = b->hold_seen = 0;
        trust_processes(live);
    }
    pthread_mutex_lock(&live->lock);
    b->counting = false;
    pthread_mutex_unlock(&live->lock);
    spool_rewind(b->spool);
    b->state = BEHIND_DELETING;
}

static bool lanes_are_busy(const struct job *job) {
    for (int i = 0; i < job->n_workers; i++)
        if (stat_get(&lane_stats(worker_lane(job->workers[i]))->waiting) > JOB_QUEUE_HIGH)
            return true;
    return atomic_load(&((struct job *)job)->in_transit) > job->n_workers;
}

static void end(struct live *live) {
    struct behind *b = &live->behind;
    pthread_mutex_lock(&live->lock);
    spool_free(&b->spool);
    pthread_mutex_unlock(&live->lock);
    if (b->gone > 0)
        log_info("target", "%llu keys are gone on the source", (unsigned long long)b->gone);
    b->state = BEHIND_IDLE;
}

/* They are read once more, and deleted if they are still gone. */
static void name_some(struct live *live) {
    struct behind *b = &live->behind;
    struct spooled one;
    struct err err = { 0 };
    struct naming naming;
    bool more = true;
    naming_begin(&naming, live->job, NULL, 0);
    for (int n = 0; n < LIVE_DELETE_BATCH && (more = spool_next(b->spool, &one, &err)); n++) {
        if (slot_set_has(&b->guarded, (uint16_t)one.tag)) continue; /* held */
        if (one.db != naming.db) {
            naming_end(&naming);
            naming_begin(&naming, live->job, NULL, one.db);
        }
        naming_add(&naming, one.key, (uint16_t)one.tag, REASON_DELETE);
    }
    naming_end(&naming);
    if (err.code != ERR_NONE) job_fail(live->job, &err);
    if (!more) end(live);
}

void behind_step(struct live *live) {
    struct behind *b = &live->behind;
    switch (b->state) {
    case BEHIND_IDLE:
        begin(live);
        return;
    case BEHIND_SCANNING:
        if (coverage_step(&live->job->backward) && atomic_load(&live->job->in_transit) == 0)
            settle(live);
        return;
    case BEHIND_SETTLING:
        if (atomic_load(&b->marks_left) == 0) decide(live);
        return;
    case BEHIND_DELETING:
        if (!lanes_are_busy(live->job)) name_some(live);
        return;
    }
}

void behind_release(struct live *live) {
    struct behind *b = &live->behind;
    if (slot_set_count(&b->held) > 0) log_info("target", "held deletions are released");
    keep_audit(live, "released", "held deletions may go on");
    struct slot_set all = slot_set_count(&b->held) > 0 ? b->held : b->wanted;
    slot_set_unite(&b->ordered, &all);
    b->held = (struct slot_set){ 0 };
    b->hold_gone = b->hold_seen = 0;
}

void behind_free(struct live *live) {
    spool_free(&live->behind.spool);
}
