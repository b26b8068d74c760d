/* The commands: one table, command.def, from which dispatch, help, manual and completion are made.
 */
#ifndef LONGHAUL_CLI_COMMAND_H
#define LONGHAUL_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

enum { COMMAND_WORDS_MAX = 2 };

enum command_id {
#define COMMAND(id, name, words, min_words, summary, description, examples, statuses) COMMAND_##id,
#include "cli/command.def"
#undef COMMAND
    COMMAND_COUNT
};

#define COMMAND_BIT(id) (1u << COMMAND_##id)

struct command {
    const char *name;
    /* positional arguments: "SOURCE", "TARGET", ...; NULL-filled */
    const char *words[COMMAND_WORDS_MAX];
    size_t min_words;        /* how many of them must be there */
    const char *summary;     /* one line for lists */
    const char *description; /* paragraphs, parted by '\n' */
    const char *examples;    /* pairs of lines: the purpose, and the command */
    /* lines "N meaning"; NULL: 0 and 2 with their usual meaning */
    const char *statuses;
};

extern const struct command commands[COMMAND_COUNT];

/* NULL where there is none of that name. */
const struct command *command_find(const char *name);

/* The most similar command, or NULL where none is. */
const char *command_suggest(const char *name);

/* Does it have options besides --help? */
static inline bool command_has_options(enum command_id id) {
    return id <= COMMAND_DEMO;
}

/* "longhaul replicate [OPTIONS] SOURCE TARGET" */
const char *command_usage(enum command_id id, char *buf, size_t size);

#endif
