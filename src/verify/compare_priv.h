/* Shared by the files of a running comparison:
 *
 *   compare.c   the run: passes over databases and directions, scans, queues, bounds, the end
 *   link.c      the connections to both sides: routing, redirections, what is down and for how long
 *   batch.c     many keys at once, as long as they are equal
 *   remote.c    --digest: many keys at once, by scripts on the servers
 *   look.c      one key on both sides: which commands, what they answered
 *   verdict.c   what follows from the answers, and the findings
 *
 * A name is a key that waits; an exam is a name that is being looked at. What an exam learns is in
 * its two views.
 */
#ifndef LONGHAUL_VERIFY_COMPARE_PRIV_H
#define LONGHAUL_VERIFY_COMPARE_PRIV_H

#include "base/slot.h"
#include "capture/scan.h"
#include "copy/bounded.h"
#include "copy/window.h"
#include "net/loop.h"
#include "verify/compare.h"
#include "verify/digest.h"
#include "verify/script.h"
#include "verify/sum.h"

enum { SOURCE, TARGET, SIDES };

enum {
    LOOK_STRING_BYTES = 16 * 1024, /* strings up to this are read by one command */
    TYPE_NAME_MAX = 24,
    STRING_LIKELY = 32,          /* a score from which on the next key is taken for a string */
    LOOK_BYTES_FIRST = 8 * 1024, /* how long strings are taken to be at first */
    BATCH_BOUND_MIN = 1024,      /* bytes that are asked for of a string in a batch: at least */
    BATCH_BOUND_MAX = 64 * 1024, /* and at most */
};

struct comparison;

/* A connection to one node of one side. */
struct link {
    struct comparison *cmp;
    int side;
    struct client *client;
    /* for strings of unknown size, many at a time; NULL where that is not wanted */
    struct bounded *bounded;
    bool told;                      /* its loss has been logged */
    bool knows_script, knows_names; /* the scripts are there */
    bool clock_asked;
    int64_t trouble_since_ms; /* since when it only answers "later"; 0: it answers */
    int64_t trouble_last_ms;
    struct err trouble;
    /* from TIME, for servers that tell expiry only as time left */
    int64_t server_ms, clock_error_ms;
};

struct side {
    struct deployment *deployment;
    struct topology *topology;
    uint64_t epoch;
    struct link **links; /* all that were ever opened */
    size_t n_links;
    struct link **of_node; /* per node of the topology; NULL for those that are not read */
    bool no_pexpiretime, no_memory, no_dump, has_field_expiry;
    bool refresh_wanted;
    int64_t refreshed_ms, unowned_since_ms;
};

/* A key that waits. */
struct name {
    struct name *next;
    int64_t due_ms;
    struct link *ask[SIDES]; /* its slot is on its way there; NULL: the owner is asked */
    uint32_t generation, len;
    int db; /* the source's number */
    uint16_t slot;
    uint8_t looks, attempts;
    bool backward, suspect;
    bool seen;                   /* as a suspect, once: */
    struct digest before[SIDES]; /* what each side had then */
    int64_t read_us;             /* wall clock; what it had, it had before */
    bool alone;                  /* not in a batch: something about its batch was not as expected */
    bool no_string;              /* a batch found no string */
    bool listed;                 /* not from a scan: it may be on either side only */
    char key[];
};

struct name_queue {
    struct name *head, *tail;
    size_t n, bytes;
};

/* What one side said of a key. */
struct view {
    struct link *link;
    /* foreign: the string commands were refused, it is no string */
    bool gone, string, large, foreign;
    enum sum_type kind;
    char type[TYPE_NAME_MAX];           /* empty: not asked */
    int64_t expiry_ms, expiry_error_ms; /* -1: none */
    uint64_t len, memory_bytes;         /* memory: 0 when not known */
    struct digest digest;
    struct value_sum *sum; /* owned */
};

enum exam_step { STEP_EXISTS, STEP_KIND, STEP_STRING, STEP_DUMP, STEP_SUM };

struct exam {
    struct exam *next;
    struct comparison *cmp;
    struct name *name;
    enum exam_step step;
    unsigned due; /* replies */
    bool failed, dumps_differ;
    bool forbidden; /* the user may not read this key */
    enum err_code failure;
    char *refusal; /* which side refused a command about the key, and why; owned, may be NULL */
    uint64_t cost; /* bytes that it may bring, while it reads a value */
    struct view view[SIDES];
};

struct node_scan {
    struct comparison *cmp;
    struct scan *scan;
    struct address address;
    /* of the target, while the source's keys are looked at: its names are only added up */
    bool sums;
    bool ended;
};

/* Over names; equal ones are taken for the same names. */
struct names_seen {
    uint64_t n;
    struct digest digest;
};

/* What was found in one slot in one direction, so that it can be taken back when the slot moves
 * while it is scanned. Without clusters all keys count as slot 0. */
struct tally {
    uint32_t generation; /* of the names that count */
    uint64_t equal, skipped, away, moving, kind[DIFFERENCE_KINDS];
};

struct comparison {
    const struct compare_settings *settings;
    struct loop *loop;
    struct compare_progress *progress;
    struct compare_result *result;
    struct side side[SIDES];
    bool closing, failed;
    struct err fatal;

    size_t db_at;
    bool backward;
    struct tally *tally[SIDES]; /* per slot, by the side that is scanned */
    uint64_t different;
    struct slot_set wanted; /* slots that the present pass is about */
    struct slot_set moved;  /* slots that came to another node meanwhile: they are scanned again */
    int rescans;
    struct node_scan *scans;
    size_t n_scans;
    bool names_left;         /* of a list of names */
    uint64_t sample_below;   /* names whose hash is below are looked at */
    uint64_t keys_of[SIDES]; /* as the servers count them at the start */

    struct name_queue fresh, again, suspects;
    int64_t watermark_us, watermark_asked_ms; /* of a live job between both sides; 0: none */
    struct key_batch *filling;                /* batches that are not sent yet */
    struct remote_batch *remote;
    size_t remote_keys; /* of a batch: as many as a script does at once */
    bool no_scripts;    /* they are refused; as if --digest were not given */
    char salt[20];      /* of digests made by scripts */

    /* while the source's keys are looked at: are there extra keys? */
    struct names_seen seen[SIDES];
    /* The same sums, made by the target itself (--digest). */
    struct name_sum sum[SIDES];
    bool sums_spoilt, summing, summed, names_equal;
    size_t sum_db_at;
    int sum_node; /* of the target's topology */
    char page[24];

    struct digest_set *unreadable; /* keys that were found unreadable from the source's scan */
    struct exam *free_exams;
    size_t n_exams;                  /* in use */
    struct exam *heavy, *heavy_tail; /* waiting until a value may be read */
    uint64_t cost_bytes;             /* of values being read */
    uint64_t look_bytes;             /* longest string seen lately, as far as it was read */
    struct bounded_trust trust;      /* in strings that batches found equal */
    struct window pace;              /* how fast keys are done */
    int string_score;                /* how likely the next key is a string */
    int dump_wasted[SUM_TYPES];      /* how often in a row DUMP differed and the value did not */
    double credit;                   /* of keys that the rate allows now */
    int64_t credited_ms, looked_after_ms;
    bool memory_warned;
};

/* ---- compare.c ---- */

/* The counts of a key's slot. */
struct tally *compare_tally(struct comparison *cmp, const struct name *name);
/* False when its slot has moved since it was named: another pass names it again. */
static inline bool name_is_current(struct comparison *cmp, const struct name *name) {
    return name->generation == compare_tally(cmp, name)->generation;
}
/* The picture of a side changes, before it is replaced. */
void compare_on_topology(struct comparison *cmp, int side, const struct topology *old,
                         const struct topology *fresh);

/* Ends the run with this error, the first one only. */
void compare_fail(struct comparison *cmp, const struct err *err);
void name_queue_push(struct name_queue *queue, struct name *name);
struct name *name_queue_pop(struct name_queue *queue);
static inline struct bytes name_bytes(const struct name *name) {
    return bytes_of(name->key, name->len);
}
int compare_db(const struct comparison *cmp, int side, const struct name *name);

/* ---- link.c ---- */

void links_open(struct comparison *cmp, int side, struct deployment *deployment);
/* Until both sides' connections are there, but not for long: keys of a node that is not, are read
 * instead of summed up. */
void links_await(struct comparison *cmp, const volatile bool *stop);
void links_close(struct comparison *cmp, int side);
/* The link that a key is to be read through; NULL (and a refresh is wanted) when nobody owns it. */
struct link *link_route(struct comparison *cmp, int side, struct name *name);
/* The link to the node that an ASK reply names. */
struct link *link_to(struct comparison *cmp, int side, struct bytes address,
                     const struct link *from);
/* Once per round, outside of callbacks: refreshes topologies and finds outages. */
void sides_look_after(struct comparison *cmp);
/* Asks for the topology at once. Not from within callbacks. */
void side_refresh_now(struct comparison *cmp, int side);
/* It answered a question of ours. */
static inline void link_answered(struct link *link) {
    link->trouble_since_ms = 0;
}
void link_troubled(struct link *link, const struct err *err);

/* ---- batch.c ---- */

/* Takes up to at_most names that the target has off the queue and asks the source for all of them
 * by one command, where one may span them; returns how many. */
size_t exists_batch_start(struct comparison *cmp, struct name_queue *from, size_t at_most);
/* Takes the name into a batch of strings. False, and nothing happened, when it has to be looked at
 * by itself. */
bool string_batch_take(struct comparison *cmp, struct name *name);
/* How many bytes of a string a batch asks for: twice what strings were long lately, within bounds.
 */
uint64_t batch_bound(const struct comparison *cmp);
void compare_saw_length(struct comparison *cmp, uint64_t len);
/* Is the next key taken for a string that goes into a batch? */
bool batches_are_likely(const struct comparison *cmp);
/* Sends what was taken. */
void batches_flush(struct comparison *cmp);

/* ---- remote.c ---- */

void remote_init(struct comparison *cmp);
/* As string_batch_take() and batches_flush(), with digests made by the servers. */
bool remote_batch_take(struct comparison *cmp, struct name *name);
void remote_flush(struct comparison *cmp);
/* May sums of names tell that there are no extra keys? */
bool remote_sums_names(const struct comparison *cmp);
void remote_add_name(struct comparison *cmp, struct bytes name);
/* Begins to sum up the target's names; `summing` until `summed`, and then `names_equal` tells. */
void remote_sum_start(struct comparison *cmp);

/* ---- look.c ---- */

/* Starts to look at a name; takes it over. False, and nothing happened, when a side is not ready.
 */
bool exam_start(struct comparison *cmp, struct name *name);
/* Is an error of ACL about the key, not about the command? */
bool refusal_is_about_key(struct bytes text);
/* Has the server tell its time once per round of the loop, for expiry told as time left. */
void link_ask_clock(struct link *link);
/* The next step of an exam, of which all replies have come. */
void exam_go(struct exam *exam, enum exam_step step);
/* Exams that wait for room are let in. */
void exams_let_in(struct comparison *cmp);
void exam_free(struct exam *exam);
void exam_pool_free(struct comparison *cmp);

/* ---- verdict.c ---- */

/* Are two expiries (-1: none), known to within these errors, equal for this run? */
bool expiry_is_equal(const struct comparison *cmp, int64_t a_ms, int64_t b_ms, int64_t error_ms);
/* All replies of the present step are there: goes on, or concludes. */
void exam_advance(struct exam *exam);

#endif
