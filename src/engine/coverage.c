/* Scan passes: which nodes to scan, what a finished scan proves, what must be scanned again. See
 * replicate.h.
 *
 *   control: pass_start ──post──▶ worker: scan ... scan ends ──post──▶ control: pass_judge ─▶ slots covered, or not
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/replicate_priv.h"
#include "live/live.h"

/* ---- on the worker's thread ---- */

static void pass_ended(struct pass *pass, enum scan_end end, const struct err *err) {
    struct job *job = pass->job;
    pass->end = end;
    if (err != NULL) pass->err = *err;
    if (pass->scan != NULL) atomic_fetch_add(&job->scan_reconnects, scan_reconnects(pass->scan));
    scan_free(&pass->scan);
    loop_timer_free(&pass->pause);
    pthread_mutex_lock(&job->lock);
    pass->next_ended = job->ended;
    job->ended = pass;
    pthread_mutex_unlock(&job->lock);
    job_wake(job);
}

static void start_scan(struct pass *pass);

static void on_scan_end(void *ctx, enum scan_end end, const struct err *err) {
    struct pass *pass = ctx;
    if (end == SCAN_COMPLETE && pass->coverage->backward &&
        pass->type + 1 < pass->job->settings->filter->n_types) {
        pass->type++; /* SCAN takes one type at a time */
        scan_free(&pass->scan);
        start_scan(pass);
        return;
    }
    if (err == NULL) {
        pass_ended(pass, end, NULL);
        return;
    }
    struct err copy = *err;
    pass_ended(pass, end, &copy);
}

static void on_abort(void *ctx) {
    struct pass *pass = ctx;
    if (pass->scan != NULL) pass_ended(pass, SCAN_NODE_CHANGED, NULL);
}

static bool on_may_continue(void *ctx) {
    struct pass *pass = ctx;
    struct job *job = pass->job;
    uint64_t bytes_high = job->settings->buffer_bytes / 4 / (uint64_t)job->n_workers + 1;
    for (int i = 0; i < job->n_workers; i++) {
        const struct copy_stats *stats = lane_stats(worker_lane(job->workers[i]));
        uint64_t in_flight = stat_get(&stats->in_flight);
        bool queue_is_high = stat_get(&stats->waiting) >= in_flight + JOB_QUEUE_HIGH;
        if (!queue_is_high && stat_get(&stats->waiting_bytes) < bytes_high) continue;
        loop_timer_start(pass->pause, JOB_PAUSE_MS);
        return false;
    }
    return true;
}

static void on_pause_over(void *ctx) {
    struct pass *pass = ctx;
    if (pass->scan != NULL) scan_resume(pass->scan);
}

static enum key_reason pass_reason(const struct pass *pass, uint16_t slot) {
    if (pass->coverage->backward) return REASON_IF_MISSING;
    if (pass->coverage->streams) return REASON_GROUPS;
    return slot_set_has(&pass->whole, slot) ? REASON_RESYNC : REASON_IF_USED;
}

/* Everything before it has been named. */
static void note_cursor(struct pass *pass) {
    struct job *job = pass->job;
    pthread_mutex_lock(&job->lock);
    snprintf(pass->cursor, sizeof(pass->cursor), "%s", scan_cursor(pass->scan));
    snprintf(pass->run_id, sizeof(pass->run_id), "%s", scan_run_id(pass->scan));
    pthread_mutex_unlock(&job->lock);
}

static void on_keys(void *ctx, const struct bytes *keys, size_t n) {
    struct pass *pass = ctx;
    struct job *job = pass->job;
    struct naming naming;
    uint64_t named = 0, guarded = 0;
    naming_begin(&naming, job, pass->worker, pass->db);
    for (size_t i = 0; i < n; i++) {
        uint16_t slot = slot_of_key(keys[i]);
        /* Left behind by a target that restarted with old data. */
        if (pass->coverage->backward && key_is_temporary(keys[i]))
            naming_add(&naming, keys[i], slot, REASON_DELETE);
        if (!slot_set_has(&pass->slots, slot) ||
            !key_filter_wants(job->settings->filter, keys[i], slot))
            continue;
        named++;
        guarded += slot_set_has(&pass->whole, slot);
        naming_add(&naming, keys[i], slot, pass_reason(pass, slot));
    }
    naming_end(&naming);
    if (job->live != NULL) note_cursor(pass);
    if (pass->coverage->backward) {
        atomic_fetch_add_explicit(&job->looked_at, named, memory_order_relaxed);
        atomic_fetch_add_explicit(&job->looked_guarded, guarded, memory_order_relaxed);
    } else if (!pass->coverage->streams) {
        atomic_fetch_add_explicit(&job->scanned, named, memory_order_relaxed);
    }
}

/* Of the target only keys of these types are the job's; the source's are asked for their type,
 * where SCAN does not do it. */
static const char *type_of(const struct pass *pass) {
    const struct key_filter *filter = pass->job->settings->filter;
    if (pass->coverage->streams) return "stream";
    if (filter->n_types == 0) return NULL;
    if (pass->coverage->backward) return filter->types[pass->type];
    return filter->n_types == 1 && !pass->job->plan.typed ? filter->types[0] : NULL;
}

static void start_scan(struct pass *pass) {
    static const struct scan_events events = { on_keys, on_may_continue, on_scan_end };
    const struct replicate_settings *settings = pass->job->settings;
    const struct key_filter *filter = settings->filter;
    struct scan_settings scan = { .client = pass->client,
                                  .db = pass->scan_db,
                                  .count = settings->scan_count,
                                  .match = filter->pattern,
                                  .type = type_of(pass),
                                  .sleep_ms = settings->sleep_ms,
                                  .cursor = pass->start_cursor,
                                  .run_id = pass->start_run_id };
    pass->scan = scan_start(worker_loop(pass->worker), &scan, &events, pass);
}

static void on_start(void *ctx) {
    struct pass *pass = ctx;
    pass->pause = loop_timer_new(worker_loop(pass->worker), on_pause_over, pass);
    start_scan(pass);
}

/* ---- on the control thread ---- */

/* Slots of this node that are being moved right now; false when it cannot be asked. */
static bool open_slots(const struct coverage *c, const struct address *node,
                       struct slot_set *open) {
    *open = (struct slot_set){ 0 };
    if (!deployment_is_cluster(c->side)) return true;
    struct err err;
    struct call_reply reply;
    struct client *client = deployment_call_open(c->side, node, &err);
    if (client == NULL) return false;
    bool ok = call_ok(c->job->loop, client, deployment_reply_timeout_ms(c->side), &reply, &err,
                      "CLUSTER NODES");
    if (ok) topology_open_slots(reply.item.str, open, open);
    if (ok) call_reply_fini(&reply);
    client_close(&client);
    return ok;
}

static size_t db_index(const struct job *job, int db) {
    size_t i = 0;
    while (job->result->dbs[i] != db) i++;
    return i;
}

/* ---- what is to be covered ---- */

void coverage_init(struct coverage *c, struct job *job, enum coverage_kind kind) {
    *c = (struct coverage){ .job = job,
                            .side = kind == COVERAGE_BACKWARD ? job->target : job->source,
                            .kind = kind,
                            .backward = kind == COVERAGE_BACKWARD,
                            .streams = kind == COVERAGE_STREAMS };
}

static struct slot_set *grown(struct slot_set *sets, size_t from, size_t to) {
    sets = mem_array(sets, to, sizeof(*sets));
    memset(sets + from, 0, (to - from) * sizeof(*sets));
    return sets;
}

/* Databases may be added while the job runs. */
static void coverage_reserve(struct coverage *c) {
    size_t n = c->job->result->n_dbs;
    if (n <= c->dbs_cap) return;
    c->uncovered = grown(c->uncovered, c->dbs_cap, n);
    c->whole = grown(c->whole, c->dbs_cap, n);
    c->again = grown(c->again, c->dbs_cap, n);
    c->again_whole = grown(c->again_whole, c->dbs_cap, n);
    c->dbs_cap = n;
}

static void free_passes(struct pass *list) {
    while (list != NULL) {
        struct pass *next = list->next;
        free(list);
        list = next;
    }
}

static void coverage_fini(struct coverage *c) {
    free(c->uncovered);
    free(c->whole);
    free(c->again);
    free(c->again_whole);
    free_passes(c->passes); /* of a job that was broken off */
    c->passes = NULL;
}

void passes_fini(struct job *job) {
    coverage_fini(&job->forward);
    coverage_fini(&job->backward);
    coverage_fini(&job->streams);
    free_passes(job->over);
}

struct slot_set job_slots(const struct job *job) {
    struct slot_set all = { 0 };
    slot_set_add_range(&all, 0, SLOT_COUNT - 1);
    return job->settings->filter->slots != NULL ? *job->settings->filter->slots : all;
}

/* Where a pass is running it goes on, and another one follows it. */
static void open_in_database(struct coverage *c, size_t index, const struct slot_set *slots,
                             bool whole) {
    struct slot_set mine = job_slots(c->job), wanted = slot_set_common(slots, &mine);
    for (struct pass *p = c->passes; p != NULL; p = p->next) {
        if (p->db != c->job->result->dbs[index]) continue;
        struct slot_set running = slot_set_common(&wanted, &p->slots);
        slot_set_unite(&c->again[index], &running);
        if (whole) slot_set_unite(&c->again_whole[index], &running);
        slot_set_subtract(&wanted, &running);
    }
    slot_set_unite(&c->uncovered[index], &wanted);
    if (whole) slot_set_unite(&c->whole[index], &wanted);
}

void coverage_open(struct coverage *c, int db_index, const struct slot_set *slots, bool whole) {
    coverage_reserve(c);
    for (size_t i = 0; i < c->job->result->n_dbs; i++)
        if (db_index < 0 || (size_t)db_index == i) open_in_database(c, i, slots, whole);
}

unsigned coverage_left(const struct coverage *c) {
    unsigned left = 0;
    for (size_t i = 0; i < c->dbs_cap; i++) left += slot_set_count(&c->uncovered[i]);
    return left;
}

struct slot_set coverage_open_slots(const struct coverage *c) {
    struct slot_set open = { 0 };
    for (size_t i = 0; i < c->dbs_cap; i++) {
        slot_set_unite(&open, &c->uncovered[i]);
        slot_set_unite(&open, &c->again[i]);
    }
    return open;
}

bool coverage_is_complete(const struct coverage *c) {
    return c->passes == NULL && coverage_left(c) == 0;
}

/* ---- starting and judging ---- */

static struct pass *pass_of_node(struct coverage *c, const struct address *primary) {
    for (struct pass *p = c->passes; p != NULL; p = p->next)
        if (address_equal(&p->primary, primary)) return p;
    return NULL;
}

static bool start_pass(struct coverage *c, const struct topology *t, int node, size_t index) {
    struct job *job = c->job;
    struct slot_set slots = { 0 };
    for (int s = 0; s < SLOT_COUNT; s++)
        if (t->owner[s] == node && slot_set_has(&c->uncovered[index], (uint16_t)s))
            slot_set_add(&slots, (uint16_t)s);
    if (slot_set_count(&slots) == 0) return false;
    struct pass *pass = mem_zalloc(sizeof(*pass));
    struct slot_set open;
    int target_db = job->result->target_db;
    pass->coverage = c;
    pass->job = job;
    pass->worker = job->workers[job->next_worker++ % (unsigned)job->n_workers];
    pass->primary = t->nodes[node].address;
    pass->client = deployment_client_settings(c->side, &t->nodes[t->nodes[node].reader].address);
    pass->db = job->result->dbs[index];
    pass->scan_db = c->backward && target_db >= 0 ? target_db : pass->db;
    pass->slots = pass->undisturbed = slots;
    pass->whole = slot_set_common(&slots, &c->whole[index]);
    if (open_slots(c, &pass->primary, &open)) slot_set_subtract(&pass->undisturbed, &open);
    if (job->live != NULL && c->kind == COVERAGE_FORWARD)
        live_pass_begins(job->live, pass, &c->again[index]);
    pass->next = c->passes;
    c->passes = pass;
    loop_post(worker_loop(pass->worker), on_start, pass);
    return true;
}

/* These slots are done with, but for what opened behind the pass. */
static void coverage_close(struct coverage *c, size_t index, const struct slot_set *proved) {
    struct slot_set again = slot_set_common(&c->again[index], proved);
    struct slot_set closed = *proved;
    slot_set_subtract(&c->whole[index], proved);
    slot_set_subtract(&closed, &again);
    slot_set_subtract(&c->uncovered[index], &closed);
}

/* What opened behind a pass is open now. */
static void coverage_take_again(struct coverage *c, const struct pass *pass, size_t index) {
    struct slot_set again = slot_set_common(&c->again[index], &pass->slots);
    struct slot_set whole = slot_set_common(&c->again_whole[index], &pass->slots);
    slot_set_unite(&c->uncovered[index], &again);
    slot_set_unite(&c->whole[index], &whole);
    slot_set_subtract(&c->again[index], &pass->slots);
    slot_set_subtract(&c->again_whole[index], &pass->slots);
}

/* What a complete scan proves: the slots that stayed, and are not being moved now. */
static void pass_judge(struct coverage *c, struct pass *pass) {
    struct job *job = c->job;
    size_t index = db_index(job, pass->db);
    char where[ADDRESS_HOST_MAX + 32];
    address_format(&pass->primary, where, sizeof(where));
    if (pass->end == SCAN_FAILED) {
        job_fail(job, &pass->err);
    } else if (pass->end == SCAN_NODE_CHANGED) {
        job->result->scan_restarts++;
        if (pass->err.code != ERR_NONE) log_warn(pass->err.place, "%s", pass->err.text);
        atomic_store(c->backward ? &job->want_target : &job->want_source, true);
    } else {
        struct slot_set open;
        if (open_slots(c, &pass->primary, &open)) {
            slot_set_subtract(&pass->undisturbed, &open);
            coverage_close(c, index, &pass->undisturbed);
        }
        log_debug(where, "database %d is scanned, %u of %u slots proved", pass->scan_db,
                  slot_set_count(&pass->undisturbed), slot_set_count(&pass->slots));
        if (slot_set_count(&pass->undisturbed) < slot_set_count(&pass->slots))
            job->result->scan_restarts++;
    }
    coverage_take_again(c, pass, index);
}

static void passes_remove(struct coverage *c, struct pass *pass) {
    for (struct pass **p = &c->passes; *p != NULL; p = &(*p)->next) {
        if (*p != pass) continue;
        *p = pass->next;
        return;
    }
}

/* The picture that a judgement rests on must be newer than the scan's last page. */
static bool judge_freshly(struct coverage *c, const struct pass *ended) {
    bool any = false;
    for (const struct pass *p = ended; p != NULL; p = p->next_ended) any = any || p->coverage == c;
    if (!any || !deployment_is_cluster(c->side)) return true;
    struct err err;
    uint64_t *epoch = c->backward ? &c->job->target_epoch : &c->job->source_epoch;
    bool fresh = deployment_refresh(c->side, &err);
    if (fresh && deployment_epoch(c->side) != *epoch) coverage_topology_changed(c);
    return fresh;
}

void passes_judge(struct job *job) {
    pthread_mutex_lock(&job->lock);
    struct pass *ended = job->ended;
    job->ended = NULL;
    pthread_mutex_unlock(&job->lock);
    if (ended == NULL) return;
    /* Once it is set nobody posts an abort any more; one that is on its way already still needs the
     * pass. */
    for (struct pass *p = ended; p != NULL; p = p->next_ended)
        p->keep = atomic_exchange(&p->aborted, true);
    bool fresh[] = { [COVERAGE_FORWARD] = judge_freshly(&job->forward, ended),
                     [COVERAGE_BACKWARD] = judge_freshly(&job->backward, ended),
                     [COVERAGE_STREAMS] = judge_freshly(&job->streams, ended) };
    for (struct pass *next; ended != NULL; ended = next) {
        struct coverage *c = ended->coverage;
        next = ended->next_ended;
        if (!fresh[c->kind] && ended->end == SCAN_COMPLETE) ended->end = SCAN_NODE_CHANGED;
        pass_judge(c, ended);
        passes_remove(c, ended);
        if (!ended->keep && (c->backward || slot_set_count(&ended->whole) == 0)) {
            free(ended);
            continue;
        }
        ended->next = job->over;
        job->over = ended;
    }
}

void coverage_topology_changed(struct coverage *c) {
    struct topology *t = deployment_topology(c->side);
    for (struct pass *pass = c->passes; pass != NULL; pass = pass->next) {
        int node = topology_find(t, &pass->primary);
        bool primary = node >= 0 && topology_is_primary(t, node);
        for (int s = 0; s < SLOT_COUNT; s++)
            if (!primary || t->owner[s] != node) slot_set_remove(&pass->undisturbed, (uint16_t)s);
        if (!primary && !atomic_exchange(&pass->aborted, true))
            loop_post(worker_loop(pass->worker), on_abort, pass);
    }
    topology_unref(&t);
}

/* Is any of the slots still to be scanned being moved? Then nothing is started: its keys are on two
 * nodes. */
static bool must_wait_for_moves(struct coverage *c, const struct topology *t) {
    struct job *job = c->job;
    if (!t->cluster || job->result->scan_restarts == 0) return false;
    int64_t now_ms = clock_mono_ms();
    if (now_ms < c->open_slots_at_ms) return true;
    unsigned moving = 0;
    for (int i = 0; i < t->n_nodes; i++) {
        struct slot_set open;
        if (!topology_is_primary(t, i) || !open_slots(c, &t->nodes[i].address, &open)) continue;
        for (size_t d = 0; d < c->dbs_cap; d++) {
            struct slot_set both = slot_set_common(&open, &c->uncovered[d]);
            moving += slot_set_count(&both);
        }
    }
    if (moving == 0) {
        c->open_slots_told = false;
        return false;
    }
    const char *side = deployment_role(c->side);
    if (!c->open_slots_told) c->open_slots_since_ms = now_ms;
    int64_t limit_ms = job->settings->copy.outage_timeout_ms,
            waited_ms = now_ms - c->open_slots_since_ms;
    if (limit_ms > 0 && waited_ms >= limit_ms) {
        struct err err;
        err_set(
            &err, ERR_OUTAGE, side,
            "%u slots have been between two nodes for %lld s, longer than --outage-timeout allows; "
            "finish their move, or undo it with CLUSTER SETSLOT ... STABLE",
            moving, (long long)waited_ms / 1000);
        job_fail(job, &err);
    }
    if (!c->open_slots_told)
        log_info(side,
                 "slots are being moved between nodes; their keys are scanned when that is over");
    c->open_slots_told = true;
    c->open_slots_at_ms = now_ms + JOB_OPEN_SLOT_MS;
    atomic_store(c->backward ? &job->want_target : &job->want_source, true);
    return true;
}

/* True when a pass runs or something is left to scan. */
static bool start_missing(struct coverage *c) {
    struct job *job = c->job;
    bool left = coverage_left(c) > 0;
    if (!left && c->passes == NULL) return false;
    struct topology *t = deployment_topology(c->side);
    bool wait = left && c->passes == NULL && must_wait_for_moves(c, t);
    bool started = false, unheard = false;
    for (int i = 0; i < t->n_nodes && left && !wait; i++) {
        if (!topology_is_primary(t, i) || pass_of_node(c, &t->nodes[i].address) != NULL) continue;
        if (!c->backward && job->live != NULL && !live_hears(job->live, &t->nodes[i].address)) {
            unheard = true;
            continue;
        }
        for (size_t d = 0; d < c->dbs_cap; d++) {
            if (!start_pass(c, t, i, d)) continue;
            started = true;
            break;
        }
    }
    /* Slots that nobody owns hold no keys that could be read. */
    bool orphans_only = left && !wait && !started && !unheard && c->passes == NULL;
    if (orphans_only && job->live == NULL)
        log_warn("source", "some slots of the cluster have no owner; nothing can be read there");
    topology_unref(&t);
    return (left && (!orphans_only || job->live != NULL)) || c->passes != NULL;
}

bool coverage_step(struct coverage *c) {
    passes_judge(c->job);
    return !start_missing(c);
}

void coverage_abort(struct coverage *c) {
    for (struct pass *pass = c->passes; pass != NULL; pass = pass->next)
        if (!atomic_exchange(&pass->aborted, true))
            loop_post(worker_loop(pass->worker), on_abort, pass);
}
