/* Secrets on their way in: out of sight of ps, from a file, from the terminal. */
#ifndef LONGHAUL_CLI_SECRETS_H
#define LONGHAUL_CLI_SECRETS_H

#include <stdbool.h>

#include "base/err.h"

/* Overwrites the values of password options and the passwords in URIs, so that ps and /proc do not
 * show them. Call it when everything has been copied out of argv. */
void secrets_hide(int argc, char **argv);

/* A copy of text, in which what may be the password of a URI is "*". The caller frees it. */
char *secrets_mask(const char *text);

/* The first line of the file, without its end. A file that others may read is used, with a warning.
 */
bool secrets_read_file(const char *path, const char *place, char **secret, struct err *err);

/* Asks on the terminal, without echo. Fails where the process has none. */
bool secrets_prompt(const char *question, const char *place, char **secret, struct err *err);

#endif
