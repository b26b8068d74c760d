/* Coverage of a cluster whose slots move: each slot is scanned at its owner, and once more where it
 * moved, or might have moved, while it was scanned. `source` has all slots but the highest one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/engine_rig.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 30000, KEYS = 500, OTHER_KEYS = 10, LAST = SLOT_COUNT - 1, QUIET_MS = 700 };

/* A rig, the names that its passes gave, and a gate at which the first name of a slot waits. */
struct told {
    struct engine_rig rig;
    _Atomic int named, named_last; /* keys; of those, in the highest slot */
    _Atomic bool gated, at_gate;
    bool gate_at_last;
    uint16_t empty; /* a slot of `source` without keys */
};

static void permit(const char *permission) {
    redis_do(&source, "ACL SETUSER default %s", permission);
    redis_do(&other_node, "ACL SETUSER default %s", permission);
}

static void on_named(void *ctx, int db, uint16_t slot) {
    struct told *t = ctx;
    t->named++;
    t->named_last += slot == LAST;
    if (t->gated && (slot == LAST) == t->gate_at_last) {
        t->at_gate = true;
        while (t->gated) usleep(1000);
    }
}

static struct coverage *forward(struct told *t) {
    return engine_coverage(t->rig.engine, COVERAGE_FORWARD);
}

static uint16_t slot_of_number(int number) {
    char text[32];
    snprintf(text, sizeof(text), "key:%d", number);
    return slot_of_key(bytes_of_str(text));
}

static uint16_t find_empty_slot(void) {
    struct slot_set used = { 0 };
    for (int i = 0; i < KEYS; i++) slot_set_add(&used, slot_of_number(i));
    uint16_t slot = 0;
    while (slot_set_has(&used, slot)) slot++;
    assert_false(slot_set_has(&used, LAST));
    return slot;
}

static const char *set(const struct redis_process *p, uint16_t slot, int number) {
    char tag[SLOT_TAG_MAX];
    return redis_do(p, "SET {%s}:%d v", slot_tag(slot, tag), number);
}

static struct told *told_begin(bool live, int scan_count, int64_t outage_timeout_ms) {
    static struct told told;
    struct told *t = &told;
    const struct coverage_rules rules = { .on_named = on_named, .ctx = t };
    told = (struct told){ .rig = ENGINE_RIG, .empty = find_empty_slot() };
    t->rig.settings.live = live;
    t->rig.settings.threads = 2;
    t->rig.settings.scan_count = scan_count;
    t->rig.settings.outage_timeout_ms = outage_timeout_ms;
    redis_do(&other_node, "FLUSHALL");
    engine_rig_new(&t->rig);
    coverage_set_rules(forward(t), &rules);
    engine_rig_begin(&t->rig);
    engine_rig_settle(&t->rig);
    redis_do(&source, "DEBUG POPULATE %d key 8", KEYS);
    for (int i = 0; i < OTHER_KEYS; i++) assert_string_equal(set(&other_node, LAST, i), "+OK");
    return t;
}

static int target_keys(void) {
    return atoi(redis_do(&target, "DBSIZE") + 1);
}

static unsigned pending(struct told *t) {
    struct slot_set set = coverage_pending(forward(t), 0);
    return slot_set_count(&set);
}

static void cover(struct told *t) {
    engine_rig_cover(&t->rig, COVERAGE_FORWARD);
}

/* Starts the passes, and waits until one has named a key of `source`, or of the highest slot. */
static void stop_at_gate(struct told *t, bool at_last) {
    t->gate_at_last = at_last;
    t->gated = true;
    engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
    assert_false(coverage_step(forward(t)));
    RUN_UNTIL(t->at_gate);
}

static void move(const struct redis_process *from, const struct redis_process *to, uint16_t slot) {
    char id[64];
    snprintf(id, sizeof(id), "%s", redis_cluster_id(from));
    assert_string_equal(redis_do(to, "CLUSTER SETSLOT %u IMPORTING %s", slot, id), "+OK");
    assert_string_equal(
        redis_do(from, "CLUSTER SETSLOT %u MIGRATING %s", slot, redis_cluster_id(to)), "+OK");
}

static void end_move(uint16_t slot) {
    redis_do(&source, "CLUSTER SETSLOT %u STABLE", slot);
    redis_do(&other_node, "CLUSTER SETSLOT %u STABLE", slot);
}

static void each_node_is_scanned_for_its_own_slots(void **state) {
    struct told *t = told_begin(false, 100, 0);
    engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
    cover(t);
    assert_int_equal(t->named, KEYS + OTHER_KEYS);
    assert_int_equal(t->named_last, OTHER_KEYS);
    assert_int_equal(target_keys(), KEYS + OTHER_KEYS);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 0);
    engine_rig_end(&t->rig);
}

static void a_slot_that_gets_another_owner_is_scanned_there_and_no_other_again(void **state) {
    struct told *t = told_begin(false, 100, 0);
    stop_at_gate(t, false);
    redis_give_slot(&source, &other_node, t->empty);
    assert_string_equal(set(&other_node, t->empty, 0), "+OK");
    t->gated = false;
    cover(t);
    assert_int_equal(target_keys(), KEYS + OTHER_KEYS + 1);
    assert_int_equal(t->named, KEYS + OTHER_KEYS + 1);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 1);
    engine_rig_end(&t->rig);
    redis_do(&other_node, "FLUSHALL");
    redis_give_slot(&other_node, &source, t->empty);
}

static void a_slot_that_is_being_moved_is_scanned_when_the_move_is_over(void **state) {
    struct told *t = told_begin(false, 100, 0);
    stop_at_gate(t, false);
    move(&source, &other_node, t->empty);
    t->gated = false;
    RUN_UNTIL((coverage_step(forward(t)), pending(t) == 1));
    for (int64_t until_ms = clock_mono_ms() + QUIET_MS; clock_mono_ms() < until_ms;) {
        assert_false(coverage_step(forward(t)));
        loop_run_once(loop, ENGINE_ROUND_MS);
    }
    assert_int_equal(engine_scan_restarts(t->rig.engine), 1); /* no scan was tried */
    assert_true(engine_takes_refresh(t->rig.engine, true));
    end_move(t->empty);
    assert_string_equal(set(&source, t->empty, 0), "+OK");
    cover(t);
    assert_int_equal(t->named, KEYS + OTHER_KEYS + 1);
    assert_int_equal(target_keys(), KEYS + OTHER_KEYS + 1);
    engine_rig_end(&t->rig);
}

static void a_move_that_does_not_end_is_an_outage(void **state) {
    struct told *t = told_begin(false, 100, 400);
    struct err err = { 0 };
    stop_at_gate(t, false);
    move(&source, &other_node, t->empty);
    t->gated = false;
    RUN_UNTIL((coverage_step(forward(t)), engine_has_failed(t->rig.engine, &err)));
    assert_int_equal(err.code, ERR_OUTAGE);
    assert_string_equal(err.place, "source");
    assert_non_null(strstr(err.text, "1 slots have been between two nodes"));
    end_move(t->empty);
    engine_rig_end(&t->rig);
}

/* The move began before the scan, and was undone while it ran. */
static void a_slot_that_was_being_moved_at_the_start_is_not_proved(void **state) {
    struct told *t = told_begin(false, 100, 0);
    move(&source, &other_node, t->empty);
    stop_at_gate(t, false);
    end_move(t->empty);
    t->gated = false;
    cover(t);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 1);
    assert_int_equal(t->named, KEYS + OTHER_KEYS); /* the slot has no keys */
    engine_rig_end(&t->rig);
}

static void a_node_that_could_not_tell_its_moves_is_scanned_again(void **state) {
    struct told *t = told_begin(false, 100, 0);
    permit("-cluster|nodes");
    stop_at_gate(t, false);
    permit("+@all");
    t->gated = false;
    cover(t);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 2); /* of both nodes */
    assert_int_equal(t->named, 2 * (KEYS + OTHER_KEYS));
    engine_rig_end(&t->rig);
}

static void a_node_that_cannot_tell_its_moves_proves_nothing(void **state) {
    struct told *t = told_begin(false, 100, 0);
    stop_at_gate(t, true);
    permit("-cluster|nodes");
    t->gated = false;
    RUN_UNTIL((coverage_judge_ended(t->rig.engine), engine_scan_restarts(t->rig.engine) == 2));
    assert_int_equal(pending(t), SLOT_COUNT);
    permit("+@all");
    cover(t);
    engine_rig_end(&t->rig);
}

/* Although the node does not answer any more. */
static void the_pass_over_a_node_that_left_ends_and_its_slots_are_scanned_elsewhere(void **state) {
    struct told *t = told_begin(false, 1, 0);
    struct err err;
    stop_at_gate(t, true);
    redis_do(&other_node, "FLUSHALL");
    redis_give_slot(&other_node, &source, LAST);
    assert_true(deployment_refresh(t->rig.sides[0], &err));
    kill(other_node.pid, SIGSTOP);
    engine_topology_changed(t->rig.engine, true);
    assert_string_equal(set(&source, LAST, OTHER_KEYS), "+OK");
    t->gated = false;
    cover(t);
    kill(other_node.pid, SIGCONT);
    assert_int_equal(target_keys(), KEYS + 1);
    assert_int_equal(engine_scan_restarts(t->rig.engine), 1);
    engine_rig_end(&t->rig);
    redis_do(&source, "FLUSHALL");
    redis_give_slot(&source, &other_node, LAST);
}

/* Such a slot holds no keys that could be read. */
static void a_slot_without_owner_is_waited_for_by_a_live_job_alone(void **state) {
    for (int live = 0; live <= 1; live++) {
        struct told *t = told_begin(live, 100, 0);
        struct err err;
        redis_do(&source, "CLUSTER DELSLOTS %u", t->empty);
        redis_do(&other_node, "CLUSTER DELSLOTS %u", t->empty);
        assert_true(deployment_refresh(t->rig.sides[0], &err));
        engine_topology_changed(t->rig.engine, true);
        engine_rig_open(&t->rig, COVERAGE_FORWARD, true);
        RUN_UNTIL(coverage_step(forward(t)) || (live && pending(t) == 1));
        assert_int_equal(coverage_step(forward(t)), !live);
        assert_false(coverage_is_complete(forward(t)));
        assert_int_equal(pending(t), 1);
        assert_string_equal(redis_do(&source, "CLUSTER ADDSLOTS %u", t->empty), "+OK");
        redis_do(&other_node, "CLUSTER SETSLOT %u NODE %s", t->empty, redis_cluster_id(&source));
        assert_true(deployment_refresh(t->rig.sides[0], &err));
        engine_topology_changed(t->rig.engine, true);
        cover(t);
        assert_true(coverage_is_complete(forward(t)));
        assert_int_equal(target_keys(), KEYS + OTHER_KEYS);
        engine_rig_end(&t->rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_is_scanned_for_its_own_slots),
        cmocka_unit_test(a_slot_that_gets_another_owner_is_scanned_there_and_no_other_again),
        cmocka_unit_test(a_slot_that_is_being_moved_is_scanned_when_the_move_is_over),
        cmocka_unit_test(a_move_that_does_not_end_is_an_outage),
        cmocka_unit_test(a_slot_that_was_being_moved_at_the_start_is_not_proved),
        cmocka_unit_test(a_node_that_could_not_tell_its_moves_is_scanned_again),
        cmocka_unit_test(a_node_that_cannot_tell_its_moves_proves_nothing),
        cmocka_unit_test(the_pass_over_a_node_that_left_ends_and_its_slots_are_scanned_elsewhere),
        cmocka_unit_test(a_slot_without_owner_is_waited_for_by_a_live_job_alone),
    };
    return cmocka_run_group_tests(tests, fixture_start_cluster_source, fixture_stop_cluster_source);
}
