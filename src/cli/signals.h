/* Signals. SIGINT, SIGTERM and SIGQUIT: the first asks the command to end in order, the second ends
 * the process at once. SIGHUP does the same, unless the command reloads on it: then password and
 * certificate files are read again, and nothing ends. SIGUSR1 and SIGUSR2 are ignored.
 *
 * The first signal sets a flag that commands look at after each round of their loop, and wakes that
 * loop. The second one clears the line of the terminal that a progress bar may stand in and leaves
 * with status 2. A signal that comes within a fifth of a second is no second one: timeout(1) and
 * others send the signal that they got to the process and once more to its group. */
#ifndef LONGHAUL_CLI_SIGNALS_H
#define LONGHAUL_CLI_SIGNALS_H

#include <stdbool.h>

#include "net/loop.h"

/* loop is woken by the first signal; NULL: none is. Calls of server/call.h on this thread end early
 * too. Once per process; signals_uninstall() before the loop is freed. */
void signals_install(struct loop *loop);

/* For commands that go on when their terminal goes away: replicate, compare. Before or after
 * signals_install(). */
void signals_reload_on_hangup(void);

/* Signals are counted still, but the loop is not touched any more. */
void signals_uninstall(void);

/* True from the first signal on. The pointer is good for the life of the process. */
const volatile bool *signals_stop_flag(void);

/* The first signal, 0 when there was none. */
int signals_first(void);

#endif
