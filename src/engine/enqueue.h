/* Names of keys on their way from where they were found (a scan, a feed) to the lanes that will
 * copy them: to the lane of the same thread at once, to others in one batch each. */
#ifndef LONGHAUL_ENGINE_ENQUEUE_H
#define LONGHAUL_ENGINE_ENQUEUE_H

#include "base/bytes.h"
#include "base/keyset.h"
#include "engine/worker.h"

enum { NAMING_LANES_MAX = 64 };

struct job;

struct naming {
    struct job *job;
    struct worker *here;
    int db;
    struct name_batch *batches[NAMING_LANES_MAX];
};

/* On the thread of `here`; NULL: on the control thread. */
void naming_begin(struct naming *naming, struct job *job, struct worker *here, int db);
void naming_add(struct naming *naming, struct bytes key, uint16_t slot, enum key_reason reason);
/* Sends what is still here. */
void naming_end(struct naming *naming);

#endif
