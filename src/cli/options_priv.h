/* Between the files that make struct options: where each value came from, and how one is set. */
#ifndef LONGHAUL_CLI_OPTIONS_PRIV_H
#define LONGHAUL_CLI_OPTIONS_PRIV_H

#include "cli/option.h"
#include "cli/options.h"

/* Rising: the origin further down wins. */
enum option_origin {
    ORIGIN_NONE,
    ORIGIN_DEFAULT,         /* the table's default text */
    ORIGIN_CONFIG_DEFAULTS, /* [defaults] of the configuration file */
    ORIGIN_CONFIG_COMMAND,  /* [COMMAND] of the configuration file */
    ORIGIN_ENV,
    ORIGIN_COMMAND_LINE
};

/* Sets the option unless it has a value of a higher origin; a second value of the same origin is an
 * error, save for repeatable options. */
bool options_set(struct options *options, const struct option *option, enum option_origin origin,
                 const char *text, const char *place, struct err *err);

/* Where the option of this name got its value; a flag that was switched off counts as not given. */
enum option_origin options_origin(const struct options *options, const char *name);

/* Was a value given anywhere, be it that a flag is switched off? Is the flag on? */
bool options_is_set(const struct options *options, const char *name);
bool options_is_on(const struct options *options, const char *name);

/* Reads the file that --config names. */
bool options_read_config(struct options *options, struct err *err);

/* Settles options that mean the same thing (--quick and --compare), and refuses contradictions. */
bool options_settle(struct options *options, struct err *err);

/* The prefix of a side's options: "source-", "target-" or "". */
const char *options_side_prefix(enum opt_side_id side);

/* Does the command have this side, and was its endpoint named? */
bool options_has_side(const struct options *options, enum opt_side_id side);

#endif
