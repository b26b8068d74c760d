/* A borrowed view of bytes that somebody else owns: a key, a value, a word of a reply. Not
 * terminated by NUL. */
#ifndef LONGHAUL_BASE_BYTES_H
#define LONGHAUL_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *ptr;
    size_t len;
};

#define BYTES_LITERAL(s) ((struct bytes){ .ptr = (s), .len = sizeof(s) - 1 })

static inline struct bytes bytes_of(const void *ptr, size_t len) {
    return (struct bytes){ .ptr = ptr, .len = len };
}

static inline struct bytes bytes_of_str(const char *s) {
    return (struct bytes){ .ptr = s, .len = strlen(s) };
}

static inline bool bytes_equal(struct bytes a, struct bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool bytes_equal_str(struct bytes a, const char *s) {
    return bytes_equal(a, bytes_of_str(s));
}

/* Inline, so that nothing is called where the prefix is a literal. */
static inline bool bytes_has_prefix(struct bytes b, const char *prefix) {
    size_t len = strlen(prefix);
    return b.len >= len && (len == 0 || memcmp(b.ptr, prefix, len) == 0);
}

/* ASCII case is ignored. */
bool bytes_equal_nocase(struct bytes a, const char *s);

/* A decimal number with optional sign that fills the whole view; false (and *out untouched)
 * otherwise, also when it does not fit. */
bool bytes_to_i64(struct bytes b, int64_t *out);

/* Splits off the part before the first `sep` and moves *rest behind the sep. Where there is no sep,
 * the part is the whole rest, and *rest becomes empty. */
struct bytes bytes_split(struct bytes *rest, char sep);

/* A NUL-terminated copy; the caller frees it. Bytes that are NUL are copied as they are. */
char *bytes_dup(struct bytes b);

/* Printable form of b for logs and findings: ASCII as it is, the rest as \xNN, \n, \r, \t, \\, \";
 * cut to fit in size, with "..." at the end. Always terminated (size > 0). Returns out. */
const char *bytes_escape(struct bytes b, char *out, size_t size);

#endif
