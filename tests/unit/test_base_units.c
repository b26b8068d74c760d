/* Numbers with units, as written in options and as shown in tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/units.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void sizes(void **state) {
    const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        { "0", 0 },
        { "4096", 4096 },
        { "12KB", 12288 },
        { "12kb", 12288 },
        { "12K", 12288 },
        { "64MiB", 67108864 },
        { "1.5gb", 1610612736 },
        { "1t", UINT64_C(1) << 40 },
        { "100B", 100 },
        { "0.5k", 512 },
        { "18446744073709551615", UINT64_MAX },
        { "16777215T", UINT64_C(16777215) << 40 },
    };
    for (size_t i = 0; i < N(good); i++) {
        uint64_t got = 1;
        if (!units_parse_bytes(good[i].text, "--x", &got, NULL))
            fail_msg("'%s' was refused", good[i].text);
        assert_true(got == good[i].bytes);
    }
}

static void no_sizes(void **state) {
    const char *bad[] = { "",          "K",   "-1",  "+1",    "1.5", "1.5B",
                          "1.K",       ".5K", "1 K", " 1",    "1KK", "0x10",
                          "1e3",       "inf", "nan", "12KBs", "1P",  "18446744073709551616",
                          "16777216T", "1,5K" };
    for (size_t i = 0; i < N(bad); i++) {
        uint64_t got = 99;
        struct err err = { 0 };
        if (units_parse_bytes(bad[i], "--mem-limit", &got, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err.code, ERR_USAGE);
        assert_string_equal(err.place, "--mem-limit");
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void durations(void **state) {
    const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        { "0", 0 },          { "3", 3000 },      { "1.5", 1500 },
        { "250ms", 250 },    { "3s", 3000 },     { "5m", 300000 },
        { "2h", 7200000 },   { "1d", 86400000 }, { "0.25s", 250 },
        { "1.5H", 5400000 }, { "0.4ms", 0 },     { "9223372036854775807ms", INT64_MAX },
    };
    for (size_t i = 0; i < N(good); i++) {
        int64_t got = 1;
        if (!units_parse_duration(good[i].text, "--x", &got, NULL))
            fail_msg("'%s' was refused", good[i].text);
        assert_int_equal(got, good[i].ms);
    }
}

static void no_durations(void **state) {
    const char *bad[] = { "",
                          "PT5S",
                          "-1s",
                          "s",
                          "5 s",
                          "5sec",
                          "1h30m",
                          "9223372036854775808ms",
                          "99999999999999999d" };
    for (size_t i = 0; i < N(bad); i++) {
        int64_t got = 99;
        struct err err = { 0 };
        if (units_parse_duration(bad[i], "--timeout", &got, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(err.code, ERR_USAGE);
        assert_int_equal(got, 99);
    }
}

static void numbers(void **state) {
    int64_t got = 0;
    struct err err = { 0 };
    assert_true(units_parse_number("16", "--threads", 1, 16, &got, NULL));
    assert_int_equal(got, 16);
    assert_true(units_parse_number("-5", "--x", -5, 5, &got, NULL));
    assert_int_equal(got, -5);
    assert_false(units_parse_number("17", "--threads", 1, 16, &got, &err));
    assert_non_null(strstr(err.text, "from 1 to 16"));
    assert_false(units_parse_number("0", "--threads", 1, 16, &got, NULL));
    assert_false(units_parse_number("", "--threads", 0, 16, &got, NULL));
    assert_false(units_parse_number("1k", "--threads", 0, 5000, &got, NULL));
    assert_int_equal(got, -5);
}

static void shows_numbers(void **state) {
    char buf[40];
    assert_string_equal(units_format_number(0, buf, sizeof(buf)), "0");
    assert_string_equal(units_format_number(999, buf, sizeof(buf)), "999");
    assert_string_equal(units_format_number(1000, buf, sizeof(buf)), "1,000");
    assert_string_equal(units_format_number(1234567, buf, sizeof(buf)), "1,234,567");
    assert_string_equal(units_format_number(UINT64_MAX, buf, sizeof(buf)),
                        "18,446,744,073,709,551,615");
    assert_string_equal(units_format_number(1234567, buf, 4), "1,2");
}

static void shows_bytes(void **state) {
    char buf[40];
    assert_string_equal(units_format_bytes(0, buf, sizeof(buf)), "0 B");
    assert_string_equal(units_format_bytes(1023, buf, sizeof(buf)), "1023 B");
    assert_string_equal(units_format_bytes(1024, buf, sizeof(buf)), "1.0 KiB");
    assert_string_equal(units_format_bytes(1258291, buf, sizeof(buf)), "1.2 MiB");
    assert_string_equal(units_format_bytes(1024 * 1024 - 1, buf, sizeof(buf)), "1.0 MiB");
    assert_string_equal(units_format_bytes(UINT64_MAX, buf, sizeof(buf)), "16.0 EiB");
}

static void shows_durations(void **state) {
    char buf[40];
    assert_string_equal(units_format_duration(0, buf, sizeof(buf)), "0 ms");
    assert_string_equal(units_format_duration(999, buf, sizeof(buf)), "999 ms");
    assert_string_equal(units_format_duration(4219, buf, sizeof(buf)), "4.21 s");
    assert_string_equal(units_format_duration(59999, buf, sizeof(buf)), "59.99 s");
    assert_string_equal(units_format_duration(60000, buf, sizeof(buf)), "1m 00s");
    assert_string_equal(units_format_duration(3723000, buf, sizeof(buf)), "1h 02m 03s");
    assert_string_equal(units_format_duration(INT64_C(86400000) * 12 + 3600000, buf, sizeof(buf)),
                        "12d 01h 00m");
    assert_string_equal(units_format_duration(-1500, buf, sizeof(buf)), "-1.50 s");
    assert_int_equal(units_format_duration(INT64_MIN, buf, sizeof(buf))[0], '-');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),       cmocka_unit_test(no_sizes),
        cmocka_unit_test(durations),   cmocka_unit_test(no_durations),
        cmocka_unit_test(numbers),     cmocka_unit_test(shows_numbers),
        cmocka_unit_test(shows_bytes), cmocka_unit_test(shows_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
