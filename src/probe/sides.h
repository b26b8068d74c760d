/* Whether two sides may be source and target of a job at all. Asked before anything is written to
 * either: a target that replicates with the source would be changed by its own copy, and change the
 * source.
 *
 *   sides_ask() ── of each side ──▶ struct side_facts ── two of them ──▶ sides_judge()
 */
#ifndef LONGHAUL_PROBE_SIDES_H
#define LONGHAUL_PROBE_SIDES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "server/deployment.h"

/* The oldest server that longhaul works with. */
#define SIDES_VERSION_MIN SERVER_VERSION(4, 0, 0)

/* An address as the resolver gives it, so that two names of one server are equal. */
struct side_place {
    char ip[INET6_ADDRSTRLEN];
    uint16_t port;
};

/* A server that answers for slots of its side. */
struct side_server {
    struct server_info info;
    char former_replid[RUN_ID_MAX]; /* master_replid2 */
    /* of a replica: where its primary is; port 0: unknown */
    struct side_place primary;
};

struct side_facts {
    const char *label; /* the deployment's */
    struct side_server *servers;
    size_t n_servers;
    struct side_place *places; /* of the nodes whose names have an address */
    size_t n_places;
    char (*node_ids)[TOPOLOGY_ID_MAX]; /* of a cluster's nodes */
    size_t n_node_ids;
};

bool sides_ask(struct deployment *side, struct side_facts *facts, struct err *err);
void sides_facts_fini(struct side_facts *facts);

/* False, with the reason and the remedy: the sides are one server, belong to one replication
 * group or one cluster, or one is too old. other_database: the copy goes from one database of a
 * server to another, which may be the same server's. Pure. */
bool sides_judge(const struct side_facts *source, const struct side_facts *target,
                 bool other_database, struct err *err);

/* Both together. */
bool sides_check(struct deployment *source, struct deployment *target, bool other_database,
                 struct err *err);

/* False: the target is a replica, and takes no writes (ERR_READONLY, which may pass by itself when
 * a failover is under way). */
bool sides_check_target_role(struct deployment *target, struct err *err);

#endif
