/* A server's answers about itself: the fields of INFO, and longhaul's conclusions from them. */
#ifndef LONGHAUL_SERVER_INFO_H
#define LONGHAUL_SERVER_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { RUN_ID_MAX = 48, INFO_DATABASES_MAX = 4096 };

enum server_flavour { SERVER_REDIS, SERVER_VALKEY };

/* A version as a number that compares: 7.0.15 is 70015, 8.1.1 is 80101. */
typedef uint32_t server_version;
#define SERVER_VERSION(major, minor, patch)                                                        \
    ((server_version)((major)*10000 + (minor)*100 + (patch)))

struct server_info {
    enum server_flavour flavour;
    server_version version; /* of Redis or of Valkey itself */
    char version_text[32];
    server_version redis_version; /* the Redis version it is compatible with; Valkey says 7.2.4 */
    char run_id[RUN_ID_MAX];
    bool cluster; /* cluster mode is on */
    bool replica; /* role:slave */
    bool loading;
    char primary_host[256]; /* of a replica */
    uint16_t primary_port;
    bool primary_link_up;
    char replid[RUN_ID_MAX];
    bool promoted; /* it has a second replid: it was a replica once, and took over */
    char maxmemory_policy[32];
    uint64_t maxmemory, used_memory, used_memory_dataset, total_system_memory;
    char os[96];
};

/* The value of one field of an INFO text, empty when it is not there. */
struct bytes info_field(struct bytes info, const char *name);

void server_info_parse(struct server_info *out, struct bytes info);

/* Is this the process and the dataset that was there before? A primary that has lost its last
 * replica takes a new replid after repl-backlog-ttl (redis 7.0.15 src/replication.c
 * replicationCron()); that changes nothing. */
bool server_info_continues(const struct server_info *info, const char *run_id, const char *replid);

/* Keys (and keys with expiry) of one database from "dbN:keys=..,expires=..", 0 when it is not
 * there. */
void info_keyspace(struct bytes info, int db, uint64_t *keys, uint64_t *expires);
/* The next database that holds keys in the rest of the text; false at the end. */
bool info_next_database(struct bytes *info, int *db);
/* The databases that hold keys, ascending; returns how many, at most max. */
int info_databases(struct bytes info, int *dbs, int max);

/* Whether a field is there and holds a number from 0 on, in *number (else 0). */
bool info_number(struct bytes info, const char *name, uint64_t *number);

/* Processor time of the main thread since the start, user and system, in microseconds
 * (used_cpu_*_main_thread, which Redis 6.0 lacks); of the whole process without its children where
 * that is not told; -1: neither is. */
int64_t info_cpu_us(struct bytes info);

/* A save, a rewrite of the append-only file, or a module's child process is running. */
bool info_has_child(struct bytes info);

/* Some module is loaded. */
bool info_has_modules(struct bytes info);

/* How many replicas are online, from "slaveN:..,state=online,offset=..", and the lowest offset that
 * they have acknowledged (0 when there is none, or when one tells none). */
int info_replicas(struct bytes info, uint64_t *lowest_offset);

/* From INFO commandstats: whether it counts anything at all; and how often a command (lower case)
 * was called, with all of its subcommands, which are counted apart since Redis 7.0
 * ("cmdstat_xgroup|create:calls=.."); "xgroup|create" is that one alone. */
bool info_counts_calls(struct bytes info);
uint64_t info_calls(struct bytes info, const char *command);
/* How long these calls took together, in microseconds. */
uint64_t info_calls_us(struct bytes info, const char *command);

/* "redis 7.0.15", "valkey 8.1.1". */
const char *server_info_name(const struct server_info *info, char *buf, unsigned long size);

#endif
