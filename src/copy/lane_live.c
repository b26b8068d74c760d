/* Live mode's part of a lane: marks among the names, losses (dropped names, deferred deletions),
 * the server processes that are expected, and the streams whose groups are polled.
 *
 * A mark is reached when all names before it are served. A name that was dropped, or a deletion
 * that was deferred, is not served: it is a loss, and no mark is reached until somebody has taken
 * the losses over. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"

struct trusted {
    struct trusted *next;
    struct address address;
    char run_id[RUN_ID_MAX];
    bool deletions; /* keys that are missing there may be deleted on the target */
};

void lane_live_init(struct lane *lane) {
    pthread_mutex_init(&lane->losses_lock, NULL);
    if (lane->flight.plan->live)
        lane->flight.streams = streams_new(lane->flight.plan->lane_bytes / STREAMS_SHARE);
    if (lane->flight.plan->live)
        lane->foreign = foreign_new(lane->flight.plan->lane_bytes / FOREIGN_SHARE);
}

void lane_live_fini(struct lane *lane) {
    while (lane->trusted != NULL) {
        struct trusted *next = lane->trusted->next;
        free(lane->trusted);
        lane->trusted = next;
    }
    streams_free(&lane->flight.streams);
    foreign_free(&lane->foreign);
    pthread_mutex_destroy(&lane->losses_lock);
}

/* ---- losses ---- */

static void lane_note_loss(struct lane *lane, struct slot_set *slots, uint16_t slot) {
    pthread_mutex_lock(&lane->losses_lock);
    slot_set_add(slots, slot);
    bool news = !lane->losses.any;
    lane->losses.any = true;
    pthread_mutex_unlock(&lane->losses_lock);
    if (news && lane->flight.plan->on_losses != NULL)
        lane->flight.plan->on_losses(lane->flight.plan->ctx);
}

void lane_lose_name(struct lane *lane, uint16_t slot) {
    lane_note_loss(lane, &lane->losses.dropped, slot);
}

void lane_defer_deletion(struct lane *lane, uint16_t slot) {
    lane_note_loss(lane, &lane->losses.deferred, slot);
}

bool lane_take_losses(struct lane *lane, struct lane_losses *losses) {
    pthread_mutex_lock(&lane->losses_lock);
    *losses = lane->losses;
    lane->losses = (struct lane_losses){ 0 };
    pthread_mutex_unlock(&lane->losses_lock);
    return losses->any;
}

static bool lane_has_losses(struct lane *lane) {
    pthread_mutex_lock(&lane->losses_lock);
    bool any = lane->losses.any;
    pthread_mutex_unlock(&lane->losses_lock);
    return any;
}

/* ---- marks ---- */

void lane_put_mark(struct lane *lane, struct lane_mark *mark) {
    mark->epoch = keyset_mark(lane->keys);
    mark->next = NULL;
    if (lane->last_mark != NULL) {
        lane->last_mark->next = mark;
    } else {
        lane->marks = mark;
    }
    lane->last_mark = mark;
    lane_kick(lane);
}

/* A mark may be put anew as soon as it is reached: it then waits for the next round. */
void lane_serve_marks(struct lane *lane) {
    for (struct lane_mark *last = lane->last_mark, *mark = NULL; mark != last;) {
        mark = lane->marks;
        if (!keyset_reached(lane->keys, mark->epoch) || lane_has_losses(lane)) return;
        lane->marks = mark->next;
        if (lane->marks == NULL) lane->last_mark = NULL;
        mark->reached(mark);
    }
}

/* ---- trust ---- */

static struct trusted *find_trusted(const struct lane *lane, const struct address *address) {
    for (struct trusted *t = lane->trusted; t != NULL; t = t->next)
        if (address_equal(&t->address, address)) return t;
    return NULL;
}

static bool is_expected(const struct trusted *t, const struct client *source) {
    return strcmp(t->run_id, client_run_id(source)) == 0;
}

bool lane_trusts(const struct lane *lane, const struct client *source) {
    if (!lane->flight.plan->live) return true;
    const struct trusted *t = find_trusted(lane, client_address(source));
    return t != NULL && t->deletions && is_expected(t, source);
}

bool lane_expects(const struct lane *lane, const struct client *source) {
    if (!lane->flight.plan->live) return true;
    const struct trusted *t = find_trusted(lane, client_address(source));
    return t != NULL && is_expected(t, source);
}

void lane_break_untrusted(const struct lane *lane, struct client *source) {
    const struct trusted *t = find_trusted(lane, client_address(source));
    if (t == NULL || t->run_id[0] == '\0' || !client_is_ready(source) || is_expected(t, source))
        return;
    struct err err;
    err_set(&err, ERR_CLOSED, client_place(source),
            "another server process is to be read at this address");
    client_break(source, &err);
}

void lane_trust(struct lane *lane, const struct address *address, const char *run_id,
                bool deletions) {
    struct trusted *t = find_trusted(lane, address);
    if (t == NULL) {
        t = mem_zalloc(sizeof(*t));
        t->address = *address;
        t->next = lane->trusted;
        lane->trusted = t;
    }
    snprintf(t->run_id, sizeof(t->run_id), "%s", run_id);
    t->deletions = deletions;
    lane_check_trust(lane);
}

/* Again and again: a name may lead to the old process for a while after a failover. */
void lane_check_trust(struct lane *lane) {
    if (!lane->flight.plan->live) return;
    lane->trust_checked_ms = clock_mono_ms();
    for (struct pool_node *node = pool_first(lane->flight.source); node != NULL; node = node->next)
        lane_break_untrusted(lane, node->client);
    struct client *reader = transfers_reader(lane->flight.transfers);
    if (reader != NULL) lane_break_untrusted(lane, reader);
}

/* ---- streams ---- */

void lane_note_type(struct lane *lane, const struct key_entry *entry) {
    if (lane->flight.streams == NULL) return;
    bool stream =
        !(entry->flags & KEY_GONE) && ((entry->flags >> KEY_TYPE_SHIFT) & 15) == VALUE_STREAM;
    if (stream) {
        streams_add(lane->flight.streams, entry->db, key_entry_bytes(entry), entry->slot);
    } else {
        streams_remove(lane->flight.streams, entry->db, key_entry_bytes(entry));
    }
}

/* A key that is being copied may be a stream that the lane does not know yet, read before its
 * groups changed. Types are known once the value was sent, else they look like strings. */
static void lane_check_in_flight(void *ctx, const struct key_entry *e) {
    struct lane *lane = ctx;
    bool may_be_stream = key_type(e) == VALUE_STRING || key_type(e) == VALUE_STREAM;
    bool copied = e->reason != REASON_DELETE && e->reason != REASON_IF_MISSING;
    if (may_be_stream && copied) lane_name(lane, e->db, key_entry_bytes(e), e->slot, REASON_GROUPS);
}

void lane_check_groups(struct lane *lane) {
    if (lane->flight.streams == NULL) return;
    keyset_each_in_flight(lane->keys, lane_check_in_flight, lane);
    for (struct key_entry *e = streams_first(lane->flight.streams); e != NULL; e = e->next)
        lane_name(lane, e->db, key_entry_bytes(e), e->slot, REASON_GROUPS);
}

/* ---- keys that the filters leave out ---- */

static void skip_unwanted(struct lane *lane, struct key_entry *entry) {
    stat_add(&lane->flight.stats.skipped, 1);
    lane_key_done(lane, entry);
}

/* A scan of the target named it: is it the job's copy from before, or a key of others? Both are
 * counted before anything is deleted. */
static void conclude_unwanted(struct lane *lane, struct key_entry *entry,
                              const struct client *source) {
    foreign_add(lane->foreign, entry->db, key_entry_bytes(entry), entry->slot);
    lane_key_missing(lane, entry, source);
}

/* Only a change, or an allowed deletion, gives the right to delete the copy. A key that a scan of
 * the source names needs nothing: the sweep of the target that follows names the keys that are
 * there. */
void lane_key_unwanted(struct lane *lane, struct key_entry *entry, const struct client *source) {
    bool live = lane->foreign != NULL;
    if (live && (entry->reason == REASON_IF_MISSING || entry->reason == REASON_BOTH_SIDES)) {
        conclude_unwanted(lane, entry, source);
    } else if (live && entry->reason == REASON_DELETE) {
        lane_key_missing(lane, entry, source);
    } else if (!live || entry->reason != REASON_CHANGED ||
               foreign_has(lane->foreign, entry->db, key_entry_bytes(entry))) {
        skip_unwanted(lane, entry);
    } else if (!lane_trusts(lane, source)) {
        lane_defer_deletion(lane, entry->slot);
        skip_unwanted(lane, entry);
    } else {
        apply_ask_type(&lane->flight, entry);
    }
}

static void tell_unwanted(struct lane *lane, const struct key_entry *entry) {
    int64_t now_ms = clock_mono_ms();
    char name[LANE_KEY_TOLD];
    if (lane->unwanted_told_ms != 0 && now_ms - lane->unwanted_told_ms < LANE_TELL_MS) return;
    lane->unwanted_told_ms = now_ms;
    bytes_escape(key_entry_bytes(entry), name, sizeof(name));
    log_info(
        "key",
        "db %d \"%s\" is not wanted any more (--key-type, --mem-limit): its copy is removed from "
        "the target, and so are others like it",
        entry->db, name);
}

/* The copy is the job's own when it is of a type that the job copies, and no sweep has found it
 * there before the job copied it. Before the first sweep is over nobody knows: then the slot is
 * swept once more. */
void lane_target_typed(struct lane *lane, struct key_entry *entry, struct bytes type) {
    const struct copy_plan *plan = lane->flight.plan;
    if (bytes_equal_str(type, "none") || !key_filter_wants_type(plan->filter, type)) {
        skip_unwanted(lane, entry);
    } else if (plan->is_swept != NULL && !plan->is_swept(plan->ctx, entry->slot)) {
        lane_defer_deletion(lane, entry->slot);
        skip_unwanted(lane, entry);
    } else {
        tell_unwanted(lane, entry);
        stat_add(&lane->flight.stats.unwanted, 1);
        apply_deletion(&lane->flight, entry);
    }
}
