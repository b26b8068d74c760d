/* The figures of a job, from one table. */
#ifndef LONGHAUL_JOB_FACTS_H
#define LONGHAUL_JOB_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "job/phase.h"

struct facts {
    bool live;
    enum phase phase; /* live */
#define FACT(name, unit, help) int64_t name;
#include "job/facts.def"
#undef FACT
};

/* All rows, and the phase's word. A new reference. */
json_t *facts_to_json(const struct facts *facts);

#endif
