/* See naming.h. */
#include "engine/enqueue.h"

#include <string.h>

#include "job/replicate_priv.h"

_Static_assert((int)NAMING_LANES_MAX >= (int)JOB_THREADS_MAX, "a batch per lane");

void naming_begin(struct naming *naming, struct job *job, struct worker *here, int db) {
    naming->job = job;
    naming->here = here;
    naming->db = db;
    memset(naming->batches, 0, (size_t)job->n_workers * sizeof(naming->batches[0]));
}

void naming_add(struct naming *naming, struct bytes key, uint16_t slot, enum key_reason reason) {
    struct job *job = naming->job;
    int lane = lane_of_slot(&job->plan, slot);
    if (job->workers[lane] == naming->here) {
        lane_name(worker_lane(naming->here), naming->db, key, slot, reason);
        return;
    }
    if (naming->batches[lane] == NULL) naming->batches[lane] = name_batch_new(naming->db);
    name_batch_add(naming->batches[lane], key, slot, reason);
}

void naming_end(struct naming *naming) {
    struct job *job = naming->job;
    for (int lane = 0; lane < job->n_workers; lane++) {
        if (naming->batches[lane] == NULL) continue;
        worker_name(job->workers[lane], naming->batches[lane], &job->in_transit);
        naming->batches[lane] = NULL;
    }
}
