/* Commands of a transfer to both sides, and the first look at each reply. Lost connections,
 * refusals, and replies to a transfer that has ended are handled here; a good reply goes to the
 * step of its command.
 */
#include <stdio.h>
#include <stdlib.h>

#include "copy/transfer_priv.h"

/* ---- replies ---- */

static bool transfer_text_has(struct bytes text, const char *part) {
    return text.ptr != NULL && text.len > 0 &&
           memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* The key, or its group, has changed. WATCH tells that only at the end, so reads meet it before. On
 * the target the temporary key is gone: evicted, flushed, or lost by a failover. XGROUP has words
 * of its own for that (redis 7.0.15 src/t_stream.c xgroupCommand()). */
static bool transfer_means_changed(struct bytes text) {
    return transfer_text_has(text, "WRONGTYPE") || transfer_text_has(text, "NOGROUP") ||
           transfer_text_has(text, "no such key") ||
           transfer_text_has(text, "requires the key to exist");
}

void transfer_refused(struct transfer *t, struct pool_node *node, const struct client *client,
                      const struct resp_item *item) {
    bool merging = node == t->target && t->flight->plan->merge;
    if (transfer_means_changed(item->str) && !merging) {
        transfer_again(t);
        return;
    }
    struct err err;
    client_reply_error(client, item, &err);
    /* Neither WATCH nor MULTI can be combined with ASKING: the key waits until its slot has moved.
     */
    if (err.code == ERR_ASK) err.code = ERR_TRYAGAIN;
    transfer_fail(t, node, &err);
}

static void on_transfer_read(void *ctx, void *arg, const struct reply *reply) {
    struct transfer *t = ctx;
    const struct transfer_step *step = arg;
    t->source_due--;
    if (reply->err != NULL) {
        transfer_fail(t, t->source, reply->err);
    } else if (transfer_is_active(t)) {
        if (resp_is_error(&reply->item)) {
            transfer_refused(t, t->source, t->reader, &reply->item);
        } else if (step->fn != NULL) {
            step->fn(t, reply);
        }
    }
    transfer_settle(t);
}

static void on_transfer_written(void *ctx, void *arg, const struct reply *reply) {
    struct transfer *t = ctx;
    const struct transfer_step *step = arg;
    t->target_due--;
    if (reply->err != NULL) {
        transfer_fail(t, t->target, reply->err);
    } else if (transfer_is_active(t)) {
        if (resp_is_error(&reply->item)) {
            transfer_refused(t, t->target, t->target->client, &reply->item);
        } else {
            flight_node_works(t->flight, t->target);
            if (step->ends_piece) t->pieces.unacked--;
            if (step->fn != NULL) step->fn(t, reply);
        }
    }
    transfer_settle(t);
}

static void on_piece_written(struct transfer *t, const struct reply *reply) {
    transfer_continue(t);
}

const struct transfer_step transfer_step_none = { NULL, false };
const struct transfer_step transfer_step_piece = { on_piece_written, true };

/* ---- commands ---- */

static void transfer_lost(struct transfer *t, struct pool_node *node, const char *place) {
    struct err err;
    err_set(&err, ERR_CLOSED, place, "the connection was lost while a key was copied");
    transfer_fail(t, node, &err);
}

void transfer_read(struct transfer *t, const struct transfer_step *step, size_t argc,
                   const struct bytes *argv) {
    if (!transfer_is_active(t)) return;
    if (!client_is_ready(t->reader)) {
        transfer_lost(t, t->source, client_place(t->reader));
        return;
    }
    client_select(t->reader, t->db);
    t->source_due++;
    client_command(t->reader, on_transfer_read, t, (void *)step, argc, argv);
}

/* A connection that was made anew may lead to a server that has lost the pieces. */
static bool transfer_target_holds(const struct transfer *t) {
    const struct client *client = t->target->client;
    return client != NULL && client_is_ready(client) &&
           client_reconnects(client) == t->target_reconnects;
}

/* Once MULTI has been written EXEC must follow, since other keys use the same connection. */
static bool transfer_may_write(const struct transfer *t) {
    if (t->flight->plan->dry_run || !transfer_is_active(t)) return false;
    bool allowed = t->state == TRANSFER_COMMITTING || flight_may_write(t->flight);
    return allowed && transfer_is_active(t) && transfer_target_holds(t);
}

struct outq *transfer_write(struct transfer *t) {
    const struct copy_plan *plan = t->flight->plan;
    if (!transfer_may_write(t)) return &t->scratch;
    client_select(t->target->client, plan->target_db >= 0 ? plan->target_db : t->db);
    return client_out(t->target->client);
}

void transfer_written(struct transfer *t, const struct transfer_step *step) {
    if (outq_bytes(&t->scratch) > 0) {
        outq_consume(&t->scratch, outq_bytes(&t->scratch));
        if (!transfer_is_active(t) || t->flight->plan->dry_run) return;
        if (transfer_target_holds(t)) {
            transfer_pause(t);
        } else {
            transfer_lost(t, t->target, "target");
        }
        return;
    }
    if (step->ends_piece) t->pieces.unacked++;
    t->target_due++;
    client_end_command(t->target->client, on_transfer_written, t, (void *)step);
}

void transfer_send(struct transfer *t, const struct transfer_step *step, size_t argc,
                   const struct bytes *argv) {
    resp_write_command(transfer_write(t), argc, argv);
    transfer_written(t, step);
}

struct bytes transfer_number(int64_t number, char buf[24]) {
    return bytes_of(buf, (size_t)snprintf(buf, 24, "%lld", (long long)number));
}

/* ---- expiry ---- */

/* Servers without PEXPIRETIME tell only the remaining time, so their clock is asked next. */
void transfer_ask_expiry(struct transfer *t, const struct transfer_step *number,
                         const struct transfer_step *clock) {
    if (t->flight->plan->can.source_pexpiretime) {
        TRANSFER_READ(t, number, BYTES_LITERAL("PEXPIRETIME"), t->key);
    } else {
        TRANSFER_READ(t, number, BYTES_LITERAL("PTTL"), t->key);
        TRANSFER_READ(t, clock, BYTES_LITERAL("TIME"));
    }
}

void transfer_take_expiry(struct transfer *t, const struct resp_item *number) {
    t->expiry_ms = number->type == RESP_INTEGER ? number->num : -1;
}

/* The two words of TIME make the expiry that transfer_take_expiry() took absolute. */
bool transfer_take_clock(struct transfer *t, struct resp_cursor *elements) {
    struct resp_item seconds, micros;
    int64_t s, us;
    if (!resp_next(elements, &seconds) || !resp_next(elements, &micros)) return false;
    if (!bytes_to_i64(seconds.str, &s) || !bytes_to_i64(micros.str, &us)) return false;
    t->server_ms = s * 1000 + us / 1000;
    if (t->expiry_ms >= 0) t->expiry_ms += t->server_ms;
    return true;
}
