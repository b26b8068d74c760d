/* How a command that cannot go on says why: one line "longhaul: place: text" on standard error. */
#ifndef LONGHAUL_CLI_COMPLAIN_H
#define LONGHAUL_CLI_COMPLAIN_H

#include "base/err.h"

enum {
    STATUS_DONE = 0,
    STATUS_FINDINGS = 1,
    STATUS_TROUBLE = 2,
    STATUS_USAGE = 64 /* EX_USAGE of sysexits.h: a wrong command line, before anything was done */
};

/* Returns the exit status that the error stands for, never STATUS_DONE. */
int complain(const struct err *err);

/* For an error of the command line, the environment or the configuration file: a supervisor can
 * tell by STATUS_USAGE that starting the same command again will not help. */
int complain_usage(const struct err *err);

#endif
