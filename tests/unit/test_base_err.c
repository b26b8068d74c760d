/* The error table and the texts made from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/err.h"

static enum err_code code_of(const char *reply) {
    return err_code_of_reply(reply, strlen(reply));
}

static void set_and_format(void **state) {
    struct err err;
    char buf[1024];
    assert_false(err_set(&err, ERR_CONNECT, "source h:1", "refused, port %d", 1));
    assert_int_equal(err.code, ERR_CONNECT);
    assert_string_equal(err_format(&err, buf, sizeof(buf)), "source h:1: refused, port 1");
    err_set(&err, ERR_USAGE, NULL, "no place");
    assert_string_equal(err_format(&err, buf, sizeof(buf)), "no place");
    assert_string_equal(err_format(&err, buf, 4), "no ");
    err_clear(&err);
    assert_int_equal(err.code, ERR_NONE);
    assert_string_equal(err.text, "");
}

static void null_is_allowed(void **state) {
    assert_false(err_set(NULL, ERR_IO, "x", "y"));
    assert_false(err_set_errno(NULL, ERR_IO, "x", ENOENT, "y"));
    err_clear(NULL);
}

static void wraps_itself(void **state) {
    struct err err;
    err_set(&err, ERR_IO, "first", "inner");
    err_set(&err, ERR_INTERNAL, err.place, "outer: %s", err.text);
    assert_string_equal(err.place, "first");
    assert_string_equal(err.text, "outer: inner");
}

static void errno_is_named(void **state) {
    struct err err;
    err_set_errno(&err, ERR_IO, "file", ENOENT, "cannot open");
    assert_string_equal(err.text, "cannot open: No such file or directory");
}

static void control_characters_and_length(void **state) {
    struct err err;
    char longer[2 * ERR_TEXT_MAX];
    err_set(&err, ERR_SERVER, "a\x1b[31m", "b\r\nc\x7f\td");
    assert_string_equal(err.place, "a?[31m");
    assert_string_equal(err.text, "b??c??d");
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    err_set(&err, ERR_SERVER, longer, "%s", longer);
    assert_int_equal(strlen(err.place), ERR_PLACE_MAX - 1);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void replies(void **state) {
    assert_int_equal(code_of("MOVED 3999 127.0.0.1:6381"), ERR_MOVED);
    assert_int_equal(code_of("ASK 3999 127.0.0.1:6381"), ERR_ASK);
    assert_int_equal(code_of("LOADING Redis is loading the dataset in memory"), ERR_LOADING);
    assert_int_equal(code_of("NOAUTH Authentication required."), ERR_NOAUTH);
    assert_int_equal(code_of("WRONGPASS invalid username-password pair or user is disabled."),
                     ERR_WRONGPASS);
    assert_int_equal(code_of("CLUSTERDOWN Hash slot not served"), ERR_CLUSTERDOWN);
    assert_int_equal(code_of("OOM"), ERR_OOM);
    assert_int_equal(code_of("ERR unknown command 'FOO', with args beginning with: "),
                     ERR_UNKNOWN_COMMAND);
    assert_int_equal(code_of("ERR Unknown subcommand or wrong number of arguments"),
                     ERR_UNKNOWN_COMMAND);
    assert_int_equal(code_of("ERR max number of clients reached"), ERR_MAXCLIENTS);
    assert_int_equal(code_of("ERR Bad data format"), ERR_BAD_PAYLOAD);
    assert_int_equal(code_of("ERR DUMP payload version or checksum are wrong"), ERR_BAD_PAYLOAD);
    assert_int_equal(code_of("ERR syntax error"), ERR_SERVER);
    assert_int_equal(code_of("ERR"), ERR_SERVER);
}

static void replies_that_only_look_alike(void **state) {
    assert_int_equal(code_of(""), ERR_SERVER);
    assert_int_equal(code_of(" MOVED"), ERR_SERVER);
    assert_int_equal(code_of("MOVEDX 1"), ERR_SERVER);
    assert_int_equal(code_of("moved 1 a:1"), ERR_SERVER);
    assert_int_equal(code_of("BUSYGROUP Consumer Group name already exists"), ERR_SERVER);
    assert_int_equal(err_code_of_reply("MOVED 1 a:1", 4), ERR_SERVER);
    assert_int_equal(err_code_of_reply("MOVED 1 a:1", 5), ERR_MOVED);
}

static void table_is_whole(void **state) {
    for (int i = 0; i < ERR_COUNT; i++) {
        enum err_code code = (enum err_code)i;
        assert_true(strlen(err_label(code)) > 0);
        assert_true(strlen(err_sentence(code)) > 0);
        assert_in_range(err_exit_status(code), 0, 2);
        assert_in_range(err_class_of(code), ERR_CLASS_HERE, ERR_CLASS_STOP);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(err_label(code), err_label((enum err_code)j));
    }
    assert_int_equal(err_class_of(ERR_MOVED), ERR_CLASS_THERE);
    assert_int_equal(err_class_of(ERR_OOM), ERR_CLASS_WAIT);
    assert_int_equal(err_exit_status(ERR_NONE), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_and_format),
        cmocka_unit_test(null_is_allowed),
        cmocka_unit_test(wraps_itself),
        cmocka_unit_test(errno_is_named),
        cmocka_unit_test(control_characters_and_length),
        cmocka_unit_test(replies),
        cmocka_unit_test(replies_that_only_look_alike),
        cmocka_unit_test(table_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
