/* See redis_process.h. */
#include "redis_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/slot.h"

enum { ARGS_MAX = 64, START_TRIES = 5, START_WAIT_MS = 10000 };

static void die(const char *what) {
    fprintf(stderr, "redis_process: %s: %s\n", what, strerror(errno));
    abort();
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int bind_free(uint16_t *port) {
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        die("bind");
    *port = ntohs(addr.sin_port);
    return fd;
}

uint16_t port_closed(void) {
    uint16_t port;
    close(bind_free(&port));
    return port;
}

int port_silent(uint16_t *port, int backlog) {
    int fd = bind_free(port);
    if (listen(fd, backlog) != 0) die("listen");
    return fd;
}

/* ---- asking ---- */

static int connect_to(uint16_t port) {
    struct sockaddr_in addr = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

/* False when the server is not there (yet). */
static bool ask(uint16_t port, const char *line, char *reply, size_t size) {
    int fd = connect_to(port);
    if (fd < 0) return false;
    size_t used = 0;
    bool sent = write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    while (sent && used + 1 < size && memchr(reply, '\n', used) == NULL) {
        ssize_t n = read(fd, reply + used, size - 1 - used);
        if (n <= 0) break;
        used += (size_t)n;
    }
    close(fd);
    reply[used] = '\0';
    reply[strcspn(reply, "\r\n")] = '\0';
    return used > 0;
}

const char *redis_do(const struct redis_process *p, const char *fmt, ...) {
    static char reply[4096];
    char line[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line) - 2, fmt, ap);
    va_end(ap);
    strcat(line, "\r\n");
    if (!ask(p->port, line, reply, sizeof(reply))) die("no reply");
    return reply;
}

int redis_kill_clients(const struct redis_process *p) {
    const char *reply = redis_do(p, "CLIENT KILL TYPE normal SKIPME yes");
    return reply[0] == ':' ? atoi(reply + 1) : -1;
}

/* ---- starting and ending ---- */

static void exec_server(const struct redis_process *p, const char *const *args) {
    char port[8], tls_port[8];
    snprintf(port, sizeof(port), "%u", p->port);
    snprintf(tls_port, sizeof(tls_port), "%u", p->tls_port);
    const char *argv[ARGS_MAX] = { "redis-server", "--port",    port,
                                   "--bind",       "127.0.0.1", "--dir",
                                   p->dir,         "--save",    "",
                                   "--unixsocket", p->socket,   "--enable-debug-command",
                                   "yes" };
    int n = 13;
    if (p->tls_port != 0) {
        argv[n++] = "--tls-port";
        argv[n++] = tls_port;
    }
    for (; args != NULL && *args != NULL && n < ARGS_MAX - 1; args++) argv[n++] = *args;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

static bool wait_until_up(struct redis_process *p) {
    char reply[256];
    for (int waited_ms = 0; waited_ms < START_WAIT_MS; waited_ms += 10) {
        if (ask(p->port, "PING\r\n", reply, sizeof(reply)) &&
            (strcmp(reply, "+PONG") == 0 || strncmp(reply, "-NOAUTH", 7) == 0))
            return true;
        if (waitpid(p->pid, NULL, WNOHANG) == p->pid) return false;
        usleep(10000);
    }
    return false;
}

static bool launch(struct redis_process *p, const char *const *args) {
    p->pid = fork();
    if (p->pid < 0) die("fork");
    if (p->pid == 0) {
        if (chdir(p->dir) != 0) _exit(127);
        exec_server(p, args);
    }
    return wait_until_up(p);
}

static void make_dir(struct redis_process *p) {
    strcpy(p->dir, "/tmp/longhaul-test-XXXXXX");
    if (mkdtemp(p->dir) == NULL) die("mkdtemp");
    snprintf(p->socket, sizeof(p->socket), "%s/redis.sock", p->dir);
}

static void start_somewhere(struct redis_process *p, bool tls, const char *const *args) {
    for (int i = 0; i < START_TRIES; i++) {
        p->port = port_closed();
        p->tls_port = tls ? port_closed() : 0;
        if (launch(p, args)) return;
    }
    die("redis-server does not start; is it installed?");
}

void redis_start(struct redis_process *p, const char *const *args) {
    *p = (struct redis_process){ 0 };
    make_dir(p);
    start_somewhere(p, false, args);
}

void redis_start_tls(struct redis_process *p, bool ask_client_cert) {
    const char *const args[] = { "--tls-cert-file",
                                 "server.crt",
                                 "--tls-key-file",
                                 "server.key",
                                 "--tls-ca-cert-file",
                                 "ca.crt",
                                 "--tls-auth-clients",
                                 ask_client_cert ? "yes" : "no",
                                 NULL };
    *p = (struct redis_process){ 0 };
    make_dir(p);
    certs_make(p->dir);
    start_somewhere(p, true, args);
}

static void end_process(struct redis_process *p) {
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
}

void redis_restart(struct redis_process *p, const char *const *args) {
    end_process(p);
    if (!launch(p, args)) die("redis-server does not start again");
}

static void shell(const char *dir, const char *command) {
    char line[2048];
    snprintf(line, sizeof(line), "cd %s && %s", dir, command);
    if (system(line) != 0) die(command);
}

void redis_stop(struct redis_process *p) {
    end_process(p);
    char line[128];
    snprintf(line, sizeof(line), "rm -rf %s", p->dir);
    if (system(line) != 0) die("rm");
}

/* ---- clusters ---- */

/* CLUSTER MYID answers in two lines, of which only the first one is a length. */
const char *redis_cluster_id(const struct redis_process *p) {
    static char id[41];
    char reply[4096];
    int fd = connect_to(p->port);
    static const char ask_id[] = "CLUSTER MYID\r\n";
    size_t used = 0;
    if (fd < 0 || write(fd, ask_id, sizeof(ask_id) - 1) < 0) die("CLUSTER MYID");
    while (used < 5 + 40) {
        ssize_t n = read(fd, reply + used, sizeof(reply) - used);
        if (n <= 0) die("CLUSTER MYID");
        used += (size_t)n;
    }
    close(fd);
    memcpy(id, reply + 5, 40); /* behind "$40" and the end of that line */
    return id;
}

static bool takes_writes(const struct redis_process *p, uint16_t slot) {
    char tag[SLOT_TAG_MAX];
    slot_tag(slot, tag);
    return strcmp(redis_do(p, "CLUSTER SLOTS"), "*2") == 0 &&
           strcmp(redis_do(p, "SET {%s} x", tag), "+OK") == 0 &&
           strcmp(redis_do(p, "DEL {%s}", tag), ":1") == 0;
}

void redis_start_cluster(struct redis_process *first, struct redis_process *second, int slots) {
    static const char *const args[] = { "--cluster-enabled",
                                        "yes",
                                        "--cluster-node-timeout",
                                        "5000",
                                        "--cluster-allow-replica-migration",
                                        "no",
                                        "--cluster-require-full-coverage",
                                        "no",
                                        NULL };
    redis_start(first, args);
    redis_start(second, args);
    redis_do(first, "CLUSTER ADDSLOTSRANGE 0 %d", slots - 1);
    redis_do(second, "CLUSTER ADDSLOTSRANGE %d %d", slots, SLOT_COUNT - 1);
    redis_do(second, "CLUSTER SET-CONFIG-EPOCH 2");
    redis_do(second, "CLUSTER MEET 127.0.0.1 %u", first->port);
    for (int waited_ms = 0; waited_ms < START_WAIT_MS; waited_ms += 50) {
        if (takes_writes(first, 0) && takes_writes(second, SLOT_COUNT - 1)) return;
        usleep(50000);
    }
    die("the cluster does not come up");
}

void redis_give_slot(const struct redis_process *from, const struct redis_process *to,
                     uint16_t slot) {
    const char *id = redis_cluster_id(to);
    redis_do(to, "CLUSTER BUMPEPOCH");
    if (strcmp(redis_do(to, "CLUSTER SETSLOT %u NODE %s", slot, id), "+OK") != 0 ||
        strcmp(redis_do(from, "CLUSTER SETSLOT %u NODE %s", slot, id), "+OK") != 0)
        die("CLUSTER SETSLOT");
}

/* ---- certificates ---- */

void certs_make(const char *dir) {
    static const char *const commands[] = {
        "for ca in ca other-ca; do openssl req -x509 -newkey ec "
        "-pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=$ca -keyout $ca.key -out $ca.crt; done 2>/dev/null",
        "printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >server.ext; "
        "printf 'keyUsage=digitalSignature' >client.ext",
        "for who in server client; do openssl req -new -newkey ec "
        "-pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$who "
        "-keyout $who.key -out $who.csr && openssl x509 -req -in $who.csr -CA ca.crt -CAkey ca.key "
        "-CAcreateserial -days 2 "
        "-extfile $who.ext -out $who.crt || exit 1; done 2>/dev/null",
    };
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) shell(dir, commands[i]);
}
