/* The phase of a live job, from one table. */
#ifndef LONGHAUL_JOB_PHASE_H
#define LONGHAUL_JOB_PHASE_H

#include "live/live.h"

enum phase {
#define PHASE(id, word, runs, condition, sentence) PHASE_##id,
#include "job/phases.def"
#undef PHASE
    PHASES
};

enum phase phase_of(const struct live_state *s);
const char *phase_word(enum phase phase);

#endif
