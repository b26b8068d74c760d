/* How far the first copy has come, so that a job that is killed need not begin it again.
 *
 * Every second the cursors of the running passes are noted, then marks go behind the names that
 * those had given. When the lanes have reached them, and barriers that were sent after that moment
 * have passed, this is true: the keys before the cursors were copied, and changes from before the
 * moment are on the target. The ledger says whether changes are missing; beside a gap nothing is
 * noted.
 *
 * The next start scans from the cursors on, if the same process has the same slots; then keys
 * accessed since the moment are looked for in all of it, as after any gap.
 */
#ifndef LONGHAUL_LIVE_CHECKPOINT_H
#define LONGHAUL_LIVE_CHECKPOINT_H

#include <stdbool.h>

#include "engine/coverage.h"
#include "live/follow.h"

struct checkpoint;

/* Where one node's database was at the moment. */
struct checkpoint_cursor {
    char address[ADDRESS_HOST_MAX + 32], run_id[RUN_ID_MAX];
    char cursor[SCAN_CURSOR_MAX]; /* of SCAN; CHECKPOINT_END: all of it is copied */
    int db;
    uint64_t slots; /* hash of the slots that the pass was over */
};
#define CHECKPOINT_END "end"

/* The last one that holds. Owned by the checkpoint. */
struct checkpoint_view {
    struct moment at; /* MOMENT_NEVER: none */
    const struct checkpoint_cursor *cursors;
    size_t n_cursors;
    const struct follow_base *base; /* evidence from before it, by address */
    size_t n_base;
};

struct checkpoint *checkpoint_new(struct engine *e, struct ledger *l, struct follow *f);
void checkpoint_free(struct checkpoint **checkpoint);
/* A former run's; before the first pass. Copied. */
void checkpoint_remember(struct checkpoint *c, const struct checkpoint_cursor *cursors, size_t n);
/* While the first copy goes on. */
void checkpoint_step(struct checkpoint *c);
struct checkpoint_view checkpoint_look(const struct checkpoint *c);
/* For struct coverage_rules: a pass of the first copy goes on where the former run's was. */
bool checkpoint_starts_at(struct checkpoint *c, const struct pass_view *pass,
                          struct pass_start *start);

#endif
