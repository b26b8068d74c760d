/* Commands that change data and that no capture announces: SWAPDB, XACK and its like, FUNCTION
 * LOAD, some commands of modules, and with notifications FLUSHALL and FLUSHDB. The server counts
 * them before it acknowledges them.
 *
 *   feed: counters, with each barrier ── unchanged ──▶ the barrier proves its moment
 *           └─ changed ─▶ sample ─▶ gap, look at groups, copy of functions ─▶ settled: the barrier
 *                                                      proves no more than the sample's moment
 *
 * A barrier never proves a moment from which such a command may be unfollowed: what a sample finds
 * is given to the ledger and the lanes before the feed's thread hears that it is settled. Where the
 * server hides its counters the barrier speaks of announced changes alone.
 *
 * Control thread.
 */
#ifndef LONGHAUL_LIVE_FOLLOW_CALLS_H
#define LONGHAUL_LIVE_FOLLOW_CALLS_H

#include "live/follow.h"
#include "server/sample.h"

/* SWAPDB was called between two samples of one process. sure: it was counted; else CONFIG RESETSTAT
 * may have hidden it. */
void follow_node_swapped(struct follow_node *node, const struct evidence *before,
                         const struct evidence *now, bool sure);
/* The process loaded its data anew, as by DEBUG RELOAD NOSAVE: any key may have an older value. */
void follow_node_reloaded(struct follow_node *node, const struct evidence *before);
/* FLUSHDB or FLUSHALL was, which the capture does not announce. */
void follow_node_emptied(struct follow_node *node, const struct evidence *before,
                         const struct evidence *now);
/* Databases that held keys and are empty now: an order, as long as the process may give one. */
void follow_node_note_orders(struct follow_node *node, const struct evidence *before,
                             const struct evidence *now);
/* Groups, functions, modules. before: the sample before, of the same process; NULL: none. go_on:
 * its counters do. */
void follow_node_take_calls(struct follow_node *node, const struct server_sample *sample,
                            const struct server_sample *before, bool go_on);

/* Counters come with the barriers. */
bool follow_node_counts(const struct follow_node *node);
/* Asks for a sample when the feed has found that counters changed. */
void follow_node_hurry_sample(struct follow_node *node);
/* Everything that this sample tells of is on its way. */
void follow_node_settle(struct follow_node *node, const struct server_sample *sample);

#endif
