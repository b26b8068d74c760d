/* HyperLogLogs: strings that PFADD and PFCOUNT read. A client sees their registers, and the count
 * that PFCOUNT answers; the server caches this count in the string itself, so that the bytes of two
 * HyperLogLogs with the same registers may differ.
 *
 *   "HYLL"  encoding  3 unused  8 cached count  registers (dense: 6 bits each, sparse: run lengths)
 *
 * Redis 7.0.15 src/hyperloglog.c; the same in Valkey 8.1.
 */
#ifndef LONGHAUL_VERIFY_HYPERLOGLOG_H
#define LONGHAUL_VERIFY_HYPERLOGLOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

/* Where the cached count stands in the string. */
enum { HYPERLOGLOG_CACHE_AT = 8, HYPERLOGLOG_CACHE_END = 16 };

/* True for a string that PFCOUNT accepts. Strings that merely begin with "HYLL" are plain strings.
 */
bool hyperloglog_is_valid(struct bytes value);

/* True when PFCOUNT answers the count of the registers: the cached one is out of date, or right.
 * value must be valid. */
bool hyperloglog_cache_is_right(struct bytes value);

#endif
