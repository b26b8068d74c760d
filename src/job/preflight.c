/* See preflight.h. The probes name a key that nobody has, and write nothing: RESTORE is given a payload that cannot be
 * accepted, SET an expiry that is no number; what comes back tells whether the command itself is allowed. */
#include "job/preflight.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "job/accept_probe.h"

enum { PROBE_KEY_MAX = 64, PROBE_TRIES = 1000 * 1000 };

/* ---- databases ---- */

static int compare_ints(const void *a, const void *b) {
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

static bool databases_with_keys(struct deployment *source, int **dbs, size_t *n_dbs, struct err *err) {
    struct topology *t = deployment_topology(source);
    bool seen[INFO_DATABASES_MAX] = { false }, ok = true;
    int found[INFO_DATABASES_MAX];
    for (int i = 0; i < t->n_nodes && ok; i++) {
        struct server_info info;
        struct call_reply text;
        if (!topology_is_primary(t, i)) continue;
        ok = deployment_node_info(source, &t->nodes[i].address, &info, &text, err);
        if (!ok) break;
        int n = info_databases(text.item.str, found, INFO_DATABASES_MAX);
        for (int k = 0; k < n; k++) seen[found[k]] = true;
        call_reply_fini(&text);
    }
    topology_unref(&t);
    *n_dbs = 0;
    *dbs = mem_array(NULL, INFO_DATABASES_MAX, sizeof(**dbs));
    for (int db = 0; db < INFO_DATABASES_MAX; db++)
        if (seen[db]) (*dbs)[(*n_dbs)++] = db;
    if (*n_dbs == 0) (*dbs)[(*n_dbs)++] = deployment_endpoint(source)->db; /* an empty source is copied as one */
    return ok;
}

bool preflight_databases(struct deployment *source, bool all, const int *asked, size_t n_asked, int **dbs,
                         size_t *n_dbs, struct err *err) {
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

struct probe {
    struct deployment *side;
    struct client *client;
    char key[PROBE_KEY_MAX]; /* in a slot of the node that is asked */
};

static bool probe_open(struct probe *p, struct deployment *side, struct err *err) {
    struct topology *t = deployment_topology(side);
    p->side = side;
    int node = -1;
    for (unsigned i = 0; node < 0 && i < PROBE_TRIES; i++) {
        snprintf(p->key, sizeof(p->key), "longhaul:probe:%u", i);
        node = t->owner[slot_of_key(bytes_of_str(p->key))];
    }
    if (node < 0) err_set(err, ERR_CLUSTERDOWN, deployment_role(side), "no slot has an owner");
    p->client = node < 0 ? NULL : deployment_call_open(side, &t->nodes[t->nodes[node].reader].address, err);
    topology_unref(&t);
    return p->client != NULL;
}

enum probe_answer { PROBE_ALLOWED, PROBE_REFUSED, PROBE_BROKEN };

/* Sends the words; REFUSED when the command itself is unknown or not permitted (not: this key). *text (if not NULL) gets
 * the start of an error reply. */
static enum probe_answer probe_send(struct probe *p, size_t argc, const struct bytes *argv, char *text, size_t size,
                                    struct err *err) {
    struct call_reply reply;
    if (!call_send(deployment_loop(p->side), p->client, deployment_reply_timeout_ms(p->side), &reply, err, argc, argv))
        return PROBE_BROKEN;
    enum probe_answer answer = PROBE_ALLOWED;
    if (text != NULL) text[0] = '\0';
    if (resp_is_error(&reply.item)) {
        if (text != NULL) bytes_escape(reply.item.str, text, size);
        enum err_code code = err_code_of_reply(reply.item.str.ptr, reply.item.str.len);
        bool whole_command = memmem(reply.item.str.ptr, reply.item.str.len, "run the", 7) != NULL;
        if (code == ERR_UNKNOWN_COMMAND || (code == ERR_NOPERM && whole_command)) answer = PROBE_REFUSED;
    }
    call_reply_fini(&reply);
    return answer;
}

#define PROBE(p, text, err, ...)                                                                                       \
    probe_send(p, sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes), (struct bytes[]){ __VA_ARGS__ },     \
               text, sizeof(text), err)

/* A command without which nothing can be copied. */
static bool probe_needed(struct probe *p, const char *name, enum probe_answer answer, const char *text,
                         struct err *err) {
    if (answer == PROBE_ALLOWED) return true;
    if (answer == PROBE_BROKEN) return false;
    return err_set(err, ERR_UNSUPPORTED, client_place(p->client), "%s is refused (%s); allow it, or use a user who may",
                   name, text);
}

static void note_no_dump(const struct probe *p, const char *name, const char *text) {
    log_info(client_place(p->client), "%s is refused (%s): values are copied by the commands of their types", name,
             text);
}

static bool probe_source(struct deployment *source, struct copy_abilities *can, struct err *err) {
    struct probe p;
    char text[200];
    if (!probe_open(&p, source, err)) return false;
    struct bytes key = bytes_of_str(p.key);
    bool ok = probe_needed(
        &p, "SCAN",
        PROBE(&p, text, err, BYTES_LITERAL("SCAN"), BYTES_LITERAL("0"), BYTES_LITERAL("COUNT"), BYTES_LITERAL("1")),
        text, err);
    ok = ok && probe_needed(&p, "GET", PROBE(&p, text, err, BYTES_LITERAL("GET"), key), text, err);
    ok = ok && probe_needed(&p, "PTTL", PROBE(&p, text, err, BYTES_LITERAL("PTTL"), key), text, err);
    enum probe_answer range =
        ok ? PROBE(&p, text, err, BYTES_LITERAL("GETRANGE"), key, BYTES_LITERAL("0"), BYTES_LITERAL("1"))
           : PROBE_BROKEN;
    ok = ok && range != PROBE_BROKEN;
    can->source_getrange = range == PROBE_ALLOWED;
    enum probe_answer expiry = ok ? PROBE(&p, text, err, BYTES_LITERAL("PEXPIRETIME"), key) : PROBE_BROKEN;
    enum probe_answer memory = expiry == PROBE_BROKEN
                                   ? PROBE_BROKEN
                                   : PROBE(&p, text, err, BYTES_LITERAL("MEMORY"), BYTES_LITERAL("USAGE"), key);
    enum probe_answer dump = memory == PROBE_BROKEN ? PROBE_BROKEN : PROBE(&p, text, err, BYTES_LITERAL("DUMP"), key);
    can->dump = dump == PROBE_ALLOWED;
    if (dump == PROBE_REFUSED) note_no_dump(&p, "DUMP", text);
    enum probe_answer fields = dump == PROBE_BROKEN
                                   ? PROBE_BROKEN
                                   : PROBE(&p, text, err, BYTES_LITERAL("HPEXPIRETIME"), key, BYTES_LITERAL("FIELDS"),
                                           BYTES_LITERAL("1"), BYTES_LITERAL("x"));
    can->source_field_ttl = fields == PROBE_ALLOWED;
    can->source_pexpiretime = expiry == PROBE_ALLOWED;
    can->source_memory_usage = memory == PROBE_ALLOWED;
    can->source_spans_slots = !deployment_is_cluster(source);
    client_close(&p.client);
    return ok && fields != PROBE_BROKEN;
}

static bool probe_target(struct deployment *target, struct copy_abilities *can, struct err *err) {
    struct probe p;
    char text[200], set_text[200];
    if (!probe_open(&p, target, err)) return false;
    struct bytes key = bytes_of_str(p.key);
    enum probe_answer restore =
        PROBE(&p, text, err, BYTES_LITERAL("RESTORE"), key, BYTES_LITERAL("0"), BYTES_LITERAL("x"));
    if (restore == PROBE_REFUSED) note_no_dump(&p, "RESTORE", text);
    can->dump = can->dump && restore == PROBE_ALLOWED;
    bool ok =
        restore != PROBE_BROKEN && probe_needed(&p, "SET",
                                                PROBE(&p, set_text, err, BYTES_LITERAL("SET"), key, BYTES_LITERAL("x"),
                                                      BYTES_LITERAL("PXAT"), BYTES_LITERAL("x")),
                                                set_text, err);
    can->target_set_pxat = ok && strstr(set_text, "syntax") == NULL;
    can->target_spans_slots = !deployment_is_cluster(target);
    enum probe_answer fields = !ok ? PROBE_BROKEN
                                   : PROBE(&p, text, err, BYTES_LITERAL("HPEXPIREAT"), key, BYTES_LITERAL("1"),
                                           BYTES_LITERAL("FIELDS"), BYTES_LITERAL("1"), BYTES_LITERAL("x"));
    can->target_field_ttl = fields == PROBE_ALLOWED;
    ok = ok && fields != PROBE_BROKEN;
    if (restore == PROBE_ALLOWED)
        ok = ok && accept_probe(deployment_loop(target), p.client, p.key, deployment_info(target),
                                deployment_reply_timeout_ms(target), &can->accept, err);
    client_close(&p.client);
    return ok;
}

/* ---- what cannot end well ---- */

static bool check_distinct(struct deployment *source, struct deployment *target, const int *dbs, size_t n_dbs,
                           int target_db, struct err *err) {
    struct topology *s = deployment_topology(source), *t = deployment_topology(target);
    bool same = strcmp(deployment_info(source)->run_id, deployment_info(target)->run_id) == 0 &&
                deployment_info(source)->run_id[0] != '\0';
    for (int i = 0; i < s->n_nodes; i++) same = same || (s->cluster && topology_find(t, &s->nodes[i].address) >= 0);
    topology_unref(&s);
    topology_unref(&t);
    bool other_db = !deployment_is_cluster(source) && n_dbs == 1 && target_db >= 0 && target_db != dbs[0];
    if (!same || other_db) return true;
    return err_set(err, ERR_USAGE, "", "source and target are the same server (%s and %s)",
                   deployment_endpoint(source)->label, deployment_endpoint(target)->label);
}

static bool check_target_role(struct deployment *target, struct err *err) {
    const struct server_info *info = deployment_info(target);
    if (!deployment_is_cluster(target) && info->replica)
        return err_set(err, ERR_READONLY, "target", "%s is a replica and takes no writes; point at its primary %s:%u",
                       deployment_endpoint(target)->label, info->primary_host, info->primary_port);
    struct topology *t = deployment_topology(target);
    unsigned uncovered = topology_uncovered(t);
    topology_unref(&t);
    if (uncovered == 0) return true;
    return err_set(err, ERR_CLUSTERDOWN, "target",
                   "%u slots of the cluster have no owner; give them to a node first (CLUSTER ADDSLOTS)", uncovered);
}

/* Every primary must have the database. */
static bool check_select(struct deployment *side, int db, struct err *err) {
    if (db == 0) return true;
    struct topology *t = deployment_topology(side);
    bool ok = true;
    for (int i = 0; i < t->n_nodes && ok; i++) {
        if (!topology_is_primary(t, i)) continue;
        struct client_settings settings = deployment_client_settings(side, &t->nodes[t->nodes[i].reader].address);
        settings.reconnect = false;
        settings.db = db;
        struct client *client =
            call_open(deployment_loop(side), &settings, settings.connect_timeout_ms + settings.reply_timeout_ms, err);
        ok = client != NULL;
        client_close(&client);
    }
    topology_unref(&t);
    return ok;
}

/* See rdb/portable.h. */
static bool writes_short_listpacks(struct deployment *side) {
    const struct server_info *info = deployment_info(side);
    return info->flavour == SERVER_VALKEY && info->version >= SERVER_VERSION(9, 0, 0);
}

/* A step that fails because a connection broke is done again. */
#define AGAIN(step)                                                                                                    \
    for (int tries = 0; !(step);) {                                                                                    \
        if (call_again(deployment_loop(source), &last, &tries)) continue;                                              \
        *err = last;                                                                                                   \
        return false;                                                                                                  \
    }

bool preflight_check(struct deployment *source, struct deployment *target, const int *dbs, size_t n_dbs, int target_db,
                     bool dry_run, struct copy_abilities *can, struct err *err) {
    struct err last;
    if (!check_distinct(source, target, dbs, n_dbs, target_db, err)) return false;
    if (!dry_run && !check_target_role(target, err)) return false;
    for (size_t i = 0; i < n_dbs; i++) {
        AGAIN(check_select(source, dbs[i], &last));
        AGAIN(check_select(target, target_db >= 0 ? target_db : dbs[i], &last));
    }
    can->same_listpacks = writes_short_listpacks(source) == writes_short_listpacks(target);
    AGAIN(probe_source(source, can, &last));
    if (dry_run) {
        can->target_set_pxat = true; /* nothing is written: read as if all were allowed */
        return true;
    }
    AGAIN(probe_target(target, can, &last));
    return true;
}
