/* See commands.h. */
#include "rdb/commands.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "rdb/commands_priv.h"
#include "rdb/score.h"

enum { HEAD = 2, EXPIRY_HEAD = 5 };

const char *commands_loss_text(enum commands_loss what) {
    static const char *const texts[LOSSES] = {
        [LOSS_FIELD_EXPIRY] = "the target has no expiry of hash fields",
        [LOSS_SCORE] = "a score that is not a number cannot be written",
        [LOSS_PENDING] = "a pending entry lies beyond the last id of its stream",
    };
    return (unsigned)what < LOSSES ? texts[what] : "";
}

struct commands *commands_new(struct bytes key, const struct commands_options *options,
                              const struct commands_output *output) {
    struct commands *c = mem_zalloc(sizeof(*c));
    c->key = key;
    c->options = *options;
    c->output = *output;
    if (c->options.max_args < COMMANDS_ARGS_MIN) c->options.max_args = COMMANDS_ARGS_MIN;
    return c;
}

void commands_free(struct commands **commands) {
    struct commands *c = *commands;
    *commands = NULL;
    if (c == NULL) return;
    commands_stream_free(c);
    free(c->batch.argv);
    free(c->batch.arena);
    free(c->batch.expiry_ms);
    free(c->expiry_argv);
    free(c);
}

bool commands_emit(struct commands *c, size_t argc, const struct bytes *argv, struct err *err) {
    return c->output.emit(c->output.ctx, argc, argv, err);
}

bool commands_lose(struct commands *c, enum commands_loss what, struct bytes element,
                   struct err *err) {
    return c->output.lost == NULL || c->output.lost(c->output.ctx, what, element, err);
}

/* ---- expiry of fields ---- */

struct expiring {
    int64_t ms;
    struct bytes field;
};

static int compare_expiring(const void *a, const void *b) {
    int64_t left = ((const struct expiring *)a)->ms, right = ((const struct expiring *)b)->ms;
    return left < right ? -1 : left > right;
}

/* HPEXPIREAT key ms FIELDS n field ... for fields of one moment. */
static bool emit_expiry(struct commands *c, const struct expiring *fields, size_t n,
                        struct err *err) {
    char ms[COMMANDS_TEXT_MAX], count[COMMANDS_TEXT_MAX];
    if (c->expiry_argv == NULL)
        c->expiry_argv = mem_array(NULL, c->options.max_args, sizeof(*c->expiry_argv));
    struct bytes *argv = c->expiry_argv;
    argv[0] = BYTES_LITERAL("HPEXPIREAT");
    argv[1] = c->key;
    argv[2] = bytes_of(ms, (size_t)snprintf(ms, sizeof(ms), "%lld", (long long)fields[0].ms));
    argv[3] = BYTES_LITERAL("FIELDS");
    argv[4] = bytes_of(count, (size_t)snprintf(count, sizeof(count), "%zu", n));
    for (size_t i = 0; i < n; i++) argv[EXPIRY_HEAD + i] = fields[i].field;
    return commands_emit(c, EXPIRY_HEAD + n, argv, err);
}

static bool emit_expiries(struct commands *c, struct expiring *fields, size_t n, struct err *err) {
    qsort(fields, n, sizeof(*fields), compare_expiring);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && fields[end].ms == fields[i].ms;) end++;
        if (!emit_expiry(c, fields + i, end - i, err)) return false;
    }
    return true;
}

/* Of the fields in the batch. */
static bool expire_batch(struct commands *c, struct err *err) {
    struct commands_batch *b = &c->batch;
    size_t pairs = (b->argc - HEAD) / 2, n = 0;
    struct expiring *fields = NULL;
    for (size_t i = 0; i < pairs; i++) {
        if (b->expiry_ms[i] == FIELD_NEVER_EXPIRES) continue;
        if (fields == NULL) fields = mem_array(NULL, pairs - i, sizeof(*fields));
        fields[n++] = (struct expiring){ .ms = b->expiry_ms[i], .field = b->argv[HEAD + 2 * i] };
    }
    bool ok = n == 0 || emit_expiries(c, fields, n, err);
    free(fields);
    return ok;
}

/* ---- batches ---- */

void commands_begin(struct commands *c, const char *name) {
    struct commands_batch *b = &c->batch;
    if (b->argc > 0) return;
    if (b->argv == NULL) {
        b->argv = mem_array(NULL, c->options.max_args, sizeof(*b->argv));
        b->expiry_ms = mem_array(NULL, c->options.max_args / 2, sizeof(*b->expiry_ms));
        b->arena = mem_alloc(c->options.max_bytes);
    }
    b->argv[0] = bytes_of_str(name);
    b->argv[1] = c->key;
    b->argc = HEAD;
    b->used = 0;
}

bool commands_flush(struct commands *c, struct err *err) {
    struct commands_batch *b = &c->batch;
    if (b->argc <= HEAD) return true;
    bool ok = commands_emit(c, b->argc, b->argv, err) &&
              (!bytes_equal_str(b->argv[0], "HSET") || expire_batch(c, err));
    b->argc = HEAD;
    b->used = 0;
    return ok;
}

static struct bytes keep(struct commands_batch *b, struct bytes word) {
    char *copy = b->arena + b->used;
    if (word.len > 0) memcpy(copy, word.ptr, word.len);
    b->used += word.len;
    return bytes_of(copy, word.len);
}

bool commands_add(struct commands *c, const struct bytes *words, size_t n, int64_t expiry_ms,
                  struct err *err) {
    struct commands_batch *b = &c->batch;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) len += words[i].len;
    bool full = len > c->options.max_bytes - b->used || n > c->options.max_args - b->argc;
    if (full && !commands_flush(c, err)) return false;
    bool alone = len > c->options.max_bytes;
    if (n == 2) b->expiry_ms[(b->argc - HEAD) / 2] = expiry_ms;
    for (size_t i = 0; i < n; i++) b->argv[b->argc++] = alone ? words[i] : keep(b, words[i]);
    return !alone || commands_flush(c, err);
}

/* ---- elements ---- */

static bool on_string(void *ctx, struct bytes value, struct err *err) {
    struct commands *c = ctx;
    const struct bytes argv[] = { BYTES_LITERAL("SET"), c->key, value };
    return commands_emit(c, 3, argv, err);
}

static bool on_list_item(void *ctx, struct bytes item, struct err *err) {
    commands_begin(ctx, "RPUSH");
    return commands_add(ctx, &item, 1, FIELD_NEVER_EXPIRES, err);
}

static bool on_set_member(void *ctx, struct bytes member, struct err *err) {
    commands_begin(ctx, "SADD");
    return commands_add(ctx, &member, 1, FIELD_NEVER_EXPIRES, err);
}

static struct bytes score_text(double score, char text[COMMANDS_TEXT_MAX]) {
    if (isinf(score)) return score > 0 ? BYTES_LITERAL("inf") : BYTES_LITERAL("-inf");
    return bytes_of(text, (size_t)snprintf(text, COMMANDS_TEXT_MAX, "%.17g", score));
}

/* Makes the sorted set one that keeps the sign of -0. */
static bool emit_filler(struct commands *c, struct err *err) {
    const struct bytes argv[] = { BYTES_LITERAL("ZADD"), c->key, BYTES_LITERAL("0"),
                                  score_filler() };
    c->has_filler = true;
    return commands_emit(c, 4, argv, err);
}

static bool remove_filler(struct commands *c, struct err *err) {
    const struct bytes argv[] = { BYTES_LITERAL("ZREM"), c->key, score_filler() };
    c->has_filler = false;
    return commands_emit(c, 3, argv, err);
}

static bool on_zset_member(void *ctx, struct bytes member, double score, struct err *err) {
    struct commands *c = ctx;
    char text[COMMANDS_TEXT_MAX];
    if (isnan(score)) return commands_lose(ctx, LOSS_SCORE, member, err);
    if (score_is_negative_zero(score) && !c->has_filler && !emit_filler(c, err)) return false;
    const struct bytes words[] = { score_text(score, text), member };
    commands_begin(ctx, "ZADD");
    return commands_add(ctx, words, 2, FIELD_NEVER_EXPIRES, err);
}

static bool on_hash_field(void *ctx, struct bytes field, struct bytes value, int64_t expiry_ms,
                          struct err *err) {
    struct commands *c = ctx;
    const struct bytes words[] = { field, value };
    if (expiry_ms != FIELD_NEVER_EXPIRES && !c->options.can.field_expiry) {
        if (!commands_lose(c, LOSS_FIELD_EXPIRY, field, err)) return false;
        expiry_ms = FIELD_NEVER_EXPIRES;
    }
    commands_begin(c, "HSET");
    return commands_add(c, words, 2, expiry_ms, err);
}

const struct value_sink *commands_sink(void) {
    static const struct value_sink sink = {
        .on_string = on_string,
        .on_list_item = on_list_item,
        .on_set_member = on_set_member,
        .on_zset_member = on_zset_member,
        .on_hash_field = on_hash_field,
        .on_stream_entry = commands_stream_entry,
        .on_stream_info = commands_stream_info,
        .on_group = commands_stream_group,
        .on_consumer = commands_stream_consumer,
        .on_pending = commands_stream_pending,
    };
    return &sink;
}

bool commands_finish(struct commands *c, struct err *err) {
    if (c->stream != NULL) return commands_stream_finish(c, err);
    return commands_flush(c, err) && (!c->has_filler || remove_filler(c, err));
}
