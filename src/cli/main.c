/* longhaul: the command line is read, secrets are taken out of sight, and the command is called.
 *
 * Exit status: 0 done, 1 done with findings, 2 trouble, 64 a wrong command
 * line, environment or configuration file. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/secrets.h"
#include "net/descriptors.h"

static int show_help_all(void) {
    help_print(stdout, help_width(stdout));
    for (int id = 0; id < COMMAND_COUNT; id++) {
        fputc('\n', stdout);
        help_print_command(stdout, (enum command_id)id, true, help_width(stdout));
    }
    return STATUS_DONE;
}

static int show_help(const struct options *options) {
    const char *name = options->words[0];
    bool all = options->words[1] != NULL && strcmp(options->words[1], "all") == 0;
    struct err err;
    if (name == NULL) {
        help_print(stdout, help_width(stdout));
        return STATUS_DONE;
    }
    if (strcmp(name, "all") == 0) return show_help_all();
    const struct command *command = command_find(name);
    if (command == NULL) {
        const char *near = command_suggest(name);
        err_set(&err, ERR_USAGE, NULL,
                near != NULL ? "unknown command \"%.40s\"; did you mean %s?"
                             : "unknown command \"%.40s\"; see longhaul --help",
                name, near);
        return complain_usage(&err);
    }
    if (options->words[1] != NULL && !all) {
        err_set(&err, ERR_USAGE, NULL, "\"%.40s\" is unknown; expected all, or nothing",
                options->words[1]);
        return complain_usage(&err);
    }
    help_print_command(stdout, (enum command_id)(command - commands), all, help_width(stdout));
    return STATUS_DONE;
}

static int show_version(void) {
    puts(help_version);
    return STATUS_DONE;
}

static int show_manual(void) {
    manual_print(stdout);
    return STATUS_DONE;
}

static int show_completion(const struct options *options) {
    struct err err;
    return completion_print(stdout, options->words[0], &err) ? STATUS_DONE : complain_usage(&err);
}

static int dispatch(const struct options *options) {
    switch (options->command) {
    case COMMAND_REPLICATE:
        return cmd_replicate(options);
    case COMMAND_COMPARE:
        return cmd_compare(options);
    case COMMAND_PING:
        return cmd_ping(options);
    case COMMAND_DOCTOR:
        return cmd_doctor(options);
    case COMMAND_GENERATE:
        return cmd_generate(options);
    case COMMAND_STATUS:
        return cmd_status(options);
    case COMMAND_RESUME:
        return cmd_resume(options);
    case COMMAND_FORGET:
        return cmd_forget(options);
    case COMMAND_DEMO:
        return cmd_demo(options);
    case COMMAND_HELP:
        return show_help(options);
    case COMMAND_VERSION:
        return show_version();
    case COMMAND_MANUAL:
        return show_manual();
    case COMMAND_COMPLETION:
        return show_completion(options);
    case COMMAND_COUNT:
        break;
    }
    return STATUS_TROUBLE;
}

/* A result that did not reach the disk or the pipe must not look like success. */
static int flush_output(int status) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "longhaul: standard output: %s\n", strerror(errno));
    return STATUS_TROUBLE;
}

static int main_run(struct options *options, int argc, char **argv) {
    struct err err = { 0 };
    bool good = options_parse(options, argc, argv, environ, &err);
    secrets_hide(argc, argv);
    if (!good) return complain_usage(&err);
    if (options->help) {
        help_print_command(stdout, options->command, options->help_all, help_width(stdout));
        return STATUS_DONE;
    }
    log_set_level((enum log_level)options->log_level);
    if (!options_load_secrets(options, &err)) return complain_usage(&err);
    return dispatch(options);
}

/* Large values come and go: their memory goes back to the system at once, so that the peak is
 * the memory in use. */
static void tune_allocator(void) {
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
    mallopt(M_ARENA_MAX, 4);
}

int main(int argc, char **argv) {
    /* A reader of the output that goes away is an error of that write, not the end of a job. */
    signal(SIGPIPE, SIG_IGN);
    tune_allocator();
    descriptors_raise_limit();
    if (argc < 2) {
        help_print(stderr, help_width(stderr));
        return STATUS_USAGE;
    }
    static char help[] = "help", version[] = "version";
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) argv[1] = help;
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) argv[1] = version;
    struct options options;
    int status = main_run(&options, argc, argv);
    options_fini(&options);
    return flush_output(status);
}
