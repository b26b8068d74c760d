/* Names of keys, with a database and a tag each, kept in a file without a name: there may be as
 * many as a side has keys. One thread.
 *
 * The file lies in the directory that is given, else in TMPDIR, else in /var/tmp. */
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

/* dir: NULL for TMPDIR or /var/tmp. NULL on error. */
struct spool *spool_new(const char *dir, struct err *err);
/* Leaves NULL. */
void spool_free(struct spool **spool);

/* False once something could not be written: a full disk shows here or in spool_rewind(). */
bool spool_add(struct spool *spool, const struct spooled *one, struct err *err);
uint64_t spool_count(const struct spool *spool);

/* Reading starts from the beginning; names that are added later are not seen before the next
 * rewind. */
bool spool_rewind(struct spool *spool, struct err *err);
/* False at the end, and on trouble: then err->code is set. */
bool spool_next(struct spool *spool, struct spooled *one, struct err *err);

#endif
