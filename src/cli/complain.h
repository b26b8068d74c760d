/* How a command that cannot go on says why: one line "longhaul: place: text" on standard error. */
#ifndef LONGHAUL_CLI_COMPLAIN_H
#define LONGHAUL_CLI_COMPLAIN_H

#include "base/err.h"

enum { STATUS_DONE = 0, STATUS_FINDINGS = 1, STATUS_TROUBLE = 2 };

/* Returns the exit status that the error stands for, never STATUS_DONE. */
int complain(const struct err *err);

#endif
