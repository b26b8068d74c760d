/* See keys_priv.h. */
#include <stdio.h>

#include "base/slot.h"
#include "store/keys_priv.h"

const char *store_job_key(char key[STORE_KEY_MAX], const char *job, const char *name) {
    snprintf(key, STORE_KEY_MAX, "longhaul:{%s}:%s", job, name);
    return key;
}

const char *store_state_key(char key[STORE_KEY_MAX], uint16_t slot) {
    char tag[SLOT_TAG_MAX];
    return store_job_key(key, slot_tag(slot, tag), "state");
}

int store_lowest_slot(const struct topology *t, int node) {
    for (int slot = 0; slot < SLOT_COUNT && topology_is_primary(t, node); slot++)
        if (t->owner[slot] == node) return slot;
    return -1;
}
