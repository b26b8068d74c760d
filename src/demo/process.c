/* See process.h. */
#include "demo/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { PROCESS_POLL_MS = 20, PROCESS_GRACE_MS = 5000, CANNOT_EXECUTE = 127 };

/* Options of this run are not those of the child. */
static char **clean_environment(void) {
    size_t n = 0, kept = 0;
    while (environ[n] != NULL) n++;
    char **clean = mem_array(NULL, n + 1, sizeof(*clean));
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "LONGHAUL_", 9) != 0) clean[kept++] = environ[i];
    clean[kept] = NULL;
    return clean;
}

static void redirect(int fd, int to) {
    if (fd >= 0) dup2(fd, to);
}

/* In the child, after fork: only calls that are allowed there. */
static void become(const struct process_settings *s, int out_fd, int err_fd, pid_t parent,
                   char **env) {
    if (s->background) setsid();
    if (!s->outlives) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(CANNOT_EXECUTE);
    }
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    redirect(out_fd, STDOUT_FILENO);
    redirect(err_fd, STDERR_FILENO);
    if (s->background) {
        int null_fd = open("/dev/null", O_RDONLY);
        redirect(null_fd, STDIN_FILENO);
    }
    execve(s->argv[0], (char *const *)s->argv, env);
    _exit(CANNOT_EXECUTE);
}

static bool start(const struct process_settings *s, int out_fd, int err_fd, pid_t *pid,
                  struct err *err) {
    char **env = clean_environment();
    pid_t parent = getpid();
    fflush(stdout);
    *pid = fork();
    if (*pid == 0) become(s, out_fd, err_fd, parent, env);
    int saved_errno = errno;
    free(env);
    if (*pid > 0) return true;
    *pid = 0;
    return err_set_errno(err, ERR_INTERNAL, s->argv[0], saved_errno, "cannot be started");
}

/* -1 for no path. */
static bool open_file(const char *path, int *fd, struct err *err) {
    *fd = -1;
    if (path == NULL) return true;
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return *fd >= 0 || err_set_errno(err, ERR_IO, path, errno, "cannot be written");
}

bool process_start(const struct process_settings *s, pid_t *pid, struct err *err) {
    int log_fd, output_fd = -1;
    *pid = 0;
    bool good = open_file(s->log_file, &log_fd, err) &&
                open_file(s->output_file, &output_fd, err) &&
                start(s, output_fd >= 0 ? output_fd : log_fd, log_fd, pid, err);
    if (log_fd >= 0) close(log_fd);
    if (output_fd >= 0) close(output_fd);
    return good;
}

static int status_of(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

bool process_has_ended(pid_t *pid, int *status) {
    int wait_status;
    if (*pid == 0) return true;
    pid_t ended = waitpid(*pid, &wait_status, WNOHANG);
    if (ended == 0) return false;
    *status = ended > 0 ? status_of(wait_status) : CANNOT_EXECUTE;
    *pid = 0;
    return true;
}

/* Reads the bytes that are there; false at the end of the output. */
static bool take_output(int fd, char **output, size_t *len, int timeout_ms) {
    struct pollfd p = { .fd = fd, .events = POLLIN };
    char buf[16384];
    if (poll(&p, 1, timeout_ms) <= 0) return true;
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n < 0) return errno == EINTR || errno == EAGAIN;
    if (n == 0) return false;
    size_t room = PROCESS_OUTPUT_MAX - *len, part = (size_t)n < room ? (size_t)n : room;
    *output = mem_realloc(*output, *len + part + 1);
    memcpy(*output + *len, buf, part);
    *len += part;
    (*output)[*len] = '\0';
    return true;
}

static int run_to_end(pid_t pid, int fd, char **output, const struct demo_stop *stop) {
    size_t len = 0;
    int status = 0;
    int64_t stopped_ms = 0;
    bool open = fd >= 0, told = false;
    while (open || !process_has_ended(&pid, &status)) {
        if (open) {
            open = take_output(fd, output, &len, PROCESS_POLL_MS);
        } else {
            usleep(PROCESS_POLL_MS * 1000);
        }
        if (*stop->asked && stopped_ms == 0) stopped_ms = clock_mono_ms();
        /* SIGINT from a terminal has reached the child too; twice would end it without its summary.
         */
        int64_t grace_ms = stop->first_signal() == SIGINT ? PROCESS_GRACE_MS : 0;
        if (stopped_ms != 0 && !told && clock_mono_ms() - stopped_ms >= grace_ms) {
            if (pid != 0) kill(pid, SIGTERM);
            told = true;
        }
    }
    return status;
}

int process_run(const char *const *argv, char **output, const struct demo_stop *stop,
                struct err *err) {
    struct process_settings settings = { .argv = argv };
    int ends[2] = { -1, -1 };
    pid_t pid;
    if (output != NULL) {
        *output = mem_strdup("");
        if (pipe2(ends, O_CLOEXEC) != 0) {
            err_set_errno(err, ERR_INTERNAL, argv[0], errno, "no pipe");
            return -1;
        }
    }
    bool good = start(&settings, ends[1], -1, &pid, err);
    if (ends[1] >= 0) close(ends[1]);
    int status = good ? run_to_end(pid, ends[0], output, stop) : -1;
    if (ends[0] >= 0) close(ends[0]);
    return status;
}

void process_end(pid_t *pid, int64_t grace_ms) {
    int status;
    if (*pid == 0 || process_has_ended(pid, &status)) return;
    kill(*pid, SIGTERM);
    for (int64_t until_ms = clock_mono_ms() + grace_ms; clock_mono_ms() < until_ms;) {
        if (process_has_ended(pid, &status)) return;
        usleep(PROCESS_POLL_MS * 1000);
    }
    kill(*pid, SIGKILL);
    while (!process_has_ended(pid, &status)) usleep(PROCESS_POLL_MS * 1000);
}
