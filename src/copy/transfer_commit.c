/* The temporary key of a slot, and how it, or a small value, is put in place: in one MULTI, so that
 * a reader of the target sees the old value or the new one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "copy/transfer_priv.h"

size_t transfer_name(uint16_t slot, char name[TRANSFER_NAME_MAX]) {
    char tag[SLOT_TAG_MAX];
    return (size_t)snprintf(name, TRANSFER_NAME_MAX, TRANSFER_NAME_PREFIX "{%s}",
                            slot_tag(slot, tag));
}

bool transfer_take_name(struct transfer *t) {
    for (struct transfer *other = t->all->running; other != NULL; other = other->next) {
        if (other == t || !other->holds_name || other->slot != t->slot) continue;
        transfer_move(t, TRANSFER_WAITING);
        return false;
    }
    t->holds_name = true;
    t->to = bytes_of_str(t->name);
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("UNLINK"), t->to);
    return transfer_is_active(t);
}

/* The reply of EXEC: an array with the replies of the block's commands, or null. */
static void on_transfer_exec(struct transfer *t, const struct reply *reply) {
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
    if (transfer_is_active(t)) transfer_move(t, TRANSFER_COMMITTING);
}

void transfer_write_expiry(struct transfer *t) {
    char number[24];
    if (t->expiry_ms < 0 || t->flight->plan->no_ttl) return;
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("PEXPIREAT"), t->key,
                  transfer_number(t->expiry_ms, number));
}

void transfer_end_block(struct transfer *t) {
    static const struct transfer_step step = { on_transfer_exec, false };
    if (!transfer_is_active(t)) return;
    if (t->flight->plan->dry_run) {
        transfer_done(t);
    } else {
        TRANSFER_SEND(t, &step, BYTES_LITERAL("EXEC"));
    }
}

static void transfer_commit(struct transfer *t) {
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

/* The temporary key may have been evicted, or taken by another client: then it is not put in place.
 */
void transfer_check(struct transfer *t) {
    static const struct transfer_step step = { on_target_length, false };
    if (!transfer_is_active(t)) return;
    if (!t->expects_length || t->flight->plan->dry_run) {
        transfer_commit(t);
        return;
    }
    transfer_move(t, TRANSFER_CHECKING);
    TRANSFER_SEND(t, &step, bytes_of_str(t->kind->length), t->to);
}
