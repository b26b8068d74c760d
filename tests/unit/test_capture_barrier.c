/* The proofs that replies to ROLE give. A server with I/O threads is modelled: names of writes wait
 * for the next broadcast, replies do not. */
#include "capture/barrier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct barrier_role primary = { .known = true };

static struct barrier_role replica_at(int64_t offset) {
    return (
        struct barrier_role){ .known = true, .replica = true, .connected = true, .offset = offset };
}

static void one_reply_proves_nothing_two_prove_the_first_question(void **state) {
    struct barrier b;
    struct err err;
    barrier_reset(&b, false);
    assert_true(barrier_begin(&b, 1000, 0, &err));
    assert_int_equal(barrier_take_role(&b, &primary, &err), BARRIER_ASK_AGAIN);
    assert_int_equal(barrier_take_role(&b, &primary, &err), BARRIER_PROVED);
    assert_int_equal(b.since_us, 1000);
    assert_int_equal(b.state, BARRIER_IDLE);
}

/* Rounds of an event loop, in each of which commands are executed before or after the broadcast,
 * and answered at once (valkey 8.1 src/server.c beforeSleep()). */
static void no_write_is_passed_before_it_was_named(void **state) {
    struct barrier b;
    struct err err;
    srandom(12);
    barrier_reset(&b, false);
    int64_t now_us = 1, acked_us[8], named = 0, written = 0, proofs = 0;
    for (int round = 0; round < 100000; round++) {
        bool broadcast_first = random() % 2 == 0;
        if (broadcast_first) named = written;
        if (written - named < 8 && random() % 2 == 0) acked_us[written++ % 8] = now_us++;
        if (b.state == BARRIER_IDLE) {
            assert_true(barrier_begin(&b, now_us++, 0, &err));
        } else if (barrier_take_role(&b, &primary, &err) == BARRIER_PROVED) {
            proofs++;
            for (int64_t i = named; i < written; i++) assert_true(acked_us[i % 8] >= b.since_us);
        }
        if (!broadcast_first) named = written;
    }
    assert_true(proofs > 1000);
}

static void another_role_is_a_gap(void **state) {
    struct barrier b;
    struct err err;
    struct barrier_role role = replica_at(5);
    barrier_reset(&b, false);
    barrier_begin(&b, 1, 0, &err);
    assert_int_equal(barrier_take_role(&b, &role, &err), BARRIER_BROKEN);
}

static void a_replica_has_to_come_as_far_as_its_primary_was(void **state) {
    struct barrier b;
    struct err err;
    struct barrier_role behind = replica_at(99), there = replica_at(100);
    barrier_reset(&b, true);
    assert_true(barrier_take_feeder(&b, 7, &err));
    assert_true(barrier_begin(&b, 1, 100, &err));
    assert_int_equal(barrier_take_role(&b, &behind, &err), BARRIER_WAIT);
    assert_int_equal(b.state, BARRIER_BEGUN);
    assert_int_equal(barrier_take_role(&b, &there, &err), BARRIER_ASK_AGAIN);
    assert_true(barrier_take_feeder(&b, 7, &err));
    assert_int_equal(barrier_take_role(&b, &there, &err), BARRIER_PROVED);
}

static void a_partial_resynchronisation_is_no_gap_a_full_one_is(void **state) {
    struct barrier b;
    struct err err;
    struct barrier_role there = replica_at(100), cut = { .known = true, .replica = true };
    barrier_reset(&b, true);
    assert_true(barrier_take_feeder(&b, 7, &err));
    assert_true(barrier_begin(&b, 1, 100, &err));
    assert_int_equal(barrier_take_role(&b, &cut, &err), BARRIER_WAIT);
    assert_int_equal(b.state, BARRIER_IDLE);
    assert_true(barrier_begin(&b, 2, 100, &err));
    assert_int_equal(barrier_take_role(&b, &there, &err), BARRIER_ASK_AGAIN);
    /* the client of its primary was not there a moment ago */
    assert_true(barrier_take_feeder(&b, 0, &err));
    assert_int_equal(barrier_take_role(&b, &there, &err), BARRIER_WAIT);
    assert_true(barrier_take_feeder(&b, 7, &err));
    assert_false(barrier_take_feeder(&b, 8, &err));
}

static void a_lost_link_is_a_gap_where_clients_may_not_be_listed(void **state) {
    struct barrier b;
    struct err err;
    struct barrier_role cut = { .known = true, .replica = true };
    barrier_reset(&b, true);
    assert_true(barrier_begin(&b, 1, 100, &err));
    assert_int_equal(barrier_take_role(&b, &cut, &err), BARRIER_BROKEN);
}

static void an_offset_that_goes_backward_is_a_gap(void **state) {
    struct barrier b;
    struct err err;
    struct barrier_role there = replica_at(100), back = replica_at(90);
    barrier_reset(&b, true);
    assert_true(barrier_begin(&b, 1, 90, &err));
    assert_int_equal(barrier_take_role(&b, &there, &err), BARRIER_ASK_AGAIN);
    assert_int_equal(barrier_take_role(&b, &back, &err), BARRIER_BROKEN);
    barrier_reset(&b, true);
    assert_true(barrier_begin(&b, 1, 100, &err));
    assert_false(barrier_begin(&b, 2, 99, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_reply_proves_nothing_two_prove_the_first_question),
        cmocka_unit_test(no_write_is_passed_before_it_was_named),
        cmocka_unit_test(another_role_is_a_gap),
        cmocka_unit_test(a_replica_has_to_come_as_far_as_its_primary_was),
        cmocka_unit_test(a_partial_resynchronisation_is_no_gap_a_full_one_is),
        cmocka_unit_test(a_lost_link_is_a_gap_where_clients_may_not_be_listed),
        cmocka_unit_test(an_offset_that_goes_backward_is_a_gap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
