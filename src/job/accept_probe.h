/* Finds out what a target's RESTORE takes, by trying: a payload that is wrong behind its version tells whether the
 * version is accepted, the smallest value of each encoding whether the encoding is known. Nothing is written: what is
 * accepted is given an expiry in the past. */
#ifndef LONGHAUL_JOB_ACCEPT_PROBE_H
#define LONGHAUL_JOB_ACCEPT_PROBE_H

#include <stdbool.h>

#include "base/err.h"
#include "copy/accept.h"
#include "server/client.h"
#include "server/info.h"

/* client is connected to the target, key is in a slot of its. */
bool accept_probe(struct loop *loop, struct client *client, const char *key, const struct server_info *info,
                  int64_t timeout_ms, struct accept *accept, struct err *err);

#endif
