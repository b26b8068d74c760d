/* A real redis-server of a test's own: on a free port of the loopback, in a temporary directory,
 * ended with the test.
 *
 * Anything that goes wrong here fails the test at once, so nothing returns an error.
 */
#ifndef LONGHAUL_TESTS_REDIS_PROCESS_H
#define LONGHAUL_TESTS_REDIS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_process {
    pid_t pid;
    uint16_t port, tls_port; /* tls_port: 0 without TLS */
    char dir[64];
    char socket[96];
};

/* Further arguments as for redis-server, NULL-terminated; may be NULL. */
void redis_start(struct redis_process *p, const char *const *args);
/* As redis_start() with TLS on a second port, with the files of certs_make() in p->dir. */
void redis_start_tls(struct redis_process *p, bool ask_client_cert);
/* Kills it and starts another process with the same port and arguments, empty. */
void redis_restart(struct redis_process *p, const char *const *args);
/* A cluster of two, both of which know it and take writes: `first` has the slots below `slots`,
 * `second` the rest. */
void redis_start_cluster(struct redis_process *first, struct redis_process *second, int slots);
/* Gives a slot of theirs without keys to another node, and tells both. */
void redis_give_slot(const struct redis_process *from, const struct redis_process *to,
                     uint16_t slot);
/* The node's name in its cluster. Static memory. */
const char *redis_cluster_id(const struct redis_process *p);

/* Kills it and removes the directory. */
void redis_stop(struct redis_process *p);

/* Sends one inline command on a connection of its own and returns the first line of the reply,
 * without its end. Static memory. */
const char *redis_do(const struct redis_process *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Cuts the connections of everybody else; returns how many. */
int redis_kill_clients(const struct redis_process *p);

/* A port of the loopback on which nobody listens; and a socket that listens there and never
 * answers. */
uint16_t port_closed(void);
int port_silent(uint16_t *port, int backlog);

/* In dir: ca.crt, server.crt/.key (localhost, 127.0.0.1), client.crt/.key, other-ca.crt (which
 * signed none of them). */
void certs_make(const char *dir);

#endif
