/* The reader: every type of RESP2 and RESP3, whole and split at every byte; a malformed reply is
 * refused at the same place however it arrives; nothing is read past the input (each input lies at
 * the end of its own allocation, for the sanitizer to watch). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "resp/reader.h"

/* Frames the first n bytes in an allocation of exactly that size. */
static enum resp_frame frame_tight(struct resp_framer *framer, const char *text, size_t n,
                                   struct err *err) {
    char *tight = mem_alloc(n);
    if (n > 0) memcpy(tight, text, n);
    enum resp_frame result = resp_frame(framer, bytes_of(tight, n), err);
    free(tight);
    return result;
}

/* Byte by byte with one framer; returns the result and how many bytes it took. */
static enum resp_frame frame_bytewise(const char *text, size_t len, size_t *taken,
                                      struct err *err) {
    struct resp_framer framer = { 0 };
    for (size_t n = 0; n <= len; n++) {
        enum resp_frame result = frame_tight(&framer, text, n, err);
        *taken = n;
        if (result != RESP_NEED_MORE) return result;
        assert_true(framer.need <= len || framer.need > n);
    }
    return RESP_NEED_MORE;
}

static void assert_framed(const char *text, size_t len) {
    struct err err;
    struct resp_framer whole = { 0 };
    assert_int_equal(frame_tight(&whole, text, len, &err), RESP_FRAMED);
    assert_int_equal(whole.pos, len);
    size_t taken;
    assert_int_equal(frame_bytewise(text, len, &taken, &err), RESP_FRAMED);
    assert_int_equal(taken, len);
    for (size_t first = 0; first < len; first++) {
        struct resp_framer framer = { 0 };
        assert_int_equal(frame_tight(&framer, text, first, &err), RESP_NEED_MORE);
        assert_true(framer.need <= len);
        assert_int_equal(frame_tight(&framer, text, len, &err), RESP_FRAMED);
        assert_int_equal(framer.pos, len);
    }
    /* The bytes behind it are the next reply and are not looked at. */
    char *longer = mem_printf("%s", "");
    longer = mem_realloc(longer, len + 3);
    memcpy(longer, text, len);
    memcpy(longer + len, "xyz", 3);
    struct resp_framer framer = { 0 };
    assert_int_equal(frame_tight(&framer, longer, len + 3, &err), RESP_FRAMED);
    assert_int_equal(framer.pos, len);
    free(longer);
}

static void assert_bad(const char *text, size_t len) {
    struct err whole_err = { 0 }, split_err = { 0 };
    struct resp_framer whole = { 0 };
    assert_int_equal(frame_tight(&whole, text, len, &whole_err), RESP_BAD);
    assert_int_equal(whole_err.code, ERR_PROTOCOL);
    assert_string_equal(whole_err.place, "");
    size_t taken;
    assert_int_equal(frame_bytewise(text, len, &taken, &split_err), RESP_BAD);
    assert_string_equal(whole_err.text, split_err.text);
}

/* Writes the walk over a reply as text: "[3 i:1 s:ab null ]" and the like; returns where out ends.
 */
static char *describe(struct resp_cursor *c, char *out) {
    struct resp_item item;
    if (!resp_next(c, &item)) return out;
    if (resp_is_aggregate(&item)) {
        out += sprintf(out, "%c%d[", (char)item.type, (int)item.num);
        for (int64_t i = 0; i < item.num; i++) out = describe(c, out);
        return out + sprintf(out, "] ");
    }
    if (item.type == RESP_INTEGER || item.type == RESP_BOOL)
        return out + sprintf(out, "%c%lld ", (char)item.type, (long long)item.num);
    return out + sprintf(out, "%c%.*s ", (char)item.type, (int)item.str.len, item.str.ptr);
}

static const struct {
    const char *raw, *walk;
} good[] = {
    { "+OK\r\n", "+OK " },
    { "+\r\n", "+ " },
    { "-ERR no\r\n", "-ERR no " },
    { ":0\r\n", ":0 " },
    { ":-9223372036854775808\r\n", ":-9223372036854775808 " },
    { ":+7\r\n", ":7 " },
    { "$0\r\n\r\n", "$ " },
    { "$5\r\na\r\nbc\r\n", "$a\r\nbc " },
    { "$-1\r\n", "_ " },
    { "*-1\r\n", "_ " },
    { "*0\r\n", "*0[] " },
    { "*3\r\n:1\r\n$2\r\nab\r\n$-1\r\n", "*3[:1 $ab _ ] " },
    { "*2\r\n*1\r\n+a\r\n*2\r\n*0\r\n:5\r\n", "*2[*1[+a ] *2[*0[] :5 ] ] " },
    { "_\r\n", "_ " },
    { "#t\r\n", "#1 " },
    { "#f\r\n", "#0 " },
    { ",3.25\r\n", ",3.25 " },
    { ",-inf\r\n", ",-inf " },
    { "(3492890328409238509324850943850943825024385\r\n",
      "(3492890328409238509324850943850943825024385 " },
    { "!8\r\nERR a\r\nb\r\n", "!ERR a\r\nb " },
    { "=7\r\ntxt:abc\r\n", "=abc " },
    { "=4\r\nmkd:\r\n", "= " },
    { "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n", "%4[+a :1 +b *1[:2 ] ] " },
    { "%0\r\n", "%0[] " },
    { "~2\r\n:1\r\n:2\r\n", "~2[:1 :2 ] " },
    { ">2\r\n$10\r\ninvalidate\r\n_\r\n", ">2[$invalidate _ ] " },
    { "|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n", "$v " },
    { "|0\r\n+v\r\n", "+v " },
    { "*2\r\n|1\r\n+k\r\n*2\r\n:1\r\n:2\r\n:7\r\n:8\r\n", "*2[:7 :8 ] " },
    { "|1\r\n+a\r\n|1\r\n+b\r\n:1\r\n+c\r\n|1\r\n+d\r\n:2\r\n*1\r\n:9\r\n", "*1[:9 ] " },
    { "*1\r\n*-1\r\n", "*1[_ ] " },
};

static void every_type(void **state) {
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char walk[512] = "";
        struct bytes raw = bytes_of_str(good[i].raw);
        assert_framed(raw.ptr, raw.len);
        struct resp_cursor c = resp_cursor_of(raw);
        describe(&c, walk);
        assert_string_equal(walk, good[i].walk);
        assert_ptr_equal(c.pos, c.end);
        c = resp_cursor_of(raw);
        assert_true(resp_skip(&c));
        assert_ptr_equal(c.pos, c.end);
        assert_false(resp_skip(&c));
    }
}

static void malformed(void **state) {
    static const char *const bad[] = {
        "x\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "+OK\n",
        "\n",
        "$\r\n",
        "$x\r\n",
        "$-2\r\n",
        "$1x\r\n",
        "$ 1\r\n",
        "$99999999999999999999\r\n",
        "$2147483649\r\n",
        "*2147483649\r\n",
        "*-2\r\n",
        "*\r\n",
        "%-1\r\n",
        "~-1\r\n",
        ">-1\r\n",
        "|-1\r\n",
        "=-1\r\n",
        "=3\r\nabc\r\n",
        "!-1\r\n",
        ":\r\n",
        ":1.5\r\n",
        ":9223372036854775808\r\n",
        ":--1\r\n",
        "$1\r\nabc",
        "$1\r\na\n\n",
        "*1\r\n?\r\n",
        "$?\r\n",
        "*?\r\n",
        "*2\r\n:1\r\n$3\r\nabcde\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) assert_bad(bad[i], strlen(bad[i]));
    assert_bad("\0\r\n", 3);
}

static void depth(void **state) {
    char text[4 * (RESP_DEPTH_MAX + 2) + 8] = "";
    for (int i = 0; i < RESP_DEPTH_MAX; i++) strcat(text, "*1\r\n");
    strcat(text, ":1\r\n");
    assert_framed(text, strlen(text));
    text[0] = '\0';
    for (int i = 0; i < RESP_DEPTH_MAX + 1; i++) strcat(text, "*1\r\n");
    assert_bad(text, strlen(text));
    text[0] = '\0';
    for (int i = 0; i < RESP_DEPTH_MAX + 1; i++) strcat(text, "|0\r\n");
    assert_bad(text, strlen(text));
}

static void long_lines(void **state) {
    size_t len = RESP_LINE_MAX + 16;
    char *line = mem_alloc(len);
    memset(line, 'a', len);
    line[0] = '+';
    struct err err;
    struct resp_framer framer = { 0 };
    assert_int_equal(resp_frame(&framer, bytes_of(line, RESP_LINE_MAX), &err), RESP_NEED_MORE);
    assert_int_equal(resp_frame(&framer, bytes_of(line, RESP_LINE_MAX + 1), &err), RESP_BAD);
    memcpy(line + len - 2, "\r\n", 2);
    framer = (struct resp_framer){ 0 };
    assert_int_equal(resp_frame(&framer, bytes_of(line, len), &err), RESP_BAD);
    memcpy(line + RESP_LINE_MAX - 1, "\r\n", 2);
    framer = (struct resp_framer){ 0 };
    assert_int_equal(resp_frame(&framer, bytes_of(line, len), &err), RESP_FRAMED);
    assert_int_equal(framer.pos, RESP_LINE_MAX + 1);
    free(line);
}

/* Hostile sizes cost nothing before their bytes are there. */
static void announced_sizes(void **state) {
    struct err err;
    struct resp_framer framer = { 0 };
    const char *bulk = "$2147483648\r\nabc";
    assert_int_equal(frame_tight(&framer, bulk, strlen(bulk), &err), RESP_NEED_MORE);
    assert_true(framer.need == UINT64_C(2147483648) + 15);
    framer = (struct resp_framer){ 0 };
    const char *maps = "%2147483648\r\n%2147483648\r\n*2147483648\r\n:1\r\n";
    assert_int_equal(frame_tight(&framer, maps, strlen(maps), &err), RESP_NEED_MORE);
}

/* Random nested replies, cut at random places, frame alike. */
static char *grow(char *out, int depth_left) {
    int kind = rand() % (depth_left > 0 ? 9 : 5);
    int n = rand() % 4;
    switch (kind) {
    case 0:
        return out + sprintf(out, ":%d\r\n", rand());
    case 1:
        return out + sprintf(out, "$%d\r\n%.*s\r\n", n, n, "\r\n\r\n");
    case 2:
        return out + sprintf(out, "+%.*s\r\n", n, "abcd");
    case 3:
        return out + sprintf(out, "_\r\n");
    case 4:
        return out + sprintf(out, "$-1\r\n");
    default:
        break;
    }
    const char types[] = "*~>%|";
    char type = types[kind == 5 ? 4 : rand() % 4];
    out += sprintf(out, "%c%d\r\n", type, n);
    int follow = type == '%' ? 2 * n : type == '|' ? 2 * n + 1 : n;
    for (int i = 0; i < follow; i++) out = grow(out, depth_left - 1);
    return out;
}

static void random_replies(void **state) {
    static char text[1 << 20];
    for (int round = 0; round < 3000; round++) {
        size_t len = (size_t)(grow(text, 4) - text), cut = 0;
        struct resp_framer framer = { 0 };
        struct err err;
        while (cut < len) {
            assert_int_equal(frame_tight(&framer, text, cut, &err), RESP_NEED_MORE);
            cut += 1 + (size_t)rand() % 20;
        }
        assert_int_equal(frame_tight(&framer, text, len, &err), RESP_FRAMED);
        assert_int_equal(framer.pos, len);
        struct resp_cursor c = resp_cursor_of(bytes_of(text, len));
        assert_true(resp_skip(&c));
        assert_ptr_equal(c.pos, c.end);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type),      cmocka_unit_test(malformed),
        cmocka_unit_test(depth),           cmocka_unit_test(long_lines),
        cmocka_unit_test(announced_sizes), cmocka_unit_test(random_replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
