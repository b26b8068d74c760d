/* Digests of values, and the equality of two values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "verify/compare.h"
#include "verify/digest.h"
#include "verify/hyperloglog.h"
#include "verify/sum.h"

static struct digest word(const char *text) {
    return digest_of(bytes_of_str(text));
}

static struct digest chain(const char *a, const char *b) {
    return digest_chain(digest_chain((struct digest){ 0 }, bytes_of_str(a)), bytes_of_str(b));
}

static void sums_do_not_depend_on_order(void **state) {
    const char *const words[] = { "a", "b", "", "a", "long word", "b" };
    struct digest forward = { 0 }, backward = { 0 }, fewer = { 0 };
    for (int i = 0; i < 6; i++) digest_add(&forward, word(words[i]));
    for (int i = 5; i >= 0; i--) digest_add(&backward, word(words[i]));
    for (int i = 0; i < 5; i++) digest_add(&fewer, word(words[i]));
    assert_true(digest_equal(forward, backward));
    assert_false(digest_equal(forward, fewer));
}

/* An exclusive or would cancel pairs. */
static void sums_count_repetitions(void **state) {
    struct digest twice = { 0 }, other = { 0 }, none = { 0 };
    digest_add(&twice, word("a"));
    digest_add(&twice, word("a"));
    digest_add(&other, word("b"));
    digest_add(&other, word("b"));
    assert_false(digest_equal(twice, other));
    assert_false(digest_equal(twice, none));
}

static void sums_carry(void **state) {
    struct digest sum = { UINT64_MAX, 1 };
    digest_add(&sum, (struct digest){ 1, 0 });
    assert_true(sum.low == 0 && sum.high == 2);
}

static void chains_tell_words_apart(void **state) {
    assert_true(digest_equal(chain("ab", "c"), chain("ab", "c")));
    assert_false(digest_equal(chain("ab", "c"), chain("a", "bc")));
    assert_false(digest_equal(chain("a", "b"), chain("b", "a")));
    assert_false(digest_equal(chain("a", ""), word("a")));
}

static void scores_are_numbers(void **state) {
    static const struct {
        const char *a, *b;
        int equal;
    } pairs[] = {
        { "0.1", "0.10000000000000001", 1 },
        { "1", "1.0", 1 },
        { "1e+20", "100000000000000000000", 1 },
        { "inf", "inf", 1 },
        { "inf", "-inf", 0 },
        { "0.1", "0.10000000000000002", 0 },
        { "1", "2", 0 },
        { "not a number", "not a number", 1 },
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct digest a = digest_chain_score((struct digest){ 0 }, bytes_of_str(pairs[i].a));
        struct digest b = digest_chain_score((struct digest){ 0 }, bytes_of_str(pairs[i].b));
        if (digest_equal(a, b) != pairs[i].equal) fail_msg("%s and %s", pairs[i].a, pairs[i].b);
    }
}

enum { DENSE_BYTES = 12304 };

/* A dense HyperLogLog of no element, with this cached count; bit 63 set: out of date. */
static struct bytes hyperloglog(char *room, uint64_t cached) {
    memset(room, 0, DENSE_BYTES);
    memcpy(room, "HYLL", 4);
    for (int i = 0; i < 8; i++) room[8 + i] = (char)(cached >> (8 * i));
    return bytes_of(room, DENSE_BYTES);
}

static bool same_string(struct bytes a, struct bytes b) {
    return digest_equal(digest_of_string(a), digest_of_string(b));
}

static void hyperloglog_cache_is_left_out_where_it_is_right(void **state) {
    static char a[DENSE_BYTES], b[DENSE_BYTES];
    const uint64_t stale = UINT64_C(1) << 63;
    assert_true(same_string(hyperloglog(a, 0), hyperloglog(b, stale)));
    assert_true(same_string(hyperloglog(a, stale | 5), hyperloglog(b, stale | 6)));
    /* PFCOUNT would answer this. */
    assert_false(same_string(hyperloglog(a, 0), hyperloglog(b, 7)));
    hyperloglog(a, stale);
    hyperloglog(b, stale);
    b[100] = 1;
    assert_false(same_string(bytes_of(a, DENSE_BYTES), bytes_of(b, DENSE_BYTES)));
    /* One register of 1 of 16384: one element. */
    b[100] = 0;
    b[16] = 1;
    b[15] = 0;
    b[8] = 1;
    assert_true(hyperloglog_cache_is_right(bytes_of(b, DENSE_BYTES)));
    b[8] = 2;
    assert_false(hyperloglog_cache_is_right(bytes_of(b, DENSE_BYTES)));
}

static void strings_that_only_begin_like_a_hyperloglog(void **state) {
    static char a[DENSE_BYTES + 1], b[DENSE_BYTES + 1];
    static const size_t lengths[] = { 16, 40, DENSE_BYTES - 1, DENSE_BYTES + 1 };
    memcpy(a, "HYLL", 4);
    memcpy(b, "HYLL", 4);
    b[9] = 1;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        assert_false(same_string(bytes_of(a, lengths[i]), bytes_of(b, lengths[i])));
    a[4] = b[4] = 2; /* no encoding that servers know */
    assert_false(same_string(bytes_of(a, DENSE_BYTES), bytes_of(b, DENSE_BYTES)));
    assert_false(hyperloglog_is_valid(bytes_of("HYLL", 4)));
}

/* Sparse: runs of registers, which have to be 16384 altogether. */
static void sparse_hyperloglogs_have_all_registers(void **state) {
    static const struct {
        const char *runs;
        size_t len;
        bool valid;
    } forms[] = {
        { "\x7f\xff", 2, true },      /* XZERO of 16384 */
        { "\x7f\xfe", 2, false },     /* 16383 */
        { "\x7f\xfe\x00", 3, true },  /* and ZERO of 1 */
        { "\x7f\xfe\x84", 3, true },  /* and VAL 2 of 1 */
        { "\x7f\xff\x00", 3, false }, /* one too many */
        { "\x7f", 1, false },         /* half a run */
        { "", 0, false },             /* none */
        { "\x7f\xfe\x00\x7f", 4, false },
    };
    char room[32] = "HYLL\1";
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        memcpy(room + 16, forms[i].runs, forms[i].len);
        bool valid = hyperloglog_is_valid(bytes_of(room, 16 + forms[i].len));
        if (valid != forms[i].valid) fail_msg("form %zu", i);
    }
}

static void counters_count_where_both_keep_them(void **state) {
    struct value_sum a = { 0 }, b = { 0 };
    char text[200];
    assert_true(value_sum_equal(&a, &b));
    a.part[SUM_COUNTERS].known = true;
    a.part[SUM_COUNTERS].count = 2;
    assert_true(value_sum_equal(&a, &b));
    b.part[SUM_COUNTERS].known = true;
    assert_false(value_sum_equal(&a, &b));
    b.part[SUM_COUNTERS].count = 2;
    /* A server that knows no expiry of fields has none. */
    a.part[SUM_FIELD_EXPIRY].known = true;
    assert_true(value_sum_equal(&a, &b));
    a.part[SUM_FIELD_EXPIRY].count = 3;
    assert_false(value_sum_equal(&a, &b));
    a.part[SUM_ELEMENTS].count = 5;
    assert_string_equal(value_sum_explain(SUM_HASH, &a, &b, text, sizeof(text)),
                        "fields: source 5, target 0; field expiry: source 3, target 0");
}

static void explanations_fit(void **state) {
    struct value_sum a, b = { 0 };
    char text[200];
    for (int i = 0; i < SUM_PARTS; i++) {
        a.part[i].known = b.part[i].known = true;
        a.part[i].count = UINT64_MAX;
        a.part[i].digest = (struct digest){ 1, 1 };
    }
    for (size_t size = 1; size < sizeof(text); size++) {
        memset(text, '#', sizeof(text));
        value_sum_explain(SUM_STREAM, &a, &b, text, size);
        assert_true(strlen(text) < size);
        assert_true(text[size] == '#');
    }
}

static void types(void **state) {
    assert_int_equal(sum_type_of(BYTES_LITERAL("zset")), SUM_ZSET);
    assert_int_equal(sum_type_of(BYTES_LITERAL("ReJSON-RL")), SUM_OTHER);
    assert_int_equal(sum_type_of(BYTES_LITERAL("")), SUM_OTHER);
}

static void kinds_of_differences(void **state) {
    for (int i = 0; i < DIFFERENCE_KINDS; i++) {
        enum difference_kind kind = (enum difference_kind)i;
        assert_true(strlen(difference_label(kind)) > 0);
        assert_true(strlen(difference_title(kind)) > 0);
        assert_true(strlen(difference_sentence(kind)) > 0);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(difference_label(kind),
                                    difference_label((enum difference_kind)k));
    }
    assert_string_equal(difference_label(DIFFERENCE_TTL), "ttl");
    struct compare_result result = { .count = { 1, 2, 3, 4, 5 } };
    assert_int_equal(compare_result_different(&result), 15);
    assert_false(compare_result_is_equal(&result));
    result = (struct compare_result){ .equal = 3, .moving = 2 };
    assert_true(compare_result_is_equal(&result));
    result.unproved = 1;
    assert_false(compare_result_is_equal(&result));
}

static void sets_know_what_was_added(void **state) {
    struct digest_set *set = NULL;
    assert_false(digest_set_has(set, word("0")));
    for (int i = 0; i < 10000; i += 2)
        digest_set_add(&set, digest_chain_number((struct digest){ 0 }, i));
    for (int i = 0; i < 10000; i++)
        assert_int_equal(digest_set_has(set, digest_chain_number((struct digest){ 0 }, i)),
                         i % 2 == 0);
    digest_set_free(&set);
    assert_null(set);
}

static void places_are_even(void **state) {
    int below = 0;
    for (int64_t i = 0; i < 10000; i++)
        below += digest_place(bytes_of(&i, sizeof(i)), 7) < UINT64_MAX / 10;
    assert_in_range(below, 900, 1100);
    assert_true(digest_place(bytes_of_str("key"), 7) == digest_place(bytes_of_str("key"), 7));
    assert_true(digest_place(bytes_of_str("key"), 7) != digest_place(bytes_of_str("key"), 8));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_know_what_was_added),
        cmocka_unit_test(places_are_even),
        cmocka_unit_test(sums_do_not_depend_on_order),
        cmocka_unit_test(sums_count_repetitions),
        cmocka_unit_test(sums_carry),
        cmocka_unit_test(chains_tell_words_apart),
        cmocka_unit_test(scores_are_numbers),
        cmocka_unit_test(hyperloglog_cache_is_left_out_where_it_is_right),
        cmocka_unit_test(strings_that_only_begin_like_a_hyperloglog),
        cmocka_unit_test(sparse_hyperloglogs_have_all_registers),
        cmocka_unit_test(counters_count_where_both_keep_them),
        cmocka_unit_test(explanations_fit),
        cmocka_unit_test(types),
        cmocka_unit_test(kinds_of_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
