/* The rule of barriers: how much the replies to ROLE prove about the changes that a feed has been
 * told of. Pure: no connection, no clock.
 *
 *   begun ── ROLE, answered: as far as its primary ──▶ confirming ── ROLE, answered ──▶ proved
 *     ▲                 │ not yet, or not connected                    │ not connected
 *     └──── later ──────┴──────────────────────────────────────────────┘
 *
 * One reply is not enough. Servers with I/O threads (Valkey and Redis from 8.0 on) write a reply at
 * once, but broadcast invalidations once per event loop: the reply to a ROLE may come before the
 * name of a write that was acknowledged before the ROLE was sent (valkey 8.1 src/networking.c
 * beforeNextClient(), src/server.c beforeSleep()). Between two ROLEs of which the second was sent
 * after the first was answered lies a broadcast. So a barrier is two ROLEs, and proves the moment
 * at which the first was sent.
 *
 * A replica's reply says nothing about the writes that its primary has acknowledged. So the primary
 * is asked first how far its stream goes, and the barrier proves that moment once the replica has
 * come as far. A replica announces the changes that it applies while it is connected to its
 * primary, but not a full resynchronisation. That makes a new client of the primary's on the
 * replica (redis 7.0.15 src/replication.c replicationCreateMasterClient(); a partial one takes the
 * former client up again), so the id of that client has to stay. Where CLIENT LIST is refused, a
 * lost connection to the primary is taken for a resynchronisation.
 */
#ifndef LONGHAUL_CAPTURE_BARRIER_H
#define LONGHAUL_CAPTURE_BARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "resp/reader.h"

/* One reply to ROLE. */
struct barrier_role {
    bool known;     /* false: ROLE is refused, or says something else */
    bool replica;   /* "slave" */
    bool connected; /* a replica: its stream of replication runs */
    int64_t offset; /* of that stream */
};

enum barrier_state { BARRIER_IDLE, BARRIER_BEGUN, BARRIER_CONFIRMING };

enum barrier_verdict {
    BARRIER_ASK_AGAIN, /* at once: the second question */
    BARRIER_WAIT,      /* nothing is proved; ask again later */
    BARRIER_PROVED,    /* every change acknowledged before since_us has been named */
    BARRIER_BROKEN,    /* there is a gap; *err says why */
};

struct barrier {
    enum barrier_state state;
    bool replica;
    int64_t since_us;
    int64_t primary_offset; /* of a replica's primary, when it was asked */
    int64_t offset;         /* of the replica, in its last reply */
    /* id of the primary's client on the replica, and whether it was seen since the barrier began */
    bool feeder_known, feeder_seen;
    uint64_t feeder;
};

/* From a framed reply: its first value and the cursor behind it. */
struct barrier_role barrier_role_parse(const struct resp_item *item, struct resp_cursor cursor);
/* The id in the reply to CLIENT LIST TYPE master; 0 when no primary is connected. */
uint64_t barrier_feeder_parse(struct bytes text);

/* A connection is established: nothing is proved yet. */
void barrier_reset(struct barrier *b, bool replica);
/* A barrier begins now. primary_offset: of a replica's primary, which has just been asked. False:
 * it went backward, so this is another primary's stream (*err). */
bool barrier_begin(struct barrier *b, int64_t now_us, int64_t primary_offset, struct err *err);
/* The id of the primary's client on the replica (0: none), before the second reply to ROLE. False:
 * it has changed (*err). Never called: CLIENT LIST is refused. */
bool barrier_take_feeder(struct barrier *b, uint64_t id, struct err *err);
/* A reply has come. Errors have no place. */
enum barrier_verdict barrier_take_role(struct barrier *b, const struct barrier_role *role,
                                       struct err *err);

#endif
