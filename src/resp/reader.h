/* Reading RESP2 and RESP3 in place: first the end of a reply is found (framing), without copying
 * and without starting over when more bytes arrive; then a cursor walks over it.
 *
 * Source: the Redis serialization protocol specification (RESP2 and RESP3); streamed aggregates and
 * strings ("$?", "*?") are not sent by any server and are refused.
 */
#ifndef LONGHAUL_RESP_READER_H
#define LONGHAUL_RESP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
    RESP_DEPTH_MAX = 32,
    RESP_LINE_MAX = 64 * 1024, /* longest line without an end: simple strings, errors, lengths */
};

/* Longest single string and longest whole reply that are accepted, in bytes. */
#define RESP_BULK_MAX (INT64_C(2) << 30)
#define RESP_REPLY_MAX (INT64_C(4) << 30)
/* Most elements that one aggregate may announce. */
#define RESP_COUNT_MAX (INT64_C(1) << 31)

enum resp_type {
    RESP_SIMPLE = '+',
    RESP_ERROR = '-',
    RESP_INTEGER = ':',
    RESP_BULK = '$',
    RESP_ARRAY = '*',
    RESP_NULL = '_',
    RESP_BOOL = '#',
    RESP_DOUBLE = ',',
    RESP_BIG_NUMBER = '(',
    RESP_BULK_ERROR = '!',
    RESP_VERBATIM = '=',
    RESP_MAP = '%',
    RESP_SET = '~',
    RESP_PUSH = '>',
    RESP_ATTRIBUTE = '|',
};

/* The position of framing inside an incomplete reply. Zero or reset it before each reply. */
struct resp_framer {
    size_t pos;      /* bytes understood so far */
    size_t searched; /* bytes after pos that hold no end of a line */
    size_t need;     /* the least length of the reply, as known so far */
    int depth;
    int64_t left[RESP_DEPTH_MAX]; /* elements missing, per open aggregate */
};

/* Cheaper than zeroing: levels above the depth are never read. */
static inline void resp_framer_reset(struct resp_framer *framer) {
    framer->pos = framer->searched = framer->need = 0;
    framer->depth = 0;
}

enum resp_frame { RESP_NEED_MORE, RESP_FRAMED, RESP_BAD };

/* input starts with the same reply at each call, and has grown since the last one. RESP_FRAMED:
 * the reply is the first framer->pos bytes. RESP_NEED_MORE: call again with at least framer->need
 * bytes. RESP_BAD: *err has the reason and the offset (its place is left empty). */
enum resp_frame resp_frame(struct resp_framer *framer, struct bytes input, struct err *err);

/* One value of a framed reply. */
struct resp_item {
    enum resp_type type; /* a null bulk or null array of RESP2 is RESP_NULL */
    /* strings, errors, and the text of numbers; a verbatim string without its "txt:" */
    struct bytes str;
    /* RESP_INTEGER and RESP_BOOL; for aggregates the number of values that follow (maps: both keys
     * and values) */
    int64_t num;
};

struct resp_cursor {
    const char *pos, *end;
};

static inline struct resp_cursor resp_cursor_of(struct bytes framed) {
    return (struct resp_cursor){ .pos = framed.ptr, .end = framed.ptr + framed.len };
}

/* The next value, depth first; for an aggregate its head, its elements follow. Attributes are
 * skipped. False at the end. Only for bytes that resp_frame() accepted. */
bool resp_next(struct resp_cursor *cursor, struct resp_item *item);

/* Skips the next value and all its elements. False at the end. */
bool resp_skip(struct resp_cursor *cursor);

static inline bool resp_is_string(const struct resp_item *item) {
    return item->type == RESP_BULK || item->type == RESP_SIMPLE || item->type == RESP_VERBATIM;
}
static inline bool resp_is_error(const struct resp_item *item) {
    return item->type == RESP_ERROR || item->type == RESP_BULK_ERROR;
}
static inline bool resp_is_aggregate(const struct resp_item *item) {
    return item->type == RESP_ARRAY || item->type == RESP_SET || item->type == RESP_PUSH ||
           item->type == RESP_MAP;
}

#endif
