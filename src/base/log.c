/* Log lines: made whole in a buffer on the stack, then handed to the kernel by one write(2).
 *
 *   2026-01-31T12:00:00.123Z warn  source 10.0.0.5:6379: connection lost
 *
 * One write per line keeps lines of several processes apart in a shared file, which stdio's
 * buffering would not. The lock is there for the hooks: a progress bar must be gone before the line
 * and back behind it.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LOG_LINE_MAX = 2048 };

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static atomic_int max_level = LOG_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static log_hook_fn *hook_before;
static log_hook_fn *hook_after;
static void *hook_ctx;

void log_set_level(enum log_level level) {
    atomic_store(&max_level, (int)level);
}

bool log_is_on(enum log_level level) {
    return (int)level <= atomic_load_explicit(&max_level, memory_order_relaxed);
}

void log_set_hooks(log_hook_fn *before, log_hook_fn *after, void *ctx) {
    pthread_mutex_lock(&lock);
    hook_before = before;
    hook_after = after;
    hook_ctx = ctx;
    pthread_mutex_unlock(&lock);
}

void log_with_lock(log_hook_fn *fn, void *ctx) {
    pthread_mutex_lock(&lock);
    fn(ctx);
    pthread_mutex_unlock(&lock);
}

/* snprintf() returns the length that the whole text has; this is the length that was written. */
static size_t written(int wanted, size_t room) {
    if (wanted < 0) return 0;
    return (size_t)wanted < room ? (size_t)wanted : room - 1;
}

static size_t put_head(char *line, size_t size, enum log_level level, const char *subject) {
    int64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    len += written(
        snprintf(line + len, size - len, ".%03dZ %-5s ", (int)(now_ms % 1000), level_names[level]),
        size - len);
    if (subject != NULL && subject[0] != '\0')
        len += written(snprintf(line + len, size - len, "%s: ", subject), size - len);
    return len;
}

static void write_all(const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n < 0 && errno == EINTR) continue;
        /* A closed or full standard error must not end the copy; there is nowhere left to say so.
         */
        if (n <= 0) return;
        text += n;
        len -= (size_t)n;
    }
}

void log_line(enum log_level level, const char *subject, const char *fmt, ...) {
    if (!log_is_on(level)) return;
    int saved_errno = errno;
    char line[LOG_LINE_MAX];
    size_t room = sizeof(line) - 1; /* the newline's place */
    size_t len = put_head(line, room, level, subject);
    va_list ap;
    va_start(ap, fmt);
    errno = saved_errno; /* for %m */
    len += written(vsnprintf(line + len, room - len, fmt, ap), room - len);
    va_end(ap);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    }
    line[len++] = '\n';
    pthread_mutex_lock(&lock);
    if (hook_before != NULL) hook_before(hook_ctx);
    write_all(line, len);
    if (hook_after != NULL) hook_after(hook_ctx);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

void log_err(enum log_level level, const struct err *err) {
    log_line(level, err->place, "%s", err->text);
}
