/* The line that shows progress, as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cli/progress.h"

static const char *line(const struct progress_state *state, double keys_per_s, double bytes_per_s,
                        size_t width) {
    static char buf[PROGRESS_LINE_MAX];
    const struct progress_rates rates = { keys_per_s, bytes_per_s };
    return progress_format(buf, sizeof(buf), state, &rates, width);
}

static void says_where_it_stands(void **state) {
    struct progress_state s = {
        .phase = "copying", .keys = 250000, .total = 1000000, .bytes = 1 << 20, .given_up = 3
    };
    assert_string_equal(
        line(&s, 50000, 1048576, 0),
        "copying  25% 250,000/1,000,000 keys, 50,000/s, 1.0 MiB/s, 15 s left, 3 given up");
}

static void leaves_out_what_is_not_known(void **state) {
    struct progress_state s = { .phase = "comparing", .keys = 7 };
    assert_string_equal(line(&s, 0, 0, 0), "comparing: 7 keys, 0/s");
    s.different = 2;
    s.has_lag = true;
    s.lag_ms = 1500;
    s.note = "waiting for target 10.0.0.5:6379";
    assert_string_equal(
        line(&s, 0, 0, 0),
        "comparing: 7 keys, 0/s, 2 different, lag 1.50 s; waiting for target 10.0.0.5:6379");
}

static void is_never_done_too_early(void **state) {
    struct progress_state s = { .phase = "copying", .keys = 999999, .total = 1000000 };
    assert_non_null(strstr(line(&s, 1, 0, 0), " 99% "));
    s.keys = 1000000;
    assert_non_null(strstr(line(&s, 1, 0, 0), "100% "));
    s.keys = 1200000; /* more keys came than were expected */
    assert_non_null(strstr(line(&s, 1, 0, 0), "100% "));
}

static void bar_takes_what_is_left(void **state) {
    struct progress_state s = { .phase = "copying", .keys = 500, .total = 1000 };
    for (size_t width = 1; width < 200; width++)
        assert_true(strlen(line(&s, 10, 0, width)) <= width);
    const char *wide = line(&s, 10, 0, 150);
    const char *bar = strchr(wide, '[');
    assert_non_null(bar);
    assert_int_equal(strchr(bar, ']') - bar - 1, 30);
    assert_int_equal(strspn(bar + 1, "#"), 15);
    assert_null(strchr(line(&s, 10, 0, 40), '['));
    assert_null(strchr(line(&s, 10, 0, 0), '['));
}

static void control_characters_stay_out_of_the_terminal(void **state) {
    struct progress_state s = { .phase = "copying", .keys = 1, .note = "a\x1b[2Jb\nc\xc3" };
    assert_non_null(strstr(line(&s, 0, 0, 0), "a?[2Jb?c?"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_where_it_stands),
        cmocka_unit_test(leaves_out_what_is_not_known),
        cmocka_unit_test(is_never_done_too_early),
        cmocka_unit_test(bar_takes_what_is_left),
        cmocka_unit_test(control_characters_stay_out_of_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
