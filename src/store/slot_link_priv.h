/* Commands about keys of one slot, sent to the slot's owner; ASK is followed while the slot is half
 * moved. One key to a command: only such a command can be answered by either of the two nodes. */
#ifndef LONGHAUL_STORE_SLOT_LINK_PRIV_H
#define LONGHAUL_STORE_SLOT_LINK_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "server/client.h"
#include "server/deployment.h"

struct slot_link;

struct slot_link_events {
    void (*on_ready)(void *ctx);
    /* The connection to the owner, or to the node that ASK has named, broke. */
    void (*on_down)(void *ctx);
};

/* reply_ms: a bound for connecting and for each reply, beside those of the deployment. name: of
 * the connections (CLIENT SETNAME), borrowed; NULL: none. */
struct slot_link *slot_link_new(struct deployment *target, int db, int64_t reply_ms,
                                const char *name, const struct slot_link_events *events, void *ctx);
/* The owner of the slot. NULL: none at this moment. */
void slot_link_set_owner(struct slot_link *link, const struct address *owner);
/* Connections that stand are named too. */
void slot_link_set_name(struct slot_link *link, const char *name);
bool slot_link_is_ready(const struct slot_link *link);
/* The client of the owner, for a transaction; NULL: none. */
struct client *slot_link_client(const struct slot_link *link);
/* Opens a connection again that was given up a while ago; to be called from a timer. */
void slot_link_step(struct slot_link *link);
/* Only while it is ready. fn is called exactly once; client is the one that was answered by, for
 * client_reply_error() and client_place(). */
typedef void slot_link_fn(void *ctx, struct client *client, const struct reply *reply);
void slot_link_send(struct slot_link *link, slot_link_fn *fn, void *ctx, size_t argc,
                    const struct bytes *argv);
/* Commands under way fail with ERR_CLOSED. Leaves NULL. */
void slot_link_free(struct slot_link **link);

#endif
