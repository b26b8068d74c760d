/* Scan passes: which nodes to scan, what a finished scan proves, what must be scanned again. See replicate.h.
 *
 *   control: pass_start ──post──▶ worker: scan ... scan ends ──post──▶ control: pass_judge ─▶ slots covered, or not
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/replicate_priv.h"

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

static void on_scan_end(void *ctx, enum scan_end end, const struct err *err) {
    struct pass *pass = ctx;
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
        if (stat_get(&stats->waiting) < JOB_QUEUE_HIGH && stat_get(&stats->waiting_bytes) < bytes_high) continue;
        loop_timer_start(pass->pause, JOB_PAUSE_MS);
        return false;
    }
    return true;
}

static void on_pause_over(void *ctx) {
    struct pass *pass = ctx;
    if (pass->scan != NULL) scan_resume(pass->scan);
}

/* Names for other workers travel in one batch per worker and page. */
static void on_keys(void *ctx, const struct bytes *keys, size_t n) {
    struct pass *pass = ctx;
    struct job *job = pass->job;
    struct name_batch *batches[JOB_THREADS_MAX] = { NULL };
    uint64_t named = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t slot = slot_of_key(keys[i]);
        if (!slot_set_has(&pass->slots, slot) || !key_filter_wants(job->settings->filter, keys[i], slot)) continue;
        named++;
        int lane = lane_of_slot(&job->plan, slot);
        if (job->workers[lane] == pass->worker) {
            lane_name(worker_lane(pass->worker), pass->db, keys[i], slot);
            continue;
        }
        if (batches[lane] == NULL) batches[lane] = name_batch_new(pass->db);
        name_batch_add(batches[lane], keys[i], slot);
    }
    for (int lane = 0; lane < job->n_workers; lane++)
        if (batches[lane] != NULL) worker_name(job->workers[lane], batches[lane], &job->in_transit);
    atomic_fetch_add_explicit(&job->scanned, named, memory_order_relaxed);
}

static void on_start(void *ctx) {
    static const struct scan_events events = { on_keys, on_may_continue, on_scan_end };
    struct pass *pass = ctx;
    const struct replicate_settings *settings = pass->job->settings;
    const struct key_filter *filter = settings->filter;
    bool server_filters_type = filter->n_types == 1 && !pass->job->plan.typed;
    struct scan_settings scan = { .client = pass->client,
                                  .db = pass->db,
                                  .count = settings->scan_count,
                                  .match = filter->pattern,
                                  .type = server_filters_type ? filter->types[0] : NULL,
                                  .sleep_ms = settings->sleep_ms };
    struct loop *loop = worker_loop(pass->worker);
    pass->pause = loop_timer_new(loop, on_pause_over, pass);
    pass->scan = scan_start(loop, &scan, &events, pass);
}

/* ---- on the control thread ---- */

/* Slots of this node that are being moved right now; false when it cannot be asked. */
static bool open_slots(struct job *job, const struct address *node, struct slot_set *open) {
    *open = (struct slot_set){ 0 };
    if (!deployment_is_cluster(job->source)) return true;
    struct err err;
    struct call_reply reply;
    struct client *client = deployment_call_open(job->source, node, &err);
    if (client == NULL) return false;
    bool ok = call_ok(job->loop, client, deployment_reply_timeout_ms(job->source), &reply, &err, "CLUSTER NODES");
    if (ok) topology_open_slots(reply.item.str, open, open);
    if (ok) call_reply_fini(&reply);
    client_close(&client);
    return ok;
}

static void slot_set_subtract(struct slot_set *set, const struct slot_set *what) {
    for (size_t i = 0; i < SLOT_COUNT / 64; i++) set->bits[i] &= ~what->bits[i];
}

static size_t db_index(const struct job *job, int db) {
    size_t i = 0;
    while (job->result->dbs[i] != db) i++;
    return i;
}

void passes_init(struct job *job) {
    job->uncovered = mem_zalloc(job->result->n_dbs * sizeof(*job->uncovered));
    for (size_t i = 0; i < job->result->n_dbs; i++) {
        slot_set_add_range(&job->uncovered[i], 0, SLOT_COUNT - 1);
        if (job->settings->filter->slots != NULL) job->uncovered[i] = *job->settings->filter->slots;
    }
}

static void free_passes(struct pass *list) {
    while (list != NULL) {
        struct pass *next = list->next;
        free(list);
        list = next;
    }
}

void passes_fini(struct job *job) {
    free(job->uncovered);
    free_passes(job->over);
    free_passes(job->passes); /* of a job that was broken off */
}

static struct pass *pass_of_node(struct job *job, const struct address *primary) {
    for (struct pass *p = job->passes; p != NULL; p = p->next)
        if (address_equal(&p->primary, primary)) return p;
    return NULL;
}

static bool start_pass(struct job *job, const struct topology *t, int node, size_t index) {
    struct slot_set slots = { 0 };
    for (int s = 0; s < SLOT_COUNT; s++)
        if (t->owner[s] == node && slot_set_has(&job->uncovered[index], (uint16_t)s)) slot_set_add(&slots, (uint16_t)s);
    if (slot_set_count(&slots) == 0) return false;
    struct pass *pass = mem_zalloc(sizeof(*pass));
    struct slot_set open;
    pass->job = job;
    pass->worker = job->workers[job->next_worker++ % (unsigned)job->n_workers];
    pass->primary = t->nodes[node].address;
    pass->client = deployment_client_settings(job->source, &t->nodes[t->nodes[node].reader].address);
    pass->db = job->result->dbs[index];
    pass->slots = pass->undisturbed = slots;
    if (open_slots(job, &pass->primary, &open)) slot_set_subtract(&pass->undisturbed, &open);
    pass->next = job->passes;
    job->passes = pass;
    loop_post(worker_loop(pass->worker), on_start, pass);
    return true;
}

/* What a complete scan proves: the slots that stayed, and are not being moved now. */
static void pass_judge(struct job *job, struct pass *pass) {
    char where[ADDRESS_HOST_MAX + 32];
    address_format(&pass->primary, where, sizeof(where));
    if (pass->end == SCAN_FAILED) {
        job_fail(job, &pass->err);
    } else if (pass->end == SCAN_NODE_CHANGED) {
        job->result->scan_restarts++;
        if (pass->err.code != ERR_NONE) log_warn(pass->err.place, "%s", pass->err.text);
        atomic_store(&job->want_source, true);
    } else {
        struct slot_set open;
        if (open_slots(job, &pass->primary, &open)) {
            slot_set_subtract(&pass->undisturbed, &open);
            slot_set_subtract(&job->uncovered[db_index(job, pass->db)], &pass->undisturbed);
        }
        log_debug(where, "database %d is scanned, %u of %u slots proved", pass->db, slot_set_count(&pass->undisturbed),
                  slot_set_count(&pass->slots));
        if (slot_set_count(&pass->undisturbed) < slot_set_count(&pass->slots)) job->result->scan_restarts++;
    }
}

static void passes_remove(struct job *job, struct pass *pass) {
    for (struct pass **p = &job->passes; *p != NULL; p = &(*p)->next) {
        if (*p != pass) continue;
        *p = pass->next;
        return;
    }
}

static void judge_ended(struct job *job) {
    pthread_mutex_lock(&job->lock);
    struct pass *ended = job->ended;
    job->ended = NULL;
    pthread_mutex_unlock(&job->lock);
    if (ended == NULL) return;
    /* The picture that the judgement rests on must be newer than the scan's last page. */
    struct err err;
    bool fresh = !deployment_is_cluster(job->source) || deployment_refresh(job->source, &err);
    for (struct pass *p = ended; p != NULL; p = p->next_ended) atomic_store(&p->aborted, true);
    if (fresh && deployment_epoch(job->source) != job->source_epoch) passes_topology_changed(job);
    for (; ended != NULL; ended = ended->next_ended) {
        if (!fresh && ended->end == SCAN_COMPLETE) ended->end = SCAN_NODE_CHANGED;
        pass_judge(job, ended);
        passes_remove(job, ended);
        ended->next = job->over;
        job->over = ended;
    }
}

void passes_topology_changed(struct job *job) {
    struct topology *t = deployment_topology(job->source);
    for (struct pass *pass = job->passes; pass != NULL; pass = pass->next) {
        int node = topology_find(t, &pass->primary);
        bool primary = node >= 0 && topology_is_primary(t, node);
        for (int s = 0; s < SLOT_COUNT; s++)
            if (!primary || t->owner[s] != node) slot_set_remove(&pass->undisturbed, (uint16_t)s);
        if (!primary && !atomic_exchange(&pass->aborted, true)) loop_post(worker_loop(pass->worker), on_abort, pass);
    }
    topology_unref(&t);
}

/* Is any of the slots still to be scanned being moved? Then nothing is started: its keys are on two nodes. */
static bool must_wait_for_moves(struct job *job, const struct topology *t) {
    if (!t->cluster || job->result->scan_restarts == 0) return false;
    int64_t now_ms = clock_mono_ms();
    if (now_ms < job->open_slots_at_ms) return true;
    unsigned moving = 0;
    for (int i = 0; i < t->n_nodes; i++) {
        struct slot_set open;
        if (!topology_is_primary(t, i) || !open_slots(job, &t->nodes[i].address, &open)) continue;
        for (size_t d = 0; d < job->result->n_dbs; d++)
            for (int s = 0; s < SLOT_COUNT; s++)
                moving += slot_set_has(&open, (uint16_t)s) && slot_set_has(&job->uncovered[d], (uint16_t)s);
    }
    if (moving == 0) {
        job->open_slots_told = false;
        return false;
    }
    if (!job->open_slots_told) job->open_slots_since_ms = now_ms;
    int64_t limit_ms = job->settings->outage_timeout_ms, waited_ms = now_ms - job->open_slots_since_ms;
    if (limit_ms > 0 && waited_ms >= limit_ms) {
        struct err err;
        err_set(&err, ERR_OUTAGE, "source",
                "%u slots have been between two nodes for %lld s, longer than --outage-timeout allows; "
                "finish their move, or undo it with CLUSTER SETSLOT ... STABLE",
                moving, (long long)waited_ms / 1000);
        job_fail(job, &err);
    }
    if (!job->open_slots_told)
        log_info("source", "slots are being moved between nodes; their keys are scanned when that is over");
    job->open_slots_told = true;
    job->open_slots_at_ms = now_ms + JOB_OPEN_SLOT_MS;
    atomic_store(&job->want_source, true);
    return true;
}

/* True when a pass runs or something is left to scan. */
static bool start_missing(struct job *job) {
    struct topology *t = deployment_topology(job->source);
    bool left = false;
    for (size_t d = 0; d < job->result->n_dbs; d++) left = left || slot_set_count(&job->uncovered[d]) > 0;
    bool wait = left && job->passes == NULL && must_wait_for_moves(job, t);
    bool started = false;
    for (int i = 0; i < t->n_nodes && left && !wait; i++) {
        if (!topology_is_primary(t, i) || pass_of_node(job, &t->nodes[i].address) != NULL) continue;
        for (size_t d = 0; d < job->result->n_dbs; d++) {
            if (!start_pass(job, t, i, d)) continue;
            started = true;
            break;
        }
    }
    /* Slots that nobody owns hold no keys that could be read. */
    bool orphans_only = left && !wait && !started && job->passes == NULL;
    if (orphans_only) log_warn("source", "some slots of the cluster have no owner; nothing can be read there");
    topology_unref(&t);
    return (left && !orphans_only) || job->passes != NULL;
}

bool passes_step(struct job *job) {
    judge_ended(job);
    return !start_missing(job);
}

void passes_abort(struct job *job) {
    for (struct pass *pass = job->passes; pass != NULL; pass = pass->next)
        if (!atomic_exchange(&pass->aborted, true)) loop_post(worker_loop(pass->worker), on_abort, pass);
}
