/* By which ids the servers of a side are known again under any address: run_ids, replids, and the
 * ids of a cluster's nodes. */
#ifndef LONGHAUL_JOB_SIDE_IDS_H
#define LONGHAUL_JOB_SIDE_IDS_H

#include <stdbool.h>

#include "base/err.h"
#include "job/job_priv.h"
#include "store/record.h"

bool side_ids_ask(struct deployment *side, struct record_ids *ids, struct err *err);
/* The ids of both sides as the live job knows them now. Servers restart and fail over while it
 * runs: by the ids of its start nobody would know them again, and a job in the other direction
 * would not be refused. */
void side_ids_refresh(const struct job *job, struct job_record *record);

#endif
