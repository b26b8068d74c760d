/* A job's record as JSON and back, refused records, and longhaul's own keys. */
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
#include "store/record.h"

static void fill(struct job_record *r) {
    *r = (struct job_record){ .copied_once = true,
                              .watermark_us = 1700000000123456,
                              .source_time_us = 1700000000123000,
                              .updated_us = 1700000001000001,
                              .epoch = 7,
                              .copied = UINT64_C(9007199254740993), /* no double holds it */
                              .deleted = 2,
                              .given_up = 3,
                              .waiting = 4,
                              .extra_keys = 5,
                              .target_evicted = 6,
                              .lag.hour_max_us = 7,
                              .gather_ms = 640 };
    strcpy(r->job, "orders");
    strcpy(r->source, "a.example.com:6379");
    strcpy(r->target, "b.example.com:6379");
    strcpy(r->settings, "databases 0");
    strcpy(r->phase, "live");
    strcpy(r->owner, "host:1:ff");
    strcpy(r->order_followed, "order-1");
    strcpy(r->trouble.place, "10.0.0.9:6379");
    strcpy(r->trouble.text, "WRONGPASS");
    record_set_scope(r, "{\"databases\":\"0\"}");
    record_ids_add(&r->source_ids, "replid-a");
    record_ids_add(&r->source_ids, "replid-a");
    record_ids_add(&r->source_ids, "");
    record_ids_add(&r->target_ids, "replid-b");
    struct record_node *node = record_add_node(r);
    strcpy(node->address, "10.0.0.1:6379");
    strcpy(node->run_id, "abc");
    node->watermark_us = 5;
    node->evidence = json_pack("{si}", "forks", 3);
    strcpy(record_add_node(r)->address, "10.0.0.2:6379");
    struct record_target *target = record_add_target(r);
    strcpy(target->run_id, "def");
    target->evicted = 11;
    target->incomplete = true;
    struct record_gap *gap = record_add_gap(r);
    strcpy(gap->place, "10.0.0.1:6379");
    strcpy(gap->why, "the \"connection\" broke");
    gap->since_us = 6;
    gap->slots = 16384;
    struct record_hold *hold = record_add_hold(r);
    strcpy(hold->id, "h1");
    strcpy(hold->cause, "sweep");
    strcpy(hold->place, "db 0");
    strcpy(hold->why, "came back empty");
    hold->deletions = 8;
    hold->seen = 9;
}

static void assert_same(const struct job_record *a, const struct job_record *b) {
    char *x = record_to_text(a), *y = record_to_text(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static void read_back(const struct job_record *record, struct job_record *back) {
    char *text = record_to_text(record);
    struct err err;
    if (!record_from_text(back, bytes_of_str(text), &err)) fail_msg("%s", err.text);
    free(text);
}

static void test_round_trip(void **state) {
    struct job_record a, b = { 0 };
    fill(&a);
    read_back(&a, &b);
    assert_same(&a, &b);
    assert_int_equal(b.copied, a.copied);
    assert_int_equal(b.n_nodes, 2);
    assert_int_equal(json_integer_value(json_object_get(b.nodes[0].evidence, "forks")), 3);
    assert_null(b.nodes[1].evidence);
    assert_int_equal(b.source_ids.n, 1);
    assert_true(record_ids_has(&b.source_ids, "replid-a"));
    assert_string_equal(b.scope, a.scope);
    assert_string_equal(b.trouble.text, "WRONGPASS");
    assert_string_equal(b.holds[0].id, "h1");
    assert_int_equal(b.gaps[0].slots, 16384);
    assert_int_equal(b.targets[0].evicted, 11);
    assert_true(b.targets[0].incomplete);
    record_fini(&a);
    record_fini(&b);
}

static void test_copy_and_move(void **state) {
    struct job_record a, b = { 0 }, c = { 0 };
    fill(&a);
    fill(&b);
    record_copy(&b, &a);
    assert_same(&a, &b);
    record_fini(&a);
    record_copy(&b, &b);
    record_move(&c, &b);
    record_move(&c, &c);
    assert_int_equal(b.n_nodes, 0);
    assert_null(b.scope);
    fill(&a);
    assert_same(&a, &c);
    record_set_scope(&a, NULL);
    assert_null(a.scope);
    record_clear_nodes(&a);
    record_clear_targets(&a);
    record_clear_gaps(&a);
    record_clear_holds(&a);
    assert_int_equal(a.n_nodes + a.n_targets + a.n_gaps + a.n_holds, 0);
    record_fini(&a);
    record_fini(&c);
}

/* Watermark and evidence go together, whichever record is the newer one. */
static void test_proof_is_never_mixed(void **state) {
    struct job_record newer, older;
    fill(&newer);
    fill(&older);
    older.watermark_us = 3;
    older.source_time_us = 4;
    older.copied_once = false;
    json_object_set_new(older.nodes[0].evidence, "forks", json_integer(1));
    strcpy(record_add_cursor(&older)->cursor, "17");
    older.targets[0].evicted = 5;
    record_take_proof(&newer, &older);
    assert_int_equal(newer.watermark_us, 3);
    assert_int_equal(newer.source_time_us, 4);
    assert_false(newer.copied_once);
    assert_int_equal(json_integer_value(json_object_get(newer.nodes[0].evidence, "forks")), 1);
    assert_int_equal(newer.n_cursors, 1);
    assert_int_equal(newer.targets[0].evicted, 5);
    assert_int_equal(newer.n_holds, 1);
    assert_int_equal(older.n_nodes, 0);
    record_drop_proof(&newer);
    assert_int_equal(newer.watermark_us, 0);
    assert_int_equal(newer.n_nodes, 2);
    assert_int_equal(newer.n_cursors, 0);
    assert_null(newer.nodes[0].evidence);
    assert_int_equal(newer.nodes[0].watermark_us, 0);
    record_fini(&newer);
    record_fini(&older);
}

/* A cluster of 500 primaries with 16 databases is recorded whole. */
static void test_large(void **state) {
    struct job_record a, b = { 0 };
    fill(&a);
    for (int i = 0; i < 500; i++) {
        struct record_node *node = record_add_node(&a);
        snprintf(node->address, sizeof(node->address), "node-%d.example.com:6379", i);
        memset(node->run_id, 'r', 40);
        char *evidence = mem_alloc(2000);
        memset(evidence, 'e', 1999);
        evidence[1999] = '\0';
        node->evidence = json_pack("{ss}", "e", evidence);
        free(evidence);
        memset(record_add_gap(&a)->why, 'w', RECORD_TEXT_MAX - 1);
        memset(record_add_hold(&a)->why, 'w', RECORD_TEXT_MAX - 1);
        for (int db = 0; db < 16; db++) {
            struct record_cursor *cursor = record_add_cursor(&a);
            snprintf(cursor->address, sizeof(cursor->address), "node-%d.example.com:6379", i);
            snprintf(cursor->cursor, sizeof(cursor->cursor), "%d", i * db);
            cursor->db = db;
        }
    }
    read_back(&a, &b);
    assert_same(&a, &b);
    assert_int_equal(b.n_nodes, 502);
    assert_int_equal(b.n_cursors, 8000);
    assert_int_equal(b.cursors[7999].db, 15);
    assert_string_equal(b.nodes[501].address, "node-499.example.com:6379");
    record_fini(&a);
    record_fini(&b);
}

static void test_too_large(void **state) {
    struct job_record record = { 0 };
    struct err err;
    char *text = mem_alloc(RECORD_BYTES_MAX + 1);
    memset(text, ' ', RECORD_BYTES_MAX + 1);
    assert_false(record_from_text(&record, bytes_of(text, RECORD_BYTES_MAX + 1), &err));
    assert_non_null(strstr(err.text, "more than the 33554432 of a record"));
    free(text);
}

/* JSON has no text but Unicode; an escaped text is cut to fit in its field. */
static void test_not_utf8(void **state) {
    struct job_record a, b = { 0 };
    fill(&a);
    strcpy(a.gaps[0].why, "\xff");
    memset(a.holds[0].why, 0xff, RECORD_TEXT_MAX - 1);
    read_back(&a, &b);
    assert_string_equal(b.gaps[0].why, "\\xff");
    assert_int_equal(strncmp(b.holds[0].why, "\\xff\\xff", 8), 0);
    record_fini(&a);
    record_fini(&b);
}

/* A text that a terminal would take for a command is never in a record that was read. */
static void test_control_characters(void **state) {
    struct job_record a, b = { 0 };
    fill(&a);
    strcpy(a.gaps[0].why, "\x1b[2J\x07\n\x7f \xc2\x9b \xc3\xa9");
    record_ids_add(&a.source_ids, "\x1bx");
    read_back(&a, &b);
    assert_string_equal(b.gaps[0].why, "?[2J??? ?? \xc3\xa9");
    assert_string_equal(b.source_ids.list[1], "?x");
    record_fini(&a);
    record_fini(&b);
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
    { "{" BASE ",\"gaps\":[1]}", "\"gaps\" holds something that is no object" },
    { "{" BASE ",\"holds\":[{\"deletions\":\"many\"}]}", "\"holds.deletions\" is no whole number" },
    { "{" BASE ",\"settings\":\"a\\u0000b\"}", "is no JSON" },
    { "{\"job\":\"0123456789012345678901234567890123456789012345678901234567890123456789\","
      "\"source\":\"a\"}",
      "\"job\" is too long" },
};

static void test_refused(void **state) {
    struct job_record record;
    fill(&record);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct err err;
        if (record_from_text(&record, bytes_of_str(refused[i].text), &err))
            fail_msg("accepted: %s", refused[i].text);
        if (strncmp(err.text, refused[i].says, strlen(refused[i].says)) != 0)
            fail_msg("%s: %s", refused[i].text, err.text);
        assert_int_equal(record.n_nodes, 0);
        assert_string_equal(record.job, "");
    }
    record_fini(&record);
}

/* Of an older or a newer version. */
static void test_other_fields(void **state) {
    struct job_record record = { 0 };
    assert_true(record_from_text(&record,
                                 BYTES_LITERAL("{" BASE ",\"color\":[\"red\"],\"nodes\":[{"
                                               "\"address\":\"a\",\"forks\":7,\"swaps\":0}]}"),
                                 NULL));
    assert_string_equal(record.job, "j");
    assert_int_equal(record.watermark_us, 0);
    assert_int_equal(record.n_gaps, 0);
    assert_int_equal(record.n_nodes, 1);
    assert_null(record.nodes[0].evidence);
    assert_null(record.scope);
    record_fini(&record);
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
        if (!key_is_own(bytes_of_str(own[i]))) fail_msg("not own: %s", own[i]);
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
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_copy_and_move),
        cmocka_unit_test(test_proof_is_never_mixed),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_not_utf8),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_other_fields),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_own_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
