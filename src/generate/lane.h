/* Writes the keys of `longhaul generate` to the nodes that own them, pipelined, one connection per
 * primary.
 *
 *   number ─▶ job ─▶ lane of its slot: queue ─▶ commands sent ─▶ all answered ─▶ done
 *                ▲                                                  │ error that may pass
 *                └── waiting ◀──────────────────────────────────────┘
 *
 * A job that failed for a passing reason is written anew from its first command, because only the
 * whole is known to be right. One thread. Nothing is called back: the owner looks at
 * gen_writer_stats(). */
#ifndef LONGHAUL_GENERATE_LANE_H
#define LONGHAUL_GENERATE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "generate/key.h"
#include "server/deployment.h"

struct gen_writer;

enum {
    /* a connection gets no more commands while so much waits to be written */
    GEN_UNSENT_BYTES = 512 * 1024,
    GEN_PIPELINE_DEFAULT = 500,
    GEN_BATCH_DEFAULT = 100,
    GEN_RETRY_MS = 100,       /* pause before a failed job is tried again */
    GEN_REFRESH_MIN_MS = 250, /* between two looks at the topology */
    GEN_REFUSALS_SHOWN = 5    /* refused keys that are named in the log */
};

struct gen_stats {
    uint64_t keys;               /* jobs done, of any kind */
    uint64_t written[GEN_TYPES]; /* keys written as a whole, per type */
    uint64_t actions[GEN_ACTIONS];
    uint64_t refused; /* keys that the server did not take */
    uint64_t retries; /* jobs written anew */
    uint64_t reconnects;
    uint64_t bytes_out;
};

struct gen_writer *gen_writer_new(struct deployment *deployment, const struct gen_plan *plan);
/* Leaves NULL. */
void gen_writer_free(struct gen_writer **writer);

/* Takes a key; false when there is no room at present: then the same key is offered again later. */
bool gen_writer_offer(struct gen_writer *writer, uint64_t number, uint64_t round);

/* Sends commands as far as windows allow, and looks after failures: connections, topology, jobs to
 * try again. Between rounds of the loop, not in a callback. False when the run cannot go on. */
bool gen_writer_work(struct gen_writer *writer, struct err *err);

/* Keys that are taken and not done. */
uint64_t gen_writer_open(const struct gen_writer *writer);
/* Forgets keys that wait to be tried again, so that the rest comes to its end. */
void gen_writer_give_up_waiting(struct gen_writer *writer);

struct gen_stats gen_writer_stats(const struct gen_writer *writer);
/* The reason for waiting, NULL for none. Good until the next call of gen_writer_work(). */
const char *gen_writer_trouble(struct gen_writer *writer);

#endif
