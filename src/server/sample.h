/* One sample of a server process: the fields of INFO and INFO commandstats that a live job compares
 * over time. Pure: text in, numbers out.
 *
 * Sources: redis 7.0.15 src/server.c genRedisInfoString() and resetServerStats(); valkey 8.1.1 has
 * the same names. Calls of commands that scripts and transactions make are counted too.
 */
#ifndef LONGHAUL_SERVER_SAMPLE_H
#define LONGHAUL_SERVER_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "server/info.h"

/* Commands of which the calls are counted, together per row. */
enum sample_calls {
    SAMPLE_SWAPDB,
    SAMPLE_FLUSH, /* FLUSHDB, FLUSHALL */
    /* XACK, XREADGROUP, XCLAIM, XAUTOCLAIM, XGROUP ..., XSETID, XACKDEL, XDELEX, XNACK */
    SAMPLE_GROUPS,
    SAMPLE_FUNCTIONS, /* FUNCTION LOAD, DELETE, FLUSH, RESTORE */
    /* CONFIG SET and RESETSTAT; before 7.0, which counts no subcommands, all CONFIG */
    SAMPLE_CONFIG,
    SAMPLE_INFO,   /* asked by longhaul itself each second: it can only rise */
    SAMPLE_ROLE,   /* likewise, by barriers */
    SAMPLE_SILENT, /* commands of modules that change a key and announce nothing: see sample.c */
    SAMPLE_CALLS
};

struct sample_db {
    int db;
    uint64_t keys;
};

struct server_sample {
    /* Clocks of this machine when the questions were sent and when the last answer was here. */
    int64_t asked_boot_us, answered_boot_us, asked_wall_us;
    struct server_info info;
    int64_t time_us;       /* the server's own clock; 0: not told */
    int64_t uptime_s;      /* -1: not told */
    struct sample_db *dbs; /* databases that hold keys, ascending; owned */
    size_t n_dbs;
    bool forks_known;
    uint64_t forks;       /* total_forks, 6.2 */
    bool has_child;       /* a save or rewrite is running */
    bool has_modules;     /* whose commands may announce nothing */
    int64_t last_save_s;  /* rdb_last_save_time; -1: not told */
    int64_t save_s;       /* how long the last save took; -1: there was none */
    int64_t rewrite_s;    /* how long the last rewrite of the append-only file took; likewise */
    uint64_t loaded_keys; /* rdb_last_load_keys_loaded, 7.0 */
    int64_t load_expired; /* rdb_last_load_keys_expired, 7.0; -1: not told */
    bool syncing;         /* a replica that is being synchronised */
    uint64_t offset;      /* master_repl_offset */
    int64_t cpu_us;       /* of its main thread, or of the process; -1: not told */
    uint64_t total_commands, total_connections, expired_keys, evicted_keys;
    bool calls_known; /* false too where an ACL or a renaming keeps the counters from us */
    uint64_t calls[SAMPLE_CALLS];
    /* Calls of CONFIG RESETSTAT since the last one, itself included, and their duration: 7.0. */
    uint64_t resets, resets_us;
};

/* Fills everything but the clocks and the calls. Owned members are allocated: sample_fini(). */
void sample_take_info(struct server_sample *sample, struct bytes info);
void sample_take_calls(struct server_sample *sample, struct bytes commandstats);
/* TIME's two numbers; only where INFO does not tell (server_time_usec, 7.0). */
void sample_take_time(struct server_sample *sample, int64_t seconds, int64_t microseconds);
/* How many keys a database holds. */
uint64_t sample_keys(const struct server_sample *sample, int db);
/* A copy that owns its members. *to is overwritten. */
void sample_copy(struct server_sample *to, const struct server_sample *from);
void sample_fini(struct server_sample *sample);

#endif
