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
#include "copy/fetch_priv.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"

enum { BATCH_BYTES_MAX = 1024 * 1024 }; /* of measured values in one batch */

/* ---- replies ---- */

static void key_take_reply_error(struct batch *b, struct fetch_key *key,
                                 const struct reply *reply) {
    struct err err;
    client_reply_error(b->client, &reply->item, &err);
    fetch_key_fail(key, &err);
}

/* True when the reply is good; else the key has failed. */
static bool key_has_reply(struct batch *b, struct fetch_key *key, const struct reply *reply) {
    if (reply->err != NULL) {
        fetch_key_fail(key, reply->err);
    } else if (resp_is_error(&reply->item)) {
        key_take_reply_error(b, key, reply);
    } else {
        return true;
    }
    return false;
}

static void batch_reply_done(struct batch *b) {
    if (--b->due == 0) fetch_batch_end(b);
}

static void batch_fail(struct batch *b, const struct err *err, size_t first, size_t n) {
    for (size_t i = first; i < first + n; i++) fetch_key_fail(&b->keys[i], err);
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
    if (key_has_reply(b, key, reply)) key_take_value(key, &reply->item, reply->block);
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
    bool good = key_has_reply(b, key, reply);
    if (good && reply->item.type == RESP_INTEGER) {
        key->expiry = reply->item.num;
        if (asks_number(b)) key->result = RESULT_VALUE;
    } else if (good && asks_number(b)) {
        key->result = RESULT_NULL;
    }
    batch_reply_done(b);
}

/* OBJECT REFCOUNT: of a shared integer INT_MAX (redis 7.0.15 src/server.h, OBJ_SHARED_REFCOUNT). */
static void on_refcount(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct fetch_key *key = &b->keys[(uintptr_t)arg];
    if (key_has_reply(b, key, reply))
        key->shared = reply->item.type != RESP_INTEGER || reply->item.num >= INT32_MAX;
    batch_reply_done(b);
}

static void on_groups(void *ctx, void *arg, const struct reply *reply) {
    struct batch *b = ctx;
    struct fetch_key *key = &b->keys[(uintptr_t)arg];
    if (key_has_reply(b, key, reply))
        key->groups = streams_fingerprint(&reply->item, reply->cursor);
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
        if (fetch_reads_part(b, e)) break;
        if ((e->flags & KEY_ALONE) || (!plan->can.source_spans_slots && e->slot != head->slot))
            break;
        n++;
    }
    return n;
}

static void send_strings(struct batch *b) {
    for (size_t i = 0; i < b->n;) {
        bool bounded = fetch_reads_part(b, b->keys[i].f.entry);
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
        fetch_batch_free(b);
    }
}
