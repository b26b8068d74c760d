/* Calls about one key of a job, within the store. */
#ifndef LONGHAUL_STORE_JOB_STORE_PRIV_H
#define LONGHAUL_STORE_JOB_STORE_PRIV_H

#include "server/deployment.h"

/* One command about a key at its slot's owner; MOVED and ASK are followed. An error reply is a
 * failure. */
bool job_store_ask_owner(struct deployment *target, int db, const char *key, size_t argc,
                         const struct bytes *argv, struct call_reply *reply, struct err *err);

/* Calls fn with each field and value of the state keys of all primaries, in database db or in all
 * (JOB_STORE_ALL_DBS). *primaries is the number of primaries that were read. reset is called before
 * it begins again, since the topology has changed. */
struct job_store_fields {
    void (*on_field)(void *ctx, const char *place, int db, struct bytes name, struct bytes value);
    void (*reset)(void *ctx);
    void *ctx;
    int primaries;
};
bool job_store_read_fields(struct deployment *side, int db, struct job_store_fields *fields,
                           struct err *err);

#endif
