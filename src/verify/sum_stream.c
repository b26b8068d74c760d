/* Streams, as a client sees them: entries, last id, counters, groups, consumers, and the pending
 * entries. Times since the last delivery go on by themselves and are not compared.
 *
 *   XINFO STREAM ─▶ XRANGE ... ─▶ XINFO GROUPS ─▶ per group: XINFO CONSUMERS ─▶ XPENDING ...
 *
 * Source: the XINFO and XPENDING commands' pages; fields are found by name, since versions add
 * some. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "verify/sum_priv.h"

enum { NUMBER_TEXT_MAX = 24 };

static void read_entries(struct sum *s);
static void read_pending(struct sum *s);
static void next_group(struct sum *s);

/* The next value: *item is set for a plain one; a nested one is passed over whole, and false is
 * returned. */
static bool next_plain(struct resp_cursor *c, struct resp_item *item) {
    struct resp_cursor start = *c;
    if (!resp_next(c, item) || !resp_is_aggregate(item)) return true;
    *c = start;
    resp_skip(c);
    return false;
}

static struct digest digest_of_item(struct digest before, const struct resp_item *item) {
    return item->type == RESP_INTEGER ? digest_chain_number(before, item->num)
                                      : digest_chain(before, item->str);
}

/* The id after this one, for ranges that go on behind it: "(" is not known before 6.2. */
static void set_next_id(struct sum *s, struct bytes id) {
    struct bytes rest = id, ms_text = bytes_split(&rest, '-');
    char ms_copy[NUMBER_TEXT_MAX] = "", seq_copy[NUMBER_TEXT_MAX] = "";
    snprintf(ms_copy, sizeof(ms_copy), "%.*s", (int)ms_text.len, ms_text.ptr);
    snprintf(seq_copy, sizeof(seq_copy), "%.*s", (int)rest.len, rest.ptr);
    uint64_t ms = strtoull(ms_copy, NULL, 10), seq = strtoull(seq_copy, NULL, 10);
    if (++seq == 0) ms++;
    snprintf(s->cursor, sizeof(s->cursor), "%" PRIu64 "-%" PRIu64, ms, seq);
}

static struct bytes piece_text(const struct sum *s, char *buf, size_t size) {
    snprintf(buf, size, "%" PRIu64, sum_piece_elements(s));
    return bytes_of_str(buf);
}

/* ---- pending entries of a group ---- */

static struct bytes stream_group_name(const struct sum *s) {
    return bytes_of(s->groups.names[s->groups.at], s->groups.lens[s->groups.at]);
}

/* [id, consumer, idle, deliveries] each. */
static void on_pending(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item head, id, consumer, idle, deliveries;
    uint64_t n = 0;
    for (; resp_next(&c, &head); n++) {
        if (head.num != 4 || !resp_next(&c, &id) || !resp_next(&c, &consumer) ||
            !resp_next(&c, &idle) || !resp_next(&c, &deliveries)) {
            sum_malformed(s);
            return;
        }
        struct digest digest = digest_chain((struct digest){ 0 }, stream_group_name(s));
        digest = digest_chain(digest_chain(digest, id.str), consumer.str);
        sum_add(s, SUM_PENDING, digest_chain_number(digest, deliveries.num));
        set_next_id(s, id.str);
    }
    if (n < sum_piece_elements(s)) {
        s->groups.at++;
        next_group(s);
    } else {
        read_pending(s);
    }
}

static void read_pending(struct sum *s) {
    char count[NUMBER_TEXT_MAX];
    SUM_SEND(s, on_pending, BYTES_LITERAL("XPENDING"), s->request.key, stream_group_name(s),
             bytes_of_str(s->cursor), BYTES_LITERAL("+"), piece_text(s, count, sizeof(count)));
}

/* ---- consumers ---- */

static void on_consumers(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item head, name, value;
    while (resp_next(&c, &head)) {
        for (int64_t i = 0; i + 1 < head.num; i += 2) {
            bool plain = resp_next(&c, &name) && next_plain(&c, &value);
            if (!plain || !bytes_equal_str(name.str, "name")) continue;
            sum_add(
                s, SUM_CONSUMERS,
                digest_chain(digest_chain((struct digest){ 0 }, stream_group_name(s)), value.str));
        }
    }
    strcpy(s->cursor, "-");
    read_pending(s);
}

static void next_group(struct sum *s) {
    if (s->groups.at == s->groups.n) {
        sum_finish(s);
    } else {
        SUM_SEND(s, on_consumers, BYTES_LITERAL("XINFO"), BYTES_LITERAL("CONSUMERS"),
                 s->request.key, stream_group_name(s));
    }
}

/* ---- groups ---- */

static void keep_group(struct sum *s, struct bytes name) {
    struct sum_groups *g = &s->groups;
    g->names = mem_array(g->names, g->n + 1, sizeof(*g->names));
    g->lens = mem_array(g->lens, g->n + 1, sizeof(*g->lens));
    g->names[g->n] = bytes_dup(name);
    g->lens[g->n++] = name.len;
}

static void take_group(struct sum *s, struct resp_cursor *c, int64_t words) {
    struct resp_item name, value, group = { 0 }, last_id = { 0 }, read = { 0 };
    bool counts = false;
    for (int64_t i = 0; i + 1 < words; i += 2) {
        if (!resp_next(c, &name) || !next_plain(c, &value)) continue;
        if (bytes_equal_str(name.str, "name")) group = value;
        if (bytes_equal_str(name.str, "last-delivered-id")) last_id = value;
        if (bytes_equal_str(name.str, "entries-read")) {
            read = value;
            counts = true;
        }
    }
    struct digest digest = digest_chain((struct digest){ 0 }, group.str);
    sum_add(s, SUM_GROUPS, digest_chain(digest, last_id.str));
    /* Null when the server cannot know it. */
    if (counts)
        sum_add(s, SUM_COUNTERS,
                digest_chain_number(digest, read.type == RESP_INTEGER ? read.num : -1));
    keep_group(s, group.str);
}

static void on_groups(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item head;
    while (resp_next(&c, &head)) take_group(s, &c, head.num);
    next_group(s);
}

/* ---- entries ---- */

static void on_entries(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item head, id, list, word;
    uint64_t n = 0;
    for (; resp_next(&c, &head); n++) {
        if (head.num != 2 || !resp_next(&c, &id) || !resp_next(&c, &list)) {
            sum_malformed(s);
            return;
        }
        sum_append(s, SUM_ELEMENTS, id.str);
        for (int64_t i = 0; i < list.num && resp_next(&c, &word); i++)
            sum_append(s, SUM_ELEMENTS, word.str);
        set_next_id(s, id.str);
    }
    s->value.part[SUM_ELEMENTS].count += n;
    if (n < sum_piece_elements(s)) {
        SUM_SEND(s, on_groups, BYTES_LITERAL("XINFO"), BYTES_LITERAL("GROUPS"), s->request.key);
    } else {
        read_entries(s);
    }
}

static void read_entries(struct sum *s) {
    char count[NUMBER_TEXT_MAX];
    SUM_SEND(s, on_entries, BYTES_LITERAL("XRANGE"), s->request.key, bytes_of_str(s->cursor),
             BYTES_LITERAL("+"), BYTES_LITERAL("COUNT"), piece_text(s, count, sizeof(count)));
}

/* Since 7.0 the server counts all entries ever added, and remembers the highest deleted id. */
static void on_stream(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item name, value;
    while (resp_next(&c, &name)) {
        if (!next_plain(&c, &value)) continue;
        if (bytes_equal_str(name.str, "last-generated-id")) sum_append(s, SUM_LAST_ID, value.str);
        bool counter = bytes_equal_str(name.str, "entries-added") ||
                       bytes_equal_str(name.str, "max-deleted-entry-id");
        if (!counter) continue;
        s->value.part[SUM_COUNTERS].known = true;
        sum_add(s, SUM_COUNTERS, digest_of_item(digest_of(name.str), &value));
    }
    strcpy(s->cursor, "-");
    read_entries(s);
}

void sum_read_stream(struct sum *s) {
    SUM_SEND(s, on_stream, BYTES_LITERAL("XINFO"), BYTES_LITERAL("STREAM"), s->request.key);
}
