/* A password in a file. */
#ifndef LONGHAUL_SERVER_SECRET_FILE_H
#define LONGHAUL_SERVER_SECRET_FILE_H

#include <stdbool.h>

#include "base/err.h"

enum { SECRET_MAX = 4096 };

/* The first line of the file, without its end; the caller wipes it with endpoint_wipe(). A file
 * that other users may read is used, with a warning. */
bool secret_file_read(const char *path, const char *place, char **secret, struct err *err);

#endif
