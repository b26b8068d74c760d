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

enum { PREFLIGHT_KEY_MAX = 96 };

/* What is to be copied, and what was found out about both sides. */
struct preflight {
    const int *dbs; /* of the source */
    size_t n_dbs;
    int target_db; /* -1: the same numbers */
    bool dry_run;  /* the target is not written to */
    /* The key under which a primary keeps the records of live jobs; false: it has none. NULL: do
     * not ask for any. */
    bool (*record_key)(const struct topology *t, int node, char key[PREFLIGHT_KEY_MAX]);

    struct copy_abilities can;
    bool source_has_records, target_has_records; /* in the databases that are copied, or in 0 */
};

/* Refuses a copy that cannot succeed: the sides do not go together (see sides.h), slots of the
 * target have no owner, a database cannot be selected on one side, a command that copying needs is
 * refused. Fills the second half of *preflight. */
bool preflight_check(struct deployment *source, struct deployment *target,
                     struct preflight *preflight, struct err *err);

#endif
