/* Writing a dumped value by commands, for a target whose RESTORE does not know its encoding.
 *
 *   MULTI, UNLINK key, HSET key ..., HSET key ..., PEXPIREAT key ms, EXEC
 *
 * in one piece on the connection, so that a reader of the target sees the old value or the new one.
 * What cannot be written (fields that expire, on a target without) is found while decoding: then
 * DISCARD is sent instead, and the key is given up with the reason.
 */
#ifndef LONGHAUL_COPY_REWRITE_H
#define LONGHAUL_COPY_REWRITE_H

#include "copy/lane_priv.h"

/* Larger payloads go in pieces from the source instead (copy/transfer.h): written out they take
 * several times their size. */
enum { REWRITE_BYTES_MAX = 1024 * 1024 };

/* node is ready and the right database selected; with asking, ASKING has been sent. Takes the key
 * over. */
void rewrite_value(struct lane *lane, struct pool_node *node, const struct fetched *f);

#endif
