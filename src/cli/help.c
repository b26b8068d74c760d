/* --help: the tables of commands and options, as text wrapped to the terminal. */
#include "cli/help.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    WIDTH_MIN = 50,
    WIDTH_MAX = 110, /* longer lines are hard to read */
    WIDTH_DEFAULT = 80,
    INDENT = 2,
    HELP_COLUMN = 28,
    STATUS_COLUMN = 6,
    LINE_MAX_LEN = 256,
    SHORT_HELP_OPTIONS = 30, /* a command with more options shows those of level BASIC */
};

const char help_version[] = "longhaul " LONGHAUL_VERSION;
const char help_tagline[] =
    "copies a Redis or Valkey database to another server or cluster, and proves it";

const char *const help_endpoint_forms[] = {
    "host:port",
    "A server or any node of a cluster; the port is 6379 where left out.",
    "redis://[user:password@]host[:port][/database]",
    "The same with a login; valkey:// means the same, rediss:// and valkeys:// use TLS. A word "
    "alone before the @ is "
    "a password.",
    "unix:///path/to/socket?db=1",
    "A Unix socket; user and password may be given as parameters.",
    "redis-sentinel://host1,host2[/database]?sentinelMasterId=NAME",
    "The primary that these sentinels name; rediss-sentinel:// uses TLS.",
    NULL,
};

size_t help_width(FILE *out) {
    struct winsize size;
    if (!isatty(fileno(out)) || ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return WIDTH_DEFAULT;
    if (size.ws_col < WIDTH_MIN) return WIDTH_MIN;
    return size.ws_col > WIDTH_MAX ? WIDTH_MAX : size.ws_col;
}

/* Prints words from column `column` on (the cursor is there), starting further lines at `indent`.
 * Ends the line. */
static void wrap(FILE *out, const char *text, size_t column, size_t indent, size_t width) {
    bool first = true;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (!first && column + 1 + len > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)len, text);
        column += len;
        text += len + (text[len] == ' ');
        first = false;
    }
    fputc('\n', out);
}

/* A term and its meaning, in two columns, or below each other where the term is long. */
static void print_entry(FILE *out, const char *term, const char *text, size_t column,
                        size_t width) {
    fprintf(out, "%*s%s", INDENT, "", term);
    size_t used = INDENT + strlen(term);
    if (used + 2 > column) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", (int)(column - used), "");
    wrap(out, text, column, column, width);
}

bool help_has_endpoints(enum command_id id) {
    const char *word = commands[id].words[0];
    return word != NULL && (strcmp(word, "SOURCE") == 0 || strcmp(word, "TARGET") == 0 ||
                            strcmp(word, "ENDPOINT") == 0);
}

static void add_note(char *buf, size_t size, const char *before, const char *note) {
    size_t used = strlen(buf);
    if (used < size)
        snprintf(buf + used, size - used, "%s%s%s", used > 0 ? "; " : "", before, note);
}

const char *help_value_notes(const struct option *option, char *buf, size_t size) {
    option_list_words(option->limits.words, buf, size);
    if (option_is_repeatable(option)) add_note(buf, size, "", "repeatable");
    if (option->text != NULL) add_note(buf, size, "default ", option->text);
    return buf;
}

static void help_print_option(FILE *out, const struct option *option, size_t width) {
    char term[LINE_MAX_LEN], notes[LINE_MAX_LEN], text[2 * LINE_MAX_LEN], letter[8] = "";
    if (option->letter != 0) snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    snprintf(term, sizeof(term), "%s--%s%s%s", letter, option->name,
             option->value != NULL ? " " : "", option->value != NULL ? option->value : "");
    help_value_notes(option, notes, sizeof(notes));
    snprintf(text, sizeof(text), notes[0] != '\0' ? "%s [%s]" : "%s", option->help, notes);
    print_entry(out, term, text, HELP_COLUMN, width);
}

static bool is_shown(const struct option *option, enum command_id id, bool all) {
    return option_belongs_to(option, id) && (all || option->level == OPTION_LEVEL_BASIC);
}

static unsigned count_options(enum command_id id, bool all) {
    unsigned n = 0;
    for (size_t i = 0; i < option_count; i++) n += is_shown(&option_table[i], id, all);
    return n;
}

static void print_section(FILE *out, enum command_id id, enum option_section section, bool all,
                          size_t width) {
    bool any = false;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (option->section != section || !is_shown(option, id, all)) continue;
        if (!any) fprintf(out, "\n%s:\n", option_section_title(section));
        any = true;
        help_print_option(out, option, width);
    }
}

static void print_more(FILE *out, enum command_id id, size_t width) {
    char text[LINE_MAX_LEN];
    unsigned more = count_options(id, true) - count_options(id, false);
    snprintf(text, sizeof(text), "%u more options, for special cases, are shown by: %s", more,
             "longhaul ");
    fputc('\n', out);
    size_t used = strlen(text);
    snprintf(text + used, sizeof(text) - used, "%s --help all", commands[id].name);
    wrap(out, text, 0, 0, width);
}

static void print_paragraphs(FILE *out, const char *text, size_t width) {
    char paragraph[1024];
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        snprintf(paragraph, sizeof(paragraph), "%.*s", (int)len, text);
        fputc('\n', out);
        wrap(out, paragraph, 0, 0, width);
        text += len + (text[len] == '\n');
    }
}

/* Every second line is a command, which must stay copyable and is not wrapped. */
static void print_examples(FILE *out, const char *text) {
    fputs("\nExamples:\n", out);
    for (bool is_command = false; *text != '\0'; is_command = !is_command) {
        size_t len = strcspn(text, "\n");
        fprintf(out, "%*s%s%.*s\n", INDENT, "", is_command ? "  " : "# ", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

/* Lines "N meaning". */
static void print_statuses(FILE *out, const char *text, size_t width) {
    char status[8], meaning[LINE_MAX_LEN];
    if (text == NULL) return;
    fputs("\nExit status:\n", out);
    while (*text != '\0') {
        size_t len = strcspn(text, "\n"), word = strcspn(text, " ");
        snprintf(status, sizeof(status), "%.*s", (int)word, text);
        snprintf(meaning, sizeof(meaning), "%.*s", (int)(len - word - 1), text + word + 1);
        print_entry(out, status, meaning, STATUS_COLUMN, width);
        text += len + (text[len] == '\n');
    }
    print_entry(out, "64",
                "the command line, a LONGHAUL_ variable or the configuration file is wrong; "
                "nothing was done",
                STATUS_COLUMN, width);
}

static void help_print_endpoints(FILE *out, size_t width) {
    fputs("\nEndpoints:\n", out);
    for (const char *const *form = help_endpoint_forms; *form != NULL; form += 2)
        print_entry(out, form[0], form[1], HELP_COLUMN, width);
}

void help_print_command(FILE *out, enum command_id id, bool all, size_t width) {
    char usage[LINE_MAX_LEN];
    bool short_form = !all && count_options(id, true) > SHORT_HELP_OPTIONS;
    fprintf(out, "Usage: %s\n", command_usage(id, usage, sizeof(usage)));
    print_paragraphs(out, commands[id].description, width);
    print_examples(out, commands[id].examples);
    if (help_has_endpoints(id)) help_print_endpoints(out, width);
    print_statuses(out, commands[id].statuses, width);
    for (int section = 0; section < OPTION_SECTION_COUNT; section++)
        print_section(out, id, (enum option_section)section, !short_form, width);
    if (!command_has_options(id)) return;
    if (short_form) print_more(out, id, width);
    fputc('\n', out);
    wrap(out,
         "Each option may also be given in the environment, as LONGHAUL_ and its name "
         "(LONGHAUL_LOG_LEVEL=debug), or in "
         "a file with --config. The command line wins over the environment, and that over the "
         "file. --flag=false "
         "switches a flag off.",
         0, 0, width);
}

void help_print(FILE *out, size_t width) {
    fprintf(out, "%s ", help_version);
    wrap(out, help_tagline, strlen(help_version) + 1, 0, width);
    fputs("\nUsage: longhaul COMMAND [OPTIONS] [ENDPOINTS]\n\nCommands:\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        print_entry(out, commands[i].name, commands[i].summary, 16, width);
    help_print_endpoints(out, width);
    print_examples(out, "Copy one server into another\n"
                        "longhaul replicate source:6379 target:6379\n"
                        "See it work without a server of your own\n"
                        "longhaul demo\n"
                        "The options of a command that matter most\n"
                        "longhaul replicate --help\n"
                        "All of its options\n"
                        "longhaul replicate --help all");
}
