/* Many keys by one command; see compare_priv.h. Batches only prove that keys are equal: a key with
 * any other reply is checked by itself, where it is judged.
 *
 *   strings   GETRANGE and PEXPIRETIME, key by key, on both sides; MGET while that is safe
 *   extras    EXISTS on the source, of names that the target has
 *
 * GETRANGE bounds the length of a reply: the bound follows the lengths seen lately, and the window
 * follows the bound. A string that fills the bound is read by a check, in pieces. Values are
 * reduced to digests as they arrive and none is kept.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "verify/compare_priv.h"

enum { EXISTS_BATCH = 200, STRING_BATCH = 100, WORDS_MAX = 64 };

/* --max-args counts the command's name too. */
static size_t keys_of_one_command(const struct comparison *cmp, size_t usual) {
    size_t allowed = cmp->settings->max_args;
    return allowed == 0 || allowed > usual ? usual : allowed - 1;
}

/* ---- strings ---- */

struct key_view {
    bool string;
    uint64_t len;
    struct digest digest;
    int64_t expiry_ms, expiry_error_ms;
};

struct batch_key {
    struct name *name;
    struct key_view view[SIDES];
};

struct key_batch {
    struct key_batch *next; /* of those that are being filled */
    struct comparison *cmp;
    struct link *link[SIDES];
    struct client *client[SIDES]; /* of the links; set when it is sent */
    int db;
    unsigned due;
    uint64_t bound; /* bytes of a value that are asked for */
    size_t n;
    bool disturbed; /* no answer to some command: all keys are checked by themselves */
    struct batch_key keys[STRING_BATCH];
};

/* The key is checked by itself. */
static void batch_leave(struct comparison *cmp, struct name *name) {
    name->alone = true;
    name_queue_push(&cmp->retries, name);
}

static bool batch_key_is_equal(const struct comparison *cmp, const struct batch_key *key,
                               uint64_t bound) {
    const struct key_view *a = &key->view[SOURCE], *b = &key->view[TARGET];
    return a->string && b->string && a->len < bound && a->len == b->len &&
           digest_equal(a->digest, b->digest) &&
           expiry_is_equal(cmp, a->expiry_ms, b->expiry_ms,
                           a->expiry_error_ms + b->expiry_error_ms);
}

static void batch_key_end(struct key_batch *b, struct batch_key *key) {
    struct comparison *cmp = b->cmp;
    bool string = key->view[SOURCE].string;
    estimate_saw_type(&cmp->estimate, string);
    if (cmp->state == RUN_CLOSING || !name_is_current(cmp, key->name)) {
        free(key->name);
    } else if (b->disturbed || !batch_key_is_equal(cmp, key, b->bound)) {
        key->name->no_string = !b->disturbed && !string;
        batch_leave(cmp, key->name);
    } else {
        cmp->estimate.trust.small++;
        comparison_tally(cmp, key->name)->equal++;
        if (cmp->progress != NULL) cmp->progress->keys++;
        free(key->name);
    }
}

static void string_batch_reply_done(struct key_batch *b) {
    if (--b->due > 0) return;
    struct window *pace = &b->cmp->pace;
    b->cmp->checks.n -= b->n;
    for (size_t i = 0; i < b->n; i++) {
        window_done(pace, i + 1 == b->n ? b : NULL);
        batch_key_end(b, &b->keys[i]);
    }
    free(b);
}

uint64_t string_batch_bound(const struct comparison *cmp) {
    uint64_t twice = 2 * cmp->estimate.length;
    if (twice < BATCH_BOUND_MIN) return BATCH_BOUND_MIN;
    return twice < BATCH_BOUND_MAX ? twice : BATCH_BOUND_MAX;
}

static void batch_take_value(struct link *link, struct batch_key *key,
                             const struct resp_item *item) {
    struct key_view *view = &key->view[link->side];
    if (!resp_is_string(item)) return;
    view->string = true;
    view->len = item->str.len;
    view->digest = digest_of_string(item->str);
    estimate_saw_string(&link->cmp->estimate, item->str.len);
}

static void on_value(void *ctx, void *arg, const struct reply *reply) {
    if (reply->err == NULL) batch_take_value(ctx, arg, &reply->item);
}

static void on_values(void *ctx, void *arg, const struct reply *reply) {
    struct key_batch *b = arg;
    /* One key that the user may not read refuses all: that is no news about the others. */
    if (reply->err != NULL || reply->item.type != RESP_ARRAY) {
        b->disturbed = b->cmp->estimate.trust.surprised = true;
        return;
    }
    struct resp_cursor c = reply->cursor;
    struct resp_item item;
    for (size_t i = 0; i < b->n && resp_next(&c, &item); i++)
        batch_take_value(ctx, &b->keys[i], &item);
}

static void on_expiry(void *ctx, void *arg, const struct reply *reply) {
    struct batch_key *key = arg;
    struct link *link = ctx;
    struct key_view *view = &key->view[link->side];
    /* A key that is missing reads as an empty string. */
    if (reply->err != NULL || reply->item.type != RESP_INTEGER || reply->item.num == -2) {
        view->string = false;
        return;
    }
    view->expiry_ms = link_expiry_ms(link, reply->item.num, &view->expiry_error_ms);
}

/* The last command of a batch on a connection: all before it have been answered. */
static void on_last_expiry(void *ctx, void *arg, const struct reply *reply) {
    struct key_batch *b = arg;
    struct link *link = ctx;
    on_expiry(ctx, &b->keys[b->n - 1], reply);
    if (reply->err != NULL) {
        b->disturbed = true;
    } else if (!resp_is_error(&reply->item)) {
        link_answered(link);
    }
    string_batch_reply_done(b);
}

/* ---- sending ---- */

/* "GETRANGE key 0 bound" as it is on the wire, without the key. */
struct getrange {
    char after[WORDS_MAX];
    size_t after_len;
};

static struct getrange getrange_to(uint64_t bound) {
    struct getrange g;
    char text[WORDS_MAX / 2];
    int len = snprintf(text, sizeof(text), "%" PRIu64, bound - 1);
    g.after_len = (size_t)snprintf(g.after, sizeof(g.after), "$1\r\n0\r\n$%d\r\n%s\r\n", len, text);
    return g;
}

static void batch_send_getrange(struct key_batch *b, int side, size_t i, const struct getrange *g) {
    struct client *client = b->client[side];
    struct bytes key = name_bytes(b->keys[i].name);
    char *at = outq_reserve(client_out(client), RESP_ARG_ROOM(key.len) + 2 * WORDS_MAX), *p = at;
    p = resp_put_arg(resp_put_encoded(p, "*4\r\n$8\r\nGETRANGE\r\n"), key);
    p = resp_put(p, g->after, g->after_len);
    outq_commit(client_out(client), (size_t)(p - at));
    client_end_command(client, on_value, b->link[side], &b->keys[i]);
}

static void batch_send_expiry(struct key_batch *b, int side, size_t i) {
    struct client *client = b->client[side];
    struct bytes key = name_bytes(b->keys[i].name);
    bool last = i + 1 == b->n, left = b->cmp->side[side].no_pexpiretime;
    char *at = outq_reserve(client_out(client), RESP_ARG_ROOM(key.len) + WORDS_MAX), *p = at;
    p = left ? resp_put_encoded(p, "*2\r\n$4\r\nPTTL\r\n")
             : resp_put_encoded(p, "*2\r\n$11\r\nPEXPIRETIME\r\n");
    p = resp_put_arg(p, key);
    outq_commit(client_out(client), (size_t)(p - at));
    client_end_command(client, last ? on_last_expiry : on_expiry, b->link[side],
                       last ? (void *)b : (void *)&b->keys[i]);
}

static void batch_send_mget(struct key_batch *b, int side) {
    struct outq *out = client_out(b->client[side]);
    resp_write_head(out, b->n + 1);
    resp_write_literal(out, "MGET");
    for (size_t i = 0; i < b->n; i++) resp_write_arg(out, name_bytes(b->keys[i].name));
    client_end_command(b->client[side], on_values, b->link[side], b);
}

/* Value first, expiry second, as in a copy; by GETRANGE both at once for a key, while it is in the
 * server's cache. */
static void send_keys(struct key_batch *b, int side) {
    struct getrange g = getrange_to(b->bound);
    bool at_once = b->client[side] != b->link[side]->client;
    if (b->cmp->side[side].no_pexpiretime) link_ask_clock(b->link[side]);
    b->due++;
    if (at_once) batch_send_mget(b, side);
    for (size_t i = 0; i < b->n; i++) {
        if (!at_once) batch_send_getrange(b, side, i, &g);
        batch_send_expiry(b, side, i);
    }
}

/* The bounded connection where strings have been small so far. */
static struct client *batch_client(const struct key_batch *b, int side) {
    const struct comparison *cmp = b->cmp;
    struct client *usual = b->link[side]->client;
    if (!bounded_is_earned(&cmp->estimate.trust, cmp->estimate.length * cmp->pace.keys))
        return usual;
    if (b->n >= keys_of_one_command(cmp, STRING_BATCH + 1)) return usual;
    struct client *bounded = bounded_client(b->link[side]->bounded, client_run_id(usual));
    return bounded != NULL ? bounded : usual;
}

static void string_batch_send(struct key_batch *b) {
    b->due = 1;
    b->bound = string_batch_bound(b->cmp);
    window_take(&b->cmp->pace, b);
    for (int side = 0; side < SIDES; side++) {
        if (!client_is_ready(b->link[side]->client)) {
            b->disturbed = true;
            continue;
        }
        b->client[side] = batch_client(b, side);
        client_select(b->client[side], comparison_db(b->cmp, side, b->db));
        send_keys(b, side);
    }
    string_batch_reply_done(b);
}

void string_batches_flush(struct comparison *cmp) {
    while (cmp->strings != NULL) {
        struct key_batch *b = cmp->strings;
        cmp->strings = b->next;
        string_batch_send(b);
    }
}

/* The batch that goes where this name goes; NULL when there is none yet. */
static struct key_batch **string_batch_find(struct comparison *cmp, struct link *const link[SIDES],
                                            int db) {
    struct key_batch **at = &cmp->strings;
    size_t n = 0;
    for (; *at != NULL; at = &(*at)->next, n++)
        if ((*at)->link[SOURCE] == link[SOURCE] && (*at)->link[TARGET] == link[TARGET] &&
            (*at)->db == db)
            return at;
    if (n < BATCHES_FILLING_MAX) return at;
    string_batches_flush(cmp);
    return &cmp->strings;
}

bool string_batches_are_likely(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    return (s->mode == COMPARE_FULL || cmp->scripts_refused) &&
           cmp->estimate.string_score >= STRING_SCORE_LIKELY && s->mem_limit_bytes == 0 &&
           s->filter->n_types == 0 && !cmp->passes.backward;
}

static bool may_be_batched(const struct comparison *cmp, const struct name *name) {
    return string_batches_are_likely(cmp) && !name->backward && !name->alone && !name->suspect;
}

bool string_batch_take(struct comparison *cmp, struct name *name) {
    struct link *link[SIDES];
    if (!may_be_batched(cmp, name) || !link_route_both(cmp, name, link)) return false;
    struct key_batch **at = string_batch_find(cmp, link, name->db);
    struct key_batch *b = *at;
    if (b == NULL) {
        b = *at = mem_alloc(sizeof(*b));
        b->next = NULL;
        b->cmp = cmp;
        b->db = name->db;
        b->n = 0;
        b->disturbed = false;
        memcpy(b->link, link, sizeof(b->link));
    }
    b->keys[b->n++] =
        (struct batch_key){ .name = name, .view = { { .expiry_ms = -1 }, { .expiry_ms = -1 } } };
    cmp->checks.n++;
    if (b->n == STRING_BATCH) {
        *at = b->next;
        string_batch_send(b);
    }
    return true;
}

/* ---- do they exist on the source? ---- */

struct exists_batch {
    struct comparison *cmp;
    struct name_queue names;
};

/* As a rule all of them exist; otherwise each is checked by itself. */
static void on_exists(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exists_batch *batch = arg;
    struct comparison *cmp = batch->cmp;
    bool counted = reply->err == NULL && reply->item.type == RESP_INTEGER;
    bool all = counted && (size_t)reply->item.num == batch->names.n;
    if (counted) link_answered(link);
    cmp->checks.n -= batch->names.n;
    while (batch->names.head != NULL) {
        struct name *name = name_queue_pop(&batch->names);
        if (!all && cmp->state != RUN_CLOSING) {
            batch_leave(cmp, name);
            continue;
        }
        if (cmp->progress != NULL) cmp->progress->keys++;
        free(name);
    }
    free(batch);
}

size_t exists_batch_start(struct comparison *cmp, struct name_queue *from, size_t at_most) {
    struct name *first = from->head;
    if (deployment_is_cluster(cmp->side[SOURCE].deployment) || !first->backward || first->alone)
        return 0;
    if (scan_filters_type(cmp, SOURCE)) return 0; /* its type counts too */
    struct link *link = link_route(cmp, SOURCE, first);
    if (link == NULL || !client_is_ready(link->client)) return 0;
    struct exists_batch *batch = mem_zalloc(sizeof(*batch));
    struct bytes words[EXISTS_BATCH + 1] = { BYTES_LITERAL("EXISTS") };
    size_t allowed = keys_of_one_command(cmp, EXISTS_BATCH),
           most = at_most < allowed ? at_most : allowed;
    int db = first->db;
    batch->cmp = cmp;
    while (from->head != NULL && from->head->backward && from->head->db == db &&
           batch->names.n < most) {
        struct name *name = name_queue_pop(from);
        name_queue_push(&batch->names, name);
        words[batch->names.n] = name_bytes(name);
    }
    cmp->checks.n += batch->names.n;
    client_select(link->client, db);
    client_command(link->client, on_exists, link, batch, batch->names.n + 1, words);
    return batch->names.n;
}
