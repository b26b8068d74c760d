/* Called by main(): one function per command, each in src/cli/cmd_<name>.c. They return the exit
 * status. */
#ifndef LONGHAUL_CLI_COMMANDS_H
#define LONGHAUL_CLI_COMMANDS_H

#include "cli/options.h"

int cmd_replicate(const struct options *options);
int cmd_compare(const struct options *options);
int cmd_ping(const struct options *options);
int cmd_doctor(const struct options *options);
int cmd_generate(const struct options *options);
int cmd_status(const struct options *options);
int cmd_resume(const struct options *options);
int cmd_forget(const struct options *options);
int cmd_demo(const struct options *options);

#endif
