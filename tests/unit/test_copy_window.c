/* The window of keys in flight against a simulated pipe: it grows where the round trip is long, and
 * stays where not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "copy/window.h"

enum { BUDGET = 16 * 1024 * 1024 };

/* Rounds through a pipe that takes `rate` keys a second at most: a window's worth each, the queue
 * before the pipe delays all that is more than the pipe holds. Returns the window after them. */
static size_t run_pipe(struct window *w, int64_t round_trip_us, double rate, int rounds) {
    int64_t now_us = w->looked_at_us > 0 ? w->looked_at_us : 1000;
    int key;
    for (int i = 0; i < rounds; i++) {
        window_take_at(w, &key, now_us);
        /* The first key of all finds the pipe empty. */
        int64_t queued_us = i == 0 ? round_trip_us : (int64_t)((double)w->keys / rate * 1e6);
        now_us += queued_us > round_trip_us ? queued_us : round_trip_us;
        w->done += w->keys - 1;
        w->done++;
        window_done_at(w, now_us);
    }
    return w->keys;
}

static void test_fixed_window_stays(void **state) {
    struct window w;
    window_init(&w, 500, BUDGET);
    assert_int_equal(run_pipe(&w, 80000, 400000, 20), 500);
}

static void test_near_target_keeps_the_base(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    size_t keys = run_pipe(&w, 1000, 400000, 50);
    assert_in_range(keys, WINDOW_KEYS_BASE, WINDOW_KEYS_BASE + 2000);
}

static void test_far_target_gets_what_the_pipe_holds(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    size_t keys = run_pipe(&w, 80000, 400000, 8);
    assert_in_range(keys, 32000 * 2, 32000 * 3 + WINDOW_KEYS_BASE);
    /* And no more, however long it runs. */
    assert_in_range(run_pipe(&w, 80000, 400000, 200), 32000 * 2, 32000 * 3 + WINDOW_KEYS_BASE);
}

static void test_memory_bounds_it(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    assert_int_equal(run_pipe(&w, 2000000, 1000000, 50), BUDGET / WINDOW_KEY_BYTES);
}

static void test_reset_begins_anew(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    run_pipe(&w, 80000, 400000, 8);
    window_reset(&w);
    assert_int_equal(w.keys, WINDOW_KEYS_BASE);
    assert_in_range(run_pipe(&w, 1000, 400000, 50), WINDOW_KEYS_BASE, WINDOW_KEYS_BASE + 2000);
}

/* Through 80 ms the first window holds as much as the pipe takes in a round trip; nothing is waited
 * for.
 */
static void test_far_handshake_opens_the_window(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    window_expect(&w, 80000);
    assert_in_range(w.keys, 32000, 64000);
    size_t first = w.keys;
    /* The first acknowledgement of all tells no speed, and takes nothing back. */
    int key;
    window_take_at(&w, &key, 1000);
    w.done = 1;
    window_done_at(&w, 81000);
    assert_int_equal(w.keys, first);
}

static void test_near_handshake_changes_nothing(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    window_expect(&w, 300);
    assert_in_range(w.keys, WINDOW_KEYS_BASE, WINDOW_KEYS_BASE + 200);
}

/* A server that was busy for a moment looks far. */
static void test_what_is_measured_takes_the_place_of_what_was_expected(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    window_expect(&w, 80000);
    assert_in_range(run_pipe(&w, 1000, 400000, 50), WINDOW_KEYS_BASE, WINDOW_KEYS_BASE + 2000);
    window_init(&w, 0, BUDGET);
    window_expect(&w, 80000);
    /* At once: the second look is the first that tells a speed. */
    assert_in_range(run_pipe(&w, 80000, 20000, 2), WINDOW_KEYS_BASE, WINDOW_KEYS_BASE + 3 * 1600);
    assert_in_range(run_pipe(&w, 80000, 20000, 50), WINDOW_KEYS_BASE, WINDOW_KEYS_BASE + 3 * 1600);
}

static void test_expectations_are_bounded(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    window_expect(&w, 60 * 1000 * 1000);
    assert_int_equal(w.keys, BUDGET / WINDOW_KEY_BYTES);
    window_init(&w, 500, BUDGET);
    window_expect(&w, 80000);
    assert_int_equal(w.keys, 500);
}

static void test_sizes_must_be_known(void **state) {
    struct window w;
    window_init(&w, 0, BUDGET);
    window_expect(&w, 80000);
    assert_int_equal(window_now(&w, WINDOW_VALUES_KNOWN - 1, 100), WINDOW_KEYS_BASE);
    assert_int_equal(window_now(&w, WINDOW_VALUES_KNOWN, 100), w.keys);
    /* No path is expected to carry so many large values. */
    assert_in_range(window_now(&w, WINDOW_VALUES_KNOWN, 60000), WINDOW_KEYS_BASE,
                    WINDOW_KEYS_BASE + 200);
    /* A measured size needs no such care: the lane's bytes bound it. */
    run_pipe(&w, 80000, 400000, 8);
    assert_int_equal(window_now(&w, 0, 60000), w.keys);
}

/* Only the timed key's own end is its end; one that goes back is not timed any more. */
static void test_other_keys_are_not_timed(void **state) {
    struct window w;
    int timed, other;
    window_init(&w, 0, BUDGET);
    window_take_at(&w, &timed, 1000);
    window_done(&w, &other);
    assert_int_equal(w.round_trip_us, 0);
    window_forget(&w, &other);
    assert_ptr_equal(w.timed, &timed);
    window_forget(&w, &timed);
    window_done(&w, &timed);
    assert_int_equal(w.round_trip_us, 0);
}

static void test_rests_while_a_part_of_the_window_comes_in(void **state) {
    struct window w;
    window_init(&w, 1000, BUDGET);
    assert_int_equal(window_rest_us(&w, 1000), 0); /* no speed is known */
    w.speed = 0.5;
    w.round = 0;
    assert_int_equal(window_rest_us(&w, 1000), 1000 / WINDOW_ROUNDS * 2);
    w.round = 100;
    assert_int_equal(window_rest_us(&w, 1000), (1000 / WINDOW_ROUNDS - 100) * 2);
    assert_int_equal(w.round, 0);
    w.round = 1000 / WINDOW_ROUNDS; /* this round was large enough */
    assert_int_equal(window_rest_us(&w, 1000), 0);
    assert_int_equal(window_rest_us(&w, 499), 0); /* somebody waits for more */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_window_stays),
        cmocka_unit_test(test_near_target_keeps_the_base),
        cmocka_unit_test(test_far_target_gets_what_the_pipe_holds),
        cmocka_unit_test(test_memory_bounds_it),
        cmocka_unit_test(test_reset_begins_anew),
        cmocka_unit_test(test_far_handshake_opens_the_window),
        cmocka_unit_test(test_near_handshake_changes_nothing),
        cmocka_unit_test(test_what_is_measured_takes_the_place_of_what_was_expected),
        cmocka_unit_test(test_expectations_are_bounded),
        cmocka_unit_test(test_sizes_must_be_known),
        cmocka_unit_test(test_other_keys_are_not_timed),
        cmocka_unit_test(test_rests_while_a_part_of_the_window_comes_in),
    };
    return cmocka_run_group_tests_name("copy/window", tests, NULL, NULL);
}
