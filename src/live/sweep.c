/* See sweep.h. Between the question and the deletion the source is read once more, so a key that
 * came back is copied. */
#include "live/sweep.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "engine/coverage.h"
#include "engine/enqueue.h"
#include "engine/spool.h"

enum {
    SWEEP_FEW = 1000, /* so many deletions of a known process need no release */
    SWEEP_BATCH = 10000,
    SWEEP_RETRY_MS = 30 * 1000, /* after a spool that failed */
};

enum sweep_state { SWEEP_IDLE, SWEEP_SCANNING, SWEEP_SETTLING, SWEEP_DELETING };

/* The purpose of a round. */
enum sweep_round {
    ROUND_MISSING, /* keys that were deleted while nobody listened */
    ROUND_CENSUS,  /* before the first copy */
    ROUND_EXTRA    /* the target's own keys, released */
};

/* Deletions of one process while something is not proved. */
struct sweep_tally {
    char run_id[RUN_ID_MAX];
    uint64_t deleted;
};

struct sweep {
    struct sweep_settings settings;
    struct extra *extra;
    enum sweep_state state;
    enum sweep_round round;
    struct slot_set slots;       /* of the round */
    struct slot_set deletable;   /* of those: the round's deletions are made */
    struct slot_set undisturbed; /* of those: no gap has opened since the round began */
    struct moment began;
    struct engine_marks marks;
    int64_t retry_ms; /* no round begins before */
    bool census_wanted, census_done, extra_released;
    struct slot_set census_slots;

    struct hold *holds;
    size_t n_holds;
    unsigned hold_number;
    struct hold *released; /* by an order; their round has not been done */
    size_t n_released;
    struct follow_order *orders;
    size_t n_orders;
    struct sweep_tally *tallies;
    size_t n_tallies;

    _Atomic uint32_t seen[SLOT_COUNT]; /* keys of the target that the round has named */
    pthread_mutex_t lock;
    /* Under lock: */
    bool counting;
    struct spool *spool;
    struct err spool_err; /* ERR_NONE: all names are kept */
    uint32_t missing[SLOT_COUNT];
    uint64_t n_missing;
};

/* ---- called by lanes and passes ---- */

static bool sweep_is_ordered(const struct sweep *s, int db, uint16_t slot) {
    for (size_t i = 0; i < s->n_orders; i++)
        if (s->orders[i].db == db && slot_set_has(&s->orders[i].slots, slot)) return true;
    return false;
}

/* The census remembers every missing key; later rounds pass over these, but for the one that
 * deletes them. Where the census is forgotten, they count every key, and hold what they count. */
static bool sweep_counts(struct sweep *s, int db, struct bytes key) {
    bool known = extra_has(s->extra, db, key);
    if (s->round == ROUND_CENSUS) extra_add(s->extra, db, key);
    if (s->round == ROUND_MISSING) return !known || !extra_is_known(s->extra);
    return s->round == ROUND_CENSUS || known;
}

/* An order is for keys that the job has copied. */
static bool sweep_is_asked_for(const struct sweep *s, int db, uint16_t slot) {
    return !sweep_is_ordered(s, db, slot) || !extra_is_known(s->extra);
}

bool sweep_on_missing(struct sweep *s, int db, struct bytes key, uint16_t slot) {
    struct spooled one = { .key = key, .db = db, .tag = slot };
    pthread_mutex_lock(&s->lock);
    if (s->counting && slot_set_has(&s->slots, slot) && sweep_counts(s, db, key)) {
        if (s->spool_err.code == ERR_NONE) spool_add(s->spool, &one, &s->spool_err);
        s->n_missing++;
        if (sweep_is_asked_for(s, db, slot)) s->missing[slot]++;
    }
    pthread_mutex_unlock(&s->lock);
    return true;
}

void sweep_on_named(struct sweep *s, uint16_t slot) {
    atomic_fetch_add_explicit(&s->seen[slot], 1, memory_order_relaxed);
}

/* ---- a round begins ---- */

/* All copies come first: keys that are missing then need no second question. */
static bool sweep_may_begin(const struct sweep *s) {
    if (clock_mono_ms() < s->retry_ms || !follow_all_ready(s->settings.follow)) return false;
    if (!coverage_is_complete(engine_coverage(s->settings.engine, COVERAGE_FORWARD))) return false;
    struct slot_set open = ledger_slots_in(s->settings.ledger, LEDGER_OPEN);
    return slot_set_count(&open) == 0;
}

/* False: nothing waits for one. */
static bool sweep_choose_round(struct sweep *s) {
    if (s->census_wanted) {
        s->round = ROUND_CENSUS;
        s->slots = s->census_slots;
        return true;
    }
    s->round = ROUND_MISSING;
    s->slots = ledger_sweep_due(s->settings.ledger);
    if (slot_set_count(&s->slots) > 0) return true;
    s->round = ROUND_EXTRA;
    s->slots = engine_job_slots(s->settings.engine);
    return s->extra_released;
}

static void sweep_take_orders(struct sweep *s) {
    struct follow_order order;
    while (follow_takes_order(s->settings.follow, &order)) {
        pthread_mutex_lock(&s->lock);
        s->orders = mem_array(s->orders, s->n_orders + 1, sizeof(*s->orders));
        s->orders[s->n_orders++] = order;
        pthread_mutex_unlock(&s->lock);
    }
}

static void sweep_discard_round(struct sweep *s) {
    pthread_mutex_lock(&s->lock);
    s->counting = false;
    spool_free(&s->spool);
    pthread_mutex_unlock(&s->lock);
    s->state = SWEEP_IDLE;
}

static void sweep_pause(struct sweep *s, const struct err *err) {
    event_raise(s->settings.events, EVENT_SWEEP_PAUSED, err->place,
                "%s; the sweep waits, the job goes on", err->text);
    s->retry_ms = clock_mono_ms() + SWEEP_RETRY_MS;
    sweep_discard_round(s);
}

static void sweep_begin_round(struct sweep *s) {
    struct err err;
    sweep_take_orders(s);
    bool asked = s->census_wanted || s->extra_released;
    if (!asked && ledger_is_proved(s->settings.ledger)) return;
    if (!sweep_may_begin(s) && !(s->census_wanted && follow_all_ready(s->settings.follow))) return;
    if (!sweep_choose_round(s)) return;
    struct spool *spool = spool_new(s->settings.spool_dir, &err);
    if (spool == NULL) {
        sweep_pause(s, &err);
        return;
    }
    for (int i = 0; i < SLOT_COUNT; i++) atomic_store(&s->seen[i], 0);
    pthread_mutex_lock(&s->lock);
    s->spool = spool;
    s->spool_err = (struct err){ 0 };
    s->n_missing = 0;
    memset(s->missing, 0, sizeof(s->missing));
    s->counting = true;
    pthread_mutex_unlock(&s->lock);
    s->began = moment_now();
    s->deletable = (struct slot_set){ 0 };
    s->undisturbed = s->slots;
    coverage_open(engine_coverage(s->settings.engine, COVERAGE_SWEEP), COVERAGE_ALL_DATABASES,
                  &s->slots, false);
    s->state = SWEEP_SCANNING;
    log_debug("target", "sweep of %u slots: are their keys still on the source?",
              slot_set_count(&s->slots));
}

/* ---- the guard ---- */

static struct sweep_tally *sweep_tally(struct sweep *s, const char *run_id) {
    for (size_t i = 0; i < s->n_tallies; i++)
        if (strcmp(s->tallies[i].run_id, run_id) == 0) return &s->tallies[i];
    s->tallies = mem_array(s->tallies, s->n_tallies + 1, sizeof(*s->tallies));
    struct sweep_tally *tally = &s->tallies[s->n_tallies++];
    *tally = (struct sweep_tally){ 0 };
    snprintf(tally->run_id, sizeof(tally->run_id), "%s", run_id);
    return tally;
}

static void sweep_count(const struct sweep *s, const struct slot_set *slots, uint64_t *missing,
                        uint64_t *seen) {
    *missing = *seen = 0;
    for (int i = 0; i < SLOT_COUNT; i++) {
        if (!slot_set_has(slots, (uint16_t)i)) continue;
        *missing += s->missing[i];
        *seen += atomic_load((_Atomic uint32_t *)&s->seen[i]);
    }
}

static void sweep_add_hold(struct sweep *s, const struct hold *hold) {
    s->holds = mem_array(s->holds, s->n_holds + 1, sizeof(*s->holds));
    s->holds[s->n_holds] = *hold;
    struct hold *added = &s->holds[s->n_holds++];
    if (added->id[0] == '\0')
        snprintf(added->id, sizeof(added->id), "%" PRIu64 "-%u", s->settings.epoch,
                 ++s->hold_number);
}

static void sweep_hold_missing(struct sweep *s, const struct follow_node *node,
                               const struct slot_set *slots, uint64_t missing, uint64_t seen) {
    struct hold hold = { .cause = HOLD_MISSING,
                         .slots = *slots,
                         .deletions = missing,
                         .seen = seen,
                         .since = moment_now() };
    char gone[32], of[32];
    snprintf(hold.place, sizeof(hold.place), "%s", follow_place(node));
    sweep_add_hold(s, &hold);
    ledger_hold(s->settings.ledger, slots, hold.since);
    units_format_number(missing, gone, sizeof(gone));
    units_format_number(seen, of, sizeof(of));
    event_raise(
        s->settings.events, EVENT_HELD, hold.place,
        "deletions are HELD (hold %s): %s of %s keys of this server are missing on the "
        "source, %s; the target keeps them and copying goes on. If they are to go: longhaul "
        "resume TARGET",
        s->holds[s->n_holds - 1].id, gone, of,
        extra_is_known(s->extra) ? "more than --max-delete allows"
                                 : "and it is not known which of them this job never copied");
}

/* How many deletions an order has released in these slots; 0: none. */
static uint64_t sweep_released_for(const struct sweep *s, const struct slot_set *slots) {
    uint64_t n = 0;
    for (size_t i = 0; i < s->n_released; i++) {
        struct slot_set both = slot_set_common(&s->released[i].slots, slots);
        if (slot_set_count(&both) > 0) n += s->released[i].deletions;
    }
    return n;
}

static bool sweep_must_hold(struct sweep *s, const struct follow_node *node,
                            const struct slot_set *slots, uint64_t missing, uint64_t seen) {
    uint64_t total = missing + sweep_tally(s, follow_run_id(node))->deleted;
    if (missing == 0 || missing <= sweep_released_for(s, slots)) return false;
    if (!extra_is_known(s->extra)) return true;
    if (follow_deletions_allowed(node) && total <= SWEEP_FEW) return false;
    return (double)total * 100 > s->settings.max_delete_percent * (double)seen;
}

static void sweep_decide_node(struct sweep *s, struct follow_node *node) {
    struct slot_set owned = follow_slots(node), slots = slot_set_common(&owned, &s->slots);
    uint64_t missing, seen;
    if (slot_set_count(&slots) == 0) return;
    sweep_count(s, &slots, &missing, &seen);
    if (sweep_must_hold(s, node, &slots, missing, seen)) {
        sweep_hold_missing(s, node, &slots, missing, seen);
        return;
    }
    sweep_tally(s, follow_run_id(node))->deleted += missing;
    slot_set_unite(&s->deletable, &slots);
    follow_allow_deletions(node, s->began);
}

/* An order counts for the first round that its slots are in: one that came during this round, for
 * others, waits for the next. */
static void sweep_drop_released(struct sweep *s) {
    size_t left = 0;
    for (size_t i = 0; i < s->n_released; i++) {
        struct slot_set both = slot_set_common(&s->released[i].slots, &s->slots);
        if (slot_set_count(&both) == 0) s->released[left++] = s->released[i];
    }
    s->n_released = left;
}

/* Slots of the round that nobody owns any more are left for a later one. */
static void sweep_decide_missing(struct sweep *s) {
    for (struct follow_node *n = follow_first(s->settings.follow); n != NULL; n = follow_next(n))
        sweep_decide_node(s, n);
    sweep_drop_released(s);
}

/* By order of --extra delete, but within the guard: a source that came back empty, or the wrong
 * one, would otherwise empty the target. */
static bool sweep_may_delete_extra(const struct sweep *s, uint64_t extra, uint64_t seen) {
    return s->settings.extra == SWEEP_EXTRA_DELETE &&
           (extra <= SWEEP_FEW ||
            (double)extra * 100 <= s->settings.max_delete_percent * (double)seen);
}

static void sweep_hold_extra(struct sweep *s, uint64_t extra, uint64_t seen) {
    char count[32], of[32];
    struct hold hold = { .cause = HOLD_EXTRA,
                         .slots = s->slots,
                         .deletions = extra,
                         .seen = seen,
                         .since = moment_now() };
    snprintf(hold.place, sizeof(hold.place), "target");
    sweep_add_hold(s, &hold);
    units_format_number(extra, count, sizeof(count));
    units_format_number(seen, of, sizeof(of));
    if (s->settings.extra == SWEEP_EXTRA_DELETE) {
        event_raise(s->settings.events, EVENT_EXTRA, "target",
                    "HELD (hold %s): %s of %s keys of the target are not on the source, more than "
                    "--max-delete allows --extra delete; they stay. If they are to go: longhaul "
                    "resume TARGET; if the source is the wrong one or came back empty: stop now",
                    s->holds[s->n_holds - 1].id, count, of);
        return;
    }
    event_raise(s->settings.events, EVENT_EXTRA, "target",
                "HELD (hold %s): the target has %s keys that the source does not have and this "
                "job never copied; they stay. If they are to go: longhaul resume TARGET; if "
                "they are to stay: --extra keep; if the end points are swapped: stop now",
                s->holds[s->n_holds - 1].id, count);
}

static void sweep_tell_extra(struct sweep *s, uint64_t n, const char *fate) {
    char count[32];
    event_raise(s->settings.events, EVENT_EXTRA, "target",
                "%s keys that the source does not have %s",
                units_format_number(n, count, sizeof(count)), fate);
}

static void sweep_decide_census(struct sweep *s) {
    uint64_t n = extra_count(s->extra), missing, seen;
    s->census_wanted = false;
    sweep_count(s, &s->slots, &missing, &seen);
    if (n == 0) return;
    if (sweep_may_delete_extra(s, n, seen)) {
        s->deletable = s->slots;
        extra_clear(s->extra);
        sweep_tell_extra(s, n, "are deleted (--extra delete)");
    } else if (s->settings.extra == SWEEP_EXTRA_KEEP) {
        sweep_tell_extra(s, n, "stay (--extra keep)");
    } else {
        sweep_hold_extra(s, n, seen);
    }
}

static void sweep_decide(struct sweep *s) {
    struct err err;
    pthread_mutex_lock(&s->lock);
    s->counting = false;
    err = s->spool_err;
    pthread_mutex_unlock(&s->lock);
    if (err.code != ERR_NONE || !spool_rewind(s->spool, &err)) {
        sweep_pause(s, &err);
        return;
    }
    if (s->round == ROUND_CENSUS) {
        sweep_decide_census(s);
    } else if (s->round == ROUND_EXTRA) {
        s->deletable = s->slots;
    } else {
        sweep_decide_missing(s);
    }
    s->state = SWEEP_DELETING;
}

/* ---- deleting ---- */

static void sweep_drop_orders(struct sweep *s) {
    size_t left = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_orders; i++) {
        slot_set_subtract(&s->orders[i].slots, &s->slots);
        if (slot_set_count(&s->orders[i].slots) > 0) s->orders[left++] = s->orders[i];
    }
    s->n_orders = left;
    pthread_mutex_unlock(&s->lock);
}

/* The target has no key left that the source lacks, so the job has copied all of them. */
static bool sweep_has_deleted_all(const struct sweep *s) {
    struct slot_set left = engine_job_slots(s->settings.engine);
    slot_set_subtract(&left, &s->deletable);
    return slot_set_count(&left) == 0;
}

static void sweep_end_round(struct sweep *s, uint64_t n_missing) {
    if (s->round == ROUND_MISSING) {
        if (!extra_is_known(s->extra) && sweep_has_deleted_all(s)) extra_clear(s->extra);
        struct slot_set swept = slot_set_common(&s->deletable, &s->undisturbed);
        ledger_end_sweep(s->settings.ledger, &swept, moment_now());
        sweep_drop_orders(s);
        if (n_missing > 0)
            event_raise(s->settings.events, EVENT_DELETED, "target",
                        "sweep: %" PRIu64 " keys are missing on the source", n_missing);
    } else if (s->round == ROUND_EXTRA) {
        extra_clear(s->extra);
        s->extra_released = false;
    } else {
        s->census_done = true;
    }
    sweep_discard_round(s);
}

/* The source is asked once more for each; those that are still missing are deleted. */
static void sweep_name_some(struct sweep *s) {
    struct spooled one;
    struct err err = { 0 };
    struct enqueue queue;
    bool more = true;
    enqueue_begin(&queue, s->settings.engine, NULL, 0);
    for (int n = 0; n < SWEEP_BATCH && (more = spool_next(s->spool, &one, &err)); n++) {
        bool deletable = slot_set_has(&s->deletable, (uint16_t)one.tag);
        if (!deletable && !sweep_is_ordered(s, one.db, (uint16_t)one.tag)) continue;
        if (one.db != queue.db) {
            enqueue_end(&queue);
            enqueue_begin(&queue, s->settings.engine, NULL, one.db);
        }
        enqueue_key(&queue, one.key, (uint16_t)one.tag, REASON_DELETE);
    }
    enqueue_end(&queue);
    if (err.code != ERR_NONE) {
        sweep_pause(s, &err);
    } else if (!more) {
        sweep_end_round(s, s->n_missing);
    }
}

/* A slot that gets a gap during the round may be copied again and wait for a sweep before the round
 * ends: keys deleted in that gap may have been asked for before it, so the slot needs another
 * round. */
static void sweep_notice_gaps(struct sweep *s) {
    if (s->state == SWEEP_IDLE || s->round != ROUND_MISSING) return;
    struct slot_set due = ledger_sweep_due(s->settings.ledger);
    s->undisturbed = slot_set_common(&s->undisturbed, &due);
}

void sweep_step(struct sweep *s) {
    struct engine *e = s->settings.engine;
    sweep_notice_gaps(s);
    if (ledger_is_proved(s->settings.ledger)) s->n_tallies = 0;
    switch (s->state) {
    case SWEEP_IDLE:
        sweep_begin_round(s);
        return;
    case SWEEP_SCANNING:
        if (!coverage_step(engine_coverage(e, COVERAGE_SWEEP)) || !engine_names_arrived(e)) return;
        /* The names are with the lanes: behind these marks all of them have been asked for. */
        engine_put_marks(e, &s->marks);
        s->state = SWEEP_SETTLING;
        return;
    case SWEEP_SETTLING:
        if (engine_marks_reached(&s->marks)) sweep_decide(s);
        return;
    case SWEEP_DELETING:
        if (!engine_is_busy(e)) sweep_name_some(s);
        return;
    }
}

/* ---- for the owner ---- */

void sweep_begin_census(struct sweep *s, const struct slot_set *slots) {
    s->census_wanted = true;
    s->census_done = false;
    s->census_slots = *slots;
}

bool sweep_census_is_done(const struct sweep *s) {
    return s->census_done;
}

struct extra *sweep_extra_keys(struct sweep *s) {
    return s->extra;
}

uint64_t sweep_count_extra(struct sweep *s) {
    pthread_mutex_lock(&s->lock);
    uint64_t count = extra_count(s->extra);
    pthread_mutex_unlock(&s->lock);
    return count;
}

size_t sweep_holds(const struct sweep *s, const struct hold **holds) {
    *holds = s->holds;
    return s->n_holds;
}

void sweep_restore_hold(struct sweep *s, const struct hold *hold) {
    bool extra = hold->cause == HOLD_EXTRA;
    if (extra && s->settings.extra == SWEEP_EXTRA_KEEP) {
        sweep_tell_extra(s, hold->deletions, "stay (--extra keep)");
    } else if (extra && sweep_may_delete_extra(s, hold->deletions, hold->seen)) {
        sweep_tell_extra(s, hold->deletions, "are deleted (--extra delete)");
        s->extra_released = true;
    } else {
        sweep_add_hold(s, hold);
        if (!extra) ledger_hold(s->settings.ledger, &hold->slots, hold->since);
    }
}

bool sweep_release(struct sweep *s, const char *id) {
    for (size_t i = 0; i < s->n_holds; i++) {
        struct hold hold = s->holds[i];
        if (strcmp(hold.id, id) != 0) continue;
        s->holds[i] = s->holds[--s->n_holds];
        event_raise(s->settings.events, EVENT_RELEASED, "target",
                    "hold %s is released: %" PRIu64 " deletions may go on", id, hold.deletions);
        if (hold.cause == HOLD_EXTRA) {
            s->extra_released = true;
            return true;
        }
        ledger_release(s->settings.ledger, &hold.slots);
        s->released = mem_array(s->released, s->n_released + 1, sizeof(*s->released));
        s->released[s->n_released++] = hold;
        return true;
    }
    return false;
}

struct sweep *sweep_new(const struct sweep_settings *settings) {
    struct sweep *s = mem_zalloc(sizeof(*s));
    s->settings = *settings;
    s->extra = extra_new();
    s->census_done = true;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void sweep_free(struct sweep **sweep) {
    struct sweep *s = *sweep;
    *sweep = NULL;
    if (s == NULL) return;
    extra_free(&s->extra);
    spool_free(&s->spool);
    engine_marks_fini(&s->marks);
    pthread_mutex_destroy(&s->lock);
    free(s->holds);
    free(s->released);
    free(s->orders);
    free(s->tallies);
    free(s);
}
