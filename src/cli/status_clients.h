/* Which processes of longhaul are connected to a target, by the names of their connections (CLIENT
 * LIST). The record of a job and its lease can be silent while a process runs: the target refuses
 * writes, or the lease was evicted. */
#ifndef LONGHAUL_CLI_STATUS_CLIENTS_H
#define LONGHAUL_CLI_STATUS_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/deployment.h"

struct status_clients;

/* Asks every primary of the target. Never NULL: where CLIENT LIST is refused, nothing is known. */
struct status_clients *status_clients_read(struct deployment *target);
/* Leaves NULL. */
void status_clients_free(struct status_clients **clients);

/* Connections named longhaul:JOB:EPOCH: of the process that does the job's work. */
size_t status_clients_working(const struct status_clients *clients, const char *job);
/* The i-th process that waits as a standby of the job, as "host:pid:random"; NULL behind the last.
 * Its connections are named longhaul-standby:JOB:OWNER. */
const char *status_clients_standby(const struct status_clients *clients, const char *job, size_t i);

#endif
