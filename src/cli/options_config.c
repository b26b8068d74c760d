/* The configuration file: [defaults] and one section per command, lines of `name = value`.
 *
 * inih splits the lines. It reports neither line numbers to its handler nor lines that are too long
 * for it, and it takes an indented line for the continuation of the one before; so it is fed by a
 * reader that counts lines, refuses long ones, and takes the indentation away.
 */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "cli/options_priv.h"

enum {
    PLACE_MAX = 400,
    QUOTE_MAX = 80,
    OWNERS_MAX = 200,
    LINE_MAX_BYTES = 190 /* inih's buffer has 200 */
};

#define SECTION_DEFAULTS "defaults"

struct config {
    struct options *options;
    FILE *file;
    unsigned line;
    bool failed; /* *err says why */
    struct err *err;
};

static const char *config_place(const struct config *config, const char *name,
                                char buf[PLACE_MAX]) {
    snprintf(buf, PLACE_MAX, "%s line %u%s%s", config->options->config_file, config->line,
             name[0] != '\0' ? ": " : "", name);
    return buf;
}

static bool config_refuse(struct config *config, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static bool config_refuse(struct config *config, const char *name, const char *fmt, ...) {
    char place[PLACE_MAX];
    va_list ap;
    va_start(ap, fmt);
    err_vset(config->err, ERR_USAGE, config_place(config, name, place), fmt, ap);
    va_end(ap);
    config->failed = true;
    return false;
}

/* An option that this file may hold, for that section; on NULL the error is set. */
static const struct option *find_option(struct config *config, const struct command *section,
                                        const char *name) {
    char quoted[QUOTE_MAX], owners[OWNERS_MAX];
    size_t len = strlen(name);
    const struct option *any = option_find_any(name, len);
    bytes_escape(bytes_of_str(name), quoted, sizeof(quoted));
    if (any == NULL) {
        const struct option *near = option_suggest(
            name, len,
            section == NULL ? config->options->command : (enum command_id)(section - commands));
        config_refuse(config, "",
                      near == NULL ? "unknown option \"%s\""
                                   : "unknown option \"%s\"; did you mean %s?",
                      quoted, near == NULL ? "" : near->name);
        return NULL;
    }
    if (strcmp(name, "config") == 0 || strcmp(name, "help") == 0) {
        config_refuse(config, "", "option \"%s\" has no place in a configuration file", quoted);
        return NULL;
    }
    if (section == NULL) return any;
    const struct option *option = option_find(name, len, (enum command_id)(section - commands));
    if (option == NULL)
        config_refuse(config, "", "%s has no option \"%s\"; it belongs to %s", section->name,
                      quoted, option_owners(name, len, owners, sizeof(owners)));
    return option;
}

static bool take_line(struct config *config, const char *section_name, const char *name,
                      const char *value) {
    char quoted[QUOTE_MAX], place[PLACE_MAX];
    struct options *options = config->options;
    bool defaults = strcmp(section_name, SECTION_DEFAULTS) == 0;
    const struct command *section = defaults ? NULL : command_find(section_name);
    if (!defaults && section == NULL) {
        bytes_escape(bytes_of_str(section_name), quoted, sizeof(quoted));
        return config_refuse(config, "",
                             "unknown section [%s]; expected [" SECTION_DEFAULTS
                             "] or [COMMAND] above the option",
                             quoted);
    }
    if (find_option(config, section, name) == NULL) return false;

    /* Lines for another command are only looked at for their names. */
    const struct option *option = option_find(name, strlen(name), options->command);
    if (option == NULL || (!defaults && section != &commands[options->command])) return true;
    enum option_origin origin = defaults ? ORIGIN_CONFIG_DEFAULTS : ORIGIN_CONFIG_COMMAND;
    config->failed = !options_set(options, option, origin, value, config_place(config, name, place),
                                  config->err);
    return !config->failed;
}

static int on_line(void *ctx, const char *section, const char *name, const char *value) {
    struct config *config = ctx;
    return config->failed || take_line(config, section, name, value);
}

static char *read_line(char *buf, int size, void *ctx) {
    struct config *config = ctx;
    if (config->failed || fgets(buf, size, config->file) == NULL) return NULL;
    config->line++;
    size_t len = strlen(buf);
    if (len > LINE_MAX_BYTES || (len > 0 && buf[len - 1] != '\n' && !feof(config->file))) {
        config_refuse(config, "", "the line is longer than %d bytes, or holds a NUL",
                      LINE_MAX_BYTES);
        return NULL;
    }
    size_t indent = strspn(buf, " \t");
    memmove(buf, buf + indent, len - indent + 1);
    return buf;
}

bool options_read_config(struct options *options, struct err *err) {
    if (options->config_file == NULL) return true;
    struct config config = { .options = options, .err = err };
    config.file = fopen(options->config_file, "re");
    if (config.file == NULL)
        return err_set_errno(err, ERR_USAGE, "--config", errno, "cannot open %s",
                             options->config_file);
    int line = ini_parse_stream(read_line, &config, on_line, &config);
    bool unreadable = ferror(config.file);
    fclose(config.file);
    if (config.failed) return false;
    if (unreadable) return err_set(err, ERR_IO, "--config", "cannot read %s", options->config_file);
    if (line == 0) return true;
    config.line = (unsigned)line;
    return config_refuse(&config, "", "expected [section] or name = value");
}
