/* See evidence.h.
 *
 * The causes that make idle times deceive, and the members that show each cause (redis 7.0.15
 * src/evict.c estimateObjectIdleTime(), src/db.c lookupKey(), src/config.c):
 *
 *   a child process saves or rewrites: the server notes no access times
 *       forks, last_save_s, save_s, rewrite_s, has_child
 *   an LFU policy, for a moment too: the field holds a frequency
 *       policy, config_calls
 *   CONFIG RESETSTAT hides forks
 *       config_calls, and every counter that fell
 *   the clock was set back: a key that was just written is idle for 194 days
 *       time_us against the observer's clocks
 *   another dataset: a resynchronised replica, a restart, a failover, DEBUG RELOAD
 *       run_id, started_us, replid, replica, loaded_keys, load_expired
 */
#include "live/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    /* Between two samples longhaul itself calls INFO at least that often: for the calls of commands
     * of the first one, which are counted behind its own answer, and for the second one. */
    EVIDENCE_OWN_INFO = 2,
    CLOCK_SLACK_US = 200 * 1000, /* by which two clocks may differ over a short time */
    CLOCK_DRIFT_PART = 1000,     /* and over a long one: this part of it */
    START_SLACK_US =
        3 * 1000 * 1000, /* uptime is told in whole seconds, by a clock of its own rounding */
};

static int64_t evidence_counter(bool known, uint64_t n) {
    return known && n <= INT64_MAX ? (int64_t)n : -1;
}

static void evidence_copy_databases(struct evidence *e, const struct sample_db *dbs, size_t n) {
    e->dbs = n > 0 ? mem_array(NULL, n, sizeof(*dbs)) : NULL;
    if (n > 0) memcpy(e->dbs, dbs, n * sizeof(*dbs));
    e->n_dbs = n;
}

void evidence_of_sample(struct evidence *e, const struct server_sample *s, const char *boot_id) {
    *e = (struct evidence){ .replica = s->info.replica,
                            .time_us = s->time_us,
                            .asked_boot_us = s->asked_boot_us,
                            .answered_boot_us = s->answered_boot_us,
                            .asked_wall_us = s->asked_wall_us,
                            .has_child = s->has_child,
                            .has_modules = s->has_modules,
                            .forks = evidence_counter(s->forks_known, s->forks),
                            .last_save_s = s->last_save_s,
                            .save_s = s->save_s,
                            .rewrite_s = s->rewrite_s,
                            .loaded_keys = s->loaded_keys,
                            .load_expired = s->load_expired };
    bool calls = s->calls_known;
    if (s->time_us > 0 && s->uptime_s >= 0) e->started_us = s->time_us - s->uptime_s * 1000000;
    e->commands = evidence_counter(s->total_commands > 0, s->total_commands);
    e->connections = evidence_counter(s->total_connections > 0, s->total_connections);
    e->info_calls = evidence_counter(calls, s->calls[SAMPLE_INFO]);
    e->role_calls = evidence_counter(calls, s->calls[SAMPLE_ROLE]);
    e->config_calls = evidence_counter(calls, s->calls[SAMPLE_CONFIG]);
    e->swaps = evidence_counter(calls, s->calls[SAMPLE_SWAPDB]);
    e->flushes = evidence_counter(calls, s->calls[SAMPLE_FLUSH]);
    e->resets = evidence_counter(calls, s->resets);
    e->resets_us = evidence_counter(calls, s->resets_us);
    snprintf(e->run_id, sizeof(e->run_id), "%s", s->info.run_id);
    snprintf(e->replid, sizeof(e->replid), "%s", s->info.replid);
    snprintf(e->policy, sizeof(e->policy), "%s", s->info.maxmemory_policy);
    snprintf(e->boot_id, sizeof(e->boot_id), "%s", boot_id);
    evidence_copy_databases(e, s->dbs, s->n_dbs);
}

void evidence_copy(struct evidence *to, const struct evidence *from) {
    *to = *from;
    evidence_copy_databases(to, from->dbs, from->n_dbs);
}

void evidence_fini(struct evidence *e) {
    free(e->dbs);
    *e = (struct evidence){ 0 };
}

uint64_t evidence_keys(const struct evidence *e, int db) {
    for (size_t i = 0; i < e->n_dbs; i++)
        if (e->dbs[i].db == db) return e->dbs[i].keys;
    return 0;
}

/* ---- judging ---- */

static bool evidence_same_start(const struct evidence *then, const struct evidence *now) {
    if (then->started_us == 0 || now->started_us == 0) return true;
    int64_t apart_us = now->started_us - then->started_us;
    return apart_us > -START_SLACK_US && apart_us < START_SLACK_US;
}

/* A primary that has lost its last replica takes a new replid after repl-backlog-ttl (redis 7.0.15
 * src/replication.c replicationCron()); that changes nothing, and a run_id is of one process. */
static bool evidence_same_history(const struct evidence *then, const struct evidence *now) {
    if (then->replica != now->replica) return false;
    if (now->replica && then->loaded_keys != now->loaded_keys) return false;
    return !now->replica || strcmp(then->replid, now->replid) == 0;
}

/* The source's clock must have gone on by at least as much as the observer's. */
static bool evidence_clock_was_set_back(const struct evidence *then, const struct evidence *now) {
    bool same_boot = then->boot_id[0] != '\0' && strcmp(then->boot_id, now->boot_id) == 0;
    int64_t passed_us = same_boot ? now->asked_boot_us - then->answered_boot_us
                                  : now->asked_wall_us - then->asked_wall_us;
    if (passed_us < 0) passed_us = 0;
    int64_t told_us = now->time_us - then->time_us;
    return told_us < 0 || told_us < passed_us - CLOCK_SLACK_US - passed_us / CLOCK_DRIFT_PART;
}

static bool evidence_fell(int64_t then, int64_t now) {
    return now < then;
}

static bool evidence_a_counter_fell(const struct evidence *then, const struct evidence *now) {
    return evidence_fell(then->commands, now->commands) ||
           evidence_fell(then->connections, now->connections) ||
           evidence_fell(then->info_calls, now->info_calls) ||
           evidence_fell(then->role_calls, now->role_calls) ||
           evidence_fell(then->forks, now->forks) || evidence_fell(then->swaps, now->swaps) ||
           evidence_fell(then->flushes, now->flushes);
}

/* Known both times, and different. */
static bool evidence_differs(int64_t then, int64_t now) {
    return then >= 0 && now >= 0 && then != now;
}

/* A second RESETSTAT soon after a first one makes no counter fall that is near 0; the duration of
 * its own call is another one, and longhaul's own calls are too few. */
static bool evidence_was_reset(const struct evidence *then, const struct evidence *now) {
    bool few = then->info_calls > 0 && now->info_calls < then->info_calls + EVIDENCE_OWN_INFO;
    return few || evidence_a_counter_fell(then, now) ||
           evidence_differs(then->resets, now->resets) ||
           evidence_differs(then->resets_us, now->resets_us);
}

enum evidence_counters evidence_counters(const struct evidence *then, const struct evidence *now) {
    if (strcmp(then->run_id, now->run_id) != 0) return COUNTERS_GO_ON;
    if (then->loaded_keys != now->loaded_keys ||
        evidence_differs(then->load_expired, now->load_expired))
        return COUNTERS_RELOADED;
    return evidence_was_reset(then, now) ? COUNTERS_RESET : COUNTERS_GO_ON;
}

/* Why idle times mean nothing from then on; NULL where they do. */
static const char *evidence_spoilt(const struct evidence *then, const struct evidence *now) {
    if (then->time_us <= 0 || now->time_us <= 0) return "the source does not tell its clock";
    if (then->policy[0] == '\0' || strcmp(then->policy, now->policy) != 0)
        return "the source's maxmemory-policy is another one";
    if (strstr(now->policy, "lfu") != NULL)
        return "the source keeps frequencies in the place of idle times (maxmemory-policy)";
    if (then->config_calls < 0 || now->config_calls < 0)
        return "the source does not count commands (INFO commandstats), so that CONFIG SET cannot "
               "be excluded";
    if (then->config_calls != now->config_calls)
        return "CONFIG SET or CONFIG RESETSTAT was called on the source";
    if (evidence_a_counter_fell(then, now)) return "counters of the source were set back";
    if (evidence_clock_was_set_back(then, now)) return "the source's clock was set back";
    return NULL;
}

/* Why a child process may have run in between; NULL where none did. */
static const char *evidence_saved(const struct evidence *then, const struct evidence *now) {
    if (then->forks < 0 || now->forks < 0) return "the source does not count its forks (Redis 6.2)";
    bool same = then->forks == now->forks && then->last_save_s == now->last_save_s &&
                then->save_s == now->save_s && then->rewrite_s == now->rewrite_s;
    if (!same || then->has_child || now->has_child)
        return "the source saved or rewrote its data meanwhile (BGSAVE, BGREWRITEAOF, a replica's "
               "synchronisation), when it notes no idle times";
    return NULL;
}

struct verdict evidence_judge(const struct evidence *then, const struct evidence *now) {
    struct verdict v = { .since_us = then->time_us };
    bool told = then->run_id[0] != '\0' && strcmp(then->run_id, now->run_id) == 0;
    v.same_process = told && evidence_same_start(then, now);
    bool same_dataset = v.same_process && evidence_same_history(then, now);
    const char *spoilt = same_dataset ? evidence_spoilt(then, now) : NULL;
    v.times_spoilt = spoilt != NULL;
    v.why = !same_dataset    ? "the source's process or history is another one"
            : spoilt != NULL ? spoilt
                             : evidence_saved(then, now);
    return v;
}

bool evidence_may_be_swapped(const struct evidence *then, const struct evidence *now) {
    if (now->has_modules) return true;
    if (then->n_dbs == 0 && now->n_dbs == 0) return false;
    return then->n_dbs != 1 || now->n_dbs != 1 || then->dbs[0].db != now->dbs[0].db;
}

/* ---- JSON ---- */

#define EVIDENCE_NUMBERS(NUMBER)                                                                   \
    NUMBER(time_us)                                                                                \
    NUMBER(started_us)                                                                             \
    NUMBER(asked_boot_us)                                                                          \
    NUMBER(answered_boot_us)                                                                       \
    NUMBER(asked_wall_us)                                                                          \
    NUMBER(forks)                                                                                  \
    NUMBER(last_save_s)                                                                            \
    NUMBER(save_s)                                                                                 \
    NUMBER(rewrite_s)                                                                              \
    NUMBER(commands)                                                                               \
    NUMBER(connections)                                                                            \
    NUMBER(info_calls)                                                                             \
    NUMBER(role_calls)                                                                             \
    NUMBER(config_calls)                                                                           \
    NUMBER(swaps)                                                                                  \
    NUMBER(flushes)
#define EVIDENCE_TEXTS(TEXT)                                                                       \
    TEXT(run_id)                                                                                   \
    TEXT(replid)                                                                                   \
    TEXT(boot_id)                                                                                  \
    TEXT(policy)

json_t *evidence_to_json(const struct evidence *e) {
    json_t *object = json_object(), *dbs = json_array();
#define NUMBER(name) json_object_set_new(object, #name, json_integer(e->name));
#define TEXT(name) json_object_set_new(object, #name, json_string(e->name));
    EVIDENCE_NUMBERS(NUMBER)
    EVIDENCE_TEXTS(TEXT)
#undef NUMBER
#undef TEXT
    json_object_set_new(object, "replica", json_boolean(e->replica));
    json_object_set_new(object, "has_child", json_boolean(e->has_child));
    json_object_set_new(object, "loaded_keys", json_integer((json_int_t)e->loaded_keys));
    for (size_t i = 0; i < e->n_dbs; i++) {
        json_t *pair = json_array();
        json_array_append_new(pair, json_integer(e->dbs[i].db));
        json_array_append_new(pair, json_integer((json_int_t)e->dbs[i].keys));
        json_array_append_new(dbs, pair);
    }
    json_object_set_new(object, "dbs", dbs);
    return object;
}

static bool evidence_get_number(const json_t *object, const char *name, int64_t *n) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value)) return false;
    *n = json_integer_value(value);
    return true;
}

static bool evidence_get_text(const json_t *object, const char *name, char *text, size_t size) {
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value) || json_string_length(value) >= size) return false;
    snprintf(text, size, "%s", json_string_value(value));
    return true;
}

static bool evidence_get_databases(struct evidence *e, const json_t *list) {
    size_t n = json_array_size(list);
    if (!json_is_array(list)) return false;
    e->dbs = n > 0 ? mem_array(NULL, n, sizeof(*e->dbs)) : NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);
        const json_t *db = json_array_get(pair, 0), *keys = json_array_get(pair, 1);
        if (!json_is_integer(db) || !json_is_integer(keys)) return false;
        e->dbs[e->n_dbs++] =
            (struct sample_db){ (int)json_integer_value(db), (uint64_t)json_integer_value(keys) };
    }
    return true;
}

bool evidence_from_json(struct evidence *e, const json_t *json) {
    int64_t loaded = 0;
    *e = (struct evidence){ 0 };
    bool ok = json_is_object(json) && evidence_get_number(json, "loaded_keys", &loaded);
#define NUMBER(name) ok = ok && evidence_get_number(json, #name, &e->name);
#define TEXT(name) ok = ok && evidence_get_text(json, #name, e->name, sizeof(e->name));
    EVIDENCE_NUMBERS(NUMBER)
    EVIDENCE_TEXTS(TEXT)
#undef NUMBER
#undef TEXT
    e->replica = json_is_true(json_object_get(json, "replica"));
    e->has_child = json_is_true(json_object_get(json, "has_child"));
    e->loaded_keys = (uint64_t)loaded;
    e->load_expired = e->resets = e->resets_us = -1;
    ok = ok && evidence_get_databases(e, json_object_get(json, "dbs"));
    if (!ok) evidence_fini(e);
    return ok;
}

const char *evidence_boot_id(char id[EVIDENCE_BOOT_ID_MAX]) {
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    id[0] = '\0';
    if (file == NULL) return id;
    if (fgets(id, EVIDENCE_BOOT_ID_MAX, file) == NULL) id[0] = '\0';
    fclose(file);
    id[strcspn(id, "\n")] = '\0';
    return id;
}
