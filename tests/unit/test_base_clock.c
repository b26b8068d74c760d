/* The clocks run, in the units their names say, and wall time is this century's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

static void monotonic_never_steps_back(void **state) {
    int64_t last = clock_mono_us();
    for (int i = 0; i < 100000; i++) {
        int64_t now = clock_mono_us();
        assert_true(now >= last);
        last = now;
    }
}

static void units_agree(void **state) {
    struct timespec nap = { .tv_nsec = 20 * 1000 * 1000 };
    int64_t start_us = clock_mono_us(), start_ms = clock_mono_ms();
    nanosleep(&nap, NULL);
    int64_t ms = clock_mono_ms() - start_ms;
    int64_t us = clock_mono_us() - start_us;
    assert_true(us >= 20000);
    assert_true(ms >= 19 && ms <= us / 1000 + 1);
}

static void wall_is_the_date(void **state) {
    int64_t before = (int64_t)time(NULL);
    int64_t ms = clock_wall_ms(), us = clock_wall_us();
    assert_true(llabs(ms / 1000 - before) <= 2);
    assert_true(llabs(us / 1000 - ms) <= 2000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_never_steps_back),
        cmocka_unit_test(units_agree),
        cmocka_unit_test(wall_is_the_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
