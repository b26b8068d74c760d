/* Gaps of one node of the source: the evidence from before them, and their resync.
 *
 *   latest   of the last sample
 *   next     a sample that waits for a barrier sent after it to pass
 *   anchor   the last sample whose barrier has passed
 *   base     the anchor when the oldest gap opened, kept until no gap is left: it says which idle
 *            times count
 *
 * Control thread.
 */
#ifndef LONGHAUL_LIVE_FOLLOW_GAP_H
#define LONGHAUL_LIVE_FOLLOW_GAP_H

#include "live/follow.h"

/* The last barrier of the node that all lanes have reached. */
struct moment follow_node_passed(const struct follow_node *node);
/* The node's slots that the job copies. */
struct slot_set follow_job_slots(const struct follow_node *node);

/* ---- evidence ---- */

/* The node's latest sample. Copied. */
void follow_note_evidence(struct follow_node *node, const struct evidence *now);
/* The feed was lost: samples that are newer than the anchor may have seen what it never named, so
 * that the next one is compared with the anchor. */
void follow_doubt_evidence(struct follow_node *node);
/* A sample whose barrier has passed becomes the anchor. */
void follow_promote_evidence(struct follow_node *node);
/* evidence: from before the gap; NULL: the anchor, where there is one. The oldest base stays. */
void follow_set_base(struct follow_node *node, const struct evidence *evidence);
/* Idle times since the base mean nothing: slots that are scanned by their use are scanned whole. */
void follow_spoil_base(struct follow_node *node, const char *why);
/* Once no gap of the node is left. */
void follow_drop_base(struct follow_node *node);

/* ---- gaps and resync ---- */

/* base: as for follow_set_base(). */
void follow_node_open_gap(struct follow_node *node, const struct slot_set *slots,
                          const struct ledger_gap *gap, const struct evidence *base);
/* Once the node can be scanned: scans the slots of its gaps. */
void follow_begin_scan(struct follow_node *node);

#endif
