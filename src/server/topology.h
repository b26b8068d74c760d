/* The nodes and the slots of each: an immutable picture of a deployment at one moment, shared
 * between threads by counting.
 *
 * A standalone server is a picture with one node that owns every slot, so that nobody above needs
 * to tell the two apart. Source: the CLUSTER SLOTS page (served by every version of Redis and
 * Valkey, and by ElastiCache); the node's host may be null or empty ("the host you asked") or "?"
 * (its name is not known, its address stands in the metadata).
 */
#ifndef LONGHAUL_SERVER_TOPOLOGY_H
#define LONGHAUL_SERVER_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slot.h"
#include "resp/reader.h"
#include "server/address.h"

enum { TOPOLOGY_NODES_MAX = 4096, TOPOLOGY_ID_MAX = 48 };

struct topology_node {
    struct address address;
    char id[TOPOLOGY_ID_MAX]; /* the cluster's name for it; empty outside clusters */
    int primary;              /* index of its primary; its own index for a primary */
    int reader;               /* of a primary: index of the node to read its keys from */
};

struct topology {
    bool cluster;
    int n_nodes, n_primaries;
    struct topology_node *nodes;
    int16_t owner[SLOT_COUNT]; /* index of the primary, -1 where nobody owns the slot */
    int refs;                  /* atomic */
};

/* One node that owns all. */
struct topology *topology_new_single(const struct address *address);

/* From a reply to CLUSTER SLOTS that `from` gave. Slots without owner are -1; a reply with no slot
 * at all is an error (the cluster is not set up), a malformed one too. place is the subject of
 * errors. NULL on error. */
struct topology *topology_parse_slots(struct resp_cursor reply, const struct address *from,
                                      const char *place, struct err *err);

struct topology *topology_ref(struct topology *topology);
/* Leaves NULL. */
void topology_unref(struct topology **topology);

/* Chooses for each primary one of its replicas to read from; false when one has none (index in
 * *without). */
bool topology_read_from_replicas(struct topology *topology, int *without);

/* Adds a replica to the only node of a standalone picture. */
void topology_add_replica(struct topology *topology, const struct address *address);

bool topology_equal(const struct topology *a, const struct topology *b);
static inline bool topology_is_primary(const struct topology *t, int node) {
    return t->nodes[node].primary == node;
}
/* Index of the node with this address, -1. */
int topology_find(const struct topology *topology, const struct address *address);
/* Is the cluster's node of this name in it? */
bool topology_has_id(const struct topology *topology, const char *id);
unsigned topology_slots_of(const struct topology *topology, int node);
/* Slots that nobody owns. */
unsigned topology_uncovered(const struct topology *topology);

/* From a reply to CLUSTER NODES: the slots that the asked node is giving away or taking over
 * ("[93->-id]", "[93-<-id]"; only a node's own line tells). Adds to the sets, either of which may
 * be NULL. */
void topology_open_slots(struct bytes nodes_text, struct slot_set *migrating,
                         struct slot_set *importing);

#endif
