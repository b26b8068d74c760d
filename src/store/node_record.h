/* The record of a job as one server of the target holds it: how far that server alone is. A call:
 * see server/call.h. */
#ifndef LONGHAUL_STORE_NODE_RECORD_H
#define LONGHAUL_STORE_NODE_RECORD_H

#include "server/address.h"
#include "server/deployment.h"
#include "store/record.h"

/* `record` must be empty or initialised. *found: the server holds one, in its own lowest slot.
 * False: it cannot be asked now, or is no primary that owns slots. */
bool node_record_read(struct deployment *target, int db, const char *job,
                      const struct address *node, struct job_record *record, bool *found,
                      struct err *err);

#endif
