/* Names of keys on their way from where they were found (a scan, a feed, a spool) to the lanes that
 * will copy them: to the lane of the same thread at once, to others in one batch each. */
#ifndef LONGHAUL_ENGINE_ENQUEUE_H
#define LONGHAUL_ENGINE_ENQUEUE_H

#include "base/bytes.h"
#include "base/keyset.h"
#include "engine/engine.h"
#include "engine/worker.h"

struct enqueue {
    struct engine *engine;
    struct worker *here;
    int db;
    struct name_batch *batches[ENGINE_LANES_MAX];
};

/* On the thread of `here`; NULL: on the control thread. */
void enqueue_begin(struct enqueue *q, struct engine *engine, struct worker *here, int db);
void enqueue_key(struct enqueue *q, struct bytes key, uint16_t slot, enum key_reason reason);
/* Sends the names that are still here. */
void enqueue_end(struct enqueue *q);

#endif
