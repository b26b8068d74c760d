/* The switches of a copy: one value, filled from the options and passed on unchanged to the job and
 * to the plan of its lanes, so that a new switch needs a field here and the place of its effect. */
#ifndef LONGHAUL_COPY_SETTINGS_H
#define LONGHAUL_COPY_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

struct copy_settings {
    uint64_t batch_keys;       /* keys read by one batch; 0: automatic */
    uint64_t pipeline;         /* keys in flight per lane; 0: automatic */
    uint64_t max_args;         /* words in one command */
    uint64_t mem_limit_bytes;  /* keys that take more on the source are left out; 0: none */
    uint64_t big_key_bytes;    /* keys that take more are copied in pieces; 0: never */
    int64_t outage_timeout_ms; /* how long a side may stay unusable; 0: for ever */
    bool structured;           /* by the commands of each type, not by DUMP and RESTORE */
    bool merge;                /* structured: add to hashes, sets and sorted sets of the target */
    bool no_stream_id;         /* structured: the target gives new IDs to entries of streams */
    bool stream_prune;         /* structured: streams without entries are left out */
    bool no_ttl;               /* copied keys never expire */
    bool preserve_idle;        /* idle time or frequency of use travels with each key */
    bool dry_run;              /* read everything, write nothing */
    bool log_keys;             /* log each key that is copied */
};

#endif
