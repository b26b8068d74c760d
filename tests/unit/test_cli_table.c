/* cli/table: alignment, rows printed in pieces, cells that would break a line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "output/table.h"

static void expect_printed(struct table *t, int indent, const char *expected) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    table_print(t, out, indent);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void test_aligns_text_left_and_numbers_right(void **state) {
    struct table *t = table_new();
    table_text(t, "type");
    table_number(t, "keys");
    table_text(t, "note");
    table_end_row(t);
    table_text(t, "%s", "hash");
    table_number(t, "%d", 1234567);
    table_text(t, "x");
    table_end_row(t);
    table_text(t, "stream");
    table_number(t, "%d", 7);
    table_end_row(t);
    expect_printed(t, 2, "  type       keys  note\n  hash    1234567  x\n  stream        7\n");
    table_free(&t);
    assert_null(t);
}

static void test_columns_only_get_wider(void **state) {
    struct table *t = table_new();
    table_number(t, "1000");
    table_text(t, "a");
    table_end_row(t);
    expect_printed(t, 0, "1000  a\n");
    expect_printed(t, 0, "");
    table_number(t, "1");
    table_text(t, "b");
    table_end_row(t);
    expect_printed(t, 0, "   1  b\n");
    table_free(&t);
}

static void test_empty_cells_leave_no_space_at_the_end(void **state) {
    struct table *t = table_new();
    table_text(t, "a");
    table_text(t, "%s", "");
    table_text(t, "c");
    table_end_row(t);
    table_text(t, "a");
    table_text(t, "wide");
    table_text(t, "%s", "");
    table_end_row(t);
    expect_printed(t, 0, "a        c\na  wide\n");
    table_free(&t);
}

static void test_characters_count_not_bytes_and_controls_are_shown(void **state) {
    struct table *t = table_new();
    table_text(t, "%s", "\xc3\xa9t\xc3\xa9");
    table_text(t, "b");
    table_end_row(t);
    table_text(t, "x\ny");
    table_text(t, "b");
    table_end_row(t);
    expect_printed(t, 0, "\xc3\xa9t\xc3\xa9  b\nx?y  b\n");
    table_free(&t);
}

static void test_columns_past_the_bound_are_dropped_and_open_rows_wait(void **state) {
    struct table *t = table_new();
    for (int i = 0; i < TABLE_COLUMNS_MAX + 3; i++) table_text(t, "%c", 'a' + i % 26);
    table_end_row(t);
    table_text(t, "open");
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    table_print(t, out, 0);
    fclose(out);
    assert_null(strstr(text, "open"));
    /* the first column is as wide as "open" */
    assert_int_equal(size, 1 + 3 * (TABLE_COLUMNS_MAX - 1) + 3 + 1);
    free(text);
    table_end_row(t);
    expect_printed(t, 0, "open\n");
    table_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aligns_text_left_and_numbers_right),
        cmocka_unit_test(test_columns_only_get_wider),
        cmocka_unit_test(test_empty_cells_leave_no_space_at_the_end),
        cmocka_unit_test(test_characters_count_not_bytes_and_controls_are_shown),
        cmocka_unit_test(test_columns_past_the_bound_are_dropped_and_open_rows_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
