/* See sample.h. */
#include "server/sample.h"

#include <stdlib.h>

#include "base/mem.h"

/* The commands behind each counter. Of FUNCTION only those that change something: longhaul itself
 * calls the subcommands that read. CMS.INCRBY, TDIGEST.ADD and TOPK.ADD change a key without a
 * keyspace event and without an invalidation. */
static const struct {
    enum sample_calls calls;
    const char *command;
} sample_counted[] = {
    { SAMPLE_SWAPDB, "swapdb" },
    { SAMPLE_FLUSH, "flushdb" },
    { SAMPLE_FLUSH, "flushall" },
    { SAMPLE_GROUPS, "xack" },
    { SAMPLE_GROUPS, "xreadgroup" },
    { SAMPLE_GROUPS, "xclaim" },
    { SAMPLE_GROUPS, "xautoclaim" },
    { SAMPLE_GROUPS, "xgroup" },
    { SAMPLE_GROUPS, "xsetid" },
    { SAMPLE_GROUPS, "xackdel" },
    { SAMPLE_GROUPS, "xdelex" },
    { SAMPLE_GROUPS, "xnack" },
    { SAMPLE_FUNCTIONS, "function|load" },
    { SAMPLE_FUNCTIONS, "function|delete" },
    { SAMPLE_FUNCTIONS, "function|flush" },
    { SAMPLE_FUNCTIONS, "function|restore" },
    { SAMPLE_CONFIG, "config|set" },
    { SAMPLE_CONFIG, "config|resetstat" },
    { SAMPLE_INFO, "info" },
    { SAMPLE_ROLE, "role" },
    { SAMPLE_SILENT, "cms.incrby" },
    { SAMPLE_SILENT, "cms.merge" },
    { SAMPLE_SILENT, "tdigest.add" },
    { SAMPLE_SILENT, "tdigest.merge" },
    { SAMPLE_SILENT, "tdigest.reset" },
    { SAMPLE_SILENT, "topk.add" },
    { SAMPLE_SILENT, "topk.incrby" },
};

static int64_t sample_number(struct bytes info, const char *name) {
    uint64_t n;
    return info_number(info, name, &n) ? (int64_t)n : -1;
}

static void sample_take_databases(struct server_sample *s, struct bytes info) {
    size_t cap = 0;
    while (info.len > 0) {
        struct bytes line = bytes_split(&info, '\n'), name = bytes_split(&line, ':');
        int64_t db, keys;
        if (!bytes_has_prefix(name, "db")) continue;
        if (!bytes_to_i64(bytes_of(name.ptr + 2, name.len - 2), &db) || db < 0 || db > INT32_MAX)
            continue;
        struct bytes pair = bytes_split(&line, ','), field = bytes_split(&pair, '=');
        if (!bytes_equal_str(field, "keys") || !bytes_to_i64(pair, &keys) || keys < 0) continue;
        if (s->n_dbs == cap) s->dbs = mem_array(s->dbs, cap = cap * 2 + 16, sizeof(*s->dbs));
        s->dbs[s->n_dbs++] = (struct sample_db){ (int)db, (uint64_t)keys };
    }
}

void sample_take_info(struct server_sample *s, struct bytes info) {
    server_info_parse(&s->info, info);
    sample_take_databases(s, info);
    int64_t time_us = sample_number(info, "server_time_usec");
    if (time_us > 0) s->time_us = time_us;
    s->uptime_s = sample_number(info, "uptime_in_seconds");
    s->forks_known = info_number(info, "total_forks", &s->forks);
    s->has_child = info_has_child(info);
    s->has_modules = info_has_modules(info);
    s->last_save_s = sample_number(info, "rdb_last_save_time");
    s->save_s = sample_number(info, "rdb_last_bgsave_time_sec");
    s->rewrite_s = sample_number(info, "aof_last_rewrite_time_sec");
    info_number(info, "rdb_last_load_keys_loaded", &s->loaded_keys);
    s->load_expired = sample_number(info, "rdb_last_load_keys_expired");
    s->syncing = sample_number(info, "master_sync_in_progress") == 1;
    info_number(info, "master_repl_offset", &s->offset);
    s->cpu_us = info_cpu_us(info);
    info_number(info, "total_commands_processed", &s->total_commands);
    info_number(info, "total_connections_received", &s->total_connections);
    info_number(info, "expired_keys", &s->expired_keys);
    info_number(info, "evicted_keys", &s->evicted_keys);
}

void sample_take_calls(struct server_sample *s, struct bytes text) {
    s->calls_known = info_counts_calls(text);
    for (size_t i = 0; i < sizeof(sample_counted) / sizeof(sample_counted[0]); i++)
        s->calls[sample_counted[i].calls] += info_calls(text, sample_counted[i].command);
    if (s->info.redis_version < SERVER_VERSION(7, 0, 0))
        s->calls[SAMPLE_CONFIG] = info_calls(text, "config");
    s->resets = info_calls(text, "config|resetstat");
    s->resets_us = info_calls_us(text, "config|resetstat");
}

void sample_take_time(struct server_sample *s, int64_t seconds, int64_t microseconds) {
    if (s->time_us == 0) s->time_us = seconds * 1000000 + microseconds;
}

uint64_t sample_keys(const struct server_sample *s, int db) {
    for (size_t i = 0; i < s->n_dbs; i++)
        if (s->dbs[i].db == db) return s->dbs[i].keys;
    return 0;
}

void sample_copy(struct server_sample *to, const struct server_sample *from) {
    *to = *from;
    to->dbs = from->n_dbs > 0 ? mem_array(NULL, from->n_dbs, sizeof(*to->dbs)) : NULL;
    if (from->n_dbs > 0) memcpy(to->dbs, from->dbs, from->n_dbs * sizeof(*to->dbs));
}

void sample_fini(struct server_sample *s) {
    free(s->dbs);
    s->dbs = NULL;
    s->n_dbs = 0;
}
