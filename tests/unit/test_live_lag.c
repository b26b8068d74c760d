/* Lag over time: which lags count for the percentiles, and how long the maxima of a minute and of
 * an hour remember. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "live/lag.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

enum { STEADY = 1, GAP = 0 };

static struct lag *lag;

static int setup(void **state) {
    lag = lag_new();
    return 0;
}

static int teardown(void **state) {
    lag_free(&lag);
    assert_null(lag);
    lag_free(&lag); /* of nothing */
    return 0;
}

/* The histogram's steps are a few percent wide. */
static void assert_near(int64_t value, int64_t wanted) {
    assert_in_range(value, wanted - wanted / 8, wanted + wanted / 8);
}

static void nothing_was_added_nothing_is_told(void **state) {
    struct lag_view v = lag_look(lag, 5 * HOUR);
    assert_int_equal(v.p50_us, 0);
    assert_int_equal(v.p99_us, 0);
    assert_int_equal(v.max_us, 0);
    assert_int_equal(v.minute_max_us, 0);
    assert_int_equal(v.hour_max_us, 0);
}

static void percentiles_are_of_all_steady_moments(void **state) {
    for (int i = 0; i < 98; i++) lag_add(lag, HOUR, 2000, STEADY);
    lag_add(lag, HOUR, 70 * 1000, STEADY);
    lag_add(lag, HOUR, 900 * 1000, STEADY);
    struct lag_view v = lag_look(lag, HOUR);
    assert_near(v.p50_us, 2000);
    assert_near(v.p99_us, 70 * 1000);
    assert_near(v.max_us, 900 * 1000);
}

static void a_gap_counts_for_the_maxima_but_not_for_percentiles(void **state) {
    lag_add(lag, HOUR, 2000, STEADY);
    lag_add(lag, HOUR, 30 * SECOND, GAP);
    struct lag_view v = lag_look(lag, HOUR);
    assert_near(v.max_us, 2000);
    assert_int_equal(v.minute_max_us, 30 * SECOND);
    assert_int_equal(v.hour_max_us, 30 * SECOND);
}

static void the_minute_forgets_after_sixty_seconds_and_the_hour_after_sixty_minutes(void **state) {
    lag_add(lag, HOUR, 5 * SECOND, STEADY);
    assert_int_equal(lag_look(lag, HOUR + 59 * SECOND).minute_max_us, 5 * SECOND);
    assert_int_equal(lag_look(lag, HOUR + 60 * SECOND).minute_max_us, 0);
    assert_int_equal(lag_look(lag, HOUR + 59 * MINUTE).hour_max_us, 5 * SECOND);
    assert_int_equal(lag_look(lag, HOUR + 60 * MINUTE).hour_max_us, 0);
    assert_near(lag_look(lag, 9 * HOUR).max_us, 5 * SECOND); /* since the start */
}

static void a_second_that_comes_round_again_begins_anew(void **state) {
    lag_add(lag, HOUR, 5 * SECOND, STEADY);
    lag_add(lag, HOUR + MINUTE, 1000, STEADY);
    lag_add(lag, HOUR + MINUTE, 400, STEADY); /* the most of it stays */
    struct lag_view v = lag_look(lag, HOUR + MINUTE);
    assert_int_equal(v.minute_max_us, 1000);
    assert_int_equal(v.hour_max_us, 5 * SECOND);
}

static void a_watermark_ahead_of_the_clock_is_no_lag(void **state) {
    lag_add(lag, HOUR, -7, STEADY);
    struct lag_view v = lag_look(lag, HOUR);
    assert_int_equal(v.max_us, 0);
    assert_int_equal(v.minute_max_us, 0);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(nothing_was_added_nothing_is_told),
        RULE(percentiles_are_of_all_steady_moments),
        RULE(a_gap_counts_for_the_maxima_but_not_for_percentiles),
        RULE(the_minute_forgets_after_sixty_seconds_and_the_hour_after_sixty_minutes),
        RULE(a_second_that_comes_round_again_begins_anew),
        RULE(a_watermark_ahead_of_the_clock_is_no_lag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
