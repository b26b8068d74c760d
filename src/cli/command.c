/* The table of commands, made from command.def. */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "cli/option.h"

const struct command commands[COMMAND_COUNT] = {
#define WORDS(...)                                                                                 \
    { __VA_ARGS__ }
#define COMMAND(id, name_, words_, min_words_, summary_, description_, examples_, statuses_)       \
    [COMMAND_##id] = { .name = name_,                                                              \
                       .words = words_,                                                            \
                       .min_words = min_words_,                                                    \
                       .summary = summary_,                                                        \
                       .description = description_,                                                \
                       .examples = examples_,                                                      \
                       .statuses = statuses_ },
#include "cli/command.def"
#undef COMMAND
#undef WORDS
};

const struct command *command_find(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

const char *command_suggest(const char *name) {
    size_t len = strlen(name), best_distance = len / 3 + 1;
    const char *best = NULL;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        size_t distance =
            option_distance(name, len, commands[i].name, strlen(commands[i].name), best_distance);
        if (distance >= best_distance) continue;
        best = commands[i].name;
        best_distance = distance;
    }
    return best;
}

const char *command_usage(enum command_id id, char *buf, size_t size) {
    const struct command *command = &commands[id];
    const char *options = command_has_options(id) ? " [OPTIONS]" : "";
    size_t used = (size_t)snprintf(buf, size, "longhaul %s%s", command->name, options);
    for (size_t i = 0; i < COMMAND_WORDS_MAX && command->words[i] != NULL && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, i < command->min_words ? " %s" : " [%s]",
                                 command->words[i]);
    return buf;
}
