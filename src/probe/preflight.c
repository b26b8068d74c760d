/* See preflight.h. The probes name a key that nobody has, and write nothing: RESTORE is given a
 * payload that cannot be accepted, SET an expiry that is no number. The reply tells whether the
 * command itself is allowed. */
#include "probe/preflight.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "probe/restore.h"
#include "probe/sides.h"

enum { PROBE_KEY_MAX = 64, PROBE_TRIES = 1000 * 1000 };

/* ---- databases ---- */

static int compare_ints(const void *a, const void *b) {
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

struct database_list {
    int *dbs;
    size_t n, cap;
};

static void list_databases(void *ctx, struct bytes info) {
    struct database_list *list = ctx;
    for (int db; info_next_database(&info, &db); list->dbs[list->n++] = db) {
        if (list->n < list->cap) continue;
        list->cap = list->cap * 2 + 16;
        list->dbs = mem_array(list->dbs, list->cap, sizeof(*list->dbs));
    }
}

/* Of all primaries together, each once. */
static bool databases_with_keys(struct deployment *source, int **dbs, size_t *n_dbs,
                                struct err *err) {
    struct database_list list = { 0 };
    bool ok = deployment_primaries_info(source, list_databases, &list, err);
    if (list.n > 0) qsort(list.dbs, list.n, sizeof(*list.dbs), compare_ints);
    *n_dbs = 0;
    *dbs = mem_array(NULL, list.n + 1, sizeof(**dbs));
    for (size_t i = 0; i < list.n; i++)
        if (i == 0 || list.dbs[i] != list.dbs[i - 1]) (*dbs)[(*n_dbs)++] = list.dbs[i];
    /* an empty source is copied as one */
    if (*n_dbs == 0) (*dbs)[(*n_dbs)++] = deployment_endpoint(source)->db;
    free(list.dbs);
    return ok;
}

bool preflight_databases(struct deployment *source, bool all, const int *asked, size_t n_asked,
                         int **dbs, size_t *n_dbs, struct err *err) {
    *dbs = NULL;
    if (all) {
        bool ok = databases_with_keys(source, dbs, n_dbs, err);
        if (!ok) free(*dbs);
        return ok;
    }
    *n_dbs = n_asked > 0 ? n_asked : 1;
    *dbs = mem_array(NULL, *n_dbs, sizeof(**dbs));
    (*dbs)[0] = deployment_endpoint(source)->db;
    if (n_asked > 0) memcpy(*dbs, asked, n_asked * sizeof(*asked));
    qsort(*dbs, *n_dbs, sizeof(**dbs), compare_ints);
    return true;
}

/* ---- probes ---- */

/* Commands that are tried at the same time: one round trip for all. */
enum source_question {
    ASK_SCAN,
    ASK_GET,
    ASK_PTTL,
    ASK_GETRANGE,
    ASK_PEXPIRETIME,
    ASK_MEMORY,
    ASK_DUMP,
    ASK_FIELDS,
    SOURCE_QUESTIONS
};
enum target_question { TRY_RESTORE, TRY_SET, TRY_FIELDS, TARGET_QUESTIONS };
enum { QUESTIONS_MAX = SOURCE_QUESTIONS };

struct answer {
    bool refused;   /* the command itself is unknown or not permitted (not: this key) */
    char text[200]; /* the start of an error reply; empty when it was none */
};

/* One side, while it is asked. Where databases are to be selected, every primary is; the questions
 * go to one of them. */
struct probe {
    struct deployment *side;
    char key[PROBE_KEY_MAX]; /* in a slot of that one */
    struct client **clients;
    int n_clients, one;
    char record_key[PREFLIGHT_KEY_MAX]; /* empty: not asked for */
    struct call **records;              /* n_records: one for each database, and database 0 */
    size_t n_records;
    struct call **selects; /* n_dbs of each client */
    const int *dbs;
    size_t n_dbs;
    struct call *calls[QUESTIONS_MAX];
    struct answer answers[QUESTIONS_MAX];
    struct restore_probe *accept;
};

static void probe_add_client(struct probe *p, const struct topology *t, int node) {
    const struct address *address = &t->nodes[t->nodes[node].reader].address;
    p->clients = mem_array(p->clients, (size_t)p->n_clients + 1, sizeof(*p->clients));
    p->clients[p->n_clients++] = deployment_call_begin(p->side, address);
}

static bool wants_select(const int *dbs, size_t n_dbs) {
    for (size_t i = 0; i < n_dbs; i++)
        if (dbs[i] != 0) return true;
    return false;
}

/* Begins to connect. */
static bool probe_begin(struct probe *p, struct deployment *side, const struct preflight *preflight,
                        const int *dbs, size_t n_dbs, struct err *err) {
    struct topology *t = deployment_topology(side);
    int node = -1;
    p->side = side;
    p->dbs = dbs;
    p->n_dbs = wants_select(dbs, n_dbs) ? n_dbs : 0;
    for (unsigned i = 0; node < 0 && i < PROBE_TRIES; i++) {
        snprintf(p->key, sizeof(p->key), "longhaul:probe:%u", i);
        node = t->owner[slot_of_key(bytes_of_str(p->key))];
    }
    if (node < 0) err_set(err, ERR_CLUSTERDOWN, deployment_role(side), "no slot has an owner");
    if (node >= 0 && preflight->record_key != NULL &&
        !preflight->record_key(t, node, p->record_key))
        p->record_key[0] = '\0';
    for (int i = 0; i < t->n_nodes && node >= 0; i++) {
        if (i == node) p->one = p->n_clients;
        if (i == node || (p->n_dbs > 0 && topology_is_primary(t, i))) probe_add_client(p, t, i);
    }
    topology_unref(&t);
    return node >= 0;
}

static bool probe_await(struct probe *p, struct err *err) {
    for (int i = 0; i < p->n_clients; i++)
        if (!deployment_call_await(p->side, &p->clients[i], err)) return false;
    return true;
}

static void probe_end(struct probe *p, bool ok) {
    for (size_t i = 0; p->selects != NULL && i < p->n_dbs * (size_t)p->n_clients; i++)
        call_drop(&p->selects[i]);
    for (int i = 0; i < QUESTIONS_MAX; i++) call_drop(&p->calls[i]);
    for (size_t i = 0; i < p->n_records; i++) call_drop(&p->records[i]);
    for (int i = 0; i < p->n_clients; i++) {
        if (ok) deployment_call_close(p->side, &p->clients[i]);
        client_close(&p->clients[i]);
    }
    if (p->side != NULL) loop_settle(deployment_loop(p->side)); /* answers that are still due */
    restore_probe_free(&p->accept);
    free(p->selects);
    free(p->records);
    free(p->clients);
}

/* ---- databases that can be selected ---- */

static void probe_select(struct client *client, int db) {
    char number[16];
    snprintf(number, sizeof(number), "%d", db);
    const struct bytes words[] = { BYTES_LITERAL("SELECT"), bytes_of_str(number) };
    if (client_is_ready(client)) client_command(client, NULL, NULL, NULL, 2, words);
}

/* Every primary must have every database. */
static void ask_selects(struct probe *p) {
    if (p->n_dbs == 0) return;
    p->selects = mem_zalloc(p->n_dbs * (size_t)p->n_clients * sizeof(*p->selects));
    for (int i = 0; i < p->n_clients; i++) {
        char number[16];
        for (size_t k = 0; k < p->n_dbs; k++) {
            snprintf(number, sizeof(number), "%d", p->dbs[k]);
            const struct bytes words[] = { BYTES_LITERAL("SELECT"), bytes_of_str(number) };
            p->selects[(size_t)i * p->n_dbs + k] = call_start(p->clients[i], 2, words);
        }
        probe_select(p->clients[i], 0);
    }
}

static bool take_select(struct probe *p, struct client *client, struct call **call, int db,
                        struct err *err) {
    struct call_reply reply;
    if (!call_finish(deployment_loop(p->side), call, deployment_reply_timeout_ms(p->side), &reply,
                     err))
        return false;
    bool ok = !resp_is_error(&reply.item);
    if (!ok) {
        char text[128];
        client_reply_error(client, &reply.item, err);
        bytes_escape(reply.item.str, text, sizeof(text));
        if (err_class_of(err->code) == ERR_CLASS_KEY)
            err_set(err, ERR_UNSUPPORTED, client_place(client),
                    "database %d cannot be selected (%s)", db, text);
    }
    call_reply_fini(&reply);
    return ok;
}

static bool take_selects(struct probe *p, struct err *err) {
    for (size_t k = 0; k < p->n_dbs; k++)
        for (int i = 0; i < p->n_clients; i++)
            if (!take_select(p, p->clients[i], &p->selects[(size_t)i * p->n_dbs + k], p->dbs[k],
                             err))
                return false;
    return true;
}

/* ---- records of live jobs ---- */

static struct call *ask_record(struct probe *p) {
    const struct bytes words[] = { BYTES_LITERAL("EXISTS"), bytes_of_str(p->record_key) };
    return call_start(p->clients[p->one], 2, words);
}

/* Each primary has a copy of each record, so one is asked. */
static void ask_records(struct probe *p) {
    struct client *client = p->clients[p->one];
    if (p->record_key[0] == '\0') return;
    p->records = mem_array(NULL, p->n_dbs + 1, sizeof(*p->records));
    p->records[p->n_records++] = ask_record(p);
    for (size_t k = 0; k < p->n_dbs; k++) {
        probe_select(client, p->dbs[k]);
        p->records[p->n_records++] = ask_record(p);
    }
    if (p->n_dbs > 0) probe_select(client, 0);
}

/* An error says nothing: who may not ask for the key cannot read the record either. */
static bool take_records(struct probe *p, bool *any, struct err *err) {
    for (size_t i = 0; i < p->n_records; i++) {
        struct call_reply reply;
        if (!call_finish(deployment_loop(p->side), &p->records[i],
                         deployment_reply_timeout_ms(p->side), &reply, err))
            return false;
        *any = *any || (reply.item.type == RESP_INTEGER && reply.item.num > 0);
        call_reply_fini(&reply);
    }
    return true;
}

/* ---- questions and answers ---- */

#define ASK(p, question, ...)                                                                      \
    ((p)->calls[question] = call_start(                                                            \
         (p)->clients[(p)->one], sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes),   \
         (struct bytes[]){ __VA_ARGS__ }))

static void ask_source(struct probe *p) {
    struct bytes key = bytes_of_str(p->key);
    ASK(p, ASK_SCAN, BYTES_LITERAL("SCAN"), BYTES_LITERAL("0"), BYTES_LITERAL("COUNT"),
        BYTES_LITERAL("1"));
    ASK(p, ASK_GET, BYTES_LITERAL("GET"), key);
    ASK(p, ASK_PTTL, BYTES_LITERAL("PTTL"), key);
    ASK(p, ASK_GETRANGE, BYTES_LITERAL("GETRANGE"), key, BYTES_LITERAL("0"), BYTES_LITERAL("1"));
    ASK(p, ASK_PEXPIRETIME, BYTES_LITERAL("PEXPIRETIME"), key);
    ASK(p, ASK_MEMORY, BYTES_LITERAL("MEMORY"), BYTES_LITERAL("USAGE"), key);
    ASK(p, ASK_DUMP, BYTES_LITERAL("DUMP"), key);
    ASK(p, ASK_FIELDS, BYTES_LITERAL("HPEXPIRETIME"), key, BYTES_LITERAL("FIELDS"),
        BYTES_LITERAL("1"), BYTES_LITERAL("x"));
}

static void ask_target(struct probe *p) {
    struct bytes key = bytes_of_str(p->key);
    ASK(p, TRY_RESTORE, BYTES_LITERAL("RESTORE"), key, BYTES_LITERAL("0"), BYTES_LITERAL("x"));
    ASK(p, TRY_SET, BYTES_LITERAL("SET"), key, BYTES_LITERAL("x"), BYTES_LITERAL("PXAT"),
        BYTES_LITERAL("x"));
    ASK(p, TRY_FIELDS, BYTES_LITERAL("HPEXPIREAT"), key, BYTES_LITERAL("1"),
        BYTES_LITERAL("FIELDS"), BYTES_LITERAL("1"), BYTES_LITERAL("x"));
    p->accept = restore_probe_start(p->clients[p->one], p->key, deployment_info(p->side));
}

static bool take_answer(struct probe *p, int question, struct err *err) {
    struct call_reply reply;
    struct answer *answer = &p->answers[question];
    int64_t timeout_ms = deployment_reply_timeout_ms(p->side);
    if (!call_finish(deployment_loop(p->side), &p->calls[question], timeout_ms, &reply, err))
        return false;
    if (resp_is_error(&reply.item)) {
        bytes_escape(reply.item.str, answer->text, sizeof(answer->text));
        enum err_code code = err_code_of_reply(reply.item.str.ptr, reply.item.str.len);
        bool whole_command = memmem(reply.item.str.ptr, reply.item.str.len, "run the", 7) != NULL;
        answer->refused = code == ERR_UNKNOWN_COMMAND || (code == ERR_NOPERM && whole_command);
    }
    call_reply_fini(&reply);
    return true;
}

static bool probe_take_answers(struct probe *p, int n, struct err *err) {
    for (int i = 0; i < n; i++)
        if (!take_answer(p, i, err)) return false;
    return true;
}

/* A command without which nothing can be copied. */
static bool probe_is_allowed(const struct probe *p, const char *name, int question,
                             struct err *err) {
    const struct answer *answer = &p->answers[question];
    if (!answer->refused) return true;
    return err_set(err, ERR_UNSUPPORTED, client_place(p->clients[p->one]),
                   "%s is refused (%s); allow it, or use another user", name, answer->text);
}

static void note_no_dump(const struct probe *p, const char *name, int question) {
    if (!p->answers[question].refused) return;
    log_info(client_place(p->clients[p->one]),
             "%s is refused (%s): values are copied by the commands of their types", name,
             p->answers[question].text);
}

static bool take_source(struct probe *p, struct copy_abilities *can, struct err *err) {
    const struct answer *answers = p->answers;
    if (!probe_take_answers(p, SOURCE_QUESTIONS, err)) return false;
    if (!probe_is_allowed(p, "SCAN", ASK_SCAN, err) || !probe_is_allowed(p, "GET", ASK_GET, err) ||
        !probe_is_allowed(p, "PTTL", ASK_PTTL, err))
        return false;
    note_no_dump(p, "DUMP", ASK_DUMP);
    can->source_getrange = !answers[ASK_GETRANGE].refused;
    can->source_pexpiretime = !answers[ASK_PEXPIRETIME].refused;
    can->source_memory_usage = !answers[ASK_MEMORY].refused;
    can->source_field_ttl = !answers[ASK_FIELDS].refused;
    can->source_spans_slots = !deployment_is_cluster(p->side);
    can->dump = !answers[ASK_DUMP].refused;
    return true;
}

static bool take_target(struct probe *p, struct copy_abilities *can, struct err *err) {
    const struct answer *answers = p->answers;
    if (!probe_take_answers(p, TARGET_QUESTIONS, err)) return false;
    note_no_dump(p, "RESTORE", TRY_RESTORE);
    if (!probe_is_allowed(p, "SET", TRY_SET, err)) return false;
    can->target_set_pxat = strstr(answers[TRY_SET].text, "syntax") == NULL;
    can->target_field_ttl = !answers[TRY_FIELDS].refused;
    can->target_spans_slots = !deployment_is_cluster(p->side);
    can->dump = can->dump && !answers[TRY_RESTORE].refused;
    return answers[TRY_RESTORE].refused ||
           restore_probe_finish(deployment_loop(p->side), p->accept,
                                deployment_reply_timeout_ms(p->side), &can->accept, err);
}

/* ---- both sides ---- */

static bool check_target_slots(struct deployment *target, struct err *err) {
    struct topology *t = deployment_topology(target);
    unsigned uncovered = topology_uncovered(t);
    topology_unref(&t);
    if (uncovered == 0) return true;
    return err_set(
        err, ERR_CLUSTERDOWN, "target",
        "%u slots of the cluster have no owner; give them to a node first (CLUSTER ADDSLOTS)",
        uncovered);
}

/* See rdb/portable.h. */
static bool writes_short_listpacks(struct deployment *side) {
    const struct server_info *info = deployment_info(side);
    return info->flavour == SERVER_VALKEY && info->version >= SERVER_VERSION(9, 0, 0);
}

/* Both sides at the same time. */
static bool preflight_ask_both(struct preflight *f, struct probe *s, struct probe *t,
                               struct err *err) {
    if (!probe_await(s, err) || !probe_await(t, err)) return false;
    ask_selects(s);
    ask_selects(t);
    ask_source(s);
    if (!f->dry_run) {
        ask_target(t);
        ask_records(s);
        ask_records(t);
    }
    if (!take_selects(s, err) || !take_selects(t, err) || !take_source(s, &f->can, err))
        return false;
    f->can.target_set_pxat = true; /* dry: nothing is written, so read as if all were allowed */
    return f->dry_run ||
           (take_target(t, &f->can, err) && take_records(s, &f->source_has_records, err) &&
            take_records(t, &f->target_has_records, err));
}

bool preflight_other_database(struct deployment *source, const int *dbs, size_t n_dbs,
                              int target_db) {
    return !deployment_is_cluster(source) && n_dbs == 1 && target_db >= 0 && target_db != dbs[0];
}

static bool preflight_check_both(struct deployment *source, struct deployment *target,
                                 struct preflight *f, struct err *err) {
    struct probe s = { 0 }, t = { 0 };
    bool other = preflight_other_database(source, f->dbs, f->n_dbs, f->target_db);
    if (!sides_check(source, target, other, err)) return false;
    if (!f->dry_run && (!sides_check_target_role(target, err) || !check_target_slots(target, err)))
        return false;
    const int *to = f->target_db >= 0 ? &f->target_db : f->dbs;
    size_t n_to = f->target_db >= 0 ? 1 : f->n_dbs;
    bool ok = probe_begin(&s, source, f, f->dbs, f->n_dbs, err);
    if (ok && (!f->dry_run || wants_select(to, n_to)))
        ok = probe_begin(&t, target, f, to, n_to, err);
    ok = ok && preflight_ask_both(f, &s, &t, err);
    probe_end(&s, ok);
    probe_end(&t, ok);
    return ok;
}

bool preflight_check(struct deployment *source, struct deployment *target,
                     struct preflight *preflight, struct err *err) {
    preflight->can.same_listpacks =
        writes_short_listpacks(source) == writes_short_listpacks(target);
    struct err last;
    for (int tries = 0; !preflight_check_both(source, target, preflight, &last);) {
        if (call_again(deployment_loop(source), &last, &tries)) continue;
        *err = last;
        return false;
    }
    return true;
}
