/* Writing values to the target: SET (with PXAT) and MSET for strings, RESTORE for everything else,
 * UNLINK for missing keys. Each key has exactly one command under way; its acknowledgement ends the
 * key's flight.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "copy/database.h"
#include "copy/lane_priv.h"
#include "copy/rewrite.h"
#include "copy/transfer.h"
#include "rdb/decode.h"
#include "rdb/payload.h"
#include "rdb/portable.h"
#include "rdb/score.h"

enum { MSET_VALUE_MAX = 16 * 1024 };

struct mset {
    struct pool_node *node;
    size_t n;
    struct key_entry *entries[];
};

static struct flight *flight_of_node(const struct pool_node *node) {
    return pool_ctx(node->pool);
}

/* ---- acknowledgements ---- */

/* In `err`: the target has not the module whose value this is, or not in the source's version. */
static bool refuse_module(struct err *err, const char *place) {
    return err_set(
        err, ERR_BAD_PAYLOAD, place,
        "the value of a module, or a vector set, which this server does not have or not in this "
        "version");
}

/* RESTORE's own words for a value it cannot take are plain "ERR"; see err_code_of_reply(). */
static void on_applied(void *ctx, void *arg, const struct reply *reply) {
    struct pool_node *node = ctx;
    struct key_entry *entry = arg;
    struct flight *flight = flight_of_node(node);
    if (reply->err != NULL) {
        flight_failed(flight, entry, node, reply->err);
    } else if (resp_is_error(&reply->item)) {
        struct err err;
        client_reply_error(node->client, &reply->item, &err);
        bool module = key_type(entry) == VALUE_MODULE;
        if (module && err.code == ERR_BAD_PAYLOAD) refuse_module(&err, client_place(node->client));
        flight_failed(flight, entry, node, &err);
    } else {
        if (entry->flags & KEY_GONE) {
            flight_node_deleted(flight, node);
        } else {
            flight_node_works(flight, node);
        }
        flight_copied(flight, entry);
    }
}

static void on_mset_applied(void *ctx, void *arg, const struct reply *reply) {
    struct mset *mset = ctx;
    struct pool_node *node = mset->node;
    struct flight *flight = flight_of_node(node);
    struct err err;
    const struct err *failed = reply->err;
    if (failed == NULL && resp_is_error(&reply->item)) {
        client_reply_error(node->client, &reply->item, &err);
        failed = &err;
    }
    if (failed == NULL) flight_node_works(flight, node);
    for (size_t i = 0; i < mset->n; i++) {
        struct key_entry *entry = mset->entries[i];
        if (failed == NULL) {
            flight_copied(flight, entry);
        } else if (err_class_of(failed->code) == ERR_CLASS_KEY) {
            /* One of them is refused: each tells for itself. */
            entry->flags |= KEY_ALONE;
            flight_stage(flight, entry, STAGE_STRINGS);
        } else {
            flight_failed(flight, entry, node, failed);
        }
    }
    free(mset);
}

/* ---- commands ---- */

/* The node to write to, ready; NULL when there is none now, or nothing may be written (the key is
 * parked: a value that was read before a pause must not be written after it). */
static struct pool_node *target_node(struct flight *flight, struct key_entry *entry, bool *asking) {
    *asking = (entry->flags & KEY_ASK_TARGET) != 0;
    struct pool_node *node = *asking ? pool_ask(flight->target, entry->slot) : NULL;
    if (node == NULL) {
        *asking = false;
        node = flight_target(flight, entry);
    }
    entry->flags &= ~(uint32_t)KEY_ASK_TARGET;
    if (!flight_may_write(flight)) {
        flight_park(flight, entry);
        return NULL;
    }
    if (node == NULL) {
        flight_park_unowned(flight, entry, flight->target);
        return NULL;
    }
    if (client_is_ready(node->client)) return node;
    flight_park(flight, entry);
    return NULL;
}

static struct outq *begin_command(struct flight *flight, struct pool_node *node,
                                  const struct key_entry *entry, bool asking) {
    client_select(node->client, database_of(flight, entry));
    if (asking) client_asking(node->client);
    return client_out(node->client);
}

static void send_large_set(struct outq *out, const struct fetched *f) {
    resp_write_head(out, f->expiry_ms >= 0 ? 5 : 3);
    resp_write_literal(out, "SET");
    resp_write_arg(out, key_entry_bytes(f->entry));
    resp_write_arg_ref(out, f->block, f->value);
    if (f->expiry_ms < 0) return;
    resp_write_literal(out, "PXAT");
    resp_write_arg_i64(out, f->expiry_ms);
}

enum { SET_WORDS_MAX = 32 }; /* bytes of a SET that are neither key, value nor number */

static void send_set(struct outq *out, const struct fetched *f) {
    if (f->value.len >= OUTQ_REF_MIN) {
        send_large_set(out, f);
        return;
    }
    bool expires = f->expiry_ms >= 0;
    size_t room = RESP_ARG_ROOM(f->entry->len) + RESP_ARG_ROOM(f->value.len) +
                  RESP_ARG_ROOM(RESP_NUMBER_ROOM) + SET_WORDS_MAX;
    char *at = outq_reserve(out, room), *p = at;
    p = expires ? resp_put_encoded(p, "*5\r\n$3\r\nSET\r\n")
                : resp_put_encoded(p, "*3\r\n$3\r\nSET\r\n");
    p = resp_put_arg(p, key_entry_bytes(f->entry));
    p = resp_put_arg(p, f->value);
    if (expires) p = resp_put_arg_i64(resp_put_encoded(p, "$4\r\nPXAT\r\n"), f->expiry_ms);
    outq_commit(out, (size_t)(p - at));
}

/* The payload with another version in its footer. */
static void write_restamped(struct outq *out, const struct fetched *f, unsigned version) {
    char footer[PAYLOAD_FOOTER_LEN];
    struct bytes body = bytes_of(f->value.ptr, f->value.len - PAYLOAD_FOOTER_LEN);
    payload_restamp(f->value, version, footer);
    resp_write_arg_parts(out, f->block, body, bytes_of(footer, sizeof(footer)));
}

/* stamp: the version that the target is to see, 0 for the payload's own. */
static void send_restore(struct outq *out, const struct fetched *f, enum copy_preserve preserve,
                         unsigned stamp) {
    bool expires = f->expiry_ms >= 0;
    resp_write_head(out, (expires ? 6 : 5) + (preserve != PRESERVE_NONE ? 2 : 0));
    resp_write_literal(out, "RESTORE");
    resp_write_arg(out, key_entry_bytes(f->entry));
    resp_write_arg_i64(out, expires ? f->expiry_ms : 0);
    if (stamp > 0) {
        write_restamped(out, f, stamp);
    } else {
        resp_write_arg_ref(out, f->block, f->value);
    }
    resp_write_literal(out, "REPLACE");
    if (expires) resp_write_literal(out, "ABSTTL");
    if (preserve == PRESERVE_NONE) return;
    if (preserve == PRESERVE_FREQ) {
        resp_write_literal(out, "FREQ");
    } else {
        resp_write_literal(out, "IDLETIME");
    }
    resp_write_arg_i64(out, f->entry->extra);
}

/* Type and size, which are counted when the acknowledgement comes. */
static void note_value(const struct fetched *f) {
    struct key_entry *entry = f->entry;
    enum value_type type = f->is_payload ? payload_type(f->value) : VALUE_STRING;
    key_set_type(entry, type);
    entry->flags &= ~(uint32_t)KEY_GONE;
    entry->data = f->value.len;
}

/* The target cannot have this value: said now, before anything is sent that might harm it. */
static void refuse_value(struct flight *flight, const struct fetched *f) {
    struct err err;
    if (payload_type(f->value) == VALUE_MODULE) {
        refuse_module(&err, "target");
    } else {
        err_set(&err, ERR_BAD_PAYLOAD, "target",
                "the target is too old for this value (encoding %u of RDB version %u)",
                (unsigned char)f->value.ptr[0], payload_version(f->value));
    }
    flight_failed(flight, f->entry, NULL, &err);
}

/* How the value travels; false when that is decided otherwise: refused, or fetched again in pieces.
 */
static bool choose_way(struct flight *flight, const struct fetched *f, bool *by_commands,
                       unsigned *stamp) {
    *by_commands = false;
    *stamp = 0;
    if (!f->is_payload) return true;
    enum accept_how how = accept_how(&flight->plan->can.accept, f->value, stamp);
    if (how == ACCEPT_AS_IS) *stamp = 0;
    if (how == ACCEPT_NEVER || (how == ACCEPT_COMMANDS && !decoder_knows(f->value))) {
        refuse_value(flight, f);
        return false;
    }
    bool portable = (flight->plan->can.same_listpacks || payload_is_portable(f->value)) &&
                    !payload_has_negative_zero(f->value);
    *by_commands = how == ACCEPT_COMMANDS || (!portable && decoder_knows(f->value));
    if (!*by_commands || f->value.len <= REWRITE_BYTES_MAX) return true;
    f->entry->flags |= KEY_LARGE;
    flight_stage(flight, f->entry, STAGE_TRANSFER);
    return false;
}

/* A value as large as one over which the target ended the connection does not go on that of all. */
static bool send_apart(struct flight *flight, const struct fetched *f) {
    if (flight->cut_off_bytes == 0 || f->value.len < flight->cut_off_bytes) return false;
    if (key_is_suspect(f->entry)) return false;
    key_set_losses(f->entry, KEY_SUSPECT_LOSSES);
    flight_requeue(flight, f->entry);
    return true;
}

static void apply_one(struct flight *flight, const struct fetched *f) {
    bool asking, by_commands;
    unsigned stamp;
    if (send_apart(flight, f)) return;
    if (!choose_way(flight, f, &by_commands, &stamp)) return;
    struct pool_node *node = target_node(flight, f->entry, &asking);
    if (node == NULL) return;
    struct outq *out = begin_command(flight, node, f->entry, asking);
    if (by_commands) {
        rewrite_value(flight, node, f);
        return;
    }
    if (f->is_payload) {
        send_restore(out, f, flight->plan->preserve, stamp);
    } else {
        send_set(out, f);
    }
    client_end_command(node->client, on_applied, node, f->entry);
}

/* May this value travel in an MSET? */
static bool fits_mset(const struct fetched *f) {
    return !f->is_payload && f->expiry_ms < 0 && f->value.len <= MSET_VALUE_MAX &&
           (f->entry->flags & (KEY_ALONE | KEY_ASK_TARGET)) == 0 && !key_is_suspect(f->entry);
}

/* Sends the marked values, all for one node and database. */
static void send_mset(struct flight *flight, struct pool_node *node,
                      const struct fetched *const *values, size_t n) {
    struct mset *mset = mem_alloc(sizeof(*mset) + n * sizeof(mset->entries[0]));
    mset->node = node;
    mset->n = n;
    struct outq *out = begin_command(flight, node, values[0]->entry, false);
    resp_write_head(out, 1 + 2 * n);
    resp_write_literal(out, "MSET");
    for (size_t i = 0; i < n; i++) {
        mset->entries[i] = values[i]->entry;
        char *at = outq_reserve(out, RESP_ARG_ROOM(values[i]->entry->len) +
                                         RESP_ARG_ROOM(values[i]->value.len));
        char *p =
            resp_put_arg(resp_put_arg(at, key_entry_bytes(values[i]->entry)), values[i]->value);
        outq_commit(out, (size_t)(p - at));
    }
    client_end_command(node->client, on_mset_applied, mset, NULL);
}

struct gather {
    struct flight *flight;
    const struct fetched **values;
    size_t n;
};

static void gather_flush(struct gather *g) {
    size_t n = g->n;
    g->n = 0;
    if (n == 0) return;
    struct pool_node *node = pool_route(g->flight->target, g->values[0]->entry->slot);
    if (n == 1 || node == NULL || !client_is_ready(node->client) || !flight_may_write(g->flight)) {
        for (size_t i = 0; i < n; i++) apply_one(g->flight, g->values[i]);
        return;
    }
    send_mset(g->flight, node, g->values, n);
}

static void gather_add(struct gather *g, const struct fetched *f) {
    const struct copy_plan *plan = g->flight->plan;
    bool same_slot = g->n > 0 && g->values[0]->entry->slot == f->entry->slot;
    if (g->n > 0 && !plan->can.target_spans_slots && !same_slot) gather_flush(g);
    if (1 + 2 * (g->n + 1) > plan->max_args) gather_flush(g);
    g->values[g->n++] = f;
}

void apply_values(struct flight *flight, const struct fetched *const *values, size_t n) {
    struct gather g = { .flight = flight, .values = mem_array(NULL, n, sizeof(*g.values)) };
    for (size_t i = 0; i < n; i++) {
        note_value(values[i]);
        if (!flight->plan->dry_run && !database_admits(flight, values[i]->entry)) continue;
        if (flight->plan->dry_run) {
            flight_copied(flight, values[i]->entry);
        } else if (fits_mset(values[i])) {
            gather_add(&g, values[i]);
        } else {
            apply_one(flight, values[i]);
        }
    }
    gather_flush(&g);
    free(g.values);
}

/* Sends a command whose only argument is the key. */
static void send_keyed(struct flight *flight, struct key_entry *entry, struct bytes command,
                       client_reply_fn *on_reply) {
    bool asking;
    if (!database_admits(flight, entry)) return;
    struct pool_node *node = target_node(flight, entry, &asking);
    if (node == NULL) return;
    struct outq *out = begin_command(flight, node, entry, asking);
    resp_write_head(out, 2);
    resp_write_arg(out, command);
    resp_write_arg(out, key_entry_bytes(entry));
    client_end_command(node->client, on_reply, node, entry);
}

static void on_target_type(void *ctx, void *arg, const struct reply *reply) {
    struct pool_node *node = ctx;
    struct key_entry *entry = arg;
    struct flight *flight = flight_of_node(node);
    struct err err;
    if (reply->err != NULL) {
        flight_failed(flight, entry, node, reply->err);
    } else if (resp_is_error(&reply->item)) {
        client_reply_error(node->client, &reply->item, &err);
        flight_failed(flight, entry, node, &err);
    } else {
        flight_target_typed(flight, entry, reply->item.str);
    }
}

void apply_ask_type(struct flight *flight, struct key_entry *entry) {
    send_keyed(flight, entry, BYTES_LITERAL("TYPE"), on_target_type);
}

void apply_deletion(struct flight *flight, struct key_entry *entry) {
    entry->flags |= KEY_GONE;
    if (flight->plan->dry_run || flight->plan->never_delete) {
        flight_copied(flight, entry);
        return;
    }
    send_keyed(flight, entry, BYTES_LITERAL("UNLINK"), on_applied);
}
