/* The live replication of the demo: a process of its own in the background, which is asked how far
 * it is, killed, started again, and ended. Its log goes to a file, so that the log can be shown
 * when the reader's eyes are on it. */
#ifndef LONGHAUL_DEMO_LIVE_H
#define LONGHAUL_DEMO_LIVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "demo/server.h"
#include "demo/stop.h"
#include "net/loop.h"

enum { DEMO_LIVE_ARGS_MAX = 16, DEMO_FOLLOW_MS = 120 * 1000, DEMO_DRAIN_MS = 30 * 1000 };

struct demo_live {
    const char *program; /* longhaul itself */
    const char *target;  /* its endpoint */
    struct loop *loop;
    const struct demo_stop *stop;
    pid_t pid;                                                             /* 0: not running */
    char log[DEMO_PATH_MAX], output[DEMO_PATH_MAX], status[DEMO_PATH_MAX]; /* files */
    long log_shown;                                                        /* bytes of it */
};

/* The files will be in the directory. The arguments are borrowed. */
void demo_live_init(struct demo_live *live, const char *program, const char *target,
                    const char *directory, struct loop *loop, const struct demo_stop *stop);
/* `longhaul WORDS...` in the background (NULL-ended). */
bool demo_live_start(struct demo_live *live, const char *const *words, struct err *err);
/* Waits until the watermark is past the moment (wall clock, microseconds) and no gap is open.
 * *status becomes the output of `longhaul status` at that time. */
bool demo_live_wait(struct demo_live *live, int64_t moment_us, json_t **status, struct err *err);
/* SIGKILL, as a crash of the machine would. */
void demo_live_kill(struct demo_live *live);
/* Sends SIGTERM and waits for the end. *output, to be freed by the caller, is the process's
 * standard output. Returns its exit status. */
int demo_live_end(struct demo_live *live, char **output);
/* Prints the lines of its log that came since the last time. */
void demo_live_show_log(struct demo_live *live);

#endif
