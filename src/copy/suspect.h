/* Keys over which the target may have ended the connection: a value beyond a limit there
 * (client-query-buffer-limit, a proxy's), or one that it cannot bear. Sent with all others such a
 * key would break the connection of all, again and again.
 *
 *   connection lost with the key under way ── once; twice where the value is small ──▶ suspect
 *   suspect: waits, is sent on a second connection to the same node (pool_twin()), a few at a time
 *      acknowledged ─▶ no suspect any more, twice as many at a time
 *      lost         ─▶ one at a time; lost alone: a strike, and a pause; lost too often: given up
 *   the second connection breaks while it is idle ─▶ the network is at fault: strikes do not count
 *
 * The key's losses stand in its flags, so they outlive its way back into the queue. Of a lane's
 * thread; pure but for the clock that the caller gives. */
#ifndef LONGHAUL_COPY_SUSPECT_H
#define LONGHAUL_COPY_SUSPECT_H

#include "copy/flight.h"

enum {
    SUSPECT_STRIKES_MAX = 10, /* lost so often, alone: given up */
    SUSPECT_STRIKES_TOLD = 2, /* from here on the log names the key */
    SUSPECT_PAUSE_MS = 100,   /* after the first strike; doubled with each */
    SUSPECT_PAUSE_MAX_MS = 1000,
    SUSPECT_AT_A_TIME_MAX = 1024,
};

/* All zero but at_a_time, which is 1: no suspects. */
struct suspects {
    struct key_list waiting;
    size_t n_waiting, under_way, at_a_time;
    int64_t not_before_ms;
    bool together; /* several are under way, or were until the last of them ends */
};

void suspects_init(struct suspects *s);
/* Puts a suspect that was taken into flight aside. */
void suspects_add(struct suspects *s, struct key_entry *entry);
/* The next one that may be read now; NULL when none may. */
struct key_entry *suspects_next(struct suspects *s, int64_t now_ms);
/* The flight of any key ends; acknowledged, or not. */
void suspects_note_end(struct suspects *s, struct key_entry *entry, bool acknowledged);
/* The target's connection was lost with the key under way, on this node. The number of strikes, of
 * which this is one; 0: it is no strike. Before suspects_note_end(). */
unsigned suspects_note_loss(struct suspects *s, struct key_entry *entry,
                            const struct pool_node *node, int64_t now_ms);
/* The second connection broke. */
void suspects_note_down(struct suspects *s);

#endif
