/* Completion scripts of bash, zsh and fish, printed from the tables of commands and options. */
#include <string.h>

#include "cli/help.h"

enum kind { KIND_FLAG, KIND_WORDS, KIND_FILE, KIND_TEXT };

static enum kind kind_of(const struct option *option) {
    if (option->value == NULL) return KIND_FLAG;
    if (option->limits.words != NULL) return KIND_WORDS;
    return strcmp(option->value, "FILE") == 0 || strcmp(option->value, "DIR") == 0 ? KIND_FILE
                                                                                   : KIND_TEXT;
}

static void print_words(FILE *out, const char *words) {
    for (; *words != '\0'; words++) fputc(*words == '|' ? ' ' : *words, out);
}

static void print_command_names(FILE *out) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", commands[i].name);
}

/* The words for the first argument of a command that takes no endpoint; false for none. */
static bool print_argument_words(FILE *out, enum command_id id) {
    if (id == COMMAND_HELP) print_command_names(out);
    if (id == COMMAND_COMPLETION) fputs("bash zsh fish", out);
    return id == COMMAND_HELP || id == COMMAND_COMPLETION;
}

/* --- bash --- */

/* The case pattern of a command's options of one kind; false where it has none. */
static bool print_bash_pattern(FILE *out, enum command_id id, enum kind kind) {
    bool any = false;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_belongs_to(option, id) || kind_of(option) != kind) continue;
        fprintf(out, "%s\"%s --%s\"", any ? " | " : "    ", commands[id].name, option->name);
        any = true;
    }
    if (any) fputs(")\n", out);
    return any;
}

static void print_bash_values(FILE *out, enum command_id id) {
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (!option_belongs_to(option, id) || kind_of(option) != KIND_WORDS) continue;
        fprintf(out, "    \"%s --%s\")\n        mapfile -t COMPREPLY < <(compgen -W \"",
                commands[id].name, option->name);
        print_words(out, option->limits.words);
        fputs("\" -- \"$cur\")\n        return ;;\n", out);
    }
    if (print_bash_pattern(out, id, KIND_FILE))
        fputs("        compopt -o filenames\n"
              "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
              "        return ;;\n",
              out);
    if (print_bash_pattern(out, id, KIND_TEXT)) fputs("        return ;;\n", out);
}

static void print_bash_options(FILE *out, enum command_id id) {
    fprintf(out, "    %s) [[ $cur == -* ]] && words=\"", commands[id].name);
    for (size_t i = 0; i < option_count; i++)
        if (option_belongs_to(&option_table[i], id)) fprintf(out, "--%s ", option_table[i].name);
    fputs("\" || words=\"", out);
    print_argument_words(out, id);
    fputs("\" ;;\n", out);
}

static void print_bash(FILE *out) {
    fputs("# bash completion for longhaul\n"
          "_longhaul() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\"\"\n"
          "    COMPREPLY=()\n"
          "    # \"--name=value\" arrives as three words.\n"
          "    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
          "    if [[ $cur == = ]]; then cur=\"\"; fi\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"",
          out);
    print_command_names(out);
    fputs(" --help --version\" -- \"$cur\")\n        return\n    fi\n    case \"${COMP_WORDS[1]} "
          "$prev\" in\n",
          out);
    for (int id = 0; id < COMMAND_COUNT; id++) print_bash_values(out, (enum command_id)id);
    fputs("    esac\n    case ${COMP_WORDS[1]} in\n", out);
    for (int id = 0; id < COMMAND_COUNT; id++) print_bash_options(out, (enum command_id)id);
    fputs("    esac\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
          "}\n"
          "complete -F _longhaul longhaul\n",
          out);
}

/* --- zsh --- */

/* Inside single quotes; brackets and colons have a meaning in specifications. */
static void print_zsh_text(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text) != NULL)
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void print_zsh_option(FILE *out, const struct option *option) {
    fprintf(out, " \\\n            '%s--%s%s[", option_is_repeatable(option) ? "*" : "",
            option->name, option->value != NULL ? "=" : "");
    print_zsh_text(out, option->help);
    fputc(']', out);
    if (option->value != NULL) fprintf(out, ":%s:", option->value);
    if (kind_of(option) == KIND_FILE) fputs("_files", out);
    if (kind_of(option) == KIND_WORDS) {
        fputc('(', out);
        print_words(out, option->limits.words);
        fputc(')', out);
    }
    fputc('\'', out);
}

static void print_zsh_command(FILE *out, enum command_id id) {
    const struct command *command = &commands[id];
    fprintf(out, "    %s)\n        _arguments", command->name);
    for (size_t i = 0; i < option_count; i++)
        if (option_belongs_to(&option_table[i], id)) print_zsh_option(out, &option_table[i]);
    for (size_t i = 0; i < COMMAND_WORDS_MAX && command->words[i] != NULL; i++) {
        fprintf(out, " \\\n            '%zu:%s:", i + 1, command->words[i]);
        if (id == COMMAND_HELP || id == COMMAND_COMPLETION) {
            fputc('(', out);
            print_argument_words(out, id);
            fputc(')', out);
        }
        fputc('\'', out);
    }
    fputs("\n        ;;\n", out);
}

static void print_zsh(FILE *out) {
    fputs("#compdef longhaul\n_longhaul() {\n    local -a names\n    local name\n    names=(\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "        '%s:", commands[i].name);
        print_zsh_text(out, commands[i].summary);
        fputs("'\n", out);
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command names\n"
          "        return\n"
          "    fi\n"
          "    name=$words[2]\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $name in\n",
          out);
    for (int id = 0; id < COMMAND_COUNT; id++) print_zsh_command(out, (enum command_id)id);
    fputs("    esac\n}\n"
          "# Autoloaded from $fpath, or sourced.\n"
          "if [[ $funcstack[1] == _longhaul ]]; then _longhaul \"$@\"; else compdef _longhaul "
          "longhaul; fi\n",
          out);
}

/* --- fish --- */

static void print_fish_text(FILE *out, const char *text) {
    fputc('\'', out);
    for (; *text != '\0'; text++)
        fprintf(out, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('\'', out);
}

static void print_fish_option(FILE *out, enum command_id id, const struct option *option) {
    fprintf(out, "complete -c longhaul -n '__fish_seen_subcommand_from %s' -l %s",
            commands[id].name, option->name);
    if (option->letter != 0) fprintf(out, " -s %c", option->letter);
    if (kind_of(option) == KIND_FILE) fputs(" -r -F", out);
    if (kind_of(option) == KIND_TEXT) fputs(" -x", out);
    if (kind_of(option) == KIND_WORDS) {
        fputs(" -x -a '", out);
        print_words(out, option->limits.words);
        fputc('\'', out);
    }
    fputs(" -d ", out);
    print_fish_text(out, option->help);
    fputc('\n', out);
}

static void print_fish_command(FILE *out, enum command_id id) {
    if (id == COMMAND_HELP || id == COMMAND_COMPLETION) {
        fprintf(out, "complete -c longhaul -n '__fish_seen_subcommand_from %s' -a '",
                commands[id].name);
        print_argument_words(out, id);
        fputs("'\n", out);
    }
    for (size_t i = 0; i < option_count; i++)
        if (option_belongs_to(&option_table[i], id)) print_fish_option(out, id, &option_table[i]);
}

static void print_fish(FILE *out) {
    fputs("# fish completion for longhaul\ncomplete -c longhaul -f\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "complete -c longhaul -n __fish_use_subcommand -a %s -d ", commands[i].name);
        print_fish_text(out, commands[i].summary);
        fputc('\n', out);
    }
    for (int id = 0; id < COMMAND_COUNT; id++) print_fish_command(out, (enum command_id)id);
}

bool completion_print(FILE *out, const char *shell, struct err *err) {
    if (strcmp(shell, "bash") == 0)
        print_bash(out);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh(out);
    else if (strcmp(shell, "fish") == 0)
        print_fish(out);
    else
        return err_set(err, ERR_USAGE, "SHELL", "\"%.40s\" is unknown; expected bash, zsh or fish",
                       shell);
    return true;
}
