/* Between the files of the lease: its value, one change of it, and its link. */
#ifndef LONGHAUL_STORE_LEASE_PRIV_H
#define LONGHAUL_STORE_LEASE_PRIV_H

#include "store/keys_priv.h"
#include "store/lease.h"
#include "store/record.h"
#include "store/slot_link_priv.h"

enum { LEASE_VALUE_MAX = RECORD_OWNER_MAX + 24 };

/* Behind the epoch of a lease that was given back. */
#define LEASE_NOBODY "-"

/* "EPOCH OWNER". Of another form, and of no lease: "" and 0. */
const char *lease_owner_of(const char *value);
uint64_t lease_epoch_of(const char *value);
bool lease_is_given_back(const char *value);

enum lease_result {
    LEASE_DONE,    /* the lease is as wished */
    LEASE_REFUSED, /* it is not as expected: see holder; "": there is no lease */
    LEASE_FAILED   /* whether it was changed is not known */
};

/* Compare-and-set of the lease. One at a time per struct; embedded in its owner and zeroed before
 * its first use. */
struct lease_change {
    /* Set by the owner before lease_change_send(). */
    const char *lease_key;          /* borrowed */
    char expected[LEASE_VALUE_MAX]; /* "": no lease */
    char wanted[LEASE_VALUE_MAX];
    int64_t lease_ms; /* 0: without an expiry, and no lease at all where memory is short */
    void (*fn)(void *ctx, struct lease_change *change);
    void *ctx;

    /* Set when fn is called. */
    enum lease_result result;
    char holder[LEASE_VALUE_MAX];
    struct err err;

    bool busy, plain; /* plain: EVAL is refused */
    struct slot_link *link;
    struct client *client; /* of a transaction under way */
};

/* The link is ready. fn is called exactly once. */
void lease_change_send(struct lease_change *change, struct slot_link *link);

/* Keeps the first error of several replies; true where this one is an error. */
bool lease_note_error(struct err *err, const struct client *client, const struct reply *reply);

/* For other keys of the job, which lie in the same slot. */
struct slot_link *lease_link(struct lease *lease);
struct deployment *lease_target(struct lease *lease);
const char *lease_job(const struct lease *lease);

#endif
