/* Looks at one server process every so often, by INFO, and never waits for it: what a live job must
 * know of both sides that no change announces. On the control loop.
 *
 * Sources: redis 7.0.15 src/server.c genRedisInfoString(); the counters of commands are of INFO
 * commandstats, where commands run by scripts and transactions are counted too.
 */
#ifndef LONGHAUL_SERVER_WATCH_H
#define LONGHAUL_SERVER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "server/client.h"
#include "server/info.h"

struct watch;

/* Commands whose use no capture announces, counted together. */
enum watch_calls {
    WATCH_SWAPDB,
    WATCH_FLUSH, /* FLUSHDB, FLUSHALL */
    /* XACK, XREADGROUP, XCLAIM, XAUTOCLAIM, XGROUP ..., XSETID, XACKDEL, XDELEX, XNACK */
    WATCH_GROUPS,
    WATCH_FUNCTIONS, /* FUNCTION LOAD, DELETE, FLUSH, RESTORE */
    WATCH_CALLS
};

struct watch_look {
    int64_t asked_us; /* wall clock when INFO was sent */
    struct server_info info;
    int dbs[INFO_DATABASES_MAX]; /* databases that hold keys, ascending */
    int n_dbs;
    bool forks_known;
    uint64_t forks;  /* total_forks, 6.2 */
    bool has_child;  /* a save or rewrite is running */
    uint64_t offset; /* master_repl_offset */
    /* processor time of its main thread, of the process where that is not told; -1: unknown */
    int64_t cpu_us;
    int n_replicas;           /* online */
    uint64_t replicas_offset; /* the lowest of theirs */
    bool calls_known;         /* false too where an ACL or a renaming keeps the counters from us */
    uint64_t calls[WATCH_CALLS];
};

struct watch_events {
    /* look is good during the call. before: the previous look at the same process, NULL for the
     * first, and after a change of run_id. */
    void (*on_look)(void *ctx, const struct watch_look *look, const struct watch_look *before);
    /* It does not answer any more: the connection broke, the reply timeout of the settings passed,
     * or INFO itself was refused. Once per outage, which ends with the next look; one at the start
     * is an outage too. */
    void (*on_silent)(void *ctx, const struct err *err);
};

/* The first look comes as soon as it is connected. settings are copied, with what they borrow still
 * borrowed; they must have a reply timeout. reconnect is taken to be on, and even what is final for
 * a client is tried again: a password may be mended while the job runs. */
struct watch *watch_start(struct loop *loop, const struct client_settings *settings,
                          int64_t interval_ms, bool with_commands,
                          const struct watch_events *events, void *ctx);
/* Also from within its callbacks; none is called from then on. Leaves NULL. */
void watch_free(struct watch **watch);
/* Looks now, once more: a look that is under way has perhaps been asked for too early, and another
 * one follows it. */
void watch_now(struct watch *watch);
const struct address *watch_address(const struct watch *watch);

#endif
