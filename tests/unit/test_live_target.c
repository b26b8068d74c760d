/* Writes that a real target may have lost again: another process, another history, keys that others
 * flush or that the target evicts. The record that a server holds itself says how far that server
 * is. */
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

static int empty(void **state) {
    redis_do(&target, "CONFIG SET maxmemory 0");
    return rig_setup(state);
}

static void assert_text(enum event_id id, const char *text) {
    if (strstr(rig.text[id], text) == NULL) fail_msg("%s", rig.text[id]);
}

static bool target_has(const char *key) {
    return redis_do(&target, "EXISTS %s", key)[1] == '1';
}

static const char *run_id_of_target(void) {
    const char *reply = redis_do(
        &target,
        "EVAL \"return {ok=string.match(redis.call('info','server'),'run_id:(%%w+)')}\" 0");
    return reply + 1;
}

/* ---- the identity of the servers ---- */

static void note_identity(void *ctx, const char *run_id, const char *replid) {
    assert_int_equal(strlen(replid), 40);
    snprintf(ctx, RUN_ID_MAX, "%s", run_id);
}

static void a_record_may_be_written_to_the_process_that_was_sampled(void **state) {
    char run_id[RUN_ID_MAX] = "";
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed > 0);
    assert_int_equal(rig.allowed, 1);
    assert_string_equal(rig.allowed_run_id, run_id_of_target());
    live_each_target(rig.live, note_identity, run_id);
    assert_string_equal(run_id, rig.allowed_run_id);
    assert_false(rig_look(&rig).target_silent);
    assert_int_equal(rig.silences, 0);
    rig_stop(&rig);
}

/* ---- another process ---- */

static void a_target_that_restarts_without_a_record_is_copied_whole(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    redis_restart(&target, NULL);
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    assert_text(EVENT_TARGET_LOST, "another process");
    assert_text(EVENT_TARGET_LOST, "resync of every key");
    assert_true(rig_look(&rig).nothing && !rig_look(&rig).proved);
    assert_true(moment_is_never(rig_look(&rig).watermark));
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.allowed, 2);
    assert_string_equal(rig.allowed_run_id, run_id_of_target());
    rig_stop(&rig);
}

static void a_target_that_holds_a_record_gets_what_changed_since(void **state) {
    struct rig_memory memory;
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    RIG_CATCH_UP(&rig);
    rig_remember(&rig, &memory);
    rig.record = (struct target_record){ .found = true,
                                         .watermark = memory.live.since,
                                         .base = memory.live.base,
                                         .n_base = memory.live.n_base };
    redis_do(&target, "SAVE");
    redis_do(&source, "MSET a 2 c 1");
    redis_do(&source, "DEL b");
    RIG_CATCH_UP(&rig);
    redis_restart(&target, NULL); /* with the data of the record */
    assert_true(target_has("b") && !target_has("c"));
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    assert_text(EVENT_TARGET_LOST, "the keys changed since the record that it holds");
    assert_true(rig_look(&rig).watermark.boot_us <= memory.live.since.boot_us);
    assert_false(rig_look(&rig).nothing);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_text(EVENT_RESYNC, "keys accessed since the gap began");
    rig_stop(&rig);
    rig_forget(&memory);
    redis_do(&target, "FLUSHALL");
    redis_do(&target, "SAVE");
}

/* Evidence that the record does not hold cannot be had from now. */
static void a_record_without_evidence_of_the_source_means_every_key(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    struct follow_base none = { 0 };
    rig.record = (struct target_record){ .found = true, .watermark = moment_now(), .base = &none };
    redis_restart(&target, NULL);
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_text(EVENT_RESYNC, "every key");
    rig_stop(&rig);
}

static void the_watermark_waits_for_a_record_that_cannot_be_read(void **state) {
    redis_do(&source, "SET a 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    rig.record_unreadable = true;
    redis_restart(&target, NULL);
    RIG_UNTIL(&rig, rig.records_read > 0);
    unsigned reads = rig.records_read;
    redis_do(&source, "SET b 1");
    struct moment changed = moment_now();
    RIG_UNTIL(&rig, target_has("b"));
    RIG_UNTIL(&rig, rig.records_read > reads); /* it is tried again */
    assert_true(rig_look(&rig).target_silent);
    assert_true(rig_look(&rig).watermark.boot_us < changed.boot_us);
    assert_int_equal(rig.events[EVENT_TARGET_LOST], 0);
    assert_int_equal(rig.allowed, 1);
    rig.record_unreadable = false;
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.allowed, 2);
    rig_stop(&rig);
}

static void the_same_process_that_was_silent_has_lost_nothing(void **state) {
    redis_do(&source, "SET a 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    redis_kill_clients(&target);
    RIG_UNTIL(&rig, rig.silences > 0);
    RIG_UNTIL(&rig, !rig_look(&rig).target_silent);
    redis_do(&source, "SET b 1");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_int_equal(rig.events[EVENT_TARGET_LOST], 0);
    assert_int_equal(rig.allowed, 1);
    rig_stop(&rig);
}

static void a_target_that_was_a_replica_for_a_moment_has_another_history(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    redis_do(&target, "DEL a");
    redis_do(&target, "REPLICAOF 127.0.0.1 1\r\nREPLICAOF NO ONE");
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    assert_text(EVENT_TARGET_LOST, "another history");
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

/* ---- changes of the target by others ---- */

static void a_flush_of_the_target_by_another_client_is_made_good(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    redis_do(&target, "FLUSHALL\r\nSET a other");
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    assert_text(EVENT_TARGET_LOST, "FLUSHDB, FLUSHALL or SWAPDB");
    assert_false(rig_look(&rig).proved);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    assert_text(EVENT_RESYNC, "every key");
    assert_int_equal(rig.records_read, 0);
    rig_stop(&rig);
}

static void counters_that_were_reset_hide_no_flush(void **state) {
    redis_do(&source, "MSET a 1 b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    redis_do(&target, "FLUSHALL");
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    RIG_CATCH_UP(&rig);
    redis_do(&target, "CONFIG RESETSTAT\r\nFLUSHALL\r\nSET a other");
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 2);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void a_target_that_restarts_may_lack_the_libraries_of_functions(void **state) {
    bool told = false;
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    RIG_CATCH_UP(&rig);
    live_takes_function_change(rig.live);
    RIG_CATCH_UP(&rig);
    assert_false(live_takes_function_change(rig.live));
    redis_restart(&target, NULL);
    RIG_UNTIL(&rig, told = told || live_takes_function_change(rig.live));
    assert_int_equal(rig.events[EVENT_GAP], 0); /* it was not the source */
    rig_stop(&rig);
}

static void swapped_databases_of_the_target_are_made_good(void **state) {
    rig.dbs[1] = 1;
    rig.n_dbs = 2;
    redis_do(&source, "SET a 1");
    redis_do(&source, "SELECT 1\r\nSET b 1");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    redis_do(&target, "SWAPDB 0 1");
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] == 1);
    RIG_CATCH_UP(&rig);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

/* The resync begins once no key was evicted for ten seconds. */
static void evicted_keys_open_a_gap_whose_resync_waits(void **state) {
    redis_do(&source, "DEBUG POPULATE 500 key 8");
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    RIG_CATCH_UP(&rig);
    unsigned resyncs = rig.events[EVENT_RESYNC];
    redis_do(&target, "CONFIG SET maxmemory-policy allkeys-random");
    redis_do(&target, "CONFIG SET maxmemory 1\r\nPING\r\nCONFIG SET maxmemory 0");
    RIG_UNTIL(&rig, rig.events[EVENT_EVICTED] == 1);
    assert_text(EVENT_EVICTED, "once it has stopped for 10 s");
    assert_string_equal(rig_gap(&rig, 0), "the target evicts keys");
    assert_true(rig_look(&rig).target_evicted > 0);
    assert_false(rig_look(&rig).proved);
    struct moment from = moment_now();
    RIG_UNTIL(&rig, clock_boot_us() - from.boot_us > 700 * 1000); /* past the next sample */
    assert_int_equal(rig.events[EVENT_RESYNC], resyncs);
    assert_int_equal(rig.events[EVENT_EVICTED], 1);
    assert_true(rig_look(&rig).watermark.boot_us < from.boot_us);
    rig_stop(&rig);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, empty, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(a_record_may_be_written_to_the_process_that_was_sampled),
        RULE(a_target_that_restarts_without_a_record_is_copied_whole),
        RULE(a_target_that_holds_a_record_gets_what_changed_since),
        RULE(a_record_without_evidence_of_the_source_means_every_key),
        RULE(the_watermark_waits_for_a_record_that_cannot_be_read),
        RULE(the_same_process_that_was_silent_has_lost_nothing),
        RULE(a_target_that_was_a_replica_for_a_moment_has_another_history),
        RULE(a_flush_of_the_target_by_another_client_is_made_good),
        RULE(counters_that_were_reset_hide_no_flush),
        RULE(a_target_that_restarts_may_lack_the_libraries_of_functions),
        RULE(swapped_databases_of_the_target_are_made_good),
        RULE(evicted_keys_open_a_gap_whose_resync_waits),
    };
    return cmocka_run_group_tests(tests, rig_setup_sides, fixture_stop_sides);
}
