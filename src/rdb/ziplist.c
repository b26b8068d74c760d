/* The elements of a ziplist; see packed.h. Each says the length of the one before it, in one byte,
 * or in five. */
#include "rdb/packed.h"

enum {
    HEADER_LEN = 10,
    LEN_LONG = 254,
    LEN_LONG_BYTES = 4,
    IMMEDIATE_FIRST = 0xf1,
    IMMEDIATE_LAST = 0xfd
};

bool ziplist_open(struct packed *p, struct bytes blob, size_t offset, struct err *err) {
    if (!packed_open(p, "ziplist", blob, offset, HEADER_LEN, err)) return false;
    p->is_ziplist = true;
    return true;
}

static bool check_before(struct packed *p, struct err *err) {
    unsigned first;
    if (!rdb_read_byte(&p->in, &first, err)) return false;
    uint64_t len = first;
    if (first == LEN_LONG) {
        const unsigned char *bytes = rdb_take(&p->in, LEN_LONG_BYTES, err);
        if (bytes == NULL) return false;
        len = rdb_le(bytes, LEN_LONG_BYTES);
    }
    return len == p->before_len || rdb_bad(&p->in, err, "the element before has %zu bytes, not %u",
                                           p->before_len, (unsigned)len);
}

static bool ziplist_take_number(struct packed *p, struct packed_item *item, unsigned kind,
                                struct err *err) {
    switch (kind) {
    case 0xc0:
        return packed_take_number(p, item, 2, err);
    case 0xd0:
        return packed_take_number(p, item, 4, err);
    case 0xe0:
        return packed_take_number(p, item, 8, err);
    case 0xf0:
        return packed_take_number(p, item, 3, err);
    case 0xfe:
        return packed_take_number(p, item, 1, err);
    default:
        break;
    }
    if (kind < IMMEDIATE_FIRST || kind > IMMEDIATE_LAST)
        return rdb_bad(&p->in, err, "0x%02x begins no element", kind);
    item->is_number = true;
    item->number = (int64_t)kind - IMMEDIATE_FIRST;
    return true;
}

static bool ziplist_take_element(struct packed *p, struct packed_item *item, struct err *err) {
    unsigned kind;
    const unsigned char *len;
    if (!rdb_read_byte(&p->in, &kind, err)) return false;
    switch (kind >> 6) {
    case 0:
        return packed_take_string(p, item, kind, err);
    case 1:
        if ((len = rdb_take(&p->in, 1, err)) == NULL) return false;
        return packed_take_string(p, item, (uint64_t)(kind & 63) << 8 | *len, err);
    case 2:
        if ((len = rdb_take(&p->in, 4, err)) == NULL) return false;
        return packed_take_string(p, item, rdb_be(len, 4), err);
    default:
        return ziplist_take_number(p, item, kind, err);
    }
}

bool ziplist_next(struct packed *p, struct packed_item *item, struct err *err) {
    size_t start = p->in.pos;
    if (!check_before(p, err) || !ziplist_take_element(p, item, err)) return false;
    p->before_len = p->in.pos - start;
    return true;
}
