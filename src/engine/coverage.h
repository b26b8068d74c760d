/* Coverage: which slots of one side are still to be scanned, and the passes that do it.
 *
 * A slot counts as scanned when one server process was scanned from beginning to end while it owned
 * the slot the whole time and the slot was not being moved. After a failover, resharding or a
 * restart the slot is open again, and is scanned at its owner. A slot that is opened while a pass
 * runs over it is scanned once more behind that pass.
 *
 *   control: start_pass ──post──▶ worker: SCAN ... ends ──post──▶ control: judge_pass
 *                                                                 ─▶ done, or open again
 */
#ifndef LONGHAUL_ENGINE_COVERAGE_H
#define LONGHAUL_ENGINE_COVERAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slot.h"
#include "capture/scan.h"
#include "engine/engine.h"
#include "server/address.h"

enum coverage_kind {
    COVERAGE_FORWARD, /* the source's keys */
    COVERAGE_SWEEP,   /* the target's keys: does the source still have them? */
    COVERAGE_STREAMS, /* the source's streams, whose groups are to be known */
    COVERAGE_KINDS
};

struct coverage;
struct coverage *engine_coverage(struct engine *e, enum coverage_kind kind);

/* A pass, as others see it. */
struct pass_view {
    const struct address *primary;
    int db; /* of the source */
    const struct slot_set *slots, *whole;
    const char *run_id, *cursor; /* of the next page; "0": it has ended, "": it has not begun */
};

/* Where a pass begins that goes on with one of a former run. */
struct pass_start {
    bool copied; /* it was complete: only keys in use are copied */
    char cursor[SCAN_CURSOR_MAX], run_id[RUN_ID_MAX];
};

/* The rules of a live job for passes; each may be NULL. */
struct coverage_rules {
    /* May this primary be scanned now? Control thread. */
    bool (*may_scan)(void *ctx, const struct address *primary);
    /* True: it starts as *start says, and keys that changed since are looked for by another pass
     * behind it. Control thread. */
    bool (*starts_at)(void *ctx, const struct pass_view *pass, struct pass_start *start);
    /* A key of the pass was named. Worker's thread. */
    void (*on_named)(void *ctx, int db, uint16_t slot);
    void *ctx;
};
/* Before the first pass. */
void coverage_set_rules(struct coverage *c, const struct coverage_rules *rules);

/* These are to be scanned (again). db: of the source, COVERAGE_ALL_DATABASES: each that is copied.
 * whole: every key is copied; else those that were used (COVERAGE_FORWARD alone). */
enum { COVERAGE_ALL_DATABASES = -1 };
void coverage_open(struct coverage *c, int db, const struct slot_set *slots, bool whole);
/* Slots that are to be scanned, or that a pass runs over: of one database, or of all. */
struct slot_set coverage_pending(const struct coverage *c, int db);
bool coverage_is_complete(const struct coverage *c);
/* Judges ended passes, starts missing ones. True when nothing is left and no pass runs. */
bool coverage_step(struct coverage *c);
/* Aborts all passes; their ends are judged later. */
void coverage_abort(struct coverage *c);
/* Judges the passes of all coverages that have ended, starts none. */
void coverage_judge_ended(struct engine *e);
/* Each pass over the source that runs, and each that has ended well since the start. Names given by
 * then lie before the cursors. */
void coverage_each_pass(struct engine *e, void (*fn)(void *ctx, const struct pass_view *pass),
                        void *ctx);

#endif
