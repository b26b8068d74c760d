/* The ledger: each rule by a test, then random moves against a model that keeps for each slot the
 * list of its unproved changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "live/ledger.h"

static struct moment at(int64_t us) {
    return (struct moment){ us, us + 1000 };
}

static struct slot_set range(uint16_t first, uint16_t last) {
    struct slot_set set = { 0 };
    slot_set_add_range(&set, first, last);
    return set;
}

static struct ledger_gap gap_since(int64_t us) {
    return (struct ledger_gap){
        .since = at(us), .forward = true, .sweep = true, .place = "source", .why = "lost"
    };
}

static const struct slot_set none;

static void begin(struct ledger *l, struct slot_set slots, unsigned whole, unsigned used) {
    struct slot_set w, u;
    ledger_begin_scan(l, &slots, &w, &u);
    assert_int_equal(slot_set_count(&w), whole);
    assert_int_equal(slot_set_count(&u), used);
}

static void sweep(struct ledger *l, int64_t us) {
    struct slot_set due = ledger_sweep_due(l);
    ledger_end_sweep(l, &due, at(us));
}

static void a_gap_goes_through_scan_and_sweep_and_is_proved_by_a_later_barrier(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(10, 19), due;
    struct ledger_gap gap = gap_since(100);
    assert_true(ledger_is_proved(l));
    assert_true(moment_is_none(ledger_since(l)));
    assert_true(ledger_open_gap(l, &slots, &gap));
    assert_false(ledger_open_gap(l, &slots, &gap)); /* not the first one any more */
    assert_int_equal(ledger_state_of(l, 10), LEDGER_OPEN);
    assert_int_equal(ledger_since(l).boot_us, 100);
    assert_int_equal(ledger_since(l).wall_us, 1100);
    begin(l, slots, 0, 10);
    assert_int_equal(ledger_state_of(l, 10), LEDGER_FORWARD);
    ledger_end_scan(l, &slots, at(200)); /* still pending */
    assert_int_equal(ledger_state_of(l, 10), LEDGER_FORWARD);
    ledger_end_scan(l, &none, at(200));
    assert_int_equal(ledger_state_of(l, 10), LEDGER_SWEEP);
    due = ledger_sweep_due(l);
    assert_int_equal(slot_set_count(&due), 10);
    assert_false(ledger_prove(l, at(1000))); /* the sweep has not been made */
    ledger_end_sweep(l, &due, at(300));
    due = ledger_sweep_due(l);
    assert_int_equal(slot_set_count(&due), 0);
    assert_false(ledger_prove(l, at(300))); /* sent before it was settled */
    assert_int_equal(ledger_since(l).boot_us, 100);
    assert_true(ledger_prove(l, at(301)));
    assert_true(ledger_is_proved(l));
    assert_true(moment_is_none(ledger_since(l)));
    assert_false(ledger_prove(l, at(400)));
    ledger_free(&l);
    assert_null(l);
    ledger_free(&l);
}

static void without_a_sweep_the_scan_settles(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(0, 0);
    struct ledger_gap gap = gap_since(100);
    gap.sweep = false;
    gap.whole = true;
    ledger_open_gap(l, &slots, &gap);
    begin(l, slots, 1, 0);
    ledger_end_scan(l, &none, at(200));
    assert_int_equal(ledger_state_of(l, 0), LEDGER_FORWARD);
    ledger_end_scan(l, &none, at(900)); /* settled already: nothing changes */
    assert_true(ledger_prove(l, at(201)));
    ledger_free(&l);
}

static void only_deletions_need_no_scan(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(5, 6);
    struct ledger_gap gap = gap_since(100);
    gap.forward = false;
    ledger_open_gap(l, &slots, &gap);
    assert_int_equal(ledger_state_of(l, 5), LEDGER_OPEN);
    begin(l, slots, 0, 0);
    assert_int_equal(ledger_state_of(l, 5), LEDGER_SWEEP);
    sweep(l, 200);
    /* One more behind the sweep must be made anew. */
    ledger_open_gap(l, &slots, &gap);
    assert_false(ledger_prove(l, at(500)));
    begin(l, slots, 0, 0);
    sweep(l, 600);
    assert_true(ledger_prove(l, at(601)));
    ledger_free(&l);
}

static void only_deletions_during_a_scan_leave_the_scan_alone(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(5, 6);
    struct ledger_gap gap = gap_since(100), deletions = gap_since(150);
    gap.sweep = false;
    deletions.forward = false;
    ledger_open_gap(l, &slots, &gap);
    begin(l, slots, 0, 2);
    ledger_open_gap(l, &slots, &deletions);
    assert_int_equal(ledger_state_of(l, 5), LEDGER_FORWARD);
    ledger_end_scan(l, &none, at(200));
    assert_int_equal(ledger_state_of(l, 5), LEDGER_SWEEP);
    ledger_free(&l);
}

static void a_gap_during_a_scan_is_scanned_again(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(1, 4);
    struct ledger_gap gap = gap_since(100), later = gap_since(150);
    ledger_open_gap(l, &slots, &gap);
    begin(l, slots, 0, 4);
    later.whole = true;
    ledger_open_gap(l, &slots, &later);
    ledger_end_scan(l, &none, at(200)); /* of the first scan: it proves nothing now */
    assert_int_equal(ledger_state_of(l, 1), LEDGER_OPEN);
    assert_int_equal(ledger_since(l).boot_us, 100);
    begin(l, slots, 4, 0);
    begin(l, slots, 0, 0); /* begun already */
    ledger_end_scan(l, &none, at(300));
    sweep(l, 400);
    assert_true(ledger_prove(l, at(401)));
    ledger_free(&l);
}

static void a_gap_during_a_sweep_is_not_closed_by_it(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(1, 4);
    struct ledger_gap gap = gap_since(100);
    ledger_open_gap(l, &slots, &gap);
    begin(l, slots, 0, 4);
    ledger_end_scan(l, &none, at(200));
    ledger_open_gap(l, &slots, &gap);
    ledger_end_sweep(l, &slots, at(300));
    assert_int_equal(ledger_state_of(l, 1), LEDGER_OPEN);
    assert_false(ledger_prove(l, at(1000)));
    ledger_free(&l);
}

static void an_older_gap_moves_the_beginning_back_and_a_younger_one_does_not(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(7, 7);
    struct ledger_gap gap = gap_since(100), older = gap_since(50), younger = gap_since(500);
    ledger_open_gap(l, &slots, &gap);
    ledger_open_gap(l, &slots, &younger);
    assert_int_equal(ledger_since(l).boot_us, 100);
    ledger_open_gap(l, &slots, &older);
    assert_int_equal(ledger_since(l).boot_us, 50);
    ledger_free(&l);
}

static void slots_are_proved_each_for_itself(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set a = range(0, 9), b = range(10, 19);
    struct ledger_gap gap = gap_since(100), other = gap_since(80);
    gap.sweep = other.sweep = false;
    ledger_open_gap(l, &a, &gap);
    ledger_open_gap(l, &b, &other);
    begin(l, a, 0, 10);
    ledger_end_scan(l, &none, at(200));
    assert_false(ledger_prove(l, at(300)));
    assert_int_equal(ledger_state_of(l, 0), LEDGER_PROVED);
    assert_true(ledger_are_proved(l, &a));
    assert_false(ledger_are_proved(l, &b));
    assert_int_equal(ledger_since(l).boot_us, 80);
    ledger_free(&l);
}

static void a_hold_outlives_gaps_and_ends_by_its_release(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(0, 3), held;
    struct ledger_gap gap = gap_since(100);
    ledger_open_gap(l, &slots, &gap);
    begin(l, slots, 0, 4);
    ledger_end_scan(l, &none, at(200));
    ledger_hold(l, &slots, at(250));
    assert_int_equal(ledger_state_of(l, 0), LEDGER_HELD);
    held = ledger_slots_in(l, LEDGER_HELD);
    assert_int_equal(slot_set_count(&held), 4);
    assert_false(ledger_prove(l, at(1000)));
    ledger_open_gap(l, &slots, &gap);
    assert_int_equal(ledger_state_of(l, 0), LEDGER_OPEN);
    begin(l, slots, 0, 4);
    ledger_end_scan(l, &none, at(300));
    assert_int_equal(ledger_state_of(l, 0), LEDGER_HELD);
    held = ledger_sweep_due(l);
    assert_int_equal(slot_set_count(&held), 0);
    ledger_release(l, &slots);
    ledger_release(l, &slots); /* held no more */
    assert_int_equal(ledger_state_of(l, 0), LEDGER_SWEEP);
    sweep(l, 400);
    assert_true(ledger_prove(l, at(401)));
    ledger_free(&l);
}

static void a_hold_of_a_former_run_is_unproved_from_its_beginning(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(0, 1);
    ledger_hold(l, &slots, at(70));
    assert_int_equal(ledger_state_of(l, 0), LEDGER_HELD);
    assert_int_equal(ledger_since(l).boot_us, 70);
    ledger_free(&l);
}

static void a_release_during_a_scan_waits_for_it(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(0, 1);
    struct ledger_gap gap = gap_since(100);
    ledger_hold(l, &slots, at(70));
    ledger_open_gap(l, &slots, &gap);
    begin(l, slots, 0, 2);
    ledger_release(l, &slots);
    assert_int_equal(ledger_state_of(l, 0), LEDGER_FORWARD);
    ledger_end_scan(l, &none, at(200));
    assert_int_equal(ledger_state_of(l, 0), LEDGER_SWEEP);
    ledger_free(&l);
}

static void a_first_copy_misses_no_changes_until_a_gap(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(0, SLOT_COUNT - 1), some = range(3, 5);
    struct ledger_gap first = { .since = MOMENT_NEVER,
                                .first_copy = true,
                                .forward = true,
                                .whole = true,
                                .place = "source",
                                .why = "the first copy" };
    struct ledger_gap gap = gap_since(500);
    ledger_open_gap(l, &slots, &first);
    assert_true(moment_is_never(ledger_since(l)));
    assert_true(moment_is_none(ledger_changes_since(l)));
    assert_true(ledger_first_copy_goes_on(l));
    begin(l, slots, SLOT_COUNT, 0);
    ledger_open_gap(l, &some, &gap);
    assert_true(moment_is_never(ledger_since(l)));
    assert_int_equal(ledger_changes_since(l).boot_us, 500);
    begin(l, slots, 0, 3); /* the whole scan goes on; behind it those that were used */
    ledger_end_scan(l, &none, at(600));
    sweep(l, 700);
    assert_true(ledger_prove(l, at(701)));
    assert_false(ledger_first_copy_goes_on(l));
    ledger_free(&l);
}

static void a_database_that_came_later_is_proved_for_itself(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set slots = range(0, 1);
    struct ledger_view view;
    ledger_open_database(l, 7, at(300));
    ledger_open_database(l, 8, at(310));
    assert_false(ledger_is_proved(l));
    assert_false(ledger_are_proved(l, &slots));
    assert_int_equal(ledger_since(l).boot_us, 300);
    assert_int_equal(ledger_changes_since(l).boot_us, 300);
    assert_true(ledger_explain(l, 0, &view));
    assert_int_equal(view.since.boot_us, 300);
    assert_false(ledger_explain(l, 2, &view));
    ledger_end_database(l, 7, at(400));
    ledger_end_database(l, 7, at(900)); /* settled already */
    ledger_end_database(l, 9, at(400));
    assert_false(ledger_prove(l, at(400))); /* sent before it was settled */
    assert_int_equal(ledger_since(l).boot_us, 300);
    assert_false(ledger_prove(l, at(401)));
    assert_int_equal(ledger_since(l).boot_us, 310);
    ledger_end_database(l, 8, at(500));
    assert_false(ledger_prove(l, at(500)));
    assert_true(ledger_prove(l, at(501)));
    ledger_free(&l);
}

static void causes_are_told_the_oldest_first_and_their_places_are_used_again(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set a = range(0, 9), b = range(10, 11);
    struct ledger_gap gap = gap_since(200), other = gap_since(100);
    struct ledger_view view;
    gap.sweep = other.sweep = false;
    other.place = "10.0.0.7:6379";
    other.why = "slots moved";
    ledger_open_gap(l, &a, &gap);
    ledger_open_gap(l, &b, &other);
    assert_true(ledger_explain(l, 0, &view));
    assert_string_equal(view.place, "10.0.0.7:6379");
    assert_string_equal(view.why, "slots moved");
    assert_int_equal(view.slots, 2);
    assert_true(ledger_explain(l, 1, &view));
    assert_int_equal(view.slots, 10);
    assert_false(ledger_explain(l, 2, &view));
    begin(l, b, 0, 2);
    ledger_end_scan(l, &none, at(300));
    ledger_prove(l, at(301));
    assert_true(ledger_explain(l, 0, &view));
    assert_string_equal(view.why, "lost");
    other.why = "another one";
    ledger_open_gap(l, &b, &other);
    assert_true(ledger_explain(l, 0, &view));
    assert_string_equal(view.why, "another one");
    ledger_free(&l);
}

static void a_new_ledger_is_proved(void **state) {
    struct ledger *l = ledger_new();
    struct slot_set proved = ledger_slots_in(l, LEDGER_PROVED);
    assert_int_equal(slot_set_count(&proved), SLOT_COUNT);
    assert_false(ledger_open_gap(l, &none, &(struct ledger_gap){ .place = "", .why = "" }));
    ledger_free(&l);
}

/* ---- against a model ---- */

enum { SLOTS = 6, MOVES = 20000 };

/* The work that is not done yet about one slot. */
struct model {
    bool open; /* it is not proved */
    int64_t since;
    int scans; /* that must still end; a gap asks for one that begins after it */
    bool scanning, sweep, held, again;
    bool whole;      /* the scan that must begin reads every key, even if another gap comes */
    int64_t settled; /* 0: not */
};

static void model_gap(struct model *m, int64_t since, bool forward, bool whole, bool sweep) {
    if (!m->open) *m = (struct model){ .open = true, .since = since };
    if (since < m->since) m->since = since;
    m->settled = 0;
    if (forward) m->again = true;
    m->whole = m->whole || whole;
    m->sweep = m->sweep || sweep;
}

static int64_t model_since(const struct model *m) {
    int64_t since = INT64_MAX;
    for (int i = 0; i < SLOTS; i++)
        if (m[i].open && m[i].since < since) since = m[i].since;
    return since;
}

/* May the slot be called proved by a barrier sent at `now`? Only when nothing is left. */
static bool model_is_done(const struct model *m, int64_t passed) {
    return m->open && !m->again && !m->scanning && !m->sweep && !m->held && m->settled > 0 &&
           m->settled < passed;
}

static void random_moves_follow_the_model(void **state) {
    struct ledger *l = ledger_new();
    struct model m[SLOTS] = { 0 };
    uint64_t seed = 42;
    for (int64_t now = 1; now < MOVES; now++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int s = (int)(seed >> 33) % SLOTS, move = (int)(seed >> 40) % 8;
        struct slot_set one = range((uint16_t)s, (uint16_t)s), whole, used, pending = none, due;
        bool forward = seed >> 50 & 1, wants_sweep = seed >> 51 & 1;
        struct ledger_gap gap = gap_since(now - (int64_t)(seed >> 58));
        switch (move) {
        case 0:
            gap.forward = forward;
            gap.whole = forward && (seed >> 52 & 1);
            gap.sweep = wants_sweep || !forward;
            ledger_open_gap(l, &one, &gap);
            model_gap(&m[s], gap.since.boot_us, gap.forward, gap.whole, gap.sweep);
            break;
        case 1:
            ledger_begin_scan(l, &one, &whole, &used);
            if (m[s].open && m[s].again) {
                assert_int_equal(slot_set_count(&whole), m[s].whole);
                assert_int_equal(slot_set_count(&used), !m[s].whole);
                m[s].scanning = true;
                m[s].again = m[s].whole = false;
            } else {
                assert_int_equal(slot_set_count(&whole) + slot_set_count(&used), 0);
            }
            break;
        case 2: /* every scan but of this slot ends */
            pending = one;
            ledger_end_scan(l, &pending, at(now));
            for (int i = 0; i < SLOTS; i++) {
                if (i == s || !m[i].scanning || m[i].again) continue;
                m[i].scanning = false;
                if (!m[i].sweep && !m[i].held) m[i].settled = now;
            }
            break;
        case 3:
            due = ledger_sweep_due(l);
            for (int i = 0; i < SLOTS; i++) {
                if (!slot_set_has(&due, (uint16_t)i)) continue;
                assert_true(m[i].open && m[i].sweep && !m[i].again && !m[i].scanning && !m[i].held);
                m[i].sweep = false;
                m[i].settled = now;
            }
            ledger_end_sweep(l, &due, at(now));
            break;
        case 4:
            due = ledger_sweep_due(l);
            if (!slot_set_has(&due, (uint16_t)s)) break;
            ledger_hold(l, &one, at(now));
            m[s].held = true;
            break;
        case 5:
            ledger_release(l, &one);
            m[s].held = false;
            break;
        default:
            ledger_prove(l, at(now));
            for (int i = 0; i < SLOTS; i++)
                if (model_is_done(&m[i], now)) m[i] = (struct model){ 0 };
            break;
        }
        /* A re-opened scan: its end counts for nothing. */
        for (int i = 0; i < SLOTS; i++)
            if (m[i].again) m[i].scanning = false;
        int64_t since = ledger_since(l).boot_us;
        assert_int_equal(since, model_since(m));
        for (int i = 0; i < SLOTS; i++)
            assert_int_equal(ledger_state_of(l, (uint16_t)i) != LEDGER_PROVED, m[i].open);
    }
    ledger_free(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_goes_through_scan_and_sweep_and_is_proved_by_a_later_barrier),
        cmocka_unit_test(without_a_sweep_the_scan_settles),
        cmocka_unit_test(only_deletions_need_no_scan),
        cmocka_unit_test(only_deletions_during_a_scan_leave_the_scan_alone),
        cmocka_unit_test(a_gap_during_a_scan_is_scanned_again),
        cmocka_unit_test(a_gap_during_a_sweep_is_not_closed_by_it),
        cmocka_unit_test(an_older_gap_moves_the_beginning_back_and_a_younger_one_does_not),
        cmocka_unit_test(slots_are_proved_each_for_itself),
        cmocka_unit_test(a_hold_outlives_gaps_and_ends_by_its_release),
        cmocka_unit_test(a_hold_of_a_former_run_is_unproved_from_its_beginning),
        cmocka_unit_test(a_release_during_a_scan_waits_for_it),
        cmocka_unit_test(a_first_copy_misses_no_changes_until_a_gap),
        cmocka_unit_test(a_database_that_came_later_is_proved_for_itself),
        cmocka_unit_test(causes_are_told_the_oldest_first_and_their_places_are_used_again),
        cmocka_unit_test(a_new_ledger_is_proved),
        cmocka_unit_test(random_moves_follow_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
