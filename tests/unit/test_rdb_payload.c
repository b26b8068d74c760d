/* The envelope: CRC64 in both ways of computing it, checking, re-stamping, names of modules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/crc64.h"
#include "rdb/payload.h"
#include "support/rdb_values.h"

static void crc_vectors(void **state) {
    static const char lorem[] = "The quick brown fox jumps over the lazy dog";
    assert_true(crc64(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64_by_table(0, "123456789", 9) == UINT64_C(0xe9c6d914c4b8d9ca));
    assert_true(crc64(0, "", 0) == 0);
    assert_true(crc64_by_table(0, "", 0) == 0);
    assert_true(crc64(0, lorem, sizeof(lorem)) == crc64_by_table(0, lorem, sizeof(lorem)));
}

/* One bit at a time, as the definition says. */
static uint64_t crc_by_bit(uint64_t crc, const unsigned char *p, size_t len) {
    for (; len > 0; p++, len--) {
        crc ^= *p;
        for (int i = 0; i < 8; i++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ UINT64_C(0x95ac9329ac4bc9b5) : crc >> 1;
    }
    return crc;
}

static void crc_any_length_and_cut(void **state) {
    unsigned char data[700];
    srand(7);
    for (size_t i = 0; i < sizeof(data); i++) data[i] = (unsigned char)rand();
    for (size_t start = 0; start < 9; start++) {
        for (size_t len = 0; len + start <= sizeof(data); len += 1 + len / 16) {
            uint64_t wanted = crc_by_bit(0, data + start, len);
            assert_true(crc64(0, data + start, len) == wanted);
            assert_true(crc64_by_table(0, data + start, len) == wanted);
            size_t cut = len / 3;
            assert_true(crc64(crc64(0, data + start, cut), data + start + cut, len - cut) ==
                        wanted);
            assert_true(crc64_by_table(crc64_by_table(0, data + start, cut), data + start + cut,
                                       len - cut) == wanted);
        }
    }
}

static void check_one(void *ctx, const char *server, const char *name, struct bytes payload,
                      json_t *expected) {
    struct err err = { 0 };
    char *copy = mem_alloc(payload.len), footer[PAYLOAD_FOOTER_LEN];
    struct bytes changed = bytes_of(copy, payload.len);
    memcpy(copy, payload.ptr, payload.len);
    assert_true(payload_check(payload, &err));
    /* Its own version gives its own footer, another one a footer that is right again. */
    assert_true(payload_restamp(payload, payload_version(payload), footer, &err));
    assert_memory_equal(footer, payload.ptr + payload.len - PAYLOAD_FOOTER_LEN, PAYLOAD_FOOTER_LEN);
    assert_true(payload_restamp(changed, 345, copy + payload.len - PAYLOAD_FOOTER_LEN, &err));
    assert_int_equal(payload_version(changed), 345);
    assert_true(payload_check(changed, &err));
    assert_memory_equal(copy, payload.ptr, payload.len - PAYLOAD_FOOTER_LEN);
    for (size_t i = 0; i < payload.len; i++) {
        copy[i] ^= 16;
        assert_false(payload_check(changed, &err));
        copy[i] ^= 16;
    }
    free(copy);
}

static void payloads_of_servers(void **state) {
    rdb_values_each(check_one, NULL);
}

static void refused(void **state) {
    struct err err = { 0 };
    char footer[PAYLOAD_FOOTER_LEN];
    assert_false(payload_check(BYTES_LITERAL(""), &err));
    assert_int_equal(err.code, ERR_BAD_PAYLOAD);
    assert_false(payload_check(BYTES_LITERAL("1234567890"), &err));
    assert_string_equal(err.text, "10 bytes are too few; a dumped value has at least 11");
    assert_false(payload_check(BYTES_LITERAL("\x00\x01"
                                             "a\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
                               &err));
    assert_non_null(strstr(err.text, "the CRC is 0000000000000000 and should be "));
    assert_false(payload_restamp(BYTES_LITERAL("1234567890"), 9, footer, &err));
    assert_false(payload_restamp(BYTES_LITERAL("\x00\x01"
                                               "a\x06\x00"
                                               "12345678"),
                                 65536, footer, &err));
}

static void find_module(void *ctx, const char *server, const char *name, struct bytes payload,
                        json_t *expected) {
    struct payload_module module;
    if (!payload_module(payload, &module)) {
        assert_int_not_equal(payload_type(payload), VALUE_MODULE);
        return;
    }
    assert_string_equal(module.name, "vectorset");
    assert_int_equal(module.version, 0);
    ++*(int *)ctx;
}

static void modules(void **state) {
    int found = 0;
    rdb_values_each(find_module, &found);
    assert_int_equal(found, 1);
    struct payload_module module;
    assert_false(payload_module(BYTES_LITERAL("\x07"), &module));
    assert_false(payload_module(BYTES_LITERAL("\x07\x81\x00"
                                              "1234567890"),
                                &module));
}

static void type_names(void **state) {
    assert_string_equal(value_type_name(VALUE_ZSET), "zset");
    assert_string_equal(value_type_name((enum value_type)99), "unknown");
    assert_int_equal(payload_type(BYTES_LITERAL("")), VALUE_UNKNOWN);
    assert_int_equal(payload_version(BYTES_LITERAL("")), 0);
}

int main(int argc, char **argv) {
    if (argc > 1) rdb_values_at(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(crc_any_length_and_cut),
        cmocka_unit_test(payloads_of_servers),
        cmocka_unit_test(refused),
        cmocka_unit_test(modules),
        cmocka_unit_test(type_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
