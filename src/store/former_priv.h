/* Ends the connections of a job's former holders on every primary of the target: a holder's
 * commands may lie unread in the servers, and new ones may be on their way. On the loop; never
 * waits. */
#ifndef LONGHAUL_STORE_FORMER_PRIV_H
#define LONGHAUL_STORE_FORMER_PRIV_H

#include "server/deployment.h"

struct former_sweep;

struct former_result {
    bool ok; /* every primary has answered */
    struct err err;
    /* Signs that the job had a holder: connections with its name, a record, or a server that does
     * not show its connections. */
    bool had_holder;
};

/* timeout_ms: for each connection and reply. fn is called once, from the loop. */
struct former_sweep *former_sweep_start(struct deployment *target, int db, const char *job,
                                        int64_t timeout_ms,
                                        void (*fn)(void *ctx, const struct former_result *result),
                                        void *ctx);
/* Also from within fn. Leaves NULL; NULL is ignored. */
void former_sweep_free(struct former_sweep **sweep);

#endif
