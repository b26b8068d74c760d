/* Dumped values that not every server reads, although it knows their type byte.
 *
 * An element of a listpack ends with its own length. Where that is 16383 (2097151, 268435455)
 * bytes, Valkey 9.1 writes it shorter than Redis and all Valkeys before. RESTORE of the other
 * side's form fails with "Bad data format", or ends the server with a failed assertion (seen: from
 * Valkey 9.1 to Redis 8.0.2 and Valkey 8.1.1, with a stream whose entry has a value of 16378
 * bytes). Between those such a value must go by commands.
 */
#ifndef LONGHAUL_RDB_PORTABLE_H
#define LONGHAUL_RDB_PORTABLE_H

#include <stdbool.h>

#include "base/bytes.h"

/* False when the payload has such an element, in whichever form, or is malformed. Cheap: it passes
 * over nodes by their lengths and looks only into those that are large enough. */
bool payload_is_portable(struct bytes payload);

#endif
