/* The option table, made from options.def, and looking things up in it. */
#include "cli/option.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/options.h"

#define ANY                                                                                        \
    { 0 }
#define BETWEEN(low, high)                                                                         \
    { .ranged = true, .min = (low), .max = (high) }
#define AUTO_OR(low, high)                                                                         \
    { .ranged = true, .min = (low), .max = (high), .auto_is_zero = true }
#define FROM_ONE(low, high)                                                                        \
    { .ranged = true, .min = (low), .max = (high), .from_one = true }
#define MILLIS(low, high)                                                                          \
    { .ranged = true, .min = (low), .max = (high), .bare_millis = true }
#define ONE_OF(list)                                                                               \
    { .words = (list) }

const struct option option_table[] = {
#define OPTION(name_, letter_, value_, type_, field_, limits_, text_, section_, commands_,         \
               effect_, level_, help_)                                                             \
    { .name = name_,                                                                               \
      .letter = letter_,                                                                           \
      .value = value_,                                                                             \
      .type = OPTION_##type_,                                                                      \
      .offset = offsetof(struct options, field_),                                                  \
      .limits = limits_,                                                                           \
      .text = text_,                                                                               \
      .section = OPTION_SECTION_##section_,                                                        \
      .commands = commands_,                                                                       \
      .effect = OPTION_EFFECT_##effect_,                                                           \
      .level = OPTION_LEVEL_##level_,                                                              \
      .help = help_ },
#include "cli/options.def"
#undef OPTION
};
const size_t option_count = sizeof(option_table) / sizeof(option_table[0]);

/* The compiler compares each row's type with that of its field. */
#define C_FLAG bool
#define C_NUMBER int64_t
#define C_COUNT uint64_t
#define C_SIZE uint64_t
#define C_DURATION int64_t
#define C_CHOICE int
#define C_STRING char *
#define C_SECRET char *
#define C_LIST struct opt_list
#define C_TYPES struct opt_list
#define C_CHOICES uint64_t
#define C_RANGE struct int_range
#define C_SIZES struct int_range
#define C_DURATIONS struct int_range
#define C_SLOTS struct opt_slots
#define C_DATABASES struct opt_databases
#define OPTION(name, letter, value, type, field, limits, text, section, commands, effect, level,   \
               help)                                                                               \
    _Static_assert(                                                                                \
        __builtin_types_compatible_p(__typeof__(((struct options *)0)->field), C_##type), name);   \
    _Static_assert(sizeof(name) <= OPTION_NAME_MAX, name);
#include "cli/options.def"
#undef OPTION

const char *option_section_title(enum option_section section) {
    static const char *const titles[] = {
#define OPTION_TITLE(id, title) [OPTION_SECTION_##id] = title,
        OPTION_SECTIONS(OPTION_TITLE)
#undef OPTION_TITLE
    };
    return titles[section];
}

bool option_is_repeatable(const struct option *option) {
    return option->type == OPTION_LIST || option->type == OPTION_TYPES ||
           option->type == OPTION_CHOICES;
}

static bool is_named(const struct option *option, const char *name, size_t len) {
    return strlen(option->name) == len && memcmp(option->name, name, len) == 0;
}

const struct option *option_find(const char *name, size_t len, enum command_id command) {
    for (size_t i = 0; i < option_count; i++)
        if (option_belongs_to(&option_table[i], command) && is_named(&option_table[i], name, len))
            return &option_table[i];
    return NULL;
}

const struct option *option_find_letter(char letter, enum command_id command) {
    for (size_t i = 0; i < option_count; i++)
        if (option_belongs_to(&option_table[i], command) && letter != 0 &&
            option_table[i].letter == letter)
            return &option_table[i];
    return NULL;
}

const struct option *option_find_any(const char *name, size_t len) {
    for (size_t i = 0; i < option_count; i++)
        if (is_named(&option_table[i], name, len)) return &option_table[i];
    return NULL;
}

static size_t min3(size_t a, size_t b, size_t c) {
    size_t min = a < b ? a : b;
    return min < c ? min : c;
}

size_t option_distance(const char *a, size_t a_len, const char *b, size_t b_len, size_t limit) {
    size_t row[OPTION_NAME_MAX + 1];
    if (a_len > OPTION_NAME_MAX || b_len > OPTION_NAME_MAX) return limit;
    for (size_t j = 0; j <= b_len; j++) row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len] < limit ? row[b_len] : limit;
}

/* A third of the letters may be wrong, so that "--tread" finds "--threads" and "--foo" finds
 * nothing. A name that only lacks its end ("--ttl") is similar too, if it is the start of one
 * option. */
const struct option *option_suggest(const char *name, size_t len, enum command_id command) {
    const struct option *best = NULL, *started = NULL;
    size_t best_distance = len / 3 + 1;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_belongs_to(option, command)) continue;
        if (started == NULL && len >= 3 && strncmp(option->name, name, len) == 0) started = option;
        size_t distance =
            option_distance(name, len, option->name, strlen(option->name), best_distance);
        if (distance >= best_distance) continue;
        best = option;
        best_distance = distance;
    }
    return best != NULL ? best : started;
}

const char *option_owners(const char *name, size_t len, char *buf, size_t size) {
    unsigned mask = 0;
    for (size_t i = 0; i < option_count; i++)
        if (is_named(&option_table[i], name, len)) mask |= option_table[i].commands;
    size_t used = 0;
    buf[0] = '\0';
    for (int id = 0; id < COMMAND_COUNT; id++) {
        if (!((mask >> id) & 1) || used >= size) continue;
        used += (size_t)snprintf(buf + used, size - used, "%s%s", used > 0 ? ", " : "",
                                 commands[id].name);
    }
    return buf;
}

const char *option_env_name(const struct option *option, char buf[OPTION_ENV_MAX]) {
    int len = snprintf(buf, OPTION_ENV_MAX, "LONGHAUL_%s", option->name);
    for (int i = 0; i < len; i++)
        buf[i] = buf[i] == '-' ? '_' : (char)toupper((unsigned char)buf[i]);
    return buf;
}

bool option_next_word(const char **words, char word[OPTION_WORD_MAX]) {
    if (*words == NULL || **words == '\0') return false;
    size_t len = strcspn(*words, "|");
    snprintf(word, OPTION_WORD_MAX, "%.*s", (int)len, *words);
    *words += len + ((*words)[len] == '|');
    return true;
}

const char *option_list_words(const char *words, char *buf, size_t size) {
    char word[OPTION_WORD_MAX];
    size_t used = 0;
    buf[0] = '\0';
    while (used < size && option_next_word(&words, word)) {
        const char *sep = used == 0 ? "" : *words == '\0' ? " or " : ", ";
        used += (size_t)snprintf(buf + used, size - used, "%s%s", sep, word);
    }
    return buf;
}
