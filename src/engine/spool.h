/* Names of keys, with what is to be known of them, kept in a file without a name: findings that are
 * to be repaired may be as many as there are keys. One thread. */
#ifndef LONGHAUL_ENGINE_SPOOL_H
#define LONGHAUL_ENGINE_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

struct spool;

struct spooled {
    struct bytes key; /* good until the next call */
    int32_t db;
    uint32_t tag; /* the caller's */
};

struct spool *spool_new(struct err *err);
void spool_free(struct spool **spool);

/* False, once something could not be written, also in spool_next(). */
bool spool_add(struct spool *spool, const struct spooled *one, struct err *err);
uint64_t spool_count(const struct spool *spool);

/* From the beginning; what is added later is not seen before the next rewind. */
void spool_rewind(struct spool *spool);
/* False at the end, and on trouble: then err->code is set. */
bool spool_next(struct spool *spool, struct spooled *one, struct err *err);

#endif
