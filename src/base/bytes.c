/* Views of bytes: comparing, numbers, splitting, and the form in which they are shown to people.
 *
 * Nothing here looks at more than `len` bytes, and nothing assumes a NUL behind them: views point
 * into receive buffers, where the next reply follows directly.
 */
#include "base/bytes.h"

#include <strings.h>

#include "base/mem.h"

bool bytes_equal_nocase(struct bytes a, const char *s) {
    return strlen(s) == a.len && (a.len == 0 || strncasecmp(a.ptr, s, a.len) == 0);
}

/* So few digits that no sum of them overflows: all numbers that are met in practice. */
enum { DIGITS_SAFE = 18 };

static bool digits_to_i64(struct bytes b, size_t i, bool negative, int64_t *out) {
    int64_t value = 0;
    for (; i < b.len; i++) {
        unsigned digit = (unsigned char)b.ptr[i] - (unsigned)'0';
        if (digit > 9) return false;
        value = value * 10 + (int64_t)digit;
    }
    *out = negative ? -value : value;
    return true;
}

bool bytes_to_i64(struct bytes b, int64_t *out) {
    size_t i = 0;
    bool negative = b.len > 0 && b.ptr[0] == '-';
    if (b.len > 0 && (b.ptr[0] == '-' || b.ptr[0] == '+')) i = 1;
    if (i == b.len) return false;
    if (b.len - i <= DIGITS_SAFE) return digits_to_i64(b, i, negative, out);
    /* Summed downwards, because INT64_MIN has no positive twin. */
    int64_t value = 0;
    for (; i < b.len; i++) {
        if (b.ptr[i] < '0' || b.ptr[i] > '9') return false;
        if (__builtin_mul_overflow(value, (int64_t)10, &value)) return false;
        if (__builtin_sub_overflow(value, (int64_t)(b.ptr[i] - '0'), &value)) return false;
    }
    if (!negative && __builtin_sub_overflow((int64_t)0, value, &value)) return false;
    *out = value;
    return true;
}

struct bytes bytes_split(struct bytes *rest, char sep) {
    struct bytes all = *rest;
    const char *at = all.len > 0 ? memchr(all.ptr, sep, all.len) : NULL;
    if (at == NULL) {
        *rest = bytes_of(all.ptr != NULL ? all.ptr + all.len : NULL, 0);
        return all;
    }
    size_t head = (size_t)(at - all.ptr);
    *rest = bytes_of(at + 1, all.len - head - 1);
    return bytes_of(all.ptr, head);
}

char *bytes_dup(struct bytes b) {
    char *copy = mem_alloc(b.len + 1);
    if (b.len > 0) memcpy(copy, b.ptr, b.len);
    copy[b.len] = '\0';
    return copy;
}

/* Writes the escaped form of one byte to out (4 bytes of room) and returns its length. */
static size_t escape_byte(unsigned char c, char *out) {
    static const char hex[] = "0123456789abcdef";
    const char *letter = NULL;
    if (c == '\n') letter = "n";
    if (c == '\r') letter = "r";
    if (c == '\t') letter = "t";
    if (c == '\\') letter = "\\";
    if (c == '"') letter = "\"";
    out[0] = (char)c;
    if (letter == NULL && c >= 0x20 && c < 0x7f) return 1;
    out[0] = '\\';
    out[1] = letter != NULL ? letter[0] : 'x';
    if (letter != NULL) return 2;
    out[2] = hex[c >> 4];
    out[3] = hex[c & 15];
    return 4;
}

const char *bytes_escape(struct bytes b, char *out, size_t size) {
    size_t dots = size > 3 ? 3 : size - 1;
    size_t used = 0; /* bytes written so far */
    size_t safe = 0; /* how many of these leave room for the dots; never inside an escape */
    for (size_t i = 0; i < b.len; i++) {
        char piece[4];
        size_t len = escape_byte((unsigned char)b.ptr[i], piece);
        if (used + len + 1 > size) {
            memcpy(out + safe, "...", dots);
            out[safe + dots] = '\0';
            return out;
        }
        memcpy(out + used, piece, len);
        used += len;
        if (used + dots + 1 <= size) safe = used;
    }
    out[used] = '\0';
    return out;
}
