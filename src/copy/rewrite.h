/* Writes a dumped value by commands, for a target whose RESTORE does not know its encoding, or
 * would change the value.
 *
 *   MULTI, UNLINK key, HSET key ..., HSET key ..., PEXPIREAT key ms, EXEC
 *
 * is sent in one piece, so a reader of the target sees the old value or the new one. If decoding
 * meets something that the target cannot have (such as fields that expire), DISCARD is sent instead
 * of EXEC, and the key is given up with the reason.
 */
#ifndef LONGHAUL_COPY_REWRITE_H
#define LONGHAUL_COPY_REWRITE_H

#include "copy/flight.h"

/* Larger payloads are read in pieces from the source instead (copy/transfer.h): as commands they
 * take several times their size. */
enum { REWRITE_BYTES_MAX = 1024 * 1024 };

/* The node is ready, the database is selected, and ASKING has been sent if needed. Takes the key
 * over. */
void rewrite_value(struct flight *flight, struct pool_node *node, const struct fetched *f);

#endif
