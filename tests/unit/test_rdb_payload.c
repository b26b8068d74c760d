/* The envelope: CRC64 in both ways of computing it, and new footers. */
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

enum { CRC_LEN = 8 };

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

/* As RESTORE checks it. */
static bool crc_is_right(struct bytes payload) {
    uint64_t said = 0;
    for (int i = 0; i < CRC_LEN; i++)
        said |= (uint64_t)(unsigned char)payload.ptr[payload.len - CRC_LEN + i] << (8 * i);
    return said == crc_by_bit(0, (const unsigned char *)payload.ptr, payload.len - CRC_LEN);
}

static void check_one(void *ctx, const char *server, const char *name, struct bytes payload,
                      json_t *expected) {
    char *copy = mem_alloc(payload.len), footer[PAYLOAD_FOOTER_LEN];
    struct bytes changed = bytes_of(copy, payload.len);
    memcpy(copy, payload.ptr, payload.len);
    assert_true(crc_is_right(payload));
    /* Its own version gives its own footer, another one a footer that is right again. */
    payload_restamp(payload, payload_version(payload), footer);
    assert_memory_equal(footer, payload.ptr + payload.len - PAYLOAD_FOOTER_LEN, PAYLOAD_FOOTER_LEN);
    payload_restamp(changed, 345, copy + payload.len - PAYLOAD_FOOTER_LEN);
    assert_int_equal(payload_version(changed), 345);
    assert_true(crc_is_right(changed));
    assert_memory_equal(copy, payload.ptr, payload.len - PAYLOAD_FOOTER_LEN);
    free(copy);
}

static void payloads_of_servers(void **state) {
    rdb_values_each(check_one, NULL);
}

static void shortest_payload(void **state) {
    char payload[PAYLOAD_LEN_MIN] = { 0 };
    payload_restamp(bytes_of(payload, sizeof(payload)), PAYLOAD_VERSION_MAX, payload + 1);
    assert_int_equal(payload_version(bytes_of(payload, sizeof(payload))), PAYLOAD_VERSION_MAX);
    assert_true(crc_is_right(bytes_of(payload, sizeof(payload))));
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
        cmocka_unit_test(crc_vectors),         cmocka_unit_test(crc_any_length_and_cut),
        cmocka_unit_test(payloads_of_servers), cmocka_unit_test(shortest_payload),
        cmocka_unit_test(type_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
