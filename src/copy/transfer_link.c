/* Commands of a transfer to both sides, and the first look at each reply: lost connections,
 * refusals and replies that nobody waits for any more end here; what is good goes to the step that
 * asked.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "copy/transfer_priv.h"

/* ---- replies ---- */

static bool text_has(struct bytes text, const char *part) {
    return text.ptr != NULL && text.len > 0 &&
           memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* The key, or what belongs to it, is not what it was: WATCH is not asked before the end, so reads
 * meet that too. */
static bool means_changed(struct bytes text) {
    return text_has(text, "WRONGTYPE") || text_has(text, "NOGROUP") ||
           text_has(text, "no such key");
}

void transfer_refused(struct transfer *t, struct pool_node *node, const struct client *client,
                      const struct resp_item *item) {
    bool merging = node == t->target && t->lane->plan->merge;
    if (means_changed(item->str) && !merging) {
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

static void on_source_reply(void *ctx, void *arg, const struct reply *reply) {
    struct transfer *t = ctx;
    const struct transfer_step *step = arg;
    t->source_due--;
    if (t->entry != NULL && reply->err != NULL) {
        transfer_fail(t, t->source, reply->err);
    } else if (t->entry != NULL && !t->again) {
        if (resp_is_error(&reply->item)) {
            transfer_refused(t, t->source, t->reader, &reply->item);
        } else if (step->fn != NULL) {
            step->fn(t, reply);
        }
    }
    transfer_settle(t);
}

static void on_target_reply(void *ctx, void *arg, const struct reply *reply) {
    struct transfer *t = ctx;
    const struct transfer_step *step = arg;
    t->target_due--;
    if (t->entry != NULL && reply->err != NULL) {
        transfer_fail(t, t->target, reply->err);
    } else if (t->entry != NULL && !t->again) {
        if (resp_is_error(&reply->item)) {
            transfer_refused(t, t->target, t->target->client, &reply->item);
        } else {
            lane_node_works(t->lane, t->target);
            if (step->ends_piece) t->unacked--;
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
    if (t->entry == NULL) return;
    if (!client_is_ready(t->reader)) {
        transfer_lost(t, t->source, client_place(t->reader));
        return;
    }
    client_select(t->reader, t->db);
    t->source_due++;
    client_command(t->reader, on_source_reply, t, (void *)step, argc, argv);
}

/* A connection that was made anew may lead to a server that has lost the pieces. */
static bool target_holds(const struct transfer *t) {
    const struct client *client = t->target->client;
    return client != NULL && client_is_ready(client) &&
           client_reconnects(client) == t->target_reconnects;
}

struct outq *transfer_write(struct transfer *t) {
    const struct copy_plan *plan = t->lane->plan;
    if (plan->dry_run || t->entry == NULL || !target_holds(t)) return &t->scratch;
    if (!t->in_block && !lane_may_write(t->lane)) return &t->scratch;
    client_select(t->target->client, plan->target_db >= 0 ? plan->target_db : t->db);
    return client_out(t->target->client);
}

void transfer_written(struct transfer *t, const struct transfer_step *step) {
    if (outq_bytes(&t->scratch) > 0) {
        outq_consume(&t->scratch, outq_bytes(&t->scratch));
        if (t->entry == NULL || t->lane->plan->dry_run) return;
        if (target_holds(t)) {
            transfer_pause(t);
        } else {
            transfer_lost(t, t->target, "target");
        }
        return;
    }
    if (step->ends_piece) t->unacked++;
    t->target_due++;
    client_end_command(t->target->client, on_target_reply, t, (void *)step);
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

/* Without PEXPIRETIME there is only the time that is left, and the server is asked for its clock
 * behind it. */
void transfer_ask_expiry(struct transfer *t, const struct transfer_step *number,
                         const struct transfer_step *clock) {
    if (t->lane->plan->can.source_pexpiretime) {
        TRANSFER_READ(t, number, BYTES_LITERAL("PEXPIRETIME"), t->key);
    } else {
        TRANSFER_READ(t, number, BYTES_LITERAL("PTTL"), t->key);
        TRANSFER_READ(t, clock, BYTES_LITERAL("TIME"));
    }
}

void transfer_take_expiry(struct transfer *t, const struct resp_item *number) {
    t->expiry_ms = number->type == RESP_INTEGER ? number->num : -1;
}

/* The two words of TIME; what transfer_take_expiry() took is made absolute. */
bool transfer_take_clock(struct transfer *t, struct resp_cursor *elements) {
    struct resp_item seconds, micros;
    int64_t s, us;
    if (!resp_next(elements, &seconds) || !resp_next(elements, &micros)) return false;
    if (!bytes_to_i64(seconds.str, &s) || !bytes_to_i64(micros.str, &us)) return false;
    t->server_ms = s * 1000 + us / 1000;
    if (t->expiry_ms >= 0) t->expiry_ms += t->server_ms;
    return true;
}

void transfer_write_expiry(struct transfer *t) {
    char number[24];
    if (t->expiry_ms < 0 || t->lane->plan->no_ttl) return;
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("PEXPIREAT"), t->key,
                  transfer_number(t->expiry_ms, number));
}
