/* --state-dir of compare: its runs and their findings, in a state directory (store/state.h) of the
 * same source and target: one of its own, or a live job's while that does not run.
 */
#ifndef LONGHAUL_CLI_COMPARE_STATE_H
#define LONGHAUL_CLI_COMPARE_STATE_H

#include "base/err.h"
#include "verify/compare.h"

struct compare_state;

/* source and target are the labels of the endpoints. NULL on error. */
struct compare_state *compare_state_open(const char *dir, const char *source, const char *target,
                                         struct err *err);
/* A run begins. */
bool compare_state_begin(struct compare_state *state, const char *mode, struct err *err);
/* The run that began last has ended: its counts, and the differences that the result holds by name.
 * trouble: why it ended early, ERR_NONE when it did not. */
bool compare_state_end(struct compare_state *state, const struct compare_result *result,
                       const struct err *trouble, struct err *err);
/* Leaves NULL. */
void compare_state_close(struct compare_state **state);

#endif
