/* Log lines on standard error: one line each, subject first ("source 10.0.0.5:6379: connection
 * lost, ...").
 *
 * Safe from every thread. A progress bar that shares the terminal registers hooks that take it away
 * before a line and draw it again behind it. Secrets are never passed here.
 */
#ifndef LONGHAUL_BASE_LOG_H
#define LONGHAUL_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped. LOG_INFO until set. */
void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);

/* Called under the log's lock, before and after each line; NULL for none. They must not log. */
typedef void log_hook_fn(void *ctx);
void log_set_hooks(log_hook_fn *before, log_hook_fn *after, void *ctx);

/* Runs fn under the lock that log lines take, so that fn's output on the terminal is not mixed with
 * log lines. */
void log_with_lock(log_hook_fn *fn, void *ctx);

/* subject may be NULL. The text needs no newline; control characters in it become '?'. */
void log_line(enum log_level level, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(subject, ...) log_line(LOG_ERROR, subject, __VA_ARGS__)
#define log_warn(subject, ...) log_line(LOG_WARN, subject, __VA_ARGS__)
#define log_info(subject, ...) log_line(LOG_INFO, subject, __VA_ARGS__)
#define log_debug(subject, ...)                                                                    \
    do {                                                                                           \
        if (log_is_on(LOG_DEBUG)) log_line(LOG_DEBUG, subject, __VA_ARGS__);                       \
    } while (0)

/* The error as a line: its place is the subject. */
void log_err(enum log_level level, const struct err *err);

#endif
