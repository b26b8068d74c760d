/* Asking sentinels where a primary is. Source: the Sentinel documentation ("Guidelines for Redis
 * clients"): ask each in turn, then make sure by ROLE (here: INFO of the one found) that it is a
 * primary. */
#ifndef LONGHAUL_SERVER_SENTINEL_H
#define LONGHAUL_SERVER_SENTINEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "net/tls.h"
#include "server/address.h"
#include "server/endpoint.h"

/* Waits for each sentinel at most the two timeouts. False when none knows the name or answers. */
bool sentinel_find_primary(struct loop *loop, const struct endpoint *endpoint, struct tls *tls,
                           int64_t connect_timeout_ms, int64_t reply_timeout_ms,
                           struct address *primary, struct err *err);

#endif
