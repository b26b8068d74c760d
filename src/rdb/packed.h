/* Ziplists and listpacks: small collections in one block of bytes, read by the same calls.
 *
 *   ziplist    bytes u32 | last u32 | count u16 | ( length before | kind | data )*        | 0xff
 *   listpack   bytes u32 |            count u16 | ( kind | data | own length, backwards )* | 0xff
 *
 * Elements are strings or integers. A count of 65535 means "unknown". The redundant lengths are
 * checked too: if they are wrong, the rest cannot be trusted either.
 *
 * Source: redis 7.0.15 src/ziplist.c and src/listpack.c, their head comments.
 */
#ifndef LONGHAUL_RDB_PACKED_H
#define LONGHAUL_RDB_PACKED_H

#include "rdb/rdb_cursor.h"

struct packed_item {
    bool is_number;
    int64_t number;
    struct bytes str;
    char text[RDB_NUMBER_TEXT_MAX];
};

struct packed {
    struct rdb_cursor in;
    bool is_ziplist;
    uint32_t announced, seen;
    size_t before_len; /* ziplist: of the element before */
    bool at_limit;     /* listpack: an element has had a length that servers write in two forms */
};

/* blob is borrowed; offset is its position in the payload. */
bool ziplist_open(struct packed *p, struct bytes blob, size_t offset, struct err *err);
bool listpack_open(struct packed *p, struct bytes blob, size_t offset, struct err *err);

/* Is there another element? Also false for a zeroed struct packed. */
static inline bool packed_has_more(const struct packed *p) {
    return p->in.pos < p->in.end;
}

bool packed_next(struct packed *p, struct packed_item *item, struct err *err);

/* As packed_next(), for an element that must be an integer. */
bool packed_next_number(struct packed *p, int64_t *out, struct err *err);

/* The element as text; valid as long as the item. */
struct bytes packed_bytes(struct packed_item *item);
/* The element as a score. */
bool packed_double(const struct packed *p, const struct packed_item *item, double *out,
                   struct err *err);

/* For the two formats. */
bool ziplist_next(struct packed *p, struct packed_item *item, struct err *err);
bool listpack_next(struct packed *p, struct packed_item *item, struct err *err);
/* Skips the header, whose last two bytes are the count, and excludes the end mark. */
bool packed_open(struct packed *p, const char *what, struct bytes blob, size_t offset,
                 size_t header_len, struct err *err);
bool packed_take_string(struct packed *p, struct packed_item *item, uint64_t len, struct err *err);
bool packed_take_number(struct packed *p, struct packed_item *item, int width, struct err *err);

#endif
