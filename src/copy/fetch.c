/* Reading keys from the source, in batches of one node and one step.
 *
 *   STRINGS   GETRANGE of the first 64 KiB, PEXPIRETIME; MGET or GET when the size is known, or on
 *             a bounded connection              not a string, or longer ─▶ MEASURE
 *   MEASURE   MEMORY USAGE                      ─▶ STRINGS, or DUMP for other types;
 *                                               too large: unwanted
 *   DUMP      DUMP, PEXPIRETIME
 *   TYPE      TYPE                              ─▶ STRINGS or MEASURE; unwanted: skipped
 *   USED      OBJECT IDLETIME, OBJECT REFCOUNT  not used since the gap began: done;
 *                                               else ─▶ STRINGS or MEASURE
 *   EXISTS    EXISTS                            gone: told, or deleted
 *   GROUPS    XINFO STREAM key FULL COUNT 1     groups as they were: done;
 *                                               else ─▶ STRINGS or MEASURE
 *   TRANSFER  by the commands of the type, large values in pieces: see transfer.h
 *
 * Value first, expiry second: a key that is deleted or replaced in between is then found gone or
 * gets the newer expiry, never the newer value with the older one's "for ever". Before 7.0 there is
 * only the time left, so the server is asked for its clock at the end of the same batch.
 *
 * A batch ends when its last reply is in; its values stay in the blocks they were received in until
 * then.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"

enum {
    VALUE_LARGE = ESTIMATE_LARGE_BYTES, /* read with its size known before */
    VALUE_ALONE = 1024 * 1024,          /* from here on read by a batch of its own */
    BATCH_BYTES_MAX = 1024 * 1024,      /* of measured values in one batch */
    /* OBJECT IDLETIME is in whole seconds, by a clock that is up to a second late */
    IDLE_TIME_MAX_S = 1 << 23, /* half of the ring that idle times are counted in */
    IDLE_SLACK_S = 2,
};

/* MEMORY USAGE adds up some elements and takes the others to be like them: 5 by default, so that a
 * hash of many small fields and a few huge ones counts as small. This much is proved of a key whose
 * elements take MEASURE_ELEMENT_BYTES or more each (redis 7.0.15 src/object.c
 * objectComputeSize(): a place in the table, and an allocation):
 *
 *   MEASURE_SAMPLES asked for, size below MEASURE_EXACT_BYTES         all elements were added up
 *   5 asked for, as no size was ever hidden, below MEASURE_FEW_BYTES  the key has few elements
 *   otherwise, up to the size of a large key                  all are added up now: SAMPLES 0
 *
 * SAMPLES 0 looks at that size by MEASURE_ELEMENT_BYTES of elements, at most. */
enum {
    MEASURE_SAMPLES = 4096,
    MEASURE_ELEMENT_BYTES = 16,
    MEASURE_EXACT_BYTES = MEASURE_SAMPLES * MEASURE_ELEMENT_BYTES,
    MEASURE_FEW_BYTES = 4096,
};

enum key_result { RESULT_NONE, RESULT_NULL, RESULT_VALUE, RESULT_ERROR };

struct fetch_key {
    struct fetched f;
    struct err *err; /* of RESULT_ERROR */
    union {
        int64_t expiry;  /* as the server said it; in other stages the number that was asked for */
        uint64_t groups; /* STAGE_GROUPS: fingerprint */
    };
    enum key_result result;
    bool shared;       /* the value of a string, with other keys */
    bool sampled_many; /* STAGE_MEASURE: MEASURE_SAMPLES were asked for */
};

struct batch {
    struct flight *flight;
    struct pool_node *node;
    struct client *client; /* of the node; set when the batch is sent */
    enum stage stage;
    int db;
    bool asking;
    size_t n, cap, due;
    uint64_t bytes;    /* expected of its values */
    int64_t server_ms; /* the server's clock, for PTTL */
    int64_t server_us; /* the same as the server told it; 0: not told */
    struct fetch_key *keys;
};

/* ---- errors of single keys ---- */

static void key_set_error(struct fetch_key *key, const struct err *err) {
    if (key->result == RESULT_ERROR) return;
    key->result = RESULT_ERROR;
    key->err = mem_alloc(sizeof(*err));
    *key->err = *err;
}

static void key_take_reply_error(struct batch *b, struct fetch_key *key,
                                 const struct reply *reply) {
    struct err err;
    client_reply_error(b->client, &reply->item, &err);
    key_set_error(key, &err);
}

/* ---- the end of a batch ---- */

static void batch_free(struct batch *b) {
    estimate_release(&b->flight->estimate, b->bytes);
    for (size_t i = 0; i < b->n; i++) {
        block_unref(&b->keys[i].f.block);
        free(b->keys[i].err);
    }
    free(b->keys);
    free(b);
}

static void key_failed(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if ((b->stage == STAGE_USED || b->stage == STAGE_GROUPS) &&
        err_class_of(key->err->code) == ERR_CLASS_KEY) {
        /* It cannot be told: idle times are not kept, groups not shown whole, or it is no stream
         * any more. */
        flight_copy_after_all(flight, entry);
        return;
    }
    if (key->err->code == ERR_WRONGTYPE && b->stage == STAGE_STRINGS) {
        estimate_note_no_string(&flight->estimate);
        entry->flags |= KEY_NOT_STRING;
        flight_stage(flight, entry,
                     flight->plan->can.source_memory_usage && !(entry->flags & KEY_MEASURED)
                         ? STAGE_MEASURE
                         : flight_value_stage(flight));
        return;
    }
    if (key->err->code == ERR_NOPERM && b->stage == STAGE_STRINGS && !(entry->flags & KEY_ALONE)) {
        /* One key of an MGET that the user may not read refuses all of them. */
        entry->flags |= KEY_ALONE;
        flight_stage(flight, entry, STAGE_STRINGS);
        return;
    }
    flight_failed(flight, entry, b->node, key->err);
}

static void key_gone(struct batch *b, struct key_entry *entry) {
    flight_missing(b->flight, entry, b->client);
}

static void key_unchanged(struct flight *flight, struct key_entry *entry) {
    stat_add(&flight->stats.unchanged, 1);
    flight_done(flight, entry);
}

/* After OBJECT IDLETIME (key->expiry, in seconds), REFCOUNT and TIME. All three are of one clock,
 * the source's, and so is the beginning of the gap. OBJECT IDLETIME counts seconds in a ring of 24
 * bits (redis 7.0.15 src/evict.c estimateObjectIdleTime()): a clock that was set back gives a
 * number near its end, which is no idle time. Keys that share an integer have the idle time of the
 * last use of any of these keys, or none. */
static bool key_was_idle_since(const struct batch *b, const struct fetch_key *key) {
    const struct copy_plan *plan = b->flight->plan;
    if (key->result != RESULT_VALUE || key->shared || plan->used_since_us == NULL) return false;
    int64_t since_us = plan->used_since_us(plan->ctx, key->f.entry->slot);
    if (since_us <= 0 || b->server_us < since_us || key->expiry > IDLE_TIME_MAX_S) return false;
    return key->expiry > (b->server_us - since_us) / 1000000 + IDLE_SLACK_S;
}

static void key_use_known(struct batch *b, struct fetch_key *key) {
    if (key->result == RESULT_NULL) {
        key_gone(b, key->f.entry);
    } else if (key_was_idle_since(b, key)) {
        key_unchanged(b->flight, key->f.entry);
    } else {
        flight_copy_after_all(b->flight, key->f.entry);
    }
}

/* Named to be checked: the source has it, and wants it. */
static void key_is_there(struct flight *flight, struct key_entry *entry) {
    stat_add(&flight->stats.looked, 1);
    flight_done(flight, entry);
}

/* After EXISTS. */
static void key_looked_at(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if (key->result == RESULT_VALUE && key->expiry == 0) {
        key_gone(b, entry);
    } else if (entry->flags & KEY_PROBE) {
        flight_park(flight, entry);
    } else {
        key_is_there(flight, entry);
    }
}

/* After XINFO STREAM. */
static void key_groups_seen(struct flight *flight, struct fetch_key *key) {
    struct key_entry *entry = key->f.entry;
    bool told = flight->streams != NULL && key->groups != STREAM_UNSEEN;
    if (told && !streams_changed(flight->streams, entry->db, key_entry_bytes(entry), entry->slot,
                                 key->groups)) {
        key_unchanged(flight, entry);
    } else {
        flight_copy_after_all(flight, entry);
    }
}

/* After TYPE. */
static void key_typed(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if (key->result == RESULT_NULL || bytes_equal_str(key->f.value, "none")) {
        key_gone(b, entry);
    } else if (!key_filter_wants_type(flight->plan->filter, key->f.value)) {
        flight_unwanted(flight, entry, b->client);
    } else if (entry->reason == REASON_IF_MISSING && flight->plan->mem_limit_bytes == 0) {
        key_is_there(flight, entry);
    } else {
        bool string = bytes_equal_str(key->f.value, "string");
        entry->flags |= KEY_TYPED | (string ? 0 : KEY_NOT_STRING);
        bool measure = flight_measures_first(flight, entry) ||
                       (!string && flight->plan->can.source_memory_usage);
        bool dump = !string || !flight->plan->can.target_set_pxat;
        flight_stage(flight, entry,
                     measure ? STAGE_MEASURE
                     : dump  ? flight_value_stage(flight)
                             : STAGE_STRINGS);
    }
}

/* Its size, in data, is an estimate of which less is proved than is at stake. */
static bool may_be_larger(const struct copy_plan *plan, const struct fetch_key *key) {
    const struct key_entry *entry = key->f.entry;
    uint64_t exact = key->sampled_many ? MEASURE_EXACT_BYTES : MEASURE_FEW_BYTES;
    return entry->data >= exact && entry->data < plan->big_key_bytes &&
           (entry->flags & KEY_COUNT_ALL) == 0;
}

/* After MEMORY USAGE: key->expiry holds the size. */
static void key_measured(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    if (key->result == RESULT_NULL) {
        key_gone(b, entry);
        return;
    }
    uint64_t size = key->expiry > 0 ? (uint64_t)key->expiry : 0;
    if (flight->plan->mem_limit_bytes > 0 && size > flight->plan->mem_limit_bytes) {
        flight_unwanted(flight, entry, b->client);
        return;
    }
    if (entry->reason == REASON_IF_MISSING) {
        key_is_there(flight, entry);
        return;
    }
    estimate_note_size(&flight->estimate, size);
    if (entry->flags & KEY_COUNT_ALL) estimate_note_hidden(&flight->estimate, entry->data, size);
    entry->data = size;
    if (may_be_larger(flight->plan, key)) {
        entry->flags |= KEY_COUNT_ALL;
        flight_stage(flight, entry, STAGE_MEASURE);
        return;
    }
    entry->flags |= KEY_MEASURED;
    if (flight->plan->big_key_bytes > 0 && size >= flight->plan->big_key_bytes) {
        if (!(entry->flags & KEY_NOT_STRING)) estimate_note_large_string(&flight->estimate);
        entry->flags |= KEY_LARGE;
        flight_stage(flight, entry, STAGE_TRANSFER);
        return;
    }
    bool maybe_string = !(entry->flags & KEY_NOT_STRING) && flight->plan->can.target_set_pxat &&
                        flight->plan->preserve == PRESERVE_NONE;
    bool try_string = (entry->flags & KEY_TYPED) || estimate_expects_strings(&flight->estimate) ||
                      size >= VALUE_ALONE;
    flight_stage(flight, entry,
                 maybe_string && try_string ? STAGE_STRINGS : flight_value_stage(flight));
}

static int64_t key_absolute_expiry(const struct batch *b, const struct fetch_key *key) {
    if (key->expiry < 0) return key->expiry;
    return b->flight->plan->can.source_pexpiretime ? key->expiry : b->server_ms + key->expiry;
}

/* On the node's usual connection no string is read whole before its size is known: of one that was
 * not measured the first VALUE_LARGE bytes are asked for, and when so many come there may be more.
 */
static bool is_read_in_part(const struct batch *b, const struct key_entry *entry) {
    bool usual = b->client == b->node->client;
    return b->stage == STAGE_STRINGS && usual && !(entry->flags & KEY_MEASURED) &&
           b->flight->plan->can.source_getrange;
}

static void key_too_long(struct flight *flight, struct key_entry *entry) {
    estimate_note_large_string(&flight->estimate);
    if (flight->plan->can.source_memory_usage) {
        flight_stage(flight, entry, STAGE_MEASURE);
        return;
    }
    entry->flags |= KEY_MEASURED; /* as far as can be known here */
    entry->data = VALUE_LARGE;
    flight_stage(flight, entry, STAGE_STRINGS);
}

/* After GET or DUMP; true when the value goes on to the target. */
static bool key_read(struct batch *b, struct fetch_key *key) {
    struct flight *flight = b->flight;
    struct key_entry *entry = key->f.entry;
    int64_t expiry_ms = key_absolute_expiry(b, key);
    if (is_read_in_part(b, entry) && key->f.value.len >= VALUE_LARGE) {
        key_too_long(flight, entry);
        return false;
    }
    if (key->result == RESULT_NULL && b->stage == STAGE_STRINGS && expiry_ms != -2) {
        estimate_note_no_string(&flight->estimate);
        entry->flags |= KEY_NOT_STRING;
        flight_stage(flight, entry,
                     flight->plan->can.source_memory_usage && !(entry->flags & KEY_MEASURED)
                         ? STAGE_MEASURE
                         : flight_value_stage(flight));
        return false;
    }
    if (key->result == RESULT_NULL || expiry_ms == -2) {
        key_gone(b, entry);
        return false;
    }
    key->f.is_payload = b->stage == STAGE_DUMP;
    key->f.expiry_ms = flight->plan->no_ttl ? -1 : expiry_ms;
    bool string = !key->f.is_payload || payload_type(key->f.value) == VALUE_STRING;
    estimate_note_value(&flight->estimate, string, key->f.value.len);
    if (entry->flags & KEY_MEASURED)
        estimate_note_hidden(&flight->estimate, entry->data, key->f.value.len);
    return true;
}

/* True when the value goes on to the target. */
static bool key_answered(struct batch *b, struct fetch_key *key) {
    switch (b->stage) {
    case STAGE_TYPE:
        key_typed(b, key);
        return false;
    case STAGE_MEASURE:
        key_measured(b, key);
        return false;
    case STAGE_USED:
        key_use_known(b, key);
        return false;
    case STAGE_EXISTS:
        key_looked_at(b, key);
        return false;
    case STAGE_GROUPS:
        key_groups_seen(b->flight, key);
        return false;
    case STAGE_STRINGS:
    case STAGE_DUMP:
    case STAGE_TRANSFER:
        break;
    }
    return key_read(b, key);
}

static void batch_end(struct batch *b) {
    struct flight *flight = b->flight;
    const struct fetched **values = mem_array(NULL, b->n, sizeof(*values));
    size_t n_values = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct fetch_key *key = &b->keys[i];
        if (key->result != RESULT_ERROR) flight_node_works(flight, b->node);
        if (key->result == RESULT_ERROR) {
            key_failed(b, key);
        } else if (key_answered(b, key)) {
            values[n_values++] = &key->f;
        }
    }
    if (n_values > 0) flight_values(flight, values, n_values);
    free(values);
    batch_free(b);
    flight_schedule(flight);
}

static void batch_reply_done(struct batch *b) {
    if (--b->due == 0) batch_end(b);
}

/* ---- replies ---- */

static void batch_fail(struct batch *b, const struct err *err, size_t first, size_t n) {
    for (size_t i = first; i < first + n; i++) key_set_error(&b->keys[i], err);
}

static void key_take_value(struct fetch_key *key, const struct resp_item *item,
                           struct block *block) {
    if (key->result == RESULT_ERROR) return;
    if (!resp_is_string(item)) {
        key->result = RESULT_NULL;
        return;
    }
    key->result = RESULT_VALUE;
    key->f.value = item->str;
    key->f.block = block_ref(block);
}

static inline void *group_arg(size_t first, size_t n) {
    return (void *)(uintptr_t)(first << 32 | n);
}

static void on_mget(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    size_t first = (uintptr_t)arg >> 32, n = (uintptr_t)arg & 0xffffffff;
    if (reply->err != NULL) {
        batch_fail(b, reply->err, first, n);
    } else if (resp_is_error(&reply->item)) {
        for (size_t i = first; i < first + n; i++) key_take_reply_error(b, &b->keys[i], reply);
    } else {
        struct resp_cursor c = reply->cursor;
        struct resp_item item;
        for (size_t i = first; i < first + n && resp_next(&c, &item); i++)
            key_take_value(&b->keys[i], &item, reply->block);
    }
    batch_reply_done(b);
}

/* GET, DUMP, TYPE */
static void on_value(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct fetch_key *key = &b->keys[(uintptr_t)arg];
    if (reply->err != NULL) {
        key_set_error(key, reply->err);
    } else if (resp_is_error(&reply->item)) {
        key_take_reply_error(b, key, reply);
    } else {
        key_take_value(key, &reply->item, reply->block);
    }
    batch_reply_done(b);
}

/* Is the number all that the stage asks for? */
static bool asks_number(const struct batch *b) {
    return b->stage == STAGE_MEASURE || b->stage == STAGE_USED || b->stage == STAGE_EXISTS;
}

/* PEXPIRETIME, PTTL: a number beside the value. MEMORY USAGE, OBJECT IDLETIME, EXISTS: the answer
 * itself. */
static void on_number(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct fetch_key *key = &b->keys[(uintptr_t)arg];
    if (reply->err != NULL) {
        key_set_error(key, reply->err);
    } else if (resp_is_error(&reply->item)) {
        key_take_reply_error(b, key, reply);
    } else if (reply->item.type == RESP_INTEGER) {
        key->expiry = reply->item.num;
        if (asks_number(b)) key->result = RESULT_VALUE;
    } else if (asks_number(b)) {
        key->result = RESULT_NULL;
    }
    batch_reply_done(b);
}

/* OBJECT REFCOUNT: of a shared integer INT_MAX (redis 7.0.15 src/server.h, OBJ_SHARED_REFCOUNT). */
static void on_refcount(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct fetch_key *key = &b->keys[(uintptr_t)arg];
    if (reply->err != NULL) {
        key_set_error(key, reply->err);
    } else if (resp_is_error(&reply->item)) {
        key_take_reply_error(b, key, reply);
    } else {
        key->shared = reply->item.type != RESP_INTEGER || reply->item.num >= INT32_MAX;
    }
    batch_reply_done(b);
}

static void on_groups(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct fetch_key *key = &b->keys[(uintptr_t)arg];
    if (reply->err != NULL) {
        key_set_error(key, reply->err);
    } else if (resp_is_error(&reply->item)) {
        key_take_reply_error(b, key, reply);
    } else {
        key->groups = streams_fingerprint(&reply->item, reply->cursor);
    }
    batch_reply_done(b);
}

/* OBJECT IDLETIME, in seconds, or OBJECT FREQ; a key without one is copied without. */
static void on_use(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    bool told = reply->err == NULL && reply->item.type == RESP_INTEGER && reply->item.num >= 0 &&
                reply->item.num <= UINT32_MAX;
    if (told) b->keys[(uintptr_t)arg].f.entry->extra = (uint32_t)reply->item.num;
    batch_reply_done(b);
}

static void on_time(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct resp_cursor c = reply->cursor;
    struct resp_item seconds, micros;
    int64_t s = 0, us = 0;
    bool ok = reply->err == NULL && reply->item.num == 2 && resp_next(&c, &seconds) &&
              resp_next(&c, &micros) && bytes_to_i64(seconds.str, &s) &&
              bytes_to_i64(micros.str, &us);
    b->server_ms = ok ? s * 1000 + us / 1000 : clock_wall_ms();
    b->server_us = ok ? s * 1000000 + us : 0;
    batch_reply_done(b);
}

/* ---- commands ---- */

static void send_key_command(struct batch *b, struct bytes first, struct bytes second,
                             client_reply_fn *fn, size_t index) {
    struct client *client = b->client;
    if (b->asking) client_asking(client);
    struct outq *out = client_out(client);
    resp_write_head(out, second.len > 0 ? 3 : 2);
    resp_write_arg(out, first);
    if (second.len > 0) resp_write_arg(out, second);
    resp_write_arg(out, key_entry_bytes(b->keys[index].f.entry));
    b->due++;
    client_end_command(client, fn, b, (void *)(uintptr_t)index);
}

static void send_time(struct batch *b) {
    static const struct bytes time_command[] = { BYTES_LITERAL("TIME") };
    b->due++;
    client_command(b->client, on_time, b, NULL, 1, time_command);
}

/* bytes of the commands without their key */
enum { GETRANGE_WORDS_MAX = 48, MEASURE_WORDS_MAX = 64 };

static void batch_send_getrange(struct batch *b, size_t index) {
    _Static_assert(VALUE_LARGE - 1 == 65535, "stands in the command");
    struct bytes key = key_entry_bytes(b->keys[index].f.entry);
    if (b->asking) client_asking(b->client);
    struct outq *out = client_out(b->client);
    char *at = outq_reserve(out, RESP_ARG_ROOM(key.len) + GETRANGE_WORDS_MAX);
    char *p = resp_put_arg(resp_put_encoded(at, "*4\r\n$8\r\nGETRANGE\r\n"), key);
    outq_commit(out, (size_t)(resp_put_encoded(p, "$1\r\n0\r\n$5\r\n65535\r\n") - at));
    b->due++;
    client_end_command(b->client, on_value, b, (void *)(uintptr_t)index);
}

static void send_measure(struct batch *b, size_t index) {
    _Static_assert(MEASURE_SAMPLES == 4096, "stands in the command");
    const struct key_entry *entry = b->keys[index].f.entry;
    bool all = (entry->flags & KEY_COUNT_ALL) != 0;
    bool many = !all && estimate_counts_all(&b->flight->estimate);
    b->keys[index].sampled_many = many;
    if (b->asking) client_asking(b->client);
    struct outq *out = client_out(b->client);
    char *at = outq_reserve(out, RESP_ARG_ROOM(entry->len) + MEASURE_WORDS_MAX);
    char *p = all || many ? resp_put_encoded(at, "*5\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n")
                          : resp_put_encoded(at, "*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n");
    p = resp_put_arg(p, key_entry_bytes(entry));
    if (all) p = resp_put_encoded(p, "$7\r\nSAMPLES\r\n$1\r\n0\r\n");
    if (many) p = resp_put_encoded(p, "$7\r\nSAMPLES\r\n$4\r\n4096\r\n");
    outq_commit(out, (size_t)(p - at));
    b->due++;
    client_end_command(b->client, on_number, b, (void *)(uintptr_t)index);
}

static void send_groups(struct batch *b, size_t index) {
    struct client *client = b->client;
    const struct bytes words[] = {
        BYTES_LITERAL("XINFO"), BYTES_LITERAL("STREAM"), key_entry_bytes(b->keys[index].f.entry),
        BYTES_LITERAL("FULL"),  BYTES_LITERAL("COUNT"),  BYTES_LITERAL("1")
    };
    if (b->asking) client_asking(client);
    b->due++;
    client_command(client, on_groups, b, (void *)(uintptr_t)index, sizeof(words) / sizeof(words[0]),
                   words);
}

/* Bytes on the wire of the keys from `first` on, at most. */
static size_t keys_room(const struct batch *b, size_t first, size_t n) {
    size_t room = 0;
    for (size_t i = first; i < first + n; i++) room += RESP_ARG_ROOM(b->keys[i].f.entry->len);
    return room;
}

static void batch_send_mget(struct batch *b, size_t first, size_t n) {
    struct outq *out = client_out(b->client);
    resp_write_head(out, n + 1);
    resp_write_literal(out, "MGET");
    char *at = outq_reserve(out, keys_room(b, first, n)), *p = at;
    for (size_t i = first; i < first + n; i++)
        p = resp_put_arg(p, key_entry_bytes(b->keys[i].f.entry));
    outq_commit(out, (size_t)(p - at));
    b->due++;
    client_end_command(b->client, on_mget, b, group_arg(first, n));
}

/* How many keys from `first` on one MGET may name. */
static size_t mget_span(const struct batch *b, size_t first) {
    const struct copy_plan *plan = b->flight->plan;
    const struct key_entry *head = b->keys[first].f.entry;
    size_t n = 1;
    if (b->asking || (head->flags & KEY_ALONE)) return n;
    while (first + n < b->n && n + 1 < plan->max_args) {
        const struct key_entry *e = b->keys[first + n].f.entry;
        if (is_read_in_part(b, e)) break;
        if ((e->flags & KEY_ALONE) || (!plan->can.source_spans_slots && e->slot != head->slot))
            break;
        n++;
    }
    return n;
}

static void send_strings(struct batch *b) {
    for (size_t i = 0; i < b->n;) {
        bool bounded = is_read_in_part(b, b->keys[i].f.entry);
        size_t n = bounded ? 1 : mget_span(b, i);
        if (bounded) {
            batch_send_getrange(b, i);
        } else if (n > 1) {
            batch_send_mget(b, i, n);
        } else {
            send_key_command(b, BYTES_LITERAL("GET"), bytes_of("", 0), on_value, i);
        }
        i += n;
    }
}

enum { EXPIRY_WORDS_MAX = 32 }; /* bytes of the command without its key */

static void send_expiries(struct batch *b) {
    const struct copy_plan *plan = b->flight->plan;
    /* A string that is missing reads as an empty one with GETRANGE: only its expiry tells. */
    if (plan->no_ttl && b->stage != STAGE_STRINGS) return;
    if (b->asking) client_asking(b->client); /* of a batch of one */
    struct outq *out = client_out(b->client);
    char *at = outq_reserve(out, keys_room(b, 0, b->n) + b->n * EXPIRY_WORDS_MAX), *p = at;
    for (size_t i = 0; i < b->n; i++) {
        p = plan->can.source_pexpiretime ? resp_put_encoded(p, "*2\r\n$11\r\nPEXPIRETIME\r\n")
                                         : resp_put_encoded(p, "*2\r\n$4\r\nPTTL\r\n");
        p = resp_put_arg(p, key_entry_bytes(b->keys[i].f.entry));
    }
    outq_commit(out, (size_t)(p - at));
    b->due += b->n;
    client_end_commands(b->client, on_number, b, b->n);
    if (plan->can.source_pexpiretime) return;
    send_time(b);
}

/* Before the value is read, which may count as use. */
static void send_uses(struct batch *b) {
    enum copy_preserve preserve = b->flight->plan->preserve;
    if (preserve == PRESERVE_NONE) return;
    struct bytes what =
        preserve == PRESERVE_FREQ ? BYTES_LITERAL("FREQ") : BYTES_LITERAL("IDLETIME");
    for (size_t i = 0; i < b->n; i++) send_key_command(b, BYTES_LITERAL("OBJECT"), what, on_use, i);
}

/* The bounded connection where strings have been small so far, and gain by it. */
static struct client *batch_client(const struct batch *b) {
    const struct flight *flight = b->flight;
    struct client *usual = b->node->client;
    if (b->stage != STAGE_STRINGS || b->asking) return usual;
    if (!estimate_allows_unbounded(&flight->estimate)) return usual;
    struct client *bounded = bounded_client(b->node->bounded, client_run_id(usual));
    return bounded != NULL ? bounded : usual;
}

static void batch_send(struct batch *b) {
    b->client = batch_client(b);
    client_select(b->client, b->db);
    switch (b->stage) {
    case STAGE_STRINGS:
        send_strings(b);
        send_expiries(b);
        break;
    case STAGE_DUMP:
        for (size_t i = 0; i < b->n; i++)
            send_key_command(b, BYTES_LITERAL("DUMP"), bytes_of("", 0), on_value, i);
        send_expiries(b);
        break;
    case STAGE_MEASURE:
        for (size_t i = 0; i < b->n; i++) send_measure(b, i);
        send_uses(b);
        break;
    case STAGE_TRANSFER: /* not in batches */
        break;
    case STAGE_USED:
        for (size_t i = 0; i < b->n; i++) {
            send_key_command(b, BYTES_LITERAL("OBJECT"), BYTES_LITERAL("IDLETIME"), on_number, i);
            send_key_command(b, BYTES_LITERAL("OBJECT"), BYTES_LITERAL("REFCOUNT"), on_refcount, i);
        }
        send_time(b); /* behind them: the gap is taken for longer, never for shorter */
        break;
    case STAGE_EXISTS:
        for (size_t i = 0; i < b->n; i++)
            send_key_command(b, BYTES_LITERAL("EXISTS"), bytes_of("", 0), on_number, i);
        break;
    case STAGE_GROUPS:
        for (size_t i = 0; i < b->n; i++) send_groups(b, i);
        break;
    case STAGE_TYPE:
        for (size_t i = 0; i < b->n; i++)
            send_key_command(b, BYTES_LITERAL("TYPE"), bytes_of("", 0), on_value, i);
        break;
    }
}

/* ---- filling ---- */

static struct batch *batch_new(struct flight *flight, struct pool_node *node, enum stage stage,
                               int db, size_t cap) {
    struct batch *b = mem_zalloc(sizeof(*b));
    b->flight = flight;
    b->node = node;
    b->stage = stage;
    b->db = db;
    b->cap = cap;
    b->keys = mem_array(NULL, cap, sizeof(*b->keys));
    return b;
}

static void batch_add(struct batch *b, struct key_entry *entry) {
    b->keys[b->n++] = (struct fetch_key){ .f = { .entry = entry, .expiry_ms = -1 }, .expiry = -1 };
    bool reads_value = b->stage == STAGE_STRINGS || b->stage == STAGE_DUMP;
    uint64_t expected = !reads_value                    ? 0
                        : (entry->flags & KEY_MEASURED) ? entry->data
                                                        : estimate_value(&b->flight->estimate);
    b->bytes += expected;
    estimate_reserve(&b->flight->estimate, expected);
}

static void send_building(struct pool_node *node, enum stage stage) {
    struct batch *b = node->building[stage];
    node->building[stage] = NULL;
    if (b != NULL) batch_send(b);
}

static void fetch_alone(struct flight *flight, struct pool_node *node, struct key_entry *entry,
                        bool asking) {
    struct batch *b = batch_new(flight, node, key_stage(entry), entry->db, 1);
    b->asking = asking;
    batch_add(b, entry);
    batch_send(b);
}

void fetch_add(struct flight *flight, struct key_entry *entry) {
    bool asking = (entry->flags & KEY_ASK_SOURCE) != 0;
    struct pool_node *node =
        asking ? pool_ask(flight->source, entry->slot) : pool_route(flight->source, entry->slot);
    if (node == NULL && asking) node = pool_route(flight->source, entry->slot);
    if (node == NULL) {
        flight_park_unowned(flight, entry, flight->source);
        return;
    }
    if (!client_is_ready(node->client)) {
        flight_park(flight, entry);
        return;
    }
    enum stage stage = key_stage(entry);
    if (stage == STAGE_TRANSFER) {
        transfers_add(flight->transfers, entry);
        return;
    }
    bool reads_value = stage == STAGE_STRINGS || stage == STAGE_DUMP;
    bool measured = reads_value && (entry->flags & KEY_MEASURED);
    bool large = measured && entry->data >= VALUE_ALONE;
    if (measured && !flight_has_room(flight, entry->data)) {
        flight_wait_turn(flight, entry);
        return;
    }
    if (asking) entry->flags &= ~(uint32_t)KEY_ASK_SOURCE;
    if (asking || large) {
        fetch_alone(flight, node, entry, asking);
        return;
    }
    struct batch *b = node->building[stage];
    if (b != NULL && b->db != entry->db) {
        send_building(node, stage);
        b = NULL;
    }
    if (b == NULL)
        b = node->building[stage] =
            batch_new(flight, node, stage, entry->db, flight->plan->batch_keys);
    batch_add(b, entry);
    if (b->n == b->cap || b->bytes >= BATCH_BYTES_MAX) send_building(node, stage);
}

void fetch_flush(struct flight *flight) {
    for (struct pool_node *node = pool_first(flight->source); node != NULL; node = node->next) {
        for (int stage = 0; stage < POOL_STAGES; stage++) {
            if (node->building[stage] == NULL) continue;
            if (client_is_ready(node->client)) {
                send_building(node, (enum stage)stage);
            } else {
                fetch_forget_node(flight, node);
            }
        }
    }
}

void fetch_forget_node(struct flight *flight, struct pool_node *node) {
    for (int stage = 0; stage < POOL_STAGES; stage++) {
        struct batch *b = node->building[stage];
        node->building[stage] = NULL;
        if (b == NULL) continue;
        for (size_t i = 0; i < b->n; i++) flight_park(flight, b->keys[i].f.entry);
        batch_free(b);
    }
}
