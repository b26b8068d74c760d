/* See reader.h. Framing never recurses: open aggregates are a small stack of how many elements each still misses. */
#include "resp/reader.h"

enum line_result { LINE_OK, LINE_MORE, LINE_BAD };

/* Finds the line that starts at from (its end is CRLF); remembers in *searched how far it looked. */
static enum line_result find_line(struct bytes input, size_t from, size_t *searched, struct bytes *line) {
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
    err_set(err, ERR_PROTOCOL, "", "the answer is not RESP (%s at byte %zu); is this a Redis or Valkey port?", what,
            offset);
    return RESP_BAD;
}

/* A length or count; -1 (null) only where the type allows it. */
static bool parse_length(char type, struct bytes digits, int64_t max, int64_t *length) {
    if (!bytes_to_i64(digits, length)) return false;
    if (*length == -1) return type == '$' || type == '*';
    return *length >= 0 && *length <= max;
}

/* Handles one value head at framer->pos. */
static enum resp_frame frame_value(struct resp_framer *f, struct bytes input, struct err *err) {
    if (f->pos >= input.len) return RESP_NEED_MORE;
    char type = input.ptr[f->pos];
    if (!is_known_type(type)) return bad(err, f->pos, "unknown type");
    struct bytes line;
    enum line_result found = find_line(input, f->pos, &f->searched, &line);
    if (found == LINE_MORE) return RESP_NEED_MORE;
    if (found == LINE_BAD) return bad(err, f->pos, "line without end");
    size_t after = f->pos + line.len + 2;
    struct bytes digits = bytes_of(line.ptr + 1, line.len - 1);
    int64_t n = 0;
    switch (type) {
    case '$':
    case '=':
    case '!':
        if (!parse_length(type, digits, RESP_BULK_MAX, &n)) return bad(err, f->pos, "wrong length");
        if (n < 0) break;
        if (type == '=' && n < 4) return bad(err, f->pos, "verbatim string without format");
        if (input.len - after < (size_t)n + 2) {
            f->need = after + (size_t)n + 2;
            return RESP_NEED_MORE;
        }
        after += (size_t)n;
        if (input.ptr[after] != '\r' || input.ptr[after + 1] != '\n') return bad(err, after, "string without end");
        after += 2;
        break;
    case '*':
    case '~':
    case '>':
    case '%':
    case '|':
        if (!parse_length(type, digits, RESP_COUNT_MAX, &n)) return bad(err, f->pos, "wrong count");
        if (n <= 0 && type != '|') break;
        if (f->depth == RESP_DEPTH_MAX) return bad(err, f->pos, "nested too deeply");
        if (type == '%') n *= 2;
        /* An attribute stands before the value it describes and does not count as an element. */
        if (type == '|') n = n * 2 + 1;
        f->left[f->depth++] = n;
        f->pos = after;
        return RESP_FRAMED;
    case ':': {
        int64_t ignored;
        if (!bytes_to_i64(digits, &ignored)) return bad(err, f->pos, "wrong integer");
        break;
    }
    default:
        break;
    }
    f->pos = after;
    /* A value is complete, and with it every aggregate of which it is the last element. */
    while (f->depth > 0 && --f->left[f->depth - 1] == 0) f->depth--;
    return RESP_FRAMED;
}

enum resp_frame resp_frame(struct resp_framer *f, struct bytes input, struct err *err) {
    if (f->need > input.len) return RESP_NEED_MORE;
    do {
        enum resp_frame result = frame_value(f, input, err);
        if (result == RESP_NEED_MORE && (int64_t)f->pos > RESP_REPLY_MAX) return bad(err, f->pos, "reply too long");
        if (result != RESP_FRAMED) return result;
    } while (f->depth > 0);
    return RESP_FRAMED;
}

/* A head in a framed reply; the line's end is known to be there. */
static struct bytes take_line(struct resp_cursor *c) {
    const char *lf = memchr(c->pos, '\n', (size_t)(c->end - c->pos));
    struct bytes line = bytes_of(c->pos, (size_t)(lf - 1 - c->pos));
    c->pos = lf + 1;
    return line;
}

static int64_t quick_i64(struct bytes b) {
    int64_t n = 0;
    bytes_to_i64(b, &n);
    return n;
}

static void take_string(struct resp_cursor *c, struct resp_item *item) {
    int64_t len = quick_i64(item->str);
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

bool resp_next(struct resp_cursor *c, struct resp_item *item) {
    while (c->pos < c->end) {
        struct bytes line = take_line(c);
        *item = (struct resp_item){ .type = (enum resp_type)line.ptr[0], .str = bytes_of(line.ptr + 1, line.len - 1) };
        switch (item->type) {
        case RESP_BULK:
        case RESP_VERBATIM:
        case RESP_BULK_ERROR:
            take_string(c, item);
            return true;
        case RESP_INTEGER:
            item->num = quick_i64(item->str);
            return true;
        case RESP_BOOL:
            item->num = item->str.len > 0 && item->str.ptr[0] == 't';
            return true;
        case RESP_ARRAY:
        case RESP_SET:
        case RESP_PUSH:
        case RESP_MAP:
            item->num = quick_i64(item->str);
            if (item->num < 0) item->type = RESP_NULL;
            if (item->type == RESP_MAP) item->num *= 2;
            if (item->type == RESP_NULL) *item = (struct resp_item){ .type = RESP_NULL, .str = bytes_of("", 0) };
            return true;
        case RESP_ATTRIBUTE:
            skip_values(c, 2 * quick_i64(item->str));
            continue;
        default:
            return true;
        }
    }
    return false;
}

bool resp_skip(struct resp_cursor *c) {
    struct resp_item item;
    if (!resp_next(c, &item)) return false;
    if (resp_is_aggregate(&item)) skip_values(c, item.num);
    return true;
}
