/* The writer: its output is the protocol's, byte for byte, and the reader understands it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "resp/reader.h"
#include "resp/writer.h"

/* The queue's content in one piece, NUL-terminated; the caller frees it. */
static char *flatten(struct outq *q, size_t *len) {
    *len = outq_bytes(q);
    char *all = mem_zalloc(*len + 1);
    size_t at = 0;
    struct iovec iov;
    while (outq_peek(q, &iov, 1) == 1) {
        memcpy(all + at, iov.iov_base, iov.iov_len);
        at += iov.iov_len;
        outq_consume(q, iov.iov_len);
    }
    assert_int_equal(at, *len);
    return all;
}

static void assert_written(struct outq *q, const char *expected) {
    size_t len;
    char *all = flatten(q, &len);
    assert_string_equal(all, expected);
    free(all);
}

static void words(void **state) {
    struct outq q;
    outq_init(&q);
    const struct bytes argv[] = { BYTES_LITERAL("SET"), BYTES_LITERAL("k"), bytes_of(NULL, 0) };
    resp_write_command(&q, 3, argv);
    assert_written(&q, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
    resp_write_head(&q, 1234567890);
    assert_written(&q, "*1234567890\r\n");
    resp_write_literal(&q, "PING");
    assert_written(&q, "$4\r\nPING\r\n");
    outq_fini(&q);
}

static void numbers(void **state) {
    const int64_t numbers[] = { 0, 1, -1, 9, 10, -10, 1753000000000, INT64_MAX, INT64_MIN };
    struct outq q;
    outq_init(&q);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char digits[32], expected[64];
        snprintf(digits, sizeof(digits), "%lld", (long long)numbers[i]);
        snprintf(expected, sizeof(expected), "$%zu\r\n%s\r\n", strlen(digits), digits);
        resp_write_arg_i64(&q, numbers[i]);
        assert_written(&q, expected);
    }
    outq_fini(&q);
}

static void binary(void **state) {
    struct outq q;
    outq_init(&q);
    resp_write_arg(&q, bytes_of("a\0\r\n\xff", 5));
    size_t len;
    char *all = flatten(&q, &len);
    assert_int_equal(len, 11);
    assert_memory_equal(all, "$5\r\na\0\r\n\xff\r\n", 11);
    free(all);
    outq_fini(&q);
}

/* Arguments around every size at which something changes, copied and referred to, are read back
 * equal. */
static void sizes_round_trip(void **state) {
    const size_t sizes[] = {
        0, 1, 9, 10, 99, 100, OUTQ_REF_MIN - 1, OUTQ_REF_MIN, 65000, 65472, 65535, 65536, 1 << 20
    };
    struct block *block = block_new(1 << 20);
    for (size_t i = 0; i < block->cap; i++) block->data[i] = (char)rand();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct bytes value = bytes_of(block->data + block->cap - sizes[i], sizes[i]);
        struct outq q;
        outq_init(&q);
        resp_write_head(&q, 3);
        resp_write_arg(&q, value);
        resp_write_arg_ref(&q, block, value);
        resp_write_arg_i64(&q, -5);
        size_t len;
        char *all = flatten(&q, &len);
        struct resp_framer framer = { 0 };
        struct err err;
        assert_int_equal(resp_frame(&framer, bytes_of(all, len), &err), RESP_FRAMED);
        assert_int_equal(framer.pos, len);
        struct resp_cursor c = resp_cursor_of(bytes_of(all, len));
        struct resp_item item;
        assert_true(resp_next(&c, &item) && item.type == RESP_ARRAY && item.num == 3);
        assert_true(resp_next(&c, &item) && bytes_equal(item.str, value));
        assert_true(resp_next(&c, &item) && bytes_equal(item.str, value));
        assert_true(resp_next(&c, &item) && bytes_equal_str(item.str, "-5"));
        assert_false(resp_next(&c, &item));
        free(all);
        outq_fini(&q);
        assert_int_equal(block->refs, 1);
    }
    block_unref(&block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words),
        cmocka_unit_test(numbers),
        cmocka_unit_test(binary),
        cmocka_unit_test(sizes_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
