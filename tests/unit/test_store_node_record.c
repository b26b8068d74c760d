/* The record of a job as one server holds it: that server's own, whatever the other one holds; and
 * no record that cannot be read is believed. The cluster of the fixture plays the target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/node_record.h"
#include "support/fixture.h"

enum { FIRST = 0, LAST = SLOT_COUNT - 1 };

static struct deployment *sides[2];

static int setup(void **state) {
    redis_do(&source, "FLUSHALL");
    redis_do(&other_node, "FLUSHALL");
    redis_do(&target, "FLUSHALL");
    fixture_open_sides(sides);
    return 0;
}

static int teardown(void **state) {
    deployment_free(&sides[0]);
    deployment_free(&sides[1]);
    return 0;
}

static void write_text(const struct redis_process *p, uint16_t slot, const char *text) {
    char tag[SLOT_TAG_MAX];
    assert_string_equal(
        redis_do(p, "HSET longhaul:{%s}:state orders '%s'", slot_tag(slot, tag), text), ":1");
}

static void write_record(const struct redis_process *p, uint16_t slot, int64_t watermark_us) {
    struct job_record record = { .watermark_us = watermark_us, .updated_us = watermark_us };
    strcpy(record.job, "orders");
    strcpy(record.source, "a:1");
    strcpy(record.target, "b:2");
    strcpy(record.settings, "databases 0");
    strcpy(record.phase, "live");
    strcpy(record.owner, "host:1:first");
    char *text = record_to_text(&record);
    write_text(p, slot, text);
    free(text);
}

static bool read_it(struct deployment *side, int db, const struct redis_process *p,
                    struct job_record *record, bool *found, struct err *err) {
    struct address address;
    address_set(&address, BYTES_LITERAL("127.0.0.1"), p->port);
    *record = (struct job_record){ 0 };
    *found = true;
    return node_record_read(side, db, "orders", &address, record, found, err);
}

static void assert_watermark(struct deployment *side, const struct redis_process *p,
                             int64_t watermark_us) {
    struct job_record record;
    struct err err;
    bool found;
    if (!read_it(side, 0, p, &record, &found, &err)) fail_msg("%s", err.text);
    assert_true(found);
    assert_int_equal(record.watermark_us, watermark_us);
    record_fini(&record);
}

static void assert_none(struct deployment *side, int db, const struct redis_process *p) {
    struct job_record record;
    struct err err;
    bool found;
    if (!read_it(side, db, p, &record, &found, &err)) fail_msg("%s", err.text);
    assert_false(found);
    record_fini(&record);
}

static void each_server_tells_its_own_record(void **state) {
    write_record(&source, FIRST, 5);
    write_record(&other_node, LAST, 9);
    assert_watermark(sides[0], &source, 5);
    assert_watermark(sides[0], &other_node, 9);
}

static void a_server_without_record_has_none_whatever_others_hold(void **state) {
    write_record(&source, FIRST, 5);
    assert_watermark(sides[0], &source, 5);
    assert_none(sides[0], 0, &other_node);
}

static void a_record_in_another_slot_of_the_server_is_not_its_record(void **state) {
    write_record(&source, FIRST + 1, 5);
    assert_none(sides[0], 0, &source);
}

static void a_record_that_cannot_be_read_is_none(void **state) {
    write_text(&source, FIRST, "{\"job\": \"ord");
    assert_none(sides[0], 0, &source);
}

static void the_record_of_a_database_is_its_own(void **state) {
    struct job_record record;
    struct err err;
    bool found;
    write_record(&target, FIRST, 5);
    assert_watermark(sides[1], &target, 5);
    assert_none(sides[1], 3, &target);
    assert_false(read_it(sides[1], 16, &target, &record, &found, &err)); /* it has 16 of them */
    assert_false(found);
}

static void a_server_that_owns_no_slots_is_an_error(void **state) {
    struct job_record record;
    struct err err = { 0 };
    bool found;
    assert_false(
        read_it(sides[0], 0, &target, &record, &found, &err)); /* it is not of the cluster */
    assert_int_equal(err.code, ERR_CLUSTERDOWN);
    assert_false(found);
}

static void a_refusal_is_an_error(void **state) {
    struct job_record record;
    struct err err = { 0 };
    bool found;
    write_record(&source, FIRST, 5);
    redis_do(&source, "ACL SETUSER default -hget");
    bool ok = read_it(sides[0], 0, &source, &record, &found, &err);
    redis_do(&source, "ACL SETUSER default +@all");
    assert_false(ok || found);
    assert_int_equal(err.code, ERR_NOPERM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_server_tells_its_own_record),
        TEST(a_server_without_record_has_none_whatever_others_hold),
        TEST(a_record_in_another_slot_of_the_server_is_not_its_record),
        TEST(a_record_that_cannot_be_read_is_none),
        TEST(the_record_of_a_database_is_its_own),
        TEST(a_server_that_owns_no_slots_is_an_error),
        TEST(a_refusal_is_an_error),
    };
    return cmocka_run_group_tests(tests, fixture_start_cluster_source, fixture_stop_cluster_source);
}
