/* The history of a job, read from its state directory while the job may go on writing there: audit
 * events, comparisons, and the keys that were given up. For `longhaul status --history` and
 * `--given-up`. */
#ifndef LONGHAUL_STORE_HISTORY_H
#define LONGHAUL_STORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct history;

/* Opens the database of the directory for reading. NULL on error. */
struct history *history_open(const char *dir, struct err *err);
/* Leaves NULL. */
void history_close(struct history **history);

struct history_event {
    int64_t at_us;
    const char *event; /* "started", "gap", "hold", ... */
    const char *text;
};

struct history_run { /* a comparison */
    int64_t began_us;
    int64_t ended_us; /* 0: it has not ended, or was killed */
    const char *mode;
    const char *outcome; /* "" while ended_us is 0 */
    uint64_t compared, different;
};

struct history_key { /* a key that could not be copied */
    int64_t at_us;
    int db;
    struct bytes key;
    const char *reason;
};

/* Each calls back with every row, oldest first, or keys in their order. The row is good during the
 * call. */
bool history_events(struct history *history,
                    void (*each)(void *ctx, const struct history_event *event), void *ctx,
                    struct err *err);
bool history_runs(struct history *history, void (*each)(void *ctx, const struct history_run *run),
                  void *ctx, struct err *err);
bool history_given_up(struct history *history,
                      void (*each)(void *ctx, const struct history_key *key), void *ctx,
                      struct err *err);

#endif
