/* A live job as a whole, between two real servers: how its watermark moves and stands still, when
 * the job is live, when it ends, and the state that it tells. */
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

enum { WRITES = 200 };

/* ---- the first copy ---- */

static void the_first_copy_is_followed_by_changes_as_they_happen(void **state) {
    redis_do(&source, "DEBUG POPULATE 500 key 16");
    rig_start(&rig);
    struct live_state s = rig_look(&rig);
    assert_true(!s.copied_once && !s.proved && s.nothing && moment_is_never(s.watermark));
    assert_string_equal(rig_gap(&rig, 0), "the first copy");
    RIG_UNTIL(&rig, rig_look(&rig).copied_once);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_COPIED], 1);
    redis_do(&source, "SET key:7 changed");
    redis_do(&source, "DEL key:8");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    s = rig_look(&rig);
    assert_true(s.proved && !s.nothing && !s.held && !s.drains && !s.census && !s.target_silent);
    assert_int_equal(s.gaps_opened, 0);
    assert_string_equal(rig_gap(&rig, 0), "");
    assert_int_equal(rig.events[EVENT_CLOSED], 0);
    rig_stop(&rig);
}

/* Changes are on the target already. */
static void before_the_first_copy_is_complete_there_is_no_watermark(void **state) {
    redis_do(&source, "DEBUG POPULATE 250 key 8");
    rig.scan_count = 10;
    rig.sleep_ms = 20;
    rig_start(&rig);
    RIG_UNTIL(&rig, rig.events[EVENT_RESYNC] == 1);
    redis_do(&source, "SET later 1");
    RIG_UNTIL(&rig, redis_do(&target, "EXISTS later")[1] == '1');
    struct moment from = moment_now();
    RIG_UNTIL(&rig, clock_boot_us() - from.boot_us > 50 * 1000);
    assert_false(rig_look(&rig).copied_once);
    assert_true(moment_is_never(rig_look(&rig).watermark));
    RIG_CATCH_UP(&rig);
    rig_stop(&rig);
}

/* Each write makes the value longer by one, so that its length says how many have arrived. */
static void the_watermark_never_passes_a_write_that_the_target_does_not_have(void **state) {
    int64_t written_us[WRITES];
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    for (int n = 0, before = 0; n < WRITES;) {
        if (n % 25 == 0) redis_do(&target, "CLIENT PAUSE 20 WRITE");
        redis_do(&source, "APPEND value x");
        written_us[n++] = clock_boot_us();
        rig_round(&rig);
        struct moment w = rig_look(&rig).watermark;
        int there = atoi(redis_do(&target, "STRLEN value") + 1);
        while (before < n && written_us[before] < w.boot_us) before++;
        if (there < before) fail_msg("%d writes before the watermark, %d are there", before, there);
    }
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void the_own_clock_of_the_source_at_the_watermark_is_known(void **state) {
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    struct live_state s = rig_look(&rig);
    int64_t off_us = s.source_time_us - s.watermark.wall_us; /* here both have one clock */
    assert_true(s.source_time_us > 0);
    assert_in_range(off_us + 1000000, 0, 2000000);
    rig_stop(&rig);
}

static void lag_counts_for_percentiles_once_the_job_is_live(void **state) {
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig_look(&rig).lag.max_us > 0);
    struct live_state s = rig_look(&rig);
    assert_true(s.lag.p50_us <= s.lag.p99_us && s.lag.p99_us <= s.lag.max_us);
    assert_true(s.lag.minute_max_us > 0 && s.lag.hour_max_us >= s.lag.minute_max_us);
    rig_stop(&rig);
}

static void without_the_lease_nothing_is_written_and_nothing_is_proved(void **state) {
    redis_do(&source, "SET a 1");
    atomic_store(&rig.may_write, false);
    rig_start(&rig);
    struct moment from = moment_now();
    RIG_UNTIL(&rig, rig_has_evidence(&rig) || clock_boot_us() - from.boot_us > 200 * 1000);
    assert_false(rig_look(&rig).copied_once);
    assert_string_equal(redis_do(&target, "DBSIZE"), ":0");
    atomic_store(&rig.may_write, true);
    RIG_UNTIL(&rig, rig_look(&rig).copied_once);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void liveonly_leaves_keys_that_were_there_and_follows_changes(void **state) {
    redis_do(&source, "SET old 1");
    rig.options.only = true;
    rig_start(&rig);
    assert_true(rig_look(&rig).copied_once);
    RIG_CATCH_UP(&rig);
    redis_do(&source, "SET new 1");
    RIG_CATCH_UP(&rig);
    assert_string_equal(redis_do(&target, "EXISTS new"), ":1");
    assert_string_equal(redis_do(&target, "EXISTS old"), ":0");
    rig_stop(&rig);
}

static bool target_has_pending(int n) {
    char wanted[16];
    snprintf(wanted, sizeof(wanted), ":%d", n);
    const char *reply =
        redis_do(&target, "EVAL \"return redis.pcall('xpending','s','g')[1] or 0\" 0");
    return strcmp(reply, wanted) == 0;
}

/* No change announces that a group is read. */
static void groups_of_streams_that_were_not_copied_are_followed_too(void **state) {
    static char string_type[] = "string", stream_type[] = "stream";
    char *types[] = { string_type, stream_type };
    for (int i = 1; i < 4; i++) redis_do(&source, "XADD s %d-1 f v", i);
    redis_do(&source, "XGROUP CREATE s g 0");
    rig.options.only = true;
    rig.filter.types = types;
    rig.filter.n_types = 2;
    rig.typed = true;
    RIG_GO_LIVE(&rig);
    redis_do(&source, "XREADGROUP GROUP g one COUNT 2 STREAMS s >");
    RIG_UNTIL(&rig, target_has_pending(2));
    rig_stop(&rig);
}

/* ---- gaps that lanes report ---- */

static void names_that_have_no_room_open_a_gap_and_are_found_again(void **state) {
    rig.buffer_bytes = 256 * 1024; /* half of it for names */
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    redis_do(&target, "CLIENT PAUSE 1000 WRITE");
    redis_do(&source, "EVAL \"for i=1,20000 do redis.call('set','key:'..i,i) end\" 0");
    RIG_UNTIL(&rig, rig_look(&rig).gaps_opened > 0);
    assert_string_equal(rig_gap(&rig, 0), "more changes waited than --buffer-memory allows");
    assert_false(rig_look(&rig).proved);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_CLOSED], 1);
    rig_stop(&rig);
}

/* ---- ends ---- */

static void a_stopped_job_ends_when_everything_before_the_stop_is_on_the_target(void **state) {
    RIG_GO_LIVE(&rig);
    redis_do(&target, "CLIENT PAUSE 300 WRITE");
    redis_do(&source, "SET last 1");
    rig.stopping = true;
    rig_round(&rig);
    assert_true(rig.stepped && !rig.ended);
    assert_true(rig_look(&rig).drains);
    RIG_UNTIL(&rig, rig.ended);
    assert_true(rig.stepped);
    assert_string_equal(redis_do(&target, "EXISTS last"), ":1");
    rig_stop(&rig);
}

static void a_job_stopped_in_its_first_copy_says_that_the_next_start_goes_on(void **state) {
    redis_do(&source, "SET a 1");
    atomic_store(&rig.may_write, false);
    rig_start(&rig);
    rig.stopping = true;
    rig_round(&rig);
    assert_true(rig.ended && !rig.stepped);
    assert_int_equal(rig.err.code, ERR_INTERRUPTED);
    assert_non_null(strstr(rig.err.text, "before the first copy was complete"));
    rig_stop(&rig);
}

static void a_job_stopped_beside_a_gap_does_not_claim_to_be_complete(void **state) {
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    atomic_store(&rig.may_write, false);
    redis_do(&source, "CLIENT KILL TYPE pubsub\r\nSET a 1");
    RIG_UNTIL(&rig, rig.events[EVENT_GAP] > 0);
    rig.stopping = true;
    rig_round(&rig);
    assert_true(rig.ended && !rig.stepped);
    assert_non_null(strstr(rig.err.text, "a gap was open"));
    rig_stop(&rig);
}

static void a_job_without_changes_ends_after_its_idle_time_and_not_before(void **state) {
    redis_do(&source, "SET a 1");
    rig.options.idle_timeout_ms = 300;
    rig_start(&rig);
    RIG_UNTIL(&rig, rig_look(&rig).copied_once);
    redis_do(&source, "SET a 2");
    struct moment changed = moment_now();
    RIG_UNTIL(&rig, rig.ended);
    assert_true(rig.stepped && rig_look(&rig).ended_idle);
    assert_true(clock_boot_us() - changed.boot_us >= 250 * 1000);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

/* ---- going on ---- */

static void a_stopped_job_goes_on_with_the_keys_that_changed_meanwhile(void **state) {
    struct rig_memory memory;
    redis_do(&source, "MSET a 1 b 1 c 1");
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    rig_remember(&rig, &memory);
    rig_stop(&rig);
    redis_do(&source, "SET a 2");
    redis_do(&source, "DEL b");
    rig_init(&rig);
    rig.memory = &memory;
    rig_start(&rig);
    assert_true(rig_look(&rig).copied_once);
    assert_string_equal(rig_gap(&rig, 0), "longhaul was not running");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_COPIED], 0);
    assert_non_null(strstr(rig.text[EVENT_RESYNC], "keys accessed since the gap began"));
    rig_stop(&rig);
    rig_forget(&memory);
}

static void a_job_whose_watermark_is_lost_copies_every_key_again(void **state) {
    struct rig_memory memory;
    redis_do(&source, "MSET a 1 b 1 c 1");
    RIG_GO_LIVE(&rig);
    rig_remember(&rig, &memory);
    rig_stop(&rig);
    redis_do(&target, "SET c other");
    memory.live.since = MOMENT_NEVER;
    rig_init(&rig);
    rig.memory = &memory;
    rig_start(&rig);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_non_null(strstr(rig.text[EVENT_RESYNC], "every key"));
    rig_stop(&rig);
    rig_forget(&memory);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(the_first_copy_is_followed_by_changes_as_they_happen),
        RULE(before_the_first_copy_is_complete_there_is_no_watermark),
        RULE(the_watermark_never_passes_a_write_that_the_target_does_not_have),
        RULE(the_own_clock_of_the_source_at_the_watermark_is_known),
        RULE(lag_counts_for_percentiles_once_the_job_is_live),
        RULE(without_the_lease_nothing_is_written_and_nothing_is_proved),
        RULE(liveonly_leaves_keys_that_were_there_and_follows_changes),
        RULE(groups_of_streams_that_were_not_copied_are_followed_too),
        RULE(names_that_have_no_room_open_a_gap_and_are_found_again),
        RULE(a_stopped_job_ends_when_everything_before_the_stop_is_on_the_target),
        RULE(a_job_stopped_in_its_first_copy_says_that_the_next_start_goes_on),
        RULE(a_job_stopped_beside_a_gap_does_not_claim_to_be_complete),
        RULE(a_job_without_changes_ends_after_its_idle_time_and_not_before),
        RULE(a_stopped_job_goes_on_with_the_keys_that_changed_meanwhile),
        RULE(a_job_whose_watermark_is_lost_copies_every_key_again),
    };
    return cmocka_run_group_tests(tests, rig_setup_sides, fixture_stop_sides);
}
