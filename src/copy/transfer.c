/* See transfer.h; this file is the turns and starts of transfers. */
#include "copy/transfer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "copy/database.h"
#include "copy/transfer_priv.h"

/* ---- types ---- */

const struct transfer_kind *transfer_kind_of(struct bytes type) {
    static const struct transfer_kind kinds[] = {
        { "string", VALUE_STRING, "STRLEN", "GETRANGE", "GET", "APPEND", 1, false, plain_begin,
          plain_continue },
        { "list", VALUE_LIST, "LLEN", "LRANGE", "LRANGE", "RPUSH", 1, false, plain_begin,
          plain_continue },
        { "set", VALUE_SET, "SCARD", "SSCAN", "SMEMBERS", "SADD", 1, true, plain_begin,
          plain_continue },
        { "hash", VALUE_HASH, "HLEN", "HSCAN", "HGETALL", "HSET", 2, true, plain_begin,
          plain_continue },
        { "zset", VALUE_ZSET, "ZCARD", "ZSCAN", "ZRANGE", "ZADD", 2, true, plain_begin,
          plain_continue },
        { "stream", VALUE_STREAM, "XLEN", "XRANGE", NULL, "XADD", 0, false, stream_begin,
          stream_continue },
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (bytes_equal_str(type, kinds[i].type)) return &kinds[i];
    return NULL;
}

/* ---- beginning ---- */

/* Drops the data of an attempt. */
static void transfer_reset(struct transfer *t) {
    /* The size of an element is known better after each attempt. */
    t->pieces = (struct pieces){ .element_bytes = t->pieces.element_bytes, .cursor = "0" };
    t->bytes = 0;
    t->length = 0;
    t->expiry_ms = -1;
    t->expects_length = t->keeps_sign = false;
    block_unref(&t->value.block);
    field_times_fini(&t->times);
    stream_copy_fini(&t->stream);
    places_reset(&t->places);
}

/* Values of modules: no commands for them are known here. */
static void transfer_refuse_type(struct transfer *t, struct bytes type) {
    char name[64];
    struct err err;
    if (t->flight->plan->can.dump) {
        transfer_by_dump(t);
        return;
    }
    err_set(&err, ERR_TYPE, "", "%s (type %s)", err_sentence(ERR_TYPE),
            bytes_escape(type, name, sizeof(name)));
    transfer_fail(t, t->source, &err);
}

static void on_transfer_type(struct transfer *t, const struct reply *reply) {
    if (bytes_equal_str(reply->item.str, "none")) {
        transfer_missing(t);
        return;
    }
    t->kind = transfer_kind_of(reply->item.str);
    if (t->kind == NULL) {
        transfer_refuse_type(t, reply->item.str);
    } else if (!t->large && !t->flight->plan->structured) {
        plain_weigh(t);
    } else {
        t->kind->begin(t);
    }
}

static void transfer_begin(struct transfer *t) {
    static const struct transfer_step step = { on_transfer_type, false };
    transfer_move(t, TRANSFER_STARTING);
    transfer_reset(t);
    t->to = t->key;
    t->target_reconnects = client_reconnects(t->target->client);
    if (t->large) {
        TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("UNWATCH"));
        TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("WATCH"), t->key);
    }
    TRANSFER_READ(t, &step, BYTES_LITERAL("TYPE"), t->key);
}

/* ---- the end of the round ---- */

static void transfer_free(struct transfer *t) {
    struct transfer **p = &t->all->running;
    while (*p != t) p = &(*p)->next;
    *p = t->next;
    transfer_reset(t);
    outq_fini(&t->scratch);
    free((char *)t->key.ptr);
    free(t);
}

/* No callback of these transfers is running here. */
static void transfers_settle(struct transfers *all) {
    while (all->settling != NULL) {
        struct transfer *t = all->settling;
        all->settling = t->next_settling;
        t->settles = false;
        if (t->state == TRANSFER_AGAIN) {
            transfer_begin(t);
        } else {
            transfer_free(t);
        }
    }
}

/* ---- the reader of large keys ---- */

static struct transfer *transfers_large(struct transfers *all) {
    for (struct transfer *t = all->running; t != NULL; t = t->next)
        if (t->large && t->entry != NULL) return t;
    return NULL;
}

static void on_reader_ready(void *ctx) {
    struct transfer *t = transfers_large(ctx);
    if (t != NULL && t->state == TRANSFER_OPENING) transfer_begin(t);
}

static void on_reader_down(void *ctx, const struct err *err, bool final) {
    struct transfers *all = ctx;
    struct err copy = *err;
    client_close(&all->reader);
    struct transfer *t = transfers_large(all);
    if (t != NULL) transfer_fail(t, t->source, &copy);
}

static void on_reader_redirect(void *ctx, const struct redirect *redirect) {
    struct transfers *all = ctx;
    pool_follow(all->flight->source, redirect);
}

static void transfers_open_reader(struct transfers *all, const struct pool_node *node) {
    static const struct client_events events = { .on_ready = on_reader_ready,
                                                 .on_down = on_reader_down,
                                                 .on_redirect = on_reader_redirect };
    if (all->reader != NULL && address_equal(client_address(all->reader), &node->address)) return;
    client_close(&all->reader);
    struct client_settings settings =
        deployment_client_settings(all->flight->plan->source, &node->address);
    settings.reconnect = false;
    settings.reply_bytes_max = CLIENT_VALUES_MAX;
    settings.identify = all->flight->plan->live;
    all->reader = client_open(all->flight->loop, &settings, &events, all);
}

/* ---- turns ---- */

/* The node that the key's slot is on; NULL, and the key waits, while it is not ready. */
static struct pool_node *transfers_route(struct transfers *all, struct pool *side,
                                         struct key_entry *entry) {
    struct flight *flight = all->flight;
    bool writes = side == flight->target && !flight->plan->dry_run;
    if (writes && !database_admits(flight, entry)) return NULL;
    struct pool_node *node =
        side == flight->target ? flight_target(flight, entry) : pool_route(side, entry->slot);
    if (node == NULL) {
        flight_park_unowned(all->flight, entry, side);
        return NULL;
    }
    if (client_is_ready(node->client)) return node;
    flight_park(all->flight, entry);
    return NULL;
}

static uint64_t key_expected_bytes(const struct key_entry *entry) {
    return (entry->flags & KEY_MEASURED) ? entry->data : TRANSFER_UNMEASURED_BYTES;
}

static struct transfer *transfer_new(struct transfers *all, struct key_entry *entry, bool large) {
    struct transfer *t = mem_zalloc(sizeof(*t));
    char *key = mem_alloc(entry->len + 1);
    memcpy(key, entry->bytes, entry->len);
    *t = (struct transfer){ .all = all,
                            .flight = all->flight,
                            .next = all->running,
                            .entry = entry,
                            .measured = (entry->flags & KEY_MEASURED) != 0,
                            .measured_bytes = (entry->flags & KEY_MEASURED) ? entry->data : 0,
                            .large = large,
                            .key = bytes_of(key, entry->len),
                            .db = entry->db,
                            .slot = entry->slot };
    all->running = t;
    transfer_name(entry->slot, t->name);
    outq_init(&t->scratch);
    entry->flags &= ~(uint32_t)(KEY_ASK_SOURCE | KEY_ASK_TARGET);
    return t;
}

static void transfer_start_large(struct transfer *t) {
    t->all->large_busy = true;
    transfers_open_reader(t->all, t->source);
    t->reader = t->all->reader;
    if (client_is_ready(t->reader)) transfer_begin(t);
}

static void transfer_start_small(struct transfer *t) {
    t->all->n_small++;
    t->reserved = key_expected_bytes(t->entry);
    estimate_reserve(&t->flight->estimate, t->reserved);
    transfer_begin(t);
}

static void transfers_start(struct transfers *all, struct key_entry *entry, bool large) {
    struct pool_node *source = transfers_route(all, all->flight->source, entry),
                     *target =
                         source == NULL ? NULL : transfers_route(all, all->flight->target, entry);
    if (target == NULL) return;
    struct transfer *t = transfer_new(all, entry, large);
    t->source = source;
    t->target = target;
    t->reader = source->client;
    if (large) {
        transfer_start_large(t);
    } else {
        transfer_start_small(t);
    }
}

/* A structured copy sends all keys but strings this way; otherwise only large keys come here. */
static bool key_is_large(const struct key_entry *entry) {
    if (entry->flags & KEY_LARGE) return true;
    return (entry->flags & KEY_MEASURED) && entry->data >= TRANSFER_SMALL_BYTES;
}

void transfers_add(struct transfers *all, struct key_entry *entry) {
    key_list_add(key_is_large(entry) ? &all->large : &all->small, entry);
    flight_schedule(all->flight);
}

static struct key_entry *key_list_pop(struct key_list *list) {
    struct key_entry *entry = list->head;
    if (entry == NULL) return NULL;
    list->head = entry->next;
    if (list->head == NULL) list->tail = NULL;
    return entry;
}

void transfers_work(struct transfers *all, bool may_start) {
    transfers_settle(all);
    if (!may_start) return;
    while (!all->large_busy && all->large.head != NULL)
        transfers_start(all, key_list_pop(&all->large), true);
    while (all->n_small < TRANSFER_SMALL_MAX && all->small.head != NULL) {
        if (!flight_has_room(all->flight, key_expected_bytes(all->small.head))) break;
        transfers_start(all, key_list_pop(&all->small), false);
    }
}

/* ---- interruptions ---- */

void transfers_forget_node(struct transfers *all, struct pool_node *node) {
    for (struct transfer *t = all->running; t != NULL; t = t->next) {
        if (t->entry == NULL || (t->source != node && t->target != node)) continue;
        struct err err;
        err_set(&err, ERR_CLOSED, "", "the node is no longer part of the deployment");
        transfer_fail(t, NULL, &err);
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

struct client *transfers_reader(const struct transfers *all) {
    return all->reader;
}

static void transfers_requeue(struct flight *flight, struct key_list *list) {
    for (struct key_entry *entry = key_list_pop(list); entry != NULL; entry = key_list_pop(list))
        flight_requeue(flight, entry);
}

void transfers_stop(struct transfers *all) {
    struct transfer *t = transfers_large(all);
    transfers_requeue(all->flight, &all->large);
    transfers_requeue(all->flight, &all->small);
    if (t != NULL) transfer_requeue(t);
}

struct transfers *transfers_new(struct flight *flight) {
    struct transfers *all = mem_zalloc(sizeof(*all));
    all->flight = flight;
    return all;
}

void transfers_free(struct transfers **transfers) {
    struct transfers *all = *transfers;
    *transfers = NULL;
    if (all == NULL) return;
    client_close(&all->reader);
    loop_settle(all->flight->loop);
    while (all->running != NULL) transfer_free(all->running);
    free(all);
}
