/* Streams. Entries never change and are only added behind the last one, so a stream needs no
 * watching. It is read to its end; then MULTI reads, at one moment, the entries added since, the
 * length, the groups and the expiry. Entries that were trimmed from the front meanwhile are trimmed
 * from the copy too. If the lengths then agree, the copy is the stream of that moment. So a stream
 * that grows all the time is copied once, however large.
 */
#include <stdio.h>
#include <stdlib.h>

#include "copy/transfer_priv.h"

enum { STREAM_TAILS_MAX = 50 }; /* reads of the end that were not the end any more */

/* Where the reading starts, and behind the last possible ID an empty range. */
static const struct bytes range_empty[2] = { { "+", 1 }, { "-", 1 } };

void stream_copy_fini(struct stream_copy *s) {
    block_unref(&s->block);
    free(s->group);
    *s = (struct stream_copy){ .added = -1 };
}

static server_version stream_target_version(const struct transfer *t) {
    return deployment_info(t->flight->plan->target)->redis_version;
}

/* ---- entries ---- */

/* One entry: its ID, then its fields and values. False when the reply has no further entry. */
static bool stream_write_entry(struct transfer *t, struct resp_cursor *c, struct block *block,
                               const struct transfer_step *step) {
    struct resp_item entry, text, fields, word;
    struct stream_id id;
    if (!resp_next(c, &entry) || !resp_next(c, &text) || !resp_next(c, &fields) ||
        !stream_id_parse(text.str, &id) || fields.num < 0)
        return false;
    places_until(t, id, true);
    struct outq *out = transfer_write(t);
    resp_write_head(out, 3 + (size_t)fields.num);
    resp_write_literal(out, "XADD");
    resp_write_arg(out, t->to);
    resp_write_arg(out, t->flight->plan->no_stream_id ? BYTES_LITERAL("*") : text.str);
    for (int64_t i = 0; i < fields.num && resp_next(c, &word); i++) {
        t->bytes += word.str.len;
        resp_write_arg_ref(out, block, word.str);
    }
    t->bytes += text.str.len;
    t->stream.last = id;
    t->stream.copied++;
    transfer_written(t, step);
    return true;
}

static void stream_write_entries(struct transfer *t, struct resp_cursor c, size_t n,
                                 struct block *block) {
    struct stream_copy *s = &t->stream;
    uint64_t before = t->bytes;
    for (size_t i = 0; i < n; i++) {
        const struct transfer_step *step = i + 1 == n ? &transfer_step_piece : &transfer_step_none;
        if (stream_write_entry(t, &c, block, step)) continue;
        transfer_malformed(t, "XRANGE");
        return;
    }
    if (n == 0) return;
    s->next = s->last;
    s->no_next = !stream_id_advance(&s->next);
    double seen = (double)(t->bytes - before) / (double)n;
    t->pieces.element_bytes =
        seen > t->pieces.element_bytes ? seen : t->pieces.element_bytes * 0.9 + seen * 0.1;
}

static size_t stream_entries_of_page(const struct transfer *t) {
    bool small = !t->large && t->measured;
    double n = t->pieces.element_bytes > 0 ? PIECE_BYTES / t->pieces.element_bytes
               : small                     ? PIECE_ELEMENTS_MAX
                                           : PIECE_ELEMENTS_START;
    return n > PIECE_ELEMENTS_MAX ? PIECE_ELEMENTS_MAX : n < 1 ? 1 : (size_t)n;
}

static void stream_ask_entries(struct transfer *t, const struct transfer_step *step) {
    struct stream_copy *s = &t->stream;
    char count[24], from[STREAM_ID_TEXT_MAX];
    s->page = stream_entries_of_page(t);
    TRANSFER_READ(t, step, BYTES_LITERAL("XRANGE"), t->key,
                  s->no_next ? range_empty[0] : stream_id_text(s->next, from),
                  s->no_next ? range_empty[1] : BYTES_LITERAL("+"), BYTES_LITERAL("COUNT"),
                  transfer_number((int64_t)s->page, count));
}

static void on_stream_page(struct transfer *t, const struct reply *reply) {
    size_t n = reply->item.num > 0 ? (size_t)reply->item.num : 0;
    t->pieces.page_asked = false;
    if (n < t->stream.page) transfer_move(t, TRANSFER_LAST_READ);
    stream_write_entries(t, reply->cursor, n, reply->block);
    transfer_continue(t);
}

/* ---- the end ---- */

/* The value of a name in an XINFO map, whose elements c stands at. */
static bool info_find(struct resp_cursor c, int64_t words, const char *name, struct resp_cursor *at,
                      struct resp_item *value) {
    struct resp_item item;
    for (int64_t i = 0; i + 1 < words; i += 2) {
        if (!resp_next(&c, &item)) return false;
        *at = c;
        if (bytes_equal_str(item.str, name)) return resp_next(at, value);
        resp_skip(&c);
    }
    return false;
}

static struct stream_id info_id(struct resp_cursor c, int64_t words, const char *name) {
    struct stream_id id = { 0 };
    struct resp_cursor at;
    struct resp_item v;
    if (info_find(c, words, name, &at, &v)) stream_id_parse(v.str, &id);
    return id;
}

static void stream_take_info(struct transfer *t, struct resp_cursor c, int64_t words) {
    struct stream_copy *s = &t->stream;
    struct resp_cursor at;
    struct resp_item v;
    s->first = (struct stream_id){ 0 };
    s->length = info_find(c, words, "length", &at, &v) ? v.num : 0;
    s->last_id = info_id(c, words, "last-generated-id");
    s->deleted = info_id(c, words, "max-deleted-entry-id");
    s->added = info_find(c, words, "entries-added", &at, &v) ? v.num : -1;
    if (info_find(c, words, "first-entry", &at, &v) && resp_is_aggregate(&v) && resp_next(&at, &v))
        stream_id_parse(v.str, &s->first);
}

/* Creating a group is the only way to make a stream without entries. */
static void stream_make_empty(struct transfer *t) {
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"), t->to,
                  BYTES_LITERAL("longhaul"), BYTES_LITERAL("0"), BYTES_LITERAL("MKSTREAM"));
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("DESTROY"), t->to,
                  BYTES_LITERAL("longhaul"));
}

/* Entries that the source lost at its front since they were copied. Losses elsewhere show in the
 * length. */
static bool stream_can_trim(const struct transfer *t) {
    return t->stream.copied > t->stream.length && !t->flight->plan->no_stream_id &&
           stream_target_version(t) >= SERVER_VERSION(6, 2, 0);
}

static void stream_trim(struct transfer *t) {
    char first[STREAM_ID_TEXT_MAX];
    bool all = t->stream.length == 0;
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XTRIM"), t->to,
                  all ? BYTES_LITERAL("MAXLEN") : BYTES_LITERAL("MINID"),
                  all ? BYTES_LITERAL("0") : stream_id_text(t->stream.first, first));
}

/* length: of the target's stream at this moment; entries-added cannot be less. */
static void stream_set_last_id(struct transfer *t, int64_t length) {
    struct stream_copy *s = &t->stream;
    char added[24], last[STREAM_ID_TEXT_MAX], deleted[STREAM_ID_TEXT_MAX];
    if (s->added < 0 || stream_target_version(t) < SERVER_VERSION(7, 0, 0)) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XSETID"), t->to,
                      stream_id_text(s->last_id, last));
        return;
    }
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XSETID"), t->to,
                  stream_id_text(s->last_id, last), BYTES_LITERAL("ENTRIESADDED"),
                  transfer_number(s->added > length ? s->added : length, added),
                  BYTES_LITERAL("MAXDELETEDID"), stream_id_text(s->deleted, deleted));
}

static void stream_entries_copied(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    const struct copy_plan *plan = t->flight->plan;
    if (t->expiry_ms == -2 || (s->length == 0 && plan->stream_prune)) {
        transfer_missing(t);
        return;
    }
    if (s->copied != s->length && !stream_can_trim(t)) {
        transfer_again(t);
        return;
    }
    places_until(t, s->last_id, false);
    int64_t placed = (int64_t)t->places.placed;
    /* XTRIM would remove placeholders too, so with placeholders it waits until all is claimed. */
    if (s->copied != s->length && placed == 0) stream_trim(t);
    if (s->copied + placed == 0) stream_make_empty(t);
    t->expects_length = true;
    t->length = s->length;
    if (!plan->no_stream_id) stream_set_last_id(t, placed > 0 ? s->copied + placed : 0);
    if (plan->no_stream_id) s->groups_left = 0;
    transfer_continue(t);
}

/* More was added than a page holds: that was not the end. */
static void stream_read_on(struct transfer *t) {
    if (++t->stream.tail_pages > STREAM_TAILS_MAX) {
        transfer_again(t);
        return;
    }
    transfer_move(t, TRANSFER_READING);
    transfer_continue(t);
}

/* XINFO STREAM, XRANGE, XINFO GROUPS, the expiry and perhaps the clock, all of one moment. */
static void on_stream_tail(struct transfer *t, const struct reply *reply) {
    struct resp_cursor info = reply->cursor, entries = info, groups, expiry;
    struct resp_item info_head, entries_head, groups_head, number, clock;
    bool whole = resp_is_aggregate(&reply->item) && resp_skip(&entries);
    groups = entries;
    whole = whole && resp_skip(&groups);
    expiry = groups;
    whole = whole && resp_skip(&expiry) && resp_next(&info, &info_head) &&
            resp_next(&entries, &entries_head) && resp_next(&groups, &groups_head) &&
            resp_next(&expiry, &number);
    t->pieces.page_asked = false;
    if (!whole || !resp_is_aggregate(&info_head) || resp_is_error(&entries_head) ||
        !resp_is_aggregate(&groups_head)) {
        transfer_again(t); /* the key is missing, or of another type */
        return;
    }
    size_t n = entries_head.num > 0 ? (size_t)entries_head.num : 0;
    stream_write_entries(t, entries, n, reply->block);
    if (!transfer_is_active(t)) return;
    if (n >= t->stream.page) {
        stream_read_on(t);
        return;
    }
    transfer_take_expiry(t, &number);
    if (!t->flight->plan->can.source_pexpiretime && resp_next(&expiry, &clock))
        transfer_take_clock(t, &expiry);
    stream_take_info(t, info, info_head.num);
    groups_set(t, reply->block, groups, groups_head.num);
    stream_entries_copied(t);
}

static void stream_read_tail(struct transfer *t) {
    static const struct transfer_step step = { on_stream_tail, false };
    transfer_move(t, TRANSFER_SEALING);
    t->pieces.page_asked = true;
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("MULTI"));
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("XINFO"), BYTES_LITERAL("STREAM"), t->key);
    stream_ask_entries(t, &transfer_step_none);
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("XINFO"), BYTES_LITERAL("GROUPS"), t->key);
    transfer_ask_expiry(t, &transfer_step_none, &transfer_step_none);
    TRANSFER_READ(t, &step, BYTES_LITERAL("EXEC"));
}

/* ---- placeholders ---- */

/* XTRIM if the target has it, since XDEL raises max-deleted-entry-id, which XSETID cannot reset to
 * none. XDEL then meets only entries that were deleted on the source too, between others. */
static void stream_remove_placeholders(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    if (stream_target_version(t) < SERVER_VERSION(6, 2, 0)) {
        places_delete(t, (struct stream_id){ 0 });
        return;
    }
    stream_trim(t);
    if (s->length > 0) places_delete(t, s->first);
}

/* All groups are copied: placeholders are removed, and the copy can be put in place. */
static void stream_groups_copied(struct transfer *t) {
    if (t->pieces.unacked > 0) return; /* the replies tell whether pending entries were lost */
    if (transfer_lost_pending(t) > 0 && !t->places.wanted) {
        t->places.wanted = true;
        transfer_again_for(t, "pending entries were lost");
        return;
    }
    if (t->places.placed > 0) {
        stream_remove_placeholders(t);
        stream_set_last_id(t, t->stream.length); /* placeholders have changed the counters */
    }
    transfer_check(t);
}

static void on_stream_expected_groups(struct transfer *t, const struct reply *reply) {
    t->pieces.page_asked = false;
    groups_set(t, reply->block, reply->cursor,
               resp_is_aggregate(&reply->item) ? reply->item.num : 0);
    transfer_continue(t);
}

static void stream_read_expected_groups(struct transfer *t) {
    static const struct transfer_step step = { on_stream_expected_groups, false };
    transfer_move(t, TRANSFER_EXPECTING);
    t->pieces.page_asked = true;
    TRANSFER_READ(t, &step, BYTES_LITERAL("XINFO"), BYTES_LITERAL("GROUPS"), t->key);
}

/* ---- from beginning to end ---- */

/* A small stream is read in one go: its first read is the last. */
static void stream_read_entries(struct transfer *t) {
    bool small = !t->large && t->measured;
    transfer_move(t, small ? TRANSFER_LAST_READ : TRANSFER_READING);
    transfer_continue(t);
}

static void stream_all_expected(struct transfer *t) {
    places_sort(&t->places);
    stream_read_entries(t);
}

static void stream_read_page(struct transfer *t) {
    static const struct transfer_step step = { on_stream_page, false };
    t->pieces.page_asked = true;
    stream_ask_entries(t, &step);
}

void stream_continue(struct transfer *t) {
    if (t->pieces.page_asked || t->pieces.unacked >= PIECES_UNACKED_MAX) return;
    switch (t->state) {
    case TRANSFER_EXPECTING:
        if (!groups_continue(t)) stream_all_expected(t);
        return;
    case TRANSFER_READING:
        stream_read_page(t);
        return;
    case TRANSFER_LAST_READ:
        stream_read_tail(t);
        return;
    case TRANSFER_SEALING:
        if (!groups_continue(t)) stream_groups_copied(t);
        return;
    default:
        return;
    }
}

void stream_begin(struct transfer *t) {
    if (!transfer_take_name(t)) return;
    if (t->large) TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("UNWATCH"));
    if (t->places.wanted) {
        stream_read_expected_groups(t);
    } else {
        stream_read_entries(t);
    }
}
