/* Keys over which a target may have ended the connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "copy/suspect.h"

static const struct pool_node usual = { .is_twin = false }, twin = { .is_twin = true };

static void lose_on_usual(struct suspects *s, struct key_entry *e) {
    assert_int_equal(suspects_note_loss(s, e, &usual, 0), 0);
}

static void become_suspect(struct suspects *s, struct key_entry *e) {
    lose_on_usual(s, e);
    lose_on_usual(s, e);
    assert_true(key_is_suspect(e));
    suspects_add(s, e);
}

static void two_losses_make_a_suspect(void **state) {
    struct suspects s;
    struct key_entry small = { 0 }, large = { .data = 1 << 20 };
    suspects_init(&s);
    lose_on_usual(&s, &small);
    assert_false(key_is_suspect(&small));
    lose_on_usual(&s, &small);
    assert_true(key_is_suspect(&small));
    lose_on_usual(&s, &large); /* the likelier cause */
    assert_true(key_is_suspect(&large));
}

static void one_that_is_always_lost_alone_is_given_up(void **state) {
    struct suspects s;
    struct key_entry e = { 0 };
    int64_t now_ms = 1000;
    suspects_init(&s);
    become_suspect(&s, &e);
    for (unsigned strike = 1; strike <= SUSPECT_STRIKES_MAX; strike++) {
        assert_null(strike > 1 ? suspects_next(&s, s.not_before_ms - 1) : NULL);
        now_ms = s.not_before_ms;
        assert_ptr_equal(suspects_next(&s, now_ms), &e);
        assert_int_equal(suspects_note_loss(&s, &e, &twin, now_ms), strike);
        suspects_note_end(&s, &e, false);
        assert_true(s.not_before_ms > now_ms);
        assert_true(s.not_before_ms <= now_ms + SUSPECT_PAUSE_MAX_MS);
        suspects_add(&s, &e);
    }
    assert_int_equal(s.under_way, 0);
}

static void innocent_ones_go_on_and_more_at_a_time(void **state) {
    struct suspects s;
    struct key_entry e[8] = { 0 };
    suspects_init(&s);
    for (int i = 0; i < 8; i++) become_suspect(&s, &e[i]);
    assert_ptr_equal(suspects_next(&s, 0), &e[0]);
    assert_null(suspects_next(&s, 0));
    suspects_note_end(&s, &e[0], true);
    assert_ptr_equal(suspects_next(&s, 0), &e[1]);
    assert_ptr_equal(suspects_next(&s, 0), &e[2]);
    assert_null(suspects_next(&s, 0));
    /* Lost together: none of them is to blame yet, and the next one goes alone. */
    assert_int_equal(suspects_note_loss(&s, &e[1], &twin, 0), 0);
    suspects_note_end(&s, &e[1], false);
    assert_int_equal(suspects_note_loss(&s, &e[2], &twin, 0), 0);
    suspects_note_end(&s, &e[2], false);
    assert_ptr_equal(suspects_next(&s, 0), &e[3]);
    assert_null(suspects_next(&s, 0));
}

static void a_network_that_breaks_idle_connections_clears_strikes(void **state) {
    struct suspects s;
    struct key_entry e = { 0 };
    suspects_init(&s);
    become_suspect(&s, &e);
    for (int i = 0; i < 2 * SUSPECT_STRIKES_MAX; i++) {
        assert_ptr_equal(suspects_next(&s, s.not_before_ms), &e);
        suspects_note_down(&s); /* it carried the key */
        assert_int_equal(suspects_note_loss(&s, &e, &twin, 0), 1);
        suspects_note_end(&s, &e, false);
        suspects_add(&s, &e);
        suspects_note_down(&s); /* it carried nothing */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_losses_make_a_suspect),
        cmocka_unit_test(one_that_is_always_lost_alone_is_given_up),
        cmocka_unit_test(innocent_ones_go_on_and_more_at_a_time),
        cmocka_unit_test(a_network_that_breaks_idle_connections_clears_strikes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
