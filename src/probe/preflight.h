/* Probes before a copy starts, so that a copy that cannot work is refused at once, in one line. */
#ifndef LONGHAUL_PROBE_PREFLIGHT_H
#define LONGHAUL_PROBE_PREFLIGHT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "copy/lane.h"
#include "server/deployment.h"

/* The databases to copy: those asked for, all that hold keys on the source, or the one its endpoint
 * names. The result is an array that the caller frees; never empty on success. */
bool preflight_databases(struct deployment *source, bool all, const int *asked, size_t n_asked,
                         int **dbs, size_t *n_dbs, struct err *err);

/* The copy goes from one database to another, which may be the same server's. */
bool preflight_other_database(struct deployment *source, const int *dbs, size_t n_dbs,
                              int target_db);

/* Refuses a copy that cannot succeed: the sides do not go together (see sides.h), slots of the
 * target have no owner, a database cannot be selected on one side, a command that copying needs is
 * refused. Fills *can. */
bool preflight_check(struct deployment *source, struct deployment *target, const int *dbs,
                     size_t n_dbs, int target_db, bool dry_run, struct copy_abilities *can,
                     struct err *err);

#endif
