/* Commands whose replies are waited for: for starting up, looking around and asking about topology,
 * where nothing else runs on the loop. One at a time (call_send()), or several that were started
 * together and cost one round trip (call_start()). Copying never uses this. Not from within a
 * callback (see loop_run_once()). */
#ifndef LONGHAUL_SERVER_CALL_H
#define LONGHAUL_SERVER_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "resp/reader.h"
#include "server/client.h"

/* A reply of one's own: copied out of the connection. */
struct call_reply {
    char *raw; /* owned */
    size_t len;
    struct resp_item item;     /* the first value */
    struct resp_cursor cursor; /* behind it */
};

void call_reply_fini(struct call_reply *reply);

/* A flag that ends calls early once it is set (a signal handler sets it); NULL for none. The call
 * then fails with ERR_INTERRUPTED. For the calling thread. Returns the former flag. */
const volatile bool *call_set_interrupt(const volatile bool *flag);
/* Whether it is set; then *err (which may be NULL) is ERR_INTERRUPTED. For others that wait on a
 * loop. */
bool call_interrupted(struct err *err);

/* Runs the loop for so long; false when it is interrupted, with *err. */
bool call_pause(struct loop *loop, int64_t pause_ms, struct err *err);

/* Opens a client and waits until it is ready. With reconnect off the first failure is returned; on,
 * failures that may pass are waited out until timeout_ms. NULL on error. The client has no events:
 * its owner sees a loss in the next call. */
struct client *call_open(struct loop *loop, const struct client_settings *settings,
                         int64_t timeout_ms, struct err *err);
/* Waits for a client that client_open() was called for, so that several can be on their way at
 * once; patient: its settings.reconnect. On error the client is closed and *client NULL. */
bool call_await_open(struct loop *loop, struct client **client, bool patient, int64_t timeout_ms,
                     struct err *err);

/* Sends one command and waits. An error reply is a success of the call (look at reply->item) unless
 * call_ok() is used. */
bool call_send(struct loop *loop, struct client *client, int64_t timeout_ms,
               struct call_reply *reply, struct err *err, size_t argc, const struct bytes *argv);

/* A command under way. On a client that is not ready, or is lost before the reply, the call fails
 * when it is finished. */
struct call;
struct call *call_start(struct client *client, size_t argc, const struct bytes *argv);
/* Waits for the reply as call_send() does; the client is still there. Leaves NULL. */
bool call_finish(struct loop *loop, struct call **call, int64_t timeout_ms,
                 struct call_reply *reply, struct err *err);
/* Nobody wants the reply any more. NULL is ignored. Leaves NULL. */
void call_drop(struct call **call);

/* For steps made of calls: is it worth doing the step again? True (after a short pause on the loop)
 * when a connection broke or a cluster is changing, and *tries has not reached CALL_TRIES_MAX; a
 * refused or silent one is no such thing. */
enum { CALL_TRIES_MAX = 30 };
bool call_again(struct loop *loop, const struct err *err, int *tries);

/* As call_send() with the words of `command`, split at spaces; an error reply is a failure, in
 * *err. */
bool call_ok(struct loop *loop, struct client *client, int64_t timeout_ms, struct call_reply *reply,
             struct err *err, const char *command);

#endif
