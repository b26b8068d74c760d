/* See demand.h. */
#include "server/demand.h"

#include "net/descriptors.h"
#include "net/loop.h"

enum {
    DEMAND_PROCESS = 40, /* standard streams, log, state directory, spools, names being resolved */
    DEMAND_PER_SOURCE = 2, /* of a lane, to each source primary: its client, and the bounded one */
    DEMAND_PER_TARGET = 1, /* of a lane, to each target primary */
    DEMAND_PER_LANE = 2,   /* the reader of large keys, and the one that takes its place */
    DEMAND_FOLLOWED =
        5,           /* of the job, to each source primary: two scans, feed, its primary, watch */
    DEMAND_KEPT = 3, /* of the job, to each target primary: scan, record, watch */
};

long long demand_of(int source_primaries, int target_primaries, int threads) {
    long long lane = DEMAND_PER_SOURCE * source_primaries + DEMAND_PER_TARGET * target_primaries +
                     DEMAND_PER_LANE;
    return DEMAND_PROCESS + LOOP_DESCRIPTORS * (threads + 1LL) + lane * threads +
           DEMAND_FOLLOWED * source_primaries + DEMAND_KEPT * target_primaries;
}

bool demand_is_met(struct deployment *source, struct deployment *target, int threads,
                   struct err *err) {
    struct topology *s = deployment_topology(source), *t = deployment_topology(target);
    int primaries[2] = { s->n_primaries, t->n_primaries };
    topology_unref(&s);
    topology_unref(&t);
    long long need = demand_of(primaries[0], primaries[1], threads), limit = descriptors_limit();
    return limit >= need ||
           err_set(
               err, ERR_FILES, "open files",
               "the job needs %lld for %d source and %d target primaries with %d threads, and the "
               "limit is %lld; raise it (ulimit -n, LimitNOFILE= of systemd), or use fewer "
               "--threads",
               need, primaries[0], primaries[1], threads, limit);
}
