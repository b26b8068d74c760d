/* Comparison of two deployments, key by key: which keys are missing, extra, or differ in type,
 * expiry or value.
 *
 *   scan of the source ─▶ check the key on both sides ─▶ equal
 *                                   ▲        │ differs
 *                                   └─ later ┘ (rounds)  ─▶ still different: a finding
 *                                                        ─▶ changed on both sides: not proved
 *
 * Two values are equal when a client cannot tell them apart; encodings, versions and families of
 * servers do not matter. Values are reduced to digests as they arrive, in pieces of bounded size,
 * so that memory does not grow with them. A side that fails for a while is waited for; a command
 * that was not answered is sent again from the start of its key.
 */
#ifndef LONGHAUL_VERIFY_COMPARE_H
#define LONGHAUL_VERIFY_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/slot.h"
#include "copy/filter.h"
#include "server/deployment.h"

enum compare_mode {
    COMPARE_QUICK, /* existence, type, expiry */
    COMPARE_FULL,  /* values too */
    /* as full, but the servers make digests of many keys, and values are read where these differ */
    COMPARE_DIGEST,
};

/* "quick", "full", "digest" */
const char *compare_mode_name(enum compare_mode mode);

enum difference_kind {
#define DIFFERENCE(id, label, title, sentence) DIFFERENCE_##id,
#include "verify/difference.def"
#undef DIFFERENCE
    DIFFERENCE_KINDS
};

const char *difference_label(enum difference_kind kind);
const char *difference_title(enum difference_kind kind);
const char *difference_sentence(enum difference_kind kind);

enum { DIFFERENCE_DETAIL_MAX = 192 };

/* One finding. */
struct difference {
    int db; /* the source's number */
    enum difference_kind kind;
    bool backward; /* found from the target's keys */
    bool left_out; /* the filters leave the source's key out: it must not be copied */
    char *key;
    size_t key_len;
    char detail[DIFFERENCE_DETAIL_MAX]; /* the value on each side in brief; printable */
    /* which parts of the value differ; owned, NULL: not determined */
    char *parts;
};

/* Names of keys to compare instead of all. */
struct compare_names {
    /* The next name, good until the next call; false at the end, or on trouble with err->code set.
     */
    bool (*next)(void *ctx, int db, struct bytes *key, struct err *err);
    /* From the beginning again. */
    void (*rewind)(void *ctx);
    void *ctx;
};

/* The watermark of a live job between both sides. */
struct compare_watermark {
    /* every write that the source acknowledged before this moment (wall clock) is on the target; 0:
     * no such job runs, or its watermark will not move soon: nothing waits for it */
    int64_t us;
    /* The job copies all keys that are compared: keys that change on both sides are its work. */
    bool explains;
};

struct compare_settings {
    enum compare_mode mode;
    bool both_directions; /* also look for keys that only the target has */
    /* The target holds only some of the source's keys (a liveonly job copies changes alone): a key
     * that it lacks is counted as uncopied and is no difference. */
    bool target_is_partial;
    int64_t ttl_tolerance_ms;
    bool no_ttl;                     /* expiry is not compared */
    const struct key_filter *filter; /* borrowed */
    const int *dbs;                  /* databases of the source; borrowed */
    size_t n_dbs;
    /* -1: each database against that of the same number; else all against this one */
    int target_db_override;
    int64_t scan_count;
    int64_t sleep_ms; /* pause after each page of a scan */
    int64_t rate;     /* keys a second; 0: unlimited */
    /* how often a key that differs is checked again before it is reported */
    int rounds;
    int64_t interval_ms;               /* between two checks of it */
    uint64_t mem_limit_bytes;          /* keys that take more on the source are skipped; 0: none */
    size_t max_differences;            /* kept in the result; counting goes on */
    uint64_t buffer_bytes;             /* values on their way, both sides together */
    size_t max_args;                   /* words in one command; 0: as many as the batches have */
    int64_t pipeline;                  /* most keys being checked; 0: automatic */
    int64_t outage_timeout_ms;         /* how long a node may stay unusable; 0: for ever */
    const struct compare_names *names; /* borrowed; NULL: all keys. Always in both directions. */
    /* compare about so many keys, chosen by their names; 0: all */
    uint64_t sample;
    uint64_t seed; /* of that choice */

    /* Called with each finding, also those beyond max_differences; it is good during the call. May
     * be NULL. */
    void (*on_difference)(void *ctx, const struct difference *difference);
    /* The same for keys that are not proved; kind says nothing. */
    void (*on_unproved)(void *ctx, const struct difference *difference);
    /* These slots are compared again in this direction: all findings in them are void. May be NULL.
     */
    void (*on_taken_back)(void *ctx, const struct slot_set *slots, bool backward);
    void *ctx;

    /* Asked while keys wait for their next check; may wait, and run the loop. Beside a live job,
     * keys that differ are checked again when the watermark has passed the moment they were read
     * at, and interval_ms does not matter. May be NULL. */
    struct compare_watermark (*watermark)(void *ctx);
    void *watermark_ctx;
};

/* The usual values: full, both directions, 100 ms of tolerance, database 0, three rounds a second
 * apart. */
struct compare_settings compare_settings_default(void);

struct compare_result {
    uint64_t keys; /* compared: equal + missing + type + ttl + value + unreadable */
    uint64_t equal;
    uint64_t count[DIFFERENCE_KINDS]; /* per kind */
    uint64_t skipped;                 /* larger than mem_limit_bytes */
    /* differed at first, and were equal or gone when they were checked again */
    uint64_t rechecked_away;
    /* Differed at each check, and had changed on both sides between the last two: neither equal nor
     * different. */
    uint64_t moving;
    /* of these, keys whose changes on the target no live job explains: they are not proved equal */
    uint64_t unproved;
    uint64_t uncopied;              /* with target_is_partial: keys that the target lacks */
    uint64_t absent;                /* with names: listed keys that are on neither side */
    uint64_t sampled_of;            /* with sample: keys that it was drawn from; 0: not known */
    uint64_t target_keys;           /* that were scanned, or that the target counts itself */
    struct difference *differences; /* the first max_differences */
    size_t n_differences;
    struct difference *unproved_keys; /* likewise */
    size_t n_unproved_keys;
    int64_t duration_ms;
};

/* All kinds together. */
uint64_t compare_result_different(const struct compare_result *result);
/* No difference, and no key that is not proved. */
bool compare_result_is_equal(const struct compare_result *result);
void compare_result_fini(struct compare_result *result);

/* Where a running comparison stands, to be read by a timer on the same loop. */
struct compare_progress {
    uint64_t keys;      /* checked, in both directions */
    uint64_t total;     /* expected, by the servers' own counts at the start; 0: not known */
    uint64_t different; /* findings, and keys that will be checked again */
    bool backward;      /* the target's keys are being looked for on the source */
    char note[160];     /* the node that is waited for, and its error; empty: none */
};

/* Compares. Runs the loop of the deployments (both must be on one) until it is done; not from
 * within a callback. *progress (may be NULL) is kept up to date meanwhile. When *stop becomes true
 * it ends with ERR_INTERRUPTED. False on trouble, with *err; *result holds the findings until then
 * either way, and is the caller's to release. */
bool compare_run(struct deployment *source, struct deployment *target,
                 const struct compare_settings *settings, struct compare_progress *progress,
                 const volatile bool *stop, struct compare_result *result, struct err *err);

#endif
