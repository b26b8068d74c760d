/* Reading the small pieces that dumped values are made of: lengths, strings, doubles, numbers.
 *
 *   payload   [ .......[ string ]........ ]      one cursor over the body
 *                        │ raw: a view         another over a node inside: it keeps where the node began,
 *                        └ LZF: unpacked into    so that every complaint names an offset in the payload
 *                               a scratch
 *
 * Nothing is believed: every length is compared with what is left before it is used, and the size
 * that LZF announces with what so many bytes can unpack to. What is wrong becomes ERR_BAD_PAYLOAD
 * with the offset and the reason.
 *
 * Source: redis 7.0.15 src/rdb.h and rdb.c, rdbLoadLenByRef(), rdbGenericLoadStringObject(),
 * rdbLoadDoubleValue().
 */
#ifndef LONGHAUL_RDB_RDB_CURSOR_H
#define LONGHAUL_RDB_RDB_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    RDB_NUMBER_TEXT_MAX = 24,
    RDB_UNPACKED_MAX =
        /* most bytes that one LZF string may announce: proto-max-bulk-len's default */
    512 * 1024 * 1024,
};

struct rdb_cursor {
    const unsigned char *base;
    size_t pos, end;
    const char *what; /* "payload", "listpack", ...: for complaints */
    size_t outer;     /* in a node: where it begins in the payload */
    bool is_node;
};

/* What a string is unpacked or printed into when it is not in the payload as it is. Zeroed to begin
 * with. */
struct rdb_scratch {
    char *buf;
    size_t cap;
    char text[RDB_NUMBER_TEXT_MAX];
};

struct rdb_cursor rdb_cursor_of(struct bytes body);
/* A cursor over a node that begins at payload offset outer. */
struct rdb_cursor rdb_cursor_of_node(const char *what, struct bytes node, size_t outer);

static inline size_t rdb_left(const struct rdb_cursor *c) {
    return c->end - c->pos;
}

/* Sets ERR_BAD_PAYLOAD with the cursor's place; returns false. */
bool rdb_bad(const struct rdb_cursor *c, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The next len bytes; NULL when there are fewer. */
const unsigned char *rdb_take(struct rdb_cursor *c, uint64_t len, struct err *err);

bool rdb_read_byte(struct rdb_cursor *c, unsigned *out, struct err *err);
bool rdb_read_len(struct rdb_cursor *c, uint64_t *out, struct err *err);
/* A length that counts things of at least min_bytes each, which must still be able to come. */
bool rdb_read_count(struct rdb_cursor *c, size_t min_bytes, uint64_t *out, struct err *err);
/* A view into the payload or into scratch: good until the scratch is used again. */
bool rdb_read_string(struct rdb_cursor *c, struct rdb_scratch *scratch, struct bytes *out,
                     struct err *err);
/* Passes over a string; *len is what rdb_read_string() would give, without unpacking. */
bool rdb_skip_string(struct rdb_cursor *c, uint64_t *len, struct err *err);
/* As text with its length before it, and bytes of their own for nan, inf and -inf. */
bool rdb_read_double_text(struct rdb_cursor *c, double *out, struct err *err);
bool rdb_read_double(struct rdb_cursor *c, double *out, struct err *err);
/* Eight bytes, little endian. */
bool rdb_read_i64(struct rdb_cursor *c, int64_t *out, struct err *err);

/* Unsigned numbers of n (1 to 8) bytes. */
uint64_t rdb_le(const unsigned char *p, int n);
uint64_t rdb_be(const unsigned char *p, int n);
/* The same, signed. */
int64_t rdb_le_signed(const unsigned char *p, int n);

/* Decimal text of number in text; returns the view. */
struct bytes rdb_number_text(int64_t number, char text[RDB_NUMBER_TEXT_MAX]);

/* The double that text stands for, all of it; false when it is none. */
bool rdb_parse_double(struct bytes text, double *out);

void rdb_scratch_fini(struct rdb_scratch *scratch);

#endif
