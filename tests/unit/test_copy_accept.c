/* copy/accept: how a dumped value travels to a target, where it is known which values its RESTORE
 * takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "copy/accept.h"

enum { STRING = 0, MODULE = 6, MODULE_2 = 7, SET_LISTPACK = 20, TO_COME = 40, BEYOND = 200 };

/* Takes versions 6 to 9; knows strings, not sets in listpacks; has never been asked about TO_COME.
 */
static struct accept old_target(bool modules) {
    struct accept accept = { .modules = modules };
    for (unsigned v = 6; v <= 9; v++) accept.version[v] = true;
    accept.type[STRING] = true;
    accept.untried[TO_COME] = accept.untried[MODULE] = accept.untried[MODULE_2] = true;
    return accept;
}

static enum accept_how how(const struct accept *accept, unsigned type, unsigned rdb,
                           unsigned *version) {
    char payload[PAYLOAD_LEN_MIN + 1] = { (char)type };
    payload[sizeof(payload) - PAYLOAD_FOOTER_LEN] = (char)(rdb & 0xff);
    payload[sizeof(payload) - PAYLOAD_FOOTER_LEN + 1] = (char)(rdb >> 8);
    *version = 0;
    return accept_how(accept, bytes_of(payload, sizeof(payload)), version);
}

static void known_encodings_travel_as_they_are_or_restamped(void **state) {
    struct accept accept = old_target(true);
    unsigned version;
    assert_int_equal(how(&accept, STRING, 9, &version), ACCEPT_AS_IS);
    assert_int_equal(how(&accept, STRING, 12, &version), ACCEPT_RESTAMPED);
    assert_int_equal(version, 9);
    assert_int_equal(how(&accept, STRING, 80, &version), ACCEPT_RESTAMPED);
    assert_int_equal(version, 9);
    assert_int_equal(how(&accept, STRING, 3, &version), ACCEPT_RESTAMPED);
    assert_int_equal(version, 6);
    assert_int_equal(how(&accept, STRING, 0xffff, &version), ACCEPT_RESTAMPED);
    assert_int_equal(version, 9);
}

static void unknown_encodings_go_by_commands(void **state) {
    struct accept accept = old_target(true);
    unsigned version;
    assert_int_equal(how(&accept, SET_LISTPACK, 9, &version), ACCEPT_COMMANDS);
    assert_int_equal(how(&accept, SET_LISTPACK, 11, &version), ACCEPT_COMMANDS);
    assert_int_equal(how(&accept, BEYOND, 9, &version), ACCEPT_COMMANDS);
    accept = (struct accept){ 0 };
    assert_int_equal(how(&accept, STRING, 9, &version), ACCEPT_COMMANDS);
}

static void untried_encodings_are_given_to_whom_takes_their_version(void **state) {
    struct accept accept = old_target(true);
    unsigned version;
    assert_int_equal(how(&accept, TO_COME, 9, &version), ACCEPT_AS_IS);
    assert_int_equal(how(&accept, TO_COME, 14, &version), ACCEPT_COMMANDS);
}

/* Servers that would exit get none, of any version. */
static void modules_only_reach_those_that_refuse_unknown_ones(void **state) {
    struct accept accept = old_target(false);
    unsigned version;
    for (unsigned rdb = 6; rdb < 100; rdb++) {
        assert_int_equal(how(&accept, MODULE, rdb, &version), ACCEPT_NEVER);
        assert_int_equal(how(&accept, MODULE_2, rdb, &version), ACCEPT_NEVER);
    }
    accept = old_target(true);
    assert_int_equal(how(&accept, MODULE_2, 9, &version), ACCEPT_AS_IS);
    assert_int_equal(how(&accept, MODULE_2, 12, &version), ACCEPT_RESTAMPED);
}

static void what_is_too_short_goes_nowhere(void **state) {
    struct accept accept = old_target(true);
    unsigned version;
    assert_int_equal(accept_how(&accept, bytes_of("\0\0\0", 3), &version), ACCEPT_NEVER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_encodings_travel_as_they_are_or_restamped),
        cmocka_unit_test(unknown_encodings_go_by_commands),
        cmocka_unit_test(untried_encodings_are_given_to_whom_takes_their_version),
        cmocka_unit_test(modules_only_reach_those_that_refuse_unknown_ones),
        cmocka_unit_test(what_is_too_short_goes_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
