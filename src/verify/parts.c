/* See parts.h. Values with order are read from both sides in step until they differ; sets, hashes
 * and sorted sets are scanned on one side while the other is asked for the same members, and then
 * the other way round. */
#include "verify/parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "verify/hyperloglog.h"
#include "verify/parts_priv.h"

enum {
    CURSOR_MAX = 48,
    STRING_PIECE = 64 * 1024,
    STRING_BEFORE = 8,
    STRING_SHOWN = 24,
    CLIENTS_MAX = 256,
    NUMBER_MAX = 24
};

static const char *const side_names[SIDES] = { "source", "target" };

/* ---- asking ---- */

bool parts_ask(struct parts *p, int side, struct call_reply *reply, size_t argc,
               const struct bytes *argv) {
    struct err err;
    *reply = (struct call_reply){ 0 };
    if (p->failed) return false;
    client_select(p->client[side], p->db[side]);
    bool ok = call_send(deployment_loop(p->deployment[side]), p->client[side],
                        deployment_reply_timeout_ms(p->deployment[side]), reply, &err, argc, argv);
    p->failed = !ok || resp_is_error(&reply->item);
    return !p->failed;
}

bool parts_add(struct parts *p, const char *format, ...) {
    va_list args;
    if (p->found++ >= PARTS_SHOWN) {
        if (p->found == PARTS_SHOWN + 1)
            p->len += (size_t)snprintf(p->text + p->len, PARTS_TEXT_MAX - p->len, "; ...");
        return false;
    }
    size_t room = PARTS_TEXT_MAX - 8 - p->len;
    if (p->len > 0) p->len += (size_t)snprintf(p->text + p->len, room, "; ");
    va_start(args, format);
    int n = vsnprintf(p->text + p->len, room, format, args);
    va_end(args);
    p->len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    return true;
}

const char *parts_show(struct bytes value, char *out, size_t size) {
    out[0] = '"';
    bytes_escape(value, out + 1, size - 2);
    strcat(out, "\"");
    return out;
}

/* ---- in order: strings, lists ---- */

/* The first byte that differs; the length of the shorter one when none does. The cached count of
 * HyperLogLogs is passed over where digest_of_string() leaves it out. */
static size_t first_difference(struct bytes a, struct bytes b) {
    size_t n = a.len < b.len ? a.len : b.len;
    bool cached = hyperloglog_is_valid(a) && hyperloglog_cache_is_right(a) &&
                  hyperloglog_is_valid(b) && hyperloglog_cache_is_right(b);
    for (size_t i = 0; i < n; i++) {
        bool in_cache = cached && i >= HYPERLOGLOG_CACHE_AT && i < HYPERLOGLOG_CACHE_END;
        if (a.ptr[i] != b.ptr[i] && !in_cache) return i;
    }
    return n;
}

static struct bytes around(struct bytes value, size_t at) {
    size_t from = at > STRING_BEFORE ? at - STRING_BEFORE : 0;
    if (from >= value.len) return bytes_of("", 0);
    size_t len = value.len - from;
    return bytes_of(value.ptr + from, len < STRING_SHOWN ? len : STRING_SHOWN);
}

static void parts_of_string(struct parts *p) {
    for (uint64_t pos = 0;
         pos < (uint64_t)STRING_PIECE * PARTS_PIECES_MAX && p->found == 0 && !p->failed;
         pos += STRING_PIECE) {
        char first[NUMBER_MAX], last[NUMBER_MAX], a[PARTS_VALUE_SHOWN], b[PARTS_VALUE_SHOWN];
        struct call_reply reply[SIDES] = { 0 };
        snprintf(first, sizeof(first), "%" PRIu64, pos);
        snprintf(last, sizeof(last), "%" PRIu64, pos + STRING_PIECE - 1);
        for (int side = 0; side < SIDES; side++)
            PARTS_ASK(p, side, &reply[side], BYTES_LITERAL("GETRANGE"), p->key, bytes_of_str(first),
                      bytes_of_str(last));
        struct bytes x = reply[SOURCE].item.str, y = reply[TARGET].item.str;
        size_t at = p->failed ? 0 : first_difference(x, y);
        bool end = p->failed || (at == x.len && at == y.len && at < STRING_PIECE);
        if (!p->failed && (at < x.len || at < y.len))
            parts_add(p, "from byte %" PRIu64 ": source %s, target %s", pos + at,
                      parts_show(around(x, at), a, sizeof(a)),
                      parts_show(around(y, at), b, sizeof(b)));
        for (int side = 0; side < SIDES; side++) call_reply_fini(&reply[side]);
        if (end) return;
    }
}

/* True when both pieces are the same and more may follow. */
static bool same_elements(struct parts *p, struct call_reply reply[SIDES], uint64_t pos) {
    char a[PARTS_VALUE_SHOWN], b[PARTS_VALUE_SHOWN];
    struct resp_cursor x = reply[SOURCE].cursor, y = reply[TARGET].cursor;
    for (uint64_t i = 0;; i++) {
        struct resp_item one, other;
        bool has = resp_next(&x, &one), has_other = resp_next(&y, &other);
        if (!has && !has_other) return i == PARTS_PIECE;
        if (has && has_other && bytes_equal(one.str, other.str)) continue;
        if (has && has_other)
            parts_add(p, "element %" PRIu64 ": source %s, target %s", pos + i,
                      parts_show(one.str, a, sizeof(a)), parts_show(other.str, b, sizeof(b)));
        else
            parts_add(p, "from element %" PRIu64 ", %s, only on the %s", pos + i,
                      parts_show(has ? one.str : other.str, a, sizeof(a)),
                      side_names[has ? SOURCE : TARGET]);
        return false;
    }
}

static void parts_of_list(struct parts *p) {
    bool more = true;
    for (uint64_t pos = 0; more && pos < (uint64_t)PARTS_PIECE * PARTS_PIECES_MAX;
         pos += PARTS_PIECE) {
        char first[NUMBER_MAX], last[NUMBER_MAX];
        struct call_reply reply[SIDES] = { 0 };
        snprintf(first, sizeof(first), "%" PRIu64, pos);
        snprintf(last, sizeof(last), "%" PRIu64, pos + PARTS_PIECE - 1);
        for (int side = 0; side < SIDES; side++)
            PARTS_ASK(p, side, &reply[side], BYTES_LITERAL("LRANGE"), p->key, bytes_of_str(first),
                      bytes_of_str(last));
        more = !p->failed && same_elements(p, reply, pos);
        for (int side = 0; side < SIDES; side++) call_reply_fini(&reply[side]);
    }
}

/* ---- in no order: sets, hashes, sorted sets ---- */

static const struct shape {
    const char *noun, *scan, *lookup;
    bool pairs, scores;
} shapes[SUM_TYPES] = {
    [SUM_SET] = { "member", "SSCAN", "SMISMEMBER", false, false },
    [SUM_HASH] = { "field", "HSCAN", "HMGET", true, false },
    [SUM_ZSET] = { "member", "ZSCAN", "ZMSCORE", true, true },
};

static bool same_value(const struct shape *shape, struct bytes a, struct bytes b) {
    struct digest zero = { 0 };
    if (!shape->scores) return bytes_equal(a, b);
    return digest_equal(digest_chain_score(zero, a), digest_chain_score(zero, b));
}

/* `value` is held by the side that is scanned, `other` was answered by the other side. */
static void judge_member(struct parts *p, const struct shape *shape, int side,
                         const struct resp_item *name, struct bytes value,
                         const struct resp_item *other) {
    char shown[PARTS_VALUE_SHOWN], a[PARTS_VALUE_SHOWN], b[PARTS_VALUE_SHOWN];
    bool there = shape->pairs ? other->type != RESP_NULL : other->num != 0;
    parts_show(name->str, shown, sizeof(shown));
    if (!there)
        parts_add(p, "%s %s only on the %s", shape->noun, shown, side_names[side]);
    else if (side == SOURCE && shape->pairs && !same_value(shape, value, other->str))
        parts_add(p, "%s %s: source %s, target %s", shape->noun, shown,
                  parts_show(value, a, sizeof(a)), parts_show(other->str, b, sizeof(b)));
}

/* The same words of a page on one side: LOOKUP key member... */
static bool look_up(struct parts *p, int side, const char *command, bool fields,
                    const struct shape *shape, struct resp_cursor names, int64_t n,
                    struct call_reply *reply) {
    char count[NUMBER_MAX];
    size_t words = 0;
    struct bytes *argv = mem_array(NULL, (size_t)n + 4, sizeof(*argv));
    struct resp_item item;
    argv[words++] = bytes_of_str(command);
    argv[words++] = p->key;
    snprintf(count, sizeof(count), "%" PRId64, n);
    if (fields) argv[words++] = BYTES_LITERAL("FIELDS");
    if (fields) argv[words++] = bytes_of_str(count);
    for (int64_t i = 0; i < n && resp_next(&names, &item); i++) {
        argv[words++] = item.str;
        if (shape->pairs) resp_skip(&names);
    }
    bool ok = parts_ask(p, side, reply, words, argv);
    free(argv);
    return ok;
}

static void judge_page(struct parts *p, const struct shape *shape, int side,
                       struct resp_cursor names, int64_t n) {
    struct call_reply reply;
    struct resp_item name, value = { 0 }, other;
    if (n > 0 && look_up(p, SIDES - 1 - side, shape->lookup, false, shape, names, n, &reply)) {
        struct resp_cursor answers = reply.cursor;
        for (int64_t i = 0; i < n && resp_next(&names, &name); i++) {
            if (shape->pairs) resp_next(&names, &value);
            if (!resp_next(&answers, &other)) break;
            judge_member(p, shape, side, &name, value.str, &other);
        }
    }
    if (n > 0) call_reply_fini(&reply);
}

/* Servers without expiry of fields have none: their error is no failure. */
static void judge_field_expiry(struct parts *p, struct resp_cursor names, int64_t n) {
    struct call_reply reply[SIDES] = { { 0 } };
    char shown[PARTS_VALUE_SHOWN];
    bool known[SIDES];
    for (int side = 0; side < SIDES; side++) {
        known[side] = n > 0 && look_up(p, side, "HPEXPIRETIME", true, &shapes[SUM_HASH], names, n,
                                       &reply[side]);
        p->failed = false;
    }
    struct resp_cursor at[SIDES] = { reply[SOURCE].cursor, reply[TARGET].cursor };
    struct resp_item name;
    for (int64_t i = 0; i < n && resp_next(&names, &name) && resp_skip(&names); i++) {
        int64_t when[SIDES] = { -1, -1 };
        for (int side = 0; side < SIDES; side++) {
            struct resp_item item;
            if (known[side] && resp_next(&at[side], &item)) when[side] = item.num;
        }
        if (when[SOURCE] != when[TARGET])
            parts_add(p, "field %s expires: source %" PRId64 ", target %" PRId64,
                      parts_show(name.str, shown, sizeof(shown)), when[SOURCE], when[TARGET]);
    }
    for (int side = 0; side < SIDES; side++) call_reply_fini(&reply[side]);
}

static void parts_of_members(struct parts *p, enum sum_type type, int side, bool expiry) {
    const struct shape *shape = &shapes[type];
    char cursor_text[CURSOR_MAX] = "0";
    for (int page = 0; page < PARTS_PIECES_MAX && p->found <= PARTS_SHOWN; page++) {
        struct call_reply reply;
        struct resp_item cursor, list;
        bool ok =
            PARTS_ASK(p, side, &reply, bytes_of_str(shape->scan), p->key, bytes_of_str(cursor_text),
                      BYTES_LITERAL("COUNT"), BYTES_LITERAL("100"));
        struct resp_cursor c = reply.cursor;
        ok = ok && resp_next(&c, &cursor) && cursor.str.len < sizeof(cursor_text) &&
             resp_next(&c, &list);
        if (ok) {
            memcpy(cursor_text, cursor.str.ptr, cursor.str.len);
            cursor_text[cursor.str.len] = '\0';
            int64_t n = shape->pairs ? list.num / 2 : list.num;
            if (expiry) {
                judge_field_expiry(p, c, n);
            } else {
                judge_page(p, shape, side, c, n);
            }
        }
        call_reply_fini(&reply);
        if (!ok || p->failed || strcmp(cursor_text, "0") == 0) return;
    }
}

/* ---- one difference ---- */

static enum sum_type parts_type(struct parts *p, int side) {
    struct call_reply reply;
    bool ok = PARTS_ASK(p, side, &reply, BYTES_LITERAL("TYPE"), p->key);
    enum sum_type type = ok ? sum_type_of(reply.item.str) : SUM_OTHER;
    call_reply_fini(&reply);
    return type;
}

static void find_parts(struct parts *p) {
    enum sum_type type = parts_type(p, SOURCE);
    if (p->failed || type != parts_type(p, TARGET)) return;
    switch (type) {
    case SUM_STRING:
        parts_of_string(p);
        break;
    case SUM_LIST:
        parts_of_list(p);
        break;
    case SUM_SET:
    case SUM_HASH:
    case SUM_ZSET:
        parts_of_members(p, type, SOURCE, false);
        parts_of_members(p, type, TARGET, false);
        if (p->found == 0 && type == SUM_HASH) parts_of_members(p, type, SOURCE, true);
        break;
    case SUM_STREAM:
        parts_of_stream(p);
        break;
    default:
        break;
    }
}

/* ---- connections ---- */

struct opened {
    struct deployment *deployment;
    struct client *client;
};

struct explaining {
    struct deployment *deployment[SIDES];
    struct opened opened[CLIENTS_MAX];
    int n_opened;
};

static struct client *client_of(struct explaining *e, int side, struct bytes key) {
    struct topology *t = deployment_topology(e->deployment[side]);
    int owner = t->owner[deployment_is_cluster(e->deployment[side]) ? slot_of_key(key) : 0];
    struct client *client = NULL;
    struct err ignored;
    const struct address *address = owner < 0 ? NULL : &t->nodes[t->nodes[owner].reader].address;
    for (int i = 0; i < e->n_opened && address != NULL; i++)
        if (e->opened[i].deployment == e->deployment[side] &&
            address_equal(client_address(e->opened[i].client), address))
            client = e->opened[i].client;
    if (client == NULL && address != NULL && e->n_opened < CLIENTS_MAX) {
        struct client_settings settings = deployment_client_settings(e->deployment[side], address);
        settings.reconnect = false;
        client = call_open(deployment_loop(e->deployment[side]), &settings,
                           settings.connect_timeout_ms, &ignored);
        if (client != NULL)
            e->opened[e->n_opened++] = (struct opened){ e->deployment[side], client };
    }
    topology_unref(&t);
    return client != NULL && client_is_ready(client) ? client : NULL;
}

void compare_explain(struct deployment *source, struct deployment *target, int target_db,
                     const volatile bool *stop, struct compare_result *result) {
    struct explaining e = { .deployment = { source, target } };
    for (size_t i = 0; i < result->n_differences && (stop == NULL || !*stop); i++) {
        struct difference *d = &result->differences[i];
        if (d->kind != DIFFERENCE_VALUE) continue;
        struct parts p = { .deployment = { source, target }, .key = bytes_of(d->key, d->key_len) };
        p.db[SOURCE] = d->db;
        p.db[TARGET] = target_db >= 0 ? target_db : d->db;
        for (int side = 0; side < SIDES; side++) p.client[side] = client_of(&e, side, p.key);
        if (p.client[SOURCE] == NULL || p.client[TARGET] == NULL) continue;
        find_parts(&p);
        if (p.found > 0) d->parts = bytes_dup(bytes_of_str(p.text));
    }
    for (int i = 0; i < e.n_opened; i++) client_close(&e.opened[i].client);
    loop_settle(deployment_loop(source));
}
