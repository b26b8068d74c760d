/* See writer.h. */
#include "resp/writer.h"

enum { NUMBER_MAX = 24 };

/* Decimal digits of n before end; returns where they start. */
static char *digits_before(char *end, uint64_t n) {
    do {
        *--end = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return end;
}

static void write_length(struct outq *out, char type, size_t n) {
    char text[NUMBER_MAX + 3], *end = text + NUMBER_MAX;
    end[0] = '\r';
    end[1] = '\n';
    char *start = digits_before(end, n);
    *--start = type;
    outq_write(out, start, (size_t)(end + 2 - start));
}

void resp_write_head(struct outq *out, size_t argc) {
    write_length(out, '*', argc);
}

void resp_write_arg(struct outq *out, struct bytes arg) {
    char *at = outq_reserve(out, arg.len + NUMBER_MAX + 5);
    char text[NUMBER_MAX], *start = digits_before(text + NUMBER_MAX, arg.len);
    size_t n_digits = (size_t)(text + NUMBER_MAX - start);
    char *p = at;
    *p++ = '$';
    memcpy(p, start, n_digits);
    p += n_digits;
    *p++ = '\r';
    *p++ = '\n';
    if (arg.len > 0) memcpy(p, arg.ptr, arg.len);
    p += arg.len;
    *p++ = '\r';
    *p++ = '\n';
    outq_commit(out, (size_t)(p - at));
}

void resp_write_arg_ref(struct outq *out, struct block *block, struct bytes arg) {
    if (arg.len < OUTQ_REF_MIN) {
        resp_write_arg(out, arg);
        return;
    }
    resp_write_arg_parts(out, block, arg, bytes_of("", 0));
}

void resp_write_arg_parts(struct outq *out, struct block *block, struct bytes first, struct bytes second) {
    write_length(out, '$', first.len + second.len);
    outq_write_ref(out, block, first);
    outq_write(out, second.ptr, second.len);
    outq_write(out, "\r\n", 2);
}

void resp_write_arg_i64(struct outq *out, int64_t number) {
    char text[NUMBER_MAX], *end = text + NUMBER_MAX;
    uint64_t magnitude = number < 0 ? UINT64_C(0) - (uint64_t)number : (uint64_t)number;
    char *start = digits_before(end, magnitude);
    if (number < 0) *--start = '-';
    resp_write_arg(out, bytes_of(start, (size_t)(end - start)));
}

void resp_write_command(struct outq *out, size_t argc, const struct bytes *argv) {
    resp_write_head(out, argc);
    for (size_t i = 0; i < argc; i++) resp_write_arg(out, argv[i]);
}
