/* Writes that the target may have lost again. A primary that restarted, or was replaced by its
 * replica, may lack writes that it had acknowledged; how far it is, the job's record that it holds
 * itself says: the record was written behind the writes that its watermark speaks of. Keys that the
 * target evicts, and such as another client flushes, are gone too. Moving slots between primaries
 * that live on loses nothing.
 */
#ifndef LONGHAUL_LIVE_TARGET_H
#define LONGHAUL_LIVE_TARGET_H

#include <stdbool.h>

#include "live/follow.h"

struct target;

/* The job's record as one server of the target holds it. */
struct target_record {
    bool found;
    struct moment watermark;  /* MOMENT_NEVER: none */
    struct follow_base *base; /* evidence of the source's nodes; owned by the caller of the hook */
    size_t n_base;
};

/* What a process of the target had lost, by its own counters, when all was proved: recorded with
 * the watermark, and compared with what the process says at the next start. */
struct target_counts {
    char run_id[RUN_ID_MAX];
    uint64_t evicted, flushes, swaps;
    bool incomplete; /* it had lost more, which was not repaired yet */
};

struct target_settings {
    struct engine *engine;
    struct ledger *ledger;
    struct follow *follow;
    const struct event_sink *events;
    /* Reads the record at this node; false: it cannot be read now. Then release_record(). */
    bool (*read_record)(void *ctx, const struct address *node, struct target_record *record);
    void (*release_record)(void *ctx, struct target_record *record);
    /* The record may be written to this process of the node from now on. */
    void (*allow_record)(void *ctx, const struct address *node, const char *run_id);
    /* A node does not answer: no record may be written. */
    void (*on_silent)(void *ctx);
    void *ctx;
    const struct target_counts *counts; /* of a former run; borrowed */
    size_t n_counts;
    struct moment since; /* the watermark that they belong to */
};

struct target *target_new(const struct target_settings *settings);
void target_free(struct target **target);
/* Primaries come and go. */
void target_sync(struct target *t, bool first);
/* Opens the gaps of primaries that have changed. watermark: of the job now. */
void target_step(struct target *t, struct moment watermark);
/* The server that has this slot lacks the job's own key there: its keys may be gone too. */
void target_lacks_keys(struct target *t, uint16_t slot);
/* A primary does not answer, or is another process about which nothing is known yet: no record is
 * written meanwhile. */
bool target_is_silent(const struct target *t);
/* The watermark goes no further; MOMENT_NONE: as far as it likes. */
struct moment target_limit(const struct target *t);
/* Of each primary; false, without a call, while one has not answered yet. */
bool target_each_counts(const struct target *t,
                        void (*fn)(void *ctx, const struct target_counts *counts), void *ctx);
/* A primary may lack function libraries: it is another process, or a new one. Once per cause. */
bool target_takes_lost_functions(struct target *t);
/* Keys that the target has evicted since the job was started. */
uint64_t target_evicted(const struct target *t);
/* run_id, replid of each primary; empty while they are not known. */
void target_each(const struct target *t,
                 void (*fn)(void *ctx, const char *run_id, const char *replid), void *ctx);

#endif
