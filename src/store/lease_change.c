/* Compare-and-set of the lease. A script does it in one round trip; users to whom scripts are
 * forbidden, and servers without them, get the same from WATCH.
 *
 *   EVAL ──refused──▶ WATCH, GET ──as expected──▶ MULTI, SET, EXEC ──nil──▶ changed: FAILED
 *                               └──otherwise────▶ UNWATCH: REFUSED
 *
 * A lease that is held already is renewed by PEXPIRE, which a server that is out of memory still
 * takes, though not inside MULTI (redis 7.0 server.c, processCommand). Without a script GET follows
 * it: a lease that is ours after it was ours before. Should it be another's, that lease was made
 * longer once, which does no harm.
 *
 * Only the lease's own key is named: while its slot is half moved, a command with two keys is
 * answered by neither node (redis 7.0 cluster.c, getNodeByQuery: TRYAGAIN).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/lease_priv.h"

enum { LEASE_NUMBER_MAX = 24 };

static const char lease_script[] =
    "local held = redis.call('GET', KEYS[1]) or ''\n"
    "if held ~= ARGV[1] then return held end\n"
    "if held == ARGV[2] then redis.call('PEXPIRE', KEYS[1], ARGV[3]) return 1 end\n"
    "if ARGV[3] ~= '0' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 end\n"
    "local set = redis.pcall('SET', KEYS[1], ARGV[2])\n"
    "if type(set) == 'table' and set.err then redis.call('DEL', KEYS[1]) end\n"
    "return 1\n";

const char *lease_owner_of(const char *value) {
    const char *space = strchr(value, ' ');
    return space == NULL ? "" : space + 1;
}

uint64_t lease_epoch_of(const char *value) {
    int64_t epoch = 0;
    struct bytes rest = bytes_of_str(value);
    return bytes_to_i64(bytes_split(&rest, ' '), &epoch) && epoch > 0 ? (uint64_t)epoch : 0;
}

bool lease_is_given_back(const char *value) {
    return strcmp(lease_owner_of(value), LEASE_NOBODY) == 0;
}

/* ---- the answer ---- */

static void change_finish(struct lease_change *c, enum lease_result result) {
    c->result = result;
    c->busy = false;
    c->client = NULL;
    c->fn(c->ctx, c);
}

static void change_set_holder(struct lease_change *c, struct bytes value) {
    snprintf(c->holder, sizeof(c->holder), "%.*s",
             (int)(value.len < LEASE_VALUE_MAX ? value.len : LEASE_VALUE_MAX - 1),
             value.len > 0 ? value.ptr : "");
}

bool lease_note_error(struct err *err, const struct client *client, const struct reply *reply) {
    bool bad = reply->err != NULL || resp_is_error(&reply->item);
    if (!bad || err->code != ERR_NONE) return bad;
    if (reply->err != NULL) {
        *err = *reply->err;
    } else {
        client_reply_error(client, &reply->item, err);
    }
    return true;
}

/* For the last reply: ends the change where it, or one before it, was an error. */
static bool change_failed(struct lease_change *c, const struct client *client,
                          const struct reply *reply) {
    lease_note_error(&c->err, client, reply);
    if (c->err.code == ERR_NONE) return false;
    change_finish(c, LEASE_FAILED);
    return true;
}

/* ---- renewing without a script ---- */

static void on_renewed_value(void *ctx, struct client *client, const struct reply *reply) {
    struct lease_change *c = ctx;
    if (change_failed(c, client, reply)) return;
    if (resp_is_string(&reply->item)) change_set_holder(c, reply->item.str);
    change_finish(c, strcmp(c->holder, c->expected) == 0 ? LEASE_DONE : LEASE_REFUSED);
}

static void on_expiry_set(void *ctx, struct client *client, const struct reply *reply) {
    struct lease_change *c = ctx;
    const struct bytes words[] = { BYTES_LITERAL("GET"), bytes_of_str(c->lease_key) };
    if (change_failed(c, client, reply)) return;
    if (slot_link_is_ready(c->link)) {
        slot_link_send(c->link, on_renewed_value, c, 2, words);
        return;
    }
    err_set(&c->err, ERR_CLOSED, "target", "%s", err_sentence(ERR_CLOSED));
    change_finish(c, LEASE_FAILED);
}

static void change_send_expiry(struct lease_change *c) {
    char ms[LEASE_NUMBER_MAX];
    snprintf(ms, sizeof(ms), "%" PRId64, c->lease_ms);
    const struct bytes words[] = { BYTES_LITERAL("PEXPIRE"), bytes_of_str(c->lease_key),
                                   bytes_of_str(ms) };
    slot_link_send(c->link, on_expiry_set, c, 3, words);
}

/* ---- WATCH ---- */

static void change_send_words(struct lease_change *c, client_reply_fn *fn, const char *name,
                              const char *key) {
    const struct bytes words[] = { bytes_of_str(name), bytes_of_str(key) };
    client_command(c->client, fn, c, NULL, key[0] == '\0' ? 1 : 2, words);
}

static void on_part(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    lease_note_error(&c->err, c->client, reply);
}

/* An array with the answer of SET; nil where the watched key had changed. */
static void on_exec(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    struct resp_cursor cursor = reply->cursor;
    struct resp_item item;
    if (change_failed(c, c->client, reply)) return;
    if (reply->item.type != RESP_NULL && resp_next(&cursor, &item) && !resp_is_error(&item)) {
        change_finish(c, LEASE_DONE);
        return;
    }
    if (reply->item.type != RESP_NULL && resp_is_error(&item)) {
        client_reply_error(c->client, &item, &c->err);
    } else {
        err_set(&c->err, ERR_TRYAGAIN, client_place(c->client), "the lease changed in between");
    }
    change_finish(c, LEASE_FAILED);
}

static void change_send_transaction(struct lease_change *c) {
    char ms[LEASE_NUMBER_MAX];
    snprintf(ms, sizeof(ms), "%" PRId64, c->lease_ms);
    const struct bytes words[] = { BYTES_LITERAL("SET"), bytes_of_str(c->lease_key),
                                   bytes_of_str(c->wanted), BYTES_LITERAL("PX"), bytes_of_str(ms) };
    change_send_words(c, on_part, "MULTI", "");
    client_command(c->client, on_part, c, NULL, c->lease_ms > 0 ? 5 : 3, words);
    change_send_words(c, on_exec, "EXEC", "");
}

static void on_watched_value(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    if (change_failed(c, c->client, reply)) return;
    if (resp_is_string(&reply->item)) change_set_holder(c, reply->item.str);
    if (strcmp(c->holder, c->expected) == 0) {
        change_send_transaction(c);
        return;
    }
    change_send_words(c, NULL, "UNWATCH", "");
    change_finish(c, LEASE_REFUSED);
}

static void change_send_plain(struct lease_change *c) {
    if (strcmp(c->expected, c->wanted) == 0) {
        change_send_expiry(c);
        return;
    }
    c->client = slot_link_client(c->link);
    change_send_words(c, on_part, "WATCH", c->lease_key);
    change_send_words(c, on_watched_value, "GET", c->lease_key);
}

/* ---- EVAL ---- */

static void on_script(void *ctx, struct client *client, const struct reply *reply) {
    struct lease_change *c = ctx;
    if (reply->err == NULL && resp_is_error(&reply->item) && slot_link_is_ready(c->link)) {
        enum err_code code = err_code_of_reply(reply->item.str.ptr, reply->item.str.len);
        if (err_class_of(code) == ERR_CLASS_KEY) {
            c->plain = true;
            change_send_plain(c);
            return;
        }
    }
    if (change_failed(c, client, reply)) return;
    if (reply->item.type == RESP_INTEGER) {
        change_finish(c, LEASE_DONE);
    } else if (resp_is_string(&reply->item)) {
        change_set_holder(c, reply->item.str);
        change_finish(c, LEASE_REFUSED);
    } else {
        err_set(&c->err, ERR_PROTOCOL, client_place(client),
                "the lease was answered in a form that is not known");
        change_finish(c, LEASE_FAILED);
    }
}

void lease_change_send(struct lease_change *c, struct slot_link *link) {
    char ms[LEASE_NUMBER_MAX];
    c->busy = true;
    c->link = link;
    c->holder[0] = '\0';
    err_clear(&c->err);
    if (c->plain) {
        change_send_plain(c);
        return;
    }
    snprintf(ms, sizeof(ms), "%" PRId64, c->lease_ms);
    const struct bytes words[] = { BYTES_LITERAL("EVAL"),     BYTES_LITERAL(lease_script),
                                   BYTES_LITERAL("1"),        bytes_of_str(c->lease_key),
                                   bytes_of_str(c->expected), bytes_of_str(c->wanted),
                                   bytes_of_str(ms) };
    slot_link_send(link, on_script, c, 7, words);
}
