/* Polls one server process by INFO at an interval, and never waits for it: changes of both sides
 * that no capture announces. On the control loop. */
#ifndef LONGHAUL_SERVER_WATCH_H
#define LONGHAUL_SERVER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "server/client.h"
#include "server/sample.h"

struct watch;

struct watch_events {
    /* sample is good during the call. before: the previous sample of the same process, NULL for the
     * first one and after a change of run_id. */
    void (*on_sample)(void *ctx, const struct server_sample *sample,
                      const struct server_sample *before);
    /* The server does not answer any more: the connection broke, the reply timeout of the settings
     * passed, or INFO itself was refused. Once per outage, which ends with the next sample; an
     * outage at the start is told too. */
    void (*on_silent)(void *ctx, const struct err *err);
};

/* The first sample comes as soon as it is connected. settings are copied, and everything that they
 * borrow stays borrowed; they must have a reply timeout. reconnect is taken to be on, and even
 * trouble that is final for a client is tried again: a password may be mended while the job
 * runs. */
struct watch *watch_start(struct loop *loop, const struct client_settings *settings,
                          int64_t interval_ms, bool with_commands,
                          const struct watch_events *events, void *ctx);
/* Also from within its callbacks; none is called from then on. Leaves NULL. */
void watch_free(struct watch **watch);
/* Takes a sample now. One that is under way may have been asked for too early, so another one
 * follows it. */
void watch_now(struct watch *watch);
const struct address *watch_address(const struct watch *watch);

#endif
