/* Values as commands: the words, the cut of batches, the losses. That servers make equal values of
 * them is the matter of test_rdb_roundtrip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/commands.h"
#include "rdb/payload.h"

static const struct commands_abilities all = { .field_expiry = true,
                                               .stream_counters = true,
                                               .create_consumer = true };
static const struct commands_abilities none = { 0 };

struct seen {
    char text[4096];
    size_t len, fail_after;
    struct commands *commands;
};

static void note(struct seen *seen, const char *text) {
    int n = snprintf(seen->text + seen->len, sizeof(seen->text) - seen->len, "%s", text);
    seen->len += (size_t)n;
    assert_true(seen->len < sizeof(seen->text));
}

static bool on_emit(void *ctx, size_t argc, const struct bytes *argv, struct err *err) {
    struct seen *seen = ctx;
    char word[256];
    for (size_t i = 0; i < argc; i++) {
        note(seen, i == 0 ? "" : " ");
        note(seen, argv[i].len == 0 ? "''" : bytes_escape(argv[i], word, sizeof(word)));
    }
    note(seen, "\n");
    if (seen->fail_after == 0) return true;
    return --seen->fail_after > 0 || err_set(err, ERR_OOM, "output", "full");
}

static bool on_lost(void *ctx, enum commands_loss what, struct bytes element, struct err *err) {
    char word[256];
    note(ctx, "lost ");
    note(ctx, bytes_escape(element, word, sizeof(word)));
    note(ctx, ": ");
    note(ctx, commands_loss_text(what));
    note(ctx, "\n");
    return true;
}

static void begin(struct seen *seen, struct commands_abilities can, size_t max_args,
                  size_t max_bytes) {
    struct commands_options options = { .can = can, .max_args = max_args, .max_bytes = max_bytes };
    struct commands_output output = { .emit = on_emit, .lost = on_lost, .ctx = seen };
    *seen = (struct seen){ 0 };
    seen->commands = commands_new(BYTES_LITERAL("k"), &options, &output);
}

static void end(struct seen *seen, const char *wanted) {
    struct err err = { 0 };
    assert_true(commands_finish(seen->commands, &err));
    commands_free(&seen->commands);
    assert_null(seen->commands);
    assert_string_equal(seen->text, wanted);
}

static void items(struct seen *seen, const char *words) {
    struct err err = { 0 };
    for (struct bytes rest = bytes_of_str(words); rest.len > 0;)
        assert_true(commands_sink()->on_list_item(seen->commands, bytes_split(&rest, ' '), &err));
}

static void batches(void **state) {
    struct seen seen;
    begin(&seen, none, 16, 1000);
    items(&seen, "a b c");
    end(&seen, "RPUSH k a b c\n");
    begin(&seen, none, 0, 1000); /* at least 16 words */
    items(&seen, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15");
    end(&seen, "RPUSH k 1 2 3 4 5 6 7 8 9 10 11 12 13 14\nRPUSH k 15\n");
    begin(&seen, none, 100, 6);
    items(&seen, "abc def g hijklmnop q rs");
    end(&seen, "RPUSH k abc def\nRPUSH k g\nRPUSH k hijklmnop\nRPUSH k q rs\n");
    begin(&seen, none, 100, 0);
    items(&seen, "a b");
    end(&seen, "RPUSH k a\nRPUSH k b\n");
    begin(&seen, none, 100, 10);
    end(&seen, "");
}

static void simple_types(void **state) {
    struct seen seen;
    struct err err = { 0 };
    begin(&seen, none, 16, 100);
    assert_true(commands_sink()->on_string(seen.commands, BYTES_LITERAL("a value"), &err));
    end(&seen, "SET k a value\n");
    begin(&seen, none, 16, 100);
    assert_true(commands_sink()->on_set_member(seen.commands, BYTES_LITERAL("x"), &err));
    assert_true(commands_sink()->on_set_member(seen.commands, BYTES_LITERAL(""), &err));
    end(&seen, "SADD k x ''\n");
}

static void scores(void **state) {
    static const double numbers[] = { 0,   -1,    0.1,    INFINITY,          -INFINITY,
                                      NAN, 1e300, 5e-324, 9007199254740993.0 };
    struct seen seen;
    struct err err = { 0 };
    begin(&seen, none, 100, 1000);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        assert_true(commands_sink()->on_zset_member(seen.commands, bytes_of(&"abcdefghi"[i], 1),
                                                    numbers[i], &err));
    end(&seen, "lost f: a score that is not a number cannot be written\n"
               "ZADD k 0 a -1 b 0.10000000000000001 c inf d -inf e 1.0000000000000001e+300 g "
               "4.9406564584124654e-324 h 9007199254740992 i\n");
}

static void hash(struct seen *seen) {
    static const int64_t expiry[] = { 2000, -1, 1000, 2000, 1000 };
    struct err err = { 0 };
    for (size_t i = 0; i < 5; i++)
        assert_true(commands_sink()->on_hash_field(seen->commands, bytes_of(&"abcde"[i], 1),
                                                   bytes_of(&"vwxyz"[i], 1), expiry[i], &err));
}

static void field_expiry(void **state) {
    struct seen seen;
    begin(&seen, all, 100, 100);
    hash(&seen);
    end(&seen, "HSET k a v b w c x d y e z\nHPEXPIREAT k 1000 FIELDS 2 c e\n"
               "HPEXPIREAT k 2000 FIELDS 2 a d\n");
    begin(&seen, all, 100, 4);
    hash(&seen);
    end(&seen, "HSET k a v b w\nHPEXPIREAT k 2000 FIELDS 1 a\n"
               "HSET k c x d y\nHPEXPIREAT k 1000 FIELDS 1 c\nHPEXPIREAT k 2000 FIELDS 1 d\n"
               "HSET k e z\nHPEXPIREAT k 1000 FIELDS 1 e\n");
    begin(&seen, all, 100, 1); /* each pair alone */
    hash(&seen);
    assert_non_null(strstr(seen.text, "HSET k e z\nHPEXPIREAT k 1000 FIELDS 1 e\n"));
    commands_free(&seen.commands);
    begin(&seen, none, 100, 100);
    hash(&seen);
    assert_non_null(strstr(seen.text, "lost a: the target has no expiry of hash fields\n"));
    commands_free(&seen.commands);
}

/* ---- streams ---- */

static void entry(struct seen *seen, uint64_t ms) {
    const struct bytes fields[] = { BYTES_LITERAL("f"), BYTES_LITERAL("v") };
    struct err err = { 0 };
    assert_true(commands_sink()->on_stream_entry(seen->commands, (struct stream_id){ ms, 1 }, 1,
                                                 fields, &err));
}

static void info(struct seen *seen, uint64_t last_ms, uint64_t deleted_ms, uint64_t added) {
    struct stream_info info = { .last = { last_ms, 1 },
                                .max_deleted = { deleted_ms, 0 },
                                .entries_added = added,
                                .has_counters = true };
    struct err err = { 0 };
    assert_true(commands_sink()->on_stream_info(seen->commands, &info, &err));
}

static void group(struct seen *seen) {
    struct err err = { 0 };
    assert_true(commands_sink()->on_group(seen->commands, BYTES_LITERAL("g"),
                                          (struct stream_id){ 3, 1 }, 2, &err));
    assert_true(commands_sink()->on_consumer(seen->commands, BYTES_LITERAL("g"), BYTES_LITERAL("c"),
                                             9, 9, &err));
}

static void pending(struct seen *seen, uint64_t ms, int64_t delivered_ms, uint64_t deliveries) {
    struct err err = { 0 };
    assert_true(commands_sink()->on_pending(seen->commands, BYTES_LITERAL("g"), BYTES_LITERAL("c"),
                                            (struct stream_id){ ms, 1 }, delivered_ms, deliveries,
                                            &err));
}

static void stream(struct seen *seen) {
    entry(seen, 1);
    entry(seen, 3);
    info(seen, 5, 2, 7);
    group(seen);
    pending(seen, 1, 100, 1);
    pending(seen, 3, 100, 1);
    pending(seen, 4, 100, 2);
}

static void streams(void **state) {
    struct seen seen;
    begin(&seen, all, 100, 1000);
    stream(&seen);
    end(&seen, "XADD k 1-1 f v\nXADD k 3-1 f v\nXSETID k 5-1 ENTRIESADDED 7 MAXDELETEDID 2-0\n"
               "XGROUP CREATE k g 3-1 ENTRIESREAD 2\nXGROUP CREATECONSUMER k g c\n"
               "XCLAIM k g c 0 1-1 3-1 TIME 100 RETRYCOUNT 1 FORCE JUSTID\n"
               "XCLAIM k g c 0 4-1 TIME 100 RETRYCOUNT 2 FORCE JUSTID\n");
    begin(&seen, none, 100, 1000);
    commands_expect_pending(seen.commands, (struct stream_id){ 4, 1 });
    stream(&seen);
    end(&seen,
        "XADD k 1-1 f v\nXADD k 3-1 f v\nXADD k 4-1 gone ''\nXSETID k 5-1\nXGROUP CREATE k g 3-1\n"
        "XREADGROUP GROUP g c COUNT 1 STREAMS k 0\n"
        "XCLAIM k g c 0 1-1 3-1 TIME 100 RETRYCOUNT 1 FORCE JUSTID\n"
        "XCLAIM k g c 0 4-1 TIME 100 RETRYCOUNT 2 FORCE JUSTID\n"
        "XDEL k 4-1\nXSETID k 5-1\n");
}

static void expect_all(struct seen *seen, const uint64_t *ms, size_t n) {
    for (size_t i = 0; i < n; i++)
        commands_expect_pending(seen->commands, (struct stream_id){ ms[i], 1 });
}

static void placeholders(void **state) {
    struct seen seen;
    begin(&seen, all, 100, 1000);
    expect_all(&seen, (const uint64_t[]){ 4, 1, 0, 3, 4, 9 }, 6);
    stream(&seen);
    pending(&seen, 9, 100, 2);
    end(&seen, "XADD k 0-1 gone ''\nXADD k 1-1 f v\nXADD k 3-1 f v\nXADD k 4-1 gone ''\n"
               "XSETID k 5-1 ENTRIESADDED 7 MAXDELETEDID 2-0\n"
               "XGROUP CREATE k g 3-1 ENTRIESREAD 2\nXGROUP CREATECONSUMER k g c\n"
               "XCLAIM k g c 0 1-1 3-1 TIME 100 RETRYCOUNT 1 FORCE JUSTID\n"
               "lost 9-1: a pending entry lies beyond the last id of its stream\n"
               "XCLAIM k g c 0 4-1 TIME 100 RETRYCOUNT 2 FORCE JUSTID\n"
               "XDEL k 0-1 4-1\nXSETID k 5-1 ENTRIESADDED 7 MAXDELETEDID 2-0\n");
    begin(&seen, all, 100, 1000);
    expect_all(&seen, (const uint64_t[]){ 1, 2 }, 2);
    entry(&seen, 3);
    info(&seen, 3, 0, 1);
    end(&seen,
        "XADD k 1-1 gone ''\nXADD k 2-1 gone ''\nXADD k 3-1 f v\nXSETID k 3-1 ENTRIESADDED 3\n"
        "XTRIM k MINID 3-1\nXSETID k 3-1 ENTRIESADDED 1\n");
    begin(&seen, all, 100, 1000);
    expect_all(&seen, (const uint64_t[]){ 1 }, 1);
    info(&seen, 3, 0, 3);
    end(&seen, "XADD k 1-1 gone ''\nXSETID k 3-1 ENTRIESADDED 3\nXTRIM k MAXLEN 0\n"
               "XSETID k 3-1 ENTRIESADDED 3\n");
}

static void empty_stream(void **state) {
    struct seen seen;
    begin(&seen, all, 100, 1000);
    info(&seen, 3, 0, 3);
    end(&seen, "XGROUP CREATE k longhaul 0 MKSTREAM\nXGROUP DESTROY k longhaul\n"
               "XSETID k 3-1 ENTRIESADDED 3\n");
}

static void many_claims(void **state) {
    struct seen seen;
    begin(&seen, all, 16, 1000);
    info(&seen, 90, 0, 30);
    group(&seen);
    for (uint64_t ms = 1; ms <= 12; ms++) pending(&seen, ms, 5, 1);
    struct err err = { 0 };
    assert_true(commands_finish(seen.commands, &err));
    assert_non_null(strstr(seen.text,
                           "XCLAIM k g c 0 1-1 2-1 3-1 4-1 5-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID\n"
                           "XCLAIM k g c 0 6-1 7-1 8-1 9-1 10-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID\n"
                           "XCLAIM k g c 0 11-1 12-1 TIME 5 RETRYCOUNT 1 FORCE JUSTID\n"));
    commands_free(&seen.commands);
}

static void output_that_fails(void **state) {
    struct seen seen;
    struct err err = { 0 };
    begin(&seen, none, 16, 100);
    items(&seen, "a b c");
    seen.fail_after = 1;
    assert_false(commands_finish(seen.commands, &err));
    assert_int_equal(err.code, ERR_OOM);
    commands_free(&seen.commands);
    commands_free(&seen.commands);
}

static void payloads_that_are_expected(void **state) {
    struct seen seen;
    struct err err = { 0 };
    begin(&seen, all, 16, 100);
    assert_true(commands_expect_payload(seen.commands, BYTES_LITERAL("\x00\x01v1234567890"), &err));
    assert_false(
        commands_expect_payload(seen.commands, BYTES_LITERAL("\x15\x01v1234567890"), &err));
    assert_int_equal(err.code, ERR_BAD_PAYLOAD);
    commands_free(&seen.commands);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches),
        cmocka_unit_test(simple_types),
        cmocka_unit_test(scores),
        cmocka_unit_test(field_expiry),
        cmocka_unit_test(streams),
        cmocka_unit_test(placeholders),
        cmocka_unit_test(empty_stream),
        cmocka_unit_test(many_claims),
        cmocka_unit_test(output_that_fails),
        cmocka_unit_test(payloads_that_are_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
