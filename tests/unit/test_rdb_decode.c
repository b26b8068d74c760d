/* Decoding: every value of every server gives the content that the server's own commands told; cut
 * or damaged ones are refused with a place; the encodings that no server here writes come from
 * payloads put together by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/crc64.h"
#include "rdb/decode.h"
#include "rdb/payload.h"
#include "rdb/portable.h"
#include "support/rdb_values.h"

static void check_value(void *ctx, const char *server, const char *name, struct bytes payload,
                        json_t *expected) {
    const size_t chunk = *(const size_t *)ctx;
    struct err err = { 0 };
    json_t *found = rdb_value_json(payload, chunk, &err);
    if (payload_type(payload) == VALUE_MODULE) {
        assert_null(found);
        assert_false(decoder_knows(payload));
        assert_non_null(strstr(err.text, "module"));
        return;
    }
    assert_true(decoder_knows(payload));
    if (found == NULL || !json_equal(found, expected)) {
        print_error("%s-%s: %s\n", server, name, err.text);
        if (found != NULL)
            print_error("found %s\nexpected %s\n", json_dumps(found, 0), json_dumps(expected, 0));
        fail();
    }
    json_decref(found);
}

static void values_of_servers(void **state) {
    size_t whole = SIZE_MAX, steps = 1;
    rdb_values_each(check_value, &whole);
    rdb_values_each(check_value, &steps);
}

/* A payload that is cut anywhere is refused: by its length, or by the missing bytes. */
static void cut(void *ctx, const char *server, const char *name, struct bytes payload,
                json_t *expected) {
    static const struct value_sink none = { 0 };
    for (size_t len = 0; len < payload.len; len++) {
        char *tight = mem_alloc(len);
        struct err err = { 0 };
        if (len > 0) memcpy(tight, payload.ptr, len);
        bool ok = decode_value(bytes_of(tight, len), &none, NULL, &err);
        free(tight);
        if (ok || err.code != ERR_BAD_PAYLOAD || strncmp(err.text, "at offset ", 10) != 0) {
            print_error("%s-%s cut to %zu: %s\n", server, name, len, ok ? "accepted" : err.text);
            fail();
        }
    }
}

static void cut_values(void **state) {
    rdb_values_each(cut, NULL);
}

/* ---- by hand ---- */

/* {type: value} of a body, or the complaint as a string. */
static json_t *decoded(const char *body, size_t len, unsigned version) {
    char payload[512];
    struct err err = { 0 };
    memset(payload, 0, sizeof(payload));
    memcpy(payload, body, len);
    payload_restamp(bytes_of(payload, len + PAYLOAD_FOOTER_LEN), version, payload + len);
    json_t *value = rdb_value_json(bytes_of(payload, len + PAYLOAD_FOOTER_LEN), SIZE_MAX, &err);
    return value != NULL ? value : json_string(err.text);
}

static void expect(const char *body, size_t len, unsigned version, const char *wanted) {
    json_t *found = decoded(body, len, version);
    char *text = json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(found);
}

#define EXPECT(body, wanted) expect((body), sizeof(body) - 1, 6, (wanted))

static void strings(void **state) {
    EXPECT("\x00\x02hi", "{\"string\":\"hi\"}");
    EXPECT("\x00\xc0\xff", "{\"string\":\"-1\"}");
    EXPECT("\x00\xc1\x00\x80", "{\"string\":\"-32768\"}");
    EXPECT("\x00\xc2\xff\xff\xff\x7f", "{\"string\":\"2147483647\"}");
    EXPECT("\x00\x40\x02hi", "{\"string\":\"hi\"}");
    EXPECT("\x00\x80\x00\x00\x00\x02hi", "{\"string\":\"hi\"}");
    EXPECT("\x00\xc3\x04\x0a\x00"
           "a\xe0\x00",
           "\"at offset 8: the LZF string before this is broken\"");
    EXPECT("\x00\xc3\x05\x0b\x01"
           "aa\xe0\x00\x00",
           "\"at offset 9: the LZF string before this is broken\"");
    EXPECT("\x00\xc3\x05\x80\xff\xff\xff\xff"
           "aaaaa",
           "\"at offset 8: 5 bytes of LZF cannot become 4294967295\"");
    EXPECT("\x00\xc4", "\"at offset 2: strings of kind 4 are not known\"");
    EXPECT("\x00\x82", "\"at offset 2: 0x82 begins no length\"");
    EXPECT("\x00\x81\xff\xff\xff\xff\xff\xff\xff\xff",
           "\"at offset 10: 18446744073709551615 bytes are announced and 0 are left\"");
    EXPECT("\x00\x01hi", "\"at offset 3: 1 bytes follow the value\"");
}

static void collections(void **state) {
    EXPECT("\x01\x02\x01"
           "a\x01"
           "b",
           "{\"list\":[\"a\",\"b\"]}");
    EXPECT("\x01\x00", "\"at offset 2: the value has no elements\"");
    EXPECT("\x02\x81\x00\x00\x00\x01\x00\x00\x00\x00",
           "\"at offset 10: 4294967296 elements are announced and 0 bytes are left\"");
    EXPECT("\x03\x02\x01"
           "a\x03"
           "1.5\x01"
           "b\xff",
           "{\"zset\":{\"a\":\"1.5\",\"b\":\"-inf\"}}");
    EXPECT("\x03\x01\x01"
           "a\x03"
           "1.x",
           "\"at offset 5: the score is no number\"");
    EXPECT("\x0b\x0a\x02\x00\x00\x00\x01\x00\x00\x00\xfe\xff", "{\"set\":{\"-2\":true}}");
    EXPECT(
        "\x0b\x0a\x02\x00\x00\x00\x02\x00\x00\x00\xfe\xff",
        "\"at offset 1, byte 8 of the intset there: 2 integers are announced, 2 bytes are there\"");
    EXPECT("\x0b\x09\x03\x00\x00\x00\x00\x00\x00\x00\xfe",
           "\"at offset 1, byte 8 of the intset there: integers of 3 bytes\"");
    EXPECT("\x09\x0a\x01\x01"
           "f\x02\x01"
           "vw.\xff\xff",
           "\"at offset 1, byte 9 of the zipmap there: it ends too early\"");
    EXPECT("\x09\x09\x01\x01"
           "f\x02\x01"
           "vw.\xff",
           "{\"hash\":{\"f\":[\"vw\",-1]}}");
}

static void field_expiry(void **state) {
    expect("\x16\x01\x01"
           "f\x01"
           "v\x10\x00\x00\x00\x00\x00\x00\x00",
           14, 80, "{\"hash\":{\"f\":[\"v\",16]}}");
    expect("\x16\x01\x01"
           "f\x01"
           "v\xff\xff\xff\xff\xff\xff\xff\xff",
           14, 80, "{\"hash\":{\"f\":[\"v\",-1]}}");
    expect("\x16\x01\x01"
           "f\x01"
           "v",
           7, 12,
           "\"at offset 1: values of type byte 22 (hash), RDB version 12, cannot be decoded\"");
    expect("\x18\x00\x01\x00\x00\x00\x00\x00\x00\x02\x00\x01"
           "a\x01"
           "v\x06\x01"
           "b\x01"
           "w",
           20, 12, "{\"hash\":{\"a\":[\"v\",-1],\"b\":[\"w\",261]}}");
    expect("\x18\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x02\x01"
           "a\x01"
           "v",
           15, 12, "\"at offset 11: the field expiry is out of range\"");
}

static void packed(void **state) {
    EXPECT("\x0a\x0d\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\xf4\xff", "{\"list\":[\"3\"]}");
    EXPECT("\x0a\x0d\x0e\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\xf4\xff",
           "\"at offset 1, byte 10 of the ziplist there: it has 13 bytes and says 14\"");
    EXPECT("\x0a\x0d\x0d\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x00\xf4\xff",
           "\"at offset 1, byte 12 of the ziplist there: 2 elements are announced, not 1\"");
    EXPECT("\x0a\x0d\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x05\xf4\xff",
           "\"at offset 1, byte 11 of the ziplist there: the element before has 0 bytes, not 5\"");
    EXPECT("\x0a\x0d\x0d\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\xf4\xfe",
           "\"at offset 1, byte 10 of the ziplist there: it has no end mark\"");
    EXPECT("\x14\x09\x09\x00\x00\x00\x01\x00\x05\x01\xff", "{\"set\":{\"5\":true}}");
    EXPECT(
        "\x14\x09\x09\x00\x00\x00\x01\x00\x05\x02\xff",
        "\"at offset 1, byte 8 of the listpack there: the element before this has 1 bytes and says "
        "otherwise\"");
    EXPECT("\x14\x09\x09\x00\x00\x00\x01\x00\xf5\x01\xff",
           "\"at offset 1, byte 7 of the listpack there: 0xf5 begins no element\"");
    EXPECT("\x10\x09\x09\x00\x00\x00\x01\x00\x05\x01\xff",
           "\"at offset 1, byte 8 of the listpack there: an element is missing\"");
    EXPECT("\x12\x01\x03\x01"
           "a",
           "\"at offset 3: list nodes of kind 3 are not known\"");
}

static void unknown_types(void **state) {
    EXPECT("\x06"
           "x",
           "\"at offset 1: values of type byte 6 (module), RDB version 6, cannot be decoded\"");
    EXPECT("\x1a"
           "x",
           "\"at offset 1: values of type byte 26 (stream), RDB version 6, cannot be decoded\"");
    EXPECT("\xff"
           "x",
           "\"at offset 1: values of type byte 255 (unknown), RDB version 6, cannot be decoded\"");
}

/* ---- lengths that servers write in two forms ---- */

/* A hash of one field in a listpack whose value takes value_len bytes, its own length written in so
 * many groups. */
static struct bytes large_hash(size_t value_len, int groups) {
    size_t element = value_len + 5, node = 6 + 3 + element + (size_t)groups + 1;
    char *payload = mem_zalloc(1 + 5 + node + PAYLOAD_FOOTER_LEN), *p = payload;
    const char head[] = { 16,
                          (char)0x80,
                          0,
                          0,
                          (char)(node >> 8),
                          (char)node,
                          (char)node,
                          (char)(node >> 8),
                          0,
                          0,
                          2,
                          0,
                          (char)0x81,
                          'f',
                          2,
                          (char)0xf0,
                          (char)value_len,
                          (char)(value_len >> 8),
                          0,
                          0 };
    memcpy(p, head, sizeof(head));
    p += sizeof(head) + value_len;
    for (int i = 0; i < groups; i++)
        *p++ = (char)((element >> 7 * (groups - 1 - i) & 127) | (i > 0 ? 128 : 0));
    *p++ = (char)0xff;
    return bytes_of(payload, (size_t)(p - payload) + PAYLOAD_FOOTER_LEN);
}

static void check_large(size_t value_len, int groups, bool valid, bool portable) {
    static const struct value_sink none = { 0 };
    struct bytes payload = large_hash(value_len, groups);
    struct err err = { 0 };
    assert_int_equal(decode_value(payload, &none, NULL, &err), valid);
    assert_int_equal(payload_is_portable(payload), portable);
    free((char *)payload.ptr);
}

static void lengths_of_two_forms(void **state) {
    check_large(16377, 2, true, true);
    check_large(16377, 3, false, false);
    check_large(16378, 2, true, false); /* Valkey 9.1 */
    check_large(16378, 3, true, false); /* everybody else */
    check_large(16379, 2, false, false);
    check_large(16379, 3, true, true);
}

static void small_is_portable(void *ctx, const char *server, const char *name, struct bytes payload,
                              json_t *expected) {
    assert_true(payload_is_portable(payload));
}

static void small_values_are_portable(void **state) {
    rdb_values_each(small_is_portable, NULL);
    assert_false(payload_is_portable(BYTES_LITERAL("short")));
    assert_false(payload_is_portable(BYTES_LITERAL("\x12\x02\x02"
                                                   "1234567890")));
}

/* After the last entry comes nothing, and after a failure neither. */
static void runs_after_the_end(void **state) {
    static const struct value_sink none = { 0 };
    struct err err = { 0 };
    struct decoder *decoder = decoder_new(BYTES_LITERAL("\x01\x01\x01"
                                                        "a\x06\x00"
                                                        "12345678"),
                                          &none, NULL);
    assert_int_equal(decoder_run(decoder, 1, &err), DECODE_MORE);
    assert_int_equal(decoder_run(decoder, 1, &err), DECODE_MORE);
    assert_int_equal(decoder_run(decoder, 1, &err), DECODE_DONE);
    assert_int_equal(decoder_run(decoder, 1, &err), DECODE_DONE);
    decoder_free(&decoder);
    decoder = decoder_new(BYTES_LITERAL("x"), &none, NULL);
    assert_int_equal(decoder_run(decoder, 1, &err), DECODE_FAILED);
    assert_int_equal(decoder_run(decoder, 1, &err), DECODE_FAILED);
    decoder_free(&decoder);
    assert_null(decoder);
    decoder_free(&decoder);
}

static bool refuse(void *ctx, struct bytes item, struct err *err) {
    return err_set(err, ERR_OOM, "sink", "no more");
}

static void sink_that_ends_it(void **state) {
    static const struct value_sink sink = { .on_list_item = refuse };
    struct err err = { 0 };
    assert_false(decode_value(BYTES_LITERAL("\x01\x02\x01"
                                            "a\x01"
                                            "b\x06\x00"
                                            "12345678"),
                              &sink, NULL, &err));
    assert_int_equal(err.code, ERR_OOM);
}

int main(int argc, char **argv) {
    if (argc > 1) rdb_values_at(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_servers),
        cmocka_unit_test(cut_values),
        cmocka_unit_test(strings),
        cmocka_unit_test(collections),
        cmocka_unit_test(field_expiry),
        cmocka_unit_test(packed),
        cmocka_unit_test(unknown_types),
        cmocka_unit_test(lengths_of_two_forms),
        cmocka_unit_test(small_values_are_portable),
        cmocka_unit_test(runs_after_the_end),
        cmocka_unit_test(sink_that_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
