/* Compare-and-set of the lease and of the epoch beside it. A script does it in one round trip;
 * users whom scripts are forbidden to, and servers without them, get the same from WATCH.
 *
 *   EVAL ──refused──▶ WATCH, GET, GET ──as expected──▶ MULTI ... EXEC ──nil──▶ it changed meanwhile: FAILED
 *                                    └──otherwise────▶ UNWATCH: REFUSED
 *
 * A lease that is held already is renewed by PEXPIRE, which a server that is out of memory still
 * takes, though not inside MULTI (redis 7.0 server.c, processCommand). Without a script GET follows
 * it: what is ours after it was ours before. Should it be somebody else's, that lease was made
 * longer once, which does no harm.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "copy/filter.h"
#include "store/keeper_priv.h"

enum { COMMAND_WORDS = 8, NUMBER_MAX = 24 };

static const char script[] =
    "local held = redis.call('GET', KEYS[1]) or ''\n"
    "local known = tonumber(redis.call('GET', KEYS[2]) or '0') or 0\n"
    "local mine = tonumber(ARGV[3])\n"
    "if held ~= ARGV[1] or (mine > 0 and known > mine) then return { held, tostring(known) } end\n"
    "if ARGV[2] == '' then redis.call('DEL', KEYS[1]) return mine end\n"
    "if mine == 0 then mine = known + 1 end\n"
    "if mine ~= known then redis.call('SET', KEYS[2], mine) end\n"
    "local value = mine .. ' ' .. ARGV[2]\n"
    "if held == value then redis.call('PEXPIRE', KEYS[1], ARGV[4])\n"
    "else redis.call('SET', KEYS[1], value, 'PX', ARGV[4]) end\n"
    "return mine\n";

const char *keeper_job_key(char key[KEEPER_KEY_MAX], const char *job, const char *what) {
    snprintf(key, KEEPER_KEY_MAX, "longhaul:{%s}:%s", job, what);
    return key;
}

const char *keeper_state_key(char key[KEEPER_KEY_MAX], uint16_t slot) {
    char tag[SLOT_TAG_MAX];
    return keeper_job_key(key, slot_tag(slot, tag), "state");
}

int keeper_lowest_slot(const struct topology *t, int node) {
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        if (t->owner[slot] == node) return slot;
    return -1;
}

const char *lease_owner_of(const char *value) {
    const char *space = strchr(value, ' ');
    return space == NULL ? "" : space + 1;
}

bool keeper_owns_key(struct bytes key) {
    return key_is_own(key);
}

/* ---- the answer ---- */

static void finish(struct lease_change *c, enum lease_result result) {
    c->result = result;
    c->busy = false;
    c->client = NULL;
    c->fn(c->ctx, c);
}

static void finish_done(struct lease_change *c, uint64_t epoch) {
    c->known_epoch = epoch;
    finish(c, LEASE_DONE);
}

static void finish_unknown(struct lease_change *c) {
    err_set(&c->err, ERR_PROTOCOL, client_place(c->client),
            "the lease was answered in a form that is not known");
    finish(c, LEASE_FAILED);
}

static void take_holder(struct lease_change *c, struct bytes value) {
    snprintf(c->holder, sizeof(c->holder), "%.*s",
             (int)(value.len < LEASE_VALUE_MAX ? value.len : LEASE_VALUE_MAX - 1),
             value.len > 0 ? value.ptr : "");
}

/* Keeps the first error of several replies. */
static bool note_error(struct lease_change *c, const struct reply *reply) {
    bool bad = reply->err != NULL || resp_is_error(&reply->item);
    if (!bad || c->err.code != ERR_NONE) return bad;
    if (reply->err != NULL) {
        c->err = *reply->err;
    } else {
        client_reply_error(c->client, &reply->item, &c->err);
    }
    return true;
}

/* For the last reply: ends the change where it or one before it was an error. */
static bool is_bad(struct lease_change *c, const struct reply *reply) {
    note_error(c, reply);
    if (c->err.code == ERR_NONE) return false;
    finish(c, LEASE_FAILED);
    return true;
}

/* ---- WATCH ---- */

static void send(struct lease_change *c, client_reply_fn *fn, const char *name, const char *key,
                 const char *third) {
    const struct bytes words[] = { bytes_of_str(name), bytes_of_str(key), bytes_of_str(third) };
    client_command(c->client, fn, c, NULL, key[0] == '\0' ? 1 : third[0] == '\0' ? 2 : 3, words);
}

static void on_part(void *ctx, void *arg, const struct reply *reply) {
    note_error(ctx, reply);
}

/* An array with what each command answered; nil where a watched key had changed. */
static void on_exec(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    struct resp_cursor cursor = reply->cursor;
    struct resp_item item;
    if (is_bad(c, reply)) return;
    bool changed = reply->item.type == RESP_NULL;
    for (int64_t i = 0; !changed && i < reply->item.num && resp_next(&cursor, &item); i++) {
        if (resp_is_error(&item)) client_reply_error(c->client, &item, &c->err);
        /* DEL of what is gone */
        changed = resp_is_error(&item) || (item.type == RESP_INTEGER && item.num == 0);
    }
    if (!changed) {
        finish_done(c, c->known_epoch);
        return;
    }
    if (c->err.code == ERR_NONE)
        err_set(&c->err, ERR_TRYAGAIN, client_place(c->client), "the lease changed in between");
    finish(c, LEASE_FAILED);
}

static void send_transaction(struct lease_change *c) {
    char epoch[NUMBER_MAX], ms[NUMBER_MAX], value[LEASE_VALUE_MAX];
    uint64_t mine = c->epoch > 0 ? c->epoch : c->known_epoch + 1;
    snprintf(epoch, sizeof(epoch), "%" PRIu64, mine);
    snprintf(ms, sizeof(ms), "%" PRId64, c->lease_ms);
    snprintf(value, sizeof(value), "%s %s", epoch, c->owner);
    send(c, on_part, "MULTI", "", "");
    if (c->give_back) {
        send(c, on_part, "DEL", c->lease_key, "");
    } else {
        const struct bytes words[] = { BYTES_LITERAL("SET"), bytes_of_str(c->lease_key),
                                       bytes_of_str(value), BYTES_LITERAL("PX"), bytes_of_str(ms) };
        client_command(c->client, on_part, c, NULL, 5, words);
    }
    if (!c->give_back && mine != c->known_epoch) send(c, on_part, "SET", c->epoch_key, epoch);
    c->known_epoch = mine;
    send(c, on_exec, "EXEC", "", "");
}

static void on_lease(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    if (!note_error(c, reply) && resp_is_string(&reply->item)) take_holder(c, reply->item.str);
}

/* Of what is held already: its value stays. */
static bool is_renewal(const struct lease_change *c) {
    char value[LEASE_VALUE_MAX];
    snprintf(value, sizeof(value), "%" PRIu64 " %s", c->epoch, c->owner);
    return !c->give_back && strcmp(c->expected, value) == 0;
}

static void on_epoch(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    int64_t known = 0;
    if (is_bad(c, reply)) return;
    if (resp_is_string(&reply->item)) bytes_to_i64(reply->item.str, &known);
    c->known_epoch = known > 0 ? (uint64_t)known : 0;
    if (is_renewal(c)) {
        if (strcmp(c->holder, c->expected) == 0) {
            finish_done(c, c->epoch);
        } else {
            finish(c, LEASE_REFUSED);
        }
        return;
    }
    if (strcmp(c->holder, c->expected) == 0 && (c->epoch == 0 || c->known_epoch <= c->epoch)) {
        send_transaction(c);
        return;
    }
    send(c, NULL, "UNWATCH", "", "");
    finish(c, LEASE_REFUSED);
}

static void send_watch(struct lease_change *c) {
    char ms[NUMBER_MAX];
    snprintf(ms, sizeof(ms), "%" PRId64, c->lease_ms);
    if (is_renewal(c)) {
        send(c, on_part, "PEXPIRE", c->lease_key, ms);
    } else {
        send(c, on_part, "WATCH", c->lease_key, c->epoch_key);
    }
    send(c, on_lease, "GET", c->lease_key, "");
    send(c, on_epoch, "GET", c->epoch_key, "");
}

/* ---- EVAL ---- */

static void on_script(void *ctx, void *arg, const struct reply *reply) {
    struct lease_change *c = ctx;
    struct resp_cursor cursor = reply->cursor;
    struct resp_item held, known;
    int64_t epoch = 0;
    if (reply->err == NULL && resp_is_error(&reply->item)) {
        enum err_code code = err_code_of_reply(reply->item.str.ptr, reply->item.str.len);
        if (err_class_of(code) == ERR_CLASS_KEY) {
            c->plain = true;
            send_watch(c);
            return;
        }
    }
    if (is_bad(c, reply)) return;
    if (reply->item.type == RESP_INTEGER) {
        finish_done(c, (uint64_t)reply->item.num);
    } else if (reply->item.type == RESP_ARRAY && resp_next(&cursor, &held) &&
               resp_is_string(&held) && resp_next(&cursor, &known) && resp_is_string(&known)) {
        take_holder(c, held.str);
        bytes_to_i64(known.str, &epoch);
        c->known_epoch = epoch > 0 ? (uint64_t)epoch : 0;
        finish(c, LEASE_REFUSED);
    } else {
        finish_unknown(c);
    }
}

void lease_change_send(struct lease_change *c, struct client *client) {
    c->busy = true;
    c->client = client;
    c->holder[0] = '\0';
    c->known_epoch = 0;
    err_clear(&c->err);
    if (c->plain) {
        send_watch(c);
        return;
    }
    struct outq *out = client_out(client);
    resp_write_head(out, 3 + 2 + 4);
    resp_write_literal(out, "EVAL");
    resp_write_literal(out, script);
    resp_write_literal(out, "2");
    resp_write_arg(out, bytes_of_str(c->lease_key));
    resp_write_arg(out, bytes_of_str(c->epoch_key));
    resp_write_arg(out, bytes_of_str(c->expected));
    resp_write_arg(out, bytes_of_str(c->give_back ? "" : c->owner));
    resp_write_arg_i64(out, (int64_t)c->epoch);
    resp_write_arg_i64(out, c->lease_ms);
    client_end_command(client, on_script, c, NULL);
}
