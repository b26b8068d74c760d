/* See orders.h. */
#include "store/orders.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/job_store_priv.h"
#include "store/lease_priv.h"

static const char *const order_kinds[] = { [ORDER_RELEASE] = "release" };

enum { ORDER_KINDS = sizeof(order_kinds) / sizeof(order_kinds[0]), ORDER_NUMBER_MAX = 24 };

/* ---- an order ---- */

void order_make_release(struct order *order, const char *hold) {
    uint32_t chance = 0;
    *order = (struct order){ .kind = ORDER_RELEASE, .given_us = clock_wall_us() };
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance))
        chance = (uint32_t)clock_mono_us();
    snprintf(order->id, sizeof(order->id), "%" PRId64 "-%08" PRIx32, order->given_us, chance);
    snprintf(order->hold, sizeof(order->hold), "%s", hold);
}

char *order_to_text(const struct order *order) {
    json_t *json = json_pack("{ss ss ss sI}", "id", order->id, "kind", order_kinds[order->kind],
                             "hold", order->hold, "given_us", (json_int_t)order->given_us);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static bool order_from_json(struct order *order, const json_t *json, struct err *err) {
    const char *id = json_string_value(json_object_get(json, "id"));
    const char *kind = json_string_value(json_object_get(json, "kind"));
    const char *hold = json_string_value(json_object_get(json, "hold"));
    *order = (struct order){ .given_us = json_integer_value(json_object_get(json, "given_us")) };
    if (id == NULL || id[0] == '\0' || strlen(id) >= sizeof(order->id))
        return err_set(err, ERR_PROTOCOL, "order", "\"id\" is missing, empty or too long");
    if (hold == NULL || strlen(hold) >= sizeof(order->hold))
        return err_set(err, ERR_PROTOCOL, "order", "\"hold\" is missing or too long");
    snprintf(order->id, sizeof(order->id), "%s", id);
    snprintf(order->hold, sizeof(order->hold), "%s", hold);
    for (int i = 0; i < ORDER_KINDS && kind != NULL; i++) {
        order->kind = (enum order_kind)i;
        if (strcmp(kind, order_kinds[i]) == 0) return true;
    }
    return err_set(err, ERR_PROTOCOL, "order", "\"kind\" is no order that this longhaul knows");
}

bool order_from_text(struct order *order, struct bytes text, struct err *err) {
    json_error_t error;
    json_t *json = json_loadb(text.ptr, text.len, 0, &error);
    if (json == NULL) return err_set(err, ERR_PROTOCOL, "order", "is no JSON: %s", error.text);
    bool ok = order_from_json(order, json, err);
    json_decref(json);
    return ok;
}

/* ---- giving ---- */

bool orders_give(struct deployment *target, int db, const char *job, const struct order *order,
                 struct err *err) {
    char key[STORE_KEY_MAX], life[ORDER_NUMBER_MAX], *text = order_to_text(order);
    snprintf(life, sizeof(life), "%d", ORDER_LIFE_S);
    store_job_key(key, job, "order");
    const struct bytes push[] = { BYTES_LITERAL("RPUSH"), bytes_of_str(key), bytes_of_str(text) };
    const struct bytes expire[] = { BYTES_LITERAL("EXPIRE"), bytes_of_str(key),
                                    bytes_of_str(life) };
    const struct bytes del[] = { BYTES_LITERAL("DEL"), bytes_of_str(key) };
    struct call_reply reply;
    bool ok = job_store_ask_owner(target, db, key, 3, push, &reply, err);
    /* An order of an older version: a string. */
    if (!ok && err->code == ERR_WRONGTYPE &&
        job_store_ask_owner(target, db, key, 2, del, &reply, err)) {
        call_reply_fini(&reply);
        ok = job_store_ask_owner(target, db, key, 3, push, &reply, err);
    }
    if (ok) call_reply_fini(&reply);
    ok = ok && job_store_ask_owner(target, db, key, 3, expire, &reply, err);
    if (ok) call_reply_fini(&reply);
    free(text);
    return ok;
}

/* ---- reading ---- */

struct order_reader {
    struct lease *lease;
    char key[STORE_KEY_MAX];
    struct loop_timer *timer;
    bool asking, freed; /* freed: the answer of a command is still awaited */
    char followed[RECORD_ID_MAX];
    char *given; /* the text of the order that was given; NULL: none waits for done() */
    char given_id[RECORD_ID_MAX];
    order_fn *on_order;
    void *ctx;
};

static void reader_answered(struct order_reader *r) {
    r->asking = false;
    if (r->freed) free(r);
}

static void on_order_removed(void *ctx, struct client *client, const struct reply *reply) {
    reader_answered(ctx);
}

/* This text alone: others that were given meanwhile stay. */
static void reader_remove(struct order_reader *r, struct bytes text) {
    const struct bytes words[] = { BYTES_LITERAL("LREM"), bytes_of_str(r->key), BYTES_LITERAL("1"),
                                   text };
    if (!slot_link_is_ready(lease_link(r->lease))) return;
    r->asking = true;
    slot_link_send(lease_link(r->lease), on_order_removed, r, 4, words);
}

static void reader_take(struct order_reader *r, struct client *client, struct bytes text) {
    struct order order;
    struct err err;
    if (!order_from_text(&order, text, &err)) {
        log_warn(client_place(client), "job %s: an order cannot be read and is removed: %s",
                 lease_job(r->lease), err.text);
        reader_remove(r, text);
    } else if (strcmp(order.id, r->followed) == 0) {
        reader_remove(r, text);
    } else {
        r->given = bytes_dup(text);
        snprintf(r->given_id, sizeof(r->given_id), "%s", order.id);
        r->on_order(r->ctx, &order);
    }
}

static void on_order_read(void *ctx, struct client *client, const struct reply *reply) {
    struct order_reader *r = ctx;
    bool of_use = !r->freed && reply->err == NULL && resp_is_string(&reply->item) &&
                  lease_may_write(r->lease) && r->given == NULL;
    r->asking = false;
    if (of_use) reader_take(r, client, reply->item.str);
    if (r->freed && !r->asking) free(r);
}

static void on_order_tick(void *ctx) {
    struct order_reader *r = ctx;
    const struct bytes words[] = { BYTES_LITERAL("LINDEX"), bytes_of_str(r->key),
                                   BYTES_LITERAL("0") };
    loop_timer_start(r->timer, ORDER_POLL_MS);
    if (r->asking || r->given != NULL || !lease_may_write(r->lease) ||
        !slot_link_is_ready(lease_link(r->lease)))
        return;
    r->asking = true;
    slot_link_send(lease_link(r->lease), on_order_read, r, 3, words);
}

struct order_reader *order_reader_new(struct lease *lease, const char *followed, order_fn *on_order,
                                      void *ctx) {
    struct order_reader *r = mem_zalloc(sizeof(*r));
    r->lease = lease;
    r->on_order = on_order;
    r->ctx = ctx;
    snprintf(r->followed, sizeof(r->followed), "%s", followed);
    store_job_key(r->key, lease_job(lease), "order");
    r->timer = loop_timer_new(deployment_loop(lease_target(lease)), on_order_tick, r);
    loop_timer_start(r->timer, 0);
    return r;
}

/* Should the removal be lost, the order is read again, and is the one that was followed. */
void order_reader_done(struct order_reader *r, const char *id) {
    if (r->given == NULL || strcmp(r->given_id, id) != 0) return;
    snprintf(r->followed, sizeof(r->followed), "%s", id);
    char *text = r->given;
    r->given = NULL;
    if (!r->asking) reader_remove(r, bytes_of_str(text));
    free(text);
}

void order_reader_free(struct order_reader **reader) {
    struct order_reader *r = *reader;
    *reader = NULL;
    if (r == NULL) return;
    loop_timer_free(&r->timer);
    free(r->given);
    r->given = NULL;
    r->freed = true;
    if (!r->asking) free(r);
}
