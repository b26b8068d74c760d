/* The elements of a listpack; see packed.h. Each ends with its own length in groups of seven bits,
 * the highest first and all but the highest marked, so that the list can be read backwards. */
#include "rdb/packed.h"

enum { HEADER_LEN = 6, SIZE_BITS = 7, SIZE_MARK = 0x80 };

bool listpack_open(struct packed *p, struct bytes blob, size_t offset, struct err *err) {
    return packed_open(p, "listpack", blob, offset, HEADER_LEN, err);
}

/* The number of groups of the length after an element. Most servers switch to the longer form one
 * too early: 16383 takes three groups, the highest of them 0, although two are enough and Valkey
 * 9.1 writes two. The same holds for 2097151 and 268435455. */
static int size_bytes(struct packed *p, size_t len) {
    int n = 1;
    for (size_t rest = len >> SIZE_BITS; rest > 0; rest >>= SIZE_BITS) n++;
    bool at_limit = n > 1 && len + 1 == (size_t)1 << SIZE_BITS * n;
    p->at_limit = p->at_limit || at_limit;
    return at_limit && packed_has_more(p) && p->in.base[p->in.pos] == 0 ? n + 1 : n;
}

static bool listpack_check_size(struct packed *p, size_t start, struct err *err) {
    size_t len = p->in.pos - start, said = 0;
    int n = size_bytes(p, len);
    const unsigned char *bytes = rdb_take(&p->in, (uint64_t)n, err);
    if (bytes == NULL) return false;
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok = ok && ((bytes[i] & SIZE_MARK) != 0) == (i > 0);
        said = said << SIZE_BITS | (bytes[i] & (SIZE_MARK - 1));
    }
    return (ok && said == len) ||
           rdb_bad(&p->in, err, "the element before this has %zu bytes and says otherwise", len);
}

static bool take_wide(struct packed *p, struct packed_item *item, unsigned kind, struct err *err) {
    const unsigned char *len;
    switch (kind) {
    case 0xf0:
        if ((len = rdb_take(&p->in, 4, err)) == NULL) return false;
        return packed_take_string(p, item, rdb_le(len, 4), err);
    case 0xf1:
        return packed_take_number(p, item, 2, err);
    case 0xf2:
        return packed_take_number(p, item, 3, err);
    case 0xf3:
        return packed_take_number(p, item, 4, err);
    case 0xf4:
        return packed_take_number(p, item, 8, err);
    default:
        return rdb_bad(&p->in, err, "0x%02x begins no element", kind);
    }
}

/* 13 bits, signed. */
static bool take_short_number(struct packed *p, struct packed_item *item, unsigned kind,
                              struct err *err) {
    unsigned low;
    if (!rdb_read_byte(&p->in, &low, err)) return false;
    int64_t number = (int64_t)((kind & 0x1f) << 8 | low);
    item->is_number = true;
    item->number = number < 4096 ? number : number - 8192;
    return true;
}

static bool listpack_take_element(struct packed *p, struct packed_item *item, struct err *err) {
    unsigned kind, low;
    if (!rdb_read_byte(&p->in, &kind, err)) return false;
    if (kind < 0x80) {
        item->is_number = true;
        item->number = kind;
        return true;
    }
    if (kind < 0xc0) return packed_take_string(p, item, kind & 0x3f, err);
    if (kind < 0xe0) return take_short_number(p, item, kind, err);
    if (kind >= 0xf0) return take_wide(p, item, kind, err);
    if (!rdb_read_byte(&p->in, &low, err)) return false;
    return packed_take_string(p, item, (uint64_t)(kind & 0x0f) << 8 | low, err);
}

bool listpack_next(struct packed *p, struct packed_item *item, struct err *err) {
    size_t start = p->in.pos;
    return listpack_take_element(p, item, err) && listpack_check_size(p, start, err);
}
