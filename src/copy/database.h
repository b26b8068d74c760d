/* Which databases the target has. A SELECT that is refused ends a connection, as the commands
 * behind it would go to another database; so a database is tried on a connection of its own before
 * the first key is written to it, and keys of one that the target lacks are given up. Of a lane's
 * thread. */
#ifndef LONGHAUL_COPY_DATABASE_H
#define LONGHAUL_COPY_DATABASE_H

#include "copy/flight.h"

enum {
    DATABASE_ASK_AGAIN_MS = 60 * 1000, /* a target that lacked one may have got it */
};

struct databases *databases_new(struct flight *flight);
/* Leaves NULL. */
void databases_free(struct databases **databases);

/* The database of the target that the key goes to. */
static inline int database_of(const struct flight *flight, const struct key_entry *entry) {
    return flight->plan->target_db >= 0 ? flight->plan->target_db : entry->db;
}
/* May the key be written? Otherwise it has been taken over: parked until that is known, or given
 * up. */
bool database_admits(struct flight *flight, struct key_entry *entry);

#endif
