/* See zipmap.h. */
#include "rdb/zipmap.h"

enum { LEN_LONG = 254, END_MARK = 0xff };

bool zipmap_open(struct rdb_cursor *in, struct bytes blob, size_t offset, struct err *err) {
    *in = rdb_cursor_of_node("zipmap", blob, offset);
    if (rdb_take(in, 1, err) == NULL) return false; /* the count adds nothing to the end mark */
    if (rdb_left(in) == 0 || in->base[in->end - 1] != END_MARK)
        return rdb_bad(in, err, "it has no end mark");
    in->end--;
    return true;
}

static bool zipmap_read_len(struct rdb_cursor *in, uint64_t *len, struct err *err) {
    unsigned first;
    if (!rdb_read_byte(in, &first, err)) return false;
    *len = first;
    if (first < LEN_LONG) return true;
    if (first != LEN_LONG) return rdb_bad(in, err, "it ends too early");
    const unsigned char *p = rdb_take(in, 4, err);
    if (p != NULL) *len = rdb_le(p, 4);
    return p != NULL;
}

static bool read_string(struct rdb_cursor *in, uint64_t len, struct bytes *out, struct err *err) {
    const unsigned char *p = rdb_take(in, len, err);
    if (p != NULL) *out = bytes_of(p, (size_t)len);
    return p != NULL;
}

bool zipmap_next(struct rdb_cursor *in, struct bytes *field, struct bytes *value, struct err *err) {
    uint64_t len;
    unsigned unused;
    return zipmap_read_len(in, &len, err) && read_string(in, len, field, err) &&
           zipmap_read_len(in, &len, err) && rdb_read_byte(in, &unused, err) &&
           read_string(in, len, value, err) && rdb_take(in, unused, err) != NULL;
}
