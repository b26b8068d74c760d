/* See packed.h. */
#include "rdb/packed.h"

#include <inttypes.h>

enum { COUNT_UNKNOWN = 65535, END_MARK = 0xff };

bool packed_open(struct packed *p, const char *what, struct bytes blob, size_t offset,
                 size_t header_len, struct err *err) {
    *p = (struct packed){ .in = rdb_cursor_of_node(what, blob, offset) };
    const unsigned char *header = rdb_take(&p->in, header_len, err);
    if (header == NULL) return false;
    uint64_t len = rdb_le(header, 4);
    if (len != blob.len)
        return rdb_bad(&p->in, err, "it has %zu bytes and says %" PRIu64, blob.len, len);
    if (rdb_left(&p->in) == 0 || p->in.base[p->in.end - 1] != END_MARK)
        return rdb_bad(&p->in, err, "it has no end mark");
    p->in.end--;
    p->announced = (uint32_t)rdb_le(header + header_len - 2, 2);
    if (p->announced == 0 || packed_has_more(p)) return true;
    return rdb_bad(&p->in, err, "it is empty and announces %u elements", p->announced);
}

bool packed_next(struct packed *p, struct packed_item *item, struct err *err) {
    if (!packed_has_more(p)) return rdb_bad(&p->in, err, "an element is missing");
    if (!(p->is_ziplist ? ziplist_next(p, item, err) : listpack_next(p, item, err))) return false;
    p->seen++;
    if (p->announced == COUNT_UNKNOWN) return true;
    if (p->seen > p->announced || (p->seen < p->announced && !packed_has_more(p)))
        return rdb_bad(&p->in, err, "%u elements are announced, not %u", p->announced, p->seen);
    return true;
}

bool packed_next_number(struct packed *p, int64_t *out, struct err *err) {
    struct packed_item item;
    if (!packed_next(p, &item, err)) return false;
    if (item.is_number) {
        *out = item.number;
        return true;
    }
    return bytes_to_i64(item.str, out) || rdb_bad(&p->in, err, "a number is expected before this");
}

struct bytes packed_bytes(struct packed_item *item) {
    return item->is_number ? rdb_number_text(item->number, item->text) : item->str;
}

bool packed_double(const struct packed *p, const struct packed_item *item, double *out,
                   struct err *err) {
    if (item->is_number) {
        *out = (double)item->number;
        return true;
    }
    return rdb_parse_double(item->str, out) ||
           rdb_bad(&p->in, err, "the score before this is no number");
}

bool packed_take_string(struct packed *p, struct packed_item *item, uint64_t len, struct err *err) {
    const unsigned char *data = rdb_take(&p->in, len, err);
    if (data == NULL) return false;
    item->is_number = false;
    item->str = bytes_of(data, (size_t)len);
    return true;
}

bool packed_take_number(struct packed *p, struct packed_item *item, int width, struct err *err) {
    const unsigned char *data = rdb_take(&p->in, (uint64_t)width, err);
    if (data == NULL) return false;
    item->is_number = true;
    item->number = rdb_le_signed(data, width);
    return true;
}
