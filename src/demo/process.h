/* Child processes: started from a list of words, without a shell, and ended by their own id. */
#ifndef LONGHAUL_DEMO_PROCESS_H
#define LONGHAUL_DEMO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "demo/stop.h"

enum { PROCESS_OUTPUT_MAX = 16 * 1024 * 1024 };

struct process_settings {
    const char *const *argv; /* ends with NULL; argv[0] is a path */
    const char *log_file;    /* standard output and error go there; NULL: to ours */
    const char *output_file; /* not NULL: standard output goes there instead */
    /* a session of its own, so that the terminal's signals do not reach it */
    bool background;
    bool outlives; /* false: the kernel kills it when this process dies */
};

/* Leaves 0 in *pid on false. The child gets no LONGHAUL_* variables. */
bool process_start(const struct process_settings *settings, pid_t *pid, struct err *err);

/* Has it ended? Then *status is its exit status, 128 + N after signal N, and *pid is 0. */
bool process_has_ended(pid_t *pid, int *status);

/* Runs one to its end and returns its exit status; -1 with *err when it could not be started. A
 * SIGTERM that we get is passed on to it; SIGINT only after a while, as a terminal sends it to
 * both. output: if not NULL, gets the process's standard output, NUL behind it, to be freed by the
 * caller; at most PROCESS_OUTPUT_MAX bytes. */
int process_run(const char *const *argv, char **output, const struct demo_stop *stop,
                struct err *err);

/* SIGTERM, and SIGKILL after grace_ms; waits for the end. Nothing for *pid 0. Leaves 0. */
void process_end(pid_t *pid, int64_t grace_ms);

#endif
