/* What makes a job live: it follows changes, knows how far it has come, and repairs whatever broke
 * the proof of it.
 *
 *   live_node    a feed per source node names changes; barriers on it become marks in every lane
 *   live         gaps: where continuity is not proved, since when; the watermark; phases; the end
 *   live_behind  backward: what the target has and the source has not, under the deletion guard
 *   live_target  what the target may have lost again
 *   live_keep    record, lease and state directory
 *
 * The watermark is the oldest of what the nodes' barriers have passed and of the beginnings of open
 * gaps. A gap is closed when everything in it has been read again and a barrier sent after that has
 * passed. Times are monotonic microseconds inside, wall clock where people or other processes see
 * them.
 *
 * All of it runs on the control thread, but for the feeds.
 */
#ifndef LONGHAUL_LIVE_LIVE_H
#define LONGHAUL_LIVE_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "server/address.h"

struct job;
struct live;
struct replicate_progress;

/* Before anything is written: opens the state directory, reads what the target knows, takes the
 * lease (waiting as a standby if it must). NULL on error. */
struct live *live_new(struct job *job, struct err *err);
/* Tracking, or notifications; what is not switched on is an error that says where to do it. */
bool live_choose_capture(struct live *live, struct err *err);
/* The job was begun before. */
bool live_is_resumed(const struct live *live);
/* The source's process behind the primary's address is being listened to, and may be scanned. */
bool live_hears(const struct live *live, const struct address *primary);
/* A pass over the source begins: where its slots were copied before, it goes on there, and what
 * changed since then is looked for behind it (added to *again). */
struct pass;
struct slot_set;
void live_pass_begins(struct live *live, struct pass *pass, struct slot_set *again);
/* After the workers have started: feeds, and what is to be copied first. */
void live_start(struct live *live);
/* One round of the control thread. False: the job cannot go on. *ended: it is over, with success.
 * stopping: it is to end when all that was acknowledged before is on the target. */
bool live_step(struct live *live, bool stopping, bool *ended, struct err *err);
/* The picture of the source that was asked for at this moment (monotonic) has been taken over. */
void live_topology_seen(struct live *live, int64_t asked_us);
/* A side's picture has changed. */
void live_topology_changed(struct live *live, bool source);
void live_tell_progress(struct live *live, struct replicate_progress *progress);
/* Feeds end; the lanes still run. */
void live_stop(struct live *live);
/* When nothing is written any more: the last record, the lease is given back, the job's summary is
 * filled in. */
void live_save(struct live *live, bool complete);
/* Once the workers have ended. Leaves NULL. */
void live_free(struct live **live);

/* For the lanes' plan. */
bool live_may_write(void *job);
int64_t live_gather_ms(void *job);
int64_t live_gap_since_ms(void *job, uint16_t slot);
bool live_is_swept(void *job, uint16_t slot);
bool live_on_missing(void *job, int db, struct bytes key, uint16_t slot, const char *run_id);
void live_on_losses(void *job);

#endif
