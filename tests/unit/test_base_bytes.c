/* Views of bytes, above all their edges: empty, binary, one byte too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static const struct bytes nothing = { 0 };

static void compares(void **state) {
    assert_true(bytes_equal(nothing, BYTES_LITERAL("")));
    assert_true(bytes_equal(BYTES_LITERAL("a\0b"), bytes_of("a\0b", 3)));
    assert_false(bytes_equal(BYTES_LITERAL("a\0b"), BYTES_LITERAL("a\0c")));
    assert_false(bytes_equal_str(BYTES_LITERAL("a\0"), "a"));
    assert_true(bytes_equal_nocase(BYTES_LITERAL("MoVed"), "mOvED"));
    assert_false(bytes_equal_nocase(BYTES_LITERAL("moved"), "move"));
    assert_false(bytes_equal_nocase(BYTES_LITERAL("move"), "moved"));
    assert_true(bytes_equal_nocase(nothing, ""));
    assert_true(bytes_has_prefix(BYTES_LITERAL("key:1"), "key:"));
    assert_true(bytes_has_prefix(BYTES_LITERAL("key"), "key"));
    assert_false(bytes_has_prefix(BYTES_LITERAL("ke"), "key"));
    assert_true(bytes_has_prefix(BYTES_LITERAL("x"), ""));
    assert_true(bytes_has_prefix(nothing, ""));
    assert_false(bytes_has_prefix(nothing, "x"));
}

static void assert_number(const char *text, int64_t wanted) {
    int64_t out = 12345;
    assert_true(bytes_to_i64(bytes_of_str(text), &out));
    assert_int_equal(out, wanted);
}

static void assert_no_number(struct bytes text) {
    int64_t out = 12345;
    assert_false(bytes_to_i64(text, &out));
    assert_int_equal(out, 12345);
}

static void numbers(void **state) {
    assert_number("0", 0);
    assert_number("-0", 0);
    assert_number("+7", 7);
    assert_number("007", 7);
    assert_number("9223372036854775807", INT64_MAX);
    assert_number("-9223372036854775808", INT64_MIN);
    assert_number("0000000000000000000000000009", 9);
    int64_t out;
    assert_true(bytes_to_i64(bytes_of("123", 2), &out));
    assert_int_equal(out, 12);
}

static void no_numbers(void **state) {
    const char *bad[] = { "",
                          "-",
                          "+",
                          "--1",
                          "+-1",
                          "1 ",
                          " 1",
                          "1.0",
                          "0x10",
                          "1e3",
                          "9223372036854775808",
                          "-9223372036854775809",
                          "99999999999999999999",
                          "18446744073709551617" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_no_number(bytes_of_str(bad[i]));
    assert_no_number(nothing);
    assert_no_number(BYTES_LITERAL("1\0"));
}

static void splits(void **state) {
    struct bytes rest = BYTES_LITERAL("a,,bc");
    assert_true(bytes_equal_str(bytes_split(&rest, ','), "a"));
    assert_true(bytes_equal_str(bytes_split(&rest, ','), ""));
    assert_true(bytes_equal_str(bytes_split(&rest, ','), "bc"));
    assert_int_equal(rest.len, 0);
    assert_int_equal(bytes_split(&rest, ',').len, 0);
    rest = nothing;
    assert_int_equal(bytes_split(&rest, ',').len, 0);
    rest = bytes_of("ab,", 2);
    assert_true(bytes_equal_str(bytes_split(&rest, ','), "ab"));
}

static void duplicates(void **state) {
    char *copy = bytes_dup(BYTES_LITERAL("a\0b"));
    assert_memory_equal(copy, "a\0b\0", 4);
    free(copy);
    copy = bytes_dup(nothing);
    assert_string_equal(copy, "");
    free(copy);
}

static void escapes(void **state) {
    char out[64];
    assert_string_equal(bytes_escape(BYTES_LITERAL("plain ~"), out, sizeof(out)), "plain ~");
    assert_string_equal(bytes_escape(BYTES_LITERAL("\n\r\t\\\""), out, sizeof(out)),
                        "\\n\\r\\t\\\\\\\"");
    assert_string_equal(bytes_escape(BYTES_LITERAL("\0\x1f\x7f\xff"), out, sizeof(out)),
                        "\\x00\\x1f\\x7f\\xff");
    assert_string_equal(bytes_escape(nothing, out, 1), "");
}

static void escape_is_cut(void **state) {
    char out[64];
    assert_string_equal(bytes_escape(BYTES_LITERAL("abcdef"), out, 7), "abcdef");
    assert_string_equal(bytes_escape(BYTES_LITERAL("abcdefg"), out, 7), "abc...");
    /* Never inside an escape: \x01\x02 needs 8, so that with 7 only dots after the first one fit.
     */
    assert_string_equal(bytes_escape(BYTES_LITERAL("\x01\x02"), out, 9), "\\x01\\x02");
    assert_string_equal(bytes_escape(BYTES_LITERAL("\x01\x02"), out, 8), "\\x01...");
    assert_string_equal(bytes_escape(BYTES_LITERAL("\x01\x02"), out, 7), "...");
    assert_string_equal(bytes_escape(BYTES_LITERAL("abc"), out, 3), "..");
    assert_string_equal(bytes_escape(BYTES_LITERAL("abc"), out, 1), "");
}

static void escape_never_writes_past(void **state) {
    char key[12], out[64];
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)rand() % sizeof(key), size = 1 + (size_t)rand() % 40;
        for (size_t i = 0; i < len; i++) key[i] = "a\n\x01\xff"[rand() % 4];
        memset(out, '#', sizeof(out));
        bytes_escape(bytes_of(key, len), out, size);
        assert_true(strlen(out) < size);
        assert_int_equal(out[size], '#');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),      cmocka_unit_test(numbers),
        cmocka_unit_test(no_numbers),    cmocka_unit_test(splits),
        cmocka_unit_test(duplicates),    cmocka_unit_test(escapes),
        cmocka_unit_test(escape_is_cut), cmocka_unit_test(escape_never_writes_past),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
