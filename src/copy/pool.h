/* A lane's connections to one side: one client per node, and which node serves which slot.
 *
 * Follows the deployment's picture (pool_update()); in between a MOVED corrects single slots. A
 * slot that is being moved may have a second node, learnt from ASK. One thread.
 */
#ifndef LONGHAUL_COPY_POOL_H
#define LONGHAUL_COPY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"
#include "server/deployment.h"

struct pool;
struct batch;

enum { POOL_STAGES = 7 };

struct bounded;

struct pool_node {
    struct pool *pool;
    struct client *client;
    /* a second connection, see copy/bounded.h; NULL where the pool has none */
    struct bounded *bounded;
    struct address address;
    /* a second connection to the same address, a node of its own that has no routes; NULL: none */
    struct pool_node *twin;
    bool is_twin;
    bool listed;                         /* in the present topology */
    bool closing;                        /* released at the end of the round */
    struct batch *building[POOL_STAGES]; /* for copy/fetch: batches being filled for this node */
    struct pool_node *next;
};

struct pool_events {
    void (*on_ready)(void *ctx, struct pool_node *node);
    /* final: this node will never be usable; err says why. */
    void (*on_down)(void *ctx, struct pool_node *node, const struct err *err, bool final);
    /* Its bounded connection broke: perhaps a reply was too large for it. */
    void (*on_bounded_lost)(void *ctx, struct pool_node *node);
    /* Before a node is freed: forget it. */
    void (*on_gone)(void *ctx, struct pool_node *node);
};

/* identify: client_run_id() will be asked for. */
struct pool *pool_new(struct loop *loop, struct deployment *deployment, bool identify,
                      const struct pool_events *events, void *ctx);
/* From now on each node has a bounded connection too, one of so many in the job. */
void pool_bound(struct pool *pool, int connections);
void pool_free(struct pool **pool);
void *pool_ctx(const struct pool *pool);
struct deployment *pool_deployment(const struct pool *pool);

/* Takes over the deployment's present topology: opens new nodes, closes those that are no longer in
 * it (commands pending there fail with ERR_CLOSED). Does nothing when it has not changed. */
void pool_update(struct pool *pool);

/* The node for a slot; NULL when nobody owns it. It may be not ready. */
struct pool_node *pool_route(struct pool *pool, uint16_t slot);

/* Where the last ASK for the slot led; NULL: nowhere. MOVED and ASK are followed by the pool
 * itself: it routes the slot to the node that they name, and opens that node where it is not known,
 * up to POOL_STRANGERS_MAX nodes that the topology does not have. */
enum { POOL_STRANGERS_MAX = 64 };
/* The same for a redirect that another connection to one of its nodes received. */
void pool_follow(struct pool *pool, const struct redirect *redirect);
struct pool_node *pool_ask(struct pool *pool, uint16_t slot);

/* The node's second connection, for values that may break it; made when it is first asked for.
 * Commands that the first had under way when it broke are over once that is ready again. */
struct pool_node *pool_twin(struct pool_node *node);

struct pool_node *pool_first(struct pool *pool);
size_t pool_unsent_bytes(const struct pool *pool);
/* Of the farthest node that is ready; see client_round_trip_us(). */
int64_t pool_round_trip_us(const struct pool *pool);
uint64_t pool_reconnects(const struct pool *pool);
/* The listed node that has been unusable longest: since when (monotonic ms), 0 when all are ready.
 */
int64_t pool_down_since_ms(const struct pool *pool, const struct pool_node **which);

#endif
