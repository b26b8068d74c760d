/* How a flight ends: acknowledged, missing on the source, failed. Errors are handled per error
 * class (base/errors.def) in lane_key_failed(), and nowhere else. */
#include "base/clock.h"
#include "base/log.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"

/* ---- ends of a flight ---- */

void lane_key_done(struct lane *lane, struct key_entry *entry) {
    suspects_note_end(&lane->suspects, entry, true);
    entry->flags = 0;
    entry->attempts = 0;
    window_done(&lane->window, entry);
    keyset_done(lane->keys, &entry);
    lane_kick(lane);
}

static bool deletion_is_ordered(const struct lane *lane, const struct key_entry *entry) {
    return entry->reason == REASON_CHANGED || entry->reason == REASON_DELETE ||
           lane->flight.plan->on_missing == NULL;
}

/* An ordered deletion is made, where deletions of this process are allowed; a concluded one is
 * handed over to be counted. */
void lane_key_missing(struct lane *lane, struct key_entry *entry, const struct client *source) {
    const struct copy_plan *plan = lane->flight.plan;
    bool ordered = deletion_is_ordered(lane, entry);
    if (ordered ? !lane_trusts(lane, source) : !lane_expects(lane, source)) {
        lane_defer_deletion(lane, entry->slot);
        lane_key_done(lane, entry);
        return;
    }
    bool temporary = key_is_temporary(key_entry_bytes(entry));
    if (temporary && transfers_use_name(lane->flight.transfers, entry->db, entry->slot)) {
        lane_key_done(lane, entry);
    } else if (ordered) {
        apply_deletion(&lane->flight, entry);
    } else {
        entry->flags |= KEY_GONE;
        lane_note_type(lane, entry);
        if (!plan->on_missing(plan->ctx, entry->db, key_entry_bytes(entry), entry->slot,
                              client_run_id(source)))
            lane_defer_deletion(lane, entry->slot);
        lane_key_done(lane, entry);
    }
}

static void log_key(const struct key_entry *entry) {
    char name[256];
    bytes_escape(key_entry_bytes(entry), name, sizeof(name));
    if (entry->flags & KEY_GONE) {
        log_info("key", "db %d \"%s\" gone", entry->db, name);
        return;
    }
    enum value_type type = key_type(entry);
    log_info("key", "db %d \"%s\" copied (%s, %llu B)", entry->db, name, value_type_name(type),
             (unsigned long long)entry->data);
}

void lane_acknowledged(struct lane *lane, struct key_entry *entry) {
    struct copy_stats *stats = &lane->flight.stats;
    if (lane->flight.plan->log_keys) log_key(entry);
    lane_note_type(lane, entry);
    if (lane->foreign != NULL) foreign_remove(lane->foreign, entry->db, key_entry_bytes(entry));
    if (entry->flags & KEY_GONE) {
        stat_add(&stats->vanished, 1);
    } else {
        enum value_type type = key_type(entry);
        stat_add(&stats->copied, 1);
        stat_add(&stats->bytes, entry->data);
        stat_add(&stats->type_keys[type], 1);
        stat_add(&stats->type_bytes[type], entry->data);
    }
    lane_key_done(lane, entry);
}

void lane_fail(struct lane *lane, const struct err *err) {
    if (lane->failed) return;
    lane->failed = true;
    lane->flight.plan->on_failed(lane->flight.plan->ctx, err);
}

static void lane_give_up(struct lane *lane, struct key_entry *entry, const struct err *err) {
    giveup_add(lane->flight.plan->giveup, entry->db, key_entry_bytes(entry), err);
    stat_add(&lane->flight.stats.given_up, 1);
    suspects_note_end(&lane->suspects, entry, false);
    lane_key_done(lane, entry);
}

/* The target (or a command of the source) cannot work until somebody acts: nothing new is started
 * for a while. */
static void lane_hold(struct lane *lane, const struct pool_node *node, const struct err *err) {
    int64_t now_ms = clock_mono_ms();
    if (lane->trouble_since_ms == 0) {
        lane->trouble_since_ms = now_ms;
        lane->hold_ms = LANE_HOLD_MIN_MS;
        /* A node that answers now and then would fill the log. */
        lane->trouble_told =
            lane->trouble_logged_ms == 0 || now_ms - lane->trouble_logged_ms > LANE_TELL_MS;
        if (lane->trouble_told) lane->trouble_logged_ms = now_ms;
        if (lane->trouble_told) log_warn(err->place, "%s; waiting", err->text);
    } else if (now_ms >= lane->hold_until_ms) {
        lane->hold_ms = lane->hold_ms * 2 > LANE_HOLD_MAX_MS ? LANE_HOLD_MAX_MS : lane->hold_ms * 2;
    }
    lane->trouble = *err;
    lane->trouble_node = err->code == ERR_CLUSTERDOWN ? NULL : node;
    if (now_ms >= lane->hold_until_ms) lane->hold_until_ms = now_ms + lane->hold_ms;
}

void lane_node_works(struct lane *lane, const struct pool_node *node) {
    if (lane->trouble_since_ms == 0) return;
    /* Another node of the target's cluster may work while this one does not. */
    if (lane->trouble_node != NULL && lane->trouble_node != node) return;
    if (lane->trouble_told)
        log_info(lane->trouble.place, "works again after %lld ms",
                 (long long)(clock_mono_ms() - lane->trouble_since_ms));
    lane->trouble_since_ms = lane->hold_until_ms = 0;
    lane_kick(lane);
}

void lane_node_deleted(struct lane *lane, const struct pool_node *node) {
    if (lane->trouble_since_ms == 0 || lane->trouble.code != ERR_OOM || !lane->flight.plan->live) {
        lane_node_works(lane, node);
        return;
    }
    int64_t soon_ms = clock_mono_ms() + LANE_HOLD_MIN_MS;
    if (lane->hold_until_ms <= soon_ms) return;
    lane->hold_until_ms = soon_ms;
    lane->hold_ms = LANE_HOLD_MIN_MS;
    if (lane->parked != NULL) loop_timer_start(lane->retry, LANE_HOLD_MIN_MS);
}

void lane_park_unowned(struct lane *lane, struct key_entry *entry, struct pool *side) {
    struct err err;
    err_set(&err, ERR_CLUSTERDOWN, deployment_role(pool_deployment(side)), "no node owns slot %u",
            entry->slot);
    lane_hold(lane, NULL, &err);
    lane->flight.plan->request_refresh(lane->flight.plan->ctx, pool_deployment(side));
    lane_park(lane, entry);
}

/* MOVED or ASK; the pool has followed it already, where it could. */
static void lane_redirect(struct lane *lane, struct key_entry *entry, struct pool_node *node,
                          enum err_code code) {
    bool source = node->pool == lane->flight.source, followed;
    stat_add(&lane->flight.stats.redirects, 1);
    if (code == ERR_MOVED) {
        followed = pool_route(node->pool, entry->slot) != node;
        lane->flight.plan->request_refresh(lane->flight.plan->ctx, pool_deployment(node->pool));
    } else {
        followed = pool_ask(node->pool, entry->slot) != NULL;
        if (followed) entry->flags |= source ? KEY_ASK_SOURCE : KEY_ASK_TARGET;
    }
    if (!followed || ++entry->attempts % REDIRECTS_IN_A_ROW == 0) {
        lane_park(lane, entry);
    } else {
        lane_requeue(lane, entry);
    }
}

static void tell_suspect(const struct key_entry *entry, const struct pool_node *node) {
    char name[LANE_KEY_TOLD];
    bytes_escape(key_entry_bytes(entry), name, sizeof(name));
    log_warn(
        client_place(node->client),
        "the connection ended again at db %d \"%s\" (%llu B), sent alone; the other keys go on",
        entry->db, name, (unsigned long long)entry->data);
}

/* A connection to the target ended with the key under way. True: it was given up. */
static bool lane_lost_with(struct lane *lane, struct key_entry *entry, struct pool_node *node,
                           const struct err *err) {
    bool lost = err->code == ERR_CLOSED || err->code == ERR_TIMEOUT || err->code == ERR_PROTOCOL;
    if (!lost || node == NULL || node->pool != lane->flight.target || node->closing) return false;
    unsigned strikes = suspects_note_loss(&lane->suspects, entry, node, clock_mono_ms());
    if (strikes == SUSPECT_STRIKES_TOLD) tell_suspect(entry, node);
    if (strikes < SUSPECT_STRIKES_MAX) return false;
    struct err why;
    uint64_t *least = &lane->flight.cut_off_bytes;
    if (entry->data > 0 && (*least == 0 || entry->data < *least)) *least = entry->data;
    err_set(&why, ERR_CUT_OFF, err->place, "%s (%llu B, sent alone %u times)",
            err_sentence(ERR_CUT_OFF), (unsigned long long)entry->data, strikes);
    lane_give_up(lane, entry, &why);
    return true;
}

/* The node answers, and refuses everything: that is an outage as if it did not answer. */
static bool is_of_whole_node(enum err_code code) {
    return code == ERR_LOADING || code == ERR_BUSY || code == ERR_CLUSTERDOWN ||
           code == ERR_MASTERDOWN;
}

/* A key that only ever is asked to come again ends the job in the end, as an outage. */
static void lane_check_patience(struct lane *lane, const struct key_entry *entry,
                                const struct err *err) {
    int64_t limit_ms = lane->flight.plan->outage_timeout_ms;
    if (limit_ms == 0 || (int64_t)entry->attempts * LANE_RETRY_MS < limit_ms ||
        entry->attempts < REDIRECTS_IN_A_ROW)
        return;
    struct err outage;
    err_set(&outage, ERR_OUTAGE, err->place,
            "a key was refused %u times, longer than --outage-timeout allows: %s", entry->attempts,
            err->text);
    lane_fail(lane, &outage);
}

void lane_key_failed(struct lane *lane, struct key_entry *entry, struct pool_node *node,
                     const struct err *err) {
    struct deployment *side = node != NULL ? pool_deployment(node->pool) : NULL;
    if (lane->flight.closing) return;
    switch (err_class_of(err->code)) {
    case ERR_CLASS_HERE:
        if (lane_lost_with(lane, entry, node, err)) return;
        stat_add(&lane->flight.stats.retries, 1);
        entry->attempts++;
        if (err->code == ERR_TRYAGAIN) entry->flags |= KEY_ALONE;
        if (is_of_whole_node(err->code)) lane_hold(lane, node, err);
        lane_check_patience(lane, entry, err);
        if (side != NULL && err->code != ERR_LOADING && err->code != ERR_TRYAGAIN &&
            err->code != ERR_BUSY)
            lane->flight.plan->request_refresh(lane->flight.plan->ctx, side);
        lane_park(lane, entry);
        return;
    case ERR_CLASS_THERE:
        lane_redirect(lane, entry, node, err->code);
        return;
    case ERR_CLASS_WAIT:
        stat_add(&lane->flight.stats.retries, 1);
        lane_hold(lane, node, err);
        lane_park(lane, entry);
        /* A demoted primary: its name may lead elsewhere by now. */
        if (err->code == ERR_READONLY && node != NULL && client_is_ready(node->client)) {
            lane->flight.plan->request_refresh(lane->flight.plan->ctx, side);
            client_break(node->client, err);
        }
        return;
    case ERR_CLASS_KEY:
        lane_give_up(lane, entry, err);
        return;
    case ERR_CLASS_STOP:
        lane_park(lane, entry);
        if (lane->flight.plan->live && node != NULL &&
            (err->code == ERR_NOAUTH || err->code == ERR_WRONGPASS)) {
            lane_hold(lane, node, err); /* the login may be accepted again */
            if (client_is_ready(node->client)) client_break(node->client, err);
            return;
        }
        lane_fail(lane, err);
        return;
    }
}
