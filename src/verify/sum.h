/* Reads one value by the commands of its type, in pieces of bounded size, and reduces it to
 * digests: of its elements, without order where the type has none, and of everything else that a
 * client can see (field expiry, consumer groups, ...).
 *
 *   sum_start() ─▶ length ─▶ piece ─▶ piece ─▶ ... ─▶ done
 *   done with err: the connection ended, or a command was refused
 *
 * Two values are equal when value_sum_equal() says so, however their servers encode them.
 */
#ifndef LONGHAUL_VERIFY_SUM_H
#define LONGHAUL_VERIFY_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "server/client.h"
#include "verify/digest.h"

/* The parts of a value: X(id, name). */
#define SUM_PARTS_TABLE(X)                                                                         \
    X(ELEMENTS, "elements")                                                                        \
    X(FIELD_EXPIRY, "field expiry")                                                                \
    X(LAST_ID, "last id")                                                                          \
    X(COUNTERS, "counters")                                                                        \
    X(GROUPS, "consumer groups")                                                                   \
    X(CONSUMERS, "consumers")                                                                      \
    X(PENDING, "pending entries")                                                                  \
    X(ATTRIBUTES, "attributes")                                                                    \
    X(PARAMETERS, "parameters")

enum sum_part {
#define SUM_PART(id, name) SUM_##id,
    SUM_PARTS_TABLE(SUM_PART)
#undef SUM_PART
        SUM_PARTS
};

enum sum_type {
    SUM_STRING,
    SUM_LIST,
    SUM_SET,
    SUM_HASH,
    SUM_ZSET,
    SUM_STREAM,
    SUM_VECTORS,
    SUM_TYPES,
    SUM_OTHER = SUM_TYPES
};

struct value_sum {
    struct {
        bool known; /* the server can tell */
        uint64_t count;
        struct digest digest;
    } part[SUM_PARTS];
};

enum {
    SUM_PIECE_BYTES = 256 * 1024, /* aimed at, for one reply */
    SUM_PIECE_ELEMENTS = 1000,    /* most elements asked for at once */
    SUM_PIECE_UNKNOWN = 100,      /* elements of a piece when nobody knows how large they are */
    /* a value up to this is read by one command, which cannot see it change */
    SUM_WHOLE_BYTES = 1024 * 1024,
};

/* The type from the answer of TYPE; SUM_OTHER for types without commands known here (modules). */
enum sum_type sum_type_of(struct bytes name);

struct sum_request {
    struct client *client; /* ready */
    int db;
    bool asking;      /* the slot is on its way to that node */
    struct bytes key; /* borrowed until the end */
    enum sum_type type;
    uint64_t memory_bytes; /* as MEMORY USAGE answers; 0: not known */
    bool has_field_expiry; /* the server knows HPEXPIRETIME */
};

/* Called once, last; err is NULL when *value is whole. */
typedef void sum_done_fn(void *ctx, void *arg, const struct value_sum *value,
                         const struct err *err);

/* Frees itself when it is done. It ends by itself when its client is closed. */
void sum_start(const struct sum_request *request, sum_done_fn *done, void *ctx, void *arg);

bool value_sum_equal(const struct value_sum *a, const struct value_sum *b);

/* "12 fields against 13; field expiry differs": the differences, for people; returns out. */
const char *value_sum_explain(enum sum_type type, const struct value_sum *source,
                              const struct value_sum *target, char *out, size_t size);

#endif
