/* See sum.h. One command of a value is in flight at a time (of HPEXPIRETIME, as many as a piece of
 * fields takes), so the end of the connection always finds the value through its callback. */
#include "verify/sum.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "resp/writer.h"
#include "verify/sum_priv.h"

enum { NUMBER_TEXT_MAX = 24, SCAN_ATTEMPTS = 3, EXPIRY_FIELDS_MAX = 1000 };

/* How the types are read. */
static const struct {
    const char *name, *noun, *length, *whole, *scan;
} types[SUM_TYPES] = {
    [SUM_STRING] = { "string", "bytes", "STRLEN", NULL, NULL },
    [SUM_LIST] = { "list", "elements", "LLEN", NULL, NULL },
    [SUM_SET] = { "set", "members", "SCARD", "SMEMBERS", "SSCAN" },
    [SUM_HASH] = { "hash", "fields", "HLEN", "HGETALL", "HSCAN" },
    [SUM_ZSET] = { "zset", "members", "ZCARD", NULL, NULL },
    [SUM_STREAM] = { "stream", "entries", "XLEN", NULL, NULL },
    [SUM_VECTORS] = { "vectorset", "members", "VCARD", NULL, NULL },
};

static const char *const part_names[SUM_PARTS] = {
#define SUM_PART(id, name) name,
    SUM_PARTS_TABLE(SUM_PART)
#undef SUM_PART
};

enum sum_type sum_type_of(struct bytes name) {
    for (int i = 0; i < SUM_TYPES; i++)
        if (bytes_equal_str(name, types[i].name)) return (enum sum_type)i;
    return SUM_OTHER;
}

/* ---- ending ---- */

static void sum_release(struct sum *s) {
    for (size_t i = 0; i < s->groups.n; i++) free(s->groups.names[i]);
    free(s->groups.names);
    free(s->groups.lens);
    free(s->fields);
    block_unref(&s->names);
    free(s);
}

static void sum_end(struct sum *s, const struct err *err) {
    s->done(s->ctx, s->arg, err == NULL ? &s->value : NULL, err);
    sum_release(s);
}

void sum_fail(struct sum *s, const struct err *err) {
    sum_end(s, err);
}

void sum_finish(struct sum *s) {
    sum_end(s, NULL);
}

void sum_malformed(struct sum *s) {
    struct err err;
    err_set(&err, ERR_SERVER, client_place(s->request.client),
            "a %s was answered in a form that is not known", types[s->request.type].name);
    sum_end(s, &err);
}

/* ---- commands ---- */

static void on_reply(void *ctx, void *arg, const struct reply *reply) {
    struct sum *s = ctx;
    if (reply->err != NULL) {
        sum_end(s, reply->err);
    } else if (resp_is_error(&reply->item)) {
        struct err err;
        client_reply_error(s->request.client, &reply->item, &err);
        sum_end(s, &err);
    } else {
        s->on_piece(s, reply);
    }
}

bool sum_prepare(struct sum *s) {
    struct client *client = s->request.client;
    if (!client_is_ready(client)) return false;
    client_select(client, s->request.db);
    if (s->request.asking) client_asking(client);
    return true;
}

void sum_send(struct sum *s, sum_piece_fn *fn, size_t argc, const struct bytes *argv) {
    s->on_piece = fn;
    if (sum_prepare(s)) {
        client_command(s->request.client, on_reply, s, NULL, argc, argv);
    } else {
        sum_end(s, client_last_error(s->request.client));
    }
}

uint64_t sum_piece_elements(const struct sum *s) {
    uint64_t memory = s->request.memory_bytes;
    if (memory == 0 || s->length == 0) return SUM_PIECE_UNKNOWN;
    uint64_t each = memory / s->length + 1, n = SUM_PIECE_BYTES / each;
    return n < 1 ? 1 : n > SUM_PIECE_ELEMENTS ? SUM_PIECE_ELEMENTS : n;
}

void sum_add(struct sum *s, enum sum_part part, struct digest element) {
    digest_add(&s->value.part[part].digest, element);
    s->value.part[part].count++;
}

void sum_append(struct sum *s, enum sum_part part, struct bytes word) {
    s->value.part[part].digest = digest_chain(s->value.part[part].digest, word);
}

/* ---- strings, lists, sorted sets: by position ---- */

static void read_range(struct sum *s);

static void on_string_piece(struct sum *s, const struct reply *reply) {
    struct bytes piece = reply->item.str;
    if (!resp_is_string(&reply->item)) {
        sum_malformed(s);
        return;
    }
    struct digest digest = s->pos == 0 ? digest_of_string(piece) : digest_of(piece);
    sum_append(s, SUM_ELEMENTS, bytes_of(&digest, sizeof(digest)));
    s->value.part[SUM_ELEMENTS].count += piece.len;
    s->pos += piece.len;
    if (piece.len < SUM_PIECE_BYTES) {
        sum_finish(s);
    } else {
        read_range(s);
    }
}

static void on_range_piece(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item element, score;
    bool scored = s->request.type == SUM_ZSET;
    uint64_t n = 0, asked = sum_piece_elements(s);
    for (; resp_next(&c, &element); n++) {
        sum_append(s, SUM_ELEMENTS, element.str);
        if (scored && resp_next(&c, &score))
            s->value.part[SUM_ELEMENTS].digest =
                digest_chain_score(s->value.part[SUM_ELEMENTS].digest, score.str);
    }
    s->value.part[SUM_ELEMENTS].count += n;
    s->pos += n;
    if (n < asked) {
        sum_finish(s);
    } else {
        read_range(s);
    }
}

static void read_range(struct sum *s) {
    char first[NUMBER_TEXT_MAX], last[NUMBER_TEXT_MAX];
    bool string = s->request.type == SUM_STRING;
    uint64_t n = string ? SUM_PIECE_BYTES : sum_piece_elements(s);
    snprintf(first, sizeof(first), "%" PRIu64, s->pos);
    snprintf(last, sizeof(last), "%" PRIu64, s->pos + n - 1);
    struct bytes key = s->request.key, from = bytes_of_str(first), to = bytes_of_str(last);
    if (string) {
        SUM_SEND(s, on_string_piece, BYTES_LITERAL("GETRANGE"), key, from, to);
    } else if (s->request.type == SUM_LIST) {
        SUM_SEND(s, on_range_piece, BYTES_LITERAL("LRANGE"), key, from, to);
    } else {
        SUM_SEND(s, on_range_piece, BYTES_LITERAL("ZRANGE"), key, from, to,
                 BYTES_LITERAL("WITHSCORES"));
    }
}

/* ---- sets and hashes: in no order ---- */

static void read_scan(struct sum *s);

static void start_over(struct sum *s) {
    memset(&s->value, 0, sizeof(s->value));
    strcpy(s->cursor, "0");
    read_scan(s);
}

/* A table that is being resized may show an element twice; then the count is too high and the scan
 * is done again. */
static void after_members(struct sum *s) {
    if (strcmp(s->cursor, "0") != 0) {
        read_scan(s);
    } else if (s->value.part[SUM_ELEMENTS].count > s->length && ++s->attempts < SCAN_ATTEMPTS) {
        start_over(s);
    } else {
        sum_finish(s);
    }
}

struct expiry_batch {
    struct sum *sum;
    size_t first;
};

static void add_expiry(struct sum *s, size_t first, struct resp_cursor c) {
    struct resp_item item;
    for (size_t i = first; i < s->n_fields && resp_next(&c, &item); i++)
        if (item.type == RESP_INTEGER && item.num >= 0)
            sum_add(s, SUM_FIELD_EXPIRY, digest_chain_number(s->fields[i], item.num));
}

/* All answers of a piece are waited for, also after an error: the value lives until the last. */
static void on_expiry(void *ctx, void *arg, const struct reply *reply) {
    struct expiry_batch *batch = ctx;
    struct sum *s = batch->sum;
    s->due--;
    if (reply->err != NULL) {
        s->trouble = *reply->err;
    } else if (resp_is_error(&reply->item)) {
        struct err err;
        client_reply_error(s->request.client, &reply->item, &err);
        if (err.code == ERR_UNKNOWN_COMMAND) {
            s->request.has_field_expiry = false;
        } else {
            s->trouble = err;
        }
    } else {
        add_expiry(s, batch->first, reply->cursor);
    }
    free(batch);
    if (s->due > 0) return;
    if (s->trouble.code != ERR_NONE) {
        sum_end(s, &s->trouble);
    } else {
        after_members(s);
    }
}

/* Fields of the present reply, from `c`, in batches; every batch is written before any answer can
 * come. */
static void ask_expiry(struct sum *s, struct resp_cursor c) {
    struct resp_item field;
    s->due = (unsigned)((s->n_fields + EXPIRY_FIELDS_MAX - 1) / EXPIRY_FIELDS_MAX);
    struct client *client = s->request.client;
    for (size_t first = 0; first < s->n_fields; first += EXPIRY_FIELDS_MAX) {
        size_t n =
            s->n_fields - first < EXPIRY_FIELDS_MAX ? s->n_fields - first : EXPIRY_FIELDS_MAX;
        struct expiry_batch *batch = mem_alloc(sizeof(*batch));
        *batch = (struct expiry_batch){ s, first };
        if (first > 0 && s->request.asking) client_asking(client);
        struct outq *out = client_out(client);
        resp_write_head(out, n + 4);
        resp_write_literal(out, "HPEXPIRETIME");
        resp_write_arg(out, s->request.key);
        resp_write_literal(out, "FIELDS");
        resp_write_arg_i64(out, (int64_t)n);
        for (size_t i = 0; i < n && resp_next(&c, &field); i++) {
            resp_write_arg(out, field.str);
            resp_skip(&c);
        }
        client_end_command(client, on_expiry, batch, NULL);
    }
}

void sum_keep_field(struct sum *s, struct digest field) {
    if (s->n_fields == s->fields_cap) {
        s->fields_cap = s->fields_cap == 0 ? 64 : s->fields_cap * 2;
        s->fields = mem_array(s->fields, s->fields_cap, sizeof(*s->fields));
    }
    s->fields[s->n_fields++] = field;
}

static void take_members(struct sum *s, struct resp_cursor c) {
    struct resp_cursor start = c;
    struct resp_item name, value;
    bool hash = s->request.type == SUM_HASH;
    s->n_fields = 0;
    while (resp_next(&c, &name)) {
        struct digest element = digest_chain((struct digest){ 0 }, name.str);
        if (hash && s->request.has_field_expiry) sum_keep_field(s, element);
        if (hash && resp_next(&c, &value)) element = digest_chain(element, value.str);
        sum_add(s, SUM_ELEMENTS, element);
    }
    if (s->n_fields == 0) {
        after_members(s);
    } else if (sum_prepare(s)) {
        ask_expiry(s, start);
    } else {
        sum_end(s, client_last_error(s->request.client));
    }
}

static void on_whole(struct sum *s, const struct reply *reply) {
    strcpy(s->cursor, "0");
    take_members(s, reply->cursor);
}

static void on_scan_page(struct sum *s, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item cursor, list;
    if (!resp_next(&c, &cursor) || !resp_is_string(&cursor) ||
        cursor.str.len >= sizeof(s->cursor) || !resp_next(&c, &list) || !resp_is_aggregate(&list)) {
        sum_malformed(s);
        return;
    }
    memcpy(s->cursor, cursor.str.ptr, cursor.str.len);
    s->cursor[cursor.str.len] = '\0';
    take_members(s, c);
}

static void read_scan(struct sum *s) {
    char count[NUMBER_TEXT_MAX];
    snprintf(count, sizeof(count), "%" PRIu64, sum_piece_elements(s));
    SUM_SEND(s, on_scan_page, bytes_of_str(types[s->request.type].scan), s->request.key,
             bytes_of_str(s->cursor), BYTES_LITERAL("COUNT"), bytes_of_str(count));
}

static void read_members(struct sum *s) {
    uint64_t memory = s->request.memory_bytes;
    if (memory > 0 && memory <= SUM_WHOLE_BYTES) {
        SUM_SEND(s, on_whole, bytes_of_str(types[s->request.type].whole), s->request.key);
    } else {
        start_over(s);
    }
}

/* ---- beginning ---- */

static void on_length(struct sum *s, const struct reply *reply) {
    s->length =
        reply->item.type == RESP_INTEGER && reply->item.num > 0 ? (uint64_t)reply->item.num : 0;
    switch (s->request.type) {
    case SUM_SET:
    case SUM_HASH:
        read_members(s);
        break;
    case SUM_STREAM:
        sum_read_stream(s);
        break;
    case SUM_VECTORS:
        sum_read_vectors(s);
        break;
    default:
        read_range(s);
        break;
    }
}

void sum_start(const struct sum_request *request, sum_done_fn *done, void *ctx, void *arg) {
    struct sum *s = mem_zalloc(sizeof(*s));
    s->request = *request;
    s->done = done;
    s->ctx = ctx;
    s->arg = arg;
    SUM_SEND(s, on_length, bytes_of_str(types[request->type].length), request->key);
}

/* ---- comparing ---- */

/* Counters that one of the servers does not keep are not compared; a server without field expiry
 * has none. */
static bool part_equal(enum sum_part part, const struct value_sum *a, const struct value_sum *b) {
    if (part == SUM_COUNTERS && (!a->part[part].known || !b->part[part].known)) return true;
    return a->part[part].count == b->part[part].count &&
           digest_equal(a->part[part].digest, b->part[part].digest);
}

bool value_sum_equal(const struct value_sum *a, const struct value_sum *b) {
    for (int i = 0; i < SUM_PARTS; i++)
        if (!part_equal((enum sum_part)i, a, b)) return false;
    return true;
}

const char *value_sum_explain(enum sum_type type, const struct value_sum *source,
                              const struct value_sum *target, char *out, size_t size) {
    size_t len = 0;
    out[0] = '\0';
    for (int i = 0; i < SUM_PARTS && len + 1 < size; i++) {
        if (part_equal((enum sum_part)i, source, target)) continue;
        const char *name = i == SUM_ELEMENTS && type < SUM_TYPES ? types[type].noun : part_names[i];
        uint64_t a = source->part[i].count, b = target->part[i].count;
        const char *gap = len > 0 ? "; " : "";
        bool counted = i != SUM_LAST_ID && i != SUM_COUNTERS && i != SUM_PARAMETERS;
        int n;
        if (!counted)
            n = snprintf(out + len, size - len, "%sother %s", gap, name);
        else if (a == b)
            n = snprintf(out + len, size - len, "%sother %s (%" PRIu64 " on both sides)", gap, name,
                         a);
        else
            n = snprintf(out + len, size - len, "%s%s: source %" PRIu64 ", target %" PRIu64, gap,
                         name, a, b);
        len += n > 0 ? (size_t)n : 0;
    }
    return out;
}
