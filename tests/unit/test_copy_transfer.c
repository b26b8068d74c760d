/* The parts of a copy in pieces that need no server: IDs of streams, and which commands belong to a
 * type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "copy/transfer_priv.h"

static void ids_are_parsed(void **state) {
    uint64_t ms = 0, seq = 0;
    assert_true(stream_id_parse(bytes_of_str("1526919030474-55"), &ms, &seq));
    assert_true(ms == 1526919030474u && seq == 55);
    assert_true(
        stream_id_parse(bytes_of_str("18446744073709551615-18446744073709551615"), &ms, &seq));
    assert_true(ms == UINT64_MAX && seq == UINT64_MAX);
    assert_false(stream_id_parse(bytes_of_str(""), &ms, &seq));
    assert_false(stream_id_parse(bytes_of_str("-"), &ms, &seq));
    assert_false(stream_id_parse(bytes_of_str("5"), &ms, &seq));
    assert_false(stream_id_parse(bytes_of_str("5-6x"), &ms, &seq));
    char longest[200];
    memset(longest, '1', sizeof(longest));
    assert_false(stream_id_parse(bytes_of(longest, sizeof(longest)), &ms, &seq));
}

static void ids_are_ordered(void **state) {
    assert_true(stream_id_compare("9-0", "10-0") < 0);
    assert_true(stream_id_compare("10-9", "10-10") < 0);
    assert_true(stream_id_compare("10-10", "10-10") == 0);
    assert_true(stream_id_compare("11-0", "10-99") > 0);
    assert_true(stream_id_compare("", "0-0") < 0);
    assert_true(stream_id_compare("0-0", "") > 0);
    assert_true(stream_id_compare("", "") == 0);
}

static void next_id(void **state) {
    char id[STREAM_ID_MAX];
    stream_id_next("5-6", id);
    assert_string_equal(id, "5-7");
    stream_id_next("5-18446744073709551615", id);
    assert_string_equal(id, "6-0");
    stream_id_next(id, id);
    assert_string_equal(id, "6-1");
}

static void kinds(void **state) {
    static const char *const known[] = { "string", "list", "set", "hash", "zset", "stream" };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct transfer_kind *kind = transfer_kind_of(bytes_of_str(known[i]));
        assert_non_null(kind);
        assert_string_equal(value_type_name(kind->value), known[i]);
    }
    assert_null(transfer_kind_of(bytes_of_str("vectorset")));
    assert_null(transfer_kind_of(bytes_of_str("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_parsed),
        cmocka_unit_test(ids_are_ordered),
        cmocka_unit_test(next_id),
        cmocka_unit_test(kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
