/* Between the files of the keeper: names of keys, and one change of the lease. */
#ifndef LONGHAUL_STORE_KEEPER_PRIV_H
#define LONGHAUL_STORE_KEEPER_PRIV_H

#include "server/client.h"
#include "server/topology.h"
#include "store/keeper.h"

enum { KEEPER_KEY_MAX = 96, LEASE_OWNER_MAX = 128, LEASE_VALUE_MAX = LEASE_OWNER_MAX + 24 };

/* "longhaul:{JOB}:lease" */
const char *keeper_job_key(char key[KEEPER_KEY_MAX], const char *job, const char *what);
/* "longhaul:{TAG}:state" */
const char *keeper_state_key(char key[KEEPER_KEY_MAX], uint16_t slot);
/* -1 where it is no primary or owns none. */
int keeper_lowest_slot(const struct topology *t, int node);
/* "EPOCH OWNER": the owner, "" where it is not in that form. */
const char *lease_owner_of(const char *value);

enum lease_result {
    LEASE_DONE, /* it is as was wished */
    /* it is not what was expected: see holder; "" and a lower epoch: nobody has it */
    LEASE_REFUSED,
    LEASE_FAILED /* it is not known whether it was changed */
};

/* Compare-and-set of the lease. One at a time per struct; embedded in its owner and zeroed before
 * its first use. */
struct lease_change {
    /* Set by the owner before lease_change_send(). */
    const char *lease_key, *epoch_key, *owner; /* borrowed */
    int64_t lease_ms;
    char expected[LEASE_VALUE_MAX]; /* what it must be now; "": there is none */
    /* the holder's; nothing is done where a later one is known. 0: a new one */
    uint64_t epoch;
    bool give_back;
    void (*fn)(void *ctx, struct lease_change *change);
    void *ctx;

    /* Set when fn is called. */
    enum lease_result result;
    char holder[LEASE_VALUE_MAX];
    uint64_t known_epoch; /* DONE: the holder's own */
    struct err err;

    bool busy, plain; /* plain: EVAL is refused */
    struct client *client;
};

/* client is ready, and its database the right one. fn is called exactly once. */
void lease_change_send(struct lease_change *change, struct client *client);

#endif
