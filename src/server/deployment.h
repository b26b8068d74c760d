/* One side of a job: the endpoint that the user named, and the servers behind it: one server, a
 * primary found through Sentinel, or a cluster with its topology.
 *
 * Opened and refreshed by the controlling thread only; deployment_topology() and deployment_epoch()
 * are for every thread. Nobody but this file knows how the topology is found out.
 */
#ifndef LONGHAUL_SERVER_DEPLOYMENT_H
#define LONGHAUL_SERVER_DEPLOYMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "server/call.h"
#include "server/client.h"
#include "server/endpoint.h"
#include "server/info.h"
#include "server/topology.h"

struct deployment;

struct deployment_settings {
    int64_t connect_timeout_ms;
    int64_t reply_timeout_ms;
    int64_t startup_timeout_ms; /* how long LOADING and the like are waited out when it is opened */
    /* while it is opened, a side that is down is waited for too, for as long (0: without end) */
    bool patient;
    bool read_from_replica;
    bool no_touch; /* reads shall not touch LRU */
    bool writes;   /* clients write: see client_settings.fence */
};

/* Connects, logs in, recognises the kind of server, loads the topology. A wrong flag
 * (endpoint.cluster_wanted on something that is no cluster) is an error. The endpoint is copied.
 * NULL on error. */
struct deployment *deployment_open(struct loop *loop, const struct endpoint *endpoint,
                                   const struct deployment_settings *settings, struct err *err);
void deployment_free(struct deployment **deployment);

const struct endpoint *deployment_endpoint(const struct deployment *d);
/* "source", "target" or "server". */
const char *deployment_role(const struct deployment *d);
/* "standalone", "cluster", "sentinel". */
const char *deployment_kind(const struct deployment *d);
bool deployment_is_cluster(const struct deployment *d);

/* INFO of the node that answered first, as it was when the deployment was opened. */
const struct server_info *deployment_info(const struct deployment *d);
/* The INFO text itself (all default sections). */
struct bytes deployment_info_text(const struct deployment *d);

/* The present picture, counted: release it with topology_unref(). Any thread. */
struct topology *deployment_topology(struct deployment *d);
/* Changes whenever the picture does. Any thread. */
uint64_t deployment_epoch(struct deployment *d);

/* Asks anew, any node that answers; for Sentinel, the sentinels. A changed picture is published and
 * the epoch moves. False when nobody could be asked; the old picture stays. */
bool deployment_refresh(struct deployment *d, struct err *err);

/* Settings of a client to the node at address: login, TLS, timeouts. Everything that they borrow
 * lives as long as the deployment. */
struct client_settings deployment_client_settings(const struct deployment *d,
                                                  const struct address *address);

/* Is it the side that is written to, so that its replies hold no values? */
bool deployment_is_written(const struct deployment *d);

/* Clients that are opened from now on do not give up because of trouble that may pass; see
 * client_settings.persistent. */
void deployment_set_persistent(struct deployment *d);

/* The name (CLIENT SETNAME) of clients that are opened from now on; NULL: "longhaul". Borrowed.
 * Before other threads use the deployment. */
void deployment_set_client_name(struct deployment *d, const char *name);

/* A client to a node, for calls; NULL on error. */
struct client *deployment_call_open(struct deployment *d, const struct address *address,
                                    struct err *err);
/* The same in two steps, so that several can be on their way at once. On error *client is closed
 * and NULL. */
struct client *deployment_call_begin(struct deployment *d, const struct address *address);
bool deployment_call_await(struct deployment *d, struct client **client, struct err *err);
/* Gives back a client that works, in database 0. The last one is kept for DEPLOYMENT_KEPT_MS, and
 * the next call that wants a client to the same node gets that one: a far server is spared two
 * round trips. After trouble use client_close(), so that the name is resolved anew. Leaves NULL;
 * NULL is ignored. */
void deployment_call_close(struct deployment *d, struct client **client);
enum { DEPLOYMENT_KEPT_MS = 5000 };
int64_t deployment_reply_timeout_ms(const struct deployment *d);
struct loop *deployment_loop(const struct deployment *d);

/* INFO of one node, parsed; text (if not NULL) gets the whole reply, to be freed by the caller with
 * call_reply_fini(). */
bool deployment_node_info(struct deployment *d, const struct address *address,
                          struct server_info *info, struct call_reply *text, struct err *err);
/* INFO of all primaries at the same time; fn gets the text of each, in no order. True when all have
 * answered. */
bool deployment_primaries_info(struct deployment *d, void (*fn)(void *ctx, struct bytes text),
                               void *ctx, struct err *err);

#endif
