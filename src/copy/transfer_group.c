/* Consumer groups of a stream, one after the other: the group, its consumers, and page by page its
 * pending entries.
 *
 * XCLAIM makes a pending entry with its owner, count and time. From 7.0 on it does so only for
 * entries that the stream has. If entries of deleted messages are lost, the copy begins again with
 * placeholders (transfer_place.c); if some are lost even then, they are reported.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "copy/transfer_priv.h"

enum { PENDING_PAGE = 1000 };

struct group {
    struct bytes name, last_delivered;
    int64_t entries_read; /* -1: unknown */
};

static server_version group_target_version(const struct transfer *t) {
    return deployment_info(t->flight->plan->target)->redis_version;
}

static struct bytes transfer_group_name(const struct transfer *t) {
    return bytes_of(t->stream.group, t->stream.group_len);
}

/* ---- the group and its consumers ---- */

static struct group group_parse(struct resp_cursor c, int64_t words) {
    struct group group = { .entries_read = -1 };
    struct resp_item name, value;
    for (int64_t i = 0; i + 1 < words && resp_next(&c, &name); i += 2) {
        struct resp_cursor at = c;
        resp_skip(&c);
        if (!resp_next(&at, &value)) break;
        if (bytes_equal_str(name.str, "name")) group.name = value.str;
        if (bytes_equal_str(name.str, "last-delivered-id")) group.last_delivered = value.str;
        if (bytes_equal_str(name.str, "entries-read") && value.type == RESP_INTEGER)
            group.entries_read = value.num;
    }
    return group;
}

static void group_write(struct transfer *t, const struct group *group) {
    char number[24];
    if (group->entries_read < 0 || group_target_version(t) < SERVER_VERSION(7, 0, 0)) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"),
                      t->to, group->name, group->last_delivered);
        return;
    }
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"), t->to,
                  group->name, group->last_delivered, BYTES_LITERAL("ENTRIESREAD"),
                  transfer_number(group->entries_read, number));
}

static void group_write_consumer(struct transfer *t, struct bytes name) {
    if (group_target_version(t) >= SERVER_VERSION(6, 2, 0)) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"),
                      BYTES_LITERAL("CREATECONSUMER"), t->to, transfer_group_name(t), name);
        return;
    }
    /* Before 6.2: XREADGROUP with ID 0 creates the consumer even if it has no pending entries. */
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XREADGROUP"), BYTES_LITERAL("GROUP"),
                  transfer_group_name(t), name, BYTES_LITERAL("COUNT"), BYTES_LITERAL("1"),
                  BYTES_LITERAL("STREAMS"), t->to, BYTES_LITERAL("0"));
}

static void on_group_consumers(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item consumer, word;
    for (int64_t i = 0; i < reply->item.num && resp_next(&c, &consumer); i++) {
        for (int64_t k = 0; k + 1 < consumer.num && resp_next(&c, &word); k += 2) {
            struct resp_cursor at = c;
            resp_skip(&c);
            struct resp_item value;
            if (bytes_equal_str(word.str, "name") && resp_next(&at, &value))
                group_write_consumer(t, value.str);
        }
    }
}

/* ---- pending entries ---- */

struct pending {
    struct bytes id, consumer;
    int64_t idle_ms, count;
};

static bool group_next_pending(struct resp_cursor *c, struct pending *p) {
    struct resp_item row, id, consumer, idle, count;
    if (!resp_next(c, &row) || !resp_next(c, &id) || !resp_next(c, &consumer) ||
        !resp_next(c, &idle) || !resp_next(c, &count))
        return false;
    *p = (struct pending){ id.str, consumer.str, idle.num, count.num };
    return true;
}

static void on_group_claimed(struct transfer *t, const struct reply *reply) {
    if (resp_is_aggregate(&reply->item)) t->stream.claimed += (uint64_t)reply->item.num;
}

static void on_group_last_claimed(struct transfer *t, const struct reply *reply) {
    on_group_claimed(t, reply);
    transfer_continue(t);
}

/* Entries that one consumer was given at the same moment and the same number of times. */
static void group_write_claim(struct transfer *t, const struct pending *first,
                              const struct bytes *ids, size_t n, bool last) {
    static const struct transfer_step step = { on_group_claimed, false },
                                      last_step = { on_group_last_claimed, true };
    struct outq *out = transfer_write(t);
    resp_write_head(out, 5 + n + 6);
    resp_write_literal(out, "XCLAIM");
    resp_write_arg(out, t->to);
    resp_write_arg(out, transfer_group_name(t));
    resp_write_arg(out, first->consumer);
    resp_write_literal(out, "0");
    for (size_t i = 0; i < n; i++) resp_write_arg(out, ids[i]);
    resp_write_literal(out, "TIME");
    resp_write_arg_i64(out, t->stream.now_ms - first->idle_ms);
    resp_write_literal(out, "RETRYCOUNT");
    resp_write_arg_i64(out, first->count);
    resp_write_literal(out, "FORCE");
    resp_write_literal(out, "JUSTID");
    t->stream.asked += n;
    transfer_written(t, last ? &last_step : &step);
}

static bool group_same_delivery(const struct pending *a, const struct pending *b) {
    return a->idle_ms == b->idle_ms && a->count == b->count &&
           bytes_equal(a->consumer, b->consumer);
}

static void group_write_pending(struct transfer *t, struct resp_cursor c, int64_t n) {
    size_t most = t->flight->plan->max_args - 11, n_ids = 0;
    struct bytes ids[CLAIM_IDS_MAX];
    struct pending first = { 0 }, p;
    if (most > CLAIM_IDS_MAX) most = CLAIM_IDS_MAX;
    for (int64_t i = 0; i < n && group_next_pending(&c, &p); i++) {
        struct stream_id id;
        if (!stream_id_parse(p.id, &id)) continue;
        /* Delivered after the end of the stream was read. */
        if (stream_id_compare(id, t->stream.last_id) > 0) continue;
        if (n_ids > 0 && (n_ids == most || !group_same_delivery(&first, &p))) {
            group_write_claim(t, &first, ids, n_ids, false);
            n_ids = 0;
        }
        if (n_ids == 0) first = p;
        ids[n_ids++] = p.id;
    }
    if (n_ids > 0) group_write_claim(t, &first, ids, n_ids, true);
}

static void group_expect_pending(struct transfer *t, struct resp_cursor c, int64_t n) {
    struct pending p;
    for (int64_t i = 0; i < n && group_next_pending(&c, &p); i++) places_expect(&t->places, p.id);
}

/* Where the next page of pending entries starts; false when there is none. */
static bool group_advance_pending(struct stream_copy *s, struct resp_cursor c, int64_t n) {
    struct pending p = { 0 };
    if (n < PENDING_PAGE) return false;
    for (int64_t i = 0; i < n && group_next_pending(&c, &p);) i++;
    return stream_id_parse(p.id, &s->pending_next) && stream_id_advance(&s->pending_next);
}

static void on_group_pending(struct transfer *t, const struct reply *reply) {
    struct stream_copy *s = &t->stream;
    int64_t n = resp_is_aggregate(&reply->item) ? reply->item.num : 0;
    if (t->state == TRANSFER_EXPECTING) {
        group_expect_pending(t, reply->cursor, n);
    } else {
        group_write_pending(t, reply->cursor, n);
    }
    t->pieces.page_asked = false;
    s->in_group = group_advance_pending(s, reply->cursor, n);
    transfer_continue(t);
}

static void on_group_clock(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    int64_t expiry_ms = t->expiry_ms;
    t->expiry_ms = -1; /* it is absolute already */
    if (transfer_take_clock(t, &c)) t->stream.now_ms = t->server_ms;
    t->expiry_ms = expiry_ms;
}

static void group_ask_pending(struct transfer *t) {
    static const struct transfer_step clock = { on_group_clock, false },
                                      pending = { on_group_pending, false };
    char count[24], from[STREAM_ID_TEXT_MAX];
    t->pieces.page_asked = true;
    TRANSFER_READ(t, &clock, BYTES_LITERAL("TIME"));
    TRANSFER_READ(t, &pending, BYTES_LITERAL("XPENDING"), t->key, transfer_group_name(t),
                  stream_id_text(t->stream.pending_next, from), BYTES_LITERAL("+"),
                  transfer_number(PENDING_PAGE, count));
}

/* ---- one by one ---- */

void groups_set(struct transfer *t, struct block *block, struct resp_cursor groups, int64_t n) {
    struct stream_copy *s = &t->stream;
    block_unref(&s->block);
    s->block = block_ref(block);
    s->groups = groups;
    s->groups_left = n;
}

static void group_begin(struct transfer *t) {
    static const struct transfer_step consumers = { on_group_consumers, false };
    struct stream_copy *s = &t->stream;
    struct resp_item head;
    s->groups_left--;
    struct group group = { 0 };
    if (resp_next(&s->groups, &head)) group = group_parse(s->groups, head.num);
    if (group.name.ptr == NULL || group.last_delivered.ptr == NULL) {
        transfer_malformed(t, "XINFO GROUPS");
        return;
    }
    for (int64_t i = 0; i < head.num; i++) resp_skip(&s->groups);
    free(s->group);
    s->group = mem_alloc(group.name.len + 1);
    s->group_len = group.name.len;
    if (group.name.len > 0) memcpy(s->group, group.name.ptr, group.name.len);
    s->in_group = true;
    s->pending_next = (struct stream_id){ 0 };
    if (t->state == TRANSFER_EXPECTING) return;
    group_write(t, &group);
    TRANSFER_READ(t, &consumers, BYTES_LITERAL("XINFO"), BYTES_LITERAL("CONSUMERS"), t->key,
                  transfer_group_name(t));
}

bool groups_continue(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    if (!s->in_group && s->groups_left > 0) group_begin(t);
    if (s->in_group) group_ask_pending(t);
    return s->in_group;
}
