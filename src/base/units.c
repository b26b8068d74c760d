/* Numbers and units. Parsing is by hand and not by strtod(): that one takes hexadecimal, "inf",
 * leading blanks and the locale's decimal point, none of which an option should mean. The whole
 * part is kept as an integer, so that large byte counts stay exact; only the fraction goes through
 * a double.
 */
#include "base/units.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/bytes.h"

struct decimal {
    uint64_t whole;
    double fraction; /* from 0 to below 1 */
    bool has_fraction;
    struct bytes unit; /* the text behind the digits */
};

struct unit {
    const char *name;
    uint64_t factor;
};

enum { KIB = 1024 };

static const struct unit byte_units[] = {
    { "", 1 },
    { "b", 1 },
    { "k", KIB },
    { "kb", KIB },
    { "kib", KIB },
    { "m", (uint64_t)KIB *KIB },
    { "mb", (uint64_t)KIB *KIB },
    { "mib", (uint64_t)KIB *KIB },
    { "g", (uint64_t)KIB *KIB *KIB },
    { "gb", (uint64_t)KIB *KIB *KIB },
    { "gib", (uint64_t)KIB *KIB *KIB },
    { "t", (uint64_t)KIB *KIB *KIB *KIB },
    { "tb", (uint64_t)KIB *KIB *KIB *KIB },
    { "tib", (uint64_t)KIB *KIB *KIB *KIB },
    { NULL, 0 },
};

static const struct unit time_units[] = {
    { "", 1000 },     { "ms", 1 },       { "s", 1000 }, { "m", 60000 },
    { "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Digits, then perhaps a point and digits, then a unit. */
static bool parse_decimal(const char *text, struct decimal *out) {
    *out = (struct decimal){ 0 };
    if (!is_digit(*text)) return false;
    for (; is_digit(*text); text++) {
        if (__builtin_mul_overflow(out->whole, UINT64_C(10), &out->whole)) return false;
        if (__builtin_add_overflow(out->whole, (uint64_t)(*text - '0'), &out->whole)) return false;
    }
    if (*text == '.') {
        out->has_fraction = true;
        if (!is_digit(*++text)) return false;
        for (double place = 0.1; is_digit(*text); text++, place /= 10)
            out->fraction += place * (*text - '0');
    }
    out->unit = bytes_of_str(text);
    return true;
}

/* The number in its smallest unit, where a fraction of that unit is rounded; false when it does not
 * fit. */
static bool scale(const struct decimal *number, uint64_t factor, uint64_t *out) {
    uint64_t whole;
    if (__builtin_mul_overflow(number->whole, factor, &whole)) return false;
    return !__builtin_add_overflow(whole, (uint64_t)llround(number->fraction * (double)factor),
                                   out);
}

static const struct unit *find_unit(const struct unit *units, struct bytes name) {
    for (; units->name != NULL; units++) {
        if (bytes_equal_nocase(name, units->name)) return units;
    }
    return NULL;
}

bool units_parse_bytes(const char *text, const char *place, uint64_t *bytes, struct err *err) {
    struct decimal number;
    const struct unit *unit =
        parse_decimal(text, &number) ? find_unit(byte_units, number.unit) : NULL;
    if (unit == NULL || (unit->factor == 1 && number.has_fraction) ||
        !scale(&number, unit->factor, bytes)) {
        return err_set(err, ERR_USAGE, place,
                       "'%.64s' is not a size; write it like 4096, 12KB or 64MiB", text);
    }
    return true;
}

bool units_parse_duration(const char *text, const char *place, int64_t *duration_ms,
                          struct err *err) {
    struct decimal number;
    uint64_t ms = 0;
    const struct unit *unit =
        parse_decimal(text, &number) ? find_unit(time_units, number.unit) : NULL;
    if (unit == NULL || !scale(&number, unit->factor, &ms) || ms > INT64_MAX) {
        return err_set(err, ERR_USAGE, place,
                       "'%.64s' is not a duration; write it like 250ms, 3s, 5m, 2h or 1d", text);
    }
    *duration_ms = (int64_t)ms;
    return true;
}

bool units_parse_number(const char *text, const char *place, int64_t min, int64_t max,
                        int64_t *number, struct err *err) {
    int64_t value;
    if (!bytes_to_i64(bytes_of_str(text), &value) || value < min || value > max) {
        return err_set(err, ERR_USAGE, place,
                       "'%.64s' is not a whole number from %" PRId64 " to %" PRId64, text, min,
                       max);
    }
    *number = value;
    return true;
}

const char *units_format_number(uint64_t number, char *buf, size_t size) {
    char digits[24];
    char grouped[32];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, number);
    int used = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) grouped[used++] = ',';
        grouped[used++] = digits[i];
    }
    snprintf(buf, size, "%.*s", used, grouped);
    return buf;
}

const char *units_format_bytes(uint64_t bytes, char *buf, size_t size) {
    static const char *const names[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    if (bytes < KIB) {
        snprintf(buf, size, "%" PRIu64 " B", bytes);
        return buf;
    }
    double value = (double)bytes / KIB;
    size_t i = 0;
    /* 1023.95 would be printed as 1024.0. */
    while (value >= 1023.95 && i + 1 < sizeof(names) / sizeof(names[0])) {
        value /= KIB;
        i++;
    }
    snprintf(buf, size, "%.1f %s", value, names[i]);
    return buf;
}

const char *units_format_duration(int64_t duration_ms, char *buf, size_t size) {
    const char *sign = duration_ms < 0 ? "-" : "";
    uint64_t ms = duration_ms < 0 ? -(uint64_t)duration_ms : (uint64_t)duration_ms;
    uint64_t s = ms / 1000, m = s / 60, h = m / 60, d = h / 24;
    if (s == 0) {
        snprintf(buf, size, "%s%" PRIu64 " ms", sign, ms);
    } else if (m == 0) {
        snprintf(buf, size, "%s%" PRIu64 ".%02" PRIu64 " s", sign, s, ms % 1000 / 10);
    } else if (h == 0) {
        snprintf(buf, size, "%s%" PRIu64 "m %02" PRIu64 "s", sign, m, s % 60);
    } else if (d == 0) {
        snprintf(buf, size, "%s%" PRIu64 "h %02" PRIu64 "m %02" PRIu64 "s", sign, h, m % 60,
                 s % 60);
    } else {
        snprintf(buf, size, "%s%" PRIu64 "d %02" PRIu64 "h %02" PRIu64 "m", sign, d, h % 24,
                 m % 60);
    }
    return buf;
}

const char *units_format_time(int64_t wall_us, char *buf, size_t size) {
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(buf, size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(buf + len, size - len, ".%03dZ", (int)(wall_us / 1000 % 1000));
    return buf;
}
