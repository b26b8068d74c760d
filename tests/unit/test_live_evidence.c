/* Evidence: every way that is known to deceive idle times, one test each; and that nothing is lost
 * on the way through JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "live/evidence.h"

static struct sample_db dbs[] = { { 0, 100 }, { 3, 7 } };

#define SECOND INT64_C(1000000)

static struct evidence then_value(void) {
    return (struct evidence){ .run_id = "run",
                              .replid = "replid",
                              .time_us = 5000 * SECOND,
                              .started_us = 1000 * SECOND,
                              .boot_id = "boot",
                              .asked_boot_us = 700 * SECOND,
                              .answered_boot_us = 700 * SECOND + 1000,
                              .asked_wall_us = 5000 * SECOND,
                              .policy = "noeviction",
                              .forks = 2,
                              .last_save_s = 1,
                              .save_s = 0,
                              .rewrite_s = -1,
                              .commands = 1000,
                              .connections = 10,
                              .info_calls = 50,
                              .role_calls = 900,
                              .config_calls = 1,
                              .swaps = 0,
                              .flushes = 0,
                              .dbs = dbs,
                              .n_dbs = 2 };
}

/* A minute later. */
static struct evidence now_value(void) {
    struct evidence e = then_value();
    e.time_us += 60 * SECOND;
    e.asked_boot_us += 60 * SECOND;
    e.answered_boot_us += 60 * SECOND;
    e.asked_wall_us += 60 * SECOND;
    e.commands += 500;
    e.role_calls += 100;
    e.info_calls += 10;
    return e;
}

static void undisturbed_idle_times_are_used_since_the_sources_own_time(void **state) {
    struct evidence then = then_value(), now = now_value();
    struct verdict v = evidence_judge(&then, &now);
    assert_true(v.same_process && !v.times_spoilt);
    assert_int_equal(v.since_us, 5000 * SECOND);
    assert_null(v.why);
}

#define DECEIVED(change, spoilt)                                                                   \
    do {                                                                                           \
        struct evidence then = then_value(), now = now_value();                                    \
        change;                                                                                    \
        struct verdict v = evidence_judge(&then, &now);                                            \
        assert_non_null(v.why);                                                                    \
        assert_int_equal(v.times_spoilt, spoilt);                                                  \
    } while (0)

static void another_process_or_history_is_another_dataset(void **state) {
    DECEIVED(strcpy(now.run_id, "other"), false);
    DECEIVED(then.run_id[0] = now.run_id[0] = '\0', false);
    DECEIVED(now.started_us += 10 * SECOND, false); /* a run_id that was copied with a machine */
    DECEIVED(now.started_us -= 10 * SECOND, false);
    DECEIVED(now.replica = true, false);
    DECEIVED((then.replica = now.replica = true, strcpy(now.replid, "other")), false);
    DECEIVED((then.replica = now.replica = true, now.loaded_keys = 5), false); /* resynchronised */
}

static void a_primary_may_take_a_new_replid_and_a_start_may_be_unknown(void **state) {
    struct evidence then = then_value(), now = now_value();
    strcpy(now.replid, "after repl-backlog-ttl");
    now.started_us = 0;
    assert_null(evidence_judge(&then, &now).why);
}

static void saves_in_between(void **state) {
    DECEIVED(now.forks++, false);
    DECEIVED(now.forks = -1, true);
    DECEIVED(then.forks = -1, false);
    DECEIVED(now.last_save_s = 77, false); /* RESETSTAT hides the fork, not this */
    DECEIVED(now.save_s = 3, false);
    DECEIVED(now.rewrite_s = 0, false);
    DECEIVED(then.has_child = true, false);
    DECEIVED(now.has_child = true, false);
}

static void policies(void **state) {
    DECEIVED(strcpy(now.policy, "allkeys-lru"), true);
    DECEIVED((strcpy(now.policy, "allkeys-lfu"), strcpy(then.policy, "allkeys-lfu")), true);
    DECEIVED(then.policy[0] = now.policy[0] = '\0', true);
    DECEIVED(now.config_calls++, true); /* LFU for a moment */
    DECEIVED(now.config_calls = -1, true);
    DECEIVED(then.config_calls = -1, true);
}

static void counters_that_were_set_back(void **state) {
    DECEIVED(now.commands = 5, true);
    DECEIVED(now.connections = 1, true);
    DECEIVED(now.info_calls = 1, true);
    DECEIVED(now.role_calls = 1, true);
    DECEIVED(now.forks = 1, true);
    DECEIVED((then.swaps = 3, now.swaps = 1), true);
    DECEIVED((then.flushes = 3, now.flushes = 1), true);
}

#define COUNTERS(expected, change)                                                                 \
    do {                                                                                           \
        struct evidence then = then_value(), now = now_value();                                    \
        change;                                                                                    \
        assert_int_equal(evidence_counters(&then, &now), expected);                                \
    } while (0)

static void counters_that_were_reset_hide_calls(void **state) {
    COUNTERS(COUNTERS_RESET, now.info_calls = 1);
    /* Another process counts from the beginning. */
    COUNTERS(COUNTERS_GO_ON, (now.info_calls = 1, strcpy(now.run_id, "other")));
    COUNTERS(COUNTERS_RESET, now.commands = 5);
    COUNTERS(COUNTERS_RESET, now.connections = 1);
    COUNTERS(COUNTERS_RESET, now.forks = 1);
    COUNTERS(COUNTERS_RESET, (then.swaps = 3, now.swaps = 1));
    COUNTERS(COUNTERS_RESET, (then.flushes = 3, now.flushes = -1)); /* they are hidden now */
    COUNTERS(COUNTERS_RESET, (then.resets = 0, now.resets = 1));
    COUNTERS(COUNTERS_RESET, (then.resets_us = 40, now.resets_us = 41)); /* the second RESETSTAT */
    COUNTERS(COUNTERS_RESET,
             now.info_calls = then.info_calls + 1); /* longhaul's own calls are not all there */
    COUNTERS(COUNTERS_RELOADED, now.loaded_keys = 7);
    COUNTERS(COUNTERS_RELOADED, (then.load_expired = 0, now.load_expired = 2));
}

/* A record says nothing of some, a server of none. */
static void counters_that_are_not_told_break_nothing(void **state) {
    struct evidence then = then_value(), now = now_value();
    assert_int_equal(evidence_counters(&then, &now), COUNTERS_GO_ON);
    then.resets = then.resets_us = then.load_expired = -1;
    now.resets = 1;
    now.resets_us = 50;
    assert_int_equal(evidence_counters(&then, &now), COUNTERS_GO_ON);
    then.commands = then.connections = then.info_calls = then.role_calls = then.forks = -1;
    then.swaps = then.flushes = -1;
    assert_int_equal(evidence_counters(&then, &now), COUNTERS_GO_ON);
    now.commands = now.connections = now.info_calls = now.role_calls = now.forks = -1;
    now.swaps = now.flushes = -1;
    assert_int_equal(evidence_counters(&then, &now), COUNTERS_GO_ON);
}

static void databases_that_a_swap_could_change(void **state) {
    struct sample_db one[] = { { 0, 5 } }, other[] = { { 1, 5 } }, two[] = { { 0, 5 }, { 1, 2 } };
    struct evidence then = { .dbs = one, .n_dbs = 1 }, now = then, none = { 0 };
    assert_false(evidence_may_be_swapped(&then, &now));
    assert_false(evidence_may_be_swapped(&none, &none));
    assert_true(evidence_may_be_swapped(&then, &none));
    assert_true(evidence_may_be_swapped(&then, &(struct evidence){ .dbs = other, .n_dbs = 1 }));
    now = (struct evidence){ .dbs = two, .n_dbs = 2 };
    assert_true(evidence_may_be_swapped(&then, &now));
    assert_true(evidence_may_be_swapped(&now, &now));
    then.has_modules = true; /* as of Redis 8: commands of theirs may announce nothing */
    assert_true(evidence_may_be_swapped(&then, &then));
}

static void the_clock_was_set_back_or_is_unknown(void **state) {
    DECEIVED(now.time_us = then.time_us - 1, true);
    DECEIVED(now.time_us -= 20 * SECOND, true); /* it went on, but by less than the observer's */
    DECEIVED(now.time_us = 0, true);
    DECEIVED(then.time_us = 0, true);
    /* By little: OBJECT IDLETIME itself may be wrong by the whole slack, and nothing is left for
     * this. */
    DECEIVED(now.time_us -= 300 * 1000, true);
    DECEIVED((now.asked_boot_us += 3600 * SECOND, now.time_us += 3596 * SECOND), true);
    /* On another machine the wall clocks are all there is. */
    DECEIVED((strcpy(now.boot_id, "other"), now.time_us -= 20 * SECOND), true);
    DECEIVED((then.boot_id[0] = now.boot_id[0] = '\0', now.time_us -= 20 * SECOND), true);
}

static void clocks_that_do_no_harm(void **state) {
    struct evidence then = then_value(), now = now_value();
    now.time_us += 3600 * SECOND; /* forward: the gap is taken for longer */
    assert_null(evidence_judge(&then, &now).why);
    then.answered_boot_us += 40 * SECOND; /* the answer was on its way for long, or the question */
    now = now_value();
    now.time_us -= 39 * SECOND;
    assert_null(evidence_judge(&then, &now).why);
    then = then_value();
    now = now_value();
    now.asked_boot_us = then.asked_boot_us; /* the observer was suspended or paused */
    assert_null(evidence_judge(&then, &now).why);
    now = now_value();
    now.asked_wall_us -= 7200 * SECOND; /* its wall clock was set; the boot clock counts */
    assert_null(evidence_judge(&then, &now).why);
    now = now_value();
    strcpy(now.boot_id, "other"); /* a machine whose clock is behind */
    now.asked_wall_us -= 5 * SECOND;
    assert_null(evidence_judge(&then, &now).why);
    now.asked_wall_us = then.asked_wall_us - 3600 * SECOND;
    assert_null(evidence_judge(&then, &now).why);
    now = now_value();
    now.time_us -= 50 * 1000; /* within the difference that two clocks may have */
    assert_null(evidence_judge(&then, &now).why);
}

static void from_a_sample(void **state) {
    static const char info[] =
        "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\nserver_time_usec:9000000\r\n"
        "uptime_in_seconds:5\r\nrole:master\r\nmaster_replid:def\r\n"
        "maxmemory_policy:allkeys-lru\r\ntotal_forks:4\r\nrdb_last_save_time:2\r\n"
        "rdb_last_bgsave_time_sec:-1\r\naof_last_rewrite_time_sec:-1\r\n"
        "total_commands_processed:12\r\n"
        "total_connections_received:3\r\ndb0:keys=5,expires=0,avg_ttl=0\r\n"
        "db9:keys=1,expires=0\r\n";
    static const char calls[] =
        "# Commandstats\r\ncmdstat_config|set:calls=2,usec=1\r\n"
        "cmdstat_config|get:calls=9,usec=1\r\ncmdstat_info:calls=6,usec=1\r\n";
    struct server_sample sample = { 0 };
    struct evidence e, copy;
    sample_take_info(&sample, bytes_of_str(info));
    sample_take_calls(&sample, bytes_of_str(calls));
    evidence_of_sample(&e, &sample, "boot");
    sample_fini(&sample);
    assert_string_equal(e.run_id, "abc");
    assert_string_equal(e.replid, "def");
    assert_string_equal(e.policy, "allkeys-lru");
    assert_int_equal(e.time_us, 9 * SECOND);
    assert_int_equal(e.started_us, 4 * SECOND);
    assert_int_equal(e.config_calls, 2); /* reading the configuration changes nothing */
    assert_int_equal(e.forks, 4);
    assert_int_equal(e.rewrite_s, -1);
    assert_int_equal(evidence_keys(&e, 9), 1);
    assert_int_equal(evidence_keys(&e, 1), 0);
    evidence_copy(&copy, &e);
    evidence_fini(&e);
    assert_int_equal(evidence_keys(&copy, 0), 5);
    evidence_fini(&copy);
}

static void what_is_not_told_is_unknown(void **state) {
    struct server_sample sample = { 0 };
    struct evidence e;
    sample_take_info(&sample, bytes_of_str("redis_version:6.0.0\r\nrun_id:abc\r\n"));
    sample_take_time(&sample, 3, 5);
    evidence_of_sample(&e, &sample, "");
    assert_int_equal(e.time_us, 3 * SECOND + 5);
    assert_int_equal(e.started_us, 0);
    assert_int_equal(e.forks, -1);
    assert_int_equal(e.config_calls, -1);
    assert_int_equal(e.commands, -1);
    evidence_fini(&e);
    sample_fini(&sample);
}

static void json_keeps_all_of_it(void **state) {
    struct evidence then = then_value(), again;
    then.replica = true;
    then.loaded_keys = 9;
    json_t *json = evidence_to_json(&then);
    assert_true(evidence_from_json(&again, json));
    json_t *twice = evidence_to_json(&again);
    assert_true(json_equal(json, twice));
    assert_int_equal(evidence_keys(&again, 3), 7);
    evidence_fini(&again);
    json_decref(twice);
    /* Anything that is missing or of another kind leaves nothing. */
    const char *name;
    json_t *value;
    void *next;
    json_object_foreach_safe(json, next, name, value) {
        if (strcmp(name, "replica") == 0 || strcmp(name, "has_child") == 0) continue;
        json_t *broken = json_deep_copy(json);
        json_object_del(broken, name);
        assert_false(evidence_from_json(&again, broken));
        assert_int_equal(again.run_id[0], '\0');
        json_object_set_new(broken, name, json_array());
        bool is_list = strcmp(name, "dbs") == 0;
        assert_int_equal(evidence_from_json(&again, broken), is_list);
        evidence_fini(&again);
        json_decref(broken);
    }
    json_t *list = json_object_get(json, "dbs");
    json_array_append_new(list, json_string("db"));
    assert_false(evidence_from_json(&again, json));
    json_object_set_new(
        json, "run_id",
        json_string("0123456789012345678901234567890123456789012345678901234567890123456789"));
    assert_false(evidence_from_json(&again, json));
    assert_false(evidence_from_json(&again, NULL));
    json_decref(json);
}

static void this_machine_has_a_boot_id(void **state) {
    char id[EVIDENCE_BOOT_ID_MAX], again[EVIDENCE_BOOT_ID_MAX];
    assert_string_equal(evidence_boot_id(id), evidence_boot_id(again));
    assert_null(strchr(id, '\n'));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undisturbed_idle_times_are_used_since_the_sources_own_time),
        cmocka_unit_test(another_process_or_history_is_another_dataset),
        cmocka_unit_test(a_primary_may_take_a_new_replid_and_a_start_may_be_unknown),
        cmocka_unit_test(saves_in_between),
        cmocka_unit_test(policies),
        cmocka_unit_test(counters_that_were_set_back),
        cmocka_unit_test(counters_that_were_reset_hide_calls),
        cmocka_unit_test(counters_that_are_not_told_break_nothing),
        cmocka_unit_test(databases_that_a_swap_could_change),
        cmocka_unit_test(the_clock_was_set_back_or_is_unknown),
        cmocka_unit_test(clocks_that_do_no_harm),
        cmocka_unit_test(from_a_sample),
        cmocka_unit_test(what_is_not_told_is_unknown),
        cmocka_unit_test(json_keeps_all_of_it),
        cmocka_unit_test(this_machine_has_a_boot_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
