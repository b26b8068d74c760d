/* The parts of a transfer that need no server: its states, and the commands of each type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "copy/transfer_priv.h"

static void kinds(void **state) {
    static const char *const known[] = { "string", "list", "set", "hash", "zset", "stream" };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const struct transfer_kind *kind = transfer_kind_of(bytes_of_str(known[i]));
        assert_non_null(kind);
        assert_string_equal(value_type_name(kind->value), known[i]);
        assert_true(kind->begin != NULL && kind->go_on != NULL);
    }
    assert_null(transfer_kind_of(bytes_of_str("vectorset")));
    assert_null(transfer_kind_of(bytes_of_str("")));
}

static void every_state_can_end(void **state) {
    for (int from = 0; from < TRANSFER_STATES; from++) {
        assert_int_equal(transfer_may_move((enum transfer_state)from, TRANSFER_ENDED),
                         from != TRANSFER_ENDED);
        assert_int_equal(transfer_may_move((enum transfer_state)from, TRANSFER_AGAIN),
                         from != TRANSFER_ENDED && from != TRANSFER_AGAIN);
    }
}

static void an_end_is_final(void **state) {
    for (int to = 0; to < TRANSFER_STATES; to++)
        assert_false(transfer_may_move(TRANSFER_ENDED, (enum transfer_state)to));
}

static void a_new_attempt_starts_from_the_beginning(void **state) {
    for (int to = 0; to < TRANSFER_AGAIN; to++)
        assert_int_equal(transfer_may_move(TRANSFER_AGAIN, (enum transfer_state)to),
                         to == TRANSFER_STARTING);
}

static void nothing_is_put_in_place_before_it_is_read(void **state) {
    assert_false(transfer_may_move(TRANSFER_STARTING, TRANSFER_COMMITTING));
    assert_false(transfer_may_move(TRANSFER_WAITING, TRANSFER_COMMITTING));
    assert_false(transfer_may_move(TRANSFER_EXPECTING, TRANSFER_COMMITTING));
    assert_false(transfer_may_move(TRANSFER_LAST_READ, TRANSFER_COMMITTING));
    assert_true(transfer_may_move(TRANSFER_SEALING, TRANSFER_COMMITTING));
    assert_true(transfer_may_move(TRANSFER_CHECKING, TRANSFER_COMMITTING));
    assert_true(transfer_may_move(TRANSFER_READING, TRANSFER_COMMITTING)); /* a small value */
}

static void temporary_names_fit_and_lie_in_their_slots(void **state) {
    char name[TRANSFER_NAME_MAX];
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        size_t len = transfer_name((uint16_t)slot, name);
        assert_int_equal(len, strlen(name));
        assert_int_equal(slot_of_key(bytes_of(name, len)), slot);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(every_state_can_end),
        cmocka_unit_test(an_end_is_final),
        cmocka_unit_test(a_new_attempt_starts_from_the_beginning),
        cmocka_unit_test(nothing_is_put_in_place_before_it_is_read),
        cmocka_unit_test(temporary_names_fit_and_lie_in_their_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
