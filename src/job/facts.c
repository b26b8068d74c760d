/* See facts.h. */
#include "job/facts.h"

json_t *facts_to_json(const struct facts *facts) {
    json_t *object = json_object();
    if (facts->live) json_object_set_new(object, "phase", json_string(phase_word(facts->phase)));
#define FACT(name, unit, help) json_object_set_new(object, #name, json_integer(facts->name));
#include "job/facts.def"
#undef FACT
    return object;
}
