/* Dumped values that some servers cannot read although they know the type byte.
 *
 * An element of a listpack ends with its own length. If that is 16383 (2097151, 268435455) bytes,
 * Valkey 9.1 writes the length in fewer bytes than Redis and all earlier Valkeys. RESTORE of the
 * other form fails with "Bad data format", or ends the server with a failed assertion (seen: from
 * Valkey 9.1 to Redis 8.0.2 and Valkey 8.1.1, with a stream whose entry has a value of 16378
 * bytes). Between such servers the value must be copied by commands.
 */
#ifndef LONGHAUL_RDB_PORTABLE_H
#define LONGHAUL_RDB_PORTABLE_H

#include <stdbool.h>

#include "base/bytes.h"

/* False when the payload has such an element, in either form, or is malformed. Cheap: nodes that
 * are too small for such an element are skipped by their length. */
bool payload_is_portable(struct bytes payload);

#endif
