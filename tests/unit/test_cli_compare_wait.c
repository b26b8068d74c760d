/* When a comparison waits for the watermark of a live job, and when that wait ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/compare_wait.h"

#define SECOND_US INT64_C(1000000)
#define WALL_US INT64_C(1700000000000000) /* of the first look */

/* A job, and a comparison that looks at it; now_s counts from the first look. */
struct scene {
    struct job_record record;
    struct compare_wait wait;
    int64_t now_s;
};

static void begin(struct scene *s) {
    *s = (struct scene){ 0 };
    record_init(&s->record);
    snprintf(s->record.job, sizeof(s->record.job), "job");
    snprintf(s->record.phase, sizeof(s->record.phase), "live");
}

static int64_t wall_us(const struct scene *s) {
    return WALL_US + s->now_s * SECOND_US;
}

/* The job writes its record, with a watermark of that age. */
static void write_record(struct scene *s, int64_t age_s) {
    s->record.updated_us = wall_us(s);
    s->record.watermark_us = wall_us(s) - age_s * SECOND_US;
}

static enum compare_wait_end look(struct scene *s) {
    return compare_wait_look(&s->wait, &s->record, s->now_s * 1000, wall_us(s));
}

static void assert_says(struct scene *s, enum compare_wait_end end, const char *part) {
    char text[COMPARE_WAIT_TEXT_MAX];
    assert_int_equal(look(s), end);
    compare_wait_explain(end, &s->record, wall_us(s), text);
    if (strstr(text, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void add_hold(struct scene *s, const char *cause, uint64_t deletions) {
    struct record_hold *hold = record_add_hold(&s->record);
    snprintf(hold->cause, sizeof(hold->cause), "%s", cause);
    hold->deletions = deletions;
}

static void add_gap(struct scene *s) {
    struct record_gap *gap = record_add_gap(&s->record);
    snprintf(gap->place, sizeof(gap->place), "source host:1");
    snprintf(gap->why, sizeof(gap->why), "connection lost");
}

/* ---- the watermark passes ---- */

static void test_a_job_that_follows(void **state) {
    struct scene s;
    begin(&s);
    for (; s.now_s < 1000; s.now_s++) {
        write_record(&s, 1);
        assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    }
    for (; s.now_s < 2000; s.now_s++) { /* a watermark that is taken back, and comes again */
        write_record(&s, s.now_s % 50);
        assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    }
    record_fini(&s.record);
}

static void test_held_keys_of_others_do_not_stop_it(void **state) {
    struct scene s;
    begin(&s);
    add_hold(&s, "extra", 100);
    write_record(&s, 1);
    assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    record_fini(&s.record);
}

/* ---- it does not ---- */

static void test_held_deletions(void **state) {
    struct scene s;
    begin(&s);
    write_record(&s, 1);
    assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    add_hold(&s, "extra", 100);
    add_hold(&s, "missing", 5000);
    write_record(&s, 1);
    assert_says(&s, COMPARE_WAIT_HELD, "5,000 deletions");
    record_clear_holds(&s.record); /* an operator has decided */
    write_record(&s, 1);
    assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    record_fini(&s.record);
}

/* Paused, killed while its lease runs on, replaced by nobody yet. */
static void test_a_job_that_writes_no_more(void **state) {
    struct scene s;
    begin(&s);
    write_record(&s, 1);
    for (; s.now_s <= COMPARE_WAIT_SILENT_MS / 1000; s.now_s++)
        assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    assert_says(&s, COMPARE_WAIT_SILENT, "has not written its record for 15 s");
    write_record(&s, 1); /* a standby has taken over */
    assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    record_fini(&s.record);
}

/* A gap in the midst of the comparison: at most so long a wait as when it began with one. */
static void test_a_gap_that_does_not_close(void **state) {
    struct scene s;
    begin(&s);
    for (; s.now_s < 1000; s.now_s++) {
        write_record(&s, 1);
        assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    }
    add_gap(&s);
    int64_t stands_s = s.now_s;
    while (look(&s) == COMPARE_WAIT_GOES_ON) {
        s.now_s++;
        write_record(&s, s.now_s - stands_s);
        assert_true(s.now_s - stands_s <= COMPARE_WAIT_BEHIND_MS / 1000 + 1);
    }
    assert_says(&s, COMPARE_WAIT_BEHIND, "gap, source host:1: connection lost");
    write_record(&s, 3600);
    assert_says(&s, COMPARE_WAIT_BEHIND, "3600 s old");
    record_clear_gaps(&s.record);
    write_record(&s, 1);
    assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON);
    record_fini(&s.record);
}

/* In each way of lying behind: it stands, it is taken back again and again, or it comes nearer,
 * slowly. */
static void test_a_watermark_that_lies_behind(void **state) {
    struct scene s;
    for (int kind = 0; kind < 3; kind++) {
        begin(&s);
        for (; s.now_s < COMPARE_WAIT_BEHIND_MS / 1000; s.now_s++) {
            write_record(&s, 3600 + s.now_s);
            assert_int_equal(look(&s), COMPARE_WAIT_GOES_ON); /* its gap may be about to close */
        }
        for (; s.now_s < 1000; s.now_s++) {
            write_record(&s, kind == 0   ? 3600 + s.now_s
                             : kind == 1 ? 3600 + s.now_s % 100 * 10
                                         : 3600 - s.now_s);
            assert_int_equal(look(&s), COMPARE_WAIT_BEHIND);
        }
        record_fini(&s.record);
    }
}

static void test_trouble_is_named(void **state) {
    struct scene s;
    begin(&s);
    add_gap(&s);
    snprintf(s.record.trouble.place, sizeof(s.record.trouble.place), "source host:1");
    snprintf(s.record.trouble.text, sizeof(s.record.trouble.text), "connection refused");
    for (; s.now_s <= COMPARE_WAIT_BEHIND_MS / 1000; s.now_s++) {
        write_record(&s, 100 + s.now_s);
        look(&s);
    }
    assert_says(&s, COMPARE_WAIT_BEHIND, "(source host:1: connection refused)");
    record_fini(&s.record);
}

static void test_no_watermark_yet(void **state) {
    struct scene s;
    begin(&s);
    snprintf(s.record.phase, sizeof(s.record.phase), "copying");
    write_record(&s, 0);
    s.record.watermark_us = 0;
    assert_says(&s, COMPARE_WAIT_NEVER, "phase: copying");
    record_fini(&s.record);
}

/* The job and the comparison run on two machines. */
static void test_clocks_that_differ(void **state) {
    struct scene s;
    begin(&s);
    write_record(&s, 1);
    s.record.updated_us += 10 * SECOND_US;
    s.record.watermark_us += 10 * SECOND_US;
    assert_says(&s, COMPARE_WAIT_CLOCKS, "10 s ahead");
    begin(&s);
    for (; s.now_s <= COMPARE_WAIT_BEHIND_MS / 1000; s.now_s++) {
        write_record(&s, 1);
        s.record.updated_us -= 300 * SECOND_US;
        s.record.watermark_us -= 300 * SECOND_US;
        look(&s);
    }
    assert_says(&s, COMPARE_WAIT_BEHIND, "clocks differ");
    record_fini(&s.record);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_that_follows),
        cmocka_unit_test(test_held_keys_of_others_do_not_stop_it),
        cmocka_unit_test(test_held_deletions),
        cmocka_unit_test(test_a_job_that_writes_no_more),
        cmocka_unit_test(test_a_gap_that_does_not_close),
        cmocka_unit_test(test_a_watermark_that_lies_behind),
        cmocka_unit_test(test_trouble_is_named),
        cmocka_unit_test(test_no_watermark_yet),
        cmocka_unit_test(test_clocks_that_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
