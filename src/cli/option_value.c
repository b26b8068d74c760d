/* Texts into values, one function per type of option. Each checks the option's limits and names the
 * expected values in its error; none leaves a half-set field that option_value_free() could not
 * free. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/units.h"
#include "cli/option.h"
#include "cli/options.h"

enum { QUOTE_MAX = 80, DB_MAX = 999999, MODULE_TYPE_LEN = 9 };

typedef bool parse_fn(const struct option *option, void *field, const char *text, const char *place,
                      struct err *err);

static const char *value_quote(const char *text, char buf[QUOTE_MAX]) {
    return bytes_escape(bytes_of_str(text), buf, QUOTE_MAX);
}

static bool parse_flag(const struct option *option, void *field, const char *text,
                       const char *place, struct err *err) {
    static const char *const on[] = { "true", "yes", "on", "1" }, *const off[] = { "false", "no",
                                                                                   "off", "0" };
    char buf[QUOTE_MAX];
    for (size_t i = 0; i < 4; i++) {
        if (strcasecmp(text, on[i]) != 0 && strcasecmp(text, off[i]) != 0) continue;
        *(bool *)field = strcasecmp(text, on[i]) == 0;
        return true;
    }
    return err_set(err, ERR_USAGE, place, "\"%s\" is neither true nor false",
                   value_quote(text, buf));
}

static bool parse_number(const struct option *option, void *field, const char *text,
                         const char *place, struct err *err) {
    const struct option_limits *limits = &option->limits;
    char buf[QUOTE_MAX];
    int64_t number = 0;
    bool is_auto = limits->auto_is_zero && strcasecmp(text, "auto") == 0;
    if (!is_auto && !units_parse_number(text, place, limits->min, limits->max, &number, NULL))
        return err_set(err, ERR_USAGE, place,
                       "\"%s\" is not a whole number from %" PRId64 " to %" PRId64 "%s",
                       value_quote(text, buf), limits->min, limits->max,
                       limits->auto_is_zero ? ", nor auto" : "");
    *(int64_t *)field = number;
    return true;
}

static bool parse_count(const struct option *option, void *field, const char *text,
                        const char *place, struct err *err) {
    int64_t number;
    if (!parse_number(option, &number, text, place, err)) return false;
    *(uint64_t *)field = (uint64_t)number;
    return true;
}

static bool check_size(const struct option *option, uint64_t bytes, const char *text,
                       const char *place, struct err *err) {
    const struct option_limits *limits = &option->limits;
    char buf[QUOTE_MAX], min[32], max[32];
    if (!limits->ranged || (bytes >= (uint64_t)limits->min && bytes <= (uint64_t)limits->max))
        return true;
    return err_set(err, ERR_USAGE, place, "\"%s\" is not between %s and %s", value_quote(text, buf),
                   units_format_bytes((uint64_t)limits->min, min, sizeof(min)),
                   units_format_bytes((uint64_t)limits->max, max, sizeof(max)));
}

static bool parse_size(const struct option *option, void *field, const char *text,
                       const char *place, struct err *err) {
    uint64_t bytes;
    if (!units_parse_bytes(text, place, &bytes, err) ||
        !check_size(option, bytes, text, place, err))
        return false;
    *(uint64_t *)field = bytes;
    return true;
}

static bool parse_duration(const struct option *option, void *field, const char *text,
                           const char *place, struct err *err) {
    const struct option_limits *limits = &option->limits;
    char quoted[QUOTE_MAX], min[32], max[32];
    int64_t duration_ms;
    bool bare = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    bool good = bare && limits->bare_millis
                    ? units_parse_number(text, place, 0, INT64_MAX, &duration_ms, err)
                    : units_parse_duration(text, place, &duration_ms, err);
    if (!good) return false;
    if (duration_ms < limits->min || duration_ms > limits->max)
        return err_set(err, ERR_USAGE, place, "\"%s\" is not between %s and %s",
                       value_quote(text, quoted),
                       units_format_duration(limits->min, min, sizeof(min)),
                       units_format_duration(limits->max, max, sizeof(max)));
    *(int64_t *)field = duration_ms;
    return true;
}

static bool find_word(const struct option *option, const char *text, const char *place, int *index,
                      struct err *err) {
    char word[OPTION_WORD_MAX], buf[QUOTE_MAX], known[256];
    const char *words = option->limits.words;
    for (int i = 0; option_next_word(&words, word); i++) {
        if (strcasecmp(text, word) != 0) continue;
        *index = i;
        return true;
    }
    return err_set(err, ERR_USAGE, place, "\"%s\" is unknown; expected %s", value_quote(text, buf),
                   option_list_words(option->limits.words, known, sizeof(known)));
}

static bool parse_choice(const struct option *option, void *field, const char *text,
                         const char *place, struct err *err) {
    return find_word(option, text, place, field, err);
}

/* Calls parse for each part of "a,b,c". */
static bool parse_parts(const struct option *option, void *field, const char *text,
                        const char *place, parse_fn *parse, struct err *err) {
    struct bytes rest = bytes_of_str(text);
    bool good = true, more = true;
    while (good && more) {
        more = memchr(rest.ptr, ',', rest.len) != NULL;
        char *part = bytes_dup(bytes_split(&rest, ','));
        good = parse(option, field, part, place, err);
        free(part);
    }
    return good;
}

static bool add_choice(const struct option *option, void *field, const char *text,
                       const char *place, struct err *err) {
    int index = 0;
    if (!find_word(option, text, place, &index, err)) return false;
    *(uint64_t *)field |= UINT64_C(1) << index;
    return true;
}

static bool parse_choices(const struct option *option, void *field, const char *text,
                          const char *place, struct err *err) {
    return parse_parts(option, field, text, place, add_choice, err);
}

static bool parse_string(const struct option *option, void *field, const char *text,
                         const char *place, struct err *err) {
    if (text[0] == '\0')
        return err_set(err, ERR_USAGE, place, "the value is empty; expected %s", option->value);
    *(char **)field = mem_strdup(text);
    return true;
}

static bool parse_list(const struct option *option, void *field, const char *text,
                       const char *place, struct err *err) {
    struct opt_list *list = field;
    if (text[0] == '\0')
        return err_set(err, ERR_USAGE, place, "the value is empty; expected %s", option->value);
    if (list->n == OPTIONS_LIST_MAX)
        return err_set(err, ERR_USAGE, place, "more than %d values are given", OPTIONS_LIST_MAX);
    list->items = mem_array(list->items, list->n + 1, sizeof(*list->items));
    list->items[list->n++] = mem_strdup(text);
    return true;
}

/* The names of module types have nine characters of A-Z a-z 0-9 _ - (redis, RM_CreateDataType). */
static bool is_module_type(const char *text) {
    size_t len = 0;
    for (; text[len] != '\0'; len++)
        if (!isalnum((unsigned char)text[len]) && text[len] != '-' && text[len] != '_')
            return false;
    return len == MODULE_TYPE_LEN;
}

static bool add_type(const struct option *option, void *field, const char *text, const char *place,
                     struct err *err) {
    static const char *const known[] = { "string", "list",   "set",      "zset",
                                         "hash",   "stream", "vectorset" };
    char buf[QUOTE_MAX];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcasecmp(text, known[i]) == 0) return parse_list(option, field, known[i], place, err);
    if (is_module_type(text)) return parse_list(option, field, text, place, err);
    return err_set(
        err, ERR_USAGE, place,
        "\"%s\" is not a type of keys; expected string, list, set, zset, hash, stream, vectorset, "
        "or the "
        "nine letters of a module's type such as ReJSON-RL",
        value_quote(text, buf));
}

static bool parse_types(const struct option *option, void *field, const char *text,
                        const char *place, struct err *err) {
    return parse_parts(option, field, text, place, add_type, err);
}

/* "A-B" or "A" alone, where `parse` turns one end into a number. */
static bool parse_ends(const struct option *option, struct int_range *range, const char *text,
                       const char *place, parse_fn *parse, struct err *err) {
    char buf[QUOTE_MAX];
    struct bytes last = bytes_of_str(text);
    struct bytes first = bytes_split(&last, '-');
    bool single = first.len == strlen(text);
    char *first_text = bytes_dup(first), *last_text = bytes_dup(single ? first : last);
    struct int_range parsed = { 0 };
    bool good = parse(option, &parsed.first, first_text, place, err) &&
                parse(option, &parsed.last, last_text, place, err);
    free(first_text);
    free(last_text);
    if (!good) return false;
    if (single && option->limits.from_one) parsed.first = 1;
    if (parsed.first > parsed.last)
        return err_set(err, ERR_USAGE, place, "\"%s\" ends before it begins; expected e.g. 10-1000",
                       value_quote(text, buf));
    *range = parsed;
    return true;
}

static bool value_parse_range(const struct option *option, void *field, const char *text,
                              const char *place, struct err *err) {
    return parse_ends(option, field, text, place, parse_number, err);
}

static bool parse_sizes(const struct option *option, void *field, const char *text,
                        const char *place, struct err *err) {
    return parse_ends(option, field, text, place, parse_size, err);
}

static bool parse_durations(const struct option *option, void *field, const char *text,
                            const char *place, struct err *err) {
    return parse_ends(option, field, text, place, parse_duration, err);
}

static bool parse_slots(const struct option *option, void *field, const char *text,
                        const char *place, struct err *err) {
    struct opt_slots *slots = field;
    slots->given = slot_set_parse(&slots->set, text, place, err);
    return slots->given;
}

static bool value_add_database(struct opt_databases *databases, int db) {
    size_t at = 0;
    while (at < databases->n && databases->dbs[at] < db) at++;
    if (at < databases->n && databases->dbs[at] == db) return true;
    if (databases->n == OPTIONS_DATABASES_MAX) return false;
    databases->dbs = mem_array(databases->dbs, databases->n + 1, sizeof(*databases->dbs));
    memmove(&databases->dbs[at + 1], &databases->dbs[at],
            (databases->n - at) * sizeof(*databases->dbs));
    databases->dbs[at] = db;
    databases->n++;
    return true;
}

static bool add_databases(const struct option *option, void *field, const char *text,
                          const char *place, struct err *err) {
    char buf[QUOTE_MAX];
    struct option number = { .limits = { .ranged = true, .min = 0, .max = DB_MAX } };
    struct int_range range;
    if (!parse_ends(&number, &range, text, place, parse_number, NULL))
        return err_set(err, ERR_USAGE, place,
                       "\"%s\" is not a list of databases; expected all, or e.g. 0,3,5-9",
                       value_quote(text, buf));
    for (int64_t db = range.first; db <= range.last; db++)
        if (!value_add_database(field, (int)db))
            return err_set(err, ERR_USAGE, place, "more than %d databases are listed; expected all",
                           OPTIONS_DATABASES_MAX);
    return true;
}

static bool parse_databases(const struct option *option, void *field, const char *text,
                            const char *place, struct err *err) {
    struct opt_databases *databases = field;
    databases->all = strcasecmp(text, "all") == 0;
    return databases->all || parse_parts(option, field, text, place, add_databases, err);
}

bool option_value_parse(const struct option *option, void *field, const char *text,
                        const char *place, struct err *err) {
    static parse_fn *const parsers[] = {
        [OPTION_FLAG] = parse_flag,         [OPTION_NUMBER] = parse_number,
        [OPTION_COUNT] = parse_count,       [OPTION_SIZE] = parse_size,
        [OPTION_DURATION] = parse_duration, [OPTION_CHOICE] = parse_choice,
        [OPTION_STRING] = parse_string,     [OPTION_SECRET] = parse_string,
        [OPTION_LIST] = parse_list,         [OPTION_TYPES] = parse_types,
        [OPTION_CHOICES] = parse_choices,   [OPTION_RANGE] = value_parse_range,
        [OPTION_SIZES] = parse_sizes,       [OPTION_DURATIONS] = parse_durations,
        [OPTION_SLOTS] = parse_slots,       [OPTION_DATABASES] = parse_databases,
    };
    return parsers[option->type](option, field, text, place, err);
}

static void free_string(char **string) {
    free(*string);
    *string = NULL;
}

static void free_list(struct opt_list *list) {
    for (size_t i = 0; i < list->n; i++) free(list->items[i]);
    free(list->items);
    *list = (struct opt_list){ 0 };
}

static void free_databases(struct opt_databases *databases) {
    free(databases->dbs);
    *databases = (struct opt_databases){ 0 };
}

void option_value_free(const struct option *option, void *field) {
    if (option->type == OPTION_STRING) free_string(field);
    if (option->type == OPTION_SECRET) endpoint_wipe(field);
    if (option->type == OPTION_LIST || option->type == OPTION_TYPES) free_list(field);
    if (option->type == OPTION_DATABASES) free_databases(field);
}
