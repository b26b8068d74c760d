/* Function libraries, which belong to a database beside its keys.
 *
 * They travel as source code (FUNCTION LIST WITHCODE, FUNCTION LOAD REPLACE), which every version
 * and both families understand, rather than as FUNCTION DUMP, whose payload is refused by older and
 * foreign servers. Libraries that only the target has stay. Source: the FUNCTION LIST and FUNCTION
 * LOAD pages (7.0).
 */
#ifndef LONGHAUL_PROBE_FUNCTIONS_H
#define LONGHAUL_PROBE_FUNCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "copy/giveup.h"
#include "server/deployment.h"

/* Copies the libraries of one primary of the source to every primary of the target. A source
 * without functions (before 7.0, or refused there) has none to copy. A library that the target
 * refuses is recorded once in giveup and counted in *refused. again: the caller tries again later,
 * so a refusal that may pass (READONLY, OOM) is none. False on trouble. */
bool functions_copy(struct deployment *source, struct deployment *target, bool again,
                    struct giveup *giveup, uint64_t *copied, uint64_t *refused, struct err *err);

#endif
