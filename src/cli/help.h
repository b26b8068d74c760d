/* The help, manual and completion of longhaul, printed from the tables of commands and options. */
#ifndef LONGHAUL_CLI_HELP_H
#define LONGHAUL_CLI_HELP_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/command.h"
#include "cli/option.h"

/* One line for the version, and one about the purpose of the program. */
extern const char help_version[];
extern const char help_tagline[];

/* Forms of an endpoint, in pairs: form, meaning; ends with NULL. */
extern const char *const help_endpoint_forms[];

/* `longhaul --help` and `longhaul COMMAND --help`, wrapped to `width` columns. */
void help_print(FILE *out, size_t width);
/* all: also options of level MORE, which are left out where a command has many. */
void help_print_command(FILE *out, enum command_id command, bool all, size_t width);

/* Columns of the terminal behind `out`, within readable bounds; 80 where there is none. */
size_t help_width(FILE *out);

bool help_has_endpoints(enum command_id command);

/* "scan, live or liveonly; default scan; repeatable": the rules of a value, which its help does not
 * repeat; may be "". */
const char *help_value_notes(const struct option *option, char *buf, size_t size);

/* The manual page, as mdoc. */
void manual_print(FILE *out);

/* The completion script for bash, zsh or fish. */
bool completion_print(FILE *out, const char *shell, struct err *err);

#endif
