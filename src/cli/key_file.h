/* --key-file: names of keys, one a line, with unprintable bytes escaped as longhaul prints them:
 * \xNN, \n, \r, \t, \\ and \". Empty lines are left out; the empty key is written as "". */
#ifndef LONGHAUL_CLI_KEY_FILE_H
#define LONGHAUL_CLI_KEY_FILE_H

#include <stdbool.h>

#include "base/err.h"
#include "verify/compare.h"

struct key_file;

/* NULL on error. */
struct key_file *key_file_open(const char *path, struct err *err);
void key_file_close(struct key_file **file);

/* For compare_settings.names; good as long as the file is open. */
const struct compare_names *key_file_names(const struct key_file *file);

/* Reverses bytes_escape(), in place; returns the length, -1 when an escape is none of
 * the above. */
long key_unescape(char *text, size_t len);

#endif
