/* The states of a transfer, and its ends: each gives the key back to the lane in another way. The
 * transfer itself lives on until its last reply is in.
 */
#include <assert.h>

#include "base/log.h"
#include "copy/giveup.h"
#include "copy/transfer_priv.h"

/* ---- states ---- */

bool transfer_may_move(enum transfer_state from, enum transfer_state to) {
    enum { STARTS = 1 << TRANSFER_STARTING, READS = 1 << TRANSFER_READING };
    static const unsigned next[TRANSFER_STATES] = {
        [TRANSFER_OPENING] = STARTS,
        [TRANSFER_STARTING] =
            1 << TRANSFER_WAITING | 1 << TRANSFER_EXPECTING | READS | 1 << TRANSFER_LAST_READ,
        [TRANSFER_EXPECTING] = READS | 1 << TRANSFER_LAST_READ,
        [TRANSFER_READING] = 1 << TRANSFER_LAST_READ | 1 << TRANSFER_COMMITTING,
        [TRANSFER_LAST_READ] = READS | 1 << TRANSFER_SEALING,
        [TRANSFER_SEALING] = READS | 1 << TRANSFER_CHECKING | 1 << TRANSFER_COMMITTING,
        [TRANSFER_CHECKING] = 1 << TRANSFER_COMMITTING,
        [TRANSFER_AGAIN] = STARTS,
    };
    if (to == TRANSFER_ENDED) return from != TRANSFER_ENDED;
    if (to == TRANSFER_AGAIN) return from < TRANSFER_AGAIN;
    return (next[from] & 1u << to) != 0;
}

void transfer_move(struct transfer *t, enum transfer_state state) {
    /* A step may run on after a failed command; its moves mean nothing then. */
    bool begins = t->state == TRANSFER_AGAIN && state == TRANSFER_STARTING;
    if (!transfer_is_active(t) && !begins && state != TRANSFER_ENDED) return;
    assert(transfer_may_move(t->state, state));
    t->state = state;
}

void transfer_settle(struct transfer *t) {
    if (t->source_due > 0 || t->target_due > 0 || t->settles || transfer_is_active(t)) return;
    t->settles = true;
    t->next_settling = t->all->settling;
    t->all->settling = t;
    flight_schedule(t->flight);
}

/* ---- ends ---- */

/* Nobody looks at the reply. If the key cannot be removed now, it is removed at the next start; a
 * live job names it, as a key that the source does not have. */
static void transfer_drop_name(struct transfer *t) {
    struct client *client = t->target->client;
    const struct copy_plan *plan = t->flight->plan;
    if (!t->holds_name || plan->dry_run || t->flight->closing) return;
    if (!flight_may_write(t->flight) || client == NULL || !client_is_ready(client)) {
        if (plan->live)
            flight_name(t->flight, t->db, bytes_of_str(t->name), t->slot, REASON_CHANGED);
        return;
    }
    const struct bytes words[] = { BYTES_LITERAL("UNLINK"), bytes_of_str(t->name) };
    client_select(client, plan->target_db >= 0 ? plan->target_db : t->db);
    client_command(client, NULL, NULL, NULL, 2, words);
}

/* The next one that waits for the name begins again. */
static void transfer_release_name(struct transfer *t) {
    t->holds_name = false;
    for (struct transfer *other = t->all->running; other != NULL; other = other->next) {
        if (other->state != TRANSFER_WAITING || other->slot != t->slot) continue;
        transfer_move(other, TRANSFER_AGAIN);
        transfer_settle(other);
        return;
    }
}

/* Takes the key out of the transfer. */
static struct key_entry *transfer_end(struct transfer *t) {
    struct key_entry *entry = t->entry;
    transfer_move(t, TRANSFER_ENDED);
    t->entry = NULL;
    if (t->large) {
        t->all->large_busy = false;
    } else {
        t->all->n_small--;
    }
    estimate_release(&t->flight->estimate, t->reserved);
    t->reserved = 0;
    transfer_release_name(t);
    transfer_settle(t);
    flight_schedule(t->flight);
    return entry;
}

static struct key_entry *transfer_abandon(struct transfer *t) {
    transfer_drop_name(t);
    return transfer_end(t);
}

void transfer_fail(struct transfer *t, struct pool_node *node, const struct err *err) {
    if (t->entry == NULL) return;
    struct err copy = *err;
    flight_failed(t->flight, transfer_abandon(t), node, &copy);
}

void transfer_malformed(struct transfer *t, const char *command) {
    struct err err;
    err_set(&err, ERR_SERVER, client_place(t->reader), "the reply to %s is malformed", command);
    transfer_fail(t, t->source, &err);
}

void transfer_pause(struct transfer *t) {
    if (t->entry != NULL) flight_park(t->flight, transfer_end(t));
}

void transfer_requeue(struct transfer *t) {
    if (t->entry != NULL) flight_requeue(t->flight, transfer_abandon(t));
}

void transfer_again_for(struct transfer *t, const char *reason) {
    if (!transfer_is_active(t)) return;
    log_debug("copy", "a key is read again: %s", reason);
    transfer_move(t, TRANSFER_AGAIN);
}

void transfer_again(struct transfer *t) {
    if (!transfer_is_active(t)) return;
    if (++t->attempts < TRANSFER_ATTEMPTS) {
        transfer_again_for(t, "it changed while it was read");
        return;
    }
    struct err err;
    err_set(&err, ERR_CHANGING, "", "%s (%d attempts)", err_sentence(ERR_CHANGING),
            TRANSFER_ATTEMPTS);
    transfer_fail(t, t->source, &err);
}

void transfer_missing(struct transfer *t) {
    if (transfer_is_active(t)) flight_missing(t->flight, transfer_abandon(t), t->reader);
}

void transfer_by_dump(struct transfer *t) {
    if (transfer_is_active(t)) flight_stage(t->flight, transfer_abandon(t), STAGE_DUMP);
}

void transfer_enlarge(struct transfer *t) {
    if (!transfer_is_active(t)) return;
    struct key_entry *entry = transfer_abandon(t);
    entry->flags |= KEY_LARGE;
    key_list_add(&t->all->large, entry);
}

uint64_t transfer_lost_pending(const struct transfer *t) {
    const struct stream_copy *s = &t->stream;
    if (t->flight->plan->dry_run) return 0; /* nothing was claimed */
    return s->asked > s->claimed ? s->asked - s->claimed : 0;
}

/* The stream is on the target, but incomplete: the summary and the exit status must show it. */
static void transfer_report_lost_pending(struct transfer *t) {
    uint64_t lost = transfer_lost_pending(t);
    struct err err;
    if (lost == 0) return;
    err_set(&err, ERR_BAD_PAYLOAD, "target",
            "copied, but without %llu pending entries of deleted messages; no command makes them",
            (unsigned long long)lost);
    giveup_add(t->flight->plan->giveup, t->db, t->key, &err);
}

void transfer_done(struct transfer *t) {
    enum value_type type = t->kind->value;
    if (type == VALUE_STREAM) transfer_report_lost_pending(t);
    /* An earlier attempt may have used the name, when the key was of another type. */
    if (t->to.ptr == t->key.ptr) transfer_drop_name(t);
    struct key_entry *entry = transfer_end(t);
    key_set_type(entry, type);
    entry->flags &= ~(uint32_t)KEY_GONE;
    entry->data = t->bytes;
    flight_copied(t->flight, entry);
}
