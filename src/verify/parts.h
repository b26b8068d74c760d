/* The parts of a value that differ, for people: the first fields, members, elements, bytes or
 * entries, with the value on each side. Both servers are asked after the comparison, for the
 * differences that it kept, in pieces and within bounds.
 */
#ifndef LONGHAUL_VERIFY_PARTS_H
#define LONGHAUL_VERIFY_PARTS_H

#include <stdbool.h>

#include "server/deployment.h"
#include "verify/compare.h"

enum { PARTS_TEXT_MAX = 600 };

/* Sets `parts` of the result's differences in value. It stays NULL where the parts cannot be
 * determined: a connection breaks, the value has changed, a command is missing there. Runs the
 * deployments' loop; not from within a callback. stop may be NULL. */
void compare_explain(struct deployment *source, struct deployment *target, int target_db,
                     const volatile bool *stop, struct compare_result *result);

#endif
