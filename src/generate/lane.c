/* See generate_lane.h. */
#include "generate/lane.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

struct gen_lane;

struct job {
    struct job *next;
    struct gen_key key;
    struct gen_lane *lane;
    size_t due;   /* replies */
    bool emitted; /* no command is left to send, or none shall be sent any more */
    bool failed;
    struct err err; /* the first error */
};

struct job_list {
    struct job *head, *tail;
};

struct gen_lane {
    struct gen_writer *writer;
    struct address address;
    struct client *client;
    struct job_list queue; /* the head may be half sent */
    int64_t queued;
    bool gone; /* its node owns nothing any more */
    struct gen_lane *next;
};

struct gen_writer {
    struct deployment *deployment;
    const struct gen_plan *plan;
    struct topology *topology;
    uint64_t epoch;
    struct gen_lane *lanes;
    struct gen_lane **of_node; /* by index of the topology's nodes */
    int64_t pipeline, batch;

    struct job *held;     /* made, but its lane has no room yet */
    struct job_list done; /* all replies are there; looked at between rounds */
    struct job_list waiting;
    int64_t retry_at_ms, refresh_at_ms, trouble_since_ms;
    bool wants_refresh, fatal;
    uint64_t open;
    struct err err;     /* when fatal */
    struct err trouble; /* the last error that passes */
    char trouble_text[ERR_PLACE_MAX + ERR_TEXT_MAX];
    struct gen_stats stats;
    uint64_t reconnects_before, bytes_before; /* of lanes that are gone */
};

static void list_push(struct job_list *list, struct job *job) {
    job->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = job;
    } else {
        list->head = job;
    }
    list->tail = job;
}

static struct job *list_pop(struct job_list *list) {
    struct job *job = list->head;
    if (job == NULL) return NULL;
    list->head = job->next;
    if (list->head == NULL) list->tail = NULL;
    return job;
}

static void job_free(struct gen_writer *w, struct job *job) {
    w->open--;
    gen_key_fini(&job->key);
    free(job);
}

static void list_free(struct gen_writer *w, struct job_list *list) {
    for (struct job *job; (job = list_pop(list)) != NULL;) job_free(w, job);
}

/* ---- replies ---- */

static void gen_job_fail(struct job *job, const struct err *err) {
    if (!job->failed) job->err = *err;
    job->failed = true;
}

static void on_reply(void *ctx, void *arg, const struct reply *reply) {
    struct gen_lane *lane = ctx;
    struct job *job = arg;
    job->due--;
    if (reply->err != NULL) {
        gen_job_fail(job, reply->err);
    } else if (resp_is_error(&reply->item)) {
        struct err err;
        client_reply_error(lane->client, &reply->item, &err);
        gen_job_fail(job, &err);
    }
    /* A job that is still the queue's head is ended by lane_send(). */
    if (job->due == 0 && job->emitted) list_push(&lane->writer->done, job);
}

/* ---- sending ---- */

static bool lane_has_room(const struct gen_lane *lane) {
    return client_is_ready(lane->client) &&
           (int64_t)client_pending(lane->client) < lane->writer->pipeline &&
           client_unsent_bytes(lane->client) < GEN_UNSENT_BYTES;
}

static void lane_end_head(struct gen_lane *lane) {
    struct job *job = list_pop(&lane->queue);
    lane->queued--;
    job->emitted = true;
    if (job->due == 0) list_push(&lane->writer->done, job);
}

static void lane_send(struct gen_lane *lane) {
    while (lane->queue.head != NULL) {
        struct job *job = lane->queue.head;
        if (job->failed) {
            lane_end_head(lane);
            continue;
        }
        if (!lane_has_room(lane)) return;
        client_select(lane->client, job->key.db);
        if (gen_key_next(&job->key, client_out(lane->client))) {
            job->due++;
            client_end_command(lane->client, on_reply, lane, job);
        } else {
            lane_end_head(lane);
        }
    }
}

/* ---- lanes and topology ---- */

static void on_down(void *ctx, const struct err *err, bool final) {
    struct gen_lane *lane = ctx;
    struct gen_writer *w = lane->writer;
    log_debug(err->place, "%s", err->text);
    w->trouble = *err;
    w->wants_refresh = true;
    if (!final || lane->gone || w->fatal) return;
    w->fatal = true;
    w->err = *err;
}

static struct gen_lane *lane_of(struct gen_writer *w, const struct address *address) {
    static const struct client_events events = { .on_down = on_down };
    for (struct gen_lane *lane = w->lanes; lane != NULL; lane = lane->next)
        if (!lane->gone && address_equal(&lane->address, address)) return lane;
    struct gen_lane *lane = mem_zalloc(sizeof(*lane));
    lane->writer = w;
    lane->address = *address;
    lane->next = w->lanes;
    w->lanes = lane;
    struct client_settings settings = deployment_client_settings(w->deployment, address);
    lane->client = client_open(deployment_loop(w->deployment), &settings, &events, lane);
    return lane;
}

/* Commands that were not sent go elsewhere; commands that were sent fail with the connection and
 * come back as failed. */
static void lane_abandon(struct gen_lane *lane) {
    struct gen_writer *w = lane->writer;
    lane->gone = true;
    w->reconnects_before += client_reconnects(lane->client);
    w->bytes_before += client_bytes_out(lane->client);
    struct err err;
    err_set(&err, ERR_MOVED, client_place(lane->client), "the node owns no slots any more");
    for (struct job *job = lane->queue.head; job != NULL; job = job->next) gen_job_fail(job, &err);
    client_close(&lane->client);
    while (lane->queue.head != NULL) lane_end_head(lane);
}

static void take_topology(struct gen_writer *w) {
    topology_unref(&w->topology);
    w->epoch = deployment_epoch(w->deployment);
    w->topology = deployment_topology(w->deployment);
    struct topology *t = w->topology;
    w->of_node = mem_array(w->of_node, (size_t)t->n_nodes, sizeof(*w->of_node));
    for (int i = 0; i < t->n_nodes; i++)
        w->of_node[i] = topology_is_primary(t, i) ? lane_of(w, &t->nodes[i].address) : NULL;
    for (struct gen_lane *lane = w->lanes; lane != NULL; lane = lane->next) {
        int node = topology_find(t, &lane->address);
        if (!lane->gone && (node < 0 || w->of_node[node] != lane)) lane_abandon(lane);
    }
}

static void refresh(struct gen_writer *w, int64_t now_ms) {
    struct err err;
    w->wants_refresh = false;
    w->refresh_at_ms = now_ms + GEN_REFRESH_MIN_MS;
    if (!deployment_refresh(w->deployment, &err)) {
        w->trouble = err;
        w->wants_refresh = true;
    }
    if (deployment_epoch(w->deployment) != w->epoch) take_topology(w);
}

/* ---- jobs ---- */

/* False when its lane has no room; a slot that nobody owns makes it wait. */
static bool job_place(struct gen_writer *w, struct job *job) {
    int node = w->topology->cluster ? w->topology->owner[slot_of_key(gen_key_name(&job->key))] : 0;
    if (node < 0) {
        err_set(&w->trouble, ERR_CLUSTERDOWN, deployment_role(w->deployment), "%s",
                err_sentence(ERR_CLUSTERDOWN));
        w->wants_refresh = true;
        list_push(&w->waiting, job);
        return true;
    }
    struct gen_lane *lane = w->of_node[node];
    if (lane->queued >= w->batch) return false;
    job->lane = lane;
    list_push(&lane->queue, job);
    lane->queued++;
    lane_send(lane);
    return true;
}

bool gen_writer_offer(struct gen_writer *w, uint64_t number, uint64_t round) {
    if (w->held != NULL) {
        if (!job_place(w, w->held)) return false;
        w->held = NULL;
    }
    struct job *job = mem_zalloc(sizeof(*job));
    gen_key_init(&job->key, w->plan, number, round);
    w->open++;
    if (!job_place(w, job)) w->held = job;
    return true;
}

static void job_refused(struct gen_writer *w, const struct job *job) {
    char name[128];
    bytes_escape(gen_key_name(&job->key), name, sizeof(name));
    if (++w->stats.refused <= GEN_REFUSALS_SHOWN)
        log_warn(job->err.place, "key %s: %s", name, job->err.text);
}

static void gen_job_failed(struct gen_writer *w, struct job *job) {
    enum err_class class = err_class_of(job->err.code);
    bool for_all = class == ERR_CLASS_STOP || job->err.code == ERR_NOPERM ||
                   job->err.code == ERR_UNKNOWN_COMMAND;
    if (for_all && !w->fatal) {
        w->fatal = true;
        w->err = job->err;
    }
    if (for_all || class == ERR_CLASS_KEY) {
        job_refused(w, job);
        job_free(w, job);
        return;
    }
    w->wants_refresh |= class == ERR_CLASS_THERE || job->err.code == ERR_READONLY ||
                        job->err.code == ERR_CLUSTERDOWN;
    w->trouble = job->err;
    w->stats.retries++;
    gen_key_restart(&job->key);
    job->failed = job->emitted = false;
    if (w->waiting.head == NULL) w->retry_at_ms = clock_mono_ms() + GEN_RETRY_MS;
    list_push(&w->waiting, job);
}

static void job_finished(struct gen_writer *w, struct job *job) {
    if (job->failed) {
        gen_job_failed(w, job);
        return;
    }
    w->stats.keys++;
    w->stats.actions[job->key.action]++;
    if (job->key.action == GEN_WRITE) w->stats.written[job->key.type]++;
    w->trouble_since_ms = 0;
    err_clear(&w->trouble);
    job_free(w, job);
}

static void retry_waiting(struct gen_writer *w) {
    struct job_list list = w->waiting;
    w->waiting = (struct job_list){ 0 };
    for (struct job *job; (job = list_pop(&list)) != NULL;)
        if (!job_place(w, job)) list_push(&w->waiting, job);
}

/* Nothing has come to its end since trouble began: how long is that borne? */
static bool out_of_patience(struct gen_writer *w, int64_t now_ms, struct err *err) {
    int64_t limit_ms = w->plan->settings->outage_timeout_ms;
    if (w->trouble.code == ERR_NONE) return false;
    if (w->trouble_since_ms == 0) w->trouble_since_ms = now_ms;
    if (limit_ms == 0 || now_ms - w->trouble_since_ms < limit_ms) return false;
    err_set(err, ERR_OUTAGE, w->trouble.place, "%.400s; unusable for longer than --outage-timeout",
            w->trouble.text);
    return true;
}

bool gen_writer_work(struct gen_writer *w, struct err *err) {
    int64_t now_ms = clock_mono_ms();
    for (struct gen_lane *lane = w->lanes; lane != NULL; lane = lane->next) lane_send(lane);
    for (struct job *job; (job = list_pop(&w->done)) != NULL;) job_finished(w, job);
    if (w->fatal) {
        *err = w->err;
        return false;
    }
    if (w->wants_refresh && now_ms >= w->refresh_at_ms) refresh(w, now_ms);
    if (w->waiting.head != NULL && now_ms >= w->retry_at_ms) {
        w->retry_at_ms = now_ms + GEN_RETRY_MS;
        retry_waiting(w);
    }
    if (w->held != NULL && job_place(w, w->held)) w->held = NULL;
    return !out_of_patience(w, now_ms, err);
}

/* ---- the writer ---- */

struct gen_writer *gen_writer_new(struct deployment *deployment, const struct gen_plan *plan) {
    struct gen_writer *w = mem_zalloc(sizeof(*w));
    w->deployment = deployment;
    w->plan = plan;
    w->pipeline = plan->settings->pipeline > 0 ? plan->settings->pipeline : GEN_PIPELINE_DEFAULT;
    w->batch = plan->settings->batch > 0 ? plan->settings->batch : GEN_BATCH_DEFAULT;
    take_topology(w);
    return w;
}

void gen_writer_free(struct gen_writer **writer) {
    struct gen_writer *w = *writer;
    *writer = NULL;
    if (w == NULL) return;
    for (struct gen_lane *lane = w->lanes; lane != NULL; lane = lane->next)
        if (!lane->gone) lane_abandon(lane);
    loop_settle(deployment_loop(w->deployment)); /* sent jobs come back as failed */
    list_free(w, &w->done);
    list_free(w, &w->waiting);
    if (w->held != NULL) job_free(w, w->held);
    for (struct gen_lane *lane; (lane = w->lanes) != NULL;) {
        w->lanes = lane->next;
        free(lane);
    }
    free(w->of_node);
    topology_unref(&w->topology);
    free(w);
}

uint64_t gen_writer_open(const struct gen_writer *w) {
    return w->open;
}

void gen_writer_give_up_waiting(struct gen_writer *w) {
    list_free(w, &w->waiting);
    if (w->held != NULL) job_free(w, w->held);
    w->held = NULL;
}

struct gen_stats gen_writer_stats(const struct gen_writer *w) {
    struct gen_stats stats = w->stats;
    stats.reconnects = w->reconnects_before;
    stats.bytes_out = w->bytes_before;
    for (const struct gen_lane *lane = w->lanes; lane != NULL; lane = lane->next) {
        if (lane->gone) continue;
        stats.reconnects += client_reconnects(lane->client);
        stats.bytes_out += client_bytes_out(lane->client);
    }
    return stats;
}

const char *gen_writer_trouble(struct gen_writer *w) {
    if (w->trouble.code == ERR_NONE) return NULL;
    return err_format(&w->trouble, w->trouble_text, sizeof(w->trouble_text));
}
