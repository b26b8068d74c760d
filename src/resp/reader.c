/* See reader.h. Framing never recurses: open aggregates are a small stack of how many elements each
 * still misses. */
#include "resp/reader.h"

#define OK_LINE "+OK\r\n"

enum line_result { LINE_OK, LINE_MORE, LINE_BAD };

enum {
    QUICK_DIGITS_MAX = 18, /* so many always fit */
    QUICK_HEAD_MAX = 7,    /* "$9999" and CRLF */
};

/* Finds the line that starts at from and ends with CRLF; *searched remembers the progress. */
static enum line_result find_line(struct bytes input, size_t from, size_t *searched,
                                  struct bytes *line) {
    size_t start = from + *searched;
    const char *lf = start < input.len ? memchr(input.ptr + start, '\n', input.len - start) : NULL;
    if (lf == NULL) {
        *searched = input.len > from ? input.len - from : 0;
        return *searched > RESP_LINE_MAX ? LINE_BAD : LINE_MORE;
    }
    size_t end = (size_t)(lf - input.ptr);
    if (end - from > RESP_LINE_MAX || end == from || input.ptr[end - 1] != '\r') return LINE_BAD;
    *line = bytes_of(input.ptr + from, end - 1 - from);
    *searched = 0;
    return LINE_OK;
}

/* The heads that nearly all values have: a number of a few digits, and CRLF. Returns where the next
 * byte stands; NULL for any other line, and for one that is not whole yet: find_line() tells which.
 * text begins behind the type. */
static const char *quick_number(const char *text, const char *end, int64_t *number) {
    if (end - text > QUICK_DIGITS_MAX + 3) end = text + QUICK_DIGITS_MAX + 3;
    bool negative = text < end && *text == '-';
    const char *first = text + negative, *p = first;
    uint64_t n = 0;
    unsigned digit;
    for (; p < end && (digit = (unsigned char)*p - (unsigned)'0') <= 9; p++) n = n * 10 + digit;
    if (p == first || p - first > QUICK_DIGITS_MAX || end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    *number = negative ? -(int64_t)n : (int64_t)n;
    return p + 2;
}

/* The same where the line is known to hold a number: only its end is looked for. */
static const char *framed_number(const char *text, int64_t *number) {
    bool negative = *text == '-';
    const char *p = text + (negative || *text == '+');
    uint64_t n = 0;
    for (; *p != '\r'; p++) n = n * 10 + (unsigned char)*p - '0';
    *number = (int64_t)(negative ? 0 - n : n);
    return p + 2;
}

static bool is_known_type(char c) {
    switch ((enum resp_type)c) {
    case RESP_SIMPLE:
    case RESP_ERROR:
    case RESP_INTEGER:
    case RESP_BULK:
    case RESP_ARRAY:
    case RESP_NULL:
    case RESP_BOOL:
    case RESP_DOUBLE:
    case RESP_BIG_NUMBER:
    case RESP_BULK_ERROR:
    case RESP_VERBATIM:
    case RESP_MAP:
    case RESP_SET:
    case RESP_PUSH:
    case RESP_ATTRIBUTE:
        return true;
    }
    return false;
}

static enum resp_frame bad(struct err *err, size_t offset, const char *what) {
    err_set(err, ERR_PROTOCOL, "",
            "the answer is not RESP (%s at byte %zu); is this a Redis or Valkey port?", what,
            offset);
    return RESP_BAD;
}

/* The numbers allowed after a type; -1 (null) only for some types. */
static bool is_length(char type, int64_t n, int64_t max) {
    if (n == -1) return type == '$' || type == '*';
    return n >= 0 && n <= max;
}

/* A value is complete, and with it every aggregate of which it is the last element. */
static enum resp_frame value_ends_at(struct resp_framer *f, size_t after) {
    f->pos = after;
    while (f->depth > 0 && --f->left[f->depth - 1] == 0) f->depth--;
    return RESP_FRAMED;
}

static enum resp_frame frame_string(struct resp_framer *f, struct bytes input, size_t after,
                                    char type, int64_t n, struct err *err) {
    if (!is_length(type, n, RESP_BULK_MAX)) return bad(err, f->pos, "wrong length");
    if (n < 0) return value_ends_at(f, after);
    if (type == '=' && n < 4) return bad(err, f->pos, "verbatim string without format");
    if (input.len - after < (size_t)n + 2) {
        f->need = after + (size_t)n + 2;
        return RESP_NEED_MORE;
    }
    after += (size_t)n;
    if (input.ptr[after] != '\r' || input.ptr[after + 1] != '\n')
        return bad(err, after, "string without end");
    return value_ends_at(f, after + 2);
}

static enum resp_frame frame_aggregate(struct resp_framer *f, size_t after, char type, int64_t n,
                                       struct err *err) {
    if (!is_length(type, n, RESP_COUNT_MAX)) return bad(err, f->pos, "wrong count");
    if (n <= 0 && type != '|') return value_ends_at(f, after);
    if (f->depth == RESP_DEPTH_MAX) return bad(err, f->pos, "nested too deeply");
    if (type == '%') n *= 2;
    /* An attribute stands before the value it describes and does not count as an element. */
    if (type == '|') n = n * 2 + 1;
    f->left[f->depth++] = n;
    f->pos = after;
    return RESP_FRAMED;
}

/* Handles one value at framer->pos whose head, with the number in it, ends at `after`. */
static enum resp_frame frame_numbered(struct resp_framer *f, struct bytes input, size_t after,
                                      char type, int64_t n, struct err *err) {
    switch (type) {
    case '$':
    case '=':
    case '!':
        return frame_string(f, input, after, type, n, err);
    case '*':
    case '~':
    case '>':
    case '%':
    case '|':
        return frame_aggregate(f, after, type, n, err);
    default:
        return value_ends_at(f, after);
    }
}

static const char *number_fault(char type) {
    return type == ':'                                 ? "wrong integer"
           : type == '$' || type == '=' || type == '!' ? "wrong length"
                                                       : "wrong count";
}

static bool is_numbered(char type) {
    return type != '+' && type != '-' && strchr("$=!*~>%|:", type) != NULL;
}

/* The long way: any line, whole or not. */
static enum resp_frame frame_line(struct resp_framer *f, struct bytes input, char type,
                                  struct err *err) {
    if (!is_known_type(type)) return bad(err, f->pos, "unknown type");
    struct bytes line;
    enum line_result found = find_line(input, f->pos, &f->searched, &line);
    if (found == LINE_MORE) return RESP_NEED_MORE;
    if (found == LINE_BAD) return bad(err, f->pos, "line without end");
    size_t after = f->pos + line.len + 2;
    int64_t n;
    if (!is_numbered(type)) return value_ends_at(f, after);
    if (!bytes_to_i64(bytes_of(line.ptr + 1, line.len - 1), &n))
        return bad(err, f->pos, number_fault(type));
    return frame_numbered(f, input, after, type, n, err);
}

/* Handles one value head at framer->pos. */
static enum resp_frame frame_value(struct resp_framer *f, struct bytes input, struct err *err) {
    if (f->pos >= input.len) return RESP_NEED_MORE;
    char type = input.ptr[f->pos];
    if (type == '$' || type == ':' || type == '*') {
        int64_t n;
        const char *after = quick_number(input.ptr + f->pos + 1, input.ptr + input.len, &n);
        if (after != NULL) {
            f->searched = 0;
            return frame_numbered(f, input, (size_t)(after - input.ptr), type, n, err);
        }
    }
    return frame_line(f, input, type, err);
}

/* Nearly all elements of long replies are strings of less than 10,000 bytes. Skips
 * those before the last element, which may end its aggregate too; the rest is left for
 * frame_value(). */
static void frame_strings(struct resp_framer *f, struct bytes input) {
    const char *p = input.ptr + f->pos, *end = input.ptr + input.len;
    int64_t left = f->left[f->depth - 1];
    while (left > 1 && end - p >= QUICK_HEAD_MAX && *p == '$') {
        const char *q = p + 1;
        size_t n = 0;
        unsigned digit;
        while (q < p + 5 && (digit = (unsigned char)*q - (unsigned)'0') <= 9) {
            n = n * 10 + digit;
            q++;
        }
        if (q == p + 1 || q[0] != '\r' || q[1] != '\n' || (size_t)(end - q) < n + 4) break;
        q += n + 2;
        if (q[0] != '\r' || q[1] != '\n') break;
        p = q + 2;
        left--;
    }
    if (left == f->left[f->depth - 1]) return;
    f->left[f->depth - 1] = left;
    f->pos = (size_t)(p - input.ptr);
    f->searched = 0;
}

/* Not inlined: replies that are framed at once would pay for saving its registers. */
__attribute__((noinline)) static enum resp_frame frame_any(struct resp_framer *f,
                                                           struct bytes input, struct err *err) {
    if (f->need > input.len) return RESP_NEED_MORE;
    do {
        if (f->depth > 0) frame_strings(f, input);
        enum resp_frame result = frame_value(f, input, err);
        if (result == RESP_NEED_MORE && (int64_t)f->pos > RESP_REPLY_MAX)
            return bad(err, f->pos, "reply too long");
        if (result != RESP_FRAMED) return result;
    } while (f->depth > 0);
    return RESP_FRAMED;
}

/* The two answers that come by the million are seen at once: an integer, and OK. */
enum resp_frame resp_frame(struct resp_framer *f, struct bytes input, struct err *err) {
    if (f->pos > 0 || input.len < sizeof(OK_LINE) - 1) return frame_any(f, input, err);
    const char *after = NULL;
    int64_t n;
    if (input.ptr[0] == ':') {
        after = quick_number(input.ptr + 1, input.ptr + input.len, &n);
    } else if (memcmp(input.ptr, OK_LINE, sizeof(OK_LINE) - 1) == 0) {
        after = input.ptr + sizeof(OK_LINE) - 1;
    }
    if (after == NULL) return frame_any(f, input, err);
    f->pos = (size_t)(after - input.ptr);
    f->searched = 0;
    return RESP_FRAMED;
}

/* A head in a framed reply; the line's end is known to be there. */
static struct bytes resp_take_line(struct resp_cursor *c) {
    const char *lf = memchr(c->pos, '\n', (size_t)(c->end - c->pos));
    struct bytes line = bytes_of(c->pos, (size_t)(lf - 1 - c->pos));
    c->pos = lf + 1;
    return line;
}

static int64_t number_of(struct bytes text) {
    int64_t n = 0;
    bytes_to_i64(text, &n);
    return n;
}

static void take_string(struct resp_cursor *c, struct resp_item *item, int64_t len) {
    if (len < 0) {
        item->type = RESP_NULL;
        item->str = bytes_of("", 0);
        return;
    }
    item->str = bytes_of(c->pos, (size_t)len);
    c->pos += len + 2;
    if (item->type == RESP_VERBATIM) item->str = bytes_of(item->str.ptr + 4, item->str.len - 4);
}

static void skip_values(struct resp_cursor *c, int64_t n) {
    while (n-- > 0) {
        struct resp_item item;
        if (!resp_next(c, &item)) return;
        if (resp_is_aggregate(&item)) n += item.num;
    }
}

static void take_aggregate(struct resp_item *item, int64_t n) {
    if (n < 0) {
        *item = (struct resp_item){ .type = RESP_NULL, .str = bytes_of("", 0) };
        return;
    }
    item->num = item->type == RESP_MAP ? n * 2 : n;
}

/* Any other line than the three below. False for an attribute, which is passed over. */
static bool resp_take_value(struct resp_cursor *c, struct resp_item *item) {
    struct bytes line = resp_take_line(c);
    *item = (struct resp_item){ .type = (enum resp_type)line.ptr[0],
                                .str = bytes_of(line.ptr + 1, line.len - 1) };
    switch (item->type) {
    case RESP_VERBATIM:
    case RESP_BULK_ERROR:
        take_string(c, item, number_of(item->str));
        return true;
    case RESP_BOOL:
        item->num = item->str.len > 0 && item->str.ptr[0] == 't';
        return true;
    case RESP_SET:
    case RESP_PUSH:
    case RESP_MAP:
        take_aggregate(item, number_of(item->str));
        return true;
    case RESP_ATTRIBUTE:
        skip_values(c, 2 * number_of(item->str));
        return false;
    default:
        return true;
    }
}

/* Anything but an integer and a string that is there. Not inlined: it would cost those the saving
 * of its registers. */
__attribute__((noinline)) static bool next_value(struct resp_cursor *c, struct resp_item *item) {
    char type = c->pos[0];
    if (type != '$' && type != '*') return resp_take_value(c, item) || resp_next(c, item);
    int64_t n;
    const char *text = c->pos + 1, *after = framed_number(text, &n);
    *item = (struct resp_item){ .type = (enum resp_type)type,
                                .str = bytes_of(text, (size_t)(after - 2 - text)) };
    c->pos = after;
    if (type == '$') {
        take_string(c, item, n);
    } else {
        take_aggregate(item, n);
    }
    return true;
}

bool resp_next(struct resp_cursor *c, struct resp_item *item) {
    const char *text = c->pos + 1;
    if (c->pos == c->end) return false;
    if (*c->pos == '$' && *text >= '0') {
        size_t len = 0;
        for (; *text != '\r'; text++) len = len * 10 + (unsigned char)*text - '0';
        item->type = RESP_BULK;
        item->str = bytes_of(text + 2, len);
        item->num = 0;
        c->pos = text + len + 4;
        return true;
    }
    if (*c->pos != ':') return next_value(c, item);
    item->type = RESP_INTEGER;
    c->pos = framed_number(text, &item->num);
    item->str = bytes_of(text, (size_t)(c->pos - 2 - text));
    return true;
}

bool resp_skip(struct resp_cursor *c) {
    struct resp_item item;
    if (!resp_next(c, &item)) return false;
    if (resp_is_aggregate(&item)) skip_values(c, item.num);
    return true;
}
