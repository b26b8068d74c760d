/* A pass: one scan of one node's database, on a worker's thread, that names the keys it finds to
 * the lanes. Inside of the engine. */
#ifndef LONGHAUL_ENGINE_PASS_H
#define LONGHAUL_ENGINE_PASS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/coverage.h"
#include "server/client.h"

struct pass {
    struct coverage *coverage;
    struct engine *engine;
    struct worker *worker;
    struct scan *scan;        /* worker's thread */
    struct loop_timer *pause; /* worker's thread */
    struct client_settings client;
    struct address primary; /* whose slots are scanned; the node scanned may be its replica */
    int db;                 /* of the source */
    int scan_db;            /* of the side that is scanned */
    size_t type;            /* sweep: which of the filter's types is being scanned */
    struct slot_set slots;  /* named by this pass */
    struct slot_set whole;  /* of those: every key is copied */
    /* It goes on where another one stopped; empty: it begins. */
    char start_cursor[SCAN_CURSOR_MAX], start_run_id[RUN_ID_MAX];
    char cursor[SCAN_CURSOR_MAX],
        run_id[RUN_ID_MAX];      /* under the engine's lock: of the next page */
    struct slot_set undisturbed; /* control: of the slots, those that stayed where they were */
    _Atomic bool aborted;
    bool abort_posted; /* an abort may still be on its way to it */
    enum scan_end end;
    struct err err;
    struct pass *next;       /* control */
    struct pass *next_ended; /* under the engine's lock */
};

struct pass *pass_new(struct coverage *c, const struct address *primary,
                      const struct slot_set *slots);
/* Leaves NULL. Once it has ended, or its worker has. */
void pass_free(struct pass **pass);
void pass_start_on_worker(struct pass *pass);
/* Ends soon as SCAN_NODE_CHANGED. */
void pass_abort(struct pass *pass);
/* cursor and run_id may change unless the engine's lock is held. */
struct pass_view pass_view_of(const struct pass *pass);

#endif
