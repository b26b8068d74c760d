/* The data that `longhaul generate` is asked for: types, sizes, expiry, as plain values. */
#ifndef LONGHAUL_GENERATE_SETTINGS_H
#define LONGHAUL_GENERATE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/range.h"

enum gen_type {
    GEN_STRING,
    GEN_LIST,
    GEN_HASH,
    GEN_SET,
    GEN_ZSET,
    GEN_STREAM,
    GEN_HYPERLOGLOG,
    GEN_BITMAP,
    GEN_GEO,
    GEN_COUNTER,
    GEN_TYPES
};

#define GEN_TYPES_ALL ((UINT64_C(1) << GEN_TYPES) - 1)

struct gen_settings {
    struct int_range keys; /* numbers of the first and the last key */
    char *key_prefix;      /* NULL: none; not owned */
    uint64_t types;        /* bit 1 << enum gen_type */
    struct int_range value_size_bytes;
    struct int_range elements;
    bool mixed_sizes;     /* also values small enough for the compact encodings */
    bool mixed_elements;  /* also some keys too long for the compact encodings */
    int64_t expire_share; /* percent of keys */
    struct int_range expire_ms;
    int64_t seed;
    bool binary_keys;
    bool forever;        /* after the last key begin again with the first */
    int64_t duration_ms; /* end after this time; 0: when all keys are written */
    int64_t rate;        /* keys a second; 0: unlimited */
    int64_t pipeline;    /* 0: automatic */
    int64_t batch;       /* 0: automatic */
    int64_t max_args;
    int64_t timeout_ms; /* for the end of keys in flight after an interruption */
    int64_t outage_timeout_ms;
};

#endif
