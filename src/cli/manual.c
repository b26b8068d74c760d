/* The manual page: the tables of commands and options, as mdoc(7). */
#include <string.h>

#include "cli/help.h"

#define MANUAL_DATE "November 22, 2026"

enum { WIDTH = 78, LINE_MAX_LEN = 256, OWNERS_MAX = 200 };

/* One word of running text; a '.' or '\'' at the start of a line would be a request, a '\\' an
 * escape. */
static void print_word(FILE *out, const char *word, size_t len, bool at_start) {
    if (at_start && len > 0 && (word[0] == '.' || word[0] == '\'')) fputs("\\&", out);
    for (size_t i = 0; i < len; i++) {
        if (word[i] == '\\')
            fputs("\\e", out);
        else if (word[i] == '-')
            fputs("\\-", out);
        else
            fputc(word[i], out);
    }
}

/* Running text; each sentence starts on its own line, as mdoc wants it. */
static void print_text(FILE *out, const char *text, size_t len) {
    size_t column = 0;
    bool sentence_ended = false;
    for (size_t at = 0; at < len;) {
        size_t word = 0;
        while (at + word < len && text[at + word] != ' ') word++;
        bool at_start = column == 0 || sentence_ended || column + 1 + word > WIDTH;
        if (column > 0) fputc(at_start ? '\n' : ' ', out);
        column = at_start ? word : column + 1 + word;
        print_word(out, text + at, word, at_start);
        sentence_ended = word > 1 && text[at + word - 1] == '.' && text[at + word - 2] != '.';
        at += word + 1;
    }
    fputc('\n', out);
}

static void print_str(FILE *out, const char *text) {
    print_text(out, text, strlen(text));
}

/* A literal line: as print_word(), blanks included. */
static void print_literal(FILE *out, const char *text, size_t len) {
    print_word(out, text, len, true);
    fputc('\n', out);
}

/* Calls print for each line. */
static void for_lines(FILE *out, const char *text,
                      void print(FILE *, const char *, size_t, size_t)) {
    for (size_t i = 0; *text != '\0'; i++) {
        size_t len = strcspn(text, "\n");
        print(out, text, len, i);
        text += len + (text[len] == '\n');
    }
}

static void print_paragraph(FILE *out, const char *line, size_t len, size_t i) {
    if (i > 0) fputs(".Pp\n", out);
    print_text(out, line, len);
}

/* The purpose, then the command. */
static void print_example(FILE *out, const char *line, size_t len, size_t i) {
    bool is_command = i % 2 == 1;
    if (!is_command) {
        if (i > 0) fputs(".Pp\n", out);
        print_text(out, line, len);
        return;
    }
    fputs(".Bd -literal -offset indent\n", out);
    print_literal(out, line, len);
    fputs(".Ed\n", out);
}

static void print_status(FILE *out, const char *line, size_t len, size_t i) {
    fprintf(out, ".It %.1s\n", line);
    print_text(out, line + 2, len - 2);
}

static void print_usage(FILE *out, enum command_id id) {
    const struct command *command = &commands[id];
    fprintf(out, "%s", command->name);
    if (command_has_options(id)) fputs(" Oo Ar OPTIONS Oc", out);
    for (size_t i = 0; i < COMMAND_WORDS_MAX && command->words[i] != NULL; i++)
        fprintf(out, i < command->min_words ? " Ar %s" : " Oo Ar %s Oc", command->words[i]);
    fputc('\n', out);
}

static void print_synopsis(FILE *out) {
    fputs(".Sh SYNOPSIS\n", out);
    for (int id = 0; id < COMMAND_COUNT; id++) {
        fputs(".Nm\n.Cm ", out);
        print_usage(out, (enum command_id)id);
    }
}

static void print_command(FILE *out, enum command_id id) {
    fputs(".It Cm ", out);
    print_usage(out, id);
    for_lines(out, commands[id].description, print_paragraph);
    if (commands[id].statuses == NULL) return;
    fputs(".Pp\nIts exit status is:\n.Bl -tag -width 2n -compact\n", out);
    for_lines(out, commands[id].statuses, print_status);
    fputs(".El\n", out);
}

static void manual_print_endpoints(FILE *out) {
    fputs(".Sh ENDPOINTS\n.Bl -tag -width Ds\n", out);
    for (const char *const *form = help_endpoint_forms; *form != NULL; form += 2) {
        fputs(".It ", out);
        /* Quoted, since a macro line would take brackets and commas for punctuation. */
        fputc('"', out);
        print_word(out, form[0], strlen(form[0]), false);
        fputs("\"\n", out);
        print_str(out, form[1]);
    }
    fputs(".El\n.Pp\n", out);
    print_str(out,
              "Special characters in user and password are written as % and two hex digits. The "
              "parameter timeout, "
              "such as ?timeout=5s, stands for the option of that name.");
}

static void print_owners(FILE *out, const struct option *option) {
    char text[OWNERS_MAX] = "For ";
    bool all = true, first = true;
    for (int id = 0; id < COMMAND_COUNT; id++) {
        if (!option_belongs_to(option, (enum command_id)id)) all = false;
        if (!option_belongs_to(option, (enum command_id)id)) continue;
        if (!first) strcat(text, ", ");
        strcat(text, commands[id].name);
        first = false;
    }
    print_str(out, all ? "For every command." : strcat(text, "."));
}

static void manual_print_option(FILE *out, const struct option *option) {
    char notes[LINE_MAX_LEN], text[LINE_MAX_LEN + 4];
    fputs(".It ", out);
    if (option->letter != 0) fprintf(out, "Fl %c , ", option->letter);
    fprintf(out, "Fl \\-%s", option->name);
    if (option->value != NULL) fprintf(out, " Ar %s", option->value);
    fputc('\n', out);
    print_str(out, option->help);
    if (help_value_notes(option, notes, sizeof(notes))[0] != '\0') {
        snprintf(text, sizeof(text), "(%s)", notes);
        print_str(out, text);
    }
    print_owners(out, option);
}

static void print_options(FILE *out) {
    fputs(".Sh OPTIONS\n", out);
    print_str(
        out, "A value is written as --name value or --name=value. A flag that the environment or a "
             "file switches "
             "on is switched off with --name=false. Sizes take KB, MB and GB (powers of 1024), "
             "durations ms, s, "
             "m, h and d; a number alone is bytes, or seconds unless said otherwise.");
    for (int section = 0; section < OPTION_SECTION_COUNT; section++) {
        fprintf(out, ".Ss %s\n.Bl -tag -width Ds\n",
                option_section_title((enum option_section)section));
        for (size_t i = 0; i < option_count; i++)
            if (option_table[i].section == (enum option_section)section)
                manual_print_option(out, &option_table[i]);
        fputs(".El\n", out);
    }
}

static void print_surroundings(FILE *out) {
    fputs(".Sh ENVIRONMENT\n", out);
    print_str(
        out,
        "Every option can be given as a variable: LONGHAUL_ and its name in upper case, with _ "
        "for -. So "
        "LONGHAUL_SOURCE_PASS stands for --source-pass. A variable that is empty counts as not "
        "set. A flag "
        "takes true or false. The command line wins.");
    fputs(".Sh FILES\n", out);
    print_str(
        out,
        "The file that --config names holds lines of the form name = value, the name being that "
        "of an option "
        "without its dashes. Lines under [defaults] hold for every command that has the option, "
        "lines under "
        "[replicate] and the like for that command, where they win. An option that is repeatable "
        "may stand "
        "several times. Comments start with ; or #, or with a blank and ; behind a value.");
    fputs(
        ".Bd -literal -offset indent\n[defaults]\nlog\\-level = debug\n\n[replicate]\nthreads = 4\n"
        "key\\-exclude = tmp:*\n.Ed\n",
        out);
    fputs(
        ".Sh EXIT STATUS\n.Bl -tag -width 2n\n.It 0\nDone, and nothing to complain about.\n.It 1\n"
        "Done, with findings: keys given up, differences, or problems found.\n.It 2\n"
        "Trouble: a side that cannot be used, a result that cannot be written, or an "
        "interruption.\n"
        ".It 64\nThe command line, a LONGHAUL_ variable or the configuration file is wrong; "
        "nothing was done.\n.El\n",
        out);
}

void manual_print(FILE *out) {
    fputs(".\\\" Printed by longhaul manual.\n.Dd " MANUAL_DATE
          "\n.Dt LONGHAUL 1\n.Os\n.Sh NAME\n.Nm longhaul\n.Nd ",
          out);
    fprintf(out, "%s\n", help_tagline);
    print_synopsis(out);
    fputs(".Sh DESCRIPTION\nThe commands are:\n.Bl -tag -width Ds\n", out);
    for (int id = 0; id < COMMAND_COUNT; id++) print_command(out, (enum command_id)id);
    fputs(".El\n", out);
    manual_print_endpoints(out);
    print_options(out);
    print_surroundings(out);
    fputs(".Sh EXAMPLES\n", out);
    for (int id = 0; id < COMMAND_COUNT; id++) {
        fprintf(out, ".Ss %s\n", commands[id].name);
        for_lines(out, commands[id].examples, print_example);
    }
}
