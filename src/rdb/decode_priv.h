/* Inside of the decoder: decode.c calls one file per family of values; these share decode_node.c.
 *
 * A family's open function reads the head of the value and sets `step`. Each step reads one element
 * and gives it to the sink, or opens one node. The last step sets `step` to NULL.
 */
#ifndef LONGHAUL_RDB_DECODE_PRIV_H
#define LONGHAUL_RDB_DECODE_PRIV_H

#include "rdb/decode.h"
#include "rdb/packed.h"
#include "rdb/rdb_cursor.h"

typedef bool decode_step_fn(struct decoder *d, struct err *err);

/* Type bytes. Source: src/rdb.h of redis 7.0.15, 8.0 and valkey 9. */
enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_ZSET = 3,
    RDB_HASH = 4,
    RDB_ZSET_2 = 5,
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14,
    RDB_STREAM = 15,
    RDB_HASH_LISTPACK = 16,
    RDB_ZSET_LISTPACK = 17,
    RDB_LIST_QUICKLIST_2 = 18,
    RDB_STREAM_2 = 19,
    RDB_SET_LISTPACK = 20,
    RDB_STREAM_3 = 21,
    RDB_VALKEY_HASH_2 = 22,
    RDB_HASH_METADATA = 24,
    RDB_HASH_LISTPACK_EX = 25,
    RDB_TYPES
};

enum { RDB_VERSION_VALKEY = 80 }; /* from here on numbers are Valkey's own */

enum scratch_use {
    SCRATCH_FIELD,
    SCRATCH_VALUE,
    SCRATCH_NODE,
    SCRATCH_GROUP,
    SCRATCH_CONSUMER,
    SCRATCHES
};

struct stream_decoder;

struct decoder {
    struct rdb_cursor in; /* type byte and body */
    unsigned type, version;
    const struct value_sink *sink;
    void *ctx;
    decode_step_fn *step; /* NULL: nothing more comes */
    bool failed;
    uint64_t left;     /* elements, or nodes, still to come */
    uint64_t elements; /* handed on */
    uint64_t handed_bytes;
    int64_t min_expiry_ms;  /* hashes with field expiry: their times count from here */
    struct packed packed;   /* the node being read */
    struct rdb_cursor node; /* the same for intsets and zipmaps */
    int number_bytes;       /* intset */
    struct rdb_scratch scratch[SCRATCHES];
    struct stream_decoder *stream;
};

decode_step_fn decode_string_open, decode_list_open, decode_set_open, decode_zset_open,
    decode_hash_open, decode_stream_open;
void decode_stream_close(struct decoder *d);

/* Reads a string that holds a node; offset is its position in the payload. */
bool decode_read_node(struct decoder *d, struct bytes *node, size_t *offset, struct err *err);
/* Read a node and open it. */
bool decode_open_ziplist(struct decoder *d, struct err *err);
bool decode_open_listpack(struct decoder *d, struct err *err);

/* Counts an element of len bytes. */
static inline void decode_note(struct decoder *d, size_t len) {
    d->elements++;
    d->handed_bytes += len;
}

#endif
