/* Finds out which payloads a target's RESTORE accepts, by trying: a payload that is wrong behind
 * its version tells whether the version is accepted, the smallest value of each encoding whether
 * the encoding is known. Nothing is written: an accepted value has an expiry in the past. */
#ifndef LONGHAUL_PROBE_RESTORE_H
#define LONGHAUL_PROBE_RESTORE_H

#include <stdbool.h>

#include "base/err.h"
#include "copy/accept.h"
#include "server/client.h"
#include "server/info.h"

/* client is connected to the target, key is in one of its slots. Everything is sent at once, so
 * that a far target costs one round trip; the encodings with the version that such a server is
 * known to write. */
struct restore_probe *restore_probe_start(struct client *client, const char *key,
                                          const struct server_info *info);
/* Waits for the replies. If the version was guessed wrongly, the encodings are sent once more. */
bool restore_probe_finish(struct loop *loop, struct restore_probe *probe, int64_t timeout_ms,
                          struct accept *accept, struct err *err);
/* Replies that are due are written into the probe: close the client and settle the loop before.
 * NULL is ignored. Leaves NULL. */
void restore_probe_free(struct restore_probe **probe);

#endif
