/* Asks the servers; see doctor.h. Nothing that is sent changes anything: reads and writes name a
 * random key that does not exist, and PSYNC is only asked about. */
#include "doctor/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/call.h"
#include "server/deployment.h"

enum { PROBE_WORDS_MAX = 8 };

struct probe {
    struct doctor_side *side;
    struct deployment *deployment;
    struct client *client;
    struct doctor_node *node;
    char key[48];
};

const struct doctor_command doctor_commands[DOCTOR_COMMANDS] = {
#define DOCTOR_COMMAND(id, name, probe, source, target, consequence)                               \
    [DOCTOR_CMD_##id] = { name, probe, consequence, { DOCTOR_##source, DOCTOR_##target } },
#include "doctor/commands.def"
#undef DOCTOR_COMMAND
};

static bool probe_send(struct probe *p, struct call_reply *reply, size_t argc,
                       const struct bytes *argv) {
    struct err err;
    int64_t timeout_ms = deployment_reply_timeout_ms(p->deployment);
    if (call_send(deployment_loop(p->deployment), p->client, timeout_ms, reply, &err, argc, argv))
        return true;
    p->node->reached = false;
    p->node->err = err;
    return false;
}

/* The words of text, parted by spaces; KEY, EMPTY and SCRIPT stand for words that cannot be written
 * there. */
static bool probe_send_text(struct probe *p, struct call_reply *reply, const char *text) {
    struct bytes argv[PROBE_WORDS_MAX], rest = bytes_of_str(text);
    size_t argc = 0;
    while (rest.len > 0 && argc < PROBE_WORDS_MAX) {
        struct bytes word = bytes_split(&rest, ' ');
        if (bytes_equal_str(word, "KEY")) word = bytes_of_str(p->key);
        if (bytes_equal_str(word, "EMPTY")) word = bytes_of("", 0);
        if (bytes_equal_str(word, "SCRIPT")) word = BYTES_LITERAL("return 1");
        argv[argc++] = word;
    }
    return probe_send(p, reply, argc, argv);
}

/* ---- commands ---- */

static bool contains_nocase(struct bytes text, const char *part) {
    size_t len = strlen(part);
    for (size_t i = 0; i + len <= text.len; i++)
        if (bytes_equal_nocase(bytes_of(text.ptr + i, len), part)) return true;
    return false;
}

enum doctor_answer doctor_answer_of_error(struct bytes text) {
    switch (err_code_of_reply(text.ptr, text.len)) {
    case ERR_UNKNOWN_COMMAND:
        return ANSWER_UNKNOWN;
    case ERR_NOPERM:
        if (contains_nocase(text, " channel")) return ANSWER_NO_CHANNELS;
        return contains_nocase(text, " key") ? ANSWER_NO_KEYS : ANSWER_NOPERM;
    case ERR_SERVER:
        return contains_nocase(text, "unknown subcommand") || contains_nocase(text, "syntax error")
                   ? ANSWER_UNKNOWN
                   : ANSWER_REFUSED;
    default:
        /* MOVED, OOM, BUSY, a bad payload...: the command itself was accepted */
        return ANSWER_GOOD;
    }
}

static void note_answer(struct probe *p, int command, enum doctor_answer answer,
                        struct bytes text) {
    struct doctor_side *side = p->side;
    if (answer <= side->answers[command]) return;
    side->answers[command] = answer;
    if (answer > ANSWER_GOOD) bytes_escape(text, side->answer_texts[command], DOCTOR_TEXT_MAX);
}

/* An error of the kind that all writes would get now. */
static void note_write_refusal(struct probe *p, struct bytes text) {
    enum err_code code = err_code_of_reply(text.ptr, text.len);
    if (err_class_of(code) == ERR_CLASS_WAIT && p->node->write_refusal[0] == '\0')
        bytes_escape(text, p->node->write_refusal, DOCTOR_TEXT_MAX);
}

/* COMMAND INFO answers with a null for a command that is not there. */
static enum doctor_answer ask_about(struct probe *p, const char *name) {
    struct bytes argv[] = { BYTES_LITERAL("COMMAND"), BYTES_LITERAL("INFO"), bytes_of_str(name) };
    struct call_reply reply;
    struct resp_item first;
    if (!probe_send(p, &reply, 3, argv)) return ANSWER_NOT_ASKED;
    enum doctor_answer answer = ANSWER_NOT_ASKED;
    if (resp_is_aggregate(&reply.item) && resp_next(&reply.cursor, &first))
        answer = first.type == RESP_NULL ? ANSWER_UNKNOWN : ANSWER_GOOD;
    call_reply_fini(&reply);
    return answer;
}

static void probe_command(struct probe *p, int id) {
    const struct doctor_command *command = &doctor_commands[id];
    if (command->severity[p->side->id] == DOCTOR_NONE || !p->node->reached) return;
    if (command->probe == NULL) {
        note_answer(p, id, ask_about(p, command->name),
                    BYTES_LITERAL("not in the server's list of commands"));
        return;
    }
    struct call_reply reply;
    if (!probe_send_text(p, &reply, command->probe)) return;
    bool refused = resp_is_error(&reply.item);
    note_answer(p, id, refused ? doctor_answer_of_error(reply.item.str) : ANSWER_GOOD,
                reply.item.str);
    if (refused) note_write_refusal(p, reply.item.str);
    if (id == DOCTOR_CMD_FUNCTION_DUMP && resp_is_string(&reply.item))
        p->side->functions_bytes += reply.item.str.len;
    call_reply_fini(&reply);
}

/* ---- the user ---- */

static void probe_user(struct probe *p) {
    struct call_reply reply;
    if (!probe_send_text(p, &reply, "ACL WHOAMI")) return;
    if (resp_is_string(&reply.item))
        snprintf(p->side->user, sizeof(p->side->user), "%.*s", (int)reply.item.str.len,
                 reply.item.str.ptr);
    call_reply_fini(&reply);
    if (p->side->user[0] == '\0' || p->side->id != DOCTOR_SOURCE) return;
    struct bytes argv[] = { BYTES_LITERAL("ACL"),        BYTES_LITERAL("DRYRUN"),
                            bytes_of_str(p->side->user), BYTES_LITERAL("PSYNC"),
                            BYTES_LITERAL("?"),          BYTES_LITERAL("-1") };
    if (!probe_send(p, &reply, 6, argv)) return;
    /* "OK", or a sentence that is no error reply. */
    p->side->psync_denied |= resp_is_string(&reply.item) && !bytes_equal_str(reply.item.str, "OK");
    call_reply_fini(&reply);
}

/* ---- settings, clock, databases ---- */

static void probe_events(struct probe *p) {
    struct call_reply reply;
    struct resp_item name, value;
    if (!probe_send_text(p, &reply, "CONFIG GET notify-keyspace-events")) return;
    if (resp_is_aggregate(&reply.item) && resp_next(&reply.cursor, &name) &&
        resp_next(&reply.cursor, &value)) {
        p->side->notify_known = p->node->live.notify_known = true;
        snprintf(p->side->notify, sizeof(p->side->notify), "%.*s", (int)value.str.len,
                 value.str.ptr);
        memcpy(p->node->live.notify, p->side->notify, sizeof(p->node->live.notify));
    }
    call_reply_fini(&reply);
}

/* The time in the reply to TIME lies between sending and receiving: the best guess is the middle,
 * wrong by half at most. */
static bool probe_clock_once(struct probe *p, int64_t *ahead_us, int64_t *within_us) {
    struct call_reply reply;
    struct resp_item seconds, micros;
    int64_t s = 0, us = 0, wall_us = clock_wall_us(), sent_us = clock_mono_us();
    if (!probe_send_text(p, &reply, "TIME")) return false;
    int64_t took_us = clock_mono_us() - sent_us;
    bool good = resp_is_aggregate(&reply.item) && resp_next(&reply.cursor, &seconds) &&
                resp_next(&reply.cursor, &micros) && bytes_to_i64(seconds.str, &s) &&
                bytes_to_i64(micros.str, &us);
    call_reply_fini(&reply);
    *within_us = took_us / 2 + 1;
    *ahead_us = s * 1000000 + us - (wall_us + took_us / 2);
    return good;
}

static void probe_clock(struct probe *p) {
    for (int i = 0; i < DOCTOR_CLOCK_SAMPLES; i++) {
        int64_t ahead_us, within_us;
        if (!probe_clock_once(p, &ahead_us, &within_us)) return;
        if (p->node->has_clock && within_us >= p->node->clock_within_us) continue;
        p->node->has_clock = true;
        p->node->clock_ahead_us = ahead_us;
        p->node->clock_within_us = within_us;
    }
}

static void probe_add_database(struct doctor_side *side, int db, uint64_t keys) {
    int at = 0;
    while (at < side->n_dbs && side->dbs[at] != db) at++;
    if (at == DOCTOR_DATABASES_MAX) return;
    if (at == side->n_dbs) {
        side->dbs[side->n_dbs++] = db;
        side->db_keys[at] = 0;
    }
    side->db_keys[at] += keys;
}

static void probe_info(struct probe *p) {
    struct call_reply reply;
    if (!probe_send_text(p, &reply, "INFO")) return;
    if (resp_is_string(&reply.item)) {
        int dbs[DOCTOR_DATABASES_MAX];
        server_info_parse(&p->node->info, reply.item.str);
        int n = info_databases(reply.item.str, dbs, DOCTOR_DATABASES_MAX);
        for (int i = 0; i < n; i++) {
            uint64_t keys, expires;
            info_keyspace(reply.item.str, dbs[i], &keys, &expires);
            p->node->keys += keys;
            p->node->expires += expires;
            probe_add_database(p->side, dbs[i], keys);
        }
    }
    call_reply_fini(&reply);
}

/* ---- nodes and sides ---- */

static void probe_node(struct probe *p) {
    p->node->reached = true;
    p->client = deployment_call_open(p->deployment, &p->node->address, &p->node->err);
    if (p->client == NULL) {
        p->node->reached = false;
        return;
    }
    probe_info(p);
    for (int id = 0; id < DOCTOR_COMMANDS; id++) probe_command(p, id);
    if (p->node->reached) probe_user(p);
    if (p->node->reached) probe_events(p);
    if (p->node->reached) probe_clock(p);
    if (p->node->reached) doctor_probe_live(p->side, p->deployment, p->client, p->node);
    client_close(&p->client);
}

/* A name that nobody has; its braces are no hash tag, as there are none. Not one that "~longhaul:*"
 * of an ACL allows: whether the user may access keys in general is asked with it. */
static void make_key(char *key, size_t size) {
    unsigned char random[12];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        memset(random, 0x5a, sizeof(random));
    int len = snprintf(key, size, "longhaul-doctor:");
    for (size_t i = 0; i < sizeof(random); i++)
        len += snprintf(key + len, size - (size_t)len, "%02x", random[i]);
}

static void load_nodes(struct doctor_side *side, struct deployment *deployment) {
    struct topology *t = deployment_topology(deployment);
    side->n_primaries = t->n_primaries;
    side->n_replicas = t->n_nodes - t->n_primaries;
    side->uncovered = topology_uncovered(t);
    side->nodes = mem_zalloc(sizeof(*side->nodes) * (size_t)t->n_primaries);
    for (int i = 0; i < t->n_nodes && side->n_nodes < DOCTOR_NODES_MAX; i++) {
        if (!topology_is_primary(t, i)) continue;
        struct doctor_node *node = &side->nodes[side->n_nodes++];
        node->address = t->nodes[i].address;
        address_format(&node->address, node->name, sizeof(node->name));
    }
    topology_unref(&t);
}

static bool is_elasticache(const struct endpoint *endpoint) {
    if (endpoint->n_hosts == 0) return false;
    const char *host = endpoint->hosts[0].host;
    return strstr(host, ".cache.amazonaws.com") != NULL;
}

static void load_endpoint(struct doctor_side *side, const struct endpoint *endpoint) {
    snprintf(side->label, sizeof(side->label), "%s", endpoint->label);
    side->tls = endpoint->tls.on;
    side->elasticache = is_elasticache(endpoint);
    side->db = endpoint->db;
}

/* For a standalone primary INFO tells its replicas. */
static void count_replicas(struct doctor_side *side, const struct deployment *deployment) {
    int64_t n = 0;
    if (side->cluster) return;
    if (bytes_to_i64(info_field(deployment_info_text(deployment), "connected_slaves"), &n))
        side->n_replicas = (int)n;
}

void doctor_probe(struct doctor_side *side, struct loop *loop, const struct doctor_access *access,
                  enum doctor_side_id id) {
    *side = (struct doctor_side){ .id = id, .given = true, .kind = "" };
    load_endpoint(side, &access->endpoint);
    struct probe p = { .side = side };
    p.deployment = deployment_open(loop, &access->endpoint, &access->settings, &side->err);
    if (p.deployment == NULL) return;
    side->reached = true;
    side->kind = deployment_kind(p.deployment);
    side->cluster = deployment_is_cluster(p.deployment);
    make_key(p.key, sizeof(p.key));
    load_nodes(side, p.deployment);
    count_replicas(side, p.deployment);
    for (int i = 0; i < side->n_nodes; i++) {
        p.node = &side->nodes[i];
        probe_node(&p);
    }
    deployment_free(&p.deployment);
}

static void probe_select(struct probe *p, int db) {
    char command[32];
    struct call_reply reply;
    snprintf(command, sizeof(command), "SELECT %d", db);
    if (!probe_send_text(p, &reply, command)) return;
    if (resp_is_error(&reply.item)) p->side->unselectable[p->side->n_unselectable++] = db;
    call_reply_fini(&reply);
}

void doctor_probe_databases(struct doctor_side *side, struct loop *loop,
                            const struct doctor_access *access, const struct doctor_side *other) {
    if (!side->reached || side->n_nodes == 0 || !side->nodes[0].reached) return;
    struct probe p = { .side = side, .node = &side->nodes[0] };
    struct err err;
    p.deployment = deployment_open(loop, &access->endpoint, &access->settings, &err);
    if (p.deployment != NULL) p.client = deployment_call_open(p.deployment, &p.node->address, &err);
    for (int i = 0; i < other->n_dbs && p.client != NULL && p.node->reached; i++)
        probe_select(&p, other->dbs[i]);
    client_close(&p.client);
    deployment_free(&p.deployment);
}

void doctor_side_fini(struct doctor_side *side) {
    free(side->nodes);
    side->nodes = NULL;
    side->n_nodes = 0;
}
