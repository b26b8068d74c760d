/* The command line and the environment into struct options.
 *
 * Every value goes through options_set(), which knows where the former one came from; so the order
 * in which the places are read does not matter, and the command line can be read first, for
 * --config.
 */
#include "cli/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "cli/options_priv.h"
#include "cli/secrets.h"

#define ENV_PREFIX "LONGHAUL_"
#define ENV_PREFIX_LEN (sizeof(ENV_PREFIX) - 1)

enum { QUOTE_MAX = 80, PLACE_MAX = 80, USAGE_MAX = 160, OWNERS_MAX = 200 };

static bool set_defaults(struct options *options, struct err *err) {
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->text == NULL || !option_belongs_to(option, options->command)) continue;
        if (!options_set(options, option, ORIGIN_DEFAULT, option->text, option->name, err))
            return false;
    }
    return true;
}

/* --- the command line --- */

struct args {
    struct options *options;
    const struct command *command;
    char *const *argv;
    int argc;
    int at;          /* next to look at */
    bool only_words; /* "--" was seen */
};

static char **word_slot(struct options *options, const char *word, size_t i) {
    if (strcmp(word, "SOURCE") == 0) return &options->side[OPT_SOURCE].uri;
    if (strcmp(word, "TARGET") == 0) return &options->side[OPT_TARGET].uri;
    if (strcmp(word, "ENDPOINT") == 0) return &options->side[OPT_SERVER].uri;
    return &options->words[i];
}

static bool take_word(struct args *args, const char *text, struct err *err) {
    struct options *options = args->options;
    char usage[USAGE_MAX], quoted[QUOTE_MAX];
    size_t i = options->n_words;
    if (i == COMMAND_WORDS_MAX || args->command->words[i] == NULL) {
        char *masked = secrets_mask(text);
        err_set(err, ERR_USAGE, NULL, "unexpected argument \"%s\"; usage: %s",
                bytes_escape(bytes_of_str(masked), quoted, sizeof(quoted)),
                command_usage(args->options->command, usage, sizeof(usage)));
        free(masked);
        return false;
    }
    *word_slot(options, args->command->words[i], i) = mem_strdup(text);
    options->n_words++;
    return true;
}

/* The error for a name that the command does not know: of another command, or of none. */
static bool refuse_name(const struct args *args, const char *dashes, const char *name, size_t len,
                        struct err *err) {
    char quoted[QUOTE_MAX], owners[OWNERS_MAX];
    if (option_find_any(name, len) != NULL) {
        char sides[64] = "";
        const struct command *command = args->command;
        if (command->words[0] != NULL && strcmp(command->words[0], "SOURCE") == 0)
            snprintf(sides, sizeof(sides), "source-%.*s", (int)len, name);
        const struct option *option = option_find(sides, strlen(sides), args->options->command);
        if (option != NULL)
            return err_set(err, ERR_USAGE, NULL,
                           "%s has no option --%.*s; use --source-%.*s or --target-%.*s",
                           command->name, (int)len, name, (int)len, name, (int)len, name);
        return err_set(err, ERR_USAGE, NULL, "%s has no option --%.*s; it belongs to %s",
                       command->name, (int)len, name,
                       option_owners(name, len, owners, sizeof(owners)));
    }
    const struct option *near = option_suggest(name, len, args->options->command);
    bytes_escape(bytes_of(name, len), quoted, sizeof(quoted));
    if (near != NULL)
        return err_set(err, ERR_USAGE, NULL, "unknown option %s%s; did you mean --%s?", dashes,
                       quoted, near->name);
    return err_set(err, ERR_USAGE, NULL, "unknown option %s%s; see longhaul %s --help", dashes,
                   quoted, args->command->name);
}

/* The value behind "--name": the next argument, unless that is an option itself. */
static bool args_take_value(struct args *args, const struct option *option, const char **value,
                            struct err *err) {
    char place[PLACE_MAX];
    snprintf(place, sizeof(place), "--%s", option->name);
    if (args->at == args->argc)
        return err_set(err, ERR_USAGE, place, "the value is missing; expected --%s %s",
                       option->name, option->value);
    const char *next = args->argv[args->at];
    if (strncmp(next, "--", 2) == 0) {
        size_t len = strcspn(next + 2, "=");
        if (option_find_any(next + 2, len) != NULL)
            return err_set(err, ERR_USAGE, place,
                           "the value is missing: the option --%.*s follows; expected --%s %s",
                           (int)len, next + 2, option->name, option->value);
    }
    *value = next;
    args->at++;
    return true;
}

/* "--help", "--help all" or "--help=all". */
static bool take_help(struct args *args, const char *value, struct err *err) {
    char quoted[QUOTE_MAX];
    if (value == NULL && args->at < args->argc && strcmp(args->argv[args->at], "all") == 0)
        value = args->argv[args->at++];
    args->options->help = true;
    args->options->help_all = value != NULL;
    if (value == NULL || strcmp(value, "all") == 0) return true;
    return err_set(err, ERR_USAGE, "--help", "\"%s\" is unknown; expected all, or nothing",
                   bytes_escape(bytes_of_str(value), quoted, sizeof(quoted)));
}

static bool take_option(struct args *args, const struct option *option, const char *value,
                        struct err *err) {
    char place[PLACE_MAX];
    if (strcmp(option->name, "help") == 0) return take_help(args, value, err);
    snprintf(place, sizeof(place), "--%s", option->name);
    if (value == NULL && option->type == OPTION_FLAG) value = "true";
    if (value == NULL && !args_take_value(args, option, &value, err)) return false;
    return options_set(args->options, option, ORIGIN_COMMAND_LINE, value, place, err);
}

static bool take_long(struct args *args, const char *name, struct err *err) {
    size_t len = strcspn(name, "=");
    const struct option *option = option_find(name, len, args->options->command);
    if (option == NULL) return refuse_name(args, "--", name, len, err);
    return take_option(args, option, name[len] == '=' ? name + len + 1 : NULL, err);
}

static bool take_short(struct args *args, const char *letters, struct err *err) {
    const struct option *option =
        letters[1] == '\0' ? option_find_letter(letters[0], args->options->command) : NULL;
    if (option != NULL) return take_option(args, option, NULL, err);
    size_t len = strcspn(letters, "=");
    if (option_find(letters, len, args->options->command) != NULL)
        return err_set(err, ERR_USAGE, NULL, "unknown option -%.*s; did you mean --%.*s?", (int)len,
                       letters, (int)len, letters);
    return refuse_name(args, "-", letters, len, err);
}

static bool take_arg(struct args *args, struct err *err) {
    const char *arg = args->argv[args->at++];
    if (args->only_words || arg[0] != '-' || arg[1] == '\0') return take_word(args, arg, err);
    if (strcmp(arg, "--") == 0) {
        args->only_words = true;
        return true;
    }
    return arg[1] == '-' ? take_long(args, arg + 2, err) : take_short(args, arg + 1, err);
}

static bool read_args(struct args *args, struct err *err) {
    while (args->at < args->argc && !args->options->help)
        if (!take_arg(args, err)) return false;
    return true;
}

static bool check_words(const struct args *args, struct err *err) {
    char usage[USAGE_MAX];
    size_t n = args->options->n_words;
    if (n >= args->command->min_words) return true;
    return err_set(err, ERR_USAGE, NULL, "%s is missing; usage: %s", args->command->words[n],
                   command_usage(args->options->command, usage, sizeof(usage)));
}

/* --- the environment --- */

static const char *env_get(char *const *env, const char *name) {
    size_t len = strlen(name);
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=') return *env + len + 1;
    return NULL;
}

/* Some option of any command, or a typing error: a variable that looks like a setting must not be
 * ignored. */
static bool check_env_name(const struct options *options, const char *variable, struct err *err) {
    char quoted[QUOTE_MAX], name[OPTION_ENV_MAX] = "";
    size_t len = strcspn(variable, "=");
    for (size_t i = 0; i < option_count; i++) {
        option_env_name(&option_table[i], name);
        if (strlen(name) == len && memcmp(name, variable, len) == 0) return true;
    }
    bytes_escape(bytes_of(variable, len), quoted, sizeof(quoted));
    char plain[OPTION_ENV_MAX];
    snprintf(plain, sizeof(plain), "%.*s", (int)(len - ENV_PREFIX_LEN), variable + ENV_PREFIX_LEN);
    for (char *c = plain; *c != '\0'; c++) *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
    const struct option *near = option_suggest(plain, strlen(plain), options->command);
    if (near == NULL)
        return err_set(err, ERR_USAGE, quoted,
                       "this variable of the environment names no option; remove it");
    return err_set(err, ERR_USAGE, quoted,
                   "this variable of the environment names no option; did you mean %s?",
                   option_env_name(near, name));
}

static bool check_env(const struct options *options, char *const *env, struct err *err) {
    if (!command_has_options(options->command)) return true;
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, ENV_PREFIX, ENV_PREFIX_LEN) == 0 && !check_env_name(options, *env, err))
            return false;
    return true;
}

static bool read_env(struct options *options, char *const *env, struct err *err) {
    char name[OPTION_ENV_MAX];
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_belongs_to(option, options->command) || strcmp(option->name, "help") == 0)
            continue;
        const char *value = env_get(env, option_env_name(option, name));
        /* Empty means not set: that is how scripts and container files switch a variable off. */
        if (value == NULL || value[0] == '\0') continue;
        if (!options_set(options, option, ORIGIN_ENV, value, name, err)) return false;
    }
    return true;
}

/* --- all of it --- */

static bool find_command(const char *name, const struct command **command, struct err *err) {
    char quoted[QUOTE_MAX];
    *command = command_find(name);
    if (*command != NULL) return true;
    if (name[0] == '-')
        return err_set(err, ERR_USAGE, NULL,
                       "a command must come before the options; see longhaul --help");
    const char *near = command_suggest(name);
    char *masked = secrets_mask(name);
    bytes_escape(bytes_of_str(masked), quoted, sizeof(quoted));
    free(masked);
    if (near != NULL)
        return err_set(err, ERR_USAGE, NULL, "unknown command \"%s\"; did you mean %s?", quoted,
                       near);
    return err_set(err, ERR_USAGE, NULL, "unknown command \"%s\"; see longhaul --help", quoted);
}

bool options_parse(struct options *options, int argc, char *const *argv, char *const *env,
                   struct err *err) {
    *options = (struct options){ 0 };
    const struct command *command;
    if (argc < 2) return err_set(err, ERR_USAGE, NULL, "no command is given; see longhaul --help");
    if (!find_command(argv[1], &command, err)) return false;

    options->command = (enum command_id)(command - commands);
    options->origin = mem_zalloc(option_count);
    struct args args = {
        .options = options, .command = command, .argv = argv, .argc = argc, .at = 2
    };
    if (!set_defaults(options, err) || !read_args(&args, err)) return false;
    if (options->help) return true;
    return check_words(&args, err) && check_env(options, env, err) && read_env(options, env, err) &&
           options_read_config(options, err) && options_settle(options, err);
}

void options_fini(struct options *options) {
    for (size_t i = 0; i < option_count; i++)
        option_value_free(&option_table[i], (char *)options + option_table[i].offset);
    for (size_t i = 0; i < OPT_SIDES; i++) endpoint_wipe(&options->side[i].uri);
    for (size_t i = 0; i < COMMAND_WORDS_MAX; i++) free(options->words[i]);
    free(options->origin);
    *options = (struct options){ 0 };
}
