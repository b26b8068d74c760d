/* Glob patterns as the server matches them (KEYS, SCAN MATCH): * ? [abc] [a-z] [^x] and \ to
 * escape. Behaviour: redis 7.0.15 src/util.c stringmatchlen(). Binary-safe; case counts. Bounded
 * time: no pattern makes it exponential. */
#ifndef LONGHAUL_BASE_GLOB_H
#define LONGHAUL_BASE_GLOB_H

#include <stdbool.h>

#include "base/bytes.h"

bool glob_match(struct bytes pattern, struct bytes text);

#endif
