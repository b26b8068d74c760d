/* A lane learns from its data how to read the next keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "copy/estimate.h"

enum { ROOM = 1000 * 1000 };

static struct estimate fresh(void) {
    struct estimate e;
    estimate_init(&e, ROOM);
    return e;
}

static void note_values(struct estimate *e, int n, bool is_string, uint64_t len) {
    for (int i = 0; i < n; i++) estimate_note_value(e, is_string, len);
}

static void the_first_keys_are_measured(void **state) {
    struct estimate e = fresh();
    for (int i = 0; i < ESTIMATE_MEASURED_AT_START; i++) {
        assert_true(estimate_measures(&e));
        estimate_note_taken(&e);
    }
    assert_false(estimate_measures(&e));
    estimate_note_taken(&e);
    assert_false(estimate_measures(&e));
}

static void a_large_value_makes_the_next_ones_measured(void **state) {
    struct estimate e = fresh();
    while (estimate_measures(&e)) estimate_note_taken(&e);
    estimate_note_size(&e, ESTIMATE_LARGE_BYTES - 1);
    estimate_note_value(&e, false, ESTIMATE_LARGE_BYTES - 1);
    assert_false(estimate_measures(&e));
    estimate_note_value(&e, false, ESTIMATE_LARGE_BYTES);
    assert_true(estimate_measures(&e));
    e = fresh();
    while (estimate_measures(&e)) estimate_note_taken(&e);
    estimate_note_size(&e, ESTIMATE_LARGE_BYTES);
    assert_true(estimate_measures(&e));
}

static void a_hidden_size_makes_the_next_ones_counted(void **state) {
    struct estimate e = fresh();
    for (int i = 0; i < ESTIMATE_MEASURED_AT_START; i++) {
        assert_true(estimate_counts_all(&e));
        estimate_note_taken(&e);
    }
    assert_false(estimate_counts_all(&e));
    estimate_note_hidden(&e, 1000, ESTIMATE_LARGE_BYTES - 1);
    estimate_note_hidden(&e, ESTIMATE_LARGE_BYTES, 3 * ESTIMATE_LARGE_BYTES);
    assert_false(estimate_counts_all(&e));
    estimate_note_hidden(&e, 1000, ESTIMATE_LARGE_BYTES);
    assert_true(estimate_counts_all(&e));
}

static void one_large_string_ends_unbounded_reading(void **state) {
    struct estimate e = fresh();
    assert_false(estimate_allows_unbounded(&e));
    note_values(&e, BOUNDED_AFTER_KEYS, true, 100);
    assert_true(estimate_allows_unbounded(&e));
    estimate_reserve(&e, BOUNDED_READING_MAX + 1);
    assert_false(estimate_allows_unbounded(&e));
    estimate_release(&e, BOUNDED_READING_MAX + 1);
    estimate_note_large_string(&e);
    assert_false(estimate_allows_unbounded(&e));
    note_values(&e, 2 * BOUNDED_AFTER_KEYS, true, 100);
    assert_false(estimate_allows_unbounded(&e));
}

static void long_strings_are_not_read_unbounded(void **state) {
    struct estimate e = fresh();
    note_values(&e, BOUNDED_AFTER_KEYS, true, 2 * ESTIMATE_BOUNDED_VALUE_BYTES);
    assert_false(estimate_allows_unbounded(&e));
}

static void the_average_rises_fast_and_falls_slowly(void **state) {
    struct estimate e = fresh();
    note_values(&e, 40, true, 10000);
    assert_true(e.value_bytes > 9000);
    note_values(&e, 40, true, 0);
    assert_true(e.value_bytes > 7000);
    note_values(&e, 4000, true, 0);
    assert_true(e.value_bytes < 10);
}

static void strings_are_expected_until_there_are_few(void **state) {
    struct estimate e = fresh();
    assert_true(estimate_expects_strings(&e));
    for (int i = 0; i < 2000; i++) estimate_note_no_string(&e);
    assert_false(estimate_expects_strings(&e));
    note_values(&e, 2000, true, 10);
    assert_true(estimate_expects_strings(&e));
}

static void room_is_there_for_one_of_any_size(void **state) {
    struct estimate e = fresh();
    assert_true(estimate_has_room(&e, 100 * (uint64_t)ROOM));
    estimate_reserve(&e, ROOM / 2);
    assert_true(estimate_has_room(&e, ROOM / 2));
    assert_false(estimate_has_room(&e, ROOM / 2 + 1));
    assert_int_equal(estimate_free_bytes(&e), ROOM / 2);
    estimate_reserve(&e, ROOM);
    assert_int_equal(estimate_free_bytes(&e), 0);
    assert_int_equal(estimate_values_in(&e, 0), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_keys_are_measured),
        cmocka_unit_test(a_large_value_makes_the_next_ones_measured),
        cmocka_unit_test(a_hidden_size_makes_the_next_ones_counted),
        cmocka_unit_test(one_large_string_ends_unbounded_reading),
        cmocka_unit_test(long_strings_are_not_read_unbounded),
        cmocka_unit_test(the_average_rises_fast_and_falls_slowly),
        cmocka_unit_test(strings_are_expected_until_there_are_few),
        cmocka_unit_test(room_is_there_for_one_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
