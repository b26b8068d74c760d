/* Two servers of the demo's own: found in PATH, started on free ports of 127.0.0.1 in a new
 * directory, ended by their id. */
#ifndef LONGHAUL_DEMO_SERVER_H
#define LONGHAUL_DEMO_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "demo/stop.h"
#include "net/loop.h"
#include "server/client.h"

enum { DEMO_PATH_MAX = 512, DEMO_START_MS = 15000, DEMO_END_MS = 5000 };

struct demo_server {
    const char *role; /* "source" or "target"; static */
    uint16_t port;
    pid_t pid; /* 0: not running */
    char endpoint[32];
    struct client *client; /* for the demo's own questions */
};

/* The path of redis-server or valkey-server, in a static buffer; NULL with *err when there is none.
 */
const char *demo_server_find(struct err *err);

/* Makes a directory for both. */
bool demo_directory_make(char path[DEMO_PATH_MAX], struct err *err);
/* Removes it with its files. */
void demo_directory_remove(const char *path);

/* Starts one and waits until it answers. keep: it outlives this process. */
bool demo_server_start(struct demo_server *server, const char *role, const char *binary,
                       const char *directory, bool keep, struct loop *loop,
                       const struct demo_stop *stop, struct err *err);
/* Closes the client; ends the process unless keep. */
void demo_server_end(struct demo_server *server, bool keep);

#endif
