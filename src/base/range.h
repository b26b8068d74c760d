/* A range of whole numbers, both ends in it: first <= last. */
#ifndef LONGHAUL_BASE_RANGE_H
#define LONGHAUL_BASE_RANGE_H

#include <stdint.h>

struct int_range {
    int64_t first;
    int64_t last;
};

#endif
