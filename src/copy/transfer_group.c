/* Consumer groups of a stream, one after the other: the group, its consumers, and page by page what
 * is pending.
 *
 * XCLAIM makes a pending entry with its owner, count and time. From 7.0 on it does so only for
 * entries that the stream has: where those of deleted messages are lost, all begins anew with
 * placeholders (transfer_place.c). What is lost even then is told.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "copy/transfer_priv.h"

enum { PENDING_PAGE = 1000 };

struct group {
    struct bytes name, last_delivered;
    int64_t entries_read; /* -1: not known */
};

static server_version target_version(const struct transfer *t) {
    return deployment_info(t->lane->plan->target)->redis_version;
}

static struct bytes group_name(const struct transfer *t) {
    return bytes_of(t->stream.group, t->stream.group_len);
}

/* ---- the group and its consumers ---- */

static struct group parse_group(struct resp_cursor c, int64_t words) {
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

static void write_group(struct transfer *t, const struct group *group) {
    char number[24];
    if (group->entries_read < 0 || target_version(t) < SERVER_VERSION(7, 0, 0)) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"),
                      t->to, group->name, group->last_delivered);
        return;
    }
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"), t->to,
                  group->name, group->last_delivered, BYTES_LITERAL("ENTRIESREAD"),
                  transfer_number(group->entries_read, number));
}

static void write_consumer(struct transfer *t, struct bytes name) {
    if (target_version(t) >= SERVER_VERSION(6, 2, 0)) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"),
                      BYTES_LITERAL("CREATECONSUMER"), t->to, group_name(t), name);
        return;
    }
    /* Whoever reads is known from then on, also when he reads his own past and has none. */
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XREADGROUP"), BYTES_LITERAL("GROUP"),
                  group_name(t), name, BYTES_LITERAL("COUNT"), BYTES_LITERAL("1"),
                  BYTES_LITERAL("STREAMS"), t->to, BYTES_LITERAL("0"));
}

static void on_consumers(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item consumer, word;
    for (int64_t i = 0; i < reply->item.num && resp_next(&c, &consumer); i++) {
        for (int64_t k = 0; k + 1 < consumer.num && resp_next(&c, &word); k += 2) {
            struct resp_cursor at = c;
            resp_skip(&c);
            struct resp_item value;
            if (bytes_equal_str(word.str, "name") && resp_next(&at, &value))
                write_consumer(t, value.str);
        }
    }
}

/* ---- what is pending ---- */

struct pending {
    struct bytes id, consumer;
    int64_t idle_ms, count;
};

static bool next_pending(struct resp_cursor *c, struct pending *p) {
    struct resp_item row, id, consumer, idle, count;
    if (!resp_next(c, &row) || !resp_next(c, &id) || !resp_next(c, &consumer) ||
        !resp_next(c, &idle) || !resp_next(c, &count))
        return false;
    *p = (struct pending){ id.str, consumer.str, idle.num, count.num };
    return true;
}

static void on_claimed(struct transfer *t, const struct reply *reply) {
    if (resp_is_aggregate(&reply->item)) t->stream.claimed += (uint64_t)reply->item.num;
}

static void on_last_claimed(struct transfer *t, const struct reply *reply) {
    on_claimed(t, reply);
    transfer_continue(t);
}

/* Entries that one consumer was given at the same moment and equally often. */
static void write_claim(struct transfer *t, const struct pending *first, const struct bytes *ids,
                        size_t n, bool last) {
    static const struct transfer_step step = { on_claimed, false },
                                      last_step = { on_last_claimed, true };
    struct outq *out = transfer_write(t);
    resp_write_head(out, 5 + n + 6);
    resp_write_literal(out, "XCLAIM");
    resp_write_arg(out, t->to);
    resp_write_arg(out, group_name(t));
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

static bool same_delivery(const struct pending *a, const struct pending *b) {
    return a->idle_ms == b->idle_ms && a->count == b->count &&
           bytes_equal(a->consumer, b->consumer);
}

static void write_pending(struct transfer *t, struct resp_cursor c, int64_t n) {
    size_t most = t->lane->plan->max_args - 11, n_ids = 0;
    struct bytes ids[CLAIM_IDS_MAX];
    struct pending first = { 0 }, p;
    if (most > CLAIM_IDS_MAX) most = CLAIM_IDS_MAX;
    for (int64_t i = 0; i < n && next_pending(&c, &p); i++) {
        char id[STREAM_ID_MAX];
        snprintf(id, sizeof(id), "%.*s", (int)p.id.len, p.id.ptr);
        stream_id_next(id, t->stream.pending_next);
        /* Delivered after the end of the stream was read. */
        if (stream_id_compare(id, t->stream.last_id) > 0) continue;
        if (n_ids > 0 && (n_ids == most || !same_delivery(&first, &p))) {
            write_claim(t, &first, ids, n_ids, false);
            n_ids = 0;
        }
        if (n_ids == 0) first = p;
        ids[n_ids++] = p.id;
    }
    if (n_ids > 0) write_claim(t, &first, ids, n_ids, true);
}

static void expect_pending(struct transfer *t, struct resp_cursor c, int64_t n) {
    struct pending p;
    for (int64_t i = 0; i < n && next_pending(&c, &p); i++) {
        char id[STREAM_ID_MAX];
        snprintf(id, sizeof(id), "%.*s", (int)p.id.len, p.id.ptr);
        stream_id_next(id, t->stream.pending_next);
        places_expect(&t->places, p.id);
    }
}

static void on_pending(struct transfer *t, const struct reply *reply) {
    struct stream_copy *s = &t->stream;
    int64_t n = resp_is_aggregate(&reply->item) ? reply->item.num : 0;
    if (s->expecting) {
        expect_pending(t, reply->cursor, n);
    } else {
        write_pending(t, reply->cursor, n);
    }
    t->reading = false;
    if (n < PENDING_PAGE) {
        free(s->group);
        s->group = NULL;
    }
    transfer_continue(t);
}

static void on_clock(struct transfer *t, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    int64_t expiry_ms = t->expiry_ms;
    t->expiry_ms = -1; /* it is absolute already */
    if (transfer_take_clock(t, &c)) t->stream.now_ms = t->server_ms;
    t->expiry_ms = expiry_ms;
}

static void ask_pending(struct transfer *t) {
    static const struct transfer_step clock = { on_clock, false }, pending = { on_pending, false };
    char count[24];
    TRANSFER_READ(t, &clock, BYTES_LITERAL("TIME"));
    TRANSFER_READ(t, &pending, BYTES_LITERAL("XPENDING"), t->key, group_name(t),
                  bytes_of_str(t->stream.pending_next), BYTES_LITERAL("+"),
                  transfer_number(PENDING_PAGE, count));
}

/* ---- one by one ---- */

static void begin_group(struct transfer *t) {
    static const struct transfer_step consumers = { on_consumers, false };
    struct stream_copy *s = &t->stream;
    struct resp_item head;
    s->groups_left--;
    if (!resp_next(&s->groups, &head)) return;
    struct group group = parse_group(s->groups, head.num);
    for (int64_t i = 0; i < head.num; i++) resp_skip(&s->groups);
    s->group = mem_alloc(group.name.len + 1);
    memcpy(s->group, group.name.ptr, group.name.len);
    s->group_len = group.name.len;
    snprintf(s->pending_next, sizeof(s->pending_next), "-");
    if (s->expecting) return;
    write_group(t, &group);
    TRANSFER_READ(t, &consumers, BYTES_LITERAL("XINFO"), BYTES_LITERAL("CONSUMERS"), t->key,
                  group_name(t));
}

static void all_expected(struct transfer *t) {
    places_sort(&t->places);
    block_unref(&t->stream.block);
    t->stream.expecting = false;
    stream_continue(t);
}

static void all_claimed(struct transfer *t) {
    if (t->unacked > 0) return; /* the replies tell what was lost */
    t->reading = true;          /* nothing is left to be read */
    if (groups_lost(t) > 0 && !t->places.wanted) {
        t->places.wanted = t->again = true;
    } else {
        stream_finish(t);
    }
}

void groups_continue(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    if (s->group == NULL && s->groups_left <= 0) {
        if (s->expecting) {
            all_expected(t);
        } else {
            all_claimed(t);
        }
        return;
    }
    if (s->group == NULL) begin_group(t);
    t->reading = true;
    ask_pending(t);
}

uint64_t groups_lost(const struct transfer *t) {
    if (t->lane->plan->dry_run) return 0; /* nobody was asked */
    return t->stream.asked > t->stream.claimed ? t->stream.asked - t->stream.claimed : 0;
}
