/* Which parts of a value differ, for people: the first fields, members, elements, bytes or entries,
 * with what each side holds. Asked of both servers after the comparison, for the differences that
 * it kept, in pieces and within bounds.
 */
#ifndef LONGHAUL_VERIFY_PARTS_H
#define LONGHAUL_VERIFY_PARTS_H

#include <stdbool.h>

#include "server/deployment.h"
#include "verify/compare.h"

enum { PARTS_TEXT_MAX = 600 };

/* Sets `parts` of the result's differences in value. What cannot be found out (a connection breaks,
 * the value has changed, a command is missing there) is left NULL. Runs the deployments' loop; not
 * from within a callback. */
void compare_explain(struct deployment *source, struct deployment *target, int target_db,
                     const volatile bool *stop, struct compare_result *result);

#endif
