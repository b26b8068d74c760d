/* The progress of a running job on standard error: one line that is drawn again in its place on a
 * terminal, a log line every few seconds elsewhere.
 *
 * The bar lives in the last line of the terminal. It is taken away before each log line and drawn
 * again behind it (see base/log.h), and each drawing is one write, so that it does not flicker. One
 * progress at a time, used from one thread.
 */
#ifndef LONGHAUL_CLI_PROGRESS_H
#define LONGHAUL_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/options.h"
#include "net/loop.h"

enum {
    PROGRESS_DRAW_MS = 125, /* between two drawings of the bar */
    PROGRESS_LOG_MS = 5000, /* between two log lines */
    PROGRESS_LIVE_LOG_MS = 60 * 1000,
    PROGRESS_LINE_MAX = 512,    /* longest line, in bytes */
    PROGRESS_WIDTH_DEFAULT = 80 /* where the terminal does not say its width */
};

/* Where the job stands. A member that is zero (or NULL) is not shown. */
struct progress_state {
    const char
        /* "copying", "comparing"; a change of it starts the rates anew. Borrowed until the next
         * update. */
        *phase;
    uint64_t keys;  /* done */
    uint64_t total; /* expected; 0: not known */
    uint64_t bytes; /* moved; 0: not shown */
    uint64_t given_up;
    uint64_t different;
    uint64_t waiting; /* keys that changed and are not copied yet */
    bool has_lag;     /* of a live job: its log lines come once a minute */
    int64_t lag_ms;
    const char *note; /* the reason for waiting; borrowed until the next update */
};

/* Measured by the progress itself, between updates. */
struct progress_rates {
    double keys_per_s;
    double bytes_per_s;
};

struct progress;

/* mode is an enum opt_progress; with AUTO, a bar where standard error is a terminal, else log
 * lines. Never NULL. */
struct progress *progress_new(int mode);

/* Says where the job stands; cheap, may be called at any rate. */
void progress_update(struct progress *progress, const struct progress_state *state);

/* Calls fill on the loop at the pace of drawing and shows the result, until progress_end().
 * *state is zero before. */
typedef void progress_fill_fn(void *ctx, struct progress_state *state);
void progress_drive(struct progress *progress, struct loop *loop, progress_fill_fn *fill,
                    void *ctx);

/* Takes the bar away and ends. Leaves NULL. */
void progress_end(struct progress **progress);

/* The line as text, at most `width` columns (0: unlimited, and without a bar); returns buf. */
const char *progress_format(char *buf, size_t size, const struct progress_state *state,
                            const struct progress_rates *rates, size_t width);

#endif
