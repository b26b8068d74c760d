/* Questions of the demo to the servers themselves, and the changes that it makes: for the
 * replication to follow, and for the comparison to find. */
#ifndef LONGHAUL_DEMO_CHECK_H
#define LONGHAUL_DEMO_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"

enum { DEMO_SAMPLE = 2000, DEMO_CHANGES_MAX = 12, DEMO_SHOWN_MAX = 160 };

/* DBSIZE. */
bool demo_count(struct loop *loop, struct client *client, uint64_t *keys, struct err *err);

struct demo_check {
    uint64_t source_keys, target_keys; /* DBSIZE; of the target without own_keys */
    uint64_t own_keys;                 /* in which longhaul keeps the job's state there */
    uint64_t sampled, equal;           /* keys whose DEBUG DIGEST-VALUE is the same */
};

/* Compares the answers of both servers; the sample is the keys that SCAN names first, in no
 * order. */
bool demo_check_run(struct demo_check *check, struct loop *loop, struct client *source,
                    struct client *target, struct err *err);

/* A SET on the source of a key that nothing else uses; after how many milliseconds does the target
 * show it? -1 with *err if it does not. */
int64_t demo_measure_arrival(struct loop *loop, struct client *source, struct client *target,
                             struct err *err);

struct demo_change {
    char *key; /* owned */
    size_t key_len;
    char shown[DEMO_SHOWN_MAX]; /* the command, for people */
};

struct demo_changes {
    struct demo_change items[DEMO_CHANGES_MAX];
    size_t n;
};

enum demo_stage {
    /* new keys, an expiry within a second or two, a stream and its group, a deletion */
    DEMO_WHILE_IT_RUNS,
    DEMO_WHILE_IT_IS_DEAD,
    /* one key of each kind changed, one removed, one made, one given an expiry */
    DEMO_AFTER_ITS_END,
};

/* Writes to the source. An earlier stage's list must have been ended by demo_changes_fini(). */
bool demo_changes_make(struct demo_changes *changes, enum demo_stage stage, struct loop *loop,
                       struct client *source, struct err *err);
void demo_changes_fini(struct demo_changes *changes);

/* Does the document of `longhaul compare` name exactly the changed keys? */
bool demo_changes_match(const struct demo_changes *changes, const json_t *document);

#endif
