/* Keys of the target that this job never copied, by a hash of database and name: these keys are not
 * deleted. Two names with one hash are taken for one another, so that a key is kept, never deleted,
 * by mistake. Bounded; beyond the bound every key counts as one that the job never copied. Not
 * thread-safe. */
#ifndef LONGHAUL_LIVE_EXTRA_H
#define LONGHAUL_LIVE_EXTRA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { EXTRA_KEYS_MAX = 1000 * 1000 };

struct extra;

struct extra *extra_new(void);
void extra_free(struct extra **extra);
void extra_add(struct extra *x, int db, struct bytes key);
bool extra_has(const struct extra *x, int db, struct bytes key);
/* How many were added; may be beyond EXTRA_KEYS_MAX. */
uint64_t extra_count(const struct extra *x);
void extra_clear(struct extra *x);
/* Nothing is known: every key counts as one, until extra_clear(). */
void extra_forget(struct extra *x, uint64_t count);
bool extra_is_known(const struct extra *x);

/* As bytes that another process reads: 8 per key, little endian. The caller frees *data. */
size_t extra_to_bytes(const struct extra *x, char **data);
bool extra_from_bytes(struct extra *x, struct bytes data);

#endif
