/* Verdicts: the meaning of the replies about a key, for every step, without servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "verify/compare_priv.h"

enum { HOUR_MS = 3600 * 1000 };

/* A comparison and one check in it, without connections. */
struct bench {
    struct comparison cmp;
    struct compare_settings settings;
    struct key_filter filter;
    struct check check;
    struct value_sum sum[SIDES];
    union {
        struct name name;
        char room[sizeof(struct name) + 16];
    };
};

static struct check *bench_set(struct bench *b, enum check_step step) {
    memset(b, 0, sizeof(*b));
    b->settings = compare_settings_default();
    b->settings.filter = &b->filter;
    b->cmp.settings = &b->settings;
    b->check = (struct check){ .cmp = &b->cmp, .name = &b->name, .step = step };
    for (int side = 0; side < SIDES; side++) {
        b->check.view[side].expiry_ms = -1;
        b->check.view[side].sum = &b->sum[side];
    }
    return &b->check;
}

static void view_type(struct check *check, int side, const char *type) {
    struct view *view = &check->view[side];
    snprintf(view->type, sizeof(view->type), "%s", type);
    view->kind = sum_type_of(bytes_of_str(type));
    view->gone = strcmp(type, "none") == 0;
    view->memory_bytes = 100;
}

static struct check *bench_kinds(struct bench *b, const char *source, const char *target) {
    struct check *check = bench_set(b, STEP_KIND);
    view_type(check, SOURCE, source);
    view_type(check, TARGET, target);
    return check;
}

static void view_string(struct check *check, int side, const char *text) {
    struct view *view = &check->view[side];
    view->string = true;
    view->len = strlen(text);
    view->digest = digest_of_string(bytes_of_str(text));
}

static struct check *bench_strings(struct bench *b, const char *source, const char *target) {
    struct check *check = bench_set(b, STEP_STRING);
    view_string(check, SOURCE, source);
    view_string(check, TARGET, target);
    return check;
}

static void assert_is(struct check *check, enum verdict_is is) {
    struct verdict v = verdict_of(check);
    if (v.is != is) fail_msg("verdict %d, expected %d", v.is, is);
}

static void assert_next(struct check *check, enum check_step step) {
    struct verdict v = verdict_of(check);
    assert_int_equal(v.is, VERDICT_NEXT);
    assert_int_equal(v.step, step);
}

static void assert_differs(struct check *check, enum difference_kind kind) {
    struct verdict v = verdict_of(check);
    assert_int_equal(v.is, VERDICT_DIFFERENT);
    assert_int_equal(v.kind, kind);
}

/* ---- strings ---- */

static void strings_are_judged_by_content_and_expiry(void **state) {
    struct bench b;
    assert_is(bench_strings(&b, "value", "value"), VERDICT_EQUAL);
    assert_differs(bench_strings(&b, "value", "other"), DIFFERENCE_VALUE);
    assert_differs(bench_strings(&b, "value", "value and more"), DIFFERENCE_VALUE);
    assert_is(bench_strings(&b, "", ""), VERDICT_EQUAL);
    struct check *check = bench_strings(&b, "value", "value");
    check->view[TARGET].expiry_ms = HOUR_MS;
    assert_differs(check, DIFFERENCE_TTL);
}

static void expiry_has_a_tolerance(void **state) {
    struct bench b;
    struct check *check = bench_strings(&b, "value", "value");
    check->view[SOURCE].expiry_ms = HOUR_MS;
    check->view[TARGET].expiry_ms = HOUR_MS + 100;
    assert_is(check, VERDICT_EQUAL);
    check->view[TARGET].expiry_ms = HOUR_MS + 101;
    assert_differs(check, DIFFERENCE_TTL);
    check->view[TARGET].expiry_ms = HOUR_MS - 101;
    assert_differs(check, DIFFERENCE_TTL);
    check->view[SOURCE].expiry_error_ms = 1;
    assert_is(check, VERDICT_EQUAL);
    check->view[TARGET].expiry_ms = -1;
    assert_differs(check, DIFFERENCE_TTL);
    b.settings.no_ttl = true;
    assert_is(check, VERDICT_EQUAL);
}

static void a_value_that_is_no_string_is_read_by_its_type(void **state) {
    struct bench b;
    struct check *check = bench_strings(&b, "value", "value");
    check->view[TARGET].string = false;
    assert_next(check, STEP_KIND);
    check = bench_set(&b, STEP_STRING);
    b.cmp.estimate.string_score = STRING_SCORE_MAX;
    assert_next(check, STEP_KIND);
    assert_int_equal(b.cmp.estimate.string_score, STRING_SCORE_MAX - 1);
}

static void long_strings_are_read_in_pieces(void **state) {
    struct bench b;
    struct check *check = bench_strings(&b, "start", "start");
    check->view[SOURCE].large = check->view[TARGET].large = true;
    assert_next(check, STEP_SUM);
    assert_int_equal(check->view[SOURCE].kind, SUM_STRING);
    check = bench_strings(&b, "start", "short");
    check->view[SOURCE].large = true;
    assert_differs(check, DIFFERENCE_VALUE);
}

/* ---- existence, type ---- */

static void missing_and_other_types(void **state) {
    struct bench b;
    assert_differs(bench_kinds(&b, "hash", "none"), DIFFERENCE_MISSING);
    assert_differs(bench_kinds(&b, "hash", "set"), DIFFERENCE_TYPE);
    assert_is(bench_kinds(&b, "none", "set"), VERDICT_NOTHING);
    assert_is(bench_kinds(&b, "none", "none"), VERDICT_NOTHING);
    struct check *check = bench_strings(&b, "value", "");
    check->view[TARGET].gone = true;
    assert_differs(check, DIFFERENCE_MISSING);
}

static void quick_ends_with_type_and_expiry(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "hash", "hash");
    b.settings.mode = COMPARE_QUICK;
    assert_is(check, VERDICT_EQUAL);
    check->view[TARGET].expiry_ms = HOUR_MS;
    assert_differs(check, DIFFERENCE_TTL);
}

static void filters_leave_keys_out(void **state) {
    char type[] = "set", *types[] = { type };
    struct bench b;
    struct check *check = bench_kinds(&b, "hash", "none");
    b.filter.types = types;
    b.filter.n_types = 1;
    assert_is(check, VERDICT_NOTHING);
    view_type(check, TARGET, "zset");
    assert_is(check, VERDICT_NOTHING);
    check->step = STEP_STRING;
    assert_next(check, STEP_KIND);
    view_type(check, SOURCE, "set");
    view_type(check, TARGET, "none");
    check->step = STEP_KIND;
    assert_differs(check, DIFFERENCE_MISSING);
    b.settings.mem_limit_bytes = 99;
    assert_is(check, VERDICT_SKIPPED);
    b.settings.mem_limit_bytes = 100;
    assert_differs(check, DIFFERENCE_MISSING);
}

/* The target has a copy of a time at which the source's key was wanted. */
static void old_copies_of_unwanted_keys_are_different(void **state) {
    char type[] = "set", *types[] = { type };
    struct bench b;
    struct check *check = bench_kinds(&b, "hash", "set");
    b.filter.types = types;
    b.filter.n_types = 1;
    assert_differs(check, DIFFERENCE_TYPE);
    b.name.backward = true;
    assert_is(check, VERDICT_NOTHING); /* the source's scan has named it */
    b.cmp.side[SOURCE].scans_by_type = true;
    assert_differs(check, DIFFERENCE_TYPE);
    view_type(check, SOURCE, "set");
    assert_is(check, VERDICT_NOTHING);
}

static void old_copies_of_keys_that_grew_are_read(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "string", "string");
    b.settings.mode = COMPARE_QUICK;
    b.settings.mem_limit_bytes = 100;
    assert_is(check, VERDICT_EQUAL);
    b.settings.mem_limit_bytes = 99;
    assert_next(check, STEP_STRING);
    view_type(check, SOURCE, "hash");
    view_type(check, TARGET, "hash");
    assert_int_equal(verdict_of(check).is, VERDICT_NEXT);
}

static void listed_keys_may_be_on_either_side(void **state) {
    char type[] = "set", *types[] = { type };
    struct bench b;
    struct check *check = bench_kinds(&b, "none", "hash");
    b.name.listed = true;
    assert_differs(check, DIFFERENCE_EXTRA);
    b.filter.types = types;
    b.filter.n_types = 1;
    assert_is(check, VERDICT_NOTHING);
    view_type(check, TARGET, "none");
    assert_is(check, VERDICT_ABSENT);
    check->step = STEP_STRING;
    assert_next(check, STEP_KIND);
}

static void keys_of_the_target_are_extra_or_nothing(void **state) {
    struct bench b;
    struct check *check = bench_set(&b, STEP_EXISTS);
    b.name.backward = true;
    assert_is(check, VERDICT_NOTHING);
    check->view[SOURCE].gone = true;
    assert_next(check, STEP_KIND);
    check->step = STEP_KIND;
    view_type(check, SOURCE, "none");
    view_type(check, TARGET, "hash");
    assert_differs(check, DIFFERENCE_EXTRA);
    view_type(check, TARGET, "none");
    assert_is(check, VERDICT_NOTHING);
    view_type(check, SOURCE, "hash");
    assert_is(check, VERDICT_NOTHING);
}

/* ---- values ---- */

static void ways_of_reading_a_value(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "string", "string");
    assert_next(check, STEP_STRING);
    check = bench_kinds(&b, "hash", "hash");
    assert_next(check, STEP_DUMP);
    check->view[TARGET].memory_bytes = SUM_WHOLE_BYTES + 1;
    assert_next(check, STEP_SUM);
    check->view[TARGET].memory_bytes = 0; /* not known */
    assert_next(check, STEP_SUM);
    check = bench_kinds(&b, "hash", "hash");
    b.cmp.side[TARGET].no_dump = true;
    assert_next(check, STEP_SUM);
}

static void module_types_have_only_dump(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "ReJSON-RL", "ReJSON-RL");
    assert_next(check, STEP_DUMP);
    b.cmp.side[SOURCE].no_dump = true;
    assert_differs(check, DIFFERENCE_UNREADABLE);
    assert_int_equal(check->failure, ERR_TYPE);
    check = bench_kinds(&b, "ReJSON-RL", "ReJSON-RL");
    check->step = STEP_DUMP;
    assert_is(check, VERDICT_EQUAL);
    check->view[TARGET].digest.low = 1;
    assert_differs(check, DIFFERENCE_VALUE);
}

static void equal_payloads_are_equal_and_different_ones_prove_nothing(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "hash", "hash");
    check->step = STEP_DUMP;
    assert_is(check, VERDICT_EQUAL);
    check->view[TARGET].digest.low = 1;
    assert_next(check, STEP_SUM);
    assert_true(check->dumps_differ);
    check->view[TARGET].gone = true;
    assert_is(check, VERDICT_AGAIN);
}

/* DUMP is left out for a type of which payloads differ although values do not, and tried again
 * later. */
static void dump_is_left_out_where_it_is_of_no_use(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "set", "set");
    for (int i = 0; i < 8; i++) {
        check->step = STEP_KIND;
        assert_next(check, STEP_DUMP);
        check->step = STEP_SUM;
        check->dumps_differ = true;
        assert_is(check, VERDICT_EQUAL);
    }
    int without = 0;
    for (check->step = STEP_KIND; verdict_of(check).step == STEP_SUM; without++)
        assert_true(without < 1000);
    assert_in_range(without, 10, 100);
    check->step = STEP_DUMP; /* useful again */
    assert_is(check, VERDICT_EQUAL);
    assert_int_equal(b.cmp.estimate.dump_wasted[SUM_SET], 0);
}

static void sums_decide(void **state) {
    struct bench b;
    struct check *check = bench_kinds(&b, "stream", "stream");
    check->step = STEP_SUM;
    assert_is(check, VERDICT_EQUAL);
    b.sum[TARGET].part[SUM_PENDING].count = 1;
    assert_differs(check, DIFFERENCE_VALUE);
    b.sum[TARGET].part[SUM_PENDING].count = 0;
    check->view[SOURCE].expiry_ms = HOUR_MS;
    assert_differs(check, DIFFERENCE_TTL);
}

/* ---- the end of a difference ---- */

/* The next check of a key; each side reads this value. */
static enum outcome check_again(struct bench *b, const char *source, const char *target) {
    view_string(&b->check, SOURCE, source);
    view_string(&b->check, TARGET, target);
    enum outcome outcome = verdict_outcome(&b->check, DIFFERENCE_VALUE);
    b->name.suspect = true;
    b->name.checks++;
    return outcome;
}

static void a_difference_is_checked_again_before_it_is_found(void **state) {
    struct bench b;
    bench_set(&b, STEP_STRING);
    b.settings.rounds = 2;
    assert_int_equal(check_again(&b, "a", "b"), OUTCOME_CHECK_AGAIN);
    assert_int_equal(check_again(&b, "a", "b"), OUTCOME_CHECK_AGAIN);
    assert_int_equal(check_again(&b, "a", "b"), OUTCOME_FINDING);
}

/* Runs three checks; between the last two the sides change or not. */
static enum outcome outcome_of(struct bench *b, const char *source, const char *target,
                               bool watermark_passed) {
    bench_set(b, STEP_STRING);
    b->settings.rounds = 2;
    check_again(b, "source 1", "target 1");
    check_again(b, "source 2", "target 2");
    b->name.watermark_passed = watermark_passed;
    return check_again(b, source, target);
}

static void a_key_that_changes_on_both_sides_is_not_proved(void **state) {
    struct bench b;
    assert_int_equal(outcome_of(&b, "source 3", "target 3", false), OUTCOME_UNPROVED);
    assert_int_equal(outcome_of(&b, "source 3", "target 3", true), OUTCOME_MOVING);
    for (int passed = 0; passed < 2; passed++) {
        assert_int_equal(outcome_of(&b, "source 3", "target 2", passed), OUTCOME_FINDING);
        assert_int_equal(outcome_of(&b, "source 2", "target 3", passed), OUTCOME_FINDING);
        assert_int_equal(outcome_of(&b, "source 2", "target 2", passed), OUTCOME_FINDING);
    }
}

static void one_check_never_shows_a_change(void **state) {
    struct bench b;
    bench_set(&b, STEP_STRING);
    b.settings.rounds = 0;
    assert_int_equal(check_again(&b, "a", "b"), OUTCOME_FINDING);
    bench_set(&b, STEP_STRING);
    b.settings.rounds = 1;
    check_again(&b, "a", "b");
    /* The first check may have been made long before, in a batch: only checks of suspects count. */
    assert_int_equal(check_again(&b, "c", "d"), OUTCOME_FINDING);
}

static void other_parts_of_a_key_change_too(void **state) {
    struct bench b;
    bench_kinds(&b, "hash", "hash");
    b.check.step = STEP_SUM;
    b.settings.rounds = 2;
    for (int i = 0; i < 3; i++) {
        b.sum[SOURCE].part[SUM_FIELD_EXPIRY].digest.low = (uint64_t)i;
        b.check.view[TARGET].expiry_ms = HOUR_MS + i;
        enum outcome outcome = verdict_outcome(&b.check, DIFFERENCE_VALUE);
        assert_int_equal(outcome, i < 2 ? OUTCOME_CHECK_AGAIN : OUTCOME_UNPROVED);
        b.name.suspect = true;
        b.name.checks++;
    }
}

/* Time left is never the same twice, which says nothing about the key. */
static void time_left_is_no_change(void **state) {
    struct bench b;
    bench_set(&b, STEP_STRING);
    b.settings.rounds = 2;
    b.cmp.side[SOURCE].no_pexpiretime = true;
    for (int i = 0; i < 3; i++) {
        b.check.view[SOURCE].expiry_ms = HOUR_MS + i;
        b.check.view[TARGET].expiry_ms = HOUR_MS + i;
        enum outcome outcome = check_again(&b, "same", i == 0 ? "a" : i == 1 ? "b" : "c");
        assert_int_equal(outcome, i < 2 ? OUTCOME_CHECK_AGAIN : OUTCOME_FINDING);
    }
}

static void some_differences_are_found_or_left_at_once(void **state) {
    struct bench b;
    struct check *check = bench_set(&b, STEP_STRING);
    check->forbidden = true;
    assert_int_equal(verdict_outcome(check, DIFFERENCE_UNREADABLE), OUTCOME_FINDING);
    check = bench_set(&b, STEP_KIND);
    b.settings.target_is_partial = true;
    assert_int_equal(verdict_outcome(check, DIFFERENCE_MISSING), OUTCOME_UNCOPIED);
    assert_int_equal(verdict_outcome(check, DIFFERENCE_VALUE), OUTCOME_CHECK_AGAIN);
    outcome_of(&b, "source 3", "target 3", false);
    view_string(&b.check, SOURCE, "source 4");
    view_string(&b.check, TARGET, "target 4");
    assert_int_equal(verdict_outcome(&b.check, DIFFERENCE_UNREADABLE), OUTCOME_FINDING);
}

/* ---- details ---- */

static void assert_explained(const struct check *check, enum difference_kind kind,
                             const char *text) {
    char out[DIFFERENCE_DETAIL_MAX];
    verdict_explain(check, kind, out, sizeof(out));
    assert_string_equal(out, text);
}

static void differences_are_explained(void **state) {
    char refusal[] = "source: may not";
    struct bench b;
    struct check *check = bench_kinds(&b, "hash", "zset");
    assert_explained(check, DIFFERENCE_MISSING, "source hash");
    assert_explained(check, DIFFERENCE_EXTRA, "target zset");
    assert_explained(check, DIFFERENCE_TYPE, "source hash, target zset");
    check->view[TARGET].expiry_ms = 1001;
    assert_explained(check, DIFFERENCE_TTL, "source none, target 1970-01-01T00:00:01.001Z");
    check->failure = ERR_TYPE;
    assert_explained(check, DIFFERENCE_UNREADABLE, err_sentence(ERR_TYPE));
    check->refusal = refusal;
    assert_explained(check, DIFFERENCE_UNREADABLE, refusal);
    assert_explained(check, DIFFERENCE_KINDS, "");
}

static void values_are_explained_by_their_step(void **state) {
    struct bench b;
    struct check *check = bench_strings(&b, "1234", "12345");
    assert_explained(check, DIFFERENCE_VALUE, "contents: source 4 bytes, target 5");
    view_string(check, TARGET, "abcd");
    assert_explained(check, DIFFERENCE_VALUE, "other contents (4 bytes on both sides)");
    check->view[SOURCE].large = true;
    assert_explained(check, DIFFERENCE_VALUE, "contents: source at least 4 bytes, target 4");
    check->step = STEP_DUMP;
    assert_explained(check, DIFFERENCE_VALUE, "other payload (4 bytes on both sides)");
    check->step = STEP_SUM;
    check->view[SOURCE].kind = SUM_SET;
    b.sum[SOURCE].part[SUM_ELEMENTS].count = 2;
    assert_explained(check, DIFFERENCE_VALUE, "members: source 2, target 0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_judged_by_content_and_expiry),
        cmocka_unit_test(expiry_has_a_tolerance),
        cmocka_unit_test(a_value_that_is_no_string_is_read_by_its_type),
        cmocka_unit_test(long_strings_are_read_in_pieces),
        cmocka_unit_test(missing_and_other_types),
        cmocka_unit_test(quick_ends_with_type_and_expiry),
        cmocka_unit_test(filters_leave_keys_out),
        cmocka_unit_test(old_copies_of_unwanted_keys_are_different),
        cmocka_unit_test(old_copies_of_keys_that_grew_are_read),
        cmocka_unit_test(listed_keys_may_be_on_either_side),
        cmocka_unit_test(keys_of_the_target_are_extra_or_nothing),
        cmocka_unit_test(ways_of_reading_a_value),
        cmocka_unit_test(module_types_have_only_dump),
        cmocka_unit_test(equal_payloads_are_equal_and_different_ones_prove_nothing),
        cmocka_unit_test(dump_is_left_out_where_it_is_of_no_use),
        cmocka_unit_test(sums_decide),
        cmocka_unit_test(a_difference_is_checked_again_before_it_is_found),
        cmocka_unit_test(a_key_that_changes_on_both_sides_is_not_proved),
        cmocka_unit_test(one_check_never_shows_a_change),
        cmocka_unit_test(other_parts_of_a_key_change_too),
        cmocka_unit_test(time_left_is_no_change),
        cmocka_unit_test(some_differences_are_found_or_left_at_once),
        cmocka_unit_test(differences_are_explained),
        cmocka_unit_test(values_are_explained_by_their_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
