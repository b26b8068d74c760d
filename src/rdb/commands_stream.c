/* Streams as commands; see commands.h.
 *
 *   XADD ...            each entry with its ID; placeholders for deleted entries that are pending
 *   XSETID              the last id and counters; needed by ENTRIESREAD, so before the groups
 *   XGROUP CREATE, XGROUP CREATECONSUMER, XCLAIM ... TIME RETRYCOUNT FORCE JUSTID
 *   XTRIM or XDEL       placeholders go; XSETID again, since the counters have seen them
 *
 * XTRIM leaves the greatest deleted id alone, which is right when all that is missing was trimmed
 * from the front. Before 7.0 there is no such id, and before 6.2 no XTRIM MINID.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "rdb/commands_priv.h"
#include "rdb/decode.h"
#include "rdb/payload.h"

enum { CLAIM_HEAD = 5, CLAIM_TAIL = 6 };

struct commands_stream {
    /* ids that are pending somewhere; those below `at` have been looked for, and the first `placed`
     * are placeholders */
    struct stream_id *expected;
    size_t expected_n, expected_cap, expected_at, placed;
    bool sorted, placed_behind; /* placed_behind: one stands behind a real entry */
    bool has_info;
    struct stream_id first;
    uint64_t entries;
    struct stream_info info;
    struct bytes *words; /* of an XADD */
    size_t words_cap;

    /* the XCLAIM being filled: ids of one consumer, one time and one count */
    char *group, *consumer;
    size_t group_len, consumer_len;
    int64_t delivered_ms;
    uint64_t deliveries;
    struct stream_id *claims;
    size_t claims_n;
};

static struct commands_stream *stream_of(struct commands *c) {
    if (c->stream == NULL) c->stream = mem_zalloc(sizeof(*c->stream));
    return c->stream;
}

void commands_stream_free(struct commands *c) {
    struct commands_stream *s = c->stream;
    c->stream = NULL;
    if (s == NULL) return;
    free(s->expected);
    free(s->words);
    free(s->group);
    free(s->consumer);
    free(s->claims);
    free(s);
}

static struct bytes number_text(uint64_t number, char text[COMMANDS_TEXT_MAX]) {
    return bytes_of(text, (size_t)snprintf(text, COMMANDS_TEXT_MAX, "%" PRIu64, number));
}

/* ---- pending entries, perhaps deleted ---- */

void commands_expect_pending(struct commands *c, struct stream_id id) {
    if (stream_id_is_zero(id)) return;
    struct commands_stream *s = stream_of(c);
    if (s->expected_n == s->expected_cap) {
        s->expected_cap = s->expected_cap == 0 ? 64 : 2 * s->expected_cap;
        s->expected = mem_array(s->expected, s->expected_cap, sizeof(*s->expected));
    }
    s->expected[s->expected_n++] = id;
}

static bool expect(void *ctx, struct bytes group, struct bytes consumer, struct stream_id id,
                   int64_t delivered_ms, uint64_t deliveries, struct err *err) {
    commands_expect_pending(ctx, id);
    return true;
}

bool commands_expect_payload(struct commands *c, struct bytes payload, struct err *err) {
    static const struct value_sink only_pending = { .on_pending = expect };
    if (payload_type(payload) != VALUE_STREAM) return true;
    return decode_value(payload, &only_pending, c, err);
}

static int compare_ids(const void *a, const void *b) {
    return stream_id_compare(*(const struct stream_id *)a, *(const struct stream_id *)b);
}

static bool emit_placeholder(struct commands *c, struct stream_id id, struct err *err) {
    char text[COMMANDS_TEXT_MAX];
    const struct bytes argv[] = { BYTES_LITERAL("XADD"), c->key, stream_id_text(id, text),
                                  BYTES_LITERAL("gone"), BYTES_LITERAL("") };
    return commands_emit(c, 5, argv, err);
}

/* Placeholders for the expected entries up to end. */
static bool place_until(struct commands *c, struct stream_id end, bool end_is_entry,
                        struct err *err) {
    struct commands_stream *s = c->stream;
    if (!s->sorted && s->expected_n > 0)
        qsort(s->expected, s->expected_n, sizeof(*s->expected), compare_ids);
    s->sorted = true;
    for (; s->expected_at < s->expected_n; s->expected_at++) {
        struct stream_id next = s->expected[s->expected_at];
        int order = stream_id_compare(next, end);
        if (order > 0) return true;
        if (order == 0 && end_is_entry) continue;
        if (s->placed > 0 && stream_id_compare(next, s->expected[s->placed - 1]) == 0) continue;
        if (!emit_placeholder(c, next, err)) return false;
        s->expected[s->placed++] = next;
        if (s->entries > 0) s->placed_behind = true;
    }
    return true;
}

/* ---- entries and counters ---- */

bool commands_stream_entry(void *ctx, struct stream_id id, size_t n, const struct bytes *fields,
                           struct err *err) {
    struct commands *c = ctx;
    struct commands_stream *s = stream_of(c);
    char text[COMMANDS_TEXT_MAX];
    if (!place_until(c, id, true, err)) return false;
    if (s->entries++ == 0) s->first = id;
    if (3 + 2 * n > s->words_cap) {
        s->words_cap = 3 + 2 * n;
        s->words = mem_array(s->words, s->words_cap, sizeof(*s->words));
    }
    s->words[0] = BYTES_LITERAL("XADD");
    s->words[1] = c->key;
    s->words[2] = stream_id_text(id, text);
    memcpy(s->words + 3, fields, 2 * n * sizeof(*fields));
    return commands_emit(c, 3 + 2 * n, s->words, err);
}

/* A stream without entries comes into being with a group. */
static bool make_empty(struct commands *c, struct err *err) {
    const struct bytes name = BYTES_LITERAL("longhaul");
    const struct bytes create[] = { BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATE"),  c->key, name,
                                    BYTES_LITERAL("0"),      BYTES_LITERAL("MKSTREAM") };
    const struct bytes destroy[] = { BYTES_LITERAL("XGROUP"), BYTES_LITERAL("DESTROY"), c->key,
                                     name };
    return commands_emit(c, 6, create, err) && commands_emit(c, 4, destroy, err);
}

/* entries: how many are in the stream at this moment; the server refuses a smaller number of
 * entries added. */
static bool set_id(struct commands *c, uint64_t entries, struct err *err) {
    const struct stream_info *info = &c->stream->info;
    char last[COMMANDS_TEXT_MAX], added[COMMANDS_TEXT_MAX], deleted[COMMANDS_TEXT_MAX];
    struct bytes argv[7] = { BYTES_LITERAL("XSETID"), c->key, stream_id_text(info->last, last) };
    size_t argc = 3;
    if (c->options.can.stream_counters) {
        argv[argc++] = BYTES_LITERAL("ENTRIESADDED");
        argv[argc++] = number_text(
            info->has_counters && info->entries_added > entries ? info->entries_added : entries,
            added);
        if (info->has_counters && !stream_id_is_zero(info->max_deleted)) {
            argv[argc++] = BYTES_LITERAL("MAXDELETEDID");
            argv[argc++] = stream_id_text(info->max_deleted, deleted);
        }
    }
    return commands_emit(c, argc, argv, err);
}

bool commands_stream_info(void *ctx, const struct stream_info *info, struct err *err) {
    struct commands *c = ctx;
    struct commands_stream *s = stream_of(c);
    s->info = *info;
    s->has_info = true;
    if (!place_until(c, info->last, false, err)) return false;
    if (s->entries + s->placed == 0 && !make_empty(c, err)) return false;
    return set_id(c, s->entries + s->placed, err);
}

/* ---- groups ---- */

static bool flush_claims(struct commands *c, struct err *err);

bool commands_stream_group(void *ctx, struct bytes group, struct stream_id last,
                           int64_t entries_read, struct err *err) {
    struct commands *c = ctx;
    char id[COMMANDS_TEXT_MAX], read[COMMANDS_TEXT_MAX];
    bool known = c->options.can.stream_counters && entries_read >= 0;
    if (!flush_claims(c, err)) return false;
    const struct bytes argv[] = { BYTES_LITERAL("XGROUP"),
                                  BYTES_LITERAL("CREATE"),
                                  c->key,
                                  group,
                                  stream_id_text(last, id),
                                  BYTES_LITERAL("ENTRIESREAD"),
                                  number_text((uint64_t)entries_read, read) };
    return commands_emit(c, known ? 7 : 5, argv, err);
}

/* Before 6.2, reading its own pending entries creates a consumer. */
static bool create_consumer(struct commands *c, struct bytes group, struct bytes consumer,
                            struct err *err) {
    if (c->options.can.create_consumer) {
        const struct bytes argv[] = { BYTES_LITERAL("XGROUP"), BYTES_LITERAL("CREATECONSUMER"),
                                      c->key, group, consumer };
        return commands_emit(c, 5, argv, err);
    }
    const struct bytes argv[] = { BYTES_LITERAL("XREADGROUP"),
                                  BYTES_LITERAL("GROUP"),
                                  group,
                                  consumer,
                                  BYTES_LITERAL("COUNT"),
                                  BYTES_LITERAL("1"),
                                  BYTES_LITERAL("STREAMS"),
                                  c->key,
                                  BYTES_LITERAL("0") };
    return commands_emit(c, 9, argv, err);
}

static void remember(char **copy, size_t *len, struct bytes name) {
    *copy = mem_realloc(*copy, name.len);
    if (name.len > 0) memcpy(*copy, name.ptr, name.len);
    *len = name.len;
}

bool commands_stream_consumer(void *ctx, struct bytes group, struct bytes consumer, int64_t seen_ms,
                              int64_t active_ms, struct err *err) {
    struct commands *c = ctx;
    struct commands_stream *s = stream_of(c);
    if (!flush_claims(c, err)) return false;
    remember(&s->group, &s->group_len, group);
    remember(&s->consumer, &s->consumer_len, consumer);
    return create_consumer(c, group, consumer, err);
}

/* ---- pending entries ---- */

static size_t claims_max(const struct commands *c) {
    size_t by_bytes = c->options.max_bytes / COMMANDS_TEXT_MAX,
           by_args = c->options.max_args - CLAIM_HEAD - CLAIM_TAIL;
    size_t max = by_bytes < by_args ? by_bytes : by_args;
    return max > 0 ? max : 1;
}

static bool emit_claims(struct commands *c, struct bytes *argv, char (*texts)[COMMANDS_TEXT_MAX],
                        struct err *err) {
    const struct commands_stream *s = c->stream;
    char delivered[COMMANDS_TEXT_MAX], deliveries[COMMANDS_TEXT_MAX];
    size_t argc = CLAIM_HEAD;
    argv[0] = BYTES_LITERAL("XCLAIM");
    argv[1] = c->key;
    argv[2] = bytes_of(s->group, s->group_len);
    argv[3] = bytes_of(s->consumer, s->consumer_len);
    argv[4] = BYTES_LITERAL("0");
    for (size_t i = 0; i < s->claims_n; i++) argv[argc++] = stream_id_text(s->claims[i], texts[i]);
    argv[argc++] = BYTES_LITERAL("TIME");
    argv[argc++] = number_text(s->delivered_ms < 0 ? 0 : (uint64_t)s->delivered_ms, delivered);
    argv[argc++] = BYTES_LITERAL("RETRYCOUNT");
    argv[argc++] = number_text(s->deliveries, deliveries);
    argv[argc++] = BYTES_LITERAL("FORCE");
    argv[argc++] = BYTES_LITERAL("JUSTID");
    return commands_emit(c, argc, argv, err);
}

static bool flush_claims(struct commands *c, struct err *err) {
    struct commands_stream *s = stream_of(c);
    if (s->claims_n == 0) return true;
    struct bytes *argv = mem_array(NULL, CLAIM_HEAD + s->claims_n + CLAIM_TAIL, sizeof(*argv));
    char(*texts)[COMMANDS_TEXT_MAX] = mem_array(NULL, s->claims_n, sizeof(*texts));
    bool ok = emit_claims(c, argv, texts, err);
    s->claims_n = 0;
    free(texts);
    free(argv);
    return ok;
}

/* Can the server be given this pending entry? It must have the entry at that moment. */
static bool can_claim(const struct commands *c, struct stream_id id) {
    const struct commands_stream *s = c->stream;
    return !stream_id_is_zero(id) && (!s->has_info || stream_id_compare(id, s->info.last) <= 0);
}

bool commands_stream_pending(void *ctx, struct bytes group, struct bytes consumer,
                             struct stream_id id, int64_t delivered_ms, uint64_t deliveries,
                             struct err *err) {
    struct commands *c = ctx;
    struct commands_stream *s = stream_of(c);
    char text[COMMANDS_TEXT_MAX];
    if (!can_claim(c, id)) return commands_lose(c, LOSS_PENDING, stream_id_text(id, text), err);
    bool same = s->delivered_ms == delivered_ms && s->deliveries == deliveries &&
                s->claims_n < claims_max(c);
    if (!same && !flush_claims(c, err)) return false;
    if (s->claims == NULL) s->claims = mem_array(NULL, claims_max(c), sizeof(*s->claims));
    s->delivered_ms = delivered_ms;
    s->deliveries = deliveries;
    s->claims[s->claims_n++] = id;
    return true;
}

/* ---- the end ---- */

static bool trim_placeholders(struct commands *c, struct err *err) {
    const struct commands_stream *s = c->stream;
    char text[COMMANDS_TEXT_MAX];
    bool none = s->entries == 0;
    const struct bytes argv[] = { BYTES_LITERAL("XTRIM"), c->key,
                                  none ? BYTES_LITERAL("MAXLEN") : BYTES_LITERAL("MINID"),
                                  none ? BYTES_LITERAL("0") : stream_id_text(s->first, text) };
    return commands_emit(c, 4, argv, err);
}

static bool delete_placeholders(struct commands *c, struct err *err) {
    const struct commands_stream *s = c->stream;
    char text[COMMANDS_TEXT_MAX];
    commands_begin(c, "XDEL");
    for (size_t i = 0; i < s->placed; i++) {
        struct bytes id = stream_id_text(s->expected[i], text);
        if (!commands_add(c, &id, 1, FIELD_NEVER_EXPIRES, err)) return false;
    }
    return commands_flush(c, err);
}

bool commands_stream_finish(struct commands *c, struct err *err) {
    struct commands_stream *s = c->stream;
    if (!flush_claims(c, err)) return false;
    if (s->placed == 0) return true;
    if (s->placed_behind || !c->options.can.stream_counters) {
        if (!delete_placeholders(c, err)) return false;
    } else if (!trim_placeholders(c, err)) {
        return false;
    }
    return !s->has_info || set_id(c, s->entries, err);
}
