/* A job's record as JSON and back, what is refused, and longhaul's own keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "copy/filter.h"
#include "store/keeper.h"
#include "store/record.h"

static void fill(struct job_record *r) {
    *r = (struct job_record){ .copied_once = true,
                              .watermark_us = 1700000000123456,
                              .updated_us = 1700000001000001,
                              .epoch = 7,
                              .copied = UINT64_C(9007199254740993), /* no double holds it */
                              .deleted = 2,
                              .given_up = 3,
                              .waiting = 4,
                              .gather_ms = 640,
                              .n_nodes = 2,
                              .n_gaps = 1,
                              .n_holds = 1 };
    strcpy(r->job, "orders");
    strcpy(r->source, "a.example.com:6379");
    strcpy(r->target, "b.example.com:6379");
    strcpy(r->settings, "databases 0");
    strcpy(r->phase, "live");
    strcpy(r->owner, "host:1:ff");
    strcpy(r->nodes[0].address, "10.0.0.1:6379");
    strcpy(r->nodes[0].run_id, "abc");
    r->nodes[0].watermark_us = 5;
    strcpy(r->nodes[1].address, "10.0.0.2:6379");
    strcpy(r->gaps[0].place, "10.0.0.1:6379");
    strcpy(r->gaps[0].why, "the \"connection\" broke\n");
    r->gaps[0].since_us = 6;
    strcpy(r->holds[0].place, "db 0");
    strcpy(r->holds[0].why, "came back empty");
    r->holds[0].deletions = 8;
    r->holds[0].seen = 9;
}

static void test_round_trip(void **state) {
    struct job_record *a = mem_alloc(sizeof(*a)), *b = mem_alloc(sizeof(*b));
    fill(a);
    char *text = record_to_text(a);
    struct err err;
    assert_true(record_from_text(b, bytes_of_str(text), &err));
    assert_memory_equal(a, b, sizeof(*a));
    free(text);
    free(a);
    free(b);
}

/* As full as it can be. */
static void test_full(void **state) {
    struct job_record *a = mem_alloc(sizeof(*a)), *b = mem_alloc(sizeof(*b));
    fill(a);
    a->n_nodes = a->n_gaps = a->n_holds = RECORD_LIST_MAX;
    for (int i = 0; i < RECORD_LIST_MAX; i++) memset(a->gaps[i].why, 'w', RECORD_TEXT_MAX - 1);
    char *text = record_to_text(a);
    assert_true(record_from_text(b, bytes_of_str(text), NULL));
    assert_memory_equal(a, b, sizeof(*a));
    free(text);
    free(a);
    free(b);
}

/* JSON has no texts but Unicode. */
static void test_not_utf8(void **state) {
    struct job_record *a = mem_alloc(sizeof(*a)), *b = mem_alloc(sizeof(*b));
    fill(a);
    strcpy(a->gaps[0].why, "\xff");
    char *text = record_to_text(a);
    assert_true(record_from_text(b, bytes_of_str(text), NULL));
    assert_string_equal(b->gaps[0].why, "\\xff");
    free(text);
    free(a);
    free(b);
}

#define BASE "\"job\":\"j\",\"source\":\"a\",\"target\":\"b\",\"phase\":\"live\""

static const struct {
    const char *text, *says;
} refused[] = {
    { "", "is no JSON" },
    { "[]", "is no JSON object" },
    { "{\"source\":\"a\",\"target\":\"b\",\"phase\":\"live\"}", "\"job\" is missing or empty" },
    { "{\"job\":\"j\",\"source\":\"a\",\"target\":\"b\"}", "\"phase\" is missing or empty" },
    { "{\"job\":7,\"source\":\"a\",\"target\":\"b\",\"phase\":\"live\"}", "\"job\" is no text" },
    { "{" BASE ",\"watermark_us\":\"1\"}", "\"watermark_us\" is no whole number" },
    { "{" BASE ",\"watermark_us\":-1}", "\"watermark_us\" is no whole number" },
    { "{" BASE ",\"copied\":1.5}", "\"copied\" is no whole number" },
    { "{" BASE ",\"copied_once\":1}", "\"copied_once\" is neither true nor false" },
    { "{" BASE ",\"gaps\":{}}", "\"gaps\" is no list" },
    { "{" BASE ",\"gaps\":[1]}", "\"gaps\" holds what is no object" },
    { "{" BASE ",\"holds\":[{\"deletions\":\"many\"}]}", "\"holds.deletions\" is no whole number" },
    { "{" BASE ",\"settings\":\"a\\u0000b\"}", "is no JSON" },
    { "{\"job\":\"0123456789012345678901234567890123456789012345678901234567890123456789\",\"source\":\"a\"}",
      "\"job\" is too long" },
};

static void test_refused(void **state) {
    struct job_record *record = mem_alloc(sizeof(*record));
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct err err;
        if (record_from_text(record, bytes_of_str(refused[i].text), &err))
            fail_msg("accepted: %s", refused[i].text);
        if (strncmp(err.text, refused[i].says, strlen(refused[i].says)) != 0)
            fail_msg("%s: %s", refused[i].text, err.text);
    }
    free(record);
}

/* Of an older or a newer version. */
static void test_other_fields(void **state) {
    struct job_record *record = mem_alloc(sizeof(*record));
    assert_true(record_from_text(record, BYTES_LITERAL("{" BASE ",\"color\":[\"red\"]}"), NULL));
    assert_string_equal(record->job, "j");
    assert_int_equal(record->watermark_us, 0);
    assert_int_equal(record->n_gaps, 0);
    free(record);
}

static void test_name(void **state) {
    char a[RECORD_JOB_MAX], b[RECORD_JOB_MAX];
    record_make_job(a, "source", "target", "databases 0");
    record_make_job(b, "source", "target", "databases 0");
    assert_string_equal(a, b);
    assert_int_equal(strlen(a), 16);
    assert_int_equal(strspn(a, "0123456789abcdef"), 16);
    record_make_job(b, "sourcet", "arget", "databases 0");
    assert_string_not_equal(a, b);
    record_make_job(b, "source", "target", "databases 1");
    assert_string_not_equal(a, b);
}

static void test_own_keys(void **state) {
    static const char *const own[] = { "longhaul:{06S}:state",     "longhaul:{job}:lease",
                                       "longhaul:{a.b-c}:epoch",   "longhaul:{job}:order",
                                       "longhaul:tmp:{1234}",      "longhaul:probe:7",
                                       "longhaul:doctor:5a5a5a5a", "longhaul:probe:accept" };
    static const char *const others[] = { "longhaul",
                                          "longhaul:",
                                          "longhaul:{job}:other",
                                          "longhaul:{job}",
                                          "longhaul:state",
                                          "Longhaul:{j}:state",
                                          "xlonghaul:{j}:state",
                                          "longhaul:tmp:x",
                                          "longhaul:probes",
                                          "" };
    const struct key_filter all = { 0 };
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (!keeper_owns_key(bytes_of_str(own[i]))) fail_msg("not own: %s", own[i]);
        assert_false(
            key_filter_wants(&all, bytes_of_str(own[i]), slot_of_key(bytes_of_str(own[i]))));
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (key_is_own(bytes_of_str(others[i]))) fail_msg("own: %s", others[i]);
        assert_true(key_filter_wants(&all, bytes_of_str(others[i]), 0));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_full),
        cmocka_unit_test(test_not_utf8),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_other_fields), cmocka_unit_test(test_name),
        cmocka_unit_test(test_own_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
