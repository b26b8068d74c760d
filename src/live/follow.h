/* The source's nodes in a live job: a feed per server process names its changes, barriers on the
 * feed become marks in every lane, and a sample by INFO each second is the process's evidence.
 *
 *   worker thread: feed ── names ──▶ lanes        barrier ──▶ a mark in every lane ──▶ passed
 *                   │ established, lost, flushed (under the lock)
 *   control:       follow_step(): gaps in the ledger, scans of OPEN slots, allowed deletions
 *
 * A gap opens at the last barrier that was answered. Once the feed is back and the process was
 * sampled after that, evidence_judge() says whether idle times may be used in its resync.
 */
#ifndef LONGHAUL_LIVE_FOLLOW_H
#define LONGHAUL_LIVE_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "live/evidence.h"
#include "live/ledger.h"
#include "probe/capture.h"
#include "server/address.h"
#include "store/event.h"

struct follow;
struct follow_node;

struct follow_settings {
    struct engine *engine;
    struct ledger *ledger;
    const struct event_sink *events;
    struct capture_answers capture;
    int64_t poll_ms; /* for changes that no capture announces */
    bool all_databases;
    bool resync_whole; /* idle times are never used */
};

struct follow *follow_new(const struct follow_settings *settings);
/* Once the workers have ended. Leaves NULL. */
void follow_free(struct follow **follow);

/* Evidence of a former run, by address; before the first follow_sync(). Copied. */
void follow_remember(struct follow *f, const char *address, const struct evidence *evidence);
/* A job that was begun before: a process that no evidence names may lack keys by a loss of its own,
 * so that its deletions are counted before they are believed. */
void follow_set_resumed(struct follow *f);

/* Changed names are dropped: everything that they stand for is scanned afterwards. For the census,
 * in which a key that was copied and then deleted would be taken for one of the target's own. */
void follow_set_deaf(struct follow *f, bool deaf);

/* Opens feeds of new primaries, ends those of former ones, opens gaps where slots have moved. */
void follow_sync(struct follow *f, bool first);
/* The source's topology was asked for at this moment, and is known. */
void follow_topology_seen(struct follow *f, struct moment asked);
void follow_step(struct follow *f);
/* Ends all feeds while the lanes still run. */
void follow_stop(struct follow *f);

/* Opens a gap in slots of any nodes. base: evidence of their processes from before gap->since, by
 * address; NULL: the evidence known now is from before it. */
struct follow_base {
    const char *address;
    const struct evidence *evidence;
};
/* Of a list that owns addresses and evidence. */
void follow_base_free(struct follow_base *base, size_t n);
void follow_open_gap(struct follow *f, const struct slot_set *slots, const struct ledger_gap *gap,
                     const struct follow_base *base, size_t n_base);
/* The nodes of these slots are not scanned before clock_mono_ms() says until_ms. */
void follow_delay_scan(struct follow *f, const struct slot_set *slots, int64_t until_ms);
/* The first copy of these slots goes on at its checkpoint. */
void follow_resume_copy(struct follow *f, const struct slot_set *slots, struct moment checkpoint);
bool follow_resumes(struct follow *f, const struct address *primary, const char *run_id);

/* The source's process behind this primary is listened to, and may be scanned. */
bool follow_may_scan(const struct follow *f, const struct address *primary);
bool follow_all_ready(const struct follow *f);
/* The change stream of every process stands. */
bool follow_all_hearing(const struct follow *f);
/* Everything acknowledged before this moment has gone through all lanes, as far as the processes
 * have been listened to; MOMENT_NEVER: unknown. */
struct moment follow_passed(struct follow *f);
/* The same of every node, and there is one. */
bool follow_all_passed(struct follow *f, struct moment moment);
/* Each process is polled at once for changes that no capture announces. */
void follow_poll_now(struct follow *f);
/* Every process has answered a poll that was asked for at `since` or later: the oldest of them was
 * asked for at *asked, and all that they found was open in the ledger, or with the lanes, at
 * *given. */
bool follow_has_polled(const struct follow *f, struct moment since, struct moment *asked,
                       struct moment *given);
/* The last change that was named, clock_boot_us(). */
int64_t follow_changed_us(const struct follow *f);
/* How busy the busiest server's main thread is; 1: all the time. */
double follow_busiest_share(const struct follow *f);
/* FUNCTION LOAD and its like were called since the last question. The watermark stays before them
 * until follow_end_function_change(): libraries are copied, as far as they were asked for. */
bool follow_takes_function_change(struct follow *f);
void follow_end_function_change(struct follow *f);
/* Of the slot's owner; 0: unknown. Any thread. */
int64_t follow_used_since_us(const struct follow *f, uint16_t slot);

/* ---- deletions ---- */

/* Databases of the job that a node emptied by an order of its own (FLUSHDB, FLUSHALL, SWAPDB):
 * their deletions are followed without the guard. False: there is none left. */
struct follow_order {
    int db;
    struct slot_set slots;
};
bool follow_takes_order(struct follow *f, struct follow_order *order);
/* Nodes, one after the other; NULL ends. */
struct follow_node *follow_first(const struct follow *f);
struct follow_node *follow_next(const struct follow_node *node);
struct slot_set follow_slots(const struct follow_node *node);
const char *follow_place(const struct follow_node *node);
/* The server of the source with this replication ID; NULL: none. */
const char *follow_find_replid(const struct follow *f, const char *replid);
const char *follow_run_id(const struct follow_node *node);
/* Deletions of a process that is unknown are made once a sweep that began after its appearance had
 * nothing to hold. */
bool follow_deletions_allowed(const struct follow_node *node);
void follow_allow_deletions(struct follow_node *node, struct moment sweep_began);

/* ---- for the record ---- */

struct follow_view {
    char address[ADDRESS_HOST_MAX + 32];
    const char *run_id, *replid;
    struct moment passed;
    const struct evidence *evidence; /* from before `passed`; NULL: none yet */
    int64_t source_time_us;          /* the source's clock at `passed`; 0: unknown */
};
void follow_each(struct follow *f, void (*fn)(void *ctx, const struct follow_view *view),
                 void *ctx);

#endif
