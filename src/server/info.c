/* See info.h. Sources: the INFO command's page; valkey answers redis_version:7.2.4 beside server_name and valkey_version. */
#include "server/info.h"

#include <stdio.h>
#include <stdlib.h>

struct bytes info_field(struct bytes info, const char *name) {
    size_t name_len = strlen(name);
    while (info.len > 0) {
        struct bytes line = bytes_split(&info, '\n');
        if (line.len > 0 && line.ptr[line.len - 1] == '\r') line.len--;
        if (line.len > name_len && line.ptr[name_len] == ':' && memcmp(line.ptr, name, name_len) == 0)
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
        for (size_t k = 0; k < word.len && word.ptr[k] >= '0' && word.ptr[k] <= '9' && part[i] < 1000; k++)
            part[i] = part[i] * 10 + (uint32_t)(word.ptr[k] - '0');
        if (part[i] > 99 && i > 0) part[i] = 99;
    }
    return SERVER_VERSION(part[0], part[1], part[2]);
}

void server_info_parse(struct server_info *out, struct bytes info) {
    *out = (struct server_info){ 0 };
    out->redis_version = parse_version(info_field(info, "redis_version"));
    bool valkey =
        bytes_equal_str(info_field(info, "server_name"), "valkey") || info_field(info, "valkey_version").len > 0;
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

int info_databases(struct bytes info, int *dbs, int max) {
    int n = 0;
    while (info.len > 0 && n < max) {
        struct bytes line = bytes_split(&info, '\n'), name = bytes_split(&line, ':');
        int64_t db;
        if (bytes_has_prefix(name, "db") && bytes_to_i64(bytes_of(name.ptr + 2, name.len - 2), &db) && db >= 0 &&
            db < INFO_DATABASES_MAX)
            dbs[n++] = (int)db;
    }
    return n;
}

const char *server_info_name(const struct server_info *info, char *buf, unsigned long size) {
    snprintf(buf, size, "%s %s", info->flavour == SERVER_VALKEY ? "valkey" : "redis", info->version_text);
    return buf;
}
