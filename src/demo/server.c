/* See demo_server.h. A port is free when the kernel hands it out; should somebody take it before
 * the server does, the server ends at once and another one is tried. */
#include "demo/server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "demo/process.h"
#include "server/call.h"

enum { DEMO_ATTEMPTS = 4, DEMO_CONNECT_MS = 1000, DEMO_REPLY_MS = 10000, DEMO_SLICE_MS = 20 };

/* ---- the binary ---- */

static bool is_program(const char *directory, size_t len, const char *name, char *path) {
    int n = snprintf(path, DEMO_PATH_MAX, "%.*s/%s", (int)len, directory, name);
    return n > 0 && n < DEMO_PATH_MAX && access(path, X_OK) == 0;
}

const char *demo_server_find(struct err *err) {
    static char path[DEMO_PATH_MAX];
    static const char *const names[] = { "valkey-server", "redis-server" };
    const char *all = getenv("PATH");
    for (size_t i = 0; i < 2 && all != NULL; i++)
        for (const char *at = all; *at != '\0';) {
            size_t len = strcspn(at, ":");
            if (len > 0 && is_program(at, len, names[i], path)) return path;
            at += len + (at[len] == ':');
        }
    err_set(err, ERR_IO, "demo",
            "neither valkey-server nor redis-server is installed; on Debian: sudo apt-get install "
            "redis-server");
    return NULL;
}

/* ---- the directory ---- */

bool demo_directory_make(char path[DEMO_PATH_MAX], struct err *err) {
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || parent[0] == '\0' || strlen(parent) > DEMO_PATH_MAX / 2)
        parent = P_tmpdir;
    snprintf(path, DEMO_PATH_MAX, "%s/longhaul-demo-XXXXXX", parent);
    if (mkdtemp(path) != NULL) return true;
    err_set_errno(err, ERR_IO, path, errno, "cannot be made");
    path[0] = '\0';
    return false;
}

/* One directory of files below it is the job's state. */
void demo_directory_remove(const char *path) {
    char below[DEMO_PATH_MAX + 300];
    DIR *directory = path[0] != '\0' ? opendir(path) : NULL;
    if (directory == NULL) return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(directory), entry->d_name, 0) == 0 || errno != EISDIR) continue;
        snprintf(below, sizeof(below), "%.*s/%s", DEMO_PATH_MAX, path, entry->d_name);
        demo_directory_remove(below);
    }
    closedir(directory);
    rmdir(path);
}

/* ---- starting ---- */

static bool choose_port(uint16_t *port, struct err *err) {
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    int saved_errno = errno;
    if (fd >= 0) close(fd);
    *port = ntohs(address.sin_port);
    return good || err_set_errno(err, ERR_INTERNAL, "demo", saved_errno, "no free port");
}

static bool spawn(struct demo_server *s, const char *binary, const char *directory,
                  bool debug_option, bool keep, struct err *err) {
    char port[8], log[DEMO_PATH_MAX + 16];
    snprintf(port, sizeof(port), "%u", s->port);
    snprintf(log, sizeof(log), "%.*s/%s.txt", DEMO_PATH_MAX - 1, directory, s->role);
    const char *argv[] = { binary, "--port", port, "--bind", "127.0.0.1", "--save", "",
                           "--appendonly", "no", "--dir", directory, "--daemonize", "no",
                           /* Servers before 7.0 do not know it, and allow DEBUG without it. */
                           debug_option ? "--enable-debug-command" : NULL, "yes", NULL };
    struct process_settings settings = {
        .argv = argv, .log_file = log, .background = true, .outlives = keep
    };
    return process_start(&settings, &s->pid, err);
}

/* Waits until it answers or has ended. */
static bool connect_to(struct demo_server *s, struct loop *loop, const struct demo_stop *stop,
                       struct err *err) {
    struct client_settings settings = { .role = s->role,
                                        .reconnect = true,
                                        .protocol = 2,
                                        .connect_timeout_ms = DEMO_CONNECT_MS,
                                        .reply_timeout_ms = DEMO_REPLY_MS };
    address_set(&settings.address, BYTES_LITERAL("127.0.0.1"), s->port);
    s->client = client_open(loop, &settings, NULL, NULL);
    int64_t until_ms = clock_mono_ms() + DEMO_START_MS;
    int status = 0;
    while (!client_is_ready(s->client)) {
        bool ended = process_has_ended(&s->pid, &status), stopped = *stop->asked;
        if (ended)
            err_set(err, ERR_IO, s->role, "the server ended with status %d right after its start",
                    status);
        if (stopped) err_set(err, ERR_INTERRUPTED, NULL, "%s", err_sentence(ERR_INTERRUPTED));
        bool late = clock_mono_ms() >= until_ms;
        if (late)
            err_set(err, ERR_TIMEOUT, s->role, "the server did not answer within %d s",
                    DEMO_START_MS / 1000);
        if (ended || stopped || late) {
            client_close(&s->client);
            return false;
        }
        client_hurry(s->client);
        loop_run_once(loop, DEMO_SLICE_MS);
    }
    return true;
}

bool demo_server_start(struct demo_server *s, const char *role, const char *binary,
                       const char *directory, bool keep, struct loop *loop,
                       const struct demo_stop *stop, struct err *err) {
    *s = (struct demo_server){ .role = role };
    for (int attempt = 0; attempt < DEMO_ATTEMPTS; attempt++) {
        if (!choose_port(&s->port, err)) return false;
        if (!spawn(s, binary, directory, attempt % 2 == 0, keep, err)) return false;
        if (connect_to(s, loop, stop, err)) {
            snprintf(s->endpoint, sizeof(s->endpoint), "127.0.0.1:%u", s->port);
            return true;
        }
        process_end(&s->pid, DEMO_END_MS);
        if (err->code != ERR_IO) return false;
    }
    return false;
}

void demo_server_end(struct demo_server *s, bool keep) {
    client_close(&s->client);
    if (!keep) process_end(&s->pid, DEMO_END_MS);
}
