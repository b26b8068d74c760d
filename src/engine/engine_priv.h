/* Between the files of the engine. */
#ifndef LONGHAUL_ENGINE_ENGINE_PRIV_H
#define LONGHAUL_ENGINE_ENGINE_PRIV_H

#include <pthread.h>

#include "engine/coverage.h"
#include "engine/engine.h"
#include "engine/worker.h"

enum { ENGINE_DRAIN_MS = 3000 };

struct pass;

struct coverage {
    struct engine *engine;
    struct deployment *side;
    enum coverage_kind kind;
    struct coverage_rules rules;
    /* Per database of the engine: to be scanned, and which of those as a whole. */
    struct slot_set *open, *whole;
    size_t dbs_cap;
    struct pass *passes; /* running, and ended but not judged */
    int64_t moving_checked_ms, moving_since_ms;
    bool moving_told;
};

struct engine {
    struct engine_settings settings;
    struct loop *loop; /* control */
    _Atomic(void *) user;
    struct copy_plan plan;
    int *dbs;
    size_t n_dbs;
    int *clean_dbs; /* plan.target_dbs */
    struct worker *workers[ENGINE_LANES_MAX];
    int n_workers;
    unsigned next_worker;
    struct coverage coverages[COVERAGE_KINDS];
    struct pass
        *over; /* complete passes over the source, and such that an abort is on its way to */
    uint64_t adopted[2]; /* epochs of the topologies that passes know: target, source */
    uint64_t scan_restarts;

    _Atomic int64_t in_transit; /* batches of names on their way to a lane */
    _Atomic uint64_t scanned, scan_reconnects;
    _Atomic bool want_source, want_target;
    pthread_mutex_t lock;
    struct pass *ended; /* under lock */
    struct err failed;  /* under lock; ERR_NONE while all is well */
};

void coverage_init(struct coverage *c, struct engine *e, enum coverage_kind kind);
/* Once the workers have ended. */
void coverage_fini(struct coverage *c);
void passes_free(struct pass *list);
void coverage_topology_changed(struct coverage *c);

#endif
