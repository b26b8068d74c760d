/* A connection to a server on which strings may be read whole although their size is not known:
 * the server itself bounds the memory that it holds for the connection.
 *
 * MGET costs a server less than GETRANGE key by key, and has no bound of its own: a string of 500
 * MB among small ones would be copied into the reply. So this connection subscribes to a channel
 * that nobody uses. That makes it one of the class "pubsub", which servers disconnect when more
 * than 32 MB wait for it (redis 7.0.15 src/networking.c getClientType(),
 * checkClientOutputBufferLimits(); client-output-buffer-limit): beside these, at most the one value
 * that was too much is held, until the end of that command. The client in turn ends the connection
 * as soon as a reply announces more than BOUNDED_REPLY_MAX bytes. It is offered only while the
 * server has room for both, by INFO memory, so that nothing is evicted because of it. And it is
 * used only as long as all strings of the run have been small (bounded_trust), which its users keep
 * count of.
 */
#ifndef LONGHAUL_COPY_BOUNDED_H
#define LONGHAUL_COPY_BOUNDED_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "server/client.h"
#include "server/info.h"

enum {
    BOUNDED_REPLY_MAX = 16 * 1024 * 1024,
    BOUNDED_LOOK_MS = 2000, /* between two looks at the server's memory */
    /* strings that must have been small before any is read unbounded */
    BOUNDED_AFTER_KEYS = 5000,
    /* expected under way; servers disconnect at 8 MB for a minute, or 32 MB */
    BOUNDED_READING_MAX = 6 * 1024 * 1024,
};
/* Output bytes a server holds before it disconnects by itself, and the longest string
 * (proto-max-bulk-len), by default. */
#define BOUNDED_OUTPUT_BYTES (UINT64_C(32) << 20)
#define BOUNDED_STRING_BYTES (UINT64_C(512) << 20)

/* The sizes of a run's strings so far. All zero: none is known. */
struct bounded_trust {
    uint64_t small; /* strings that were */
    bool surprised; /* one was large, or may have been: none is read unbounded any more */
};
/* May strings be read unbounded, so many bytes of them at a time, as far as is known? */
static inline bool bounded_is_earned(const struct bounded_trust *trust, uint64_t expected_bytes) {
    return !trust->surprised && trust->small >= BOUNDED_AFTER_KEYS &&
           expected_bytes <= BOUNDED_READING_MAX;
}

struct bounded;

/* Connects in the background. settings are the node's, copied; strings that they borrow stay
 * borrowed. connections: how many like this one the job has to the node. on_lost: the connection
 * broke while it was in use, perhaps because a reply was too large; may be NULL. */
struct bounded *bounded_open(struct loop *loop, const struct client_settings *settings,
                             int connections, void (*on_lost)(void *ctx), void *ctx);
/* Called for MOVED and ASK on this connection, with bounded_open()'s ctx. */
void bounded_set_redirect(struct bounded *b,
                          void (*on_redirect)(void *ctx, const struct redirect *redirect));
/* Pending commands fail at the end of the round. Leaves NULL. */
void bounded_free(struct bounded **bounded);

/* The client to read with: ready, and it leads to the process with this run_id (as client_run_id()
 * says; the settings decide whether that is known). NULL while there is none. */
struct client *bounded_client(struct bounded *bounded, const char *run_id);

/* Has a server that says this of itself room for so many such connections? Not when it does not
 * say. */
bool bounded_fits(const struct server_info *info, int connections);

#endif
