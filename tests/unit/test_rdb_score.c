/* Scores that lose their sign on the way: -0, in texts and in dumped values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "rdb/score.h"

enum { SKIPLIST = 5, SKIPLIST_TEXT = 3, FOOTER_LEN = 10 };

static void negative_zero_in_texts(void **state) {
    static const char *const yes[] = { "-0", "-0.0", "-0e5" };
    static const char *const no[] = {
        "", "0", "-", "-1", "-0.5", "-05", "0.0", "inf", "-inf", "nan"
    };
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(score_text_is_negative_zero(bytes_of_str(yes[i])));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_false(score_text_is_negative_zero(bytes_of_str(no[i])));
    assert_false(score_text_is_negative_zero(bytes_of(NULL, 0)));
}

static void filler_is_longer_than_a_listpack_takes(void **state) {
    struct bytes filler = score_filler();
    assert_int_equal(filler.len, SCORE_FILLER_LEN);
    assert_true(bytes_equal(filler, score_filler()));
}

/* One member with this score, as a skiplist is dumped. */
static bool binary_has(const char member[8], uint64_t bits) {
    char payload[2 + 1 + 8 + 8 + FOOTER_LEN] = { SKIPLIST, 1, 8 };
    memcpy(payload + 3, member, 8);
    for (int i = 0; i < 8; i++) payload[11 + i] = (char)(bits >> (8 * i));
    return payload_has_negative_zero(bytes_of(payload, sizeof(payload)));
}

static bool text_has(const char *score, const char member[2]) {
    char payload[2 + 3 + 1 + 8 + FOOTER_LEN] = { SKIPLIST_TEXT, 1, 2 };
    size_t len = strlen(score);
    memcpy(payload + 3, member, 2);
    payload[5] = (char)len;
    memcpy(payload + 6, score, len);
    return payload_has_negative_zero(bytes_of(payload, 6 + len + FOOTER_LEN));
}

static void negative_zero_in_skiplists(void **state) {
    static const char like_the_score[8] = { 0, 0, 0, 0, 0, 0, 0, (char)0x80 };
    assert_true(binary_has("member00", UINT64_C(1) << 63));
    assert_false(binary_has("member00", 0));
    assert_false(binary_has("member00", 1)); /* the least subnormal */
    assert_false(binary_has("member00", UINT64_C(1) << 63 | 1));
    assert_false(binary_has(like_the_score, 0));
    assert_true(text_has("-0", "mm"));
    assert_false(text_has("0", "mm"));
    assert_false(text_has("-0.25", "mm"));
    assert_false(text_has("7", "-0"));
}

static void other_values_have_none(void **state) {
    static const char set[] = { 2, 1, 2, '-', '0', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    static const char cut[] = { SKIPLIST, 9, 8, 0, 0, 0, 0, 0, 0, 0, (char)0x80, 0, 0, 0 };
    assert_false(payload_has_negative_zero(bytes_of(set, sizeof(set))));
    assert_false(payload_has_negative_zero(bytes_of(cut, sizeof(cut))));
    assert_false(payload_has_negative_zero(bytes_of(NULL, 0)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(negative_zero_in_texts),
        cmocka_unit_test(filler_is_longer_than_a_listpack_takes),
        cmocka_unit_test(negative_zero_in_skiplists),
        cmocka_unit_test(other_values_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
