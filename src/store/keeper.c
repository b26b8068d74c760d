/* See keeper.h. One client to each primary of the target that owns slots; the lease lies behind one
 * of them. Everything is driven by one timer: what is due and can be sent is sent, what fails is
 * due again soon.
 *
 *   time   sent          answered                         until_ms        expiry at the server
 *   ────────┼────────────────┼────────────────────────────────┼────────────────┼──────▶
 *           └ lease_ms counts from here, for the holder ──────┘- a tenth ──────┘ or later
 */
#include "store/keeper.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/keeper_priv.h"

enum {
    TICK_MAX_MS = 250,
    SLICE_MS = 50,         /* of a wait */
    STANDBY_LOOK_MS = 500, /* how often a standby looks */
    LOST_NODE_MS = 1000,   /* after which the topology is asked for, while waiting for the lease */
    RENEW_PART = 3,        /* of the lease */
    MARGIN_PART = 10,
    REOPEN_MS = 2000, /* a client that gave up */
};

struct keeper_node { /* a primary */
    struct keeper *keeper;
    struct address address;
    struct client *client;
    int slot; /* of its record */
    bool writing, told;
    int64_t write_due_ms, reopen_ms;
    int64_t sent_us, written_us; /* watermarks */
    bool written;                /* the last record, on this connection */
};

struct keeper {
    struct deployment *target;
    struct loop *loop;
    int db;
    char job[RECORD_JOB_MAX], owner[LEASE_OWNER_MAX], name[KEEPER_NAME_MAX];
    char lease_key[KEEPER_KEY_MAX], epoch_key[KEEPER_KEY_MAX], order_key[KEEPER_KEY_MAX];
    char value[LEASE_VALUE_MAX]; /* of the lease while it is ours */
    uint64_t epoch;              /* 0: not acquired */
    int64_t lease_ms;
    _Atomic int64_t until_ms, written_us;

    struct keeper_node **nodes;
    size_t n_nodes;
    int lease_slot;
    struct keeper_node *lease_node; /* NULL while its slot has no owner */

    struct lease_change change;
    int64_t change_sent_ms, renew_due_ms;
    bool retaking; /* the lease was found gone, and is taken again */
    bool told_late;

    bool started, lost, ending, asking;
    char lost_to[LEASE_VALUE_MAX];
    int64_t order_due_ms;
    char order[64]; /* the last one that was followed */
    char *text;     /* the record put last; NULL: none */
    int64_t text_us;
    struct loop_timer *timer;
    void (*on_release)(void *ctx);
    void (*on_lost)(void *ctx, const char *holder);
    void *ctx;
};

static void keeper_tick(void *ctx);

/* ---- nodes ---- */

static void publish_written(struct keeper *k) {
    int64_t oldest_us = k->n_nodes == 0 ? 0 : INT64_MAX;
    for (size_t i = 0; i < k->n_nodes; i++)
        if (k->nodes[i] != NULL && k->nodes[i]->written_us < oldest_us)
            oldest_us = k->nodes[i]->written_us;
    atomic_store(&k->written_us, oldest_us);
}

static void node_name(struct keeper_node *node) {
    const struct bytes words[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("SETNAME"),
                                   bytes_of_str(node->keeper->name) };
    if (node->keeper->epoch > 0) client_command(node->client, NULL, NULL, NULL, 3, words);
}

static void on_ready(void *ctx) {
    struct keeper_node *node = ctx;
    node_name(node);
    node->write_due_ms = 0;
    if (node->keeper->epoch > 0 && !node->keeper->lost && !node->keeper->ending &&
        loop_timer_is_pending(node->keeper->timer))
        loop_timer_start(node->keeper->timer, 0);
}

/* It may come back empty. */
static void on_down(void *ctx, const struct err *err, bool final) {
    struct keeper_node *node = ctx;
    node->written = false;
    node->written_us = 0;
    publish_written(node->keeper);
    if (!final) return;
    log_err(LOG_WARN, err);
    node->reopen_ms = clock_mono_ms() + REOPEN_MS;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* A connection that hangs must not outlast the lease. */
static void node_open(struct keeper_node *node) {
    static const struct client_events events = { .on_ready = on_ready, .on_down = on_down };
    struct keeper *k = node->keeper;
    struct client_settings settings = deployment_client_settings(k->target, &node->address);
    settings.db = k->db;
    settings.fence = false;
    settings.connect_timeout_ms = min64(settings.connect_timeout_ms, k->lease_ms / 2);
    settings.reply_timeout_ms = min64(settings.reply_timeout_ms, k->lease_ms / 2);
    node->reopen_ms = 0;
    node->client = client_open(k->loop, &settings, &events, node);
}

static void node_reopen(struct keeper_node *node) {
    client_close(&node->client);
    node_open(node);
}

static void node_free(struct keeper_node *node) {
    client_close(&node->client);
    loop_defer(node->keeper->loop, free, node); /* behind its pending callbacks */
}

static bool node_is_ready(const struct keeper_node *node) {
    return node != NULL && client_is_ready(node->client);
}

/* The node at this address, taken out of the list; a new one where there is none. */
static struct keeper_node *node_take(struct keeper *k, const struct address *address) {
    for (size_t i = 0; i < k->n_nodes; i++) {
        struct keeper_node *node = k->nodes[i];
        if (node == NULL || !address_equal(&node->address, address)) continue;
        k->nodes[i] = NULL;
        return node;
    }
    struct keeper_node *node = mem_zalloc(sizeof(*node));
    node->keeper = k;
    node->address = *address;
    node->slot = -1;
    node_open(node);
    return node;
}

/* Where the lowest slot of a primary is another one now, its record moves; what lay there is of no
 * use. */
static void node_set_slot(struct keeper_node *node, int slot, struct slot_set *left) {
    if (node->slot == slot) return;
    if (node->slot >= 0) slot_set_add(left, (uint16_t)node->slot);
    node->slot = slot;
    node->written = false;
    node->written_us = 0;
    node->write_due_ms = 0;
}

static struct keeper_node *node_of_slot(const struct keeper *k, const struct topology *t,
                                        int slot) {
    for (size_t i = 0; i < k->n_nodes && t->owner[slot] >= 0; i++)
        if (address_equal(&k->nodes[i]->address, &t->nodes[t->owner[slot]].address))
            return k->nodes[i];
    return NULL;
}

static void remove_left(struct keeper *k, const struct topology *t, struct slot_set *left) {
    char key[KEEPER_KEY_MAX];
    for (size_t i = 0; i < k->n_nodes; i++) slot_set_remove(left, (uint16_t)k->nodes[i]->slot);
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (!slot_set_has(left, (uint16_t)slot)) continue;
        struct keeper_node *node = node_of_slot(k, t, slot);
        const struct bytes words[] = { BYTES_LITERAL("HDEL"),
                                       bytes_of_str(keeper_state_key(key, (uint16_t)slot)),
                                       bytes_of_str(k->job) };
        if (node_is_ready(node) && keeper_may_write(k))
            client_command(node->client, NULL, NULL, NULL, 3, words);
    }
}

void keeper_update(struct keeper *k) {
    struct topology *t = deployment_topology(k->target);
    struct keeper_node **nodes = mem_array(NULL, (size_t)t->n_nodes, sizeof(struct keeper_node *));
    struct slot_set left = { 0 };
    size_t n = 0;
    for (int i = 0; i < t->n_nodes; i++) {
        int slot = topology_is_primary(t, i) ? keeper_lowest_slot(t, i) : -1;
        if (slot < 0) continue;
        nodes[n] = node_take(k, &t->nodes[i].address);
        node_set_slot(nodes[n++], slot, &left);
    }
    for (size_t i = 0; i < k->n_nodes; i++) {
        if (k->nodes[i] == NULL) continue;
        struct keeper_node *gone = k->nodes[i];
        k->nodes[i] = NULL;
        slot_set_add(&left, (uint16_t)gone->slot);
        if (k->lease_node == gone) k->lease_node = NULL;
        node_free(gone);
    }
    free(k->nodes);
    k->nodes = nodes;
    k->n_nodes = n;
    k->lease_node = node_of_slot(k, t, k->lease_slot);
    remove_left(k, t, &left);
    publish_written(k);
    topology_unref(&t);
}

/* ---- the lease ---- */

static void lease_is_ours(struct keeper *k) {
    atomic_store(&k->until_ms, k->change_sent_ms + k->lease_ms - k->lease_ms / MARGIN_PART);
    k->renew_due_ms = k->change_sent_ms + k->lease_ms / RENEW_PART;
    k->retaking = false;
    if (k->told_late) log_info("target", "job %s: the lease is renewed again", k->job);
    k->told_late = false;
}

static void lease_is_lost(struct keeper *k, const char *holder) {
    k->lost = true;
    atomic_store(&k->until_ms, INT64_MIN);
    snprintf(k->lost_to, sizeof(k->lost_to), "%s",
             holder[0] != '\0' ? holder : "another process, which has ended");
    loop_timer_stop(k->timer);
    if (k->started) k->on_lost(k->ctx, k->lost_to);
}

static void lease_again_soon(struct keeper *k) {
    k->renew_due_ms = clock_boot_ms() + min64(k->lease_ms / MARGIN_PART, TICK_MAX_MS);
}

static void on_renewed(void *ctx, struct lease_change *change) {
    struct keeper *k = ctx;
    if (k->lost) return;
    if (change->result == LEASE_DONE) {
        lease_is_ours(k);
        return;
    }
    lease_again_soon(k);
    if (change->result == LEASE_FAILED) {
        log_debug(change->err.place, "the lease could not be renewed: %s", change->err.text);
    } else if (strcmp(change->holder, k->value) == 0) {
        k->retaking = false;
    } else if (change->holder[0] == '\0' && change->known_epoch <= k->epoch) {
        if (!k->retaking)
            log_warn("target", "job %s: the lease was gone from the target; it is taken again",
                     k->job);
        k->retaking = true;
        k->renew_due_ms = 0;
    } else {
        lease_is_lost(k, lease_owner_of(change->holder));
    }
}

static void change_send(struct keeper *k, const char *expected, uint64_t epoch, bool give_back) {
    snprintf(k->change.expected, sizeof(k->change.expected), "%s", expected);
    k->change.epoch = epoch;
    k->change.give_back = give_back;
    k->change_sent_ms = clock_boot_ms();
    lease_change_send(&k->change, k->lease_node->client);
}

static void tell_late(struct keeper *k) {
    if (k->told_late || keeper_may_write(k)) return;
    k->told_late = true;
    log_warn("target",
             "job %s: the lease could not be renewed in time; nothing is written until it is%s%s",
             k->job, k->change.err.code != ERR_NONE ? ": " : "", k->change.err.text);
}

static void tick_lease(struct keeper *k) {
    tell_late(k);
    if (k->change.busy || clock_boot_ms() < k->renew_due_ms || !node_is_ready(k->lease_node))
        return;
    change_send(k, k->retaking ? "" : k->value, k->epoch, false);
}

bool keeper_may_write(const struct keeper *k) {
    return clock_boot_ms() < atomic_load(&k->until_ms);
}

/* ---- the order ---- */

static void on_order(void *ctx, void *arg, const struct reply *reply) {
    struct keeper_node *node = ctx;
    struct keeper *k = node->keeper;
    k->asking = false;
    if (k->lost || reply->err != NULL || !resp_is_string(&reply->item) || !keeper_may_write(k))
        return;
    char order[sizeof(k->order)];
    snprintf(order, sizeof(order), "%.*s",
             (int)min64((int64_t)reply->item.str.len, sizeof(order) - 1), reply->item.str.ptr);
    /* Should its deletion be lost, it is seen again, and was followed already. */
    const struct bytes words[] = { BYTES_LITERAL("DEL"), bytes_of_str(k->order_key) };
    client_command(node->client, NULL, NULL, NULL, 2, words);
    if (strcmp(order, k->order) == 0) return;
    snprintf(k->order, sizeof(k->order), "%s", order);
    if (k->on_release != NULL) k->on_release(k->ctx);
}

static void tick_order(struct keeper *k) {
    const struct bytes words[] = { BYTES_LITERAL("GET"), bytes_of_str(k->order_key) };
    if (!k->started || k->asking || clock_mono_ms() < k->order_due_ms ||
        !node_is_ready(k->lease_node))
        return;
    k->asking = true;
    k->order_due_ms = clock_mono_ms() + KEEPER_WRITE_MS;
    client_command(k->lease_node->client, on_order, k->lease_node, NULL, 2, words);
}

/* ---- the record ---- */

static void on_written(void *ctx, void *arg, const struct reply *reply) {
    struct keeper_node *node = ctx;
    struct keeper *k = node->keeper;
    node->writing = false;
    if (reply->err != NULL) return;
    if (!resp_is_error(&reply->item)) {
        node->told = false;
        node->written = true;
        node->written_us = node->sent_us;
        publish_written(k);
        return;
    }
    struct err err;
    client_reply_error(node->client, &reply->item, &err);
    log_line(node->told ? LOG_DEBUG : LOG_WARN, err.place, "the job's record is not written: %s",
             err.text);
    node->told = true;
}

/* The slot may have become another one meanwhile: what is acknowledged then is not where it is
 * looked for. */
static void on_written_elsewhere(void *ctx, void *arg, const struct reply *reply) {
    struct keeper_node *node = ctx;
    if (node->slot == (int)(intptr_t)arg) {
        on_written(ctx, arg, reply);
    } else {
        node->writing = false;
    }
}

static void node_write(struct keeper_node *node) {
    struct keeper *k = node->keeper;
    char key[KEEPER_KEY_MAX];
    const struct bytes words[] = { BYTES_LITERAL("HSET"),
                                   bytes_of_str(keeper_state_key(key, (uint16_t)node->slot)),
                                   bytes_of_str(k->job), bytes_of_str(k->text) };
    node->writing = true;
    node->written = false;
    node->sent_us = k->text_us;
    node->write_due_ms = clock_mono_ms() + KEEPER_WRITE_MS;
    client_command(node->client, on_written_elsewhere, node, (void *)(intptr_t)node->slot, 4,
                   words);
}

static void tick_node(struct keeper_node *node) {
    struct keeper *k = node->keeper;
    int64_t now_ms = clock_mono_ms();
    if (node->reopen_ms > 0 && now_ms >= node->reopen_ms) node_reopen(node);
    if (k->text == NULL || node->writing || now_ms < node->write_due_ms) return;
    if (node_is_ready(node) && keeper_may_write(k)) node_write(node);
}

void keeper_put(struct keeper *k, const struct job_record *record) {
    free(k->text);
    k->text = record != NULL ? record_to_text(record) : NULL;
    k->text_us = record != NULL ? record->watermark_us : 0;
}

int64_t keeper_written_us(const struct keeper *k) {
    return atomic_load(&k->written_us);
}

/* ---- running ---- */

static int64_t tick_ms(const struct keeper *k) {
    return min64(TICK_MAX_MS, k->lease_ms / (2 * MARGIN_PART) + 1);
}

static void keeper_tick(void *ctx) {
    struct keeper *k = ctx;
    if (k->lost) { /* before it was started */
        if (k->started) k->on_lost(k->ctx, k->lost_to);
        return;
    }
    loop_timer_start(k->timer, tick_ms(k));
    tick_lease(k);
    tick_order(k);
    for (size_t i = 0; i < k->n_nodes; i++) tick_node(k->nodes[i]);
}

struct keeper *keeper_new(struct deployment *target, int db, const char *job, const char *owner,
                          int64_t lease_ms) {
    struct keeper *k = mem_zalloc(sizeof(*k));
    k->target = target;
    k->loop = deployment_loop(target);
    k->db = db;
    k->lease_ms = lease_ms;
    snprintf(k->job, sizeof(k->job), "%s", job);
    snprintf(k->owner, sizeof(k->owner), "%s", owner);
    keeper_job_key(k->lease_key, job, "lease");
    keeper_job_key(k->epoch_key, job, "epoch");
    keeper_job_key(k->order_key, job, "order");
    k->lease_slot = slot_of_key(bytes_of_str(k->lease_key));
    atomic_store(&k->until_ms, INT64_MIN);
    k->change = (struct lease_change){ .lease_key = k->lease_key,
                                       .epoch_key = k->epoch_key,
                                       .owner = k->owner,
                                       .lease_ms = lease_ms,
                                       .ctx = k };
    k->timer = loop_timer_new(k->loop, keeper_tick, k);
    return k;
}

void keeper_start(struct keeper *k, void (*on_release)(void *ctx),
                  void (*on_lost)(void *ctx, const char *holder), void *ctx) {
    k->on_release = on_release;
    k->on_lost = on_lost;
    k->ctx = ctx;
    k->started = true;
    loop_timer_start(k->timer, 0);
}

const char *keeper_client_name(const struct keeper *k) {
    return k->name;
}

/* ---- acquiring ---- */

static void on_changed(void *ctx, struct lease_change *change) {}

/* A round of the loop; false where the wait is over for good. */
static bool wait_a_little(struct keeper *k, struct err *err) {
    if (call_interrupted(err)) return false;
    loop_run_once(k->loop, SLICE_MS);
    if (k->lease_node == NULL) return true;
    const struct err *last = client_last_error(k->lease_node->client);
    bool over = !node_is_ready(k->lease_node) && last->code != ERR_NONE &&
                err_class_of(last->code) == ERR_CLASS_STOP;
    if (over) *err = *last;
    return !over;
}

/* Somebody else may own the slot now, or the sentinels may name another primary. */
static void look_around(struct keeper *k, const struct err *why) {
    struct err err;
    if (!k->told_late) log_warn(why->place, "%s; waiting for the lease goes on", why->text);
    k->told_late = true;
    if (deployment_refresh(k->target, &err)) keeper_update(k);
}

static bool wait_for_node(struct keeper *k, struct err *err) {
    struct err why;
    int64_t look_ms = clock_mono_ms() + LOST_NODE_MS;
    while (!node_is_ready(k->lease_node)) {
        if (!wait_a_little(k, err)) return false;
        if (clock_mono_ms() < look_ms) continue;
        err_set(&why, ERR_CLUSTERDOWN, "target", "the node of the job's lease cannot be reached");
        look_around(k, k->lease_node != NULL &&
                               client_last_error(k->lease_node->client)->code != ERR_NONE
                           ? client_last_error(k->lease_node->client)
                           : &why);
        look_ms = clock_mono_ms() + LOST_NODE_MS;
    }
    return true;
}

/* One change from start to end; true also where it failed in a way that may pass. */
static bool change_now(struct keeper *k, const char *expected, uint64_t epoch, bool give_back,
                       struct err *err) {
    if (!wait_for_node(k, err)) return false;
    k->change.fn = on_changed;
    change_send(k, expected, epoch, give_back);
    while (k->change.busy)
        if (!wait_a_little(k, err) && k->change.busy) return false;
    if (k->change.result != LEASE_FAILED) return true;
    enum err_class class = err_class_of(k->change.err.code);
    if (class == ERR_CLASS_KEY || class == ERR_CLASS_STOP) {
        *err = k->change.err;
        return false;
    }
    if (k->change.err.code != ERR_TRYAGAIN) look_around(k, &k->change.err);
    return true;
}

static bool pause_for(struct keeper *k, int64_t ms, struct err *err) {
    int64_t until_ms = clock_mono_ms() + ms;
    while (clock_mono_ms() < until_ms)
        if (!wait_a_little(k, err)) return false;
    return true;
}

/* Until the lease is ours; k->change holds with what epoch. */
static bool take_lease(struct keeper *k, const char *predecessor,
                       void (*on_wait)(void *ctx, const char *holder), void *ctx, struct err *err) {
    char expected[LEASE_VALUE_MAX] = "", told[LEASE_VALUE_MAX] = "";
    for (;;) {
        if (!change_now(k, expected, 0, false, err)) return false;
        if (k->change.result == LEASE_DONE) return true;
        const char *holder = lease_owner_of(k->change.holder);
        expected[0] = '\0';
        if (k->change.result == LEASE_REFUSED) {
            /* Ours: a former change whose answer was lost. */
            bool free_to_take = strcmp(holder, k->owner) == 0 ||
                                (predecessor != NULL && strcmp(holder, predecessor) == 0);
            if (k->change.holder[0] == '\0' || free_to_take) {
                snprintf(expected, sizeof(expected), "%s", k->change.holder);
                continue;
            }
            if (on_wait != NULL && strcmp(told, k->change.holder) != 0) on_wait(ctx, holder);
            snprintf(told, sizeof(told), "%s", k->change.holder);
        }
        if (!pause_for(k, min64(STANDBY_LOOK_MS, k->lease_ms / 4), err)) return false;
    }
}

static void kill_by_id(struct keeper *k, struct client *client, struct bytes id) {
    struct call_reply reply;
    struct err err;
    const struct bytes words[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("KILL"),
                                   BYTES_LITERAL("ID"), id };
    if (!call_send(k->loop, client, deployment_reply_timeout_ms(k->target), &reply, &err, 4, words))
        return;
    if (resp_is_error(&reply.item) || reply.item.num > 0)
        log_info(client_place(client), "job %s: a connection of its former holder %s", k->job,
                 resp_is_error(&reply.item) ? "could not be ended" : "was ended");
    call_reply_fini(&reply);
}

/* Lines "id=7 addr=... name=longhaul:JOB:EPOCH ...": all epochs, as a target that was emptied
 * counts them anew. */
static void kill_named(struct keeper *k, struct client *client, struct bytes list) {
    char prefix[KEEPER_NAME_MAX];
    snprintf(prefix, sizeof(prefix), "longhaul:%s:", k->job);
    while (list.len > 0) {
        struct bytes line = bytes_split(&list, '\n'), id = bytes_of("", 0);
        bool named = false;
        while (line.len > 0) {
            struct bytes value = bytes_split(&line, ' '), name = bytes_split(&value, '=');
            if (bytes_equal_str(name, "id")) id = value;
            if (bytes_equal_str(name, "name")) named = bytes_has_prefix(value, prefix);
        }
        if (named) kill_by_id(k, client, id);
    }
}

static bool end_former_on(struct keeper *k, const struct address *address, struct err *err) {
    struct call_reply list;
    struct client *client = deployment_call_open(k->target, address, err);
    if (client == NULL) return false;
    bool ok =
        call_ok(k->loop, client, deployment_reply_timeout_ms(k->target), &list, err, "CLIENT LIST");
    if (ok && resp_is_string(&list.item)) kill_named(k, client, list.item.str);
    if (ok) call_reply_fini(&list);
    if (!ok && err_class_of(err->code) == ERR_CLASS_KEY) {
        log_warn(
            err->place,
            "CLIENT LIST is refused: should the job's former holder still run, its last commands cannot be stopped");
        ok = true;
    }
    client_close(&client);
    return ok;
}

/* What a former holder has sent may lie unread in the servers, and new commands of its may be on
 * their way. */
static bool end_former(struct keeper *k, struct err *err) {
    struct topology *t = deployment_topology(k->target);
    bool ok = true;
    for (int i = 0; i < t->n_nodes && ok; i++)
        if (topology_is_primary(t, i)) ok = end_former_on(k, &t->nodes[i].address, err);
    topology_unref(&t);
    return ok;
}

/* Not all primaries need to be there at once; the topology may change. */
static bool end_former_everywhere(struct keeper *k, struct err *err) {
    while (!end_former(k, err)) {
        if (err->code == ERR_INTERRUPTED || err_class_of(err->code) == ERR_CLASS_STOP) return false;
        look_around(k, err);
        if (!change_now(k, k->value, k->epoch, false, err) || !pause_for(k, STANDBY_LOOK_MS, err))
            return false;
        if (k->change.result == LEASE_REFUSED) return true; /* to be seen by the caller */
    }
    return true;
}

bool keeper_acquire(struct keeper *k, const char *predecessor,
                    void (*on_wait)(void *ctx, const char *holder), void *ctx, uint64_t *epoch,
                    struct err *err) {
    keeper_update(k);
    do {
        k->epoch = 0;
        if (!take_lease(k, predecessor, on_wait, ctx, err)) return false;
        uint64_t mine = k->change.known_epoch;
        snprintf(k->value, sizeof(k->value), "%" PRIu64 " %s", mine, k->owner);
        snprintf(k->name, sizeof(k->name), "longhaul:%s:%" PRIu64, k->job, mine);
        *epoch = mine;
        k->epoch = mine;
        /* Once more: ending the others may have taken longer than the lease. */
        if (!end_former_everywhere(k, err)) return false;
        do {
            if (!change_now(k, k->value, mine, false, err)) return false;
        } while (k->change.result == LEASE_FAILED);
    } while (k->change.result != LEASE_DONE);
    k->told_late = false;
    lease_is_ours(k);
    for (size_t i = 0; i < k->n_nodes; i++)
        if (node_is_ready(k->nodes[i])) node_name(k->nodes[i]);
    k->change.fn = on_renewed;
    loop_timer_start(k->timer, tick_ms(k));
    return true;
}

/* ---- ending ---- */

static bool all_written(const struct keeper *k) {
    for (size_t i = 0; i < k->n_nodes; i++)
        if (node_is_ready(k->nodes[i]) && !k->nodes[i]->written) return false;
    return true;
}

/* A record that is on its way is an older one. */
static void write_last(struct keeper *k, int64_t deadline_ms) {
    for (size_t i = 0; i < k->n_nodes; i++) {
        k->nodes[i]->written = false;
        k->nodes[i]->write_due_ms = 0;
        while (k->nodes[i]->writing && clock_mono_ms() < deadline_ms)
            loop_run_once(k->loop, SLICE_MS);
        k->nodes[i]->written = false;
        k->nodes[i]->write_due_ms = 0;
    }
    while (!all_written(k) && keeper_may_write(k) && clock_mono_ms() < deadline_ms) {
        for (size_t i = 0; i < k->n_nodes; i++) tick_node(k->nodes[i]);
        loop_run_once(k->loop, SLICE_MS);
    }
}

void keeper_end(struct keeper *k, const struct job_record *last, int64_t timeout_ms) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    loop_timer_stop(k->timer);
    k->ending = true;
    if (k->epoch == 0 || k->lost) return;
    if (last != NULL) keeper_put(k, last);
    if (k->text != NULL) write_last(k, deadline_ms);
    while (k->change.busy && clock_mono_ms() < deadline_ms) loop_run_once(k->loop, SLICE_MS);
    if (k->lost || k->change.busy || !node_is_ready(k->lease_node)) return;
    k->change.fn = on_changed;
    change_send(k, k->value, k->epoch, true);
    while (k->change.busy && clock_mono_ms() < deadline_ms) loop_run_once(k->loop, SLICE_MS);
    atomic_store(&k->until_ms, INT64_MIN);
}

static void keeper_release(void *ctx) {
    struct keeper *k = ctx;
    free(k->nodes);
    free(k->text);
    free(k);
}

void keeper_free(struct keeper **keeper) {
    struct keeper *k = *keeper;
    *keeper = NULL;
    if (k == NULL) return;
    k->lost = true; /* nobody is told any more */
    k->change.fn = on_changed;
    for (size_t i = 0; i < k->n_nodes; i++) {
        struct keeper_node *node = k->nodes[i];
        k->nodes[i] = NULL;
        node_free(node);
    }
    k->n_nodes = 0;
    loop_timer_free(&k->timer);
    loop_defer(k->loop, keeper_release, k);
}
