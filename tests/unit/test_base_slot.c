/* Slots: the check value of the CRC, a bitwise CRC beside the table, hash tags, and sets of slots.
 * The slots of "foo", "hello" and "somekey" are those that CLUSTER KEYSLOT of redis 7.0.15
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slot.h"

static unsigned crc16_bitwise(const unsigned char *p, size_t len) {
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)p[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
        crc &= 0xffff;
    }
    return crc;
}

static void crc(void **state) {
    unsigned char data[64];
    assert_int_equal(crc16("123456789", 9), 0x31c3);
    assert_int_equal(crc16("", 0), 0);
    for (int c = 0; c < 256; c++) {
        data[0] = (unsigned char)c;
        assert_int_equal(crc16(data, 1), crc16_bitwise(data, 1));
    }
    for (int round = 0; round < 1000; round++) {
        size_t len = (size_t)rand() % sizeof(data);
        for (size_t i = 0; i < len; i++) data[i] = (unsigned char)rand();
        assert_int_equal(crc16(data, len), crc16_bitwise(data, len));
    }
}

static unsigned slot(const char *key) {
    return slot_of_key(bytes_of_str(key));
}

static void known_slots(void **state) {
    assert_int_equal(slot(""), 0);
    assert_int_equal(slot("foo"), 12182);
    assert_int_equal(slot("hello"), 866);
    assert_int_equal(slot("somekey"), 11058);
    assert_int_equal(slot_of_key((struct bytes){ 0 }), 0);
}

static void hash_tags(void **state) {
    assert_int_equal(slot("{foo}"), slot("foo"));
    assert_int_equal(slot("a{foo}b{bar}"), slot("foo"));
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_equal(slot("}{foo}"), slot("foo"));
    /* No tag: the whole key counts. */
    assert_int_equal(slot("foo{}{bar}"), crc16("foo{}{bar}", 10) & 16383);
    assert_int_equal(slot("{foo"), crc16("{foo", 4) & 16383);
    assert_int_equal(slot("foo}"), crc16("foo}", 4) & 16383);
    assert_int_equal(slot("foo{"), crc16("foo{", 4) & 16383);
    /* The closing bracket behind the end of the view is not seen. */
    assert_int_equal(slot_of_key(bytes_of("{foo}", 4)), crc16("{foo", 4) & 16383);
    assert_int_equal(slot_of_key(BYTES_LITERAL("x{a\0b}")), crc16("a\0b", 3) & 16383);
}

static void sets(void **state) {
    static struct slot_set set;
    memset(&set, 0, sizeof(set));
    slot_set_add_range(&set, 0, SLOT_COUNT - 1);
    assert_int_equal(slot_set_count(&set), SLOT_COUNT);
    slot_set_remove(&set, 64);
    assert_false(slot_set_has(&set, 64));
    assert_true(slot_set_has(&set, 63) && slot_set_has(&set, 65));
    slot_set_add(&set, 64);
    assert_int_equal(slot_set_count(&set), SLOT_COUNT);
}

static void parses(void **state) {
    struct slot_set set = { { 0 } };
    assert_true(slot_set_parse(&set, "7", "--key-slot", NULL));
    assert_true(slot_set_has(&set, 7));
    assert_true(slot_set_parse(&set, "0-2,16383,100-100", "--key-slot", NULL));
    assert_int_equal(slot_set_count(&set), 6);
    assert_true(slot_set_has(&set, 16383) && slot_set_has(&set, 100) && slot_set_has(&set, 7));
}

static void refuses(void **state) {
    const char *bad[] = { "",
                          "x",
                          "16384",
                          "-1",
                          "5-",
                          "-5",
                          "9-8",
                          "1,",
                          ",1",
                          "1,,2",
                          "1-2-3",
                          "+1",
                          "1 ",
                          "1-+2",
                          "0x1",
                          "1-16384",
                          "99999999999999999999" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct slot_set set = { { 0 } };
        struct err err = { 0 };
        if (slot_set_parse(&set, bad[i], "--key-slot", &err)) fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err.code, ERR_USAGE);
        assert_string_equal(err.place, "--key-slot");
        assert_int_equal(slot_set_count(&set), 0);
    }
    struct slot_set set = { { 0 } };
    assert_false(slot_set_parse(&set, "1-5,bad", NULL, NULL));
    assert_int_equal(slot_set_count(&set), 0);
}

static void tags(void **state) {
    char seen[SLOT_TAG_MAX], name[64];
    for (int s = 0; s < SLOT_COUNT; s++) {
        assert_int_equal(slot(slot_tag((uint16_t)s, seen)), s);
        snprintf(name, sizeof(name), "anything:{%s}", seen);
        assert_int_equal(slot(name), s);
        assert_true(strlen(seen) <= 6);
    }
    assert_string_equal(slot_tag((uint16_t)slot("0"), seen), "0");
    assert_string_equal(slot_tag((uint16_t)slot("10"), seen), "10");
}

/* Other programs, and earlier versions of this one, find the names by the same rule. */
static void tags_are_the_smallest_numbers(void **state) {
    bool met[SLOT_COUNT] = { false };
    char text[SLOT_TAG_MAX], seen[SLOT_TAG_MAX];
    int n = 0;
    for (unsigned number = 0; n < SLOT_COUNT; number++) {
        snprintf(text, sizeof(text), "%u", number);
        uint16_t s = (uint16_t)slot(text);
        if (met[s]) continue;
        met[s] = true;
        n++;
        assert_string_equal(slot_tag(s, seen), text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc),       cmocka_unit_test(known_slots),
        cmocka_unit_test(hash_tags), cmocka_unit_test(sets),
        cmocka_unit_test(parses),    cmocka_unit_test(refuses),
        cmocka_unit_test(tags),      cmocka_unit_test(tags_are_the_smallest_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
