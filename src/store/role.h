/* The role of a server in a pair of two sides: a record that a switchover or failover leaves on
 * both sides, beside the jobs' records.
 *
 *   longhaul:{TAG}:state   field "@role" on every primary (no job may have such a name):
 *     {"role": "active" or "standby", "since_us", "by", "epoch", "peer", "watermark_us"}
 */
#ifndef LONGHAUL_STORE_ROLE_H
#define LONGHAUL_STORE_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "server/deployment.h"
#include "store/record.h"

#define ROLE_FIELD "@role"

struct role_record {
    bool active;
    int64_t since_us;
    char by[RECORD_TEXT_MAX]; /* the person or program that gave the order */
    uint64_t epoch;
    char peer[RECORD_LABEL_MAX]; /* the other side */
    int64_t watermark_us;        /* how far this side was when it was made active; 0: unknown */
};

bool role_from_text(struct role_record *role, struct bytes text, struct err *err);
/* The one with the highest epoch of all primaries and databases. A call: see server/call.h. */
bool role_read(struct deployment *side, struct role_record *role, bool *found, struct err *err);
/* Nothing is copied into an active side: an error that names the time, the order and the remedy. */
bool role_check_target(const struct role_record *role, const char *label, struct err *err);

#endif
