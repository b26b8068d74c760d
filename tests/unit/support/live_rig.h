/* A live job between the two servers of fixture.h: deployments, engine, lanes and src/live, driven
 * round by round as src/job drives them. The parts of a job's record are kept here in memory: the
 * hooks are the test's, the servers are real.
 */
#ifndef LONGHAUL_TESTS_LIVE_RIG_H
#define LONGHAUL_TESTS_LIVE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "live/live.h"
#include "server/sight.h"
#include "store/event.h"
#include "support/fixture.h"

enum { RIG_PATIENCE_MS = 60000, RIG_TEXT_MAX = 512, RIG_NODES = 4 };

/* The memory that a run leaves for the next one. */
struct rig_memory {
    struct live_memory live;
    char *extra;
    size_t extra_len;
    char addresses[RIG_NODES][ADDRESS_HOST_MAX + 32];
    struct evidence evidence[RIG_NODES];
};

struct live_rig {
    /* Set by the test between rig_init() and rig_start(). */
    struct live_options options;
    struct key_filter filter;
    int dbs[RIG_NODES];
    size_t n_dbs;
    int threads;
    int64_t scan_count, sleep_ms;
    uint64_t buffer_bytes;
    bool typed;
    const struct rig_memory *memory; /* NULL: nothing was copied before */

    /* The hooks' answers and the calls that they got. */
    _Atomic bool may_write;
    bool saves_fail;
    unsigned saves, allowed, silences, records_read, function_changes;
    bool functions_wait; /* libraries are not copied, as to a target that does not answer */
    bool record_unreadable;
    void (*on_event)(struct live_rig *r, enum event_id id); /* may be NULL */
    struct target_record record;                            /* that the target's servers hold */
    char allowed_run_id[RUN_ID_MAX];

    /* As it runs. */
    struct deployment *sides[2];
    struct sight *sights[2];
    unsigned topologies[2]; /* that were another one than before */
    unsigned seen;          /* answers about the topology of the source */
    struct engine *engine;
    struct copy_stats stats; /* the sum, at the end */
    struct live *live;
    bool stopping, ended, stepped;
    struct err err;
    struct event_sink sink;
    struct event_observer observer;
    unsigned events[EVENTS];
    char text[EVENTS][RIG_TEXT_MAX];
};

/* Tracking, one lane, database 0, samples ten times a second. */
void rig_init(struct live_rig *r);
/* Opens both sides, starts the lanes and the live job. */
void rig_start(struct live_rig *r);
/* One round of the control thread; a job that fails fails the test, unless it is being stopped. */
void rig_round(struct live_rig *r);
/* Ends the live job and the lanes, where they run. */
void rig_stop(struct live_rig *r);

/* Keeps the parts that the running job would leave in its record: its watermark, or its
 * checkpoint. */
void rig_remember(struct live_rig *r, struct rig_memory *memory);
void rig_forget(struct rig_memory *memory);

struct live_state rig_look(struct live_rig *r);
/* Some server of the source has evidence from before the watermark. */
bool rig_has_evidence(struct live_rig *r);
/* The reason of the i-th gap; "": there is none. */
const char *rig_gap(struct live_rig *r, size_t i);
/* Keys that were read and written since the start. */
uint64_t rig_copied(struct live_rig *r);
/* Both sides hold the same data. */
bool rig_sides_are_equal(void);
/* Empties both sides. */
void rig_empty_sides(void);

/* Of most test programs: one job, between two servers. For cmocka: rig_setup() gives a test empty
 * servers and a rig that is not started, rig_teardown() ends its job, also of a test that failed,
 * and rig_setup_sides() starts the servers of the group. */
extern struct live_rig rig;
int rig_setup(void **state);
int rig_teardown(void **state);
int rig_setup_sides(void **state);

/* Rounds until the condition holds; after RIG_PATIENCE_MS the test fails. */
#define RIG_UNTIL(r, condition)                                                                    \
    do {                                                                                           \
        int64_t patience_ends_ms = clock_mono_ms() + RIG_PATIENCE_MS;                              \
        while (!(condition) && clock_mono_ms() < patience_ends_ms) rig_round(r);                   \
        assert_true(condition);                                                                    \
    } while (0)

/* Rounds until everything that the source has acknowledged by now is on the target. */
#define RIG_CATCH_UP(r)                                                                            \
    do {                                                                                           \
        struct moment now = moment_now();                                                          \
        RIG_UNTIL(r, rig_look(r).proved &&rig_look(r).watermark.boot_us > now.boot_us);            \
    } while (0)

/* A live job whose first copy is complete, with evidence. */
#define RIG_GO_LIVE(r)                                                                             \
    do {                                                                                           \
        rig_start(r);                                                                              \
        RIG_UNTIL(r, rig_look(r).copied_once &&rig_look(r).proved &&rig_has_evidence(r));          \
    } while (0)

#endif
