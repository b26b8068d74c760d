/* compare --digest: the servers themselves make a digest of many keys, and values are read only
 * where digests differ.
 *
 *   100 names ─▶ digest.lua on both sides ─▶ one digest each: equal, all 100 are equal
 *                                               │ differ
 *                                               └▶ again, a digest per key: equal, or checked
 *
 *   names of the source, added up while they are scanned  =  the sum that names.lua makes of the
 *   target's names: no key is extra. Otherwise the target is scanned as without --digest.
 *
 * Digests only prove equality. They are SHA1, cut to 128 bits, with a salt drawn for the run.
 *
 * Expiry within the tolerance must not make a batch differ, so it is told apart from the values: as
 * a character per key, its position in steps of half the tolerance on a ring of RING steps, and as
 * digests of all expiries in units of half the ring, at two roundings. One of these two being equal
 * proves that no expiry is off by half the ring or more; then the characters, one step apart at
 * most, prove that none is off by more than the tolerance. A clock that is a few milliseconds off
 * moves a character by one step at most, and rarely both digests.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "verify/compare_priv.h"
#include "verify/script.h"

enum { REMOTE_BATCH = 100, KEY_HEX = 32, NUMBER_MAX = 24, NAMES_PAGE = 250 };

struct answer {
    char *text; /* all parts, owned; NULL: none came */
    /* expiries: a number per key, or a character per key; see digest.lua */
    struct bytes digests, near, far, left, expiries;
};

/* As in digest.lua. */
enum { RING = 92, NO_EXPIRY = '!' };

/* Expiry is told in steps of so many milliseconds; two expiries may be `reach` steps apart. */
struct expiry_grid {
    int64_t step_ms;
    int reach;
};

struct remote_batch {
    struct remote_batch *next;
    struct comparison *cmp;
    struct link *link[SIDES];
    int db;
    unsigned due;
    bool each;      /* a digest per key is asked for */
    bool disturbed; /* some side gave no answer: the keys are checked without digests */
    size_t n;
    struct name *names[REMOTE_BATCH];
    struct answer answer[SIDES];
};

void digest_batches_init(struct comparison *cmp) {
    uint64_t random[2];
    cmp->digest_keys = REMOTE_BATCH;
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random[0] = (uint64_t)clock_wall_us();
    snprintf(cmp->salt, sizeof(cmp->salt), "%016" PRIx64, random[0]);
}

/* ---- answers ---- */

static void answer_release(struct answer *a) {
    free(a->text);
    *a = (struct answer){ 0 };
}

static bool answer_take(struct answer *a, const struct reply *reply) {
    struct bytes *const parts[] = { &a->digests, &a->near, &a->far, &a->left, &a->expiries };
    struct resp_cursor c = reply->cursor;
    struct resp_item item;
    size_t at = 0;
    a->text = mem_alloc(reply->raw.len + 1);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!resp_next(&c, &item) || !resp_is_string(&item)) return false;
        memcpy(a->text + at, item.str.ptr, item.str.len);
        *parts[i] = bytes_of(a->text + at, item.str.len);
        at += item.str.len;
    }
    return true;
}

/* ---- ends ---- */

static void digest_key_equal(struct comparison *cmp, struct name *name) {
    if (name_is_current(cmp, name)) {
        comparison_tally(cmp, name)->equal++;
        if (cmp->progress != NULL) cmp->progress->keys++;
    }
    free(name);
}

static void digest_key_alone(struct comparison *cmp, struct name *name) {
    if (cmp->state == RUN_CLOSING) {
        free(name);
        return;
    }
    name->alone = true;
    name_queue_push(&cmp->retries, name);
}

/* The state of each key in an answer, beside its digest. */
enum mark { MARK_DONE, MARK_LEFT, MARK_CUT };

static void mark_left(struct bytes left, enum mark marks[REMOTE_BATCH]) {
    int64_t number;
    for (size_t i = 0; i < REMOTE_BATCH; i++) marks[i] = MARK_DONE;
    while (left.len > 0) {
        struct bytes word = bytes_split(&left, ',');
        bool cut = word.len > 0 && word.ptr[word.len - 1] == '+';
        if (cut) word.len--;
        if (!bytes_to_i64(word, &number) || number < 1 || number > REMOTE_BATCH) continue;
        marks[number - 1] = MARK_LEFT;
        for (size_t i = (size_t)number - 1; cut && i < REMOTE_BATCH; i++) marks[i] = MARK_CUT;
    }
}

/* The script had enough before it came to this key: it goes into another, smaller batch. */
static void digest_key_later(struct remote_batch *b, size_t i) {
    struct comparison *cmp = b->cmp;
    if (i > 0 && cmp->digest_keys > i) cmp->digest_keys = i;
    name_queue_push(&cmp->fresh, b->names[i]);
}

/* One side's answers per key, taken one after another. */
struct walk {
    enum mark marks[REMOTE_BATCH];
    struct bytes digests, expiries, digest;
    int64_t expiry_ms;
};

static bool walk_next(struct walk *w, size_t i) {
    if (w->marks[i] != MARK_DONE || w->digests.len < KEY_HEX) return false;
    w->digest = bytes_of(w->digests.ptr, KEY_HEX);
    w->digests = bytes_of(w->digests.ptr + KEY_HEX, w->digests.len - KEY_HEX);
    return bytes_to_i64(bytes_split(&w->expiries, ','), &w->expiry_ms);
}

static void end_each(struct remote_batch *b) {
    struct walk walk[SIDES];
    for (int side = 0; side < SIDES; side++) {
        walk[side].digests = b->answer[side].digests;
        walk[side].expiries = b->answer[side].expiries;
        mark_left(b->answer[side].left, walk[side].marks);
    }
    for (size_t i = 0; i < b->n; i++) {
        bool a = walk_next(&walk[SOURCE], i), c = walk_next(&walk[TARGET], i);
        bool equal = a && c && bytes_equal(walk[SOURCE].digest, walk[TARGET].digest) &&
                     expiry_is_equal(b->cmp, walk[SOURCE].expiry_ms, walk[TARGET].expiry_ms, 0);
        if (equal) {
            digest_key_equal(b->cmp, b->names[i]);
        } else if (walk[SOURCE].marks[i] == MARK_CUT || walk[TARGET].marks[i] == MARK_CUT) {
            digest_key_later(b, i);
        } else {
            digest_key_alone(b->cmp, b->names[i]);
        }
    }
}

static struct expiry_grid grid_of(const struct comparison *cmp) {
    int64_t tolerance_ms = cmp->settings->ttl_tolerance_ms;
    if (tolerance_ms <= 0) return (struct expiry_grid){ .step_ms = 1, .reach = 0 };
    return (struct expiry_grid){ .step_ms = (tolerance_ms + 1) / 2, .reach = 1 };
}

/* Are all positions on the ring as close as the grid allows? */
static bool positions_are_close(struct bytes a, struct bytes b, int reach) {
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) {
        int apart = abs(a.ptr[i] - b.ptr[i]);
        if ((a.ptr[i] == NO_EXPIRY) != (b.ptr[i] == NO_EXPIRY)) return false;
        if (apart > reach && RING - apart > reach) return false;
    }
    return true;
}

static bool batch_is_equal(const struct remote_batch *b) {
    const struct answer *s = &b->answer[SOURCE], *t = &b->answer[TARGET];
    return bytes_equal(s->digests, t->digests) && bytes_equal(s->left, t->left) &&
           (bytes_equal(s->near, t->near) || bytes_equal(s->far, t->far)) &&
           positions_are_close(s->expiries, t->expiries, grid_of(b->cmp).reach);
}

static void end_equal(struct remote_batch *b) {
    enum mark marks[REMOTE_BATCH];
    mark_left(b->answer[SOURCE].left, marks);
    if (b->answer[SOURCE].left.len == 0 && b->cmp->digest_keys < REMOTE_BATCH)
        b->cmp->digest_keys++;
    for (size_t i = 0; i < b->n; i++) {
        if (marks[i] == MARK_DONE)
            digest_key_equal(b->cmp, b->names[i]);
        else if (marks[i] == MARK_CUT)
            digest_key_later(b, i);
        else
            digest_key_alone(b->cmp, b->names[i]);
    }
}

static void digest_batch_send(struct remote_batch *b);

static void digest_batch_end(struct remote_batch *b) {
    struct comparison *cmp = b->cmp;
    bool again = !b->disturbed && !b->each && cmp->state != RUN_CLOSING && !batch_is_equal(b);
    if (again) {
        b->each = true;
        digest_batch_send(b);
        return;
    }
    cmp->checks.n -= b->n;
    if (b->disturbed || cmp->state == RUN_CLOSING) {
        for (size_t i = 0; i < b->n; i++) digest_key_alone(cmp, b->names[i]);
    } else if (b->each) {
        end_each(b);
    } else {
        end_equal(b);
    }
    for (int side = 0; side < SIDES; side++) answer_release(&b->answer[side]);
    free(b);
}

static void digest_batch_reply_done(struct remote_batch *b) {
    if (--b->due == 0) digest_batch_end(b);
}

/* ---- asking ---- */

static void digest_batch_ask(struct remote_batch *b, int side);

/* Anything that does not pass by itself means that scripts are not to be had there. */
static void digest_batch_refused(struct remote_batch *b, struct link *link,
                                 const struct reply *reply) {
    struct comparison *cmp = b->cmp;
    struct err err;
    client_reply_error(link->client, &reply->item, &err);
    b->disturbed = true;
    bool passes =
        err_class_of(err.code) != ERR_CLASS_KEY && err_class_of(err.code) != ERR_CLASS_STOP;
    if (passes || (err.code == ERR_NOPERM && refusal_is_about_key(reply->item.str)) ||
        cmp->scripts_refused)
        return;
    if (memmem(reply->item.str.ptr, reply->item.str.len, "non local key", 13) != NULL) {
        sight_want(cmp->side[link->side].sight); /* a slot has moved, or is being moved */
        return;
    }
    cmp->scripts_refused = true;
    log_warn(err.place, "%s; without scripts values are read and compared here", err.text);
}

static void on_answer(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct remote_batch *b = arg;
    if (reply->err != NULL) {
        b->disturbed = true;
    } else if (resp_is_error(&reply->item)) {
        bool lost = bytes_has_prefix(reply->item.str, "NOSCRIPT") && b->cmp->state != RUN_CLOSING &&
                    client_is_ready(link->client);
        if (lost) {
            link->knows_digest_script = false;
            digest_batch_ask(b, link->side);
        } else {
            digest_batch_refused(b, link, reply);
        }
    } else {
        link_answered(link);
        if (!answer_take(&b->answer[link->side], reply)) b->disturbed = true;
    }
    digest_batch_reply_done(b);
}

/* In a cluster the keys that a script declares must be of one slot; those that it reads without
 * having declared them need only be on its node. So do all servers from 6.0 on, and later ones for
 * scripts without a shebang line. */
static bool must_declare(const struct comparison *cmp, int side) {
    return !deployment_is_cluster(cmp->side[side].deployment);
}

static void write_names(struct outq *out, const struct remote_batch *b) {
    for (size_t i = 0; i < b->n; i++) resp_write_arg(out, name_bytes(b->names[i]));
}

static void digest_batch_ask(struct remote_batch *b, int side) {
    struct comparison *cmp = b->cmp;
    struct link *link = b->link[side];
    const struct compare_settings *s = cmp->settings;
    bool fields = cmp->side[SOURCE].has_field_expiry || cmp->side[TARGET].has_field_expiry;
    struct outq *out = client_out(link->client);
    client_select(link->client, comparison_db(cmp, side, b->db));
    bool declared = must_declare(cmp, side);
    script_begin(out, SCRIPT_DIGEST, !link->knows_digest_script, declared ? b->n : 0, b->n + 5);
    link->knows_digest_script = true;
    if (declared) write_names(out, b);
    resp_write_arg(out, bytes_of_str(cmp->salt));
    resp_write_arg_i64(out, grid_of(cmp).step_ms);
    resp_write_arg_i64(out, b->each);
    resp_write_arg_i64(out, fields && cmp->side[side].has_field_expiry);
    resp_write_arg_i64(out, s->no_ttl);
    if (!declared) write_names(out, b);
    b->due++;
    client_end_command(link->client, on_answer, link, b);
}

static void digest_batch_send(struct remote_batch *b) {
    b->due = 1;
    for (int side = 0; side < SIDES; side++) {
        answer_release(&b->answer[side]);
        if (client_is_ready(b->link[side]->client)) {
            digest_batch_ask(b, side);
        } else {
            b->disturbed = true;
        }
    }
    digest_batch_reply_done(b);
}

/* ---- filling ---- */

void digest_batches_flush(struct comparison *cmp) {
    while (cmp->digests != NULL) {
        struct remote_batch *b = cmp->digests;
        cmp->digests = b->next;
        digest_batch_send(b);
    }
}

static struct remote_batch **digest_batch_find(struct comparison *cmp,
                                               struct link *const link[SIDES],
                                               const struct name *name) {
    struct remote_batch **at = &cmp->digests;
    size_t n = 0;
    for (; *at != NULL; at = &(*at)->next, n++)
        if ((*at)->link[SOURCE] == link[SOURCE] && (*at)->link[TARGET] == link[TARGET] &&
            (*at)->db == name->db)
            return at;
    if (n < BATCHES_FILLING_MAX) return at;
    digest_batches_flush(cmp);
    return &cmp->digests;
}

bool digest_batch_take(struct comparison *cmp, struct name *name) {
    const struct compare_settings *s = cmp->settings;
    struct link *link[SIDES];
    if (s->mode != COMPARE_DIGEST || cmp->scripts_refused || s->mem_limit_bytes > 0 ||
        s->filter->n_types > 0)
        return false;
    if (name->backward || name->alone || name->suspect) return false;
    if (name->ask[SOURCE] != NULL || name->ask[TARGET] != NULL) return false;
    if (!link_route_both(cmp, name, link)) return false;
    struct remote_batch **at = digest_batch_find(cmp, link, name), *b = *at;
    if (b == NULL) {
        b = *at = mem_zalloc(sizeof(*b));
        b->cmp = cmp;
        b->db = name->db;
        memcpy(b->link, link, sizeof(b->link));
    }
    b->names[b->n++] = name;
    cmp->checks.n++;
    if (b->n >= cmp->digest_keys) {
        *at = b->next;
        digest_batch_send(b);
    }
    return true;
}

/* ---- are there extra keys? ---- */

/* Only where every name counts. */
bool digest_sums_names(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    return s->mode == COMPARE_DIGEST && s->both_directions && filter_wants_all(s->filter) &&
           s->sample == 0 && s->names == NULL;
}

/* Names count with their database. */
static struct bytes salt_of_db(const struct comparison *cmp, size_t db_at, char *out, size_t size) {
    snprintf(out, size, "%s %zu ", cmp->salt, db_at);
    return bytes_of_str(out);
}

void digest_add_name(struct comparison *cmp, struct bytes name) {
    char salt[sizeof(cmp->salt) + NUMBER_MAX];
    if (key_is_own(name)) return;
    name_sum_add(&cmp->extras.sum[SOURCE], salt_of_db(cmp, cmp->passes.db_at, salt, sizeof(salt)),
                 name);
}

static void digest_ask_page(struct comparison *cmp);

static void digest_sums_end(struct comparison *cmp) {
    const struct name_sum *a = &cmp->extras.sum[SOURCE], *b = &cmp->extras.sum[TARGET];
    bool equal = a->n == b->n && a->low == b->low && a->high == b->high;
    cmp->extras.sums = equal ? SUMS_EQUAL : SUMS_DIFFER;
    if (equal) cmp->result->target_keys = b->n;
}

static bool digest_take_page(struct comparison *cmp, const struct reply *reply) {
    struct extras *extras = &cmp->extras;
    struct resp_cursor c = reply->cursor;
    struct resp_item cursor, n, low, high;
    int64_t a, b;
    if (!resp_next(&c, &cursor) || !resp_next(&c, &n) || !resp_next(&c, &low) ||
        !resp_next(&c, &high))
        return false;
    if (cursor.str.len >= sizeof(extras->cursor) || !bytes_to_i64(low.str, &a) ||
        !bytes_to_i64(high.str, &b))
        return false;
    memcpy(extras->cursor, cursor.str.ptr, cursor.str.len);
    extras->cursor[cursor.str.len] = '\0';
    name_sum_add_page(&extras->sum[TARGET], (uint64_t)n.num, (uint64_t)a, (uint64_t)b);
    if (cmp->progress != NULL) cmp->progress->keys += (uint64_t)n.num;
    return true;
}

/* The next primary of the target, and after the last one the next database. */
static bool digest_next_node(struct comparison *cmp) {
    const struct topology *t = cmp->side[TARGET].topology;
    struct extras *extras = &cmp->extras;
    for (extras->node++; extras->node < t->n_nodes; extras->node++)
        if (topology_is_primary(t, extras->node)) return true;
    extras->node = -1;
    return ++extras->db_at < cmp->settings->n_dbs && digest_next_node(cmp);
}

/* After any trouble the target is scanned in the plain way. */
static void on_page(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct comparison *cmp = link->cmp;
    if (!comparison_goes_on(cmp) || cmp->extras.sums != SUMS_ASKED) return;
    if (reply->err != NULL || resp_is_error(&reply->item) || !digest_take_page(cmp, reply)) {
        extras_spoil(cmp);
    } else if (strcmp(cmp->extras.cursor, "0") != 0 || digest_next_node(cmp)) {
        digest_ask_page(cmp);
    } else {
        digest_sums_end(cmp);
    }
}

static void digest_ask_page(struct comparison *cmp) {
    const struct extras *extras = &cmp->extras;
    struct link *link = cmp->side[TARGET].of_node[extras->node];
    char salt[sizeof(cmp->salt) + NUMBER_MAX];
    if (link == NULL || !client_is_ready(link->client)) {
        extras_spoil(cmp);
        return;
    }
    client_select(link->client, comparison_db(cmp, TARGET, cmp->settings->dbs[extras->db_at]));
    struct outq *out = client_out(link->client);
    script_begin(out, SCRIPT_NAMES, !link->knows_names_script, 0, 3);
    link->knows_names_script = true;
    resp_write_arg(out, bytes_of_str(extras->cursor));
    resp_write_arg_i64(out, NAMES_PAGE);
    resp_write_arg(out, salt_of_db(cmp, extras->db_at, salt, sizeof(salt)));
    client_end_command(link->client, on_page, link, NULL);
}

void digest_sums_start(struct comparison *cmp) {
    cmp->extras.sums = SUMS_ASKED;
    cmp->extras.node = -1;
    strcpy(cmp->extras.cursor, "0");
    if (digest_next_node(cmp)) {
        digest_ask_page(cmp);
    } else {
        extras_spoil(cmp);
    }
}
