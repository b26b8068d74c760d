/* See record_writer.h. A link to each primary of the target that owns slots; one timer. */
#include "store/record_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "store/keys_priv.h"
#include "store/lease_priv.h"
#include "store/slot_link_priv.h"

enum {
    WRITER_TICK_MS = 100,
    WRITER_SLICE_MS = 20,
    WRITER_REPLY_MS = 5000,
    /* A record of hundreds of nodes, written to each of them, is written less often. */
    WRITER_BYTES_PER_MS = 8 * 1024
};

/* A primary. */
struct writer_node {
    struct record_writer *writer;
    struct address address;
    struct slot_link *link;
    char allowed[RUN_ID_MAX]; /* the process that may be given the record; empty: none yet */
    int slot;                 /* of its record */
    bool holds;               /* the record in this slot, given to the allowed process */
    bool writing, told;
    int64_t due_ms;
    /* The number of the text on its way, and of the last one acknowledged on this connection; 0:
     * none. */
    uint64_t sent, written;
};

struct record_writer {
    struct deployment *target;
    int db;
    char job[RECORD_JOB_MAX];
    struct lease *lease;
    struct loop_timer *timer;
    struct writer_node **nodes;
    size_t n_nodes;
    char *text; /* NULL: nothing is to be written */
    int64_t interval_ms;
    uint64_t number; /* of the text */
    /* Since this text the record names this order. */
    char order[RECORD_ID_MAX];
    uint64_t order_number;
    void (*on_gone)(void *ctx, uint16_t slot);
    void *gone_ctx;
};

/* ---- writing ---- */

/* HSET answers with the number of fields that are new. */
static void writer_take_written(struct writer_node *node, const struct reply *reply) {
    const struct record_writer *w = node->writer;
    bool gone = node->holds && reply->item.type == RESP_INTEGER && reply->item.num > 0;
    node->told = false;
    node->written = node->sent;
    node->holds = node->sent > 0;
    if (gone && w->on_gone != NULL) w->on_gone(w->gone_ctx, (uint16_t)node->slot);
}

static void writer_take_answer(struct writer_node *node, struct client *client,
                               const struct reply *reply) {
    struct err err;
    node->writing = false;
    if (reply->err != NULL) return;
    if (!resp_is_error(&reply->item)) {
        writer_take_written(node, reply);
        return;
    }
    client_reply_error(client, &reply->item, &err);
    log_line(node->told ? LOG_DEBUG : LOG_WARN, err.place, "the job's record is not written: %s",
             err.text);
    node->told = true;
}

static void on_record_written(void *ctx, struct client *client, const struct reply *reply) {
    writer_take_answer(ctx, client, reply);
}

static void writer_write_node(struct writer_node *node) {
    struct record_writer *w = node->writer;
    char key[STORE_KEY_MAX];
    const struct bytes words[] = { BYTES_LITERAL("HSET"),
                                   bytes_of_str(store_state_key(key, (uint16_t)node->slot)),
                                   bytes_of_str(w->job), bytes_of_str(w->text) };
    node->writing = true;
    node->sent = w->number;
    node->due_ms = clock_mono_ms() + w->interval_ms;
    slot_link_send(node->link, on_record_written, node, 4, words);
}

static bool writer_may_write_node(const struct writer_node *node) {
    const struct client *client = slot_link_client(node->link);
    if (client == NULL || !slot_link_is_ready(node->link) || !lease_may_write(node->writer->lease))
        return false;
    return node->allowed[0] != '\0' && strcmp(node->allowed, client_run_id(client)) == 0;
}

static void writer_step_node(struct writer_node *node) {
    struct record_writer *w = node->writer;
    slot_link_step(node->link);
    if (w->text == NULL || node->writing || clock_mono_ms() < node->due_ms) return;
    if (writer_may_write_node(node)) writer_write_node(node);
}

static void on_writer_tick(void *ctx) {
    struct record_writer *w = ctx;
    loop_timer_start(w->timer, WRITER_TICK_MS);
    for (size_t i = 0; i < w->n_nodes; i++) writer_step_node(w->nodes[i]);
}

void record_writer_put(struct record_writer *w, const struct job_record *record) {
    free(w->text);
    w->text = record != NULL ? record_to_text(record) : NULL;
    int64_t bytes = w->text != NULL ? (int64_t)(strlen(w->text) * w->n_nodes) : 0;
    w->interval_ms = RECORD_WRITE_MS + bytes / WRITER_BYTES_PER_MS;
    w->number++;
    if (record == NULL || strcmp(record->order_followed, w->order) == 0) return;
    snprintf(w->order, sizeof(w->order), "%s", record->order_followed);
    w->order_number = w->number;
    for (size_t i = 0; i < w->n_nodes; i++) w->nodes[i]->due_ms = 0;
}

void record_writer_allow(struct record_writer *w, const struct address *node, const char *run_id) {
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct writer_node *n = w->nodes[i];
        if (!address_equal(&n->address, node)) continue;
        if (strcmp(n->allowed, run_id) != 0) n->holds = false;
        snprintf(n->allowed, sizeof(n->allowed), "%s", run_id);
    }
}

void record_writer_watch_gone(struct record_writer *w, void (*on_gone)(void *ctx, uint16_t slot),
                              void *ctx) {
    w->on_gone = on_gone;
    w->gone_ctx = ctx;
}

bool record_writer_has_written_order(const struct record_writer *w, const char *order_id) {
    bool all = w->n_nodes > 0 && strcmp(w->order, order_id) == 0;
    for (size_t i = 0; i < w->n_nodes; i++) all = all && w->nodes[i]->written >= w->order_number;
    return all;
}

/* ---- nodes ---- */

static void on_writer_ready(void *ctx) {
    struct writer_node *node = ctx;
    node->due_ms = 0;
}

/* The server may come back empty. */
static void on_writer_down(void *ctx) {
    struct writer_node *node = ctx;
    node->written = 0;
}

static void writer_node_free(struct writer_node *node) {
    slot_link_free(&node->link);
    free(node);
}

/* The node at this address, taken out of the list; a new one where there is none. */
static struct writer_node *writer_take_node(struct record_writer *w,
                                            const struct address *address) {
    static const struct slot_link_events events = { on_writer_ready, on_writer_down };
    for (size_t i = 0; i < w->n_nodes; i++) {
        struct writer_node *node = w->nodes[i];
        if (node == NULL || !address_equal(&node->address, address)) continue;
        w->nodes[i] = NULL;
        return node;
    }
    struct writer_node *node = mem_zalloc(sizeof(*node));
    *node = (struct writer_node){ .writer = w, .address = *address, .slot = -1 };
    node->link = slot_link_new(w->target, w->db, WRITER_REPLY_MS, lease_client_name(w->lease),
                               &events, node);
    slot_link_set_owner(node->link, address);
    return node;
}

/* Where the lowest slot of a primary is another one now, its record moves; the former one is left
 * over. A record on its way then is acknowledged for the former slot, and does not count. */
static void writer_set_slot(struct writer_node *node, int slot, struct slot_set *left) {
    if (node->slot == slot) return;
    if (node->slot >= 0) slot_set_add(left, (uint16_t)node->slot);
    node->slot = slot;
    node->holds = false;
    node->sent = node->written = 0;
    node->due_ms = 0;
}

static struct writer_node *writer_node_of_slot(const struct record_writer *w,
                                               const struct topology *t, int slot) {
    for (size_t i = 0; i < w->n_nodes && t->owner[slot] >= 0; i++)
        if (address_equal(&w->nodes[i]->address, &t->nodes[t->owner[slot]].address))
            return w->nodes[i];
    return NULL;
}

static void on_left_over_removed(void *ctx, struct client *client, const struct reply *reply) {}

static void writer_remove_left(struct record_writer *w, const struct topology *t,
                               struct slot_set *left) {
    char key[STORE_KEY_MAX];
    for (size_t i = 0; i < w->n_nodes; i++) slot_set_remove(left, (uint16_t)w->nodes[i]->slot);
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (!slot_set_has(left, (uint16_t)slot)) continue;
        struct writer_node *node = writer_node_of_slot(w, t, slot);
        const struct bytes words[] = { BYTES_LITERAL("HDEL"),
                                       bytes_of_str(store_state_key(key, (uint16_t)slot)),
                                       bytes_of_str(w->job) };
        if (node != NULL && slot_link_is_ready(node->link) && lease_may_write(w->lease))
            slot_link_send(node->link, on_left_over_removed, NULL, 3, words);
    }
}

void record_writer_update_topology(struct record_writer *w) {
    struct topology *t = deployment_topology(w->target);
    struct writer_node **nodes = mem_array(NULL, (size_t)t->n_nodes, sizeof(struct writer_node *));
    struct slot_set left = { 0 };
    size_t n = 0;
    for (int i = 0; i < t->n_nodes; i++) {
        int slot = store_lowest_slot(t, i);
        if (slot < 0) continue;
        nodes[n] = writer_take_node(w, &t->nodes[i].address);
        writer_set_slot(nodes[n++], slot, &left);
    }
    for (size_t i = 0; i < w->n_nodes; i++) {
        if (w->nodes[i] == NULL) continue;
        slot_set_add(&left, (uint16_t)w->nodes[i]->slot);
        writer_node_free(w->nodes[i]);
    }
    free(w->nodes);
    w->nodes = nodes;
    w->n_nodes = n;
    writer_remove_left(w, t, &left);
    topology_unref(&t);
}

struct record_writer *record_writer_new(struct deployment *target, int db, const char *job,
                                        struct lease *lease) {
    struct record_writer *w = mem_zalloc(sizeof(*w));
    w->target = target;
    w->db = db;
    w->lease = lease;
    snprintf(w->job, sizeof(w->job), "%s", job);
    w->timer = loop_timer_new(deployment_loop(target), on_writer_tick, w);
    record_writer_update_topology(w);
    loop_timer_start(w->timer, 0);
    return w;
}

/* ---- ending ---- */

static bool writer_is_done(const struct record_writer *w) {
    for (size_t i = 0; i < w->n_nodes; i++)
        if (writer_may_write_node(w->nodes[i]) && w->nodes[i]->written != w->number) return false;
    return true;
}

void record_writer_end(struct record_writer *w, const struct job_record *last, int64_t timeout_ms) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    loop_timer_stop(w->timer);
    if (last != NULL) record_writer_put(w, last);
    for (size_t i = 0; i < w->n_nodes; i++) w->nodes[i]->due_ms = 0;
    while (w->text != NULL && !writer_is_done(w) && lease_may_write(w->lease) &&
           clock_mono_ms() < deadline_ms) {
        for (size_t i = 0; i < w->n_nodes; i++) {
            if (w->nodes[i]->sent != w->number) w->nodes[i]->due_ms = 0;
            writer_step_node(w->nodes[i]);
        }
        loop_run_once(deployment_loop(w->target), WRITER_SLICE_MS);
    }
}

void record_writer_free(struct record_writer **writer) {
    struct record_writer *w = *writer;
    *writer = NULL;
    if (w == NULL) return;
    for (size_t i = 0; i < w->n_nodes; i++) writer_node_free(w->nodes[i]);
    loop_timer_free(&w->timer);
    free(w->nodes);
    free(w->text);
    free(w);
}
