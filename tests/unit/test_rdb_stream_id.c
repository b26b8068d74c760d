/* IDs of stream entries, up to the last possible one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "rdb/stream_id.h"

#define LAST_TEXT "18446744073709551615-18446744073709551615"

static struct stream_id id_of(const char *text) {
    struct stream_id id;
    assert_true(stream_id_parse(bytes_of_str(text), &id));
    return id;
}

static void assert_no_id(const char *text) {
    struct stream_id id = { 3, 4 };
    assert_false(stream_id_parse(bytes_of_str(text), &id));
    assert_true(id.ms == 3 && id.seq == 4);
}

static void ids_are_parsed(void **state) {
    struct stream_id id = id_of("1526919030474-55");
    assert_true(id.ms == 1526919030474u && id.seq == 55);
    assert_int_equal(stream_id_compare(id_of(LAST_TEXT), STREAM_ID_LAST), 0);
    assert_true(stream_id_is_zero(id_of("0-0")));
    assert_false(stream_id_is_zero(id_of("0-1")));
}

static void texts_that_are_no_id(void **state) {
    static const char *const texts[] = { "",     "-",    "5",    "5-",    "-6",   "5-6x",
                                         " 5-6", "+5-6", "5--6", "5-6-7", "-5-6", "x" };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) assert_no_id(texts[i]);
    assert_no_id("18446744073709551616-0");
    assert_no_id("0-18446744073709551616");
    char longest[200];
    memset(longest, '1', sizeof(longest));
    struct stream_id id;
    assert_false(stream_id_parse(bytes_of(longest, sizeof(longest)), &id));
    assert_false(stream_id_parse(bytes_of(NULL, 0), &id));
}

static void texts_are_read_back(void **state) {
    static const char *const texts[] = { "0-0", "0-1", "5-0", "18446744073709551615-0", LAST_TEXT };
    char buf[STREAM_ID_TEXT_MAX];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_true(bytes_equal_str(stream_id_text(id_of(texts[i]), buf), texts[i]));
}

static void ids_are_ordered(void **state) {
    assert_true(stream_id_compare(id_of("9-0"), id_of("10-0")) < 0);
    assert_true(stream_id_compare(id_of("10-9"), id_of("10-10")) < 0);
    assert_true(stream_id_compare(id_of("10-10"), id_of("10-10")) == 0);
    assert_true(stream_id_compare(id_of("11-0"), id_of("10-99")) > 0);
    assert_true(stream_id_compare(STREAM_ID_LAST, id_of("18446744073709551614-0")) > 0);
}

static void next_id(void **state) {
    struct stream_id id = id_of("5-6");
    assert_true(stream_id_advance(&id));
    assert_int_equal(stream_id_compare(id, id_of("5-7")), 0);
    id = id_of("5-18446744073709551615");
    assert_true(stream_id_advance(&id));
    assert_int_equal(stream_id_compare(id, id_of("6-0")), 0);
}

/* It must not wrap to 0-0: a copy would begin from the start again. */
static void nothing_follows_the_last_id(void **state) {
    struct stream_id id = STREAM_ID_LAST;
    assert_false(stream_id_advance(&id));
    assert_int_equal(stream_id_compare(id, STREAM_ID_LAST), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_parsed),
        cmocka_unit_test(texts_that_are_no_id),
        cmocka_unit_test(texts_are_read_back),
        cmocka_unit_test(ids_are_ordered),
        cmocka_unit_test(next_id),
        cmocka_unit_test(nothing_follows_the_last_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
