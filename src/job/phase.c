/* See phase.h. */
#include "job/phase.h"

enum phase phase_of(const struct live_state *s) {
#define PHASE(id, word, runs, condition, sentence)                                                 \
    if (condition) return PHASE_##id;
#include "job/phases.def"
#undef PHASE
    return PHASE_LIVE;
}

const char *phase_word(enum phase phase) {
    static const char *const words[] = {
#define PHASE(id, word, runs, condition, sentence) word,
#include "job/phases.def"
#undef PHASE
    };
    return words[phase];
}
