/* Names of keys on the target that are not this job's copies: a sweep found them there while the
 * source had a key of that name which the filters leave out (its type, or --mem-limit). A change on
 * the source gives no right to delete them.
 *
 * Bounded: when its memory is used up, every name counts as foreign, so that nothing of others is
 * deleted. Of a lane's thread. */
#ifndef LONGHAUL_COPY_FOREIGN_H
#define LONGHAUL_COPY_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct foreign;

struct foreign *foreign_new(size_t bytes_max);
void foreign_free(struct foreign **foreign);

/* False when there is no room: then foreign_has() is true for every name from now on. */
bool foreign_add(struct foreign *foreign, int db, struct bytes key, uint16_t slot);
/* The job has copied or deleted the key: from now on it is the job's. */
void foreign_remove(struct foreign *foreign, int db, struct bytes key);
bool foreign_has(const struct foreign *foreign, int db, struct bytes key);

#endif
