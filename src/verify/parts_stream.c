/* The parts of a stream that differ: entries in step by id, then its groups, their consumers, and
 * the entries pending for each. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "verify/parts_priv.h"

enum { ID_MAX = 48 };

static void parts_ask_both(struct parts *p, struct call_reply reply[SIDES], size_t argc,
                           const struct bytes *argv) {
    for (int side = 0; side < SIDES; side++) parts_ask(p, side, &reply[side], argc, argv);
}
#define ASK_BOTH(p, reply, ...)                                                                    \
    parts_ask_both(p, reply, sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes),       \
                   (struct bytes[]){ __VA_ARGS__ })

static void release_both(struct call_reply reply[SIDES]) {
    for (int side = 0; side < SIDES; side++) call_reply_fini(&reply[side]);
}

/* Behind this id, by the smallest id above it. */
static void id_after(struct bytes id, char *out, size_t size) {
    struct bytes rest = id, ms = bytes_split(&rest, '-');
    char a[ID_MAX], b[ID_MAX];
    snprintf(a, sizeof(a), "%.*s", (int)ms.len, ms.ptr);
    snprintf(b, sizeof(b), "%.*s", (int)rest.len, rest.ptr);
    snprintf(out, size, "%s-%" PRIu64, a, (uint64_t)strtoull(b, NULL, 10) + 1);
}

/* ---- entries ---- */

/* The whole next entry, as it was sent, and its id. */
static bool next_entry(struct resp_cursor *c, struct bytes *raw, struct bytes *id) {
    struct resp_cursor inside = *c;
    struct resp_item head, item;
    if (!resp_skip(c)) return false;
    *raw = bytes_of(inside.pos, (size_t)(c->pos - inside.pos));
    if (!resp_next(&inside, &head) || !resp_next(&inside, &item)) return false;
    *id = item.str;
    return true;
}

/* True when both pieces are the same and more may follow; `from` is moved behind them. */
static bool same_entries(struct parts *p, struct call_reply reply[SIDES], char *from, size_t size) {
    struct resp_cursor x = reply[SOURCE].cursor, y = reply[TARGET].cursor;
    for (int n = 0;; n++) {
        struct bytes a, b, id, other;
        char shown[PARTS_VALUE_SHOWN], shown_other[PARTS_VALUE_SHOWN];
        bool has = next_entry(&x, &a, &id), has_other = next_entry(&y, &b, &other);
        if (!has && !has_other) return n == PARTS_PIECE;
        if (has) parts_show(id, shown, sizeof(shown));
        if (has_other) parts_show(other, shown_other, sizeof(shown_other));
        if (has && has_other && bytes_equal(a, b)) {
            id_after(id, from, size);
            continue;
        }
        if (has && has_other && bytes_equal(id, other))
            parts_add(p, "entry %s has other fields", shown);
        else
            parts_add(p, "entries differ from here on: source %s, target %s", has ? shown : "ends",
                      has_other ? shown_other : "ends");
        return false;
    }
}

static void compare_entries(struct parts *p) {
    char from[ID_MAX * 3] = "-";
    bool more = true;
    for (int piece = 0; more && piece < PARTS_PIECES_MAX; piece++) {
        struct call_reply reply[SIDES];
        ASK_BOTH(p, reply, BYTES_LITERAL("XRANGE"), p->key, bytes_of_str(from), BYTES_LITERAL("+"),
                 BYTES_LITERAL("COUNT"), BYTES_LITERAL("100"));
        more = !p->failed && same_entries(p, reply, from, sizeof(from));
        release_both(reply);
    }
}

/* ---- fields of XINFO ---- */

/* The plain value of a field in a list of so many words; the empty view where there is none. */
static struct bytes parts_field(struct resp_cursor c, int64_t words, const char *name) {
    struct resp_item field, value;
    for (int64_t i = 0; i + 1 < words && resp_next(&c, &field); i += 2) {
        struct resp_cursor start = c;
        if (!resp_next(&c, &value)) break;
        if (resp_is_aggregate(&value)) {
            c = start;
            resp_skip(&c);
        } else if (bytes_equal_str(field.str, name)) {
            return value.str;
        }
    }
    return bytes_of("", 0);
}

static void compare_field(struct parts *p, struct bytes a, struct bytes b, const char *of,
                          const char *name) {
    char x[PARTS_VALUE_SHOWN], y[PARTS_VALUE_SHOWN];
    if (a.len == 0 || b.len == 0 || bytes_equal(a, b)) return;
    parts_add(p, "%s%s: source %s, target %s", of, name, parts_show(a, x, sizeof(x)),
              parts_show(b, y, sizeof(y)));
}

static void compare_counters(struct parts *p) {
    static const char *const names[] = { "last-generated-id", "entries-added",
                                         "max-deleted-entry-id" };
    struct call_reply reply[SIDES];
    ASK_BOTH(p, reply, BYTES_LITERAL("XINFO"), BYTES_LITERAL("STREAM"), p->key);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !p->failed; i++)
        compare_field(p, parts_field(reply[SOURCE].cursor, reply[SOURCE].item.num, names[i]),
                      parts_field(reply[TARGET].cursor, reply[TARGET].item.num, names[i]), "",
                      names[i]);
    release_both(reply);
}

/* Of a list of lists of fields, the one with this name. */
static bool find_named(const struct call_reply *reply, struct bytes name, struct resp_cursor *at,
                       int64_t *words) {
    struct resp_cursor c = reply->cursor;
    struct resp_item head;
    for (;;) {
        struct resp_cursor start = c;
        if (!resp_next(&c, &head)) return false;
        *at = c;
        *words = head.num;
        if (bytes_equal(parts_field(c, head.num, "name"), name)) return true;
        c = start;
        resp_skip(&c);
    }
}

/* Names that the one side's list has and the other's has not. */
static void compare_names(struct parts *p, const struct call_reply reply[SIDES], const char *noun) {
    for (int side = 0; side < SIDES; side++) {
        struct resp_cursor c = reply[side].cursor, at;
        struct resp_item head;
        int64_t words;
        for (;;) {
            struct resp_cursor start = c;
            char shown[PARTS_VALUE_SHOWN];
            if (!resp_next(&c, &head)) break;
            struct bytes name = parts_field(c, head.num, "name");
            if (!find_named(&reply[SIDES - 1 - side], name, &at, &words))
                parts_add(p, "%s %s only on the %s", noun, parts_show(name, shown, sizeof(shown)),
                          side == SOURCE ? "source" : "target");
            c = start;
            resp_skip(&c);
        }
    }
}

/* ---- groups ---- */

struct pending {
    struct bytes id, consumer;
    int64_t deliveries;
};

static bool next_pending(struct resp_cursor *c, struct pending *one) {
    struct resp_item head, id, consumer, idle, deliveries;
    if (!resp_next(c, &head) || !resp_next(c, &id) || !resp_next(c, &consumer) ||
        !resp_next(c, &idle) || !resp_next(c, &deliveries))
        return false;
    *one = (struct pending){ id.str, consumer.str, deliveries.num };
    return true;
}

static void compare_pending(struct parts *p, struct bytes group) {
    struct call_reply reply[SIDES];
    char shown[PARTS_VALUE_SHOWN], id[PARTS_VALUE_SHOWN], x[PARTS_VALUE_SHOWN],
        y[PARTS_VALUE_SHOWN];
    ASK_BOTH(p, reply, BYTES_LITERAL("XPENDING"), p->key, group, BYTES_LITERAL("-"),
             BYTES_LITERAL("+"), BYTES_LITERAL("1000"));
    struct resp_cursor a = reply[SOURCE].cursor, b = reply[TARGET].cursor;
    parts_show(group, shown, sizeof(shown));
    while (!p->failed && p->found <= PARTS_SHOWN) {
        struct pending one = { 0 }, other = { 0 };
        bool has = next_pending(&a, &one), has_other = next_pending(&b, &other);
        if (!has && !has_other) break;
        if (!has || !has_other || !bytes_equal(one.id, other.id)) {
            parts_add(p, "group %s: pending entries differ from %s on", shown,
                      parts_show(has ? one.id : other.id, id, sizeof(id)));
            break;
        }
        if (!bytes_equal(one.consumer, other.consumer))
            parts_add(p, "group %s: entry %s is pending for %s on the source, for %s on the target",
                      shown, parts_show(one.id, id, sizeof(id)),
                      parts_show(one.consumer, x, sizeof(x)),
                      parts_show(other.consumer, y, sizeof(y)));
        else if (one.deliveries != other.deliveries)
            parts_add(p,
                      "group %s: entry %s was delivered %" PRId64 " times on the source, %" PRId64
                      " on the target",
                      shown, parts_show(one.id, id, sizeof(id)), one.deliveries, other.deliveries);
    }
    release_both(reply);
}

static void compare_consumers(struct parts *p, struct bytes group) {
    struct call_reply reply[SIDES];
    ASK_BOTH(p, reply, BYTES_LITERAL("XINFO"), BYTES_LITERAL("CONSUMERS"), p->key, group);
    if (!p->failed) compare_names(p, reply, "consumer");
    release_both(reply);
}

static void compare_group(struct parts *p, const struct call_reply *target, struct resp_cursor at,
                          int64_t words) {
    char shown[PARTS_VALUE_SHOWN], of[PARTS_VALUE_SHOWN + 16];
    struct bytes name = parts_field(at, words, "name");
    struct resp_cursor other;
    int64_t other_words;
    if (!find_named(target, name, &other, &other_words)) return;
    snprintf(of, sizeof(of), "group %s, ", parts_show(name, shown, sizeof(shown)));
    static const char *const fields[] = { "last-delivered-id", "entries-read" };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        compare_field(p, parts_field(at, words, fields[i]),
                      parts_field(other, other_words, fields[i]), of, fields[i]);
    compare_pending(p, name);
    compare_consumers(p, name);
}

static void compare_groups(struct parts *p) {
    struct call_reply reply[SIDES];
    struct resp_item head;
    ASK_BOTH(p, reply, BYTES_LITERAL("XINFO"), BYTES_LITERAL("GROUPS"), p->key);
    struct resp_cursor c = reply[SOURCE].cursor;
    if (!p->failed) compare_names(p, reply, "group");
    while (!p->failed && p->found <= PARTS_SHOWN) {
        struct resp_cursor start = c;
        if (!resp_next(&c, &head)) break;
        compare_group(p, &reply[TARGET], c, head.num);
        c = start;
        resp_skip(&c);
    }
    release_both(reply);
}

void parts_of_stream(struct parts *p) {
    compare_entries(p);
    if (p->found == 0 && !p->failed) compare_counters(p);
    if (!p->failed) compare_groups(p);
}
