/* compare --digest: the servers themselves make a digest of many keys, and only what differs is
 * looked at here.
 *
 *   100 names ─▶ digest.lua on both sides ─▶ one digest each: equal, all 100 are equal
 *                                               │ differ
 *                                               └▶ again, a digest per key ─▶ equal keys; the rest is looked at alone
 *
 *   names of the source, added up while they are scanned   =   the sum that names.lua makes of the target's names:
 *   nothing is extra. Otherwise the target is scanned as without --digest.
 *
 * Digests only prove equality. They are SHA1, cut to 128 bits, with a salt drawn for the run.
 *
 * Expiry within the tolerance must not make a batch differ, so it is told apart from the values: as
 * a character per key, which is its position in steps of half the tolerance on a ring of RING steps,
 * and as digests of all expiries in units of half the ring, at two roundings. One of these two being
 * equal proves that no expiry is off by half the ring or more; then the characters, one step apart at
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

enum { REMOTE_BATCH = 100, KEY_HEX = 32, NUMBER_MAX = 24, FILLING_MAX = 64, NAMES_PAGE = 250 };

struct answer {
    char *text; /* all parts, owned; NULL: none came */
    /* expiries: a number per key, or a character per key; see digest.lua */
    struct bytes digests, near, far, left, expiries;
};

/* As in digest.lua. */
enum { RING = 92, NO_EXPIRY = '!' };

/* How expiry is told: steps of so many milliseconds, and how many of them apart two expiries may be.
 */
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
    bool disturbed; /* looked at without digests */
    size_t n;
    struct name *names[REMOTE_BATCH];
    struct answer answer[SIDES];
};

void remote_init(struct comparison *cmp) {
    uint64_t random[2];
    cmp->remote_keys = REMOTE_BATCH;
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

static void key_equal(struct comparison *cmp, struct name *name) {
    if (name_is_current(cmp, name)) {
        compare_tally(cmp, name)->equal++;
        if (cmp->progress != NULL) cmp->progress->keys++;
    }
    free(name);
}

static void key_alone(struct comparison *cmp, struct name *name) {
    if (cmp->closing) {
        free(name);
        return;
    }
    name->alone = true;
    name_queue_push(&cmp->again, name);
}

/* What an answer says of each key beside digests. */
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
static void key_later(struct remote_batch *b, size_t i) {
    struct comparison *cmp = b->cmp;
    if (i > 0 && cmp->remote_keys > i) cmp->remote_keys = i;
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
            key_equal(b->cmp, b->names[i]);
        } else if (walk[SOURCE].marks[i] == MARK_CUT || walk[TARGET].marks[i] == MARK_CUT) {
            key_later(b, i);
        } else {
            key_alone(b->cmp, b->names[i]);
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
    if (b->answer[SOURCE].left.len == 0 && b->cmp->remote_keys < REMOTE_BATCH)
        b->cmp->remote_keys++;
    for (size_t i = 0; i < b->n; i++) {
        if (marks[i] == MARK_DONE)
            key_equal(b->cmp, b->names[i]);
        else if (marks[i] == MARK_CUT)
            key_later(b, i);
        else
            key_alone(b->cmp, b->names[i]);
    }
}

static void batch_send(struct remote_batch *b);

static void batch_end(struct remote_batch *b) {
    struct comparison *cmp = b->cmp;
    bool again = !b->disturbed && !b->each && !cmp->closing && !batch_is_equal(b);
    if (again) {
        b->each = true;
        batch_send(b);
        return;
    }
    cmp->n_exams -= b->n;
    if (b->disturbed || cmp->closing) {
        for (size_t i = 0; i < b->n; i++) key_alone(cmp, b->names[i]);
    } else if (b->each) {
        end_each(b);
    } else {
        end_equal(b);
    }
    for (int side = 0; side < SIDES; side++) answer_release(&b->answer[side]);
    free(b);
}

static void reply_done(struct remote_batch *b) {
    if (--b->due == 0) batch_end(b);
}

/* ---- asking ---- */

static void ask(struct remote_batch *b, int side);

/* Anything that does not pass by itself means that scripts are not to be had there. */
static void refused(struct remote_batch *b, struct link *link, const struct reply *reply) {
    struct comparison *cmp = b->cmp;
    struct err err;
    client_reply_error(link->client, &reply->item, &err);
    b->disturbed = true;
    bool passes =
        err_class_of(err.code) != ERR_CLASS_KEY && err_class_of(err.code) != ERR_CLASS_STOP;
    if (passes || (err.code == ERR_NOPERM && refusal_is_about_key(reply->item.str)) ||
        cmp->no_scripts)
        return;
    if (memmem(reply->item.str.ptr, reply->item.str.len, "non local key", 13) != NULL) {
        cmp->side[link->side].refresh_wanted = true; /* a slot has moved, or is being moved */
        return;
    }
    cmp->no_scripts = true;
    log_warn(err.place, "%s; without scripts values are read and compared here", err.text);
}

static void on_answer(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct remote_batch *b = arg;
    if (reply->err != NULL) {
        b->disturbed = true;
    } else if (resp_is_error(&reply->item)) {
        bool lost = bytes_has_prefix(reply->item.str, "NOSCRIPT") && !b->cmp->closing &&
                    client_is_ready(link->client);
        if (lost) {
            link->knows_script = false;
            ask(b, link->side);
        } else {
            refused(b, link, reply);
        }
    } else {
        link_answered(link);
        if (!answer_take(&b->answer[link->side], reply)) b->disturbed = true;
    }
    reply_done(b);
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

static void ask(struct remote_batch *b, int side) {
    struct comparison *cmp = b->cmp;
    struct link *link = b->link[side];
    const struct compare_settings *s = cmp->settings;
    bool fields = cmp->side[SOURCE].has_field_expiry || cmp->side[TARGET].has_field_expiry;
    struct outq *out = client_out(link->client);
    client_select(link->client, compare_db(cmp, side, b->names[0]));
    bool declared = must_declare(cmp, side);
    script_begin(out, SCRIPT_DIGEST, !link->knows_script, declared ? b->n : 0, b->n + 5);
    link->knows_script = true;
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

static void batch_send(struct remote_batch *b) {
    b->due = 1;
    for (int side = 0; side < SIDES; side++) {
        answer_release(&b->answer[side]);
        if (client_is_ready(b->link[side]->client)) {
            ask(b, side);
        } else {
            b->disturbed = true;
        }
    }
    reply_done(b);
}

/* ---- filling ---- */

void remote_flush(struct comparison *cmp) {
    while (cmp->remote != NULL) {
        struct remote_batch *b = cmp->remote;
        cmp->remote = b->next;
        batch_send(b);
    }
}

static struct remote_batch **find_filling(struct comparison *cmp, struct link *const link[SIDES],
                                          const struct name *name) {
    struct remote_batch **at = &cmp->remote;
    size_t n = 0;
    for (; *at != NULL; at = &(*at)->next, n++)
        if ((*at)->link[SOURCE] == link[SOURCE] && (*at)->link[TARGET] == link[TARGET] &&
            (*at)->db == name->db)
            return at;
    if (n < FILLING_MAX) return at;
    remote_flush(cmp);
    return &cmp->remote;
}

bool remote_batch_take(struct comparison *cmp, struct name *name) {
    const struct compare_settings *s = cmp->settings;
    struct link *link[SIDES];
    if (s->mode != COMPARE_DIGEST || cmp->no_scripts || s->mem_limit_bytes > 0 ||
        s->filter->n_types > 0)
        return false;
    if (name->backward || name->alone || name->suspect) return false;
    for (int side = 0; side < SIDES; side++) {
        link[side] = link_route(cmp, side, name);
        if (link[side] == NULL || name->ask[side] != NULL || !client_is_ready(link[side]->client))
            return false;
    }
    struct remote_batch **at = find_filling(cmp, link, name), *b = *at;
    if (b == NULL) {
        b = *at = mem_zalloc(sizeof(*b));
        b->cmp = cmp;
        b->db = name->db;
        memcpy(b->link, link, sizeof(b->link));
    }
    b->names[b->n++] = name;
    cmp->n_exams++;
    if (b->n >= cmp->remote_keys) {
        *at = b->next;
        batch_send(b);
    }
    return true;
}

/* ---- are there extra keys? ---- */

/* Only where every name counts, and the picture of the target stays as it is. */
bool remote_sums_names(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    const struct key_filter *f = s->filter;
    bool all = f->pattern == NULL && f->n_include == 0 && f->n_exclude == 0 && f->slots == NULL &&
               f->n_types == 0;
    return s->mode == COMPARE_DIGEST && s->both_directions && all && s->sample == 0 &&
           s->names == NULL;
}

/* Names count with their database. */
static struct bytes salt_of_db(const struct comparison *cmp, size_t db_at, char *out, size_t size) {
    snprintf(out, size, "%s %zu ", cmp->salt, db_at);
    return bytes_of_str(out);
}

void remote_add_name(struct comparison *cmp, struct bytes name) {
    char salt[sizeof(cmp->salt) + NUMBER_MAX];
    if (key_is_own(name)) return;
    name_sum_add(&cmp->sum[SOURCE], salt_of_db(cmp, cmp->db_at, salt, sizeof(salt)), name);
}

static void ask_page(struct comparison *cmp);

static void sum_end(struct comparison *cmp, bool trouble) {
    const struct name_sum *a = &cmp->sum[SOURCE], *b = &cmp->sum[TARGET];
    cmp->summing = false;
    cmp->names_equal = !trouble && a->n == b->n && a->low == b->low && a->high == b->high;
    if (cmp->names_equal) cmp->result->target_keys = b->n;
    cmp->summed = true;
}

static bool take_page(struct comparison *cmp, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    struct resp_item cursor, n, low, high;
    int64_t a, b;
    if (!resp_next(&c, &cursor) || !resp_next(&c, &n) || !resp_next(&c, &low) ||
        !resp_next(&c, &high))
        return false;
    if (cursor.str.len >= sizeof(cmp->page) || !bytes_to_i64(low.str, &a) ||
        !bytes_to_i64(high.str, &b))
        return false;
    memcpy(cmp->page, cursor.str.ptr, cursor.str.len);
    cmp->page[cursor.str.len] = '\0';
    name_sum_add_page(&cmp->sum[TARGET], (uint64_t)n.num, (uint64_t)a, (uint64_t)b);
    if (cmp->progress != NULL) cmp->progress->keys += (uint64_t)n.num;
    return true;
}

/* The next primary of the target, and after the last one the next database. */
static bool next_scan(struct comparison *cmp) {
    const struct topology *t = cmp->side[TARGET].topology;
    for (cmp->sum_node++; cmp->sum_node < t->n_nodes; cmp->sum_node++)
        if (topology_is_primary(t, cmp->sum_node)) return true;
    cmp->sum_node = -1;
    return ++cmp->sum_db_at < cmp->settings->n_dbs && next_scan(cmp);
}

/* Any trouble has the target scanned in the plain way. */
static void on_page(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct comparison *cmp = link->cmp;
    if (cmp->closing) return;
    if (cmp->sums_spoilt || reply->err != NULL || resp_is_error(&reply->item) ||
        !take_page(cmp, reply)) {
        sum_end(cmp, true);
    } else if (strcmp(cmp->page, "0") != 0 || next_scan(cmp)) {
        ask_page(cmp);
    } else {
        sum_end(cmp, false);
    }
}

static void ask_page(struct comparison *cmp) {
    struct link *link = cmp->side[TARGET].of_node[cmp->sum_node];
    char salt[sizeof(cmp->salt) + NUMBER_MAX];
    if (cmp->sums_spoilt || link == NULL || !client_is_ready(link->client)) {
        sum_end(cmp, true);
        return;
    }
    int override = cmp->settings->target_db_override;
    client_select(link->client, override >= 0 ? override : cmp->settings->dbs[cmp->sum_db_at]);
    struct outq *out = client_out(link->client);
    script_begin(out, SCRIPT_NAMES, !link->knows_names, 0, 3);
    link->knows_names = true;
    resp_write_arg(out, bytes_of_str(cmp->page));
    resp_write_arg_i64(out, NAMES_PAGE);
    resp_write_arg(out, salt_of_db(cmp, cmp->sum_db_at, salt, sizeof(salt)));
    client_end_command(link->client, on_page, link, NULL);
}

void remote_sum_start(struct comparison *cmp) {
    cmp->summing = true;
    cmp->sum_node = -1;
    strcpy(cmp->page, "0");
    if (next_scan(cmp))
        ask_page(cmp);
    else
        sum_end(cmp, true);
}
