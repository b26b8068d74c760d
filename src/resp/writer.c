/* See writer.h. */
#include "resp/writer.h"

enum { NUMBER_MAX = RESP_NUMBER_ROOM };

#define TEN(d) d "0" d "1" d "2" d "3" d "4" d "5" d "6" d "7" d "8" d "9"
static const char pairs[] =
    TEN("0") TEN("1") TEN("2") TEN("3") TEN("4") TEN("5") TEN("6") TEN("7") TEN("8") TEN("9");

/* Decimal digits of n before end; returns where they start. */
static char *digits_before(char *end, uint64_t n) {
    for (; n >= 100; n /= 100) memcpy(end -= 2, &pairs[n % 100 * 2], 2);
    if (n >= 10) return memcpy(end - 2, &pairs[n * 2], 2);
    *--end = (char)('0' + n);
    return end;
}

/* Nearly all lengths are short and need no loop. Returns the end of the text. */
static inline char *put_length(char *p, char type, size_t n) {
    *p++ = type;
    if (n < 10) {
        *p++ = (char)('0' + n);
    } else if (n < 100) {
        *p++ = (char)('0' + n / 10);
        *p++ = (char)('0' + n % 10);
    } else if (n < 1000) {
        *p++ = (char)('0' + n / 100);
        *p++ = (char)('0' + n / 10 % 10);
        *p++ = (char)('0' + n % 10);
    } else {
        char text[NUMBER_MAX];
        for (const char *digit = digits_before(text + NUMBER_MAX, n); digit < text + NUMBER_MAX;
             digit++)
            *p++ = *digit;
    }
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

void resp_write_head(struct outq *out, size_t argc) {
    char *at = outq_reserve(out, NUMBER_MAX + 3);
    outq_commit(out, (size_t)(put_length(at, '*', argc) - at));
}

char *resp_put_arg(char *at, struct bytes arg) {
    char *p = put_length(at, '$', arg.len);
    if (arg.len > 0) memcpy(p, arg.ptr, arg.len);
    p += arg.len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

char *resp_put_arg_i64(char *at, int64_t number) {
    char text[NUMBER_MAX], *end = text + NUMBER_MAX;
    uint64_t magnitude = number < 0 ? UINT64_C(0) - (uint64_t)number : (uint64_t)number;
    char *start = digits_before(end, magnitude);
    if (number < 0) *--start = '-';
    return resp_put_arg(at, bytes_of(start, (size_t)(end - start)));
}

void resp_write_arg(struct outq *out, struct bytes arg) {
    char *at = outq_reserve(out, RESP_ARG_ROOM(arg.len));
    outq_commit(out, (size_t)(resp_put_arg(at, arg) - at));
}

void resp_write_arg_ref(struct outq *out, struct block *block, struct bytes arg) {
    if (arg.len < OUTQ_REF_MIN) {
        resp_write_arg(out, arg);
        return;
    }
    resp_write_arg_parts(out, block, arg, bytes_of("", 0));
}

void resp_write_arg_parts(struct outq *out, struct block *block, struct bytes first,
                          struct bytes second) {
    char *at = outq_reserve(out, NUMBER_MAX + 3);
    outq_commit(out, (size_t)(put_length(at, '$', first.len + second.len) - at));
    outq_write_ref(out, block, first);
    outq_write(out, second.ptr, second.len);
    outq_write(out, "\r\n", 2);
}

void resp_write_arg_i64(struct outq *out, int64_t number) {
    char *at = outq_reserve(out, RESP_ARG_ROOM(NUMBER_MAX));
    outq_commit(out, (size_t)(resp_put_arg_i64(at, number) - at));
}

void resp_write_command(struct outq *out, size_t argc, const struct bytes *argv) {
    resp_write_head(out, argc);
    for (size_t i = 0; i < argc; i++) resp_write_arg(out, argv[i]);
}
