/* Following a real source: gaps open where changes may have been missed, each is repaired as its
 * evidence allows, and what a source does to its databases as wholes reaches the target. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/live_rig.h"

#define CUT_FEED "CLIENT KILL TYPE pubsub\r\n"

enum { TRIES = 8 };

static int empty(void **state) {
    redis_do(&source, "CONFIG SET notify-keyspace-events \"\"");
    redis_do(&source, "CONFIG SET maxmemory-policy noeviction");
    return rig_setup(state);
}

static struct moment cut; /* when the feed had been cut */

/* Cuts the feed, makes a change before the feed can be back, and waits for the gap. */
#define CUT_AND(change)                                                                            \
    do {                                                                                           \
        unsigned gaps = rig.events[EVENT_GAP];                                                     \
        redis_do(&source, CUT_FEED "%s", change);                                                  \
        cut = moment_now();                                                                        \
        RIG_UNTIL(&rig, rig.events[EVENT_GAP] > gaps);                                             \
    } while (0)

/* One flush, as an order: nothing of it is held. */
static void expect_flush_followed(void) {
    RIG_UNTIL(&rig, rig.events[EVENT_FLUSHED] == 1);
    RIG_CATCH_UP(&rig);
    assert_string_equal(redis_do(&target, "DBSIZE"), ":0");
    assert_int_equal(rig.events[EVENT_HELD], 0);
    rig_stop(&rig);
}

static void assert_resync(const char *text) {
    if (strstr(rig.text[EVENT_RESYNC], text) == NULL) fail_msg("%s", rig.text[EVENT_RESYNC]);
}

/* A scan that takes half a second. */
static void scan_slowly(void) {
    redis_do(&source, "DEBUG POPULATE 250 key 8");
    rig.scan_count = 10;
    rig.sleep_ms = 20;
}

/* ---- a feed that was lost ---- */

static void changes_made_while_the_feed_was_cut_reach_the_target(void **state) {
    redis_do(&source, "MSET a 1 b 1 c 1");
    RIG_GO_LIVE(&rig);
    CUT_AND("SET a 2\r\nDEL b\r\nSET d 1");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_resync("keys accessed since the gap began");
    assert_int_equal(rig_look(&rig).gaps_opened, 1);
    assert_int_equal(rig.events[EVENT_CLOSED], 1);
    rig_stop(&rig);
}

/* Later changes are on the target already; what was missed is not. */
static void the_watermark_stays_where_the_gap_began_until_it_is_closed(void **state) {
    scan_slowly();
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    CUT_AND("SET a 2");
    struct ledger_view view;
    assert_true(live_explain_gap(rig.live, 0, &view));
    struct moment since = view.since;
    assert_true(since.boot_us <= cut.boot_us);
    assert_true(rig_look(&rig).watermark.boot_us <= since.boot_us);
    unsigned resyncs = rig.events[EVENT_RESYNC];
    RIG_UNTIL(&rig, rig.events[EVENT_RESYNC] > resyncs || resyncs == 2);
    redis_do(&source, "SET later 1");
    RIG_UNTIL(&rig, redis_do(&target, "EXISTS later")[1] == '1');
    assert_false(rig_look(&rig).proved);
    assert_true(rig_look(&rig).watermark.boot_us <= since.boot_us);
    RIG_CATCH_UP(&rig);
    assert_string_equal(redis_do(&target, "EXISTS a"), ":1");
    rig_stop(&rig);
}

/* Until it says that all of before is there, whether or not a gap is open. */
static void rounds_until_watermark_is_now(void) {
    struct moment now = moment_now();
    RIG_UNTIL(&rig, rig_look(&rig).watermark.boot_us > now.boot_us);
}

/* The control thread is busy elsewhere: only its timers and samples run, and the feeds go on. */
static void run_without_a_round(void) {
    int64_t until_ms = clock_mono_ms() + 3 * rig.options.poll_ms;
    while (clock_mono_ms() < until_ms) loop_run_once(loop, 5);
}

static void assert_watermark_waits_for_a_round(struct moment change) {
    run_without_a_round();
    assert_true(rig_look(&rig).watermark.boot_us <= change.boot_us);
}

static void what_feeds_have_lost_holds_the_watermark_before_anybody_takes_it_up(void **state) {
    static const char *const changes[] = { CUT_FEED "SET a 1", "FLUSHALL" };
    for (int i = 0; i < 2; i++) {
        empty(state);
        redis_do(&source, "SET b 1");
        RIG_GO_LIVE(&rig);
        RIG_CATCH_UP(&rig);
        redis_do(&source, "%s", changes[i]);
        assert_watermark_waits_for_a_round(moment_now());
        RIG_CATCH_UP(&rig);
        assert_true(rig_sides_are_equal());
        rig_stop(&rig);
    }
}

static void the_watermark_never_passes_a_change_that_nobody_heard(void **state) {
    RIG_GO_LIVE(&rig);
    for (int i = 1; i <= TRIES; i++) {
        redis_do(&source, CUT_FEED "APPEND value x");
        rounds_until_watermark_is_now();
        assert_int_equal(atoi(redis_do(&target, "STRLEN value") + 1), i);
    }
    rig_stop(&rig);
}

static void the_watermark_never_passes_a_flush_that_is_not_followed_yet(void **state) {
    RIG_GO_LIVE(&rig);
    for (int i = 0; i < TRIES; i++) {
        redis_do(&source, "MSET a 1 b 1");
        RIG_CATCH_UP(&rig);
        redis_do(&source, "FLUSHALL");
        rounds_until_watermark_is_now();
        assert_string_equal(redis_do(&target, "DBSIZE"), ":0");
    }
    rig_stop(&rig);
}

static void the_watermark_never_passes_a_key_of_a_database_that_is_not_known_yet(void **state) {
    rig.options.all_databases = true;
    RIG_GO_LIVE(&rig);
    for (int db = 1; db <= TRIES; db++) {
        redis_do(&source, "SELECT %d\r\nSET a 1", db);
        rounds_until_watermark_is_now();
        assert_string_equal(redis_do(&target,
                                     "EVAL_RO \"redis.call('select',%d) return "
                                     "redis.call('exists','a')\" 0",
                                     db),
                            ":1");
    }
    rig_stop(&rig);
}

/* A key that was idle for a hundred seconds has not changed in a gap of a moment. */
static void a_key_that_was_idle_through_the_gap_is_not_read_again(void **state) {
    redis_do(&source, "SET seed text");
    redis_do(&source, "EVAL \"return redis.call('restore','idle',0,redis.call('dump','seed'),"
                      "'IDLETIME',100)\" 0");
    rig.options.only = true;
    RIG_GO_LIVE(&rig);
    CUT_AND("SET used text");
    RIG_CATCH_UP(&rig);
    assert_resync("keys accessed since the gap began");
    assert_string_equal(redis_do(&target, "EXISTS used"), ":1");
    assert_string_equal(redis_do(&target, "EXISTS idle"), ":0");
    rig_stop(&rig);
    assert_true(stat_get(&rig.stats.unchanged) > 0);
}

static void idle_times_are_not_used_where_the_operator_or_the_source_forbids(void **state) {
    redis_do(&source, "SET a 1");
    rig.options.resync_whole = true;
    RIG_GO_LIVE(&rig);
    redis_do(&target, "SET a other");
    CUT_AND("SET b 1");
    RIG_CATCH_UP(&rig);
    assert_resync("every key (--resync full)");
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
    empty(state);
    redis_do(&source, "SET a 1");
    rig.options.capture.idle_time_allowed = false;
    RIG_GO_LIVE(&rig);
    redis_do(&target, "SET a other");
    CUT_AND("SET b 1");
    RIG_CATCH_UP(&rig);
    assert_resync("every key (the source refuses OBJECT IDLETIME)");
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void an_eviction_policy_that_changes_in_the_gap_spoils_idle_times(void **state) {
    redis_do(&source, "SET a 1");
    RIG_GO_LIVE(&rig);
    redis_do(&target, "SET a other");
    CUT_AND("CONFIG SET maxmemory-policy allkeys-lfu");
    RIG_CATCH_UP(&rig);
    assert_resync("every key (");
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void idle_times_that_are_spoilt_during_the_scan_are_given_up(void **state) {
    scan_slowly();
    rig.options.only = true;
    RIG_GO_LIVE(&rig);
    CUT_AND("SET b 1");
    RIG_UNTIL(&rig, rig.events[EVENT_RESYNC] == 1);
    assert_resync("keys accessed since the gap began");
    redis_do(&source, "CONFIG SET maxmemory-policy allkeys-lfu");
    RIG_UNTIL(&rig, rig.events[EVENT_RESYNC] == 2);
    assert_resync("every key (");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_RESYNC], 2);
    rig_stop(&rig);
}

/* Every sample says that there are no idle times. The scan takes longer than the time between
 * two. */
static void a_source_that_keeps_frequencies_is_read_whole_and_once(void **state) {
    redis_do(&source, "CONFIG SET maxmemory-policy allkeys-lfu");
    scan_slowly();
    rig.options.only = true;
    RIG_GO_LIVE(&rig);
    CUT_AND("SET b 1");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_RESYNC], 1);
    assert_resync("every key (");
    rig_stop(&rig);
}

/* ---- another process or history ---- */

static void a_source_that_restarts_with_its_data_is_read_whole(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    redis_do(&target, "SET a other");
    redis_do(&source, "SAVE");
    redis_restart(&source, NULL);
    redis_do(&source, "SET c 1");
    RIG_UNTIL(&rig, rig.events[EVENT_GAP] > 0);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_resync("every key (the process or the slots are others)");
    assert_int_equal(rig.events[EVENT_HELD], 0);
    rig_stop(&rig);
    redis_do(&source, "FLUSHALL");
    redis_do(&source, "SAVE");
}

/* No barrier notices: the process is a primary again before it is asked for its role. */
static void a_source_that_was_a_replica_for_a_moment_is_another_dataset(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    redis_do(&target, "SET a other");
    redis_do(&source, "REPLICAOF 127.0.0.1 1\r\nREPLICAOF NO ONE");
    RIG_UNTIL(&rig, rig.events[EVENT_GAP] > 0);
    assert_non_null(strstr(rig.text[EVENT_GAP], "role or history"));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void a_process_that_no_evidence_names_has_its_deletions_counted_first(void **state) {
    struct rig_memory memory;
    redis_do(&source, "MSET a 1 b 1 c 1");
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    rig_remember(&rig, &memory);
    rig_stop(&rig);
    memory.live.n_base = 0;
    redis_do(&source, "DEL a b");
    rig_init(&rig);
    rig.memory = &memory;
    rig_start(&rig);
    RIG_UNTIL(&rig, rig.events[EVENT_HELD] == 1);
    assert_string_equal(redis_do(&target, "DBSIZE"), ":3");
    assert_false(rig_has_evidence(&rig)); /* of which nothing is recorded meanwhile */
    live_release_all(rig.live);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    RIG_UNTIL(&rig, rig_has_evidence(&rig));
    rig_stop(&rig);
    evidence_fini(&memory.evidence[0]);
    rig_forget(&memory);
}

/* ---- databases as wholes ---- */

static void a_flush_of_the_source_is_followed_however_many_keys_it_takes(void **state) {
    redis_do(&source, "DEBUG POPULATE 3000 key 8");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "FLUSHALL");
    expect_flush_followed();
}

static void a_flush_that_nobody_listened_to_is_found_by_its_counter(void **state) {
    redis_do(&source, "DEBUG POPULATE 3000 key 8");
    RIG_GO_LIVE(&rig);
    CUT_AND("FLUSHALL");
    expect_flush_followed();
}

static void a_flush_that_a_sample_saw_before_the_loss_was_known_is_followed_too(void **state) {
    redis_do(&source, "DEBUG POPULATE 3000 key 8");
    RIG_GO_LIVE(&rig);
    redis_do(&source, CUT_FEED "FLUSHALL");
    run_without_a_round();
    expect_flush_followed();
}

/* That it was a flush which took the keys nothing shows. */
static void missing_keys_of_a_database_that_is_not_empty_are_no_order(void **state) {
    redis_do(&source, "DEBUG POPULATE 3000 key 8");
    RIG_GO_LIVE(&rig);
    CUT_AND("FLUSHALL\r\nSET a 1");
    RIG_UNTIL(&rig, rig_look(&rig).held);
    assert_int_equal(rig.events[EVENT_FLUSHED], 0);
    assert_string_equal(redis_do(&target, "DBSIZE"), ":3001");
    rig_stop(&rig);
}

static void a_flush_of_one_database_leaves_the_others_alone(void **state) {
    rig.dbs[1] = 1;
    rig.n_dbs = 2;
    redis_do(&source, "SET a 1");
    redis_do(&source, "SELECT 1\r\nSET b 1");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "SELECT 1\r\nFLUSHDB");
    RIG_UNTIL(&rig, rig.events[EVENT_FLUSHED] == 1);
    assert_non_null(strstr(rig.text[EVENT_FLUSHED], "database 1 was emptied"));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_string_equal(redis_do(&target, "EXISTS a"), ":1");
    rig_stop(&rig);
}

static void swapped_databases_are_swapped_on_the_target_too(void **state) {
    rig.dbs[1] = 1;
    rig.n_dbs = 2;
    redis_do(&source, "MSET a 1 b 1");
    redis_do(&source, "SELECT 1\r\nSET c 1");
    RIG_GO_LIVE(&rig);
    assert_true(rig_sides_are_equal());
    redis_do(&source, "SWAPDB 0 1");
    RIG_UNTIL(&rig, rig.events[EVENT_SWAPPED] == 1);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void counters_that_were_reset_hide_no_swap(void **state) {
    rig.dbs[1] = 1;
    rig.n_dbs = 2;
    redis_do(&source, "SET a 1");
    redis_do(&source, "SELECT 1\r\nSET b 1");
    redis_do(&source, "CONFIG RESETSTAT"); /* no swap is counted before, none behind */
    RIG_GO_LIVE(&rig);
    redis_do(&source, "SWAPDB 0 1\r\nCONFIG RESETSTAT");
    RIG_UNTIL(&rig, rig.events[EVENT_SWAPPED] == 1);
    assert_non_null(strstr(rig.text[EVENT_SWAPPED], "cannot be excluded"));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void a_database_that_comes_into_use_is_copied(void **state) {
    rig.options.all_databases = true;
    redis_do(&source, "SET a 1");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "SELECT 5\r\nMSET b 1 c 1");
    RIG_UNTIL(&rig, rig.events[EVENT_DATABASE] == 1);
    assert_non_null(strstr(rig.text[EVENT_DATABASE], "database 5"));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    redis_do(&source, "SELECT 5\r\nSET b 2");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_DATABASE], 1);
    rig_stop(&rig);
}

/* ---- what no capture announces ---- */

static const char *pending(const struct redis_process *server_of) {
    return redis_do(server_of, "EVAL \"return redis.call('xpending','s','g')[1]\" 0");
}

static void consumer_groups_that_change_are_copied_within_a_poll(void **state) {
    for (int i = 1; i < 4; i++) redis_do(&source, "XADD s %d-1 f v", i);
    redis_do(&source, "XGROUP CREATE s g 0");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "XREADGROUP GROUP g one COUNT 3 STREAMS s >");
    RIG_UNTIL(&rig, strcmp(pending(&target), ":3") == 0);
    redis_do(&source, "XACK s g 1-1 2-1");
    RIG_UNTIL(&rig, strcmp(pending(&target), ":1") == 0);
    rig_stop(&rig);
}

static void a_library_of_functions_that_may_have_changed_is_told_once(void **state) {
    RIG_GO_LIVE(&rig);
    unsigned before = rig.function_changes;
    RIG_CATCH_UP(&rig);
    assert_int_equal(rig.function_changes, before);
    redis_do(&source, "FUNCTION FLUSH");
    RIG_UNTIL(&rig, rig.function_changes > before);
    RIG_CATCH_UP(&rig);
    assert_int_equal(rig.function_changes, before + 1);
    CUT_AND("PING"); /* libraries of the time in which nobody listened are not counted */
    RIG_UNTIL(&rig, rig.function_changes > before + 1);
    before = rig.function_changes;
    RIG_CATCH_UP(&rig);
    assert_int_equal(rig.function_changes, before);
    rig_stop(&rig);
}

static void the_watermark_stays_before_a_library_that_is_not_copied_yet(void **state) {
    RIG_GO_LIVE(&rig);
    RIG_CATCH_UP(&rig);
    unsigned before = rig.function_changes;
    rig.functions_wait = true;
    redis_do(&source, "FUNCTION FLUSH");
    struct moment flushed = moment_now();
    RIG_UNTIL(&rig, rig.function_changes > before);
    RIG_UNTIL(&rig, clock_boot_us() > flushed.boot_us + 300 * 1000);
    assert_true(rig_look(&rig).watermark.boot_us < flushed.boot_us);
    rig.functions_wait = false;
    RIG_CATCH_UP(&rig);
    rig_stop(&rig);
}

/* DEBUG DIGEST passes over groups and counters. */
static bool streams_are_equal(void) {
    static const char stream[] =
        "EVAL \"return redis.call('exists','s') == 0 and 'none' or "
        "redis.call('xinfo','stream','s')[8]..'/'..redis.call('xpending','s','g')[1]\" 0";
    char of_source[64];
    snprintf(of_source, sizeof(of_source), "%s", redis_do(&source, "%s", stream));
    return strcmp(of_source, redis_do(&target, "%s", stream)) == 0;
}

/* Samples are seldom, so that a watermark that waits for none of them is far ahead of them. */
static void assert_watermark_waits_for(const char *command) {
    RIG_CATCH_UP(&rig);
    redis_do(&source, "%s", command);
    RIG_CATCH_UP(&rig);
    if (!rig_sides_are_equal() || !streams_are_equal())
        fail_msg("the watermark did not wait for %s", command);
}

static void the_watermark_waits_for_commands_that_no_capture_announces(void **state) {
    rig.options.poll_ms = 2000;
    rig.dbs[1] = 1;
    rig.n_dbs = 2;
    for (int i = 1; i < 9; i++) redis_do(&source, "XADD s %d-1 f v", i);
    redis_do(&source, "XGROUP CREATE s g 0");
    redis_do(&source, "SELECT 1\r\nMSET b 1 c 1");
    RIG_GO_LIVE(&rig);
    assert_watermark_waits_for("XREADGROUP GROUP g one COUNT 8 STREAMS s >");
    assert_watermark_waits_for("MULTI\r\nXACK s g 1-1\r\nEXEC");
    assert_watermark_waits_for("EVAL \"return redis.call('xack','s','g','2-1')\" 0");
    assert_watermark_waits_for("XSETID s 99-1");
    assert_watermark_waits_for("MULTI\r\nSWAPDB 0 1\r\nEXEC");
    assert_watermark_waits_for("EVAL \"return redis.call('swapdb',0,1)\" 0");
    assert_watermark_waits_for("SWAPDB 0 1");
    rig_stop(&rig);
}

/* ---- notifications ---- */

static void by_notifications_changes_reach_the_target_in_their_databases(void **state) {
    redis_do(&source, "CONFIG SET notify-keyspace-events KEA");
    rig.options.capture.kind = FEED_NOTIFICATIONS;
    rig.options.all_databases = true;
    redis_do(&source, "SET a 1");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "SET a 2");
    redis_do(&source, "SELECT 3\r\nSET b 1");
    RIG_UNTIL(&rig, rig.events[EVENT_DATABASE] == 1);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void by_notifications_a_flush_is_found_by_its_counter(void **state) {
    redis_do(&source, "CONFIG SET notify-keyspace-events KEA");
    rig.options.capture.kind = FEED_NOTIFICATIONS;
    redis_do(&source, "DEBUG POPULATE 3000 key 8");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "FLUSHALL");
    expect_flush_followed();
}

static void notifications_that_are_switched_off_open_a_gap_that_says_so(void **state) {
    redis_do(&source, "CONFIG SET notify-keyspace-events KEA");
    rig.options.capture.kind = FEED_NOTIFICATIONS;
    redis_do(&source, "SET a 1");
    RIG_GO_LIVE(&rig);
    redis_do(&source, "CONFIG SET notify-keyspace-events \"\"");
    redis_do(&source, "SET a 2");
    RIG_UNTIL(&rig, rig.events[EVENT_WAITING] > 0);
    assert_false(rig_look(&rig).proved);
    assert_non_null(strstr(rig_gap(&rig, 0), "notify-keyspace-events"));
    redis_do(&source, "CONFIG SET notify-keyspace-events KEA");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, empty, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(changes_made_while_the_feed_was_cut_reach_the_target),
        RULE(the_watermark_stays_where_the_gap_began_until_it_is_closed),
        RULE(what_feeds_have_lost_holds_the_watermark_before_anybody_takes_it_up),
        RULE(the_watermark_never_passes_a_change_that_nobody_heard),
        RULE(the_watermark_never_passes_a_flush_that_is_not_followed_yet),
        RULE(the_watermark_never_passes_a_key_of_a_database_that_is_not_known_yet),
        RULE(a_key_that_was_idle_through_the_gap_is_not_read_again),
        RULE(idle_times_are_not_used_where_the_operator_or_the_source_forbids),
        RULE(an_eviction_policy_that_changes_in_the_gap_spoils_idle_times),
        RULE(idle_times_that_are_spoilt_during_the_scan_are_given_up),
        RULE(a_source_that_keeps_frequencies_is_read_whole_and_once),
        RULE(a_source_that_restarts_with_its_data_is_read_whole),
        RULE(a_source_that_was_a_replica_for_a_moment_is_another_dataset),
        RULE(a_process_that_no_evidence_names_has_its_deletions_counted_first),
        RULE(a_flush_of_the_source_is_followed_however_many_keys_it_takes),
        RULE(a_flush_that_nobody_listened_to_is_found_by_its_counter),
        RULE(a_flush_that_a_sample_saw_before_the_loss_was_known_is_followed_too),
        RULE(missing_keys_of_a_database_that_is_not_empty_are_no_order),
        RULE(a_flush_of_one_database_leaves_the_others_alone),
        RULE(swapped_databases_are_swapped_on_the_target_too),
        RULE(counters_that_were_reset_hide_no_swap),
        RULE(a_database_that_comes_into_use_is_copied),
        RULE(consumer_groups_that_change_are_copied_within_a_poll),
        RULE(a_library_of_functions_that_may_have_changed_is_told_once),
        RULE(the_watermark_stays_before_a_library_that_is_not_copied_yet),
        RULE(the_watermark_waits_for_commands_that_no_capture_announces),
        RULE(by_notifications_changes_reach_the_target_in_their_databases),
        RULE(by_notifications_a_flush_is_found_by_its_counter),
        RULE(notifications_that_are_switched_off_open_a_gap_that_says_so),
    };
    return cmocka_run_group_tests(tests, rig_setup_sides, fixture_stop_sides);
}
