/* Intsets: sets of integers, all of one width.
 *
 *   width u32 (2, 4 or 8) | count u32 | integers, ascending
 *
 * Source: redis 7.0.15 src/intset.h.
 */
#ifndef LONGHAUL_RDB_INTSET_H
#define LONGHAUL_RDB_INTSET_H

#include "rdb/rdb_cursor.h"

/* Places *in on the first integer. */
bool intset_open(struct rdb_cursor *in, int *width, struct bytes blob, size_t offset,
                 struct err *err);

#endif
