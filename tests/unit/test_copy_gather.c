/* How busy a thread is, how long changes are gathered then, and when the gate opens, against a
 * clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "copy/gather.h"

enum { SECOND_US = 1000 * 1000, MOST_MS = 1000, FREE = GATHER_FREE_PER_S, MANY = 100 * 1000 };

/* ---- the ramp ---- */

static void an_idle_source_is_not_gathered(void **state) {
    assert_int_equal(gather_time_ms(0, MOST_MS), 0);
    assert_int_equal(gather_time_ms(0.49, MOST_MS), 0);
    assert_int_equal(gather_time_ms(0.5, MOST_MS), 0);
    assert_int_equal(gather_time_ms(1, 0), 0);
}

static void the_time_rises_to_its_bound(void **state) {
    int64_t before_ms = 0;
    for (int percent = 51; percent < 80; percent++) {
        int64_t ms = gather_time_ms(percent / 100.0, MOST_MS);
        assert_in_range(ms, before_ms + 1, before_ms + MOST_MS / 20);
        before_ms = ms;
    }
    assert_int_equal(gather_time_ms(0.8, MOST_MS), MOST_MS);
    assert_int_equal(gather_time_ms(1.5, MOST_MS), MOST_MS);
}

/* ---- the load ---- */

static double share_after(struct gather_load *load, int64_t at_us, int64_t cpu_us) {
    gather_load_note(load, at_us, cpu_us);
    return load->share;
}

static void the_share_rises_at_once_and_falls_slowly(void **state) {
    struct gather_load load = { 0 };
    /* one look alone tells nothing */
    assert_float_equal(share_after(&load, 1 * SECOND_US, 100), 0, 0.001);
    assert_float_equal(share_after(&load, 2 * SECOND_US, 900100), 0.9, 0.001);
    assert_float_equal(share_after(&load, 3 * SECOND_US, 1000100), 0.5, 0.001);
    assert_float_equal(share_after(&load, 4 * SECOND_US, 1100100), 0.3, 0.001);
}

static void looks_too_near_to_each_other_are_passed_over(void **state) {
    struct gather_load load = { 0 };
    share_after(&load, 1 * SECOND_US, 0);
    assert_float_equal(share_after(&load, 1 * SECOND_US + 10000, 10000), 0, 0.001);
    assert_float_equal(share_after(&load, 2 * SECOND_US, 600000), 0.6, 0.001);
}

/* A process that began anew, a server that does not tell, a wall clock that was set, and a long
 * silence. */
static void what_cannot_be_compared_is_no_load(void **state) {
    struct gather_load load = { 0 };
    for (int i = 0; i < 4; i++) {
        share_after(&load, 100 * SECOND_US, 50 * SECOND_US);
        assert_float_equal(share_after(&load, 101 * SECOND_US, 51 * SECOND_US), 1, 0.001);
        int64_t at_us[] = { 102, 102, 50, 500 },
                cpu_us[] = { 1000, -1, 51 * SECOND_US, 300 * SECOND_US };
        assert_float_equal(share_after(&load, at_us[i] * SECOND_US, cpu_us[i]), 0, 0.001);
        load = (struct gather_load){ 0 };
    }
}

/* ---- the gate ---- */

static void the_first_sweep_does_not_wait(void **state) {
    struct gather_gate gate = { 0 };
    /* 5 ms after the machine's start */
    assert_int_equal(gather_allows(&gate, 5, MANY, MOST_MS, FREE, false), MANY);
}

static void a_sweep_takes_what_waited_when_it_opened(void **state) {
    struct gather_gate gate = { 0 };
    int64_t now_ms = 1000 * 1000;
    assert_int_equal(gather_allows(&gate, now_ms, MANY, MOST_MS, FREE, false), MANY);
    gather_took(&gate, 4000);
    /* As many were named meanwhile: they are behind those. */
    assert_int_equal(gather_allows(&gate, now_ms + 5, MANY, MOST_MS, FREE, false), MANY - 4000);
    gather_took(&gate, MANY - 4000);
    assert_int_equal(gather_allows(&gate, now_ms + 10, MANY, MOST_MS, FREE, false), 0);
    assert_int_equal(gather_allows(&gate, now_ms + MOST_MS - 1, MANY, MOST_MS, FREE, false), 0);
    assert_int_equal(gather_allows(&gate, now_ms + MOST_MS, MANY + 7, MOST_MS, FREE, false),
                     MANY + 7);
}

/* Keys may leave the queue by another way. */
static void never_more_than_there_are(void **state) {
    struct gather_gate gate = { 0 };
    assert_int_equal(gather_allows(&gate, 1000 * 1000, 100, MOST_MS, FREE, false), 100);
    assert_int_equal(gather_allows(&gate, 1000 * 1000, 60, MOST_MS, FREE, false), 60);
    gather_took(&gate, 1000);
    assert_int_equal(gate.sweep, 0);
}

static void few_keys_do_not_wait(void **state) {
    struct gather_gate gate = { 0 };
    gather_allows(&gate, 1000 * 1000, 1, MOST_MS, FREE, false);
    gather_took(&gate, 1);
    int64_t now_ms = 1000 * 1000;
    assert_int_equal(gather_allows(&gate, now_ms + GATHER_LEAST_MS - 1, 1, MOST_MS, FREE, false),
                     0);
    assert_int_equal(gather_allows(&gate, now_ms + GATHER_LEAST_MS, 1, MOST_MS, FREE, false), 1);
    gather_took(&gate, 1);
    now_ms += GATHER_LEAST_MS;
    assert_int_equal(gather_allows(&gate, now_ms + 100, FREE / 10 + 1, MOST_MS, FREE, false), 0);
    assert_int_equal(gather_allows(&gate, now_ms + 100, FREE / 10, MOST_MS, FREE, false),
                     FREE / 10);
}

static void names_that_fill_their_memory_open_it(void **state) {
    struct gather_gate gate = { 0 };
    gather_allows(&gate, 1000 * 1000, MANY, MOST_MS, FREE, false);
    gather_took(&gate, MANY);
    assert_int_equal(gather_allows(&gate, 1000 * 1000 + 1, MANY, MOST_MS, FREE, false), 0);
    assert_int_equal(gather_allows(&gate, 1000 * 1000 + 1, MANY, MOST_MS, FREE, true), MANY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_source_is_not_gathered),
        cmocka_unit_test(the_time_rises_to_its_bound),
        cmocka_unit_test(the_share_rises_at_once_and_falls_slowly),
        cmocka_unit_test(looks_too_near_to_each_other_are_passed_over),
        cmocka_unit_test(what_cannot_be_compared_is_no_load),
        cmocka_unit_test(the_first_sweep_does_not_wait),
        cmocka_unit_test(a_sweep_takes_what_waited_when_it_opened),
        cmocka_unit_test(never_more_than_there_are),
        cmocka_unit_test(few_keys_do_not_wait),
        cmocka_unit_test(names_that_fill_their_memory_open_it),
    };
    return cmocka_run_group_tests_name("copy/gather", tests, NULL, NULL);
}
