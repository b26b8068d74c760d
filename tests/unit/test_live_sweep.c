/* Keys that the target has and the source does not: which are deleted, which deletions are held
 * until an operator releases them, and that keys of the target's own stay. Between two real
 * servers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/live_rig.h"

#define CUT_FEED "CLIENT KILL TYPE pubsub\r\n"

enum { ROUNDS = 20 };

static int target_size(void) {
    return atoi(redis_do(&target, "DBSIZE") + 1);
}

/* Deletes key:FROM to key:(TO - 1) while the feed is cut, so that no change names them. */
static void delete_unheard(int from, int to) {
    redis_do(&source,
             CUT_FEED "EVAL \"for i=%d,%d do redis.call('del','key:'..i) end\" 0\r\nSET mark %d",
             from, to - 1, to);
}

#define DELETE_UNHEARD(from, to)                                                                   \
    do {                                                                                           \
        unsigned gaps = rig.events[EVENT_GAP];                                                     \
        delete_unheard(from, to);                                                                  \
        RIG_UNTIL(&rig, rig.events[EVENT_GAP] > gaps);                                             \
    } while (0)

static void populate(int keys) {
    redis_do(&source, "DEBUG POPULATE %d key 8", keys);
}

static const struct hold *first_hold(void) {
    struct live_state s = rig_look(&rig);
    assert_true(s.n_holds > 0);
    return &s.holds[0];
}

static int target_scans(void) {
    const char *calls =
        redis_do(&target, "EVAL \"return tonumber(string.match(redis.call('info','commandstats'),"
                          "'cmdstat_scan:calls=(%%d+)') or 0)\" 0");
    return atoi(calls + 1);
}

/* Nothing is asked of the target while deletions are held. */
static void assert_no_sweep(void) {
    int scans = target_scans();
    for (int i = 0; i < ROUNDS; i++) rig_round(&rig);
    assert_int_equal(target_scans(), scans);
    assert_int_equal(rig_look(&rig).n_holds, 1);
}

/* ---- the guard ---- */

static void few_missing_keys_of_a_known_process_are_deleted(void **state) {
    populate(10);
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 9);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_HELD], 0);
    assert_string_equal(rig.text[EVENT_DELETED], "sweep: 9 keys are missing on the source");
    rig_stop(&rig);
}

static void many_missing_keys_within_max_delete_are_deleted(void **state) {
    populate(20000);
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 1900);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_HELD], 0);
    rig_stop(&rig);
}

static void beyond_max_delete_deletions_wait_for_an_order_that_names_their_hold(void **state) {
    populate(3000);
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 1500);
    RIG_UNTIL(&rig, rig_look(&rig).held);
    const struct hold *hold = first_hold();
    assert_string_equal(hold->id, "7-1");
    assert_int_equal(hold->cause, HOLD_MISSING);
    assert_int_equal(hold->deletions, 1500);
    assert_in_range(hold->seen, 3000, 3001);
    assert_int_equal(slot_set_count(&hold->slots), SLOT_COUNT);
    assert_non_null(strstr(rig.text[EVENT_HELD], "1,500"));

    redis_do(&source, "SET later 1"); /* copying goes on, and the watermark stays */
    struct moment later = moment_now();
    RIG_UNTIL(&rig, redis_do(&target, "EXISTS later")[1] == '1');
    assert_true(rig_look(&rig).watermark.boot_us < later.boot_us);
    assert_int_equal(target_size(), 3002);
    assert_no_sweep();
    assert_false(live_release(rig.live, "7-2"));
    assert_true(rig_look(&rig).held);

    assert_true(live_release(rig.live, "7-1"));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_false(rig_look(&rig).held);
    assert_int_equal(rig.events[EVENT_RELEASED], 1);
    assert_int_equal(rig.events[EVENT_HELD], 1);
    rig_stop(&rig);
}

/* At the end of the first round, before what it has deleted can be proved. Once the feed is back
 * its loss is known. */
static void on_first_deletions(struct live_rig *r, enum event_id id) {
    if (id != EVENT_DELETED || r->events[id] != 1) return;
    delete_unheard(800, 1600);
    int64_t patience_ends_ms = clock_mono_ms() + RIG_PATIENCE_MS;
    while (redis_do(&source, "PUBSUB CHANNELS longhaul:nobody")[1] != '1')
        assert_true(clock_mono_ms() < patience_ends_ms);
}

static void deletions_of_several_gaps_before_a_proof_are_counted_together(void **state) {
    populate(3000);
    rig.on_event = on_first_deletions;
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 800);
    RIG_UNTIL(&rig, rig_look(&rig).held);
    assert_int_equal(first_hold()->deletions, 800); /* of 1,600 */
    assert_int_equal(target_size(), 2201);
    live_release_all(rig.live);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void an_order_releases_no_more_deletions_than_its_hold_has_counted(void **state) {
    populate(3000);
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 1100);
    RIG_UNTIL(&rig, rig_look(&rig).held);
    DELETE_UNHEARD(1100, 2500);
    RIG_UNTIL(&rig, strcmp(redis_do(&target, "EVAL_RO \"return tonumber(redis.call('get','mark'))"
                                             "\" 0"),
                           ":2500") == 0);
    assert_int_equal(rig_look(&rig).n_holds, 1);
    assert_true(live_release(rig.live, "7-1"));
    RIG_UNTIL(&rig, rig_look(&rig).held);
    assert_string_equal(first_hold()->id, "7-2");
    assert_int_equal(first_hold()->deletions, 2500);
    assert_int_equal(target_size(), 3001);
    live_release_all(rig.live);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void a_source_that_comes_back_empty_does_not_empty_the_target(void **state) {
    redis_do(&source, "MSET a 1 b 1 c 1");
    RIG_GO_LIVE(&rig);
    redis_restart(&source, NULL);
    RIG_UNTIL(&rig, rig_look(&rig).held);
    assert_int_equal(target_size(), 3);
    assert_int_equal(first_hold()->deletions, 3);
    redis_do(&source, "SET a 2");
    RIG_UNTIL(&rig,
              strcmp(redis_do(&target, "EVAL_RO \"return tonumber(redis.call('get','a'))\" 0"),
                     ":2") == 0);
    assert_int_equal(target_size(), 3);
    live_release_all(rig.live);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void a_hold_outlives_the_run_that_made_it(void **state) {
    struct rig_memory memory;
    populate(3000);
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 1500);
    RIG_UNTIL(&rig, rig_look(&rig).held);
    rig_remember(&rig, &memory);
    rig_stop(&rig);
    rig_init(&rig);
    rig.options.epoch = 8;
    rig.memory = &memory;
    rig_start(&rig);
    assert_true(rig_look(&rig).held);
    redis_do(&source, "SET later 1");
    RIG_UNTIL(&rig, redis_do(&target, "EXISTS later")[1] == '1');
    assert_int_equal(target_size(), 3002);
    assert_no_sweep();
    assert_string_equal(first_hold()->id, "7-1");
    assert_true(live_release(rig.live, "7-1"));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
    rig_forget(&memory);
}

/* ---- a gap beside the sweep ---- */

static void keys_deleted_in_a_gap_during_the_sweep_are_found_by_another_round(void **state) {
    populate(600);
    rig.scan_count = 20;
    rig.sleep_ms = 10;
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 50);
    int before = target_scans();
    RIG_UNTIL(&rig, target_scans() > before + 15);
    DELETE_UNHEARD(50, 500);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_HELD], 0);
    rig_stop(&rig);
}

static void names_that_cannot_be_kept_pause_the_sweep_and_not_the_job(void **state) {
    populate(10);
    rig.options.spool_dir = "/nonexistent";
    RIG_GO_LIVE(&rig);
    DELETE_UNHEARD(0, 2);
    RIG_UNTIL(&rig, rig.events[EVENT_SWEEP_PAUSED] == 1);
    assert_non_null(strstr(rig.text[EVENT_SWEEP_PAUSED], "the sweep waits, the job goes on"));
    redis_do(&source, "SET later 1");
    RIG_UNTIL(&rig, redis_do(&target, "EXISTS later")[1] == '1');
    assert_false(rig_look(&rig).proved);
    assert_int_equal(target_size(), 12);
    assert_int_equal(rig.events[EVENT_SWEEP_PAUSED], 1); /* it is not tried each round */
    rig_stop(&rig);
}

/* ---- the target's own keys ---- */

/* One key that only the target has, and one that both have. */
static void give_the_target_keys(void) {
    redis_do(&source, "MSET both 1 new 1");
    redis_do(&target, "MSET own other both other");
}

static void assert_own_is_there(bool wanted) {
    assert_string_equal(redis_do(&target, "EXISTS own"), wanted ? ":1" : ":0");
}

static void a_key_that_the_job_never_copied_is_held_and_the_job_is_live(void **state) {
    give_the_target_keys();
    rig_start(&rig);
    assert_true(rig_look(&rig).census);
    RIG_CATCH_UP(&rig);
    assert_int_equal(rig.saves, 1);
    struct live_state s = rig_look(&rig);
    assert_true(s.held && s.proved && s.copied_once && !s.census);
    assert_int_equal(s.extra_keys, 1);
    assert_int_equal(first_hold()->cause, HOLD_EXTRA);
    assert_int_equal(first_hold()->deletions, 1);
    assert_string_equal(first_hold()->place, "target");
    assert_own_is_there(true);
    assert_int_equal(target_size(), 3);
    assert_true(live_release(rig.live, "7-1"));
    RIG_UNTIL(&rig, redis_do(&target, "EXISTS own")[1] == '0');
    RIG_UNTIL(&rig, rig_look(&rig).extra_keys == 0);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void extra_keep_leaves_them_without_a_hold(void **state) {
    give_the_target_keys();
    rig.options.extra = SWEEP_EXTRA_KEEP;
    RIG_GO_LIVE(&rig);
    assert_non_null(strstr(rig.text[EVENT_EXTRA], "1 keys that the source does not have stay"));
    assert_false(rig_look(&rig).held);
    redis_do(&source, CUT_FEED "DEL new");
    RIG_UNTIL(&rig, rig.events[EVENT_GAP] == 1);
    RIG_CATCH_UP(&rig); /* a sweep has passed over them */
    assert_int_equal(rig.events[EVENT_DELETED], 1);
    assert_own_is_there(true);
    assert_string_equal(redis_do(&target, "EXISTS new"), ":0");
    rig_stop(&rig);
}

static void extra_delete_deletes_them_before_the_first_copy(void **state) {
    give_the_target_keys();
    rig.options.extra = SWEEP_EXTRA_DELETE;
    RIG_GO_LIVE(&rig);
    assert_own_is_there(false);
    assert_true(rig_sides_are_equal());
    assert_false(rig_look(&rig).held);
    assert_int_equal(rig_look(&rig).extra_keys, 0);
    rig_stop(&rig);
}

static void extra_delete_deletes_no_more_than_max_delete_allows(void **state) {
    redis_do(&source, "SET a 1");
    redis_do(&target, "DEBUG POPULATE 1200 own 8");
    rig.options.extra = SWEEP_EXTRA_DELETE;
    RIG_GO_LIVE(&rig);
    assert_non_null(strstr(rig.text[EVENT_EXTRA], "more than --max-delete allows --extra delete"));
    assert_int_equal(first_hold()->deletions, 1200);
    assert_int_equal(target_size(), 1201);
    live_release_all(rig.live);
    RIG_UNTIL(&rig, target_size() == 1);
    rig_stop(&rig);
}

static void nothing_is_copied_before_the_own_keys_of_the_target_are_kept(void **state) {
    give_the_target_keys();
    rig.saves_fail = true;
    rig_start(&rig);
    RIG_UNTIL(&rig, rig.saves > 3);
    assert_string_equal(redis_do(&target, "EXISTS new"), ":0");
    assert_true(rig_look(&rig).census && !rig_look(&rig).proved);
    rig.saves_fail = false;
    RIG_CATCH_UP(&rig);
    assert_own_is_there(true);
    assert_string_equal(redis_do(&target, "EXISTS new"), ":1");
    rig_stop(&rig);
}

static void a_job_that_is_stopped_in_its_census_has_copied_nothing(void **state) {
    give_the_target_keys();
    rig.saves_fail = true;
    rig_start(&rig);
    RIG_UNTIL(&rig, rig.saves > 0);
    rig.stopping = true;
    rig_round(&rig);
    assert_true(rig.ended && !rig.stepped);
    assert_int_equal(rig.err.code, ERR_INTERRUPTED);
    rig_stop(&rig);
}

static void the_next_run_leaves_them_alone_without_another_census(void **state) {
    struct rig_memory memory;
    give_the_target_keys();
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    rig_remember(&rig, &memory);
    rig_stop(&rig);
    redis_do(&source, "DEL new");
    rig_init(&rig);
    rig.memory = &memory;
    rig_start(&rig);
    assert_false(rig_look(&rig).census);
    assert_int_equal(rig_look(&rig).extra_keys, 1);
    assert_int_equal(first_hold()->cause, HOLD_EXTRA);
    RIG_CATCH_UP(&rig);
    assert_own_is_there(true);
    assert_string_equal(redis_do(&target, "EXISTS new"), ":0");
    rig_stop(&rig);
    rig_forget(&memory);
}

static void a_later_start_decides_about_them(void **state) {
    static const enum sweep_extra decisions[] = { SWEEP_EXTRA_KEEP, SWEEP_EXTRA_DELETE };
    struct rig_memory memory;
    give_the_target_keys();
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    rig_remember(&rig, &memory);
    rig_stop(&rig);
    assert_int_equal(memory.live.n_holds, 1);
    for (int i = 0; i < 2; i++) {
        rig_init(&rig);
        rig.memory = &memory;
        rig.options.extra = decisions[i];
        rig_start(&rig);
        assert_false(rig_look(&rig).held);
        RIG_CATCH_UP(&rig);
        if (i == 0) assert_own_is_there(true);
        if (i == 1) RIG_UNTIL(&rig, redis_do(&target, "EXISTS own")[1] == '0');
        rig_stop(&rig);
    }
    rig_forget(&memory);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(few_missing_keys_of_a_known_process_are_deleted),
        RULE(many_missing_keys_within_max_delete_are_deleted),
        RULE(beyond_max_delete_deletions_wait_for_an_order_that_names_their_hold),
        RULE(deletions_of_several_gaps_before_a_proof_are_counted_together),
        RULE(an_order_releases_no_more_deletions_than_its_hold_has_counted),
        RULE(a_source_that_comes_back_empty_does_not_empty_the_target),
        RULE(a_hold_outlives_the_run_that_made_it),
        RULE(keys_deleted_in_a_gap_during_the_sweep_are_found_by_another_round),
        RULE(names_that_cannot_be_kept_pause_the_sweep_and_not_the_job),
        RULE(a_key_that_the_job_never_copied_is_held_and_the_job_is_live),
        RULE(extra_keep_leaves_them_without_a_hold),
        RULE(extra_delete_deletes_them_before_the_first_copy),
        RULE(extra_delete_deletes_no_more_than_max_delete_allows),
        RULE(nothing_is_copied_before_the_own_keys_of_the_target_are_kept),
        RULE(a_job_that_is_stopped_in_its_census_has_copied_nothing),
        RULE(a_later_start_decides_about_them),
        RULE(the_next_run_leaves_them_alone_without_another_census),
    };
    return cmocka_run_group_tests(tests, rig_setup_sides, fixture_stop_sides);
}
