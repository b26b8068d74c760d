/* Secrets on their way in: out of sight of ps, and from the terminal. */
#ifndef LONGHAUL_CLI_SECRETS_H
#define LONGHAUL_CLI_SECRETS_H

#include <stdbool.h>

#include "base/err.h"

/* Overwrites the values of password options and the passwords in URIs, so that ps and /proc do not
 * show them. Call it when everything has been copied out of argv. */
void secrets_hide(int argc, char **argv);

/* A copy of text, in which each part that may be the password of a URI is "*". The caller frees the
 * copy. */
char *secrets_mask(const char *text);

/* Asks on the terminal, without echo. Fails where the process has none. */
bool secrets_prompt(const char *question, const char *place, char **secret, struct err *err);

#endif
