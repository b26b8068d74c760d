/* The dirty set: each move of its state machine, then a million random moves against a model that
 * is nothing but arrays, then the bound on its memory after a burst. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyset.h"

static bool name(struct keyset *set, const char *key) {
    return keyset_name(set, 0, bytes_of_str(key), 5, REASON_CHANGED);
}

static void assert_sizes(const struct keyset *set, size_t queued, size_t in_flight) {
    assert_int_equal(keyset_queued(set), queued);
    assert_int_equal(keyset_in_flight(set), in_flight);
}

static void clean_again(void **state) {
    struct keyset *set = keyset_new();
    size_t empty = keyset_memory_bytes(set);
    assert_null(keyset_peek(set));
    assert_null(keyset_take(set));
    assert_true(name(set, "k"));
    assert_false(name(set, "k"));
    assert_sizes(set, 1, 0);
    assert_true(keyset_memory_bytes(set) > empty);
    struct key_entry *e = keyset_peek(set);
    assert_int_equal(e->state, KEY_QUEUED);
    assert_ptr_equal(keyset_take(set), e);
    assert_int_equal(e->state, KEY_IN_FLIGHT);
    assert_int_equal(e->slot, 5);
    assert_true(bytes_equal_str(key_entry_bytes(e), "k"));
    assert_sizes(set, 0, 1);
    assert_false(keyset_done(set, &e));
    assert_null(e);
    assert_sizes(set, 0, 0);
    assert_int_equal(keyset_memory_bytes(set), empty);
    assert_true(name(set, "k"));
    keyset_free(&set);
    assert_null(set);
    keyset_free(&set);
}

static void dirty_in_flight_is_copied_again(void **state) {
    struct keyset *set = keyset_new();
    name(set, "k");
    struct key_entry *e = keyset_take(set);
    e->attempts = 3;
    e->data = 9;
    assert_false(name(set, "k"));
    assert_false(name(set, "k"));
    assert_int_equal(e->state, KEY_IN_FLIGHT_DIRTY);
    assert_null(keyset_take(set)); /* P2: no second copy beside the first */
    assert_true(keyset_done(set, &e));
    assert_null(e);
    assert_sizes(set, 1, 0);
    e = keyset_take(set);
    assert_int_equal(e->attempts, 0);
    assert_int_equal(e->data, 0);
    assert_int_equal(e->slot, 5);
    assert_false(keyset_done(set, &e));
    assert_sizes(set, 0, 0);
    keyset_free(&set);
}

static void requeue_keeps_what_the_user_wrote(void **state) {
    struct keyset *set = keyset_new();
    name(set, "a");
    name(set, "b");
    struct key_entry *e = keyset_take(set);
    e->attempts = 2;
    e->flags = 3;
    e->data = 4;
    e->next = e; /* the user's while in flight */
    name(set, "a");
    keyset_requeue(set, &e);
    assert_null(e);
    e = keyset_take(set);
    assert_true(bytes_equal_str(key_entry_bytes(e), "b"));
    e = keyset_take(set);
    assert_int_equal(e->state, KEY_IN_FLIGHT);
    assert_int_equal(e->attempts, 2);
    assert_int_equal(e->flags, 3);
    assert_int_equal(e->data, 4);
    keyset_free(&set);
}

static void databases_and_bytes_are_told_apart(void **state) {
    struct keyset *set = keyset_new();
    assert_true(keyset_name(set, 0, BYTES_LITERAL("k"), 0, REASON_CHANGED));
    assert_true(keyset_name(set, 1, BYTES_LITERAL("k"), 0, REASON_CHANGED));
    assert_true(keyset_name(set, 0, BYTES_LITERAL("k\0"), 0, REASON_CHANGED));
    assert_true(keyset_name(set, 0, (struct bytes){ 0 }, 0, REASON_CHANGED));
    assert_false(keyset_name(set, 1, BYTES_LITERAL("k"), 0, REASON_CHANGED));
    assert_false(keyset_name(set, 0, BYTES_LITERAL(""), 0, REASON_CHANGED));
    assert_sizes(set, 4, 0);
    assert_int_equal(keyset_take(set)->db, 0);
    assert_int_equal(keyset_take(set)->db, 1);
    keyset_free(&set);
}

static void forgets_wherever_it_stands(void **state) {
    struct keyset *set = keyset_new();
    const char *all[] = { "a", "b", "c", "d" };
    for (int i = 0; i < 4; i++) name(set, all[i]);
    assert_true(keyset_forget(set, 0, BYTES_LITERAL("c")));
    assert_true(keyset_forget(set, 0, BYTES_LITERAL("a")));
    assert_true(keyset_forget(set, 0, BYTES_LITERAL("d")));
    assert_false(keyset_forget(set, 0, BYTES_LITERAL("a")));
    assert_false(keyset_forget(set, 1, BYTES_LITERAL("b")));
    name(set, "e");
    struct key_entry *b = keyset_take(set);
    assert_true(bytes_equal_str(key_entry_bytes(b), "b"));
    assert_false(keyset_forget(set, 0, BYTES_LITERAL("b")));
    name(set, "b");
    assert_false(keyset_forget(set, 0, BYTES_LITERAL("b")));
    assert_true(bytes_equal_str(key_entry_bytes(keyset_take(set)), "e"));
    keyset_free(&set);
}

static bool name_as(struct keyset *set, const char *key, enum key_reason reason) {
    return keyset_name(set, 0, bytes_of_str(key), 5, reason);
}

static void the_stronger_of_two_reasons_counts(void **state) {
    enum {
        C = REASON_CHANGED,
        D = REASON_DELETE,
        B = REASON_BOTH_SIDES,
        R = REASON_RESYNC,
        U = REASON_IF_USED,
        M = REASON_IF_MISSING,
        G = REASON_GROUPS
    };
    static const int expected[KEY_REASONS][KEY_REASONS] = {
        { C, C, C, C, C, C, C }, { C, D, D, D, D, D, D }, { C, D, B, B, B, B, B },
        { C, D, B, R, R, B, R }, { C, D, B, R, U, B, R }, { C, D, B, B, B, M, B },
        { C, D, B, R, R, B, G },
    };
    for (int a = 0; a < KEY_REASONS; a++)
        for (int b = 0; b < KEY_REASONS; b++)
            assert_int_equal(keyset_merge_reasons((enum key_reason)a, (enum key_reason)b),
                             expected[a][b]);
}

static void two_reasons_make_a_copy(void **state) {
    struct keyset *set = keyset_new();
    name_as(set, "same", REASON_IF_USED);
    name_as(set, "same", REASON_IF_USED);
    name_as(set, "other", REASON_IF_USED);
    name_as(set, "other", REASON_IF_MISSING);
    assert_int_equal(keyset_peek(set)->reason, REASON_IF_USED);
    struct key_entry *same = keyset_take(set), *other = keyset_take(set);
    assert_int_equal(other->reason, REASON_BOTH_SIDES);
    /* In flight: a name that comes now is another obligation. */
    name_as(set, "same", REASON_IF_MISSING);
    assert_int_equal(same->reason, REASON_IF_USED);
    assert_true(keyset_done(set, &same));
    assert_int_equal(keyset_peek(set)->reason, REASON_IF_MISSING);
    /* Unless the flight failed: then one obligation stands for both. */
    same = keyset_take(set);
    name_as(set, "same", REASON_IF_USED);
    keyset_requeue(set, &same);
    assert_int_equal(keyset_peek(set)->reason, REASON_BOTH_SIDES);
    same = keyset_take(set);
    name_as(set, "same", REASON_IF_USED);
    name_as(set, "same", REASON_GROUPS);
    assert_int_equal(same->reason_again, REASON_RESYNC);
    assert_ptr_equal(keyset_find(set, 0, BYTES_LITERAL("same")), same);
    assert_null(keyset_find(set, 1, BYTES_LITERAL("same")));
    keyset_free(&set);
}

static void a_mark_waits_for_what_came_before(void **state) {
    struct keyset *set = keyset_new();
    uint32_t idle = keyset_mark(set);
    assert_true(keyset_reached(set, idle));
    name(set, "a");
    uint32_t first = keyset_mark(set);
    name(set, "b");
    uint32_t second = keyset_mark(set);
    struct key_entry *a = keyset_take(set), *b = keyset_take(set);
    name(set, "a");
    uint32_t third = keyset_mark(set);
    assert_false(keyset_done(set, &b));
    assert_false(keyset_reached(set, first)); /* a is older, and still in flight */
    assert_true(keyset_done(set, &a));
    assert_true(keyset_reached(set, first));
    assert_true(keyset_reached(set, second));
    assert_false(keyset_reached(set, third));
    a = keyset_take(set);
    name(set, "a"); /* behind the mark */
    assert_true(keyset_done(set, &a));
    assert_true(keyset_reached(set, third));
    keyset_free(&set);
}

static void a_failed_flight_keeps_the_older_epoch(void **state) {
    struct keyset *set = keyset_new();
    name(set, "a");
    uint32_t first = keyset_mark(set);
    struct key_entry *a = keyset_take(set);
    name(set, "a");
    uint32_t second = keyset_mark(set);
    keyset_requeue(set, &a);
    a = keyset_take(set);
    assert_false(keyset_reached(set, first));
    assert_false(keyset_done(set, &a));
    assert_true(keyset_reached(set, first));
    assert_true(keyset_reached(set, second));
    name(set, "b");
    uint32_t third = keyset_mark(set);
    assert_false(keyset_reached(set, third));
    assert_true(keyset_forget(set, 0, BYTES_LITERAL("b")));
    assert_true(keyset_reached(set, third));
    keyset_free(&set);
}

static void marks_alone_take_no_room(void **state) {
    struct keyset *set = keyset_new();
    name(set, "a");
    keyset_mark(set);
    size_t bytes = keyset_memory_bytes(set);
    for (int i = 0; i < 100000; i++) assert_false(keyset_reached(set, keyset_mark(set)));
    assert_int_equal(keyset_memory_bytes(set), bytes);
    keyset_free(&set);
}

/* The model: a state per key, the queue as an array in the order of naming, and the obligations
 * with the number of the mark that they precede. */
enum { KEYS = 700, MODEL_CLEAN = -1, MARKS = 64 };

struct model {
    int state[KEYS];
    int reason[KEYS], reason_again[KEYS];
    /* which mark the obligation precedes; present only in these states */
    int64_t before[KEYS], before_again[KEYS];
    int64_t n_marks, n_asked;
    uint32_t marks[MARKS]; /* as the set names them: those from n_asked to n_marks */
    struct key_entry *flying[KEYS];
    int queue[KEYS];
    int n_queued;
    int n_flying;
};

static void model_enqueue(struct model *m, int key) {
    m->state[key] = KEY_QUEUED;
    m->queue[m->n_queued++] = key;
}

static void model_unqueue(struct model *m, int at) {
    m->n_queued--;
    memmove(m->queue + at, m->queue + at + 1, (size_t)(m->n_queued - at) * sizeof(int));
}

static struct bytes key_text(int key, char *buf, size_t size) {
    return bytes_of(buf, (size_t)snprintf(buf, size, "%0*d", key % 40, key));
}

static int merged(int a, int b) {
    return (int)keyset_merge_reasons((enum key_reason)a, (enum key_reason)b);
}

static void step_name(struct keyset *set, struct model *m, int key) {
    char buf[64];
    int reason = rand() % KEY_REASONS;
    assert_int_equal(
        keyset_name(set, key % 3, key_text(key, buf, sizeof(buf)), 0, (enum key_reason)reason),
        m->state[key] == MODEL_CLEAN);
    if (m->state[key] == MODEL_CLEAN) {
        model_enqueue(m, key);
        m->reason[key] = reason;
        m->before[key] = m->n_marks;
    } else if (m->state[key] == KEY_QUEUED) {
        m->reason[key] = merged(m->reason[key], reason);
    } else if (m->state[key] == KEY_IN_FLIGHT) {
        m->state[key] = KEY_IN_FLIGHT_DIRTY;
        m->reason_again[key] = reason;
        m->before_again[key] = m->n_marks;
    } else {
        m->reason_again[key] = merged(m->reason_again[key], reason);
    }
}

static bool model_reached(const struct model *m, int64_t mark) {
    for (int key = 0; key < KEYS; key++) {
        if (m->state[key] != MODEL_CLEAN && m->before[key] <= mark) return false;
        if (m->state[key] == KEY_IN_FLIGHT_DIRTY && m->before_again[key] <= mark) return false;
    }
    return true;
}

static void step_mark(struct keyset *set, struct model *m) {
    if (m->n_marks - m->n_asked == MARKS) return;
    m->marks[m->n_marks++ % MARKS] = keyset_mark(set);
}

static void check_marks(struct keyset *set, struct model *m) {
    while (m->n_asked < m->n_marks) {
        bool reached = keyset_reached(set, m->marks[m->n_asked % MARKS]);
        assert_int_equal(reached, model_reached(m, m->n_asked));
        if (!reached) return;
        m->n_asked++;
    }
}

static void step_take(struct keyset *set, struct model *m) {
    char buf[64];
    struct key_entry *head = keyset_peek(set);
    struct key_entry *e = keyset_take(set);
    assert_ptr_equal(head, e);
    if (m->n_queued == 0) {
        assert_null(e);
        return;
    }
    int key = m->queue[0];
    model_unqueue(m, 0);
    assert_true(bytes_equal(key_entry_bytes(e), key_text(key, buf, sizeof(buf))));
    assert_int_equal(e->db, key % 3);
    assert_int_equal(e->reason, m->reason[key]);
    m->state[key] = KEY_IN_FLIGHT;
    m->flying[key] = e;
    m->n_flying++;
}

static void step_land(struct keyset *set, struct model *m, int key, bool success) {
    if (m->state[key] != KEY_IN_FLIGHT && m->state[key] != KEY_IN_FLIGHT_DIRTY) return;
    assert_int_equal(m->flying[key]->state, m->state[key]);
    bool again = !success || m->state[key] == KEY_IN_FLIGHT_DIRTY;
    if (success)
        assert_int_equal(keyset_done(set, &m->flying[key]), again);
    else
        keyset_requeue(set, &m->flying[key]);
    m->n_flying--;
    bool dirty = m->state[key] == KEY_IN_FLIGHT_DIRTY;
    if (dirty && success) m->before[key] = m->before_again[key];
    if (dirty)
        m->reason[key] =
            success ? m->reason_again[key] : merged(m->reason[key], m->reason_again[key]);
    m->state[key] = MODEL_CLEAN;
    if (again) model_enqueue(m, key);
}

static void step_forget(struct keyset *set, struct model *m, int key) {
    char buf[64];
    bool queued = m->state[key] == KEY_QUEUED;
    assert_int_equal(keyset_forget(set, key % 3, key_text(key, buf, sizeof(buf))), queued);
    if (!queued) return;
    int at = 0;
    while (m->queue[at] != key) at++;
    model_unqueue(m, at);
    m->state[key] = MODEL_CLEAN;
}

static void random_moves_follow_the_model(void **state) {
    struct keyset *set = keyset_new();
    static struct model m;
    for (int i = 0; i < KEYS; i++) m.state[i] = MODEL_CLEAN;
    for (int round = 0; round < 1000000; round++) {
        int key = rand() % KEYS;
        /* Phases, so that the set is full at times and empty at others. */
        int naming = round / 50000 % 2 == 0 ? 5 : 1;
        int move = rand() % 10;
        if (move < naming)
            step_name(set, &m, key);
        else if (move < 7)
            step_take(set, &m);
        else if (move < 9)
            step_land(set, &m, key, rand() % 6 != 0);
        else if (rand() % 8 == 0)
            step_forget(set, &m, key);
        if (rand() % 100 == 0) step_mark(set, &m);
        if (rand() % 100 == 0) check_marks(set, &m);
        assert_int_equal(keyset_queued(set), m.n_queued);
        assert_int_equal(keyset_in_flight(set), m.n_flying);
    }
    assert_true(m.n_asked > 100);
    keyset_free(&set);
}

/* Epochs are told apart by their distance alone: the first ones below zero are no different. */
static void epochs_wrap(void **state) {
    struct keyset *set = keyset_new();
    keyset_start_at(set, UINT32_MAX - 2);
    uint32_t marks[100];
    char text[8];
    for (int i = 0; i < 100; i++) {
        name(set, bytes_of(text, (size_t)snprintf(text, sizeof(text), "%d", i)).ptr);
        marks[i] = keyset_mark(set);
    }
    assert_true(marks[99] < marks[0]);
    for (int i = 0; i < 100; i++) {
        struct key_entry *e = keyset_take(set);
        assert_false(keyset_reached(set, marks[i]));
        keyset_done(set, &e);
        assert_true(keyset_reached(set, marks[i]));
        if (i < 99) assert_false(keyset_reached(set, marks[i + 1]));
    }
    keyset_free(&set);
}

static void a_burst_gives_its_memory_back(void **state) {
    struct keyset *set = keyset_new();
    size_t empty = keyset_memory_bytes(set), full;
    char buf[32];
    for (int i = 0; i < 500000; i++) {
        assert_true(keyset_name(set, 0,
                                bytes_of(buf, (size_t)snprintf(buf, sizeof(buf), "key:%d", i)), 0,
                                REASON_CHANGED));
    }
    full = keyset_memory_bytes(set);
    assert_true(full > 500000 * sizeof(struct key_entry));
    assert_true(full < (size_t)500000 * 160);
    for (int i = 0; i < 500000; i++) {
        struct key_entry *e = keyset_take(set);
        assert_true(bytes_equal(key_entry_bytes(e),
                                bytes_of(buf, (size_t)snprintf(buf, sizeof(buf), "key:%d", i))));
        assert_false(keyset_done(set, &e));
    }
    assert_sizes(set, 0, 0);
    assert_int_equal(keyset_memory_bytes(set), empty);
    keyset_free(&set);
}

static void entries_stay_where_they_are(void **state) {
    struct keyset *set = keyset_new();
    name(set, "first");
    struct key_entry *first = keyset_take(set);
    char buf[32];
    for (int i = 0; i < 10000; i++) {
        keyset_name(set, 0, bytes_of(buf, (size_t)snprintf(buf, sizeof(buf), "%d", i)), 0,
                    REASON_CHANGED);
    }
    name(set, "first");
    assert_int_equal(first->state, KEY_IN_FLIGHT_DIRTY);
    assert_true(keyset_done(set, &first));
    keyset_free(&set);
}

int main(void) {
    srand(3);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_again),
        cmocka_unit_test(dirty_in_flight_is_copied_again),
        cmocka_unit_test(requeue_keeps_what_the_user_wrote),
        cmocka_unit_test(databases_and_bytes_are_told_apart),
        cmocka_unit_test(forgets_wherever_it_stands),
        cmocka_unit_test(the_stronger_of_two_reasons_counts),
        cmocka_unit_test(two_reasons_make_a_copy),
        cmocka_unit_test(a_mark_waits_for_what_came_before),
        cmocka_unit_test(a_failed_flight_keeps_the_older_epoch),
        cmocka_unit_test(marks_alone_take_no_room),
        cmocka_unit_test(epochs_wrap),
        cmocka_unit_test(random_moves_follow_the_model),
        cmocka_unit_test(a_burst_gives_its_memory_back),
        cmocka_unit_test(entries_stay_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
