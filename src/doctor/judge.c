/* From facts to findings; see doctor.h. A finding tells the fact, its consequence for a
 * replication, and the remedy. Asks no server. */
#include "doctor/doctor.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/slot.h"
#include "base/units.h"

/* From where on a difference of clocks is worth a line, and a warning. */
#define SKEW_NOTE_US INT64_C(50000)
#define SKEW_WARNING_US INT64_C(1000000)

enum { EMPTY_FUNCTIONS_BYTES = 10, NUMBER_MAX = 32, MEMORY_TIGHT_PERCENT = 80 };

/* ---- findings ---- */

static struct doctor_finding *last(struct doctor_findings *f) {
    return &f->items[f->n - 1];
}

static char *format(const char *fmt, va_list ap) {
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, ap);
    return mem_strdup(text);
}

void doctor_findings_add(struct doctor_findings *f, enum doctor_severity severity, const char *side,
                         const char *topic, const char *fmt, ...) {
    if (f->n == f->cap) {
        f->cap = f->cap == 0 ? 32 : f->cap * 2;
        f->items = mem_array(f->items, f->cap, sizeof(*f->items));
    }
    va_list ap;
    va_start(ap, fmt);
    f->items[f->n++] = (struct doctor_finding){ severity, side, topic, format(fmt, ap), NULL };
    va_end(ap);
    f->count[severity]++;
}

void doctor_findings_advise(struct doctor_findings *f, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    free(last(f)->advice);
    last(f)->advice = format(fmt, ap);
    va_end(ap);
}

void doctor_findings_advise_access(struct doctor_findings *f, const struct doctor_side *side,
                                   const char *rules) {
    const char *user = side->user[0] != '\0' ? side->user : "NAME";
    if (side->elasticache)
        doctor_findings_advise(f, "add to the access string of user %s in ElastiCache: %s", user,
                               rules);
    else
        doctor_findings_advise(f,
                               "extend the user's rights: ACL SETUSER %s %s; on ElastiCache, which "
                               "has no ACL SETUSER, add this to the user's access string",
                               user, rules);
}

void doctor_findings_fini(struct doctor_findings *f) {
    for (size_t i = 0; i < f->n; i++) {
        free(f->items[i].text);
        free(f->items[i].advice);
    }
    free(f->items);
    *f = (struct doctor_findings){ 0 };
}

const char *doctor_severity_name(enum doctor_severity severity) {
    static const char *const names[DOCTOR_SEVERITIES] = { "ok", "note", "warning", "problem" };
    return names[severity];
}

const char *doctor_side_name(const struct doctor_side *side) {
    return side->id == DOCTOR_SOURCE ? "source" : "target";
}

static bool is_source(const struct doctor_side *side) {
    return side->id == DOCTOR_SOURCE;
}

/* ---- sums over nodes ---- */

static const struct server_info *first_info(const struct doctor_side *side) {
    for (int i = 0; i < side->n_nodes; i++)
        if (side->nodes[i].reached) return &side->nodes[i].info;
    return NULL;
}

static uint64_t sum_keys(const struct doctor_side *side, uint64_t *expires) {
    uint64_t keys = 0;
    *expires = 0;
    for (int i = 0; i < side->n_nodes; i++) {
        keys += side->nodes[i].keys;
        *expires += side->nodes[i].expires;
    }
    return keys;
}

static uint64_t sum_used(const struct doctor_side *side) {
    uint64_t used = 0;
    for (int i = 0; i < side->n_nodes; i++) used += side->nodes[i].info.used_memory;
    return used;
}

/* Adds the memory that the nodes without maxmemory leave free on their machine. The machine is
 * counted once, with the first of these nodes. False when the size of the machine is not known. */
static bool machine_left(const struct doctor_side *side, int first, uint64_t *left) {
    const char *host = side->nodes[first].address.host;
    uint64_t all = side->nodes[first].info.total_system_memory, used = 0;
    for (int i = 0; i < side->n_nodes; i++) {
        if (side->nodes[i].info.maxmemory > 0 || strcmp(side->nodes[i].address.host, host) != 0)
            continue;
        if (i < first) return true;
        used += side->nodes[i].info.used_memory;
    }
    *left += all > used ? all - used : 0;
    return all > 0;
}

/* Memory that a side has left: below maxmemory where maxmemory is set, else of the machine. False
 * when a node does not say. *by_limit: maxmemory decides everywhere. */
static bool judge_sum_free(const struct doctor_side *side, uint64_t *left, bool *by_limit) {
    *left = 0;
    *by_limit = true;
    for (int i = 0; i < side->n_nodes; i++) {
        const struct server_info *info = &side->nodes[i].info;
        if (!side->nodes[i].reached) return false;
        if (info->maxmemory > 0) {
            *left += info->maxmemory > info->used_memory ? info->maxmemory - info->used_memory : 0;
        } else if (!machine_left(side, i, left)) {
            return false;
        } else {
            *by_limit = false;
        }
    }
    return side->n_nodes > 0;
}

/* ---- one side ---- */

static void judge_unreached(struct doctor_findings *f, const struct doctor_side *side) {
    const char *name = doctor_side_name(side);
    char text[ERR_PLACE_MAX + ERR_TEXT_MAX];
    doctor_findings_add(f, DOCTOR_PROBLEM, name, "reach", "%s",
                        err_format(&side->err, text, sizeof(text)));
    bool unanswered = side->err.code == ERR_CLOSED || side->err.code == ERR_PROTOCOL;
    if (side->elasticache && !side->tls && (unanswered || side->err.code == ERR_TLS))
        doctor_findings_advise(f,
                               "this is an ElastiCache endpoint: with encryption in transit it "
                               "takes TLS only; add --%s-tls or write rediss://",
                               name);
    else if (side->err.code == ERR_CONNECT)
        doctor_findings_advise(f, "check host and port, and that the server runs");
    else if (side->err.code == ERR_TIMEOUT)
        doctor_findings_advise(
            f, "check address, firewall and security group from this machine%s",
            side->elasticache ? "; ElastiCache is reached from inside its VPC only" : "");
    else
        doctor_findings_advise(f, "%s", err_sentence(side->err.code));
}

static void judge_server(struct doctor_findings *f, const struct doctor_side *side,
                         const struct server_info *info) {
    char version[64], keys[NUMBER_MAX], used[NUMBER_MAX], shape[96];
    uint64_t expires, n = sum_keys(side, &expires);
    server_info_name(info, version, sizeof(version));
    if (side->cluster)
        snprintf(shape, sizeof(shape), "cluster of %d primaries and %d replicas, %u slots covered",
                 side->n_primaries, side->n_replicas, SLOT_COUNT - side->uncovered);
    else
        snprintf(shape, sizeof(shape), "%s, %s with %d replicas", side->kind,
                 info->replica ? "replica" : "primary", side->n_replicas);
    doctor_findings_add(f, DOCTOR_OK, doctor_side_name(side), "server", "%s, %s%s", version, shape,
                        side->tls ? ", over TLS" : "");
    doctor_findings_add(
        f, DOCTOR_OK, doctor_side_name(side), "keys", "%s keys in %d database%s, %s in use",
        units_format_number(n, keys, sizeof(keys)), side->n_dbs, side->n_dbs == 1 ? "" : "s",
        units_format_bytes(sum_used(side), used, sizeof(used)));
}

static void judge_tls(struct doctor_findings *f, const struct doctor_side *side) {
    if (!side->elasticache || side->tls) return;
    doctor_findings_add(f, DOCTOR_NOTE, doctor_side_name(side), "tls",
                        "the connection to ElastiCache is not encrypted");
    doctor_findings_advise(
        f,
        "switch on encryption in transit and add --%s-tls, if the network between is not trusted",
        doctor_side_name(side));
}

static void judge_nodes(struct doctor_findings *f, const struct doctor_side *side) {
    const char *name = doctor_side_name(side);
    for (int i = 0; i < side->n_nodes; i++) {
        const struct doctor_node *node = &side->nodes[i];
        if (!node->reached) {
            doctor_findings_add(f, DOCTOR_PROBLEM, name, "reach", "%s: %s", node->name,
                                node->err.text);
            doctor_findings_advise(
                f, "every primary must be reachable from this machine, under the address that the "
                   "cluster announces");
            continue;
        }
        if (node->info.loading) {
            doctor_findings_add(f, DOCTOR_PROBLEM, name, "loading",
                                "%s is loading its data and answers nothing else", node->name);
            doctor_findings_advise(f, "wait until it has finished");
        }
        if (node->write_refusal[0] == '\0' || is_source(side)) continue;
        doctor_findings_add(f, DOCTOR_PROBLEM, name, "writes", "%s refuses writes now: %s",
                            node->name, node->write_refusal);
        doctor_findings_advise(
            f, "%s",
            err_sentence(err_code_of_reply(node->write_refusal, strlen(node->write_refusal))));
    }
}

static void judge_slots(struct doctor_findings *f, const struct doctor_side *side) {
    if (!side->cluster || side->uncovered == 0) return;
    doctor_findings_add(f, DOCTOR_PROBLEM, doctor_side_name(side), "slots",
                        "%u of %d slots have no owner: keys in them cannot be %s", side->uncovered,
                        SLOT_COUNT, is_source(side) ? "read" : "written");
    doctor_findings_advise(f, "repair the cluster first (redis-cli --cluster check)");
}

static void judge_replica(struct doctor_findings *f, const struct doctor_side *side,
                          const struct server_info *info) {
    if (side->cluster || !info->replica) return;
    if (!is_source(side)) {
        doctor_findings_add(f, DOCTOR_PROBLEM, "target", "role",
                            "is a replica of %s:%u, which takes no writes from others",
                            info->primary_host, info->primary_port);
        doctor_findings_advise(f, "name its primary, or end the replication with REPLICAOF NO ONE");
        return;
    }
    bool up = info->primary_link_up;
    doctor_findings_add(f, up ? DOCTOR_NOTE : DOCTOR_WARNING, "source", "role",
                        "is a replica of %s:%u, and %s", info->primary_host, info->primary_port,
                        up ? "may be a moment behind it: that is what gets copied"
                           : "has lost it: old data would be copied");
    doctor_findings_advise(f, up ? "name the primary if the newest writes matter"
                                 : "restore the link, or name the primary");
}

/* "CLIENT LIST" as rules write it: "+client|list". */
static const char *acl_name(const char *command, char *text, size_t size) {
    size_t i;
    text[0] = '+';
    for (i = 0; command[i] != '\0' && i + 2 < size; i++)
        text[i + 1] = command[i] == ' ' ? '|' : (char)tolower((unsigned char)command[i]);
    text[i + 1] = '\0';
    return text;
}

static void judge_command(struct doctor_findings *f, const struct doctor_side *side, int id) {
    const struct doctor_command *command = &doctor_commands[id];
    enum doctor_answer answer = side->answers[id];
    if (answer <= ANSWER_GOOD || answer == ANSWER_NO_KEYS) return;
    enum doctor_severity severity = command->severity[side->id];
    const char *name = doctor_side_name(side);
    char rule[NUMBER_MAX];
    if (answer == ANSWER_UNKNOWN) {
        doctor_findings_add(f, severity, name, "commands", "%s is not there: %s", command->name,
                            command->consequence);
    } else {
        doctor_findings_add(f, severity, name, "commands", "%s %s (%s): %s", command->name,
                            answer == ANSWER_NOPERM ? "may not be used by this user" : "is refused",
                            side->answer_texts[id], command->consequence);
    }
    if (answer == ANSWER_NOPERM)
        doctor_findings_advise_access(f, side, acl_name(command->name, rule, sizeof(rule)));
    else if (severity >= DOCTOR_WARNING)
        doctor_findings_advise(
            f, "the provider may have switched it off, or rename-command renamed it; it is needed "
               "under its own name");
}

static void judge_commands(struct doctor_findings *f, const struct doctor_side *side) {
    int asked = 0, bad = 0, no_keys = -1;
    for (int id = 0; id < DOCTOR_COMMANDS; id++) {
        if (side->answers[id] == ANSWER_NOT_ASKED) continue;
        asked++;
        if (side->answers[id] != ANSWER_GOOD) bad++;
        if (side->answers[id] == ANSWER_NO_KEYS) no_keys = id;
        judge_command(f, side, id);
    }
    if (no_keys >= 0) {
        doctor_findings_add(f, DOCTOR_WARNING, doctor_side_name(side), "acl",
                            "the user may not access every key (%s): the others are given up",
                            side->answer_texts[no_keys]);
        doctor_findings_advise_access(f, side, "~*");
    }
    if (bad == 0)
        doctor_findings_add(f, DOCTOR_OK, doctor_side_name(side), "commands",
                            "all %d commands that longhaul uses are there", asked);
}

static void judge_user(struct doctor_findings *f, const struct doctor_side *side) {
    if (side->user[0] != '\0')
        doctor_findings_add(f, DOCTOR_OK, doctor_side_name(side), "acl", "logged in as \"%s\"",
                            side->user);
    if (side->psync_denied && side->answers[DOCTOR_CMD_PSYNC] == ANSWER_GOOD)
        doctor_findings_add(f, DOCTOR_NOTE, "source", "acl",
                            "the user may not use PSYNC; longhaul does not need it");
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void judge_target_eviction(struct doctor_findings *f, const char *policy,
                                  uint64_t maxmemory) {
    if (maxmemory == 0) {
        doctor_findings_add(f, DOCTOR_OK, "target", "eviction",
                            "%s, without effect as maxmemory is not set", policy);
        return;
    }
    doctor_findings_add(
        f, DOCTOR_WARNING, "target", "eviction",
        "maxmemory-policy is %s: a target that gets full silently loses %s of the copy", policy,
        starts_with(policy, "volatile") ? "keys with an expiry" : "keys");
    doctor_findings_advise(
        f,
        "set maxmemory-policy noeviction until the copy is in use, so that a full target says so");
}

static void judge_eviction(struct doctor_findings *f, const struct doctor_side *side,
                           const struct server_info *info) {
    const char *policy = info->maxmemory_policy;
    if (policy[0] == '\0') {
        doctor_findings_add(f, DOCTOR_NOTE, doctor_side_name(side), "eviction",
                            "the server does not say whether it evicts");
    } else if (strcmp(policy, "noeviction") == 0) {
        doctor_findings_add(f, DOCTOR_OK, doctor_side_name(side), "eviction",
                            "noeviction: nothing is dropped for lack of memory");
    } else if (!is_source(side)) {
        judge_target_eviction(f, policy, info->maxmemory);
    } else if (info->maxmemory == 0) {
        doctor_findings_add(f, DOCTOR_OK, "source", "eviction",
                            "%s, without effect as maxmemory is not set", policy);
    } else {
        bool by_use = strstr(policy, "lru") != NULL || strstr(policy, "lfu") != NULL;
        bool touches = side->answers[DOCTOR_CMD_NO_TOUCH] > ANSWER_GOOD && by_use;
        doctor_findings_add(
            f, touches ? DOCTOR_WARNING : DOCTOR_NOTE, "source", "eviction",
            "maxmemory-policy is %s: keys that it drops during the copy are not copied%s", policy,
            touches
                ? ", and reading makes all keys look equally used, so that it drops the wrong ones"
                : "");
        if (touches) doctor_findings_advise(f, "read from a replica: --source-read-from replica");
    }
}

static void judge_events(struct doctor_findings *f, const struct doctor_side *side) {
    if (!is_source(side) || !side->notify_known) return;
    bool on = side->notify[0] != '\0';
    doctor_findings_add(f, DOCTOR_OK, "source", "events",
                        on ? "notify-keyspace-events is \"%s\"" : "notify-keyspace-events is off%s",
                        on ? side->notify : "; a copy does not need it");
}

static bool has_functions(const struct doctor_side *side) {
    return side->functions_bytes > (uint64_t)EMPTY_FUNCTIONS_BYTES * (uint64_t)side->n_nodes;
}

static void judge_functions(struct doctor_findings *f, const struct doctor_side *side) {
    if (!is_source(side) || !has_functions(side)) return;
    doctor_findings_add(
        f, DOCTOR_OK, "source", "functions",
        "the server holds function libraries, which are copied too (unless --no-functions)");
}

static void judge_clock(struct doctor_findings *f, const struct doctor_side *side) {
    for (int i = 0; i < side->n_nodes; i++) {
        const struct doctor_node *node = &side->nodes[i];
        if (!node->has_clock) continue;
        int64_t off_us = llabs(node->clock_ahead_us);
        if (off_us < node->clock_within_us + SKEW_NOTE_US) continue;
        doctor_findings_add(f, DOCTOR_NOTE, doctor_side_name(side), "clock",
                            "the clock of %s is %.3f s %s this machine's (within %.3f s)",
                            node->name, (double)off_us / 1e6,
                            node->clock_ahead_us > 0 ? "ahead of" : "behind",
                            (double)node->clock_within_us / 1e6);
    }
}

void doctor_judge_side(struct doctor_findings *f, const struct doctor_side *side) {
    if (!side->given) return;
    if (!side->reached) {
        judge_unreached(f, side);
        return;
    }
    const struct server_info *info = first_info(side);
    if (info != NULL) judge_server(f, side, info);
    judge_nodes(f, side);
    judge_slots(f, side);
    if (info == NULL) return;
    judge_replica(f, side, info);
    judge_user(f, side);
    judge_commands(f, side);
    judge_tls(f, side);
    judge_eviction(f, side, info);
    judge_functions(f, side);
    judge_events(f, side);
    judge_clock(f, side);
    doctor_judge_live(f, side);
}

/* ---- both sides ---- */

int doctor_rdb_version(const struct server_info *info) {
    static const struct {
        server_version from;
        int rdb;
    } redis[] = { { SERVER_VERSION(8, 8, 0), 14 }, { SERVER_VERSION(8, 6, 0), 13 },
                  { SERVER_VERSION(7, 4, 0), 12 }, { SERVER_VERSION(7, 2, 0), 11 },
                  { SERVER_VERSION(7, 0, 0), 10 }, { SERVER_VERSION(5, 0, 0), 9 },
                  { SERVER_VERSION(4, 0, 0), 8 },  { SERVER_VERSION(3, 2, 0), 7 } };
    if (info->flavour == SERVER_VALKEY) return info->version >= SERVER_VERSION(9, 0, 0) ? 80 : 11;
    for (size_t i = 0; i < sizeof(redis) / sizeof(redis[0]); i++)
        if (info->version >= redis[i].from) return redis[i].rdb;
    return 6;
}

/* Valkey 8.1 and newer refuse the RDB versions that only Redis writes, 12 to 79, although these
 * numbers are lower than their own. */
bool doctor_takes_rdb(const struct server_info *info, int rdb) {
    if (info->flavour == SERVER_VALKEY && info->version >= SERVER_VERSION(8, 1, 0) && rdb >= 12 &&
        rdb < 80)
        return false;
    return rdb <= doctor_rdb_version(info);
}

static void judge_same(struct doctor_findings *f, const struct doctor_side *source,
                       const struct doctor_side *target) {
    for (int i = 0; i < source->n_nodes; i++)
        for (int k = 0; k < target->n_nodes; k++) {
            const char *a = source->nodes[i].info.run_id, *b = target->nodes[k].info.run_id;
            if (a[0] == '\0' || strcmp(a, b) != 0 || (source->db != target->db && !source->cluster))
                continue;
            doctor_findings_add(f, DOCTOR_PROBLEM, "both", "same",
                                "%s and %s are the same server process", source->nodes[i].name,
                                target->nodes[k].name);
            doctor_findings_advise(f, "name another target");
            return;
        }
}

/* ---- features that one server has and another may lack ---- */

static bool has_streams(const struct server_info *info) {
    return info->flavour == SERVER_VALKEY || info->version >= SERVER_VERSION(5, 0, 0);
}

static bool has_field_expiry(const struct server_info *info) {
    return info->version >=
           (info->flavour == SERVER_VALKEY ? SERVER_VERSION(9, 0, 0) : SERVER_VERSION(7, 4, 0));
}

static bool has_vector_sets(const struct server_info *info) {
    return info->flavour == SERVER_REDIS && info->version >= SERVER_VERSION(8, 0, 0);
}

/* Before 6.2 servers exit on the value of a module that they do not have, so that none is sent
 * there. */
static bool refuses_modules(const struct server_info *info) {
    return info->flavour == SERVER_VALKEY || info->version >= SERVER_VERSION(6, 2, 0);
}

static bool has_function_libraries(const struct server_info *info) {
    return info->flavour == SERVER_VALKEY || info->version >= SERVER_VERSION(7, 0, 0);
}

/* "streams, vector sets"; empty when the target can have everything. */
static void list_lacking(const struct server_info *source, const struct server_info *target,
                         char *text, size_t size) {
    static const struct {
        const char *name;
        bool (*has)(const struct server_info *info);
    } features[] = { { "streams", has_streams },
                     { "hashes with expiring fields", has_field_expiry },
                     { "vector sets", has_vector_sets },
                     { "values of modules", refuses_modules } };
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (features[i].has(source) && !features[i].has(target) && len < size)
            len += (size_t)snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "",
                                    features[i].name);
}

static void judge_lacking(struct doctor_findings *f, const struct server_info *source,
                          const struct server_info *target) {
    char name[64], lacking[128];
    list_lacking(source, target, lacking, sizeof(lacking));
    if (lacking[0] == '\0') return;
    server_info_name(target, name, sizeof(name));
    doctor_findings_add(
        f, DOCTOR_WARNING, "both", "versions",
        "%s cannot have %s: keys of that kind are given up and listed, all others cross", name,
        lacking);
    doctor_findings_advise(
        f, "if the source has such keys, use a target of its family, of the same version or newer");
}

static void judge_versions(struct doctor_findings *f, const struct server_info *source,
                           const struct server_info *target) {
    char a[64], b[64];
    int rdb = doctor_rdb_version(source);
    server_info_name(source, a, sizeof(a));
    server_info_name(target, b, sizeof(b));
    if (doctor_takes_rdb(target, rdb)) {
        doctor_findings_add(f, DOCTOR_OK, "both", "versions",
                            "%s takes the values of %s as they are", b, a);
    } else {
        doctor_findings_add(
            f, DOCTOR_NOTE, "both", "versions",
            "%s writes values in format %d, which %s does not take: those whose encoding it knows "
            "are "
            "re-stamped, the others are written by commands, which is slower",
            a, rdb, b);
    }
    judge_lacking(f, source, target);
}

static void judge_target_functions(struct doctor_findings *f, const struct doctor_side *source,
                                   const struct server_info *target) {
    char name[64];
    if (!has_functions(source) || has_function_libraries(target)) return;
    server_info_name(target, name, sizeof(name));
    doctor_findings_add(
        f, DOCTOR_WARNING, "both", "functions",
        "the source holds function libraries, and %s cannot have any: they are given up and listed",
        name);
    doctor_findings_advise(
        f,
        "add --no-functions if nobody needs them there, or use a target of version 7.0 or newer");
}

static void judge_memory(struct doctor_findings *f, const struct doctor_side *source,
                         const struct doctor_side *target) {
    char need_text[NUMBER_MAX], left_text[NUMBER_MAX];
    uint64_t need = sum_used(source), left;
    bool by_limit;
    units_format_bytes(need, need_text, sizeof(need_text));
    if (!judge_sum_free(target, &left, &by_limit)) {
        doctor_findings_add(f, DOCTOR_NOTE, "both", "memory",
                            "the source uses %s; the target does not say what it has", need_text);
        return;
    }
    units_format_bytes(left, left_text, sizeof(left_text));
    const char *where = by_limit ? "below its maxmemory" : "of its machine's memory";
    bool tight = need / 100 * 100 > left / 100 * MEMORY_TIGHT_PERCENT;
    if (need > left) {
        doctor_findings_add(
            f, DOCTOR_PROBLEM, "both", "memory",
            "the source uses %s, and the target has %s left %s: it gets full before the copy is "
            "done",
            need_text, left_text, where);
        doctor_findings_advise(
            f, "give the target more memory, or copy less (--key-pattern, --mem-limit)");
    } else if (tight) {
        doctor_findings_add(f, DOCTOR_WARNING, "both", "memory",
                            "the source uses %s, and the target has %s left %s: that is tight",
                            need_text, left_text, where);
        doctor_findings_advise(
            f, "give the target more memory; encodings and fragmentation differ between servers");
    } else {
        doctor_findings_add(f, DOCTOR_OK, "both", "memory",
                            "the source uses %s, and the target has %s left %s", need_text,
                            left_text, where);
    }
}

static void judge_existing(struct doctor_findings *f, const struct doctor_side *target) {
    char keys[NUMBER_MAX];
    uint64_t expires, n = sum_keys(target, &expires);
    if (n == 0) return;
    doctor_findings_add(
        f, DOCTOR_WARNING, "target", "keys",
        "holds %s keys already: those with the name of a copied key are overwritten, the others "
        "stay",
        units_format_number(n, keys, sizeof(keys)));
    doctor_findings_advise(
        f, "empty the target first, if it is meant to become a copy and nothing else");
}

/* "0, 3, 5" */
static void list_numbers(const int *numbers, int n, char *text, size_t size) {
    size_t len = 0;
    text[0] = '\0';
    for (int i = 0; i < n && len + 16 < size; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%d", i > 0 ? ", " : "", numbers[i]);
}

static void judge_databases(struct doctor_findings *f, const struct doctor_side *source,
                            const struct doctor_side *target) {
    char text[256];
    int others[DOCTOR_DATABASES_MAX], n = 0;
    for (int i = 0; i < source->n_dbs; i++)
        if (source->dbs[i] != source->db) others[n++] = source->dbs[i];
    if (n > 0) {
        list_numbers(others, n, text, sizeof(text));
        doctor_findings_add(f, DOCTOR_WARNING, "source", "databases",
                            "keys are in other databases too (%s), and only database %d is copied",
                            text, source->db);
        doctor_findings_advise(f, "add --databases all to copy them");
    }
    if (target->n_unselectable == 0) return;
    list_numbers(target->unselectable, target->n_unselectable, text, sizeof(text));
    doctor_findings_add(f, DOCTOR_WARNING, "target", "databases",
                        "databases that the source uses are not there: %s%s", text,
                        target->cluster ? " (a cluster has database 0)" : "");
    doctor_findings_advise(
        f, "%s",
        target->cluster ? "copy each of them into a target of its own, or into a standalone server"
                        : "raise \"databases\" on the target");
}

static void judge_clocks(struct doctor_findings *f, const struct doctor_side *source,
                         const struct doctor_side *target) {
    int64_t worst_us = -1, within_us = 0;
    for (int i = 0; i < source->n_nodes; i++)
        for (int k = 0; k < target->n_nodes; k++) {
            const struct doctor_node *a = &source->nodes[i], *b = &target->nodes[k];
            int64_t off_us = llabs(a->clock_ahead_us - b->clock_ahead_us);
            if (!a->has_clock || !b->has_clock || off_us <= worst_us) continue;
            worst_us = off_us;
            within_us = a->clock_within_us + b->clock_within_us;
        }
    if (worst_us < 0) return;
    bool bad = worst_us > within_us + SKEW_WARNING_US;
    enum doctor_severity severity = bad                                   ? DOCTOR_WARNING
                                    : worst_us > within_us + SKEW_NOTE_US ? DOCTOR_NOTE
                                                                          : DOCTOR_OK;
    doctor_findings_add(
        f, severity, "both", "clocks", "source and target differ by %.3f s (within %.3f s)%s",
        (double)worst_us / 1e6, (double)within_us / 1e6,
        severity > DOCTOR_OK ? ": keys expire on the target earlier or later by that much" : "");
    if (bad) doctor_findings_advise(f, "set the clocks right (NTP) on both sides");
}

void doctor_judge_both(struct doctor_findings *f, const struct doctor_side *source,
                       const struct doctor_side *target) {
    const struct server_info *from = first_info(source), *to = first_info(target);
    if (!source->reached || !target->reached || from == NULL || to == NULL) return;
    judge_same(f, source, target);
    judge_versions(f, from, to);
    judge_target_functions(f, source, to);
    judge_databases(f, source, target);
    judge_existing(f, target);
    judge_memory(f, source, target);
    judge_clocks(f, source, target);
}
