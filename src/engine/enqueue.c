/* See enqueue.h. */
#include "engine/enqueue.h"

#include <string.h>

#include "engine/engine_priv.h"

void enqueue_begin(struct enqueue *q, struct engine *engine, struct worker *here, int db) {
    q->engine = engine;
    q->here = here;
    q->db = db;
    memset(q->batches, 0, (size_t)engine->n_workers * sizeof(q->batches[0]));
}

void enqueue_key(struct enqueue *q, struct bytes key, uint16_t slot, enum key_reason reason) {
    struct engine *e = q->engine;
    int lane = lane_of_slot(&e->plan, slot);
    if (e->workers[lane] == q->here) {
        lane_name(worker_lane(q->here), q->db, key, slot, reason);
        return;
    }
    if (q->batches[lane] == NULL) q->batches[lane] = name_batch_new(q->db);
    name_batch_add(q->batches[lane], key, slot, reason);
}

void enqueue_end(struct enqueue *q) {
    struct engine *e = q->engine;
    for (int lane = 0; lane < e->n_workers; lane++) {
        if (q->batches[lane] == NULL) continue;
        worker_name(e->workers[lane], q->batches[lane], &e->in_transit);
        q->batches[lane] = NULL;
    }
}
