/* See rdb_cursor.h. */
#include "rdb/rdb_cursor.h"

#include <inttypes.h>
#include <lzf.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum {
    LZF_GAIN_MAX = 88, /* three bytes of LZF stand for 264 at most */
    SCRATCH_MIN = 256,
    REASON_MAX = 256,
    DOUBLE_TEXT_MAX = 128,
    DOUBLE_NAN = 253,
    DOUBLE_INF = 254,
    DOUBLE_MINUS_INF = 255,
};

/* The first byte of a string that does not begin with a length. */
enum { STRING_INT8, STRING_INT16, STRING_INT32, STRING_LZF };

struct rdb_cursor rdb_cursor_of(struct bytes body) {
    return (struct rdb_cursor){ .base = (const unsigned char *)body.ptr,
                                .end = body.len,
                                .what = "payload" };
}

struct rdb_cursor rdb_cursor_of_node(const char *what, struct bytes node, size_t outer) {
    return (struct rdb_cursor){ .base = (const unsigned char *)node.ptr,
                                .end = node.len,
                                .what = what,
                                .outer = outer,
                                .is_node = true };
}

bool rdb_bad(const struct rdb_cursor *c, struct err *err, const char *fmt, ...) {
    char reason[REASON_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    if (!c->is_node)
        return err_set(err, ERR_BAD_PAYLOAD, "payload", "at offset %zu: %s", c->pos, reason);
    return err_set(err, ERR_BAD_PAYLOAD, "payload", "at offset %zu, byte %zu of the %s there: %s",
                   c->outer, c->pos, c->what, reason);
}

const unsigned char *rdb_take(struct rdb_cursor *c, uint64_t len, struct err *err) {
    if (len > rdb_left(c)) {
        rdb_bad(c, err, "%" PRIu64 " bytes are announced and %zu are left", len, rdb_left(c));
        return NULL;
    }
    const unsigned char *p = c->base + c->pos;
    c->pos += (size_t)len;
    return p;
}

bool rdb_read_byte(struct rdb_cursor *c, unsigned *out, struct err *err) {
    const unsigned char *p = rdb_take(c, 1, err);
    if (p != NULL) *out = *p;
    return p != NULL;
}

/* ---- numbers ---- */

uint64_t rdb_le(const unsigned char *p, int n) {
    uint64_t value = 0;
    while (n-- > 0) value = value << 8 | p[n];
    return value;
}

uint64_t rdb_be(const unsigned char *p, int n) {
    uint64_t value = 0;
    for (int i = 0; i < n; i++) value = value << 8 | p[i];
    return value;
}

int64_t rdb_le_signed(const unsigned char *p, int n) {
    uint64_t value = rdb_le(p, n), sign = UINT64_C(1) << (8 * n - 1);
    return (int64_t)((value ^ sign) - sign);
}

bool rdb_read_i64(struct rdb_cursor *c, int64_t *out, struct err *err) {
    const unsigned char *p = rdb_take(c, 8, err);
    if (p != NULL) *out = (int64_t)rdb_le(p, 8);
    return p != NULL;
}

struct bytes rdb_number_text(int64_t number, char text[RDB_NUMBER_TEXT_MAX]) {
    return bytes_of(text, (size_t)snprintf(text, RDB_NUMBER_TEXT_MAX, "%" PRId64, number));
}

/* ---- lengths ---- */

/* A length, or with *encoded the kind of string that follows. */
static bool read_len(struct rdb_cursor *c, uint64_t *out, bool *encoded, struct err *err) {
    unsigned first;
    const unsigned char *p;
    *encoded = false;
    if (!rdb_read_byte(c, &first, err)) return false;
    switch (first >> 6) {
    case 0:
        *out = first;
        return true;
    case 1:
        if ((p = rdb_take(c, 1, err)) == NULL) return false;
        *out = (uint64_t)(first & 63) << 8 | *p;
        return true;
    case 2:
        if (first > 0x81) return rdb_bad(c, err, "0x%02x begins no length", first);
        if ((p = rdb_take(c, first == 0x80 ? 4 : 8, err)) == NULL) return false;
        *out = rdb_be(p, first == 0x80 ? 4 : 8);
        return true;
    default:
        *encoded = true;
        *out = first & 63;
        return true;
    }
}

bool rdb_read_len(struct rdb_cursor *c, uint64_t *out, struct err *err) {
    bool encoded;
    if (!read_len(c, out, &encoded, err)) return false;
    return !encoded || rdb_bad(c, err, "a length is expected and a string begins");
}

bool rdb_read_count(struct rdb_cursor *c, size_t min_bytes, uint64_t *out, struct err *err) {
    if (!rdb_read_len(c, out, err)) return false;
    if (*out <= rdb_left(c) / min_bytes) return true;
    return rdb_bad(c, err, "%" PRIu64 " elements are announced and %zu bytes are left", *out,
                   rdb_left(c));
}

/* ---- strings ---- */

static void scratch_fit(struct rdb_scratch *scratch, size_t len) {
    if (len <= scratch->cap) return;
    size_t cap = len < SCRATCH_MIN ? SCRATCH_MIN : len;
    free(scratch->buf); /* its content is not needed any more */
    scratch->buf = mem_alloc(cap);
    scratch->cap = cap;
}

void rdb_scratch_fini(struct rdb_scratch *scratch) {
    free(scratch->buf);
    *scratch = (struct rdb_scratch){ 0 };
}

/* The two lengths, and the packed bytes. */
static const unsigned char *take_lzf(struct rdb_cursor *c, uint64_t *packed_len, uint64_t *len,
                                     struct err *err) {
    if (!rdb_read_len(c, packed_len, err) || !rdb_read_len(c, len, err)) return NULL;
    struct rdb_cursor at = *c;
    const unsigned char *packed = rdb_take(c, *packed_len, err);
    if (packed == NULL) return NULL;
    if (*len > 0 && *len / LZF_GAIN_MAX <= *packed_len && *len <= RDB_UNPACKED_MAX &&
        *packed_len <= RDB_UNPACKED_MAX)
        return packed;
    rdb_bad(&at, err, "%" PRIu64 " bytes of LZF cannot become %" PRIu64, *packed_len, *len);
    return NULL;
}

static bool read_lzf(struct rdb_cursor *c, struct rdb_scratch *scratch, struct bytes *out,
                     struct err *err) {
    uint64_t packed_len, len;
    const unsigned char *packed = take_lzf(c, &packed_len, &len, err);
    if (packed == NULL) return false;
    scratch_fit(scratch, (size_t)len);
    if (lzf_decompress(packed, (unsigned)packed_len, scratch->buf, (unsigned)len) != len)
        return rdb_bad(c, err, "the LZF string before this is broken");
    *out = bytes_of(scratch->buf, (size_t)len);
    return true;
}

static bool read_encoded(struct rdb_cursor *c, uint64_t kind, struct rdb_scratch *scratch,
                         struct bytes *out, struct err *err) {
    if (kind == STRING_LZF) return read_lzf(c, scratch, out, err);
    if (kind > STRING_LZF)
        return rdb_bad(c, err, "strings of kind %u are not known", (unsigned)kind);
    int width = kind == STRING_INT8 ? 1 : kind == STRING_INT16 ? 2 : 4;
    const unsigned char *p = rdb_take(c, (uint64_t)width, err);
    if (p != NULL) *out = rdb_number_text(rdb_le_signed(p, width), scratch->text);
    return p != NULL;
}

bool rdb_read_string(struct rdb_cursor *c, struct rdb_scratch *scratch, struct bytes *out,
                     struct err *err) {
    uint64_t len;
    bool encoded;
    if (!read_len(c, &len, &encoded, err)) return false;
    if (encoded) return read_encoded(c, len, scratch, out, err);
    const unsigned char *p = rdb_take(c, len, err);
    if (p != NULL) *out = bytes_of(p, (size_t)len);
    return p != NULL;
}

bool rdb_skip_string(struct rdb_cursor *c, uint64_t *len, struct err *err) {
    uint64_t packed_len;
    struct rdb_scratch scratch = { 0 };
    struct bytes number;
    bool encoded;
    if (!read_len(c, len, &encoded, err)) return false;
    if (!encoded) return rdb_take(c, *len, err) != NULL;
    if (*len == STRING_LZF) return take_lzf(c, &packed_len, len, err) != NULL;
    if (!read_encoded(c, *len, &scratch, &number, err)) return false;
    *len = number.len;
    return true;
}

/* ---- doubles ---- */

bool rdb_parse_double(struct bytes text, double *out) {
    char copy[DOUBLE_TEXT_MAX];
    char *end;
    if (text.len == 0 || text.len >= sizeof(copy)) return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *out = strtod(copy, &end);
    return end == copy + text.len;
}

bool rdb_read_double_text(struct rdb_cursor *c, double *out, struct err *err) {
    unsigned len;
    if (!rdb_read_byte(c, &len, err)) return false;
    if (len >= DOUBLE_NAN) {
        *out = len == DOUBLE_NAN   ? (double)NAN
               : len == DOUBLE_INF ? (double)INFINITY
                                   : -(double)INFINITY;
        return true;
    }
    struct rdb_cursor at = *c;
    const unsigned char *p = rdb_take(c, len, err);
    if (p == NULL) return false;
    return rdb_parse_double(bytes_of(p, len), out) || rdb_bad(&at, err, "the score is no number");
}

bool rdb_read_double(struct rdb_cursor *c, double *out, struct err *err) {
    const unsigned char *p = rdb_take(c, 8, err);
    if (p == NULL) return false;
    uint64_t bits = rdb_le(p, 8);
    _Static_assert(sizeof(bits) == sizeof(*out), "a double has eight bytes");
    memcpy(out, &bits, sizeof(*out));
    return true;
}
