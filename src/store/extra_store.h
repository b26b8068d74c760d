/* The keys of the target that a job never copied, kept on the target: longhaul:{JOB}:extra, one
 * string of bytes that only src/live reads. Both are calls: see server/call.h. */
#ifndef LONGHAUL_STORE_EXTRA_STORE_H
#define LONGHAUL_STORE_EXTRA_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "server/deployment.h"

bool extra_store_write(struct deployment *target, int db, const char *job, const char *data,
                       size_t len, struct err *err);
/* *data is freed by the caller; *found says whether there is any. */
bool extra_store_read(struct deployment *target, int db, const char *job, char **data, size_t *len,
                      bool *found, struct err *err);

#endif
