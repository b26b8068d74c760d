/* See coverage.h. Passes live on a worker's loop and are judged by the control thread. */
#include "engine/coverage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine_priv.h"
#include "engine/pass.h"

enum { COVERAGE_MOVING_MS = 300 /* between two questions about slots that are being moved */ };

/* ---- slots that are to be scanned ---- */

void coverage_init(struct coverage *c, struct engine *e, enum coverage_kind kind) {
    *c =
        (struct coverage){ .engine = e,
                           .side = kind == COVERAGE_SWEEP ? e->settings.target : e->settings.source,
                           .kind = kind };
}

struct coverage *engine_coverage(struct engine *e, enum coverage_kind kind) {
    return &e->coverages[kind];
}

void coverage_set_rules(struct coverage *c, const struct coverage_rules *rules) {
    c->rules = *rules;
}

static struct slot_set *coverage_grow(struct slot_set *sets, size_t from, size_t to) {
    sets = mem_array(sets, to, sizeof(*sets));
    memset(sets + from, 0, (to - from) * sizeof(*sets));
    return sets;
}

/* Databases may be added while the engine runs. */
static void coverage_reserve(struct coverage *c) {
    size_t n = c->engine->n_dbs;
    if (n <= c->dbs_cap) return;
    c->open = coverage_grow(c->open, c->dbs_cap, n);
    c->whole = coverage_grow(c->whole, c->dbs_cap, n);
    c->dbs_cap = n;
}

void coverage_fini(struct coverage *c) {
    free(c->open);
    free(c->whole);
    passes_free(c->passes); /* of a job that was broken off */
    c->passes = NULL;
}

void coverage_open(struct coverage *c, int db, const struct slot_set *slots, bool whole) {
    coverage_reserve(c);
    for (size_t i = 0; i < c->engine->n_dbs; i++) {
        if (db != COVERAGE_ALL_DATABASES && c->engine->dbs[i] != db) continue;
        slot_set_unite(&c->open[i], slots);
        if (whole) slot_set_unite(&c->whole[i], slots);
    }
}

struct slot_set coverage_pending(const struct coverage *c, int db) {
    struct slot_set pending = { 0 };
    for (size_t i = 0; i < c->dbs_cap; i++)
        if (db == COVERAGE_ALL_DATABASES || c->engine->dbs[i] == db)
            slot_set_unite(&pending, &c->open[i]);
    for (const struct pass *p = c->passes; p != NULL; p = p->next)
        if (db == COVERAGE_ALL_DATABASES || p->db == db) slot_set_unite(&pending, &p->slots);
    return pending;
}

static unsigned coverage_left(const struct coverage *c) {
    unsigned left = 0;
    for (size_t i = 0; i < c->dbs_cap; i++) left += slot_set_count(&c->open[i]);
    return left;
}

bool coverage_is_complete(const struct coverage *c) {
    return c->passes == NULL && coverage_left(c) == 0;
}

/* ---- starting ---- */

/* Slots of this node that are being moved right now; false when it cannot be asked. */
static bool coverage_moving_slots(const struct coverage *c, const struct address *node,
                                  struct slot_set *moving) {
    *moving = (struct slot_set){ 0 };
    if (!deployment_is_cluster(c->side)) return true;
    struct err err;
    struct call_reply reply;
    struct client *client = deployment_call_open(c->side, node, &err);
    if (client == NULL) return false;
    bool ok = call_ok(c->engine->loop, client, deployment_reply_timeout_ms(c->side), &reply, &err,
                      "CLUSTER NODES");
    if (ok) topology_open_slots(reply.item.str, moving, moving);
    if (ok) call_reply_fini(&reply);
    client_close(&client);
    return ok;
}

static struct pass *coverage_pass_of(struct coverage *c, const struct address *primary) {
    for (struct pass *p = c->passes; p != NULL; p = p->next)
        if (address_equal(&p->primary, primary)) return p;
    return NULL;
}

/* A pass that goes on with one of a former run is followed by another one, over the keys in use. */
static void coverage_resume_pass(struct coverage *c, struct pass *pass, size_t index) {
    struct pass_start start = { 0 };
    struct pass_view view = pass_view_of(pass);
    if (c->rules.starts_at == NULL || slot_set_count(&pass->whole) == 0) return;
    if (!c->rules.starts_at(c->rules.ctx, &view, &start)) return;
    if (start.copied) {
        pass->whole = (struct slot_set){ 0 };
        return;
    }
    memcpy(pass->start_cursor, start.cursor, sizeof(pass->start_cursor));
    memcpy(pass->start_run_id, start.run_id, sizeof(pass->start_run_id));
    slot_set_unite(&c->open[index], &pass->slots);
}

static bool coverage_start_pass(struct coverage *c, const struct topology *t, int node,
                                size_t index) {
    struct engine *e = c->engine;
    struct slot_set slots = { 0 }, moving;
    for (int s = 0; s < SLOT_COUNT; s++)
        if (t->owner[s] == node && slot_set_has(&c->open[index], (uint16_t)s))
            slot_set_add(&slots, (uint16_t)s);
    if (slot_set_count(&slots) == 0) return false;
    int target_db = e->settings.target_db, db = e->dbs[index];
    struct pass *pass = pass_new(c, &t->nodes[node].address, &slots);
    pass->client = deployment_client_settings(c->side, &t->nodes[t->nodes[node].reader].address);
    pass->db = db;
    pass->scan_db = c->kind == COVERAGE_SWEEP && target_db >= 0 ? target_db : db;
    pass->whole = slot_set_common(&slots, &c->whole[index]);
    bool told = coverage_moving_slots(c, &pass->primary, &moving);
    slot_set_subtract(&pass->undisturbed, told ? &moving : &slots);
    slot_set_subtract(&c->open[index], &slots);
    slot_set_subtract(&c->whole[index], &slots);
    coverage_resume_pass(c, pass, index);
    pass->next = c->passes;
    c->passes = pass;
    pass_start_on_worker(pass);
    return true;
}

/* Of the slots that are to be scanned: how many are being moved between two nodes. Both of them
 * tell. */
static unsigned coverage_count_moving(struct coverage *c, const struct topology *t) {
    struct slot_set moving = { 0 }, open = { 0 };
    for (int i = 0; i < t->n_nodes; i++) {
        struct slot_set set;
        if (topology_is_primary(t, i) && coverage_moving_slots(c, &t->nodes[i].address, &set))
            slot_set_unite(&moving, &set);
    }
    for (size_t d = 0; d < c->dbs_cap; d++) slot_set_unite(&open, &c->open[d]);
    moving = slot_set_common(&moving, &open);
    return slot_set_count(&moving);
}

static void coverage_tell_moving(struct coverage *c, unsigned moving) {
    int64_t now_ms = clock_mono_ms(), limit_ms = c->engine->settings.outage_timeout_ms;
    const char *side = deployment_role(c->side);
    if (!c->moving_told) c->moving_since_ms = now_ms;
    int64_t waited_ms = now_ms - c->moving_since_ms;
    if (limit_ms > 0 && waited_ms >= limit_ms) {
        struct err err;
        err_set(&err, ERR_OUTAGE, side,
                "%u slots have been between two nodes for %lld s, longer than --outage-timeout "
                "allows; finish their move, or undo it with CLUSTER SETSLOT ... STABLE",
                moving, (long long)waited_ms / 1000);
        engine_fail(c->engine, &err);
    }
    if (!c->moving_told)
        log_info(side, "slots are being moved between nodes; they are scanned once resharding of "
                       "them is over");
    c->moving_told = true;
    c->moving_checked_ms = now_ms;
    engine_want_refresh(c->engine, c->kind != COVERAGE_SWEEP);
}

/* While a slot that is to be scanned is being moved nothing is started: its keys are on two
 * nodes. */
static bool coverage_waits_for_moves(struct coverage *c, const struct topology *t) {
    if (!t->cluster || c->engine->scan_restarts == 0) return false;
    if (c->moving_told && clock_mono_ms() < c->moving_checked_ms + COVERAGE_MOVING_MS) return true;
    unsigned moving = coverage_count_moving(c, t);
    if (moving > 0) {
        coverage_tell_moving(c, moving);
        return true;
    }
    c->moving_told = false;
    return false;
}

struct started {
    bool any, not_allowed;
};

static struct started coverage_start_passes(struct coverage *c, const struct topology *t) {
    struct started started = { 0 };
    for (int i = 0; i < t->n_nodes; i++) {
        const struct address *primary = &t->nodes[i].address;
        if (!topology_is_primary(t, i) || coverage_pass_of(c, primary) != NULL) continue;
        if (c->rules.may_scan != NULL && !c->rules.may_scan(c->rules.ctx, primary)) {
            started.not_allowed = true;
            continue;
        }
        for (size_t d = 0; d < c->dbs_cap; d++) {
            if (!coverage_start_pass(c, t, i, d)) continue;
            started.any = true;
            break;
        }
    }
    return started;
}

/* True when a pass runs or something is left to scan. */
static bool coverage_start_missing(struct coverage *c) {
    bool left = coverage_left(c) > 0, wait = false, live = c->engine->settings.live;
    struct started started = { 0 };
    if (!left) return c->passes != NULL;
    struct topology *t = deployment_topology(c->side);
    if (c->passes == NULL) wait = coverage_waits_for_moves(c, t);
    if (!wait) started = coverage_start_passes(c, t);
    topology_unref(&t);
    if (c->passes != NULL || wait || started.any || started.not_allowed || live) return true;
    /* Slots that nobody owns hold no keys that could be read. */
    log_warn("source", "some slots of the cluster have no owner; nothing can be read there");
    return false;
}

/* ---- judging ---- */

static size_t coverage_database_index(const struct engine *e, int db) {
    size_t i = 0;
    while (e->dbs[i] != db) i++;
    return i;
}

/* Slots of a pass that it does not prove are to be scanned again, as they were to be before. */
static void coverage_reopen(struct coverage *c, const struct pass *pass,
                            const struct slot_set *proved) {
    size_t index = coverage_database_index(c->engine, pass->db);
    struct slot_set left = pass->slots;
    slot_set_subtract(&left, proved);
    slot_set_unite(&c->open[index], &left);
    struct slot_set whole = slot_set_common(&left, &pass->whole);
    slot_set_unite(&c->whole[index], &whole);
    if (slot_set_count(&left) > 0) c->engine->scan_restarts++;
}

/* A complete scan proves the slots that stayed and are not being moved now. */
static void coverage_judge_pass(struct coverage *c, struct pass *pass) {
    struct slot_set proved = { 0 }, moving;
    char where[ADDRESS_HOST_MAX + 32];
    address_format(&pass->primary, where, sizeof(where));
    if (pass->end == SCAN_FAILED) {
        engine_fail(c->engine, &pass->err);
    } else if (pass->end == SCAN_NODE_CHANGED) {
        if (pass->err.code != ERR_NONE) log_warn(pass->err.place, "%s", pass->err.text);
        engine_want_refresh(c->engine, c->kind != COVERAGE_SWEEP);
    } else if (coverage_moving_slots(c, &pass->primary, &moving)) {
        proved = pass->undisturbed;
        slot_set_subtract(&proved, &moving);
        log_debug(where, "database %d is scanned, %u of %u slots proved", pass->scan_db,
                  slot_set_count(&proved), slot_set_count(&pass->slots));
    }
    coverage_reopen(c, pass, &proved);
}

static void coverage_remove_pass(struct coverage *c, struct pass *pass) {
    for (struct pass **p = &c->passes; *p != NULL; p = &(*p)->next) {
        if (*p != pass) continue;
        *p = pass->next;
        return;
    }
}

/* The topology that a judgement rests on must be newer than the scan's last page. */
static bool coverage_refresh_for(struct coverage *c, const struct pass *ended) {
    bool any = false, source = c->kind != COVERAGE_SWEEP;
    for (const struct pass *p = ended; p != NULL; p = p->next_ended) any = any || p->coverage == c;
    if (!any || !deployment_is_cluster(c->side)) return true;
    struct err err;
    bool fresh = deployment_refresh(c->side, &err);
    if (fresh && deployment_epoch(c->side) != c->engine->adopted[source])
        coverage_topology_changed(c);
    return fresh;
}

static void coverage_keep_or_free(struct engine *e, struct pass *pass) {
    bool cursor_is_of_use =
        pass->coverage->kind == COVERAGE_FORWARD && slot_set_count(&pass->whole) > 0;
    if (!pass->abort_posted && !cursor_is_of_use) {
        pass_free(&pass);
        return;
    }
    pass->next = e->over;
    e->over = pass;
}

void coverage_judge_ended(struct engine *e) {
    pthread_mutex_lock(&e->lock);
    struct pass *ended = e->ended;
    e->ended = NULL;
    pthread_mutex_unlock(&e->lock);
    if (ended == NULL) return;
    /* Once aborted is set nobody posts an abort any more; one that is on its way already still
     * needs the pass. */
    for (struct pass *p = ended; p != NULL; p = p->next_ended)
        p->abort_posted = atomic_exchange(&p->aborted, true);
    bool fresh[COVERAGE_KINDS];
    for (int kind = 0; kind < COVERAGE_KINDS; kind++)
        fresh[kind] = coverage_refresh_for(&e->coverages[kind], ended);
    for (struct pass *next; ended != NULL; ended = next) {
        struct coverage *c = ended->coverage;
        next = ended->next_ended;
        if (!fresh[c->kind] && ended->end == SCAN_COMPLETE) ended->end = SCAN_NODE_CHANGED;
        coverage_judge_pass(c, ended);
        coverage_remove_pass(c, ended);
        coverage_keep_or_free(e, ended);
    }
}

void coverage_topology_changed(struct coverage *c) {
    struct topology *t = deployment_topology(c->side);
    for (struct pass *pass = c->passes; pass != NULL; pass = pass->next) {
        int node = topology_find(t, &pass->primary);
        bool primary = node >= 0 && topology_is_primary(t, node);
        for (int s = 0; s < SLOT_COUNT; s++)
            if (!primary || t->owner[s] != node) slot_set_remove(&pass->undisturbed, (uint16_t)s);
        if (!primary) pass_abort(pass);
    }
    topology_unref(&t);
}

bool coverage_step(struct coverage *c) {
    coverage_judge_ended(c->engine);
    return !coverage_start_missing(c);
}

void coverage_abort(struct coverage *c) {
    for (struct pass *pass = c->passes; pass != NULL; pass = pass->next) pass_abort(pass);
}

void coverage_each_pass(struct engine *e, void (*fn)(void *ctx, const struct pass_view *pass),
                        void *ctx) {
    pthread_mutex_lock(&e->lock);
    const struct coverage *c = &e->coverages[COVERAGE_FORWARD];
    for (const struct pass *p = c->passes; p != NULL; p = p->next) {
        struct pass_view view = pass_view_of(p);
        fn(ctx, &view);
    }
    for (const struct pass *p = e->over; p != NULL; p = p->next) {
        struct pass_view view = pass_view_of(p);
        if (p->coverage == c && p->end == SCAN_COMPLETE) fn(ctx, &view);
    }
    pthread_mutex_unlock(&e->lock);
}
