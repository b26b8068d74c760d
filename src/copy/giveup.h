/* The keys that could not be copied, and why. Shared by the lanes of a job; safe from every thread.
 * The count is exact; of the keys themselves the first GIVEUP_KEPT_MAX are kept. */
#ifndef LONGHAUL_COPY_GIVEUP_H
#define LONGHAUL_COPY_GIVEUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum { GIVEUP_KEPT_MAX = 10000, GIVEUP_KEY_MAX = 1024 };

struct giveup;

struct giveup_key {
    int db;
    char *key; /* escaped; long ones cut */
    char *reason;
};

struct giveup *giveup_new(void);
void giveup_free(struct giveup **giveup);
/* Records and logs (the first few, then every now and then how many). */
void giveup_add(struct giveup *giveup, int db, struct bytes key, const struct err *why);
/* The same for a key that is tried again and again: listed and counted once, with the newest
 * reason. */
void giveup_add_once(struct giveup *giveup, int db, struct bytes key, const struct err *why);
/* For reading once no lane runs any more. */
size_t giveup_kept(const struct giveup *giveup);
const struct giveup_key *giveup_at(const struct giveup *giveup, size_t index);
uint64_t giveup_count(struct giveup *giveup);

#endif
