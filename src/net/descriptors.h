/* File descriptors: the limit of the process, and running out of them as an error of ours. */
#ifndef LONGHAUL_NET_DESCRIPTORS_H
#define LONGHAUL_NET_DESCRIPTORS_H

#include <stdbool.h>

#include "base/err.h"

/* Raises the soft limit of open files to the hard one. Once, when the process starts. */
void descriptors_raise_limit(void);

/* The limit in force; INT64_MAX where there is none. */
long long descriptors_limit(void);

/* Can n more descriptors be opened at this moment? False with ERR_FILES and the remedy. For
 * libraries that end the process when they cannot open one. */
bool descriptors_are_left(int n, const char *place, struct err *err);

/* As err_set_errno() with this code, but ERR_FILES with the remedy where errnum says that
 * descriptors have run out. Returns false. */
bool descriptors_set_errno(struct err *err, enum err_code code, const char *place, int errnum,
                           const char *text);

#endif
