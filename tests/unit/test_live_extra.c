/* The target's own keys: which are kept, and that a key is kept too when nothing is known of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "live/extra.h"

enum { MANY = 5000 };

static struct extra *extra;

static int setup(void **state) {
    extra = extra_new();
    return 0;
}

static int teardown(void **state) {
    extra_free(&extra);
    assert_null(extra);
    extra_free(&extra); /* of nothing */
    return 0;
}

static struct bytes numbered(char name[32], int number) {
    snprintf(name, 32, "key:%d", number);
    return bytes_of_str(name);
}

static void add_numbered(int from, int to) {
    char name[32];
    for (int i = from; i < to; i++) extra_add(extra, 0, numbered(name, i));
}

static void assert_has_numbered(const struct extra *x, int from, int to, bool wanted) {
    char name[32];
    for (int i = from; i < to; i++)
        if (extra_has(x, 0, numbered(name, i)) != wanted) fail_msg("key:%d", i);
}

static void nothing_was_added_no_key_is_the_targets_own(void **state) {
    assert_false(extra_has(extra, 0, BYTES_LITERAL("a")));
    assert_true(extra_is_known(extra));
    assert_int_equal(extra_count(extra), 0);
}

static void a_key_is_told_by_its_database_and_its_name(void **state) {
    extra_add(extra, 3, BYTES_LITERAL("a"));
    assert_true(extra_has(extra, 3, BYTES_LITERAL("a")));
    assert_false(extra_has(extra, 0, BYTES_LITERAL("a")));
    assert_false(extra_has(extra, 3, BYTES_LITERAL("b")));
}

static void a_key_that_is_added_twice_counts_once(void **state) {
    add_numbered(0, MANY);
    add_numbered(0, MANY);
    assert_int_equal(extra_count(extra), MANY);
    assert_has_numbered(extra, 0, MANY, true);
    assert_has_numbered(extra, MANY, 2 * MANY, false);
}

static void a_cleared_list_has_none(void **state) {
    add_numbered(0, MANY);
    extra_clear(extra);
    assert_int_equal(extra_count(extra), 0);
    assert_has_numbered(extra, 0, MANY, false);
    add_numbered(0, 1);
    assert_true(extra_has(extra, 0, BYTES_LITERAL("key:0")));
}

static void beyond_the_bound_every_key_is_kept(void **state) {
    add_numbered(0, EXTRA_KEYS_MAX);
    assert_true(extra_is_known(extra));
    assert_false(extra_has(extra, 0, BYTES_LITERAL("never added")));
    add_numbered(EXTRA_KEYS_MAX, EXTRA_KEYS_MAX + 1);
    assert_false(extra_is_known(extra));
    assert_true(extra_has(extra, 0, BYTES_LITERAL("never added")));
    add_numbered(EXTRA_KEYS_MAX + 1, EXTRA_KEYS_MAX + 2);
    assert_int_equal(extra_count(extra), EXTRA_KEYS_MAX + 2);
}

static void a_forgotten_list_keeps_every_key_and_its_count(void **state) {
    add_numbered(0, 3);
    extra_forget(extra, 77);
    assert_false(extra_is_known(extra));
    assert_int_equal(extra_count(extra), 77);
    assert_true(extra_has(extra, 5, BYTES_LITERAL("never added")));
    extra_clear(extra);
    assert_true(extra_is_known(extra));
    assert_false(extra_has(extra, 5, BYTES_LITERAL("never added")));
}

static void another_process_reads_the_same_list(void **state) {
    char *data;
    add_numbered(0, MANY);
    size_t len = extra_to_bytes(extra, &data);
    assert_int_equal(len, 8 * MANY);
    struct extra *other = extra_new();
    extra_add(other, 0, BYTES_LITERAL("before"));
    assert_true(extra_from_bytes(other, bytes_of(data, len)));
    assert_int_equal(extra_count(other), MANY);
    assert_has_numbered(other, 0, MANY, true);
    assert_has_numbered(other, MANY, 2 * MANY, false);
    assert_false(extra_has(other, 0, BYTES_LITERAL("before")));
    extra_free(&other);
    free(data);
}

/* A machine of one byte order reads the bytes that one of the other order wrote: eight bytes per
 * key, the lowest first. */
static void the_bytes_have_one_order_on_every_machine(void **state) {
    static const char bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    char *data;
    assert_true(extra_from_bytes(extra, bytes_of(bytes, sizeof(bytes))));
    assert_int_equal(extra_to_bytes(extra, &data), sizeof(bytes));
    assert_memory_equal(data, bytes, sizeof(bytes));
    free(data);
}

static void bytes_that_are_no_list_are_refused(void **state) {
    size_t too_many = ((size_t)EXTRA_KEYS_MAX + 1) * 8;
    char *zeros = mem_zalloc(too_many);
    assert_false(extra_from_bytes(extra, bytes_of(zeros, 7)));
    assert_false(extra_from_bytes(extra, bytes_of(zeros, too_many)));
    assert_true(extra_from_bytes(extra, bytes_of(zeros, 16)));
    assert_int_equal(extra_count(extra), 0); /* 0 is no key */
    assert_true(extra_from_bytes(extra, bytes_of(zeros, 0)));
    free(zeros);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(nothing_was_added_no_key_is_the_targets_own),
        RULE(a_key_is_told_by_its_database_and_its_name),
        RULE(a_key_that_is_added_twice_counts_once),
        RULE(a_cleared_list_has_none),
        RULE(beyond_the_bound_every_key_is_kept),
        RULE(a_forgotten_list_keeps_every_key_and_its_count),
        RULE(another_process_reads_the_same_list),
        RULE(the_bytes_have_one_order_on_every_machine),
        RULE(bytes_that_are_no_list_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
