/* See signals.h. The handler makes only calls that are allowed in a handler: it sets flags, writes
 * to a pipe and to the terminal. The pipe is read on the loop, because a signal alone does not end
 * libevent's wait.
 */
#include "cli/signals.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/call.h"
#include "server/credentials.h"

enum { SAME_REQUEST_MS = 200 };

static bool reloads; /* SIGHUP is about files, see signals_reload_on_hangup() */
static volatile bool stop;
static volatile sig_atomic_t first;
static volatile int64_t first_ms;
static bool terminal;
static int wake_pipe[2] = { -1, -1 };
static struct event *wake_event;

/* Leaves the line that is being redrawn, and shows the cursor where it was hidden. */
static const char clean_line[] = "\r\x1b[K\x1b[?25h";

static void on_signal(int signum) {
    int saved_errno = errno;
    if (stop && clock_mono_ms() - first_ms < SAME_REQUEST_MS) {
        errno = saved_errno;
        return;
    }
    if (stop) {
        ssize_t ignored = terminal ? write(STDERR_FILENO, clean_line, sizeof(clean_line) - 1) : 0;
        (void)ignored;
        _exit(2);
    }
    first = signum;
    first_ms = clock_mono_ms();
    stop = true;
    ssize_t ignored = wake_pipe[1] >= 0 ? write(wake_pipe[1], "", 1) : 0;
    (void)ignored;
    errno = saved_errno;
}

static void on_hangup(int signum) {
    credentials_hang_up();
}

static void on_wake(evutil_socket_t fd, short what, void *ctx) {
    char bytes[16];
    ssize_t ignored = read(fd, bytes, sizeof(bytes));
    (void)ignored;
}

static void watch_pipe(struct loop *loop) {
    if (wake_pipe[0] < 0 && pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return;
    wake_event = event_new(loop_base(loop), wake_pipe[0], EV_READ | EV_PERSIST, on_wake, NULL);
    event_add(wake_event, NULL);
}

void signals_install(struct loop *loop) {
    terminal = isatty(STDERR_FILENO) == 1;
    if (loop != NULL) watch_pipe(loop);
    struct sigaction action = { .sa_handler = on_signal };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
    if (!reloads) sigaction(SIGHUP, &action, NULL);
    /* They would end the process by default; nothing is done at them. */
    action.sa_handler = SIG_IGN;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    call_set_interrupt(&stop);
}

void signals_reload_on_hangup(void) {
    struct sigaction action = { .sa_handler = on_hangup, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    reloads = true;
    sigaction(SIGHUP, &action, NULL);
}

void signals_uninstall(void) {
    if (wake_event != NULL) event_free(wake_event);
    wake_event = NULL;
}

const volatile bool *signals_stop_flag(void) {
    return &stop;
}

int signals_first(void) {
    return first;
}
