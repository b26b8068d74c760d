/* Percentiles against the exact ones of the same values, sorted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "base/hist.h"

enum { MANY = 20000 };

static void empty(void **state) {
    struct hist *h = hist_new();
    assert_int_equal(hist_count(h), 0);
    assert_int_equal(hist_percentile(h, 50), 0);
    assert_int_equal(hist_min(h), 0);
    assert_int_equal(hist_max(h), 0);
    assert_true(hist_mean(h) == 0);
    hist_free(&h);
    assert_null(h);
    hist_free(&h);
}

static void one_value(void **state) {
    const uint64_t values[] = {
        0, 1, 31, 32, 63, 64, 1000, 123456789, UINT64_C(1) << 44, UINT64_MAX
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct hist *h = hist_new();
        hist_add(h, values[i]);
        assert_true(hist_percentile(h, 0) == values[i]);
        assert_true(hist_percentile(h, 50) == values[i]);
        assert_true(hist_percentile(h, 100) == values[i]);
        assert_true(hist_min(h) == values[i] && hist_max(h) == values[i]);
        hist_free(&h);
    }
}

static void small_values_are_exact(void **state) {
    struct hist *h = hist_new();
    for (uint64_t v = 1; v <= 50; v++) hist_add(h, v);
    for (int p = 2; p <= 100; p += 2) assert_int_equal(hist_percentile(h, p), p / 2);
    assert_int_equal(hist_percentile(h, -5), 1);
    assert_int_equal(hist_percentile(h, 500), 50);
    assert_int_equal(hist_percentile(h, NAN), 1);
    assert_true(fabs(hist_mean(h) - 25.5) < 1e-9);
    hist_free(&h);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* In hundredths of a percent and in whole numbers. */
static uint64_t exact(const uint64_t *sorted, unsigned percentile) {
    size_t rank = ((size_t)percentile * MANY + 9999) / 10000;
    return sorted[rank > 0 ? rank - 1 : 0];
}

static void check_against_exact(uint64_t *values) {
    const unsigned percentiles[] = { 0, 10, 100, 1000, 5000, 9000, 9900, 9990, 9999, 10000 };
    struct hist *h = hist_new();
    for (int i = 0; i < MANY; i++) hist_add(h, values[i]);
    qsort(values, MANY, sizeof(values[0]), compare);
    for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++) {
        uint64_t want = exact(values, percentiles[i]),
                 got = hist_percentile(h, percentiles[i] / 100.0);
        assert_true(got >= want);
        assert_true((double)(got - want) <= 0.032 * (double)want);
    }
    hist_free(&h);
}

static void percentiles_are_near(void **state) {
    static uint64_t values[MANY];
    for (int i = 0; i < MANY; i++) values[i] = (uint64_t)rand() % 1000000;
    check_against_exact(values);
    for (int i = 0; i < MANY; i++) values[i] = (uint64_t)exp((double)rand() / RAND_MAX * 29);
    check_against_exact(values);
    for (int i = 0; i < MANY; i++) values[i] = i % 1000 == 0 ? 5000000 : 200;
    check_against_exact(values);
}

static void merge_equals_adding_all(void **state) {
    struct hist *a = hist_new(), *b = hist_new(), *both = hist_new();
    for (int i = 0; i < 1000; i++) {
        uint64_t v = (uint64_t)rand() % 100000 + 5;
        hist_add(i % 3 != 0 ? a : b, v);
        hist_add(both, v);
    }
    hist_merge(a, b);
    assert_int_equal(hist_count(a), hist_count(both));
    assert_int_equal(hist_min(a), hist_min(both));
    assert_int_equal(hist_max(a), hist_max(both));
    assert_true(hist_mean(a) == hist_mean(both));
    for (int p = 0; p <= 100; p++)
        assert_int_equal(hist_percentile(a, p), hist_percentile(both, p));
    hist_reset(b);
    assert_int_equal(hist_count(b), 0);
    hist_merge(a, b);
    assert_int_equal(hist_min(a), hist_min(both));
    hist_merge(b, a);
    assert_int_equal(hist_min(b), hist_min(both));
    hist_free(&a);
    hist_free(&b);
    hist_free(&both);
}

int main(void) {
    srand(7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(one_value),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(percentiles_are_near),
        cmocka_unit_test(merge_equals_adding_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
