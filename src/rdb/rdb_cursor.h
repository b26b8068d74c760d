/* Reading the parts of dumped values: lengths, strings, doubles, numbers.
 *
 *   payload   [ .......[ string ]........ ]    one cursor over the body, one over a node inside,
 *                        │ raw: a view         which keeps the node's offset: so every error
 *                        └ LZF: unpacked into  names an offset in the payload
 *                               a scratch
 *
 * Nothing is trusted: each length is compared with the bytes left before it is used, and the size
 * that LZF announces with the most that its bytes can unpack to. Errors are ERR_BAD_PAYLOAD with
 * the offset and the reason.
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
    /* most bytes that one LZF string may announce: proto-max-bulk-len's default */
    RDB_UNPACKED_MAX = 512 * 1024 * 1024,
};

struct rdb_cursor {
    const unsigned char *base;
    size_t pos, end;
    const char *what; /* "payload", "listpack", ...: for error messages */
    size_t outer;     /* of a node: its offset in the payload */
    bool is_node;
};

/* Holds a string that is not a plain part of the payload: unpacked, or a number as text. Zeroed at
 * first. */
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
/* A count of elements of at least min_bytes each, which must fit into the bytes left. */
bool rdb_read_count(struct rdb_cursor *c, size_t min_bytes, uint64_t *out, struct err *err);
/* A view into the payload or into scratch: valid until the scratch is used again. */
bool rdb_read_string(struct rdb_cursor *c, struct rdb_scratch *scratch, struct bytes *out,
                     struct err *err);
/* Skips a string; *len is its unpacked length. */
bool rdb_skip_string(struct rdb_cursor *c, uint64_t *len, struct err *err);
/* Text after a length byte; nan, inf and -inf are length bytes of their own. */
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

/* The whole text as a double; false when it is none. */
bool rdb_parse_double(struct bytes text, double *out);

void rdb_scratch_fini(struct rdb_scratch *scratch);

#endif
