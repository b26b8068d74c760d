/* How the demo learns that the user wants it to stop. */
#ifndef LONGHAUL_DEMO_STOP_H
#define LONGHAUL_DEMO_STOP_H

#include <stdbool.h>

struct demo_stop {
    const volatile bool *asked;
    int (*first_signal)(void); /* its number; 0: none came */
};

#endif
