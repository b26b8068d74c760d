/* Streams. Entries never change and are only added behind the last, so a stream needs no watching:
 * it is read to its end, and then in one moment (MULTI) the rest, the length, the groups and the
 * expiry. Entries that were trimmed from its front meanwhile are trimmed from the copy too; if the
 * lengths then agree, the copy is what the key was at that moment. A stream that grows all the time
 * is thus copied once, however large.
 */
#include <stdio.h>
#include <stdlib.h>

#include "copy/transfer_priv.h"

enum { STREAM_TAILS_MAX = 50 }; /* ends that were no end any more when they were read */

/* ---- IDs ---- */

bool stream_id_parse(struct bytes text, uint64_t *ms, uint64_t *seq) {
    char copy[STREAM_ID_MAX];
    int used = 0;
    if (text.len == 0 || text.len >= sizeof(copy)) return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    unsigned long long m, s;
    if (sscanf(copy, "%llu-%llu%n", &m, &s, &used) != 2 || (size_t)used != text.len) return false;
    *ms = m;
    *seq = s;
    return true;
}

int stream_id_compare(const char *a, const char *b) {
    uint64_t a_ms = 0, a_seq = 0, b_ms = 0, b_seq = 0;
    bool has_a = stream_id_parse(bytes_of_str(a), &a_ms, &a_seq),
         has_b = stream_id_parse(bytes_of_str(b), &b_ms, &b_seq);
    if (!has_a || !has_b) return (int)has_a - (int)has_b;
    if (a_ms != b_ms) return a_ms < b_ms ? -1 : 1;
    return a_seq < b_seq ? -1 : a_seq > b_seq;
}

void stream_id_next(const char *id, char out[STREAM_ID_MAX]) {
    uint64_t ms = 0, seq = 0;
    stream_id_parse(bytes_of_str(id), &ms, &seq);
    if (++seq == 0) ms++;
    snprintf(out, STREAM_ID_MAX, "%llu-%llu", (unsigned long long)ms, (unsigned long long)seq);
}

static void id_set(char out[STREAM_ID_MAX], struct bytes id) {
    size_t len = id.len < STREAM_ID_MAX ? id.len : STREAM_ID_MAX - 1;
    memcpy(out, id.ptr, len);
    out[len] = '\0';
}

void stream_fini(struct stream_copy *s) {
    block_unref(&s->block);
    free(s->group);
    *s = (struct stream_copy){ .next = "-", .added = -1 };
}

static server_version target_version(const struct transfer *t) {
    return deployment_info(t->lane->plan->target)->redis_version;
}

/* ---- entries ---- */

/* One entry: its ID, then its fields and values. */
static void write_entry(struct transfer *t, struct resp_cursor *c, struct block *block,
                        const struct transfer_step *step) {
    struct resp_item entry, id, fields, word;
    if (!resp_next(c, &entry) || !resp_next(c, &id) || !resp_next(c, &fields)) return;
    places_until(t, id.str, true);
    struct outq *out = transfer_write(t);
    resp_write_head(out, 3 + (size_t)fields.num);
    resp_write_literal(out, "XADD");
    resp_write_arg(out, t->to);
    resp_write_arg(out, t->lane->plan->no_stream_id ? BYTES_LITERAL("*") : id.str);
    for (int64_t i = 0; i < fields.num && resp_next(c, &word); i++) {
        t->bytes += word.str.len;
        resp_write_arg_ref(out, block, word.str);
    }
    t->bytes += id.str.len;
    id_set(t->stream.last, id.str);
    transfer_written(t, step);
}

static void write_entries(struct transfer *t, struct resp_cursor c, size_t n, struct block *block) {
    struct stream_copy *s = &t->stream;
    uint64_t before = t->bytes;
    for (size_t i = 0; i < n; i++)
        write_entry(t, &c, block, i + 1 == n ? &transfer_step_piece : &transfer_step_none);
    if (n == 0) return;
    stream_id_next(s->last, s->next);
    s->copied += (int64_t)n;
    double seen = (double)(t->bytes - before) / (double)n;
    t->element_bytes = seen > t->element_bytes ? seen : t->element_bytes * 0.9 + seen * 0.1;
}

static size_t entries_of_page(const struct transfer *t) {
    bool small = !t->large && (t->entry->flags & KEY_MEASURED);
    double n = t->element_bytes > 0 ? PIECE_BYTES / t->element_bytes
               : small              ? PIECE_ELEMENTS_MAX
                                    : PIECE_ELEMENTS_START;
    return n > PIECE_ELEMENTS_MAX ? PIECE_ELEMENTS_MAX : n < 1 ? 1 : (size_t)n;
}

static void ask_entries(struct transfer *t, const struct transfer_step *step) {
    struct stream_copy *s = &t->stream;
    char count[24];
    s->page = entries_of_page(t);
    TRANSFER_READ(t, step, BYTES_LITERAL("XRANGE"), t->key, bytes_of_str(s->next),
                  BYTES_LITERAL("+"), BYTES_LITERAL("COUNT"),
                  transfer_number((int64_t)s->page, count));
}

static void on_page(struct transfer *t, const struct reply *reply) {
    size_t n = reply->item.num > 0 ? (size_t)reply->item.num : 0;
    t->reading = false;
    t->stream.caught_up = n < t->stream.page;
    write_entries(t, reply->cursor, n, reply->block);
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

static void take_info(struct transfer *t, struct resp_cursor c, int64_t words) {
    struct stream_copy *s = &t->stream;
    struct resp_cursor at;
    struct resp_item v;
    s->first[0] = s->deleted[0] = s->last_id[0] = '\0';
    s->added = -1;
    s->length = info_find(c, words, "length", &at, &v) ? v.num : 0;
    if (info_find(c, words, "last-generated-id", &at, &v)) id_set(s->last_id, v.str);
    if (info_find(c, words, "max-deleted-entry-id", &at, &v)) id_set(s->deleted, v.str);
    if (info_find(c, words, "entries-added", &at, &v)) s->added = v.num;
    if (info_find(c, words, "first-entry", &at, &v) && resp_is_aggregate(&v) && resp_next(&at, &v))
        id_set(s->first, v.str);
}

/* Only a group can make a stream without entries, or unmake the last. */
static void make_empty(struct transfer *t) {
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"), t->to,
                  BYTES_LITERAL("longhaul"), BYTES_LITERAL("0"), BYTES_LITERAL("MKSTREAM"));
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XGROUP"), BYTES_LITERAL("DESTROY"), t->to,
                  BYTES_LITERAL("longhaul"));
}

/* What the source has lost at its front since it was copied. Losses elsewhere show in the length.
 */
static bool can_trim(const struct transfer *t) {
    return t->stream.copied > t->stream.length && !t->lane->plan->no_stream_id &&
           target_version(t) >= SERVER_VERSION(6, 2, 0);
}

static void trim(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    char first[STREAM_ID_MAX];
    snprintf(first, sizeof(first), "%s", s->first);
    if (first[0] == '\0') stream_id_next(s->last, first);
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XTRIM"), t->to, BYTES_LITERAL("MINID"),
                  bytes_of_str(first));
}

/* length: how many entries the target's stream has at this moment; fewer cannot have been added. */
static void set_last_id(struct transfer *t, int64_t length) {
    struct stream_copy *s = &t->stream;
    char added[24];
    if (s->added < 0 || target_version(t) < SERVER_VERSION(7, 0, 0)) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XSETID"), t->to,
                      bytes_of_str(s->last_id));
        return;
    }
    TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XSETID"), t->to, bytes_of_str(s->last_id),
                  BYTES_LITERAL("ENTRIESADDED"),
                  transfer_number(s->added > length ? s->added : length, added),
                  BYTES_LITERAL("MAXDELETEDID"), bytes_of_str(s->deleted));
}

static void entries_copied(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    const struct copy_plan *plan = t->lane->plan;
    if (t->expiry_ms == -2 || (s->length == 0 && plan->stream_prune)) {
        transfer_gone(t);
        return;
    }
    if (s->copied != s->length && !can_trim(t)) {
        transfer_again(t);
        return;
    }
    places_until(t, bytes_of_str(s->last_id), false);
    int64_t placed = (int64_t)t->places.placed;
    /* With placeholders it waits until all is claimed: they would go too. */
    if (s->copied != s->length && placed == 0) trim(t);
    if (s->copied + placed == 0) make_empty(t);
    t->sealing = t->expects_length = true;
    t->length = s->length;
    if (!plan->no_stream_id) set_last_id(t, placed > 0 ? s->copied + placed : 0);
    if (plan->no_stream_id) s->groups_left = 0;
    transfer_continue(t);
}

/* XINFO STREAM, XRANGE, XINFO GROUPS, the expiry and perhaps the clock, of one moment. */
static void on_tail(struct transfer *t, const struct reply *reply) {
    struct stream_copy *s = &t->stream;
    struct resp_cursor info = reply->cursor, entries = info, groups, expiry;
    struct resp_item info_head, entries_head, groups_head, number, clock;
    bool whole = resp_is_aggregate(&reply->item) && resp_skip(&entries);
    groups = entries;
    whole = whole && resp_skip(&groups);
    expiry = groups;
    whole = whole && resp_skip(&expiry) && resp_next(&info, &info_head) &&
            resp_next(&entries, &entries_head) && resp_next(&groups, &groups_head) &&
            resp_next(&expiry, &number);
    if (!whole || !resp_is_aggregate(&info_head) || resp_is_error(&entries_head) ||
        !resp_is_aggregate(&groups_head)) {
        transfer_again(t); /* the key is gone, or another */
        return;
    }
    size_t n = entries_head.num > 0 ? (size_t)entries_head.num : 0;
    t->reading = false;
    write_entries(t, entries, n, reply->block);
    if (n >= s->page) {
        s->caught_up = false;
        if (++s->tail_pages > STREAM_TAILS_MAX) transfer_again(t);
        transfer_continue(t);
        return;
    }
    transfer_take_expiry(t, &number);
    if (!t->lane->plan->can.source_pexpiretime && resp_next(&expiry, &clock))
        transfer_take_clock(t, &expiry);
    take_info(t, info, info_head.num);
    s->block = block_ref(reply->block);
    s->groups = groups;
    s->groups_left = groups_head.num;
    entries_copied(t);
}

static void read_tail(struct transfer *t) {
    static const struct transfer_step step = { on_tail, false };
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("MULTI"));
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("XINFO"), BYTES_LITERAL("STREAM"), t->key);
    ask_entries(t, &transfer_step_none);
    TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("XINFO"), BYTES_LITERAL("GROUPS"), t->key);
    transfer_ask_expiry(t, &transfer_step_none, &transfer_step_none);
    TRANSFER_READ(t, &step, BYTES_LITERAL("EXEC"));
}

/* XTRIM where it can be, since it leaves the greatest deleted ID alone, which XSETID cannot set
 * back to none. XDEL then only meets what was deleted on the source too, between entries.
 */
static void remove_placeholders(struct transfer *t) {
    struct stream_copy *s = &t->stream;
    if (target_version(t) < SERVER_VERSION(6, 2, 0)) {
        places_delete(t, "");
    } else if (s->length == 0) {
        TRANSFER_SEND(t, &transfer_step_none, BYTES_LITERAL("XTRIM"), t->to,
                      BYTES_LITERAL("MAXLEN"), BYTES_LITERAL("0"));
    } else {
        trim(t);
        places_delete(t, s->first);
    }
}

void stream_finish(struct transfer *t) {
    if (t->places.placed > 0) {
        remove_placeholders(t);
        set_last_id(t, t->stream.length); /* the counters have seen them */
    }
    transfer_check(t);
}

/* ---- the way ---- */

static void on_groups(struct transfer *t, const struct reply *reply) {
    struct stream_copy *s = &t->stream;
    s->block = block_ref(reply->block);
    s->groups = reply->cursor;
    s->groups_left = resp_is_aggregate(&reply->item) ? reply->item.num : 0;
    t->reading = false;
    stream_continue(t);
}

static void read_groups(struct transfer *t) {
    static const struct transfer_step step = { on_groups, false };
    t->stream.expecting = t->reading = true;
    TRANSFER_READ(t, &step, BYTES_LITERAL("XINFO"), BYTES_LITERAL("GROUPS"), t->key);
}

void stream_continue(struct transfer *t) {
    static const struct transfer_step step = { on_page, false };
    if (t->reading || t->unacked >= PIECES_UNACKED_MAX) return;
    if (t->sealing || t->stream.expecting) {
        groups_continue(t);
        return;
    }
    t->reading = true;
    if (t->stream.caught_up) {
        read_tail(t);
    } else {
        ask_entries(t, &step);
    }
}

void stream_begin(struct transfer *t) {
    if (!transfer_take_name(t)) return;
    if (t->large) TRANSFER_READ(t, &transfer_step_none, BYTES_LITERAL("UNWATCH"));
    t->stream.caught_up = !t->large && (t->entry->flags & KEY_MEASURED);
    if (t->places.wanted) {
        read_groups(t);
    } else {
        stream_continue(t);
    }
}
