/* Evidence: the answers of a source process about itself at one moment, as one value. It is
 * recorded with the watermark and compared as a whole with the later answers of the process;
 * members of two pieces of evidence are never mixed.
 *
 *   then (recorded with the watermark) ──┐
 *                                        ├─▶ evidence_judge() ─▶ the same dataset?
 *   now (after capture is back) ─────────┘                   may idle times be used, since when?
 *
 * The answer rests on the source's own words: the gap began at its TIME then, and idle times are
 * seconds of the same clock. Clocks of this machine only prove that the source's clock was not set
 * back meanwhile; a suspended machine makes their interval shorter, which does no harm. Everything
 * that is unknown, that decreased, or that does not agree means: every key is copied.
 *
 * Between two samples of one process that runs, of the source or of the target, counters show what
 * happened, while evidence_counters() says that they go on.
 *
 * Pure: no server, no clock, no thread.
 */
#ifndef LONGHAUL_LIVE_EVIDENCE_H
#define LONGHAUL_LIVE_EVIDENCE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/sample.h"

enum { EVIDENCE_POLICY_MAX = 32, EVIDENCE_BOOT_ID_MAX = 40 };

struct evidence {
    char run_id[RUN_ID_MAX], replid[RUN_ID_MAX];
    bool replica;
    int64_t time_us;    /* the source's own clock; 0: unknown */
    int64_t started_us; /* when the process was started, by its own clock; 0: unknown */

    /* The observer's clocks around it. boot_id tells whether two boot clocks are the same. */
    char boot_id[EVIDENCE_BOOT_ID_MAX];
    int64_t asked_boot_us, answered_boot_us, asked_wall_us;

    char policy[EVIDENCE_POLICY_MAX]; /* maxmemory-policy; empty: unknown */
    bool has_child;
    bool has_modules;                              /* not recorded */
    int64_t forks, last_save_s, save_s, rewrite_s; /* -1: unknown, or there was none */
    uint64_t loaded_keys;                          /* by the last load of an RDB file */
    int64_t load_expired;                          /* left out by it; -1: unknown; not recorded */

    /* Counters that only rise, unless CONFIG RESETSTAT sets them to 0. -1: unknown. */
    int64_t commands, connections, info_calls, role_calls;
    int64_t config_calls, swaps, flushes;
    /* CONFIG RESETSTAT: calls since the last one, itself included, and how long these took. -1:
     * unknown. Not recorded. */
    int64_t resets, resets_us;

    struct sample_db *dbs; /* databases that hold keys; owned */
    size_t n_dbs;
};

/* boot_id: of this machine, see evidence_boot_id(). */
void evidence_of_sample(struct evidence *out, const struct server_sample *sample,
                        const char *boot_id);
void evidence_copy(struct evidence *to, const struct evidence *from);
void evidence_fini(struct evidence *e);
uint64_t evidence_keys(const struct evidence *e, int db);

/* How later evidence relates to earlier one. */
struct verdict {
    bool same_process; /* the same run_id, started at the same time */
    /* By the source's clock: where `why` is NULL, a key idle for longer has not changed since. */
    int64_t since_us;
    /* Idle times that were noted before `now` mean nothing: the eviction policy or the clock was
     * changed. */
    bool times_spoilt;
    const char *why; /* in words: idle times may not be used; NULL: they may */
};
struct verdict evidence_judge(const struct evidence *then, const struct evidence *now);

/* Do the counters of now go on from those of then, of the same process, which was loading neither
 * time? Else anything that is read from counters (a flush, a swap, an eviction) may have happened
 * unseen. */
enum evidence_counters {
    COUNTERS_GO_ON,
    COUNTERS_RESET,   /* set back: CONFIG RESETSTAT */
    COUNTERS_RELOADED /* the data was loaded anew: DEBUG RELOAD */
};
enum evidence_counters evidence_counters(const struct evidence *then, const struct evidence *now);

/* Could commands that only counters tell, had they been called and not counted, have changed the
 * job's databases? SWAPDB not while one and the same database alone holds keys, other commands only
 * where modules are loaded. */
bool evidence_may_be_swapped(const struct evidence *then, const struct evidence *now);

/* A new reference. */
json_t *evidence_to_json(const struct evidence *e);
/* False for JSON that is no evidence: nothing is known then, *e is empty. */
bool evidence_from_json(struct evidence *e, const json_t *json);

/* Identifies this boot of this machine: /proc/sys/kernel/random/boot_id; empty where it cannot be
 * read. */
const char *evidence_boot_id(char id[EVIDENCE_BOOT_ID_MAX]);

#endif
