/* The names of longhaul's own keys on the target, within the store. */
#ifndef LONGHAUL_STORE_KEYS_PRIV_H
#define LONGHAUL_STORE_KEYS_PRIV_H

#include <stdint.h>

#include "server/topology.h"

enum { STORE_KEY_MAX = 96 };

/* "longhaul:{JOB}:NAME"; returns key. */
const char *store_job_key(char key[STORE_KEY_MAX], const char *job, const char *name);
/* "longhaul:{TAG}:state"; returns key. */
const char *store_state_key(char key[STORE_KEY_MAX], uint16_t slot);
/* The slot of a primary's state key; -1: the node is no primary, or owns no slot. */
int store_lowest_slot(const struct topology *t, int node);

#endif
