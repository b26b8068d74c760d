/* See demo_check.h. */
#include "demo/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "output/json_out.h"
#include "server/call.h"

enum { DEMO_REPLY_MS = 30000, DIGEST_BATCH = 100, WORDS_MAX = 8 };

bool demo_count(struct loop *loop, struct client *client, uint64_t *keys, struct err *err) {
    struct call_reply reply;
    if (!call_ok(loop, client, DEMO_REPLY_MS, &reply, err, "DBSIZE")) return false;
    *keys = reply.item.num > 0 ? (uint64_t)reply.item.num : 0;
    call_reply_fini(&reply);
    return true;
}

/* ---- digests ---- */

/* As call_ok(), for words of any bytes. */
static bool check_ask(struct loop *loop, struct client *client, struct call_reply *reply,
                      struct err *err, size_t argc, const struct bytes *argv) {
    if (!call_send(loop, client, DEMO_REPLY_MS, reply, err, argc, argv)) return false;
    if (!resp_is_error(&reply->item)) return true;
    client_reply_error(client, &reply->item, err);
    call_reply_fini(reply);
    return false;
}

static bool check_batch(struct demo_check *check, struct loop *loop, struct client *source,
                        struct client *target, const struct bytes *keys, size_t n,
                        struct err *err) {
    struct bytes argv[2 + DIGEST_BATCH] = { BYTES_LITERAL("DEBUG"), BYTES_LITERAL("DIGEST-VALUE") };
    struct call_reply here, there;
    memcpy(argv + 2, keys, n * sizeof(*keys));
    if (!check_ask(loop, source, &here, err, 2 + n, argv)) return false;
    if (!check_ask(loop, target, &there, err, 2 + n, argv)) {
        call_reply_fini(&here);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        struct resp_item a, b;
        if (!resp_next(&here.cursor, &a) || !resp_next(&there.cursor, &b)) break;
        check->sampled++;
        if (bytes_equal(a.str, b.str)) check->equal++;
    }
    call_reply_fini(&here);
    call_reply_fini(&there);
    return true;
}

/* Checks the keys of one page of SCAN, and leaves the cursor of the next in `cursor`. */
static bool check_page(struct demo_check *check, struct loop *loop, struct client *source,
                       struct client *target, char cursor[32], struct err *err) {
    struct bytes argv[] = { BYTES_LITERAL("SCAN"), bytes_of_str(cursor), BYTES_LITERAL("COUNT"),
                            BYTES_LITERAL("500") };
    struct call_reply reply;
    struct resp_item next, list;
    if (!check_ask(loop, source, &reply, err, 4, argv)) return false;
    bool good = resp_next(&reply.cursor, &next) && resp_next(&reply.cursor, &list);
    snprintf(cursor, 32, "%.*s", good ? (int)next.str.len : 1, good ? next.str.ptr : "0");
    for (int64_t left = good ? list.num : 0; left > 0 && good;) {
        struct bytes keys[DIGEST_BATCH];
        size_t n = 0;
        for (struct resp_item key; n < DIGEST_BATCH && left > 0 && resp_next(&reply.cursor, &key);
             left--)
            keys[n++] = key.str;
        if (n == 0) break;
        good = check_batch(check, loop, source, target, keys, n, err);
    }
    call_reply_fini(&reply);
    return good;
}

static bool count_own(struct demo_check *check, struct loop *loop, struct client *target,
                      struct err *err) {
    struct call_reply reply;
    if (!call_ok(loop, target, DEMO_REPLY_MS, &reply, err, "KEYS longhaul:{*")) return false;
    check->own_keys = reply.item.num > 0 ? (uint64_t)reply.item.num : 0;
    call_reply_fini(&reply);
    if (!demo_count(loop, target, &check->target_keys, err)) return false;
    check->target_keys -=
        check->own_keys < check->target_keys ? check->own_keys : check->target_keys;
    return true;
}

bool demo_check_run(struct demo_check *check, struct loop *loop, struct client *source,
                    struct client *target, struct err *err) {
    char cursor[32] = "0";
    *check = (struct demo_check){ 0 };
    if (!demo_count(loop, source, &check->source_keys, err) || !count_own(check, loop, target, err))
        return false;
    do {
        if (!check_page(check, loop, source, target, cursor, err)) return false;
    } while (strcmp(cursor, "0") != 0 && check->sampled < DEMO_SAMPLE);
    return true;
}

/* ---- how long a write takes ---- */

static bool shows(struct loop *loop, struct client *target, const char *value, bool *same,
                  struct err *err) {
    struct call_reply reply;
    if (!call_ok(loop, target, DEMO_REPLY_MS, &reply, err, "GET demo:arrival")) return false;
    *same = resp_is_string(&reply.item) && bytes_equal_str(reply.item.str, value);
    call_reply_fini(&reply);
    return true;
}

int64_t demo_measure_arrival(struct loop *loop, struct client *source, struct client *target,
                             struct err *err) {
    char value[32], command[80];
    struct call_reply reply;
    snprintf(value, sizeof(value), "%" PRId64, clock_wall_us());
    snprintf(command, sizeof(command), "SET demo:arrival %s", value);
    if (!call_ok(loop, source, DEMO_REPLY_MS, &reply, err, command)) return -1;
    call_reply_fini(&reply);
    int64_t began_ms = clock_mono_ms();
    for (bool same = false; clock_mono_ms() - began_ms < DEMO_REPLY_MS;) {
        if (!shows(loop, target, value, &same, err)) return -1;
        if (same) return clock_mono_ms() - began_ms;
    }
    err_set(err, ERR_TIMEOUT, "demo", "a write did not reach the target within %d s",
            DEMO_REPLY_MS / 1000);
    return -1;
}

/* ---- changes ---- */

#define KEY "\1" /* stands for the key in a plan's words */

struct change_plan {
    /* of the key that is changed: some key of the source; NULL: the key is named */
    const char *type;
    const char *key;
    const char *words[WORDS_MAX]; /* the command */
};

struct change_stage {
    const struct change_plan *plans;
    size_t n;
};

static const struct change_plan while_it_runs[] = {
    { NULL, "demo:greeting", { "SET", KEY, "hello from the source" } },
    { NULL, "demo:account", { "HSET", KEY, "owner", "Ada", "balance", "100" } },
    { NULL, "demo:account", { "HINCRBY", KEY, "balance", "-30" } },
    { NULL, "demo:session", { "SET", KEY, "4711", "PX", "1500" } },
    { NULL, "demo:orders", { "XADD", KEY, "*", "item", "a book" } },
    { NULL, "demo:orders", { "XGROUP", "CREATE", KEY, "packers", "0" } },
    { NULL, "demo:orders", { "XREADGROUP", "GROUP", "packers", "first", "STREAMS", KEY, ">" } },
    { "set", NULL, { "DEL", KEY } },
    { "hash", NULL, { "HSET", KEY, "changed", "while longhaul runs" } },
};

static const struct change_plan while_it_is_dead[] = {
    { NULL, "demo:greeting", { "SET", KEY, "written while longhaul was dead" } },
    { NULL, "demo:account", { "DEL", KEY } },
    { "list", NULL, { "RPUSH", KEY, "while longhaul was dead" } },
    { "string", NULL, { "DEL", KEY } },
};

static const struct change_plan after_its_end[] = {
    { "string", NULL, { "APPEND", KEY, " (changed)" } },
    { "hash", NULL, { "HSET", KEY, "changed", "yes" } },
    { "set", NULL, { "SADD", KEY, "changed" } },
    { "zset", NULL, { "ZADD", KEY, "4711", "changed" } },
    { "list", NULL, { "RPUSH", KEY, "changed" } },
    { "string", NULL, { "PEXPIRE", KEY, "1800000" } },
    { "set", NULL, { "DEL", KEY } },
    { NULL, "demo:new", { "SET", KEY, "a key that the target does not have" } },
};

#define STAGE(plans)                                                                               \
    { plans, sizeof(plans) / sizeof((plans)[0]) }
static const struct change_stage stages[] = {
    [DEMO_WHILE_IT_RUNS] = STAGE(while_it_runs),
    [DEMO_WHILE_IT_IS_DEAD] = STAGE(while_it_is_dead),
    [DEMO_AFTER_ITS_END] = STAGE(after_its_end),
};
_Static_assert(sizeof(while_it_runs) / sizeof(while_it_runs[0]) <= DEMO_CHANGES_MAX,
               "room for the changes");

static bool is_taken(const struct demo_changes *changes, struct bytes key) {
    for (size_t i = 0; i < changes->n; i++)
        if (bytes_equal(key, bytes_of(changes->items[i].key, changes->items[i].key_len)))
            return true;
    return false;
}

/* Copies the first key of that type that is not changed yet into the next item; false when there is
 * none. */
static bool find_key(struct demo_changes *changes, struct loop *loop, struct client *source,
                     const char *type, struct err *err) {
    char cursor[32] = "0";
    struct demo_change *change = &changes->items[changes->n];
    do {
        struct bytes argv[] = { BYTES_LITERAL("SCAN"),  bytes_of_str(cursor),
                                BYTES_LITERAL("COUNT"), BYTES_LITERAL("1000"),
                                BYTES_LITERAL("TYPE"),  bytes_of_str(type) };
        struct call_reply reply;
        struct resp_item next, list, key;
        if (!check_ask(loop, source, &reply, err, 6, argv)) return false;
        if (!resp_next(&reply.cursor, &next) || !resp_next(&reply.cursor, &list)) list.num = 0;
        snprintf(cursor, sizeof(cursor), "%.*s", (int)next.str.len, next.str.ptr);
        for (int64_t i = 0; i < list.num && change->key == NULL && resp_next(&reply.cursor, &key);
             i++) {
            if (is_taken(changes, key.str)) continue;
            change->key = bytes_dup(key.str);
            change->key_len = key.str.len;
        }
        call_reply_fini(&reply);
    } while (strcmp(cursor, "0") != 0 && change->key == NULL);
    return change->key != NULL;
}

static bool make_change(struct demo_changes *changes, struct loop *loop, struct client *source,
                        const struct change_plan *plan, struct err *err) {
    struct demo_change *change = &changes->items[changes->n++];
    struct bytes argv[WORDS_MAX], key = bytes_of(change->key, change->key_len);
    struct call_reply reply;
    char shown[100];
    size_t argc = 0, len = 0;
    for (; argc < WORDS_MAX && plan->words[argc] != NULL; argc++) {
        bool is_key = strcmp(plan->words[argc], KEY) == 0;
        const char *quote = !is_key && strchr(plan->words[argc], ' ') != NULL ? "\"" : "";
        argv[argc] = is_key ? key : bytes_of_str(plan->words[argc]);
        if (len < DEMO_SHOWN_MAX)
            len += (size_t)snprintf(
                change->shown + len, DEMO_SHOWN_MAX - len, "%s%s%s%s", argc > 0 ? " " : "", quote,
                is_key ? bytes_escape(key, shown, sizeof(shown)) : plan->words[argc], quote);
    }
    if (!check_ask(loop, source, &reply, err, argc, argv)) return false;
    call_reply_fini(&reply);
    return true;
}

bool demo_changes_make(struct demo_changes *changes, enum demo_stage stage, struct loop *loop,
                       struct client *source, struct err *err) {
    err_clear(err);
    for (size_t i = 0; i < stages[stage].n; i++) {
        const struct change_plan *plan = &stages[stage].plans[i];
        struct demo_change *change = &changes->items[changes->n];
        if (plan->type == NULL) {
            change->key = mem_strdup(plan->key);
            change->key_len = strlen(plan->key);
        } else if (!find_key(changes, loop, source, plan->type, err)) {
            if (err->code != ERR_NONE) return false;
            continue; /* no key of that type: one change less */
        }
        if (!make_change(changes, loop, source, plan, err)) return false;
    }
    return true;
}

void demo_changes_fini(struct demo_changes *changes) {
    for (size_t i = 0; i < DEMO_CHANGES_MAX; i++) free(changes->items[i].key);
    *changes = (struct demo_changes){ 0 };
}

static bool names_key(const json_t *differences, const struct demo_change *change) {
    json_t *key = json_of_bytes(bytes_of(change->key, change->key_len));
    size_t i;
    json_t *difference;
    bool found = false;
    json_array_foreach((json_t *)differences, i, difference) found |=
        json_equal(json_object_get(difference, "key"), key);
    json_decref(key);
    return found;
}

bool demo_changes_match(const struct demo_changes *changes, const json_t *document) {
    const json_t *differences =
        json_object_get(json_object_get(document, "compare"), "differences");
    if (!json_is_array(differences) || json_array_size(differences) != changes->n) return false;
    for (size_t i = 0; i < changes->n; i++)
        if (!names_key(differences, &changes->items[i])) return false;
    return true;
}
