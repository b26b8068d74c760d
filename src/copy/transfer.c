/* See transfer.h; this file is the way of a key, from its turn to its end. */
#include "copy/transfer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "copy/transfer_priv.h"

struct transfers {
    struct lane *lane;
    struct key_list large, small; /* waiting */
    struct transfer *running;     /* and ended ones whose replies are not all in */
    struct transfer *settling;    /* of those, to be begun again or freed at the end of the round */
    size_t n_small;
    bool large_busy;
    struct client *reader; /* for the large one: a connection that may WATCH */
};

static void transfer_begin(struct transfer *t);

/* ---- ends ---- */

void transfer_reset(struct transfer *t) {
    t->bytes = t->elements = 0;
    t->offset = t->length = 0;
    t->expiry_ms = -1;
    t->reading = t->read_all = t->sealing = t->expects_length = t->in_block = false;
    t->unacked = 0;
    snprintf(t->cursor, sizeof(t->cursor), "0");
    block_unref(&t->value_block);
    field_times_fini(&t->times);
    stream_fini(&t->stream);
    places_reset(&t->places);
}

static void transfer_free(struct transfer *t) {
    struct transfer **p = &t->all->running;
    while (*p != t) p = &(*p)->next;
    *p = t->next;
    transfer_reset(t);
    free(t->key_bytes);
    outq_fini(&t->scratch);
    free(t);
}

/* Nobody looks at the reply. What cannot be removed now is removed at the next start; a live job
 * names it, as a key that the source does not have. */
static void drop_name(struct transfer *t) {
    struct client *client = t->target->client;
    const struct copy_plan *plan = t->lane->plan;
    if (!t->holds_name || plan->dry_run || t->lane->closing) return;
    if (client == NULL || !client_is_ready(client) || !lane_may_write(t->lane)) {
        if (plan->live) lane_name(t->lane, t->db, bytes_of_str(t->name), t->slot, REASON_DELETE);
        return;
    }
    const struct bytes words[] = { BYTES_LITERAL("UNLINK"), bytes_of_str(t->name) };
    client_select(client, plan->target_db >= 0 ? plan->target_db : t->db);
    client_command(client, NULL, NULL, NULL, 2, words);
}

static void release_name(struct transfer *t) {
    t->holds_name = false;
    for (struct transfer *other = t->all->running; other != NULL; other = other->next) {
        if (!other->waits || other->slot != t->slot) continue;
        other->waits = false;
        other->again = true;
        transfer_settle(other);
        return;
    }
}

/* Takes the key out of the transfer. */
static struct key_entry *transfer_end(struct transfer *t) {
    struct key_entry *entry = t->entry;
    t->entry = NULL;
    if (t->large) {
        t->all->large_busy = false;
    } else {
        t->all->n_small--;
    }
    t->lane->flight.estimate.reading_bytes -= t->reserved;
    t->reserved = 0;
    release_name(t);
    lane_kick(t->lane);
    return entry;
}

void transfer_fail(struct transfer *t, struct pool_node *node, const struct err *err) {
    if (t->entry == NULL) return;
    struct err copy = *err;
    drop_name(t);
    struct key_entry *entry = transfer_end(t);
    lane_key_failed(t->lane, entry, node, &copy);
}

void transfer_pause(struct transfer *t) {
    if (t->entry != NULL) lane_park(t->lane, transfer_end(t));
}

void transfer_again(struct transfer *t) {
    if (t->entry == NULL || t->again) return;
    if (++t->attempts < TRANSFER_ATTEMPTS) {
        t->again = true;
        return;
    }
    struct err err;
    err_set(&err, ERR_CHANGING, "", "%s (%d attempts)", err_sentence(ERR_CHANGING),
            TRANSFER_ATTEMPTS);
    transfer_fail(t, t->source, &err);
}

void transfer_gone(struct transfer *t) {
    if (t->entry == NULL) return;
    drop_name(t);
    struct key_entry *entry = transfer_end(t);
    lane_key_missing(t->lane, entry, t->reader);
}

void transfer_enlarge(struct transfer *t) {
    if (t->entry == NULL) return;
    drop_name(t);
    struct key_entry *entry = transfer_end(t);
    entry->flags |= KEY_LARGE;
    transfers_add(t->all, entry);
}

/* The stream is there, and yet not whole: that must show in the summary and in the exit status. */
static void tell_lost_pending(struct transfer *t) {
    uint64_t lost = groups_lost(t);
    struct err err;
    if (lost == 0) return;
    err_set(
        &err, ERR_BAD_PAYLOAD, "target",
        "copied, but without %llu pending entries whose messages are deleted; no command makes them",
        (unsigned long long)lost);
    giveup_add(t->lane->plan->giveup, t->entry->db, t->key, &err);
}

static void transfer_done(struct transfer *t) {
    uint64_t bytes = t->bytes;
    if (t->kind->value == VALUE_STREAM) tell_lost_pending(t);
    enum value_type type = t->kind->value;
    /* of an attempt before, when it was of another type */
    if (t->to.ptr == t->key.ptr) drop_name(t);
    struct key_entry *entry = transfer_end(t);
    entry->flags = (entry->flags & ~(15u << KEY_TYPE_SHIFT) & ~(uint32_t)KEY_GONE) |
                   (uint32_t)type << KEY_TYPE_SHIFT;
    entry->data = bytes;
    apply_acknowledged(t->lane, entry);
}

void transfer_settle(struct transfer *t) {
    if (t->source_due > 0 || t->target_due > 0 || t->settles) return;
    if (t->entry != NULL && !t->again) return;
    t->settles = true;
    t->next_settling = t->all->settling;
    t->all->settling = t;
    lane_kick(t->lane);
}

static void settle_one(struct transfer *t) {
    t->settles = false;
    if (t->entry != NULL && t->again) transfer_begin(t);
    if (t->entry == NULL && t->source_due == 0 && t->target_due == 0) transfer_free(t);
}

/* No callback is under way here, neither of the transfers nor of their connections. */
static void settle_all(struct transfers *all) {
    while (all->settling != NULL) {
        struct transfer *t = all->settling;
        all->settling = t->next_settling;
        settle_one(t);
    }
}

/* ---- the end on the target ---- */

static void on_exec(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item item;
    if (!resp_is_aggregate(&reply->item)) {
        transfer_again(t);
        return;
    }
    for (int64_t i = 0; i < reply->item.num; i++) {
        struct resp_cursor element = c;
        if (!resp_next(&element, &item)) break;
        if (resp_is_error(&item)) {
            transfer_refused(t, t->target, t->target->client, &item);
            return;
        }
        resp_skip(&c);
    }
    transfer_done(t);
}

void transfer_begin_block(struct transfer *t) {
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("MULTI"));
    t->in_block = true;
}

void transfer_end_block(struct transfer *t) {
    static const struct transfer_step step = { on_exec, false };
    if (t->lane->plan->dry_run) {
        transfer_done(t);
    } else {
        TRANSFER_SEND(t, &step, BYTES_LITERAL("EXEC"));
        t->in_block = false;
    }
}

void transfer_commit(struct transfer *t) {
    transfer_begin_block(t);
    if (t->holds_name) {
        /* RENAME alone would free the old value while the server stands still. */
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("UNLINK"), t->key);
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("RENAME"), bytes_of_str(t->name),
                      t->key);
    }
    transfer_write_expiry(t);
    transfer_end_block(t);
}

static void on_target_length(struct transfer *t, const struct reply *reply) {
    if (reply->item.num == t->length) {
        transfer_commit(t);
        return;
    }
    log_debug("copy", "the temporary key has %lld elements instead of %lld",
              (long long)reply->item.num, (long long)t->length);
    transfer_again(t);
}

/* The temporary key may have been evicted or taken by somebody else meanwhile: then it is not put
 * in place. */
void transfer_check(struct transfer *t) {
    static const struct transfer_step step = { on_target_length, false };
    if (!t->expects_length || t->lane->plan->dry_run) {
        transfer_commit(t);
        return;
    }
    TRANSFER_SEND(t, &step, bytes_of_str(t->kind->length), t->to);
}

/* ---- the beginning ---- */

bool transfer_take_name(struct transfer *t) {
    for (struct transfer *other = t->all->running; other != NULL; other = other->next) {
        if (other == t || !other->holds_name || other->slot != t->slot) continue;
        t->waits = true;
        return false;
    }
    t->holds_name = true;
    t->to = bytes_of_str(t->name);
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("UNLINK"), t->to);
    return t->entry != NULL;
}

void transfer_by_dump(struct transfer *t) {
    struct lane *lane = t->lane;
    if (t->entry == NULL) return;
    drop_name(t);
    lane_stage(lane, transfer_end(t), STAGE_DUMP);
}

/* Types of modules are beyond commands that are known here. */
static void transfer_unknown(struct transfer *t, struct bytes type) {
    char name[64];
    struct err err;
    if (t->lane->plan->can.dump) {
        transfer_by_dump(t);
        return;
    }
    err_set(&err, ERR_TYPE, "", "%s (type %s)", err_sentence(ERR_TYPE),
            bytes_escape(type, name, sizeof(name)));
    transfer_fail(t, t->source, &err);
}

static void on_type(struct transfer *t, const struct reply *reply) {
    if (bytes_equal_str(reply->item.str, "none")) {
        transfer_gone(t);
        return;
    }
    t->kind = transfer_kind_of(reply->item.str);
    if (t->kind == NULL) {
        transfer_unknown(t, reply->item.str);
    } else if (!t->large && !t->lane->plan->structured) {
        plain_weigh(t);
    } else if (t->kind->value == VALUE_STREAM) {
        stream_begin(t);
    } else {
        plain_begin(t);
    }
}

void transfer_continue(struct transfer *t) {
    if (t->entry == NULL || t->again || t->waits) return;
    if (t->kind->value == VALUE_STREAM) {
        stream_continue(t);
    } else {
        plain_continue(t);
    }
}

static void transfer_begin(struct transfer *t) {
    static const struct transfer_step step = { on_type, false };
    t->again = false;
    transfer_reset(t);
    t->to = t->key;
    t->target_reconnects = client_reconnects(t->target->client);
    if (t->large) {
        TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("UNWATCH"));
        TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("WATCH"), t->key);
    }
    TRANSFER_READ(t, &step, BYTES_LITERAL("TYPE"), t->key);
}

/* ---- the reader of large keys ---- */

static struct transfer *large_one(struct transfers *all) {
    for (struct transfer *t = all->running; t != NULL; t = t->next)
        if (t->large && t->entry != NULL) return t;
    return NULL;
}

static void on_reader_ready(void *ctx) {
    struct transfer *t = large_one(ctx);
    if (t == NULL || !t->opening) return;
    t->opening = false;
    transfer_begin(t);
    transfer_settle(t);
}

static void on_reader_down(void *ctx, const struct err *err, bool final) {
    struct transfers *all = ctx;
    struct err copy = *err;
    client_close(&all->reader);
    struct transfer *t = large_one(all);
    if (t == NULL) return;
    transfer_fail(t, t->source, &copy);
    transfer_settle(t);
}

static void on_reader_redirect(void *ctx, const struct redirect *redirect) {
    struct transfers *all = ctx;
    pool_follow(all->lane->flight.source, redirect);
}

static void open_reader(struct transfers *all, const struct pool_node *node) {
    static const struct client_events events = { .on_ready = on_reader_ready,
                                                 .on_down = on_reader_down,
                                                 .on_redirect = on_reader_redirect };
    if (all->reader != NULL && address_equal(client_address(all->reader), &node->address)) return;
    client_close(&all->reader);
    struct client_settings settings =
        deployment_client_settings(all->lane->plan->source, &node->address);
    settings.reconnect = false;
    settings.reply_bytes_max = CLIENT_VALUES_MAX;
    settings.identify = all->lane->plan->live;
    all->reader = client_open(all->lane->loop, &settings, &events, all);
}

/* ---- turns ---- */

static struct pool_node *ready_node(struct lane *lane, struct pool *side, struct key_entry *entry) {
    struct pool_node *node = pool_route(side, entry->slot);
    if (node == NULL) {
        lane_park_unowned(lane, entry, side);
        return NULL;
    }
    if (client_is_ready(node->client)) return node;
    lane_park(lane, entry);
    return NULL;
}

static uint64_t expected_bytes(const struct key_entry *entry) {
    return (entry->flags & KEY_MEASURED) ? entry->data : TRANSFER_UNMEASURED_BYTES;
}

static void transfer_start(struct transfers *all, struct key_entry *entry, bool large) {
    struct lane *lane = all->lane;
    struct pool_node *source = ready_node(lane, lane->source, entry);
    struct pool_node *target = source == NULL ? NULL : ready_node(lane, lane->target, entry);
    if (target == NULL) return;
    struct transfer *t = mem_zalloc(sizeof(*t));
    *t = (struct transfer){ .all = all,
                            .lane = lane,
                            .next = all->running,
                            .entry = entry,
                            .large = large,
                            .db = entry->db,
                            .slot = entry->slot,
                            .source = source,
                            .target = target,
                            .reader = source->client };
    all->running = t;
    t->key_bytes = mem_alloc(entry->len + 1);
    memcpy(t->key_bytes, entry->bytes, entry->len);
    t->key = bytes_of(t->key_bytes, entry->len);
    transfer_name(entry->slot, t->name);
    outq_init(&t->scratch);
    entry->flags &= ~(uint32_t)(KEY_ASK_SOURCE | KEY_ASK_TARGET);
    if (large) {
        all->large_busy = true;
        open_reader(all, source);
        t->reader = all->reader;
        t->opening = !client_is_ready(t->reader);
        if (t->opening) return;
    } else {
        all->n_small++;
        t->reserved = expected_bytes(entry);
        lane->flight.estimate.reading_bytes += t->reserved;
    }
    transfer_begin(t);
    transfer_settle(t);
}

/* The structured copy sends every key that is no string this way; otherwise only the large come. */
static bool is_large(const struct lane *lane, const struct key_entry *entry) {
    if (entry->flags & KEY_LARGE) return true;
    return (entry->flags & KEY_MEASURED) && entry->data >= TRANSFER_SMALL_BYTES;
}

void transfers_add(struct transfers *all, struct key_entry *entry) {
    key_list_add(is_large(all->lane, entry) ? &all->large : &all->small, entry);
    lane_kick(all->lane);
}

static struct key_entry *key_list_pop(struct key_list *list) {
    struct key_entry *entry = list->head;
    if (entry == NULL) return NULL;
    list->head = entry->next;
    if (list->head == NULL) list->tail = NULL;
    return entry;
}

void transfers_work(struct transfers *all) {
    struct lane *lane = all->lane;
    settle_all(all);
    if (lane->stopping || !lane_may_write(lane) ||
        (lane->hold_until_ms > 0 && clock_mono_ms() < lane->hold_until_ms))
        return;
    while (!all->large_busy && all->large.head != NULL)
        transfer_start(all, key_list_pop(&all->large), true);
    while (all->n_small < TRANSFER_SMALL_MAX && all->small.head != NULL) {
        struct key_entry *entry = all->small.head;
        if (!lane_has_room_for(lane, expected_bytes(entry))) break;
        transfer_start(all, key_list_pop(&all->small), false);
    }
}

/* ---- interruptions ---- */

void transfers_forget_node(struct transfers *all, struct pool_node *node) {
    for (struct transfer *t = all->running; t != NULL; t = t->next) {
        if (t->entry == NULL || (t->source != node && t->target != node)) continue;
        struct err err;
        err_set(&err, ERR_CLOSED, "", "the node is no longer part of the deployment");
        transfer_fail(t, NULL, &err);
        transfer_settle(t);
    }
}

bool transfers_use_name(const struct transfers *all, int db, uint16_t slot) {
    for (const struct transfer *t = all->running; t != NULL; t = t->next)
        if (t->entry != NULL && t->holds_name && t->db == db && t->slot == slot) return true;
    return false;
}

struct slot_set transfers_names(const struct transfers *all) {
    struct slot_set names = { { 0 } };
    for (const struct transfer *t = all->running; t != NULL; t = t->next)
        if (t->entry != NULL && t->holds_name) slot_set_add(&names, t->slot);
    return names;
}

void transfers_check_trust(struct transfers *all) {
    if (all->reader != NULL) lane_break_untrusted(all->lane, all->reader);
}

static void requeue_list(struct lane *lane, struct key_list *list) {
    for (struct key_entry *entry = key_list_pop(list); entry != NULL; entry = key_list_pop(list))
        lane_requeue(lane, entry);
}

void transfers_stop(struct transfers *all) {
    struct transfer *t = large_one(all);
    requeue_list(all->lane, &all->large);
    requeue_list(all->lane, &all->small);
    if (t == NULL) return;
    drop_name(t);
    lane_requeue(all->lane, transfer_end(t));
    transfer_settle(t);
}

struct transfers *transfers_new(struct lane *lane) {
    struct transfers *all = mem_zalloc(sizeof(*all));
    all->lane = lane;
    return all;
}

void transfers_free(struct transfers **transfers) {
    struct transfers *all = *transfers;
    *transfers = NULL;
    if (all == NULL) return;
    client_close(&all->reader);
    loop_settle(all->lane->loop);
    while (all->running != NULL) transfer_free(all->running);
    free(all);
}
