/* Which recorded job a start is, which jobs it must not run beside, and the role record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/identity.h"
#include "store/role.h"

#define SCOPE_ALL "{\"databases\":\"all\",\"mode\":\"live\"}"
#define SCOPE_LOW "{\"databases\":\"all\",\"mode\":\"live\",\"slots\":\"0-8191\"}"
#define SCOPE_HIGH "{\"databases\":\"all\",\"mode\":\"live\",\"slots\":\"8192-16383\"}"
#define SCOPE_A "{\"key-pattern\":\"a:*\"}"
#define SCOPE_B "{\"key-pattern\":\"b:*\"}"
#define SCOPE_DB0 "{\"target_databases\":[0]}"
#define SCOPE_DB3 "{\"target_databases\":[3,4]}"

static struct job_list list;
static struct record_ids source_ids, target_ids;
static struct job_identity me;
static struct err err;

static int setup(void **state) {
    record_ids_add(&source_ids, "replid-s");
    record_ids_add(&target_ids, "replid-t");
    me = (struct job_identity){ .source = "s:1",
                                .target = "t:2",
                                .scope = SCOPE_ALL,
                                .source_ids = &source_ids,
                                .target_ids = &target_ids };
    return 0;
}

static int teardown(void **state) {
    job_list_fini(&list);
    record_ids_clear(&source_ids);
    record_ids_clear(&target_ids);
    return 0;
}

/* A job on the target: its ids are empty where they are not given. */
static struct stored_job *add(const char *name, const char *source, const char *source_id,
                              const char *target, const char *target_id, const char *scope,
                              const char *phase) {
    list.jobs = mem_array(list.jobs, list.n + 1, sizeof(list.jobs[0]));
    struct stored_job *job = &list.jobs[list.n++];
    *job = (struct stored_job){ 0 };
    struct job_record *r = &job->record;
    snprintf(r->job, sizeof(r->job), "%s", name);
    snprintf(r->source, sizeof(r->source), "%s", source);
    snprintf(r->target, sizeof(r->target), "%s", target);
    snprintf(r->settings, sizeof(r->settings), "words");
    snprintf(r->phase, sizeof(r->phase), "%s", phase);
    record_set_scope(r, scope);
    record_ids_add(&r->source_ids, source_id);
    record_ids_add(&r->target_ids, target_id);
    return job;
}

static void assert_says(bool ok, const char *says) {
    assert_false(ok);
    if (strstr(err.text, says) == NULL) fail_msg("\"%s\" is not in: %s", says, err.text);
    assert_null(strchr(err.text, '\n'));
}

/* The same servers under other names, the same scope: this very job. */
static void test_same_job(void **state) {
    assert_null(identity_find_job(&list, &me));
    add("other", "s:1", "", "t:2", "", SCOPE_LOW, "live");
    add("mine", "localhost:1", "replid-s", "127.0.0.1:2", "replid-t", SCOPE_ALL, "live");
    const struct stored_job *found = identity_find_job(&list, &me);
    assert_ptr_equal(found, &list.jobs[1]);
    assert_true(identity_check_job(found, &me, &err));
    assert_true(identity_check_job(NULL, &me, &err));
    me.job = "other";
    assert_ptr_equal(identity_find_job(&list, &me), &list.jobs[0]);
    me.job = "none";
    assert_null(identity_find_job(&list, &me));
}

static void test_another_job(void **state) {
    add("a", "other:1", "replid-x", "t:2", "replid-t", SCOPE_ALL, "live");
    assert_null(identity_find_job(&list, &me));
    me.job = "a";
    assert_says(identity_check_job(identity_find_job(&list, &me), &me, &err),
                "job a copies from other:1, not from s:1");
    add("b", "s:1", "replid-s", "other:2", "replid-y", SCOPE_ALL, "live");
    me.job = "b";
    assert_says(identity_check_job(identity_find_job(&list, &me), &me, &err),
                "job b copies to other:2, not to t:2");
    add("c", "s:1", "replid-s", "t:2", "replid-t", SCOPE_LOW, "live");
    me.job = "c";
    assert_says(identity_check_job(identity_find_job(&list, &me), &me, &err),
                "job c copies something else (words)");
    /* Of an older version: its scope is not known. */
    add("d", "s:1", "replid-s", "t:2", "replid-t", NULL, "live");
    me.job = "d";
    assert_says(identity_check_job(identity_find_job(&list, &me), &me, &err), "something else");
}

static void test_overlap(void **state) {
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        { SCOPE_ALL, SCOPE_ALL, true },
        { SCOPE_LOW, SCOPE_HIGH, false },
        { SCOPE_LOW, SCOPE_ALL, true },
        { SCOPE_A, SCOPE_B, true },
        { SCOPE_DB0, SCOPE_DB3, false },
        { SCOPE_DB0, SCOPE_DB0, true },
        { SCOPE_DB0, SCOPE_ALL, true },
        { NULL, SCOPE_LOW, true },
        { "broken", SCOPE_LOW, true },
        { "{\"slots\":\"1,5-7\"}", "{\"slots\":\"2-4,8\"}", false },
        { "{\"slots\":\"1,5-7\"}", "{\"slots\":\"6\"}", true },
        /* of no form that is known */
        { "{\"slots\":\"1-x\"}", "{\"slots\":\"6\"}", true },
        { "{\"slots\":\"x\"}", "{\"slots\":\"6\"}", true },
        { "{\"slots\":\"9-1\"}", "{\"slots\":\"6\"}", true },
        { "{\"slots\":7}", "{\"slots\":\"6\"}", true },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool forth = identity_scopes_overlap(cases[i].a, cases[i].b);
        bool back = identity_scopes_overlap(cases[i].b, cases[i].a);
        if (forth != cases[i].overlap || back != forth) fail_msg("case %zu", i);
    }
}

static void test_conflict(void **state) {
    assert_true(identity_check_conflict(&list, NULL, &me, &err));
    add("over", "x:1", "", "t:2", "", SCOPE_ALL, "ended");
    assert_true(identity_check_conflict(&list, NULL, &me, &err));
    list.jobs[0].lease_held = true;
    assert_says(identity_check_conflict(&list, NULL, &me, &err),
                "job over from x:1 runs and may write the same keys");
    list.jobs[0].lease_held = false;
    add("stopped", "x:1", "", "t:2", "", SCOPE_LOW, "stopped");
    assert_says(identity_check_conflict(&list, NULL, &me, &err),
                "job stopped from x:1 is not finished");
    assert_non_null(strstr(err.text, "longhaul forget --job stopped"));
    assert_non_null(strstr(err.text, "--beside stopped"));
    me.beside = "stopped";
    assert_true(identity_check_conflict(&list, NULL, &me, &err));
    me.beside = "over";
    assert_false(identity_check_conflict(&list, NULL, &me, &err));
    me.beside = NULL;
    assert_true(identity_check_conflict(&list, &list.jobs[1], &me, &err));
    me.scope = SCOPE_HIGH;
    assert_true(identity_check_conflict(&list, NULL, &me, &err));
}

/* At rest: passed, and the record is not to be believed any more. */
static void test_superseded(void **state) {
    add("narrower", "localhost:1", "replid-s", "t:2", "replid-t", SCOPE_LOW, "stopped");
    assert_true(identity_check_conflict(&list, NULL, &me, &err));
    assert_true(identity_is_superseded(&list.jobs[0], NULL, &me));
    assert_false(identity_is_superseded(&list.jobs[0], &list.jobs[0], &me));
    me.beside = "narrower";
    assert_false(identity_is_superseded(&list.jobs[0], NULL, &me));
    me.beside = NULL;
    me.scope = SCOPE_HIGH;
    assert_false(identity_is_superseded(&list.jobs[0], NULL, &me));
    me.scope = SCOPE_ALL;
    list.jobs[0].lease_held = true;
    assert_false(identity_is_superseded(&list.jobs[0], NULL, &me));
    assert_says(identity_check_conflict(&list, NULL, &me, &err),
                "job narrower from localhost:1 runs");
    list.jobs[0].lease_held = false;
    snprintf(list.jobs[0].record.phase, sizeof(list.jobs[0].record.phase), "live"); /* was killed */
    assert_false(identity_is_superseded(&list.jobs[0], NULL, &me));
    assert_says(identity_check_conflict(&list, NULL, &me, &err), "is not finished");
    snprintf(list.jobs[0].record.phase, sizeof(list.jobs[0].record.phase), "stopped");
    record_add_hold(&list.jobs[0].record);
    assert_false(identity_is_superseded(&list.jobs[0], NULL, &me));
    assert_says(identity_check_conflict(&list, NULL, &me, &err), "holds deletions");
    record_clear_holds(&list.jobs[0].record);
    record_add_gap(&list.jobs[0].record);
    assert_false(identity_is_superseded(&list.jobs[0], NULL, &me));
    assert_says(identity_check_conflict(&list, NULL, &me, &err), "has an open gap");
    record_clear_gaps(&list.jobs[0].record);
    add("elsewhere", "x:1", "", "t:2", "", SCOPE_ALL, "ended");
    assert_true(identity_is_superseded(&list.jobs[1], NULL, &me));
    record_add_hold(&list.jobs[1].record);
    assert_false(identity_is_superseded(&list.jobs[1], NULL, &me));
    record_clear_holds(&list.jobs[1].record);
    snprintf(list.jobs[1].record.phase, sizeof(list.jobs[1].record.phase), "stopped");
    assert_false(identity_is_superseded(&list.jobs[1], NULL, &me));
}

/* The list is that of our source. */
static void test_reverse(void **state) {
    assert_true(identity_check_reverse(&list, &me, &err));
    add("forth", "elsewhere:9", "replid-z", "s:1", "replid-s", SCOPE_ALL, "live");
    assert_true(identity_check_reverse(&list, &me, &err));
    add("back", "10.0.0.2:2", "replid-t", "s:1", "replid-s", SCOPE_ALL, "stopped");
    assert_says(identity_check_reverse(&list, &me, &err),
                "s:1 is itself the target of job back, which is not finished and copies from "
                "10.0.0.2:2");
    snprintf(list.jobs[1].record.phase, sizeof(list.jobs[1].record.phase), "ended");
    assert_true(identity_check_reverse(&list, &me, &err));
}

static void test_role(void **state) {
    struct role_record role;
    static const char *const bad[] = { "", "[]", "{}", "{\"role\":\"king\"}", "{\"role\":7}" };
    assert_true(role_from_text(&role,
                               BYTES_LITERAL("{\"role\":\"standby\",\"epoch\":4,\"peer\":\"p:1\","
                                             "\"watermark_us\":9}"),
                               &err));
    assert_false(role.active);
    assert_int_equal(role.epoch, 4);
    assert_int_equal(role.watermark_us, 9);
    assert_string_equal(role.peer, "p:1");
    assert_true(role_check_target(&role, "t:2", &err));
    assert_true(role_from_text(&role, BYTES_LITERAL("{\"role\":\"active\",\"since_us\":1}"), &err));
    assert_says(role_check_target(&role, "t:2", &err),
                "t:2 was made the active side at 1970-01-01T00:00:00.000Z (epoch 0): nothing is "
                "copied into it");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_says(role_from_text(&role, bytes_of_str(bad[i]), &err), "is neither");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_same_job),   TEST(test_another_job), TEST(test_overlap), TEST(test_conflict),
        TEST(test_superseded), TEST(test_reverse),     TEST(test_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
