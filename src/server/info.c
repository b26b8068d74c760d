/* See info.h. Sources: the INFO command's page; redis 7.0.15 src/server.c, genRedisInfoString();
 * valkey answers redis_version:7.2.4 beside server_name and valkey_version. */
#include "server/info.h"

#include <stdio.h>
#include <stdlib.h>

struct bytes info_field(struct bytes info, const char *name) {
    size_t name_len = strlen(name);
    while (info.len > 0) {
        struct bytes line = bytes_split(&info, '\n');
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
        if (line.len > name_len && line.ptr[name_len] == ':' &&
            memcmp(line.ptr, name, name_len) == 0)
            return bytes_of(line.ptr + name_len + 1, line.len - name_len - 1);
    }
    return bytes_of("", 0);
}

static void copy_field(struct bytes info, const char *name, char *out, size_t size) {
    struct bytes v = info_field(info, name);
    snprintf(out, size, "%.*s", v.len < size ? (int)v.len : (int)size - 1, v.ptr);
}

static uint64_t number_field(struct bytes info, const char *name) {
    int64_t n = 0;
    bytes_to_i64(info_field(info, name), &n);
    return n > 0 ? (uint64_t)n : 0;
}

static server_version parse_version(struct bytes text) {
    uint32_t part[3] = { 0 };
    for (int i = 0; i < 3 && text.len > 0; i++) {
        struct bytes word = bytes_split(&text, '.');
        for (size_t k = 0;
             k < word.len && word.ptr[k] >= '0' && word.ptr[k] <= '9' && part[i] < 1000; k++)
            part[i] = part[i] * 10 + (uint32_t)(word.ptr[k] - '0');
        if (part[i] > 99 && i > 0) part[i] = 99;
    }
    return SERVER_VERSION(part[0], part[1], part[2]);
}

void server_info_parse(struct server_info *out, struct bytes info) {
    *out = (struct server_info){ 0 };
    out->redis_version = parse_version(info_field(info, "redis_version"));
    bool valkey = bytes_equal_str(info_field(info, "server_name"), "valkey") ||
                  info_field(info, "valkey_version").len > 0;
    out->flavour = valkey ? SERVER_VALKEY : SERVER_REDIS;
    const char *version_field = valkey ? "valkey_version" : "redis_version";
    copy_field(info, version_field, out->version_text, sizeof(out->version_text));
    out->version = parse_version(info_field(info, version_field));
    copy_field(info, "run_id", out->run_id, sizeof(out->run_id));
    out->cluster = bytes_equal_str(info_field(info, "redis_mode"), "cluster") ||
                   bytes_equal_str(info_field(info, "server_mode"), "cluster") ||
                   bytes_equal_str(info_field(info, "cluster_enabled"), "1");
    out->replica = bytes_equal_str(info_field(info, "role"), "slave");
    out->loading = bytes_equal_str(info_field(info, "loading"), "1");
    copy_field(info, "master_host", out->primary_host, sizeof(out->primary_host));
    out->primary_port = (uint16_t)number_field(info, "master_port");
    out->primary_link_up = bytes_equal_str(info_field(info, "master_link_status"), "up");
    copy_field(info, "master_replid", out->replid, sizeof(out->replid));
    struct bytes second = info_field(info, "master_replid2");
    for (size_t i = 0; i < second.len; i++) out->promoted = out->promoted || second.ptr[i] != '0';
    copy_field(info, "maxmemory_policy", out->maxmemory_policy, sizeof(out->maxmemory_policy));
    copy_field(info, "os", out->os, sizeof(out->os));
    out->maxmemory = number_field(info, "maxmemory");
    out->used_memory = number_field(info, "used_memory");
    out->used_memory_dataset = number_field(info, "used_memory_dataset");
    out->total_system_memory = number_field(info, "total_system_memory");
}

void info_keyspace(struct bytes info, int db, uint64_t *keys, uint64_t *expires) {
    char name[24];
    snprintf(name, sizeof(name), "db%d", db);
    struct bytes rest = info_field(info, name);
    *keys = *expires = 0;
    while (rest.len > 0) {
        struct bytes pair = bytes_split(&rest, ','), key = bytes_split(&pair, '=');
        int64_t n;
        if (!bytes_to_i64(pair, &n) || n < 0) continue;
        if (bytes_equal_str(key, "keys")) *keys = (uint64_t)n;
        if (bytes_equal_str(key, "expires")) *expires = (uint64_t)n;
    }
}

bool info_next_database(struct bytes *info, int *db) {
    while (info->len > 0) {
        struct bytes line = bytes_split(info, '\n'), name = bytes_split(&line, ':');
        int64_t number;
        if (!bytes_has_prefix(name, "db") ||
            !bytes_to_i64(bytes_of(name.ptr + 2, name.len - 2), &number) || number < 0 ||
            number > INT32_MAX)
            continue;
        *db = (int)number;
        return true;
    }
    return false;
}

int info_databases(struct bytes info, int *dbs, int max) {
    int n = 0;
    while (n < max && info_next_database(&info, &dbs[n])) n++;
    return n;
}

bool info_number(struct bytes info, const char *name, uint64_t *number) {
    int64_t n;
    bool there = bytes_to_i64(info_field(info, name), &n) && n >= 0;
    *number = there ? (uint64_t)n : 0;
    return there;
}

/* "12.345678" */
static bool seconds_field(struct bytes info, const char *name, int64_t *us) {
    struct bytes text = info_field(info, name), whole = bytes_split(&text, '.');
    int64_t seconds, fraction;
    if (text.len != 6 || !bytes_to_i64(whole, &seconds) || seconds < 0 || seconds > INT32_MAX)
        return false;
    if (!bytes_to_i64(text, &fraction) || fraction < 0) return false;
    *us = seconds * 1000000 + fraction;
    return true;
}

int64_t info_cpu_us(struct bytes info) {
    int64_t user, sys;
    if (seconds_field(info, "used_cpu_user_main_thread", &user) &&
        seconds_field(info, "used_cpu_sys_main_thread", &sys))
        return user + sys;
    if (seconds_field(info, "used_cpu_user", &user) && seconds_field(info, "used_cpu_sys", &sys))
        return user + sys;
    return -1;
}

bool info_has_child(struct bytes info) {
    static const char *const fields[] = { "rdb_bgsave_in_progress", "aof_rewrite_in_progress",
                                          "module_fork_in_progress" };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        uint64_t running;
        if (info_number(info, fields[i], &running) && running != 0) return true;
    }
    return false;
}

/* The number behind "name=" in "a=1,b=2", 0 when it is not there. */
static uint64_t pair_number(struct bytes pairs, const char *name) {
    while (pairs.len > 0) {
        struct bytes pair = bytes_split(&pairs, ','), key = bytes_split(&pair, '=');
        int64_t n;
        if (bytes_equal_str(key, name) && bytes_to_i64(pair, &n) && n > 0) return (uint64_t)n;
    }
    return 0;
}

static bool pair_equals(struct bytes pairs, const char *name, const char *value) {
    while (pairs.len > 0) {
        struct bytes pair = bytes_split(&pairs, ','), key = bytes_split(&pair, '=');
        if (bytes_equal_str(key, name)) return bytes_equal_str(pair, value);
    }
    return false;
}

/* The next line as name and value. */
static bool next_field(struct bytes *info, struct bytes *name, struct bytes *value) {
    if (info->len == 0) return false;
    *value = bytes_split(info, '\n');
    if (value->len > 0 && value->ptr[value->len - 1] == '\r') value->len--;
    *name = bytes_split(value, ':');
    return true;
}

static bool is_replica_field(struct bytes name) {
    int64_t n;
    return bytes_has_prefix(name, "slave") &&
           bytes_to_i64(bytes_of(name.ptr + 5, name.len - 5), &n) && n >= 0;
}

int info_replicas(struct bytes info, uint64_t *lowest_offset) {
    struct bytes name, value;
    int online = 0;
    *lowest_offset = 0;
    while (next_field(&info, &name, &value)) {
        if (!is_replica_field(name) || !pair_equals(value, "state", "online")) continue;
        uint64_t offset = pair_number(value, "offset");
        if (online == 0 || offset < *lowest_offset) *lowest_offset = offset;
        online++;
    }
    return online;
}

bool info_has_modules(struct bytes info) {
    struct bytes name, value;
    while (next_field(&info, &name, &value))
        if (bytes_equal_str(name, "module")) return true;
    return false;
}

bool info_counts_calls(struct bytes info) {
    struct bytes name, value;
    while (next_field(&info, &name, &value))
        if (bytes_has_prefix(name, "cmdstat_")) return true;
    return false;
}

/* Sums one figure of commandstats over a command and its subcommands. */
static uint64_t sum_commands(struct bytes info, const char *command, const char *figure) {
    struct bytes name, value;
    uint64_t sum = 0;
    size_t len = strlen(command);
    while (next_field(&info, &name, &value)) {
        if (!bytes_has_prefix(name, "cmdstat_")) continue;
        struct bytes counted = bytes_of(name.ptr + 8, name.len - 8);
        if (bytes_has_prefix(counted, command) && (counted.len == len || counted.ptr[len] == '|'))
            sum += pair_number(value, figure);
    }
    return sum;
}

uint64_t info_calls(struct bytes info, const char *command) {
    return sum_commands(info, command, "calls");
}

uint64_t info_calls_us(struct bytes info, const char *command) {
    return sum_commands(info, command, "usec");
}

const char *server_info_name(const struct server_info *info, char *buf, unsigned long size) {
    snprintf(buf, size, "%s %s", info->flavour == SERVER_VALKEY ? "valkey" : "redis",
             info->version_text);
    return buf;
}

bool server_info_continues(const struct server_info *info, const char *run_id, const char *replid) {
    if (strcmp(info->run_id, run_id) != 0) return false;
    return strcmp(info->replid, replid) == 0 || (!info->replica && !info->promoted);
}
