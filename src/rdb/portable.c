/* See portable.h. */
#include "rdb/portable.h"

#include "rdb/decode_priv.h"
#include "rdb/payload.h"

enum { ELEMENT_LEN_MIN = 16383, EXPIRY_LEN = 8, NODE_PLAIN = 1 };

static bool listpack_is_portable(struct bytes node) {
    struct packed p;
    struct packed_item item;
    if (!listpack_open(&p, node, 0, NULL)) return false;
    while (packed_has_more(&p)) {
        if (!packed_next(&p, &item, NULL) || p.at_limit) return false;
    }
    return true;
}

static bool node_is_portable(struct rdb_cursor *c, struct rdb_scratch *scratch) {
    struct rdb_cursor start = *c;
    struct bytes node;
    uint64_t len;
    if (!rdb_skip_string(c, &len, NULL)) return false;
    if (len < ELEMENT_LEN_MIN) return true;
    return rdb_read_string(&start, scratch, &node, NULL) && listpack_is_portable(node);
}

static bool list_is_portable(struct rdb_cursor *c, struct rdb_scratch *scratch) {
    uint64_t nodes, container, len;
    if (!rdb_read_count(c, 1, &nodes, NULL)) return false;
    while (nodes-- > 0) {
        if (!rdb_read_len(c, &container, NULL)) return false;
        if (!(container == NODE_PLAIN ? rdb_skip_string(c, &len, NULL)
                                      : node_is_portable(c, scratch)))
            return false;
    }
    return true;
}

static bool stream_is_portable(struct rdb_cursor *c, struct rdb_scratch *scratch) {
    uint64_t nodes, len;
    if (!rdb_read_count(c, 2, &nodes, NULL)) return false;
    while (nodes-- > 0) {
        if (!rdb_skip_string(c, &len, NULL) || !node_is_portable(c, scratch)) return false;
    }
    return true;
}

static bool body_is_portable(struct rdb_cursor *c, unsigned type, struct rdb_scratch *scratch) {
    switch (type) {
    case RDB_HASH_LISTPACK_EX:
        if (rdb_take(c, EXPIRY_LEN, NULL) == NULL) return false;
        return node_is_portable(c, scratch);
    case RDB_HASH_LISTPACK:
    case RDB_ZSET_LISTPACK:
    case RDB_SET_LISTPACK:
        return node_is_portable(c, scratch);
    case RDB_LIST_QUICKLIST_2:
        return list_is_portable(c, scratch);
    case RDB_STREAM:
    case RDB_STREAM_2:
    case RDB_STREAM_3:
        return stream_is_portable(c, scratch);
    default:
        return true;
    }
}

bool payload_is_portable(struct bytes payload) {
    if (payload.len < PAYLOAD_LEN_MIN) return false;
    struct rdb_cursor c = rdb_cursor_of(bytes_of(payload.ptr, payload.len - PAYLOAD_FOOTER_LEN));
    struct rdb_scratch scratch = { 0 };
    unsigned type = c.base[c.pos++];
    bool portable = body_is_portable(&c, type, &scratch);
    rdb_scratch_fini(&scratch);
    return portable;
}
