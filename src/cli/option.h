/* One row of the option table, for the files that print or parse it; commands use cli/options.h. */
#ifndef LONGHAUL_CLI_OPTION_H
#define LONGHAUL_CLI_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cli/command.h"

/* Headings of --help and of the manual, in their order. */
#define OPTION_SECTIONS(X)                                                                         \
    X(SOURCE, "Source")                                                                            \
    X(TARGET, "Target")                                                                            \
    X(SERVER, "Server")                                                                            \
    X(KEYS, "Which keys")                                                                          \
    X(COPY, "How they are copied")                                                                 \
    X(LIVE, "Following changes")                                                                   \
    X(DATA, "What is written")                                                                     \
    X(MEASURE, "What is measured")                                                                 \
    X(VERIFY, "Comparison")                                                                        \
    X(SPEED, "Speed and load")                                                                     \
    X(WAITS, "Waiting")                                                                            \
    X(SHOWN, "What is shown")                                                                      \
    X(GENERAL, "General")

enum option_section {
#define OPTION_SECTION(id, title) OPTION_SECTION_##id,
    OPTION_SECTIONS(OPTION_SECTION)
#undef OPTION_SECTION
        OPTION_SECTION_COUNT
};

enum option_type {
    OPTION_FLAG,      /* bool */
    OPTION_NUMBER,    /* int64_t */
    OPTION_COUNT,     /* uint64_t */
    OPTION_SIZE,      /* uint64_t, bytes */
    OPTION_DURATION,  /* int64_t, milliseconds */
    OPTION_CHOICE,    /* int: index of the word */
    OPTION_STRING,    /* char * */
    OPTION_SECRET,    /* char *, wiped when freed and in argv */
    OPTION_LIST,      /* struct opt_list; repeatable */
    OPTION_TYPES,     /* struct opt_list of types of keys; repeatable */
    OPTION_CHOICES,   /* uint64_t: bit mask of words; repeatable */
    OPTION_RANGE,     /* struct int_range of numbers */
    OPTION_SIZES,     /* struct int_range of bytes */
    OPTION_DURATIONS, /* struct int_range of milliseconds */
    OPTION_SLOTS,     /* struct opt_slots */
    OPTION_DATABASES, /* struct opt_databases */
};

/* Does the option decide about the content of the target? Each row of options.def says it, so that
 * a new option cannot be left out of a live job's identity unnoticed. */
enum option_effect {
    OPTION_EFFECT_CONTENT, /* which keys are there, or their values; part of the scope */
    OPTION_EFFECT_MANNER,  /* how the copy is made or shown */
    OPTION_EFFECT_ALIAS    /* another way to write an option with a row of its own */
};

enum option_level {
    OPTION_LEVEL_BASIC, /* in `longhaul COMMAND --help` */
    OPTION_LEVEL_MORE   /* only in `longhaul COMMAND --help all` */
};

struct option_limits {
    bool ranged; /* min and max hold */
    int64_t min;
    int64_t max;
    bool auto_is_zero; /* "auto" is taken too, and stands for 0 */
    bool from_one;     /* of a range: N alone means 1-N, not N-N */
    bool bare_millis;  /* of a duration: a number without unit is milliseconds */
    const char *words; /* of a choice: "word|word" */
};

struct option {
    const char *name;
    char letter;
    const char *value; /* NULL: a flag */
    enum option_type type;
    size_t offset; /* of the value in struct options */
    struct option_limits limits;
    const char *text; /* the default; NULL: none */
    enum option_section section;
    unsigned commands;
    enum option_effect effect;
    enum option_level level;
    const char *help;
};

enum { OPTION_NAME_MAX = 40, OPTION_ENV_MAX = 64, OPTION_WORD_MAX = 32 };

extern const struct option option_table[];
extern const size_t option_count;

const char *option_section_title(enum option_section section);
bool option_is_repeatable(const struct option *option);

static inline bool option_belongs_to(const struct option *option, enum command_id command) {
    return (option->commands >> command) & 1;
}

/* The row of that command, NULL where it has none. Names are without dashes. */
const struct option *option_find(const char *name, size_t len, enum command_id command);
const struct option *option_find_letter(char letter, enum command_id command);

/* Some row of that name, of any command; NULL for an unknown name. */
const struct option *option_find_any(const char *name, size_t len);

/* The most similar option of the command, or NULL where none is similar. */
const struct option *option_suggest(const char *name, size_t len, enum command_id command);

/* "replicate, compare": the commands that have an option of this name. */
const char *option_owners(const char *name, size_t len, char *buf, size_t size);

/* "LONGHAUL_KEY_SLOT" */
const char *option_env_name(const struct option *option, char buf[OPTION_ENV_MAX]);

/* Number of edits that turn a into b, counted up to `limit`. */
size_t option_distance(const char *a, size_t a_len, const char *b, size_t b_len, size_t limit);

/* Cuts the next word off "a|b|c"; false at the end. */
bool option_next_word(const char **words, char word[OPTION_WORD_MAX]);

/* "scan|live|liveonly" as "scan, live or liveonly"; words may be NULL. */
const char *option_list_words(const char *words, char *buf, size_t size);

/* Parses text into the field (of the type that the option says), adding to it where the option is
 * repeatable. `place` is for the error. option_value_free leaves the field empty. */
bool option_value_parse(const struct option *option, void *field, const char *text,
                        const char *place, struct err *err);
void option_value_free(const struct option *option, void *field);

#endif
