/* Keys that a job never copied, kept on the target: bytes come back as they were written, each
 * job's and each database's its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/extra_store.h"
#include "support/fixture.h"

static struct deployment *sides[2];

static int setup(void **state) {
    redis_do(&target, "FLUSHALL");
    fixture_open_sides(sides);
    return 0;
}

static int teardown(void **state) {
    deployment_free(&sides[0]);
    deployment_free(&sides[1]);
    return 0;
}

static void put(int db, const char *job, struct bytes data) {
    struct err err;
    if (!extra_store_write(sides[1], db, job, data.ptr, data.len, &err)) fail_msg("%s", err.text);
}

static void assert_kept(int db, const char *job, struct bytes expected) {
    struct err err;
    char *data;
    size_t len;
    bool found;
    assert_true(extra_store_read(sides[1], db, job, &data, &len, &found, &err));
    assert_true(found && bytes_equal(bytes_of(data, len), expected));
    free(data);
}

static void assert_none(int db, const char *job) {
    struct err err;
    char *data = (char *)"x";
    size_t len = 1;
    bool found = true;
    assert_true(extra_store_read(sides[1], db, job, &data, &len, &found, &err));
    assert_false(found);
    assert_null(data);
    assert_int_equal(len, 0);
}

static void bytes_come_back_as_they_were_written(void **state) {
    put(0, "orders", BYTES_LITERAL("a\0b\r\n\xff"));
    assert_kept(0, "orders", BYTES_LITERAL("a\0b\r\n\xff"));
    put(0, "orders", BYTES_LITERAL("")); /* it replaces all */
    assert_kept(0, "orders", BYTES_LITERAL(""));
    assert_string_equal(redis_do(&target, "TYPE longhaul:{orders}:extra"), "+string");
}

static void each_job_and_database_has_its_own(void **state) {
    put(0, "orders", BYTES_LITERAL("first"));
    assert_none(0, "others");
    assert_none(3, "orders");
    put(3, "orders", BYTES_LITERAL("second"));
    assert_kept(0, "orders", BYTES_LITERAL("first"));
    assert_kept(3, "orders", BYTES_LITERAL("second"));
}

static void a_refusal_is_an_error(void **state) {
    struct err err = { 0 };
    char *data;
    size_t len;
    bool found;
    redis_do(&target, "RPUSH longhaul:{orders}:extra x");
    assert_false(extra_store_read(sides[1], 0, "orders", &data, &len, &found, &err));
    assert_int_equal(err.code, ERR_WRONGTYPE);
    assert_null(data);
    redis_do(&target, "ACL SETUSER default -set");
    bool written = extra_store_write(sides[1], 0, "orders", "x", 1, &err);
    redis_do(&target, "ACL SETUSER default +@all");
    assert_false(written);
    assert_int_equal(err.code, ERR_NOPERM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_back_as_they_were_written),
        TEST(each_job_and_database_has_its_own),
        TEST(a_refusal_is_an_error),
    };
    return cmocka_run_group_tests(tests, fixture_start_sides, fixture_stop_sides);
}
