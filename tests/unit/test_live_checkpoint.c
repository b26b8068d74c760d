/* Checkpoints of a first copy between two real servers: their contents, when none is made, and
 * where the next run goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "support/live_rig.h"

enum { KEYS = 3000, PAGE = 20, SMALL = 10 };

static struct rig_memory interrupted; /* of the group's first copy */

static void init(size_t n_dbs, const struct rig_memory *memory) {
    rig_init(&rig);
    rig.dbs[1] = 1;
    rig.n_dbs = n_dbs;
    rig.memory = memory;
}

/* A scan of all keys takes more than a second, so that more than one checkpoint is made. */
static void init_slow(size_t n_dbs) {
    init(n_dbs, NULL);
    rig.scan_count = PAGE;
    rig.sleep_ms = 10;
}

static void fill(int keys) {
    rig_empty_sides();
    redis_do(&source, "DEBUG POPULATE %d key 8", keys);
}

static const struct checkpoint_cursor *cursor_of(int db) {
    struct checkpoint_view c = rig_look(&rig).checkpoint;
    for (size_t i = 0; i < c.n_cursors && c.n_base > 0; i++)
        if (c.cursors[i].db == db) return &c.cursors[i];
    return NULL;
}

/* The first copy comes as far as a checkpoint in database db, and is stopped there. */
static void copy_some(int db, struct rig_memory *memory) {
    rig_start(&rig);
    RIG_UNTIL(&rig, cursor_of(db) != NULL);
    assert_false(rig_look(&rig).copied_once);
    rig_remember(&rig, memory);
    rig_stop(&rig);
}

static void go_on(size_t n_dbs, const struct rig_memory *memory) {
    init(n_dbs, memory);
    RIG_GO_LIVE(&rig);
    assert_int_equal(rig.events[EVENT_COPIED], 1);
    assert_true(rig_sides_are_equal());
}

/* The rest behind the cursor, then all keys once more by their use. */
static void assert_went_on(void) {
    assert_non_null(strstr(rig.text[EVENT_RESYNC], "from where the last run was"));
    assert_in_range(engine_scanned(rig.engine), KEYS, 2 * KEYS - PAGE / 2);
}

/* Every key, and that once. */
static void assert_began_anew(void) {
    assert_true(engine_scanned(rig.engine) <= KEYS + KEYS / 10);
}

static void an_interrupted_first_copy_goes_on_at_its_checkpoint(void **state) {
    go_on(1, &interrupted);
    assert_went_on();
    rig_stop(&rig);
}

static void what_changed_since_the_checkpoint_is_found_also_before_the_cursor(void **state) {
    for (int i = 0; i < KEYS; i += 30) redis_do(&source, "SET key:%d changed", i);
    for (int i = 1; i < KEYS; i += 300) redis_do(&source, "DEL key:%d", i);
    go_on(1, &interrupted);
    assert_went_on();
    rig_stop(&rig);
}

static void a_cursor_of_other_slots_or_another_node_is_not_used(void **state) {
    for (int i = 0; i < 2; i++) {
        struct rig_memory other = interrupted;
        struct checkpoint_cursor cursor = interrupted.live.cursors[0];
        if (i == 0) cursor.slots++;
        if (i == 1) cursor.address[0]++;
        other.live.cursors = &cursor;
        go_on(1, &other);
        assert_began_anew();
        rig_stop(&rig);
    }
}

static void a_checkpoint_without_evidence_of_the_source_begins_anew(void **state) {
    struct rig_memory other = interrupted;
    other.live.n_base = 0;
    go_on(1, &other);
    assert_began_anew();
    assert_non_null(strstr(rig.text[EVENT_RESYNC], "every key"));
    rig_stop(&rig);
}

static void cursors_of_another_process_are_not_used(void **state) {
    redis_do(&source, "SAVE");
    redis_restart(&source, NULL);
    go_on(1, &interrupted);
    assert_began_anew();
    assert_non_null(strstr(rig.text[EVENT_RESYNC], "every key"));
    rig_stop(&rig);
    redis_do(&source, "FLUSHALL");
    redis_do(&source, "SAVE");
}

static void a_database_that_was_complete_is_scanned_by_its_use_alone(void **state) {
    struct rig_memory memory;
    rig_empty_sides();
    for (int i = 0; i < SMALL; i++) redis_do(&source, "SET small:%d text", i);
    redis_do(&source, "SELECT 1\r\nDEBUG POPULATE %d key 8", KEYS);
    init_slow(2);
    copy_some(1, &memory);
    const struct checkpoint_cursor *c = memory.live.cursors;
    bool zero_first = c[0].db == 0;
    assert_int_equal(memory.live.n_cursors, 2);
    assert_string_equal(c[zero_first ? 0 : 1].cursor, CHECKPOINT_END);
    assert_string_not_equal(c[zero_first ? 1 : 0].cursor, CHECKPOINT_END);
    go_on(2, &memory);
    assert_in_range(engine_scanned(rig.engine), KEYS + SMALL, 2 * KEYS + SMALL - PAGE / 2);
    rig_stop(&rig);
    rig_forget(&memory);
}

/* Two checkpoints are due in that time. */
static void keys_that_are_not_on_the_target_yet_are_in_no_checkpoint(void **state) {
    fill(KEYS);
    init_slow(1);
    atomic_store(&rig.may_write, false);
    rig_start(&rig);
    RIG_UNTIL(&rig, engine_scanned(rig.engine) > 0);
    int64_t until_ms = clock_mono_ms() + 1300;
    while (clock_mono_ms() < until_ms) rig_round(&rig);
    assert_int_equal(rig_look(&rig).checkpoint.n_cursors, 0);
    rig_stop(&rig);
}

/* Changes may be missing before the cursor. */
static void beside_a_gap_no_checkpoint_is_made(void **state) {
    fill(KEYS / 3);
    init_slow(1);
    rig_start(&rig);
    RIG_UNTIL(&rig, !moment_is_never(rig_look(&rig).checkpoint.at));
    redis_do(&source, "CLIENT KILL TYPE pubsub\r\nSET key:1 changed");
    struct moment cut = moment_now();
    RIG_UNTIL(&rig,
              rig_look(&rig).copied_once || rig_look(&rig).checkpoint.at.boot_us > cut.boot_us);
    assert_true(rig_look(&rig).copied_once);
    assert_true(rig_sides_are_equal());
    rig_stop(&rig);
}

static void a_complete_first_copy_has_no_checkpoint(void **state) {
    fill(KEYS);
    init_slow(1);
    rig_start(&rig);
    RIG_UNTIL(&rig, cursor_of(0) != NULL);
    RIG_UNTIL(&rig, rig_look(&rig).copied_once);
    rig_round(&rig);
    struct checkpoint_view c = rig_look(&rig).checkpoint;
    assert_true(moment_is_never(c.at));
    assert_int_equal(c.n_cursors, 0);
    assert_int_equal(c.n_base, 0);
    rig_stop(&rig);
}

static int setup(void **state) {
    log_set_level(LOG_ERROR);
    if (fixture_start_sides(state) != 0) return 1;
    fill(KEYS);
    init_slow(1);
    copy_some(0, &interrupted);
    return 0;
}

static int teardown(void **state) {
    rig_forget(&interrupted);
    return fixture_stop_sides(state);
}

#define RULE(name) cmocka_unit_test_teardown(name, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(an_interrupted_first_copy_goes_on_at_its_checkpoint),
        RULE(what_changed_since_the_checkpoint_is_found_also_before_the_cursor),
        RULE(a_cursor_of_other_slots_or_another_node_is_not_used),
        RULE(a_checkpoint_without_evidence_of_the_source_begins_anew),
        RULE(cursors_of_another_process_are_not_used),
        RULE(a_database_that_was_complete_is_scanned_by_its_use_alone),
        RULE(keys_that_are_not_on_the_target_yet_are_in_no_checkpoint),
        RULE(beside_a_gap_no_checkpoint_is_made),
        RULE(a_complete_first_copy_has_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
