/* See ledger.h. One entry per slot; causes are kept once and counted by the entries that name them.
 */
#include "live/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct ledger_slot {
    struct moment since, changes_since;
    struct moment settled; /* MOMENT_NONE: something is left to do */
    uint16_t cause;
    uint8_t state;
    bool first_copy, forward, whole, sweep, held;
};

struct ledger_cause {
    char place[LEDGER_TEXT_MAX], why[LEDGER_TEXT_MAX];
};

struct ledger_database {
    int db;
    struct moment since, settled;
};

struct ledger {
    struct ledger_slot slots[SLOT_COUNT];
    unsigned unproved; /* slots */
    bool stale;        /* the next two must be computed anew */
    struct moment oldest, oldest_changes;
    struct ledger_cause *causes;
    size_t n_causes;
    struct ledger_database *dbs;
    size_t n_dbs;
};

/* Asked every few milliseconds, changed seldom. */
static void ledger_refresh(struct ledger *l) {
    if (!l->stale) return;
    l->stale = false;
    l->oldest = l->oldest_changes = MOMENT_NONE;
    for (int i = 0; i < SLOT_COUNT && l->unproved > 0; i++) {
        l->oldest = moment_older(l->oldest, l->slots[i].since);
        l->oldest_changes = moment_older(l->oldest_changes, l->slots[i].changes_since);
    }
    for (size_t i = 0; i < l->n_dbs; i++) {
        l->oldest = moment_older(l->oldest, l->dbs[i].since);
        l->oldest_changes = moment_older(l->oldest_changes, l->dbs[i].since);
    }
}

static struct ledger_slot proved_slot(void) {
    return (struct ledger_slot){ .since = MOMENT_NONE,
                                 .changes_since = MOMENT_NONE,
                                 .settled = MOMENT_NONE };
}

struct ledger *ledger_new(void) {
    struct ledger *l = mem_zalloc(sizeof(*l));
    l->stale = true;
    for (int s = 0; s < SLOT_COUNT; s++) l->slots[s] = proved_slot();
    return l;
}

void ledger_free(struct ledger **ledger) {
    struct ledger *l = *ledger;
    *ledger = NULL;
    if (l == NULL) return;
    free(l->causes);
    free(l->dbs);
    free(l);
}

/* ---- causes ---- */

static bool ledger_names_cause(const struct ledger *l, size_t cause) {
    for (int s = 0; s < SLOT_COUNT; s++)
        if (l->slots[s].state != LEDGER_PROVED && l->slots[s].cause == cause) return true;
    return false;
}

static bool cause_is(const struct ledger_cause *c, const struct ledger_cause *other) {
    return strcmp(c->place, other->place) == 0 && strcmp(c->why, other->why) == 0;
}

/* The place of an unused cause is taken before the list grows. */
static uint16_t ledger_cause(struct ledger *l, const char *place, const char *why) {
    struct ledger_cause cause = { 0 };
    snprintf(cause.place, sizeof(cause.place), "%s", place);
    snprintf(cause.why, sizeof(cause.why), "%s", why);
    for (size_t i = 0; i < l->n_causes; i++)
        if (cause_is(&l->causes[i], &cause)) return (uint16_t)i;
    size_t at = 0;
    while (at < l->n_causes && ledger_names_cause(l, at)) at++;
    if (at == l->n_causes) l->causes = mem_array(l->causes, ++l->n_causes, sizeof(*l->causes));
    l->causes[at] = cause;
    return (uint16_t)at;
}

/* ---- gaps ---- */

static void slot_open_gap(struct ledger *l, struct ledger_slot *s, const struct ledger_gap *gap,
                          uint16_t cause) {
    bool was_proved = s->state == LEDGER_PROVED;
    if (was_proved) {
        *s = proved_slot();
        l->unproved++;
    }
    if (was_proved || gap->since.boot_us < s->since.boot_us || !s->first_copy) s->cause = cause;
    s->since = moment_older(s->since, gap->since);
    if (!gap->first_copy) s->changes_since = moment_older(s->changes_since, gap->since);
    s->first_copy = s->first_copy || gap->first_copy;
    s->settled = MOMENT_NONE;
    s->forward = s->forward || gap->forward;
    s->whole = s->whole || gap->whole;
    s->sweep = s->sweep || gap->sweep;
    /* A scan that goes on needs no second one when only deletions are missing. */
    if (gap->forward || s->state == LEDGER_PROVED || s->state == LEDGER_SWEEP)
        s->state = LEDGER_OPEN;
}

bool ledger_open_gap(struct ledger *l, const struct slot_set *slots, const struct ledger_gap *gap) {
    bool all_proved = ledger_is_proved(l);
    if (slot_set_count(slots) == 0) return false;
    l->stale = true;
    uint16_t cause = ledger_cause(l, gap->place, gap->why);
    for (int s = 0; s < SLOT_COUNT; s++)
        if (slot_set_has(slots, (uint16_t)s)) slot_open_gap(l, &l->slots[s], gap, cause);
    return all_proved;
}

void ledger_open_database(struct ledger *l, int db, struct moment since) {
    l->stale = true;
    l->dbs = mem_array(l->dbs, l->n_dbs + 1, sizeof(*l->dbs));
    l->dbs[l->n_dbs++] = (struct ledger_database){ db, since, MOMENT_NONE };
}

/* ---- forward ---- */

/* Behind all scans of a slot. */
static void slot_scanned(struct ledger_slot *s, struct moment now) {
    if (s->held) {
        s->state = LEDGER_HELD;
    } else if (s->sweep) {
        s->state = LEDGER_SWEEP;
    } else {
        s->state = LEDGER_FORWARD;
        s->settled = now;
    }
}

void ledger_begin_scan(struct ledger *l, const struct slot_set *slots, struct slot_set *whole,
                       struct slot_set *used) {
    *whole = *used = (struct slot_set){ 0 };
    for (int i = 0; i < SLOT_COUNT; i++) {
        struct ledger_slot *s = &l->slots[i];
        if (s->state != LEDGER_OPEN || !slot_set_has(slots, (uint16_t)i)) continue;
        if (s->forward) {
            slot_set_add(s->whole ? whole : used, (uint16_t)i);
            s->state = LEDGER_FORWARD;
        } else {
            slot_scanned(s, MOMENT_NONE);
        }
        s->forward = s->whole = false;
    }
}

void ledger_end_scan(struct ledger *l, const struct slot_set *pending, struct moment now) {
    if (l->unproved == 0) return;
    for (int i = 0; i < SLOT_COUNT; i++) {
        struct ledger_slot *s = &l->slots[i];
        if (s->state != LEDGER_FORWARD || !moment_is_none(s->settled)) continue;
        if (!slot_set_has(pending, (uint16_t)i)) slot_scanned(s, now);
    }
}

void ledger_end_database(struct ledger *l, int db, struct moment now) {
    for (size_t i = 0; i < l->n_dbs; i++)
        if (l->dbs[i].db == db && moment_is_none(l->dbs[i].settled)) l->dbs[i].settled = now;
}

/* ---- sweeps ---- */

struct slot_set ledger_sweep_due(const struct ledger *l) {
    struct slot_set due = { 0 };
    for (int i = 0; i < SLOT_COUNT && l->unproved > 0; i++) {
        const struct ledger_slot *s = &l->slots[i];
        if (s->state == LEDGER_SWEEP && moment_is_none(s->settled)) slot_set_add(&due, (uint16_t)i);
    }
    return due;
}

void ledger_end_sweep(struct ledger *l, const struct slot_set *slots, struct moment now) {
    for (int i = 0; i < SLOT_COUNT; i++) {
        struct ledger_slot *s = &l->slots[i];
        if (s->state != LEDGER_SWEEP || !slot_set_has(slots, (uint16_t)i)) continue;
        s->sweep = false;
        s->settled = now;
    }
}

void ledger_hold(struct ledger *l, const struct slot_set *slots, struct moment since) {
    l->stale = true;
    for (int i = 0; i < SLOT_COUNT; i++) {
        struct ledger_slot *s = &l->slots[i];
        if (!slot_set_has(slots, (uint16_t)i)) continue;
        if (s->state == LEDGER_PROVED) {
            *s = proved_slot();
            s->since = s->changes_since = since;
            s->state = LEDGER_HELD;
            s->cause = ledger_cause(l, "target", "deletions are held");
            l->unproved++;
        }
        s->held = s->sweep = true;
        if (s->state == LEDGER_SWEEP) s->state = LEDGER_HELD;
    }
}

void ledger_release(struct ledger *l, const struct slot_set *slots) {
    for (int i = 0; i < SLOT_COUNT; i++) {
        struct ledger_slot *s = &l->slots[i];
        if (!slot_set_has(slots, (uint16_t)i) || !s->held) continue;
        s->held = false;
        s->sweep = true;
        if (s->state == LEDGER_HELD) s->state = LEDGER_SWEEP;
    }
}

/* ---- proof ---- */

bool ledger_prove(struct ledger *l, struct moment passed) {
    if (ledger_is_proved(l)) return false;
    l->stale = true;
    for (int i = 0; i < SLOT_COUNT && l->unproved > 0; i++) {
        struct ledger_slot *s = &l->slots[i];
        if (s->state == LEDGER_PROVED || s->settled.boot_us >= passed.boot_us) continue;
        *s = proved_slot();
        l->unproved--;
    }
    size_t left = 0;
    for (size_t i = 0; i < l->n_dbs; i++)
        if (l->dbs[i].settled.boot_us >= passed.boot_us) l->dbs[left++] = l->dbs[i];
    l->n_dbs = left;
    return ledger_is_proved(l);
}

/* ---- asking ---- */

enum ledger_state ledger_state_of(const struct ledger *l, uint16_t slot) {
    return (enum ledger_state)l->slots[slot].state;
}

struct slot_set ledger_slots_in(const struct ledger *l, enum ledger_state state) {
    struct slot_set slots = { 0 };
    for (int i = 0; i < SLOT_COUNT; i++)
        if (l->slots[i].state == state) slot_set_add(&slots, (uint16_t)i);
    return slots;
}

bool ledger_is_proved(const struct ledger *l) {
    return l->unproved == 0 && l->n_dbs == 0;
}

bool ledger_are_proved(const struct ledger *l, const struct slot_set *slots) {
    for (int i = 0; i < SLOT_COUNT && l->unproved > 0; i++)
        if (l->slots[i].state != LEDGER_PROVED && slot_set_has(slots, (uint16_t)i)) return false;
    return l->n_dbs == 0;
}

struct moment ledger_since(struct ledger *l) {
    ledger_refresh(l);
    return l->oldest;
}

struct moment ledger_changes_since(struct ledger *l) {
    ledger_refresh(l);
    return l->oldest_changes;
}

bool ledger_first_copy_goes_on(const struct ledger *l) {
    for (int i = 0; i < SLOT_COUNT && l->unproved > 0; i++)
        if (l->slots[i].first_copy) return true;
    return false;
}

/* How many causes of slots have an older gap than this one, or as old and a smaller number. */
static size_t ledger_rank(const struct ledger_view *views, size_t n, size_t i) {
    size_t rank = 0;
    for (size_t k = 0; k < n; k++) {
        bool older = views[k].since.boot_us < views[i].since.boot_us;
        bool equal = views[k].since.boot_us == views[i].since.boot_us;
        rank += views[k].slots > 0 && (older || (equal && k < i));
    }
    return rank;
}

static void ledger_collect(const struct ledger *l, struct ledger_view *views) {
    for (size_t i = 0; i < l->n_causes; i++)
        views[i] = (struct ledger_view){ MOMENT_NONE, 0, l->causes[i].place, l->causes[i].why };
    for (int i = 0; i < SLOT_COUNT && l->unproved > 0; i++) {
        const struct ledger_slot *s = &l->slots[i];
        if (s->state == LEDGER_PROVED) continue;
        views[s->cause].since = moment_older(views[s->cause].since, s->since);
        views[s->cause].slots++;
    }
}

bool ledger_explain(const struct ledger *l, size_t i, struct ledger_view *view) {
    struct ledger_view *views = mem_array(NULL, l->n_causes + 1, sizeof(*views));
    size_t used = 0;
    bool found = false;
    ledger_collect(l, views);
    for (size_t k = 0; k < l->n_causes; k++) {
        if (views[k].slots == 0) continue;
        used++;
        if (ledger_rank(views, l->n_causes, k) != i) continue;
        *view = views[k];
        found = true;
    }
    free(views);
    if (!found && i >= used && i - used < l->n_dbs) {
        *view = (struct ledger_view){ l->dbs[i - used].since, SLOT_COUNT, "source",
                                      "a database came into use" };
        found = true;
    }
    return found;
}
