/* Scores of sorted sets that a server changes: -0.
 *
 * In a listpack a whole score is kept as an integer, so -0 becomes 0 (redis 7.0.15 src/t_zset.c
 * zzlInsertAt()); ZADD to a new key, and RESTORE of a short skiplist, make listpacks. In a skiplist
 * -0 stays. A set becomes a skiplist with its first long member, and stays one without it:
 *
 *   ZADD key 0 FILLER ─▶ ZADD key -0 member ... ─▶ ZREM key FILLER
 */
#ifndef LONGHAUL_RDB_SCORE_H
#define LONGHAUL_RDB_SCORE_H

#include <math.h>
#include <stdbool.h>

#include "base/bytes.h"

/* Longer than any sensible zset-max-listpack-value, which is 64 by default. */
enum { SCORE_FILLER_LEN = 16 * 1024 };

static inline bool score_is_negative_zero(double score) {
    return score == 0 && signbit(score);
}

/* As a server writes scores: "-0". */
bool score_text_is_negative_zero(struct bytes text);
/* False when no score of this dumped value can lose its sign by RESTORE. Cheap when no score is -0.
 */
bool payload_has_negative_zero(struct bytes payload);
/* A member that no sorted set has: it ends with random bytes. The same for the whole process. */
struct bytes score_filler(void);

#endif
