/* Names of keys in a file: a name that bytes_escape() wrote is read back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "cli/key_file.h"

static void every_byte_comes_back(void **state) {
    char raw[256], text[256 * 4 + 1];
    for (int i = 0; i < 256; i++) raw[i] = (char)i;
    bytes_escape(bytes_of(raw, sizeof(raw)), text, sizeof(text));
    assert_int_equal(key_unescape(text, strlen(text)), sizeof(raw));
    assert_memory_equal(text, raw, sizeof(raw));
}

static void plain_text_stays(void **state) {
    char text[] = "user:1 \xc3\xa4";
    assert_int_equal(key_unescape(text, strlen(text)), 9);
    assert_string_equal(text, "user:1 \xc3\xa4");
    assert_int_equal(key_unescape(text, 0), 0);
}

static void wrong_escapes_are_refused(void **state) {
    const char *const wrong[] = { "a\\", "\\q", "\\x4", "\\xzz", "\\x" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[16];
        strcpy(text, wrong[i]);
        assert_int_equal(key_unescape(text, strlen(text)), -1);
    }
    char cut[] = "\\x41";
    assert_int_equal(key_unescape(cut, 3), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(plain_text_stays),
        cmocka_unit_test(wrong_escapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
