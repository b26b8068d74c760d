/* Finds out what a target's RESTORE takes, by trying: a payload that is wrong behind its version
 * tells whether the version is accepted, the smallest value of each encoding whether the encoding
 * is known. Nothing is written: what is accepted is given an expiry in the past. */
#ifndef LONGHAUL_PROBE_ACCEPT_PROBE_H
#define LONGHAUL_PROBE_ACCEPT_PROBE_H

#include <stdbool.h>

#include "base/err.h"
#include "copy/accept.h"
#include "server/client.h"
#include "server/info.h"

/* client is connected to the target, key is in a slot of its. Everything is sent at once, so that a
 * far target costs one round trip; the encodings with the version that such a server is known to
 * write. */
struct accept_probe *accept_probe_start(struct client *client, const char *key,
                                        const struct server_info *info);
/* Waits for the answers. When the version was guessed wrongly, the encodings are sent once more. */
bool accept_probe_finish(struct loop *loop, struct accept_probe *probe, int64_t timeout_ms,
                         struct accept *accept, struct err *err);
/* Answers that are still due would be written into it: the client is closed before. NULL is
 * ignored. Leaves NULL. */
void accept_probe_free(struct accept_probe **probe);

#endif
