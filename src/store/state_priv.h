/* Between state.c and history.c, which read the same database. */
#ifndef LONGHAUL_STORE_STATE_PRIV_H
#define LONGHAUL_STORE_STATE_PRIV_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/err.h"

/* In the state directory. */
#define STATE_DATABASE "longhaul.db"

/* The path as an URI for a database in a directory that may not be written to and that nobody has
 * open: "file:PATH?immutable=1". The caller frees it. */
char *state_immutable_uri(const char *path);
/* False, with SQLite's words. */
bool state_sql_failed(sqlite3 *db, const char *path, struct err *err);

#endif
