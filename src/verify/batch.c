/* Many keys by one command; see compare_priv.h. Batches only prove that keys are equal: whatever is not as expected is
 * looked at again key by key, where it is judged.
 *
 *   strings   GETRANGE and PEXPIRETIME, key by key, on both sides
 *   extras    EXISTS on the source, of names that the target has
 *
 * GETRANGE bounds what one reply may bring, whatever the length of the value: the bound follows the lengths seen lately
 * (batch_bound), and the window follows the bound. What fills it is read by an exam, in pieces. Values are reduced to
 * digests as they arrive and none is kept.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "verify/compare_priv.h"

enum { EXISTS_BATCH = 200, STRING_BATCH = 100, FILLING_MAX = 64, STRING_SCORE_MAX = 64, WORDS_MAX = 64 };

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
    int db;
    unsigned due;
    uint64_t bound; /* bytes of a value that are asked for */
    size_t n;
    bool disturbed; /* no answer to some command: all are looked at by themselves */
    struct batch_key keys[STRING_BATCH];
};

/* The batch does not know why; the next look at the key does. */
static void look_alone(struct comparison *cmp, struct name *name) {
    name->alone = true;
    name_queue_push(&cmp->again, name);
}

static bool key_is_equal(const struct comparison *cmp, const struct batch_key *key, uint64_t bound) {
    const struct key_view *a = &key->view[SOURCE], *b = &key->view[TARGET];
    return a->string && b->string && a->len < bound && a->len == b->len && digest_equal(a->digest, b->digest) &&
           expiry_is_equal(cmp, a->expiry_ms, b->expiry_ms, a->expiry_error_ms + b->expiry_error_ms);
}

static void key_end(struct key_batch *b, struct batch_key *key) {
    struct comparison *cmp = b->cmp;
    bool string = key->view[SOURCE].string;
    int *score = &cmp->string_score;
    *score += string ? (*score < STRING_SCORE_MAX) : -(*score > 0);
    if (cmp->closing || !name_is_current(cmp, key->name)) {
        free(key->name);
    } else if (b->disturbed || !key_is_equal(cmp, key, b->bound)) {
        key->name->no_string = !b->disturbed && !string;
        look_alone(cmp, key->name);
    } else {
        compare_tally(cmp, key->name)->equal++;
        if (cmp->progress != NULL) cmp->progress->keys++;
        free(key->name);
    }
}

static void reply_done(struct key_batch *b) {
    if (--b->due > 0) return;
    b->cmp->n_exams -= b->n;
    for (size_t i = 0; i < b->n; i++) key_end(b, &b->keys[i]);
    free(b);
}

uint64_t batch_bound(const struct comparison *cmp) {
    uint64_t twice = 2 * cmp->look_bytes;
    return twice < BATCH_BOUND_MIN ? BATCH_BOUND_MIN : twice < BATCH_BOUND_MAX ? twice : BATCH_BOUND_MAX;
}

/* Rises at once, falls slowly. */
void compare_saw_length(struct comparison *cmp, uint64_t len) {
    cmp->look_bytes -= cmp->look_bytes / 1024;
    if (len > cmp->look_bytes) cmp->look_bytes = len;
}

static void on_value(void *ctx, void *arg, const struct reply *reply) {
    struct batch_key *key = arg;
    struct link *link = ctx;
    struct key_view *view = &key->view[link->side];
    if (reply->err != NULL || !resp_is_string(&reply->item)) return;
    struct bytes value = reply->item.str;
    view->string = true;
    view->len = value.len;
    view->digest = digest_of_string(value);
    compare_saw_length(link->cmp, value.len);
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
    view->expiry_ms = reply->item.num < 0 ? -1 : reply->item.num;
    if (link->cmp->side[link->side].no_pexpiretime && view->expiry_ms >= 0) {
        view->expiry_ms += link->server_ms;
        view->expiry_error_ms = link->clock_error_ms;
    }
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
    reply_done(b);
}

/* Value first, expiry second, as in a copy; both at once for a key, while it is in the server's processor cache. */
static void send_keys(struct key_batch *b, int side) {
    struct link *link = b->link[side];
    struct outq *out = client_out(link->client);
    bool left = b->cmp->side[side].no_pexpiretime;
    char text[WORDS_MAX], bound[WORDS_MAX];
    int bound_len = snprintf(text, sizeof(text), "%" PRIu64, b->bound - 1);
    int tail_len = snprintf(bound, sizeof(bound), "$1\r\n0\r\n$%d\r\n%s\r\n", bound_len, text);
    if (left) link_ask_clock(link);
    b->due++;
    for (size_t i = 0; i < b->n; i++) {
        struct bytes key = name_bytes(b->keys[i].name);
        bool last = i + 1 == b->n;
        resp_write_head(out, 4);
        resp_write_literal(out, "GETRANGE");
        resp_write_arg(out, key);
        outq_write(out, bound, (size_t)tail_len);
        client_end_command(link->client, on_value, link, &b->keys[i]);
        resp_write_head(out, 2);
        resp_write_arg(out, left ? BYTES_LITERAL("PTTL") : BYTES_LITERAL("PEXPIRETIME"));
        resp_write_arg(out, key);
        client_end_command(link->client, last ? on_last_expiry : on_expiry, link, last ? (void *)b : &b->keys[i]);
    }
}

static void batch_send(struct key_batch *b) {
    b->due = 1;
    b->bound = batch_bound(b->cmp);
    for (int side = 0; side < SIDES; side++) {
        struct client *client = b->link[side]->client;
        if (!client_is_ready(client)) {
            b->disturbed = true;
            continue;
        }
        client_select(client, side == TARGET ? compare_db(b->cmp, TARGET, b->keys[0].name) : b->db);
        send_keys(b, side);
    }
    reply_done(b);
}

void batches_flush(struct comparison *cmp) {
    while (cmp->filling != NULL) {
        struct key_batch *b = cmp->filling;
        cmp->filling = b->next;
        batch_send(b);
    }
}

/* The batch that goes where this name goes; NULL when there is none yet. */
static struct key_batch **find_filling(struct comparison *cmp, struct link *const link[SIDES], int db) {
    struct key_batch **at = &cmp->filling;
    size_t n = 0;
    for (; *at != NULL; at = &(*at)->next, n++)
        if ((*at)->link[SOURCE] == link[SOURCE] && (*at)->link[TARGET] == link[TARGET] && (*at)->db == db) return at;
    if (n < FILLING_MAX) return at;
    batches_flush(cmp);
    return &cmp->filling;
}

static bool may_be_batched(const struct comparison *cmp, const struct name *name) {
    const struct compare_settings *s = cmp->settings;
    return (s->mode == COMPARE_FULL || cmp->no_scripts) && cmp->string_score >= STRING_LIKELY &&
           s->mem_limit_bytes == 0 && s->filter->n_types == 0 && !name->backward && !name->alone && !name->suspect;
}

bool string_batch_take(struct comparison *cmp, struct name *name) {
    struct link *link[SIDES];
    if (!may_be_batched(cmp, name)) return false;
    for (int side = 0; side < SIDES; side++) {
        link[side] = link_route(cmp, side, name);
        if (link[side] == NULL || !client_is_ready(link[side]->client)) return false;
    }
    struct key_batch **at = find_filling(cmp, link, name->db);
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
    b->keys[b->n++] = (struct batch_key){ .name = name, .view = { { .expiry_ms = -1 }, { .expiry_ms = -1 } } };
    cmp->n_exams++;
    if (b->n == STRING_BATCH) {
        *at = b->next;
        batch_send(b);
    }
    return true;
}

/* ---- do they exist on the source? ---- */

struct exists_batch {
    struct comparison *cmp;
    struct name_queue names;
};

/* All of them exist, which is the rule; else each is looked at by itself. */
static void on_exists(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exists_batch *batch = arg;
    struct comparison *cmp = batch->cmp;
    bool counted = reply->err == NULL && reply->item.type == RESP_INTEGER;
    bool all = counted && (size_t)reply->item.num == batch->names.n;
    if (counted) link_answered(link);
    cmp->n_exams -= batch->names.n;
    while (batch->names.head != NULL) {
        struct name *name = name_queue_pop(&batch->names);
        if (!all && !cmp->closing) {
            look_alone(cmp, name);
            continue;
        }
        if (cmp->progress != NULL) cmp->progress->keys++;
        free(name);
    }
    free(batch);
}

size_t exists_batch_start(struct comparison *cmp, struct name_queue *from, size_t at_most) {
    struct name *first = from->head;
    if (deployment_is_cluster(cmp->side[SOURCE].deployment) || !first->backward || first->alone) return 0;
    struct link *link = link_route(cmp, SOURCE, first);
    if (link == NULL || !client_is_ready(link->client)) return 0;
    struct exists_batch *batch = mem_zalloc(sizeof(*batch));
    struct bytes words[EXISTS_BATCH + 1] = { BYTES_LITERAL("EXISTS") };
    size_t allowed = keys_of_one_command(cmp, EXISTS_BATCH), most = at_most < allowed ? at_most : allowed;
    int db = compare_db(cmp, SOURCE, first);
    batch->cmp = cmp;
    while (from->head != NULL && from->head->backward && from->head->db == db && batch->names.n < most) {
        struct name *name = name_queue_pop(from);
        name_queue_push(&batch->names, name);
        words[batch->names.n] = name_bytes(name);
    }
    cmp->n_exams += batch->names.n;
    client_select(link->client, db);
    client_command(link->client, on_exists, link, batch, batch->names.n + 1, words);
    return batch->names.n;
}
