/* Shared by the files of a running comparison. A file calls those below it:
 *
 *   compare.c        the run: which keys are checked next, bounds, the end
 *   passes.c         scans of all databases in both directions; slots that are compared again
 *   digest_batch.c   --digest: many keys at once, by scripts on the servers
 *   string_batch.c   many strings at once, as long as they are equal
 *   check_key.c      one key on both sides: commands, their replies, the end
 *   verdict.c        the meaning of the replies
 *   link.c           the connections to both sides: routing, redirects, outages
 *   comparison.c     names, queues, counts, differences
 *
 * A name is a key that waits to be checked; a check is a name with commands under way. The replies
 * are kept in its two views, one per side.
 */
#ifndef LONGHAUL_VERIFY_COMPARE_PRIV_H
#define LONGHAUL_VERIFY_COMPARE_PRIV_H

#include "base/slot.h"
#include "capture/scan.h"
#include "copy/bounded.h"
#include "copy/window.h"
#include "net/loop.h"
#include "server/info.h"
#include "server/sight.h"
#include "verify/compare.h"
#include "verify/digest.h"
#include "verify/script.h"
#include "verify/sum.h"

enum { SOURCE, TARGET, SIDES };

enum {
    TYPE_NAME_MAX = 24,
    /* a guess, in points, whether the next key is a string: as many in a row were */
    STRING_SCORE_MAX = 64,
    STRING_SCORE_LIKELY = 32,
    LENGTH_AT_FIRST = 8 * 1024, /* strings are taken to be this long before any is known */
    LENGTH_DECAY = 1024,        /* the estimate falls by this fraction with each string */
    /* bytes that a batch asks for of each string */
    BATCH_BOUND_MIN = 1024,
    BATCH_BOUND_MAX = 64 * 1024,
    CHECK_COST_BYTES = 256,  /* the commands and short replies of a key, without its value */
    BATCHES_FILLING_MAX = 64 /* batches, to different pairs of nodes, that are being filled */
};

/* Strings up to this are read by one command. */
#define STRING_SMALL_BYTES 16384
#define STRING_SMALL_LAST "16383"
_Static_assert(sizeof(STRING_SMALL_LAST) == sizeof("16383") && STRING_SMALL_BYTES == 16383 + 1,
               "GETRANGE names the last byte");

struct comparison;

/* A connection to one node of one side. */
struct link {
    struct comparison *cmp;
    int side;
    struct client *client;
    /* for strings of unknown size, many at a time; NULL: not used */
    struct bounded *bounded;
    char run_id[RUN_ID_MAX]; /* of the server process that it led to; empty: not known */
    bool changed; /* another process answers than before, and on_process() has not been told yet */
    bool loss_logged;
    bool knows_digest_script, knows_names_script;
    bool clock_asked;
    int64_t trouble_since_ms; /* since when it only answers "later"; 0: it answers */
    int64_t trouble_last_ms;
    struct err trouble;
    /* from TIME, for servers that tell expiry only as time left */
    int64_t server_ms, clock_error_ms;
};

struct side {
    struct comparison *cmp;
    int index; /* SOURCE or TARGET */
    struct deployment *deployment;
    struct sight *sight;
    struct topology *topology;
    struct link **links; /* all that were ever opened */
    size_t n_links;
    struct link **of_node; /* per node of the topology; NULL for those that are not read */
    bool no_pexpiretime, no_memory, no_dump, has_field_expiry;
    bool scans_by_type;       /* SCAN knows TYPE */
    int64_t unowned_since_ms; /* since when a slot has no owner; 0: all have */
};

/* A key that waits. */
struct name {
    struct name *next;
    int64_t due_ms;
    struct link *ask[SIDES]; /* follows an ASK of this node; NULL: the owner is asked */
    uint32_t generation, len;
    int db; /* the source's number */
    uint16_t slot;
    uint8_t checks, attempts;
    bool backward;
    bool suspect;                /* it differed at its last check */
    bool has_before;             /* it was checked as a suspect: before[] is set */
    struct digest before[SIDES]; /* each side's value, type and expiry at the last check */
    int64_t read_us;             /* wall clock of the last check */
    /* when it is checked again, the watermark of a live job that copies it has passed read_us */
    bool watermark_passed;
    bool alone;     /* not in a batch: its batch had an unexpected reply */
    bool no_string; /* a batch found no string */
    bool listed;    /* from a list of names: it may be on either side only */
    bool left_out;  /* by its type or size on the source; the target has a copy all the same */
    char key[];
};

struct name_queue {
    struct name *head, *tail;
    size_t n, bytes;
};

/* One side's replies about a key. */
struct view {
    struct link *link;
    bool gone, string, large;
    enum sum_type kind;
    char type[TYPE_NAME_MAX];           /* empty: not asked */
    int64_t expiry_ms, expiry_error_ms; /* -1: none */
    uint64_t len, memory_bytes;         /* memory: 0 when not known */
    struct digest digest;
    struct value_sum *sum; /* owned */
};

enum check_step { STEP_EXISTS, STEP_KIND, STEP_STRING, STEP_DUMP, STEP_SUM };

struct check {
    struct check *next;
    struct comparison *cmp;
    struct name *name;
    enum check_step step;
    unsigned due; /* replies */
    bool failed, dumps_differ;
    bool forbidden; /* the user may not read this key */
    enum err_code failure;
    /* which side refused a command about the key, and its reason; owned, may be NULL */
    char *refusal;
    uint64_t cost; /* bytes that its replies may bring, while it reads a value */
    struct view view[SIDES];
};

/* Checks under way, and the size of the values among them. */
struct checks {
    size_t n; /* keys in checks and in batches */
    struct check *free;
    struct check *heavy, *heavy_tail; /* waiting until there is room for their values */
    uint64_t cost_bytes;
};

struct node_scan {
    struct comparison *cmp;
    struct scan *scan;
    struct address address;
    /* of the target, while the source's keys are checked: its names are only added up */
    bool sums;
    bool ended;
};

/* Which keys are named now: one database in one direction. */
struct passes {
    size_t db_at; /* index into settings->dbs; n_dbs: all databases have been scanned */
    bool backward;
    struct slot_set wanted; /* slots of the present pass */
    struct slot_set again;  /* slots that have to be scanned again after it */
    struct slot_set anew;   /* slots that have to be compared from the start, in both directions */
    int rescans;
    struct node_scan *scans;
    size_t n_scans;
    bool names_left;         /* of a list of names */
    uint64_t sample_below;   /* names whose hash is below are checked */
    uint64_t keys_of[SIDES]; /* by the servers' own counts at the start */
};

/* Over names; equal ones are taken for the same names. */
struct names_seen {
    uint64_t n;
    struct digest digest;
};

/* Has the target keys that the source does not have? Told by sums of all names of both sides. */
enum name_sums {
    SUMS_OPEN,  /* not known yet */
    SUMS_ASKED, /* the target is adding up its names (--digest) */
    SUMS_EQUAL, /* no key is extra */
    SUMS_DIFFER,
    SUMS_SPOILT, /* names moved or vanished meanwhile: the sums tell nothing */
};

struct extras {
    enum name_sums sums;
    struct names_seen seen[SIDES];
    /* with --digest: the source's names as scanned, the target's as its nodes add them up */
    struct name_sum sum[SIDES];
    size_t db_at; /* where the target is: database, node of its topology, cursor */
    int node;
    char cursor[SCAN_CURSOR_MAX];
};

/* Found in one slot in one direction, so that it can be taken back when the slot is compared again.
 * Without clusters all keys count as slot 0. */
struct tally {
    uint32_t generation; /* of the names that count */
    uint64_t equal, skipped, away, moving, unproved, uncopied, absent;
    uint64_t kind[DIFFERENCE_KINDS];
};

/* An estimate of the next values from those seen so far. */
struct estimate {
    uint64_t length;            /* longest string seen lately, as far as it was read */
    int string_score;           /* see STRING_SCORE_MAX */
    int dump_wasted[SUM_TYPES]; /* how often in a row DUMP differed and the value did not */
    struct bounded_trust trust; /* in strings that batches found equal */
};

enum run_state { RUN_GOES_ON, RUN_FAILED, RUN_CLOSING };

struct comparison {
    const struct compare_settings *settings;
    struct loop *loop;
    struct compare_progress *progress;
    struct compare_result *result;
    enum run_state state;
    struct err fatal;
    struct side side[SIDES];
    struct passes passes;
    struct tally *tally[SIDES]; /* per slot, by the side that is scanned */
    uint64_t different;
    struct name_queue fresh, retries, suspects;
    struct checks checks;
    struct extras extras;
    struct estimate estimate;
    struct digest_set *unreadable; /* keys that were found unreadable from the source's scan */
    struct key_batch *strings;     /* batches that are not sent yet */
    struct remote_batch *digests;
    size_t digest_keys;                 /* of a batch: as many as a script does at once */
    bool scripts_refused;               /* as if --digest were not given */
    char salt[20];                      /* of digests made by scripts */
    struct compare_watermark watermark; /* of a live job between both sides */
    int64_t watermark_asked_ms;
    struct window pace;  /* how fast keys are done */
    double credit;       /* of keys that the rate allows now */
    int64_t credited_ms; /* when */
    int64_t looked_after_ms;
    bool memory_warned;
    bool process_changed; /* of some link: on_process() is to be told */
    /* Told by link.c, both outside of callbacks. The topology of a side is about to change from
     * `old` to `fresh`. */
    void (*on_topology)(struct comparison *cmp, int side, const struct topology *old,
                        const struct topology *fresh);
    /* Another server process answers on this link than before. */
    void (*on_process)(struct comparison *cmp, struct link *link);
};

/* ---- comparison.c ---- */

static inline bool comparison_goes_on(const struct comparison *cmp) {
    return cmp->state == RUN_GOES_ON;
}
/* Ends the run with this error, the first one only. */
void comparison_fail(struct comparison *cmp, const struct err *err);
bool comparison_has_clusters(const struct comparison *cmp);
/* Do scans of this side name only keys of the type that is compared? */
bool scan_filters_type(const struct comparison *cmp, int side);
/* True for a filter that leaves no key out. */
bool filter_wants_all(const struct key_filter *filter);
/* The counts of a key's slot. */
struct tally *comparison_tally(struct comparison *cmp, const struct name *name);
/* The number on that side of a database of the source. */
int comparison_db(const struct comparison *cmp, int side, int db);
/* Keeps a difference of this key and tells the caller's on_difference; detail is for people. */
void comparison_report(struct comparison *cmp, const struct name *name, enum difference_kind kind,
                       const char *detail);
/* The same for a key that is neither equal nor different. */
void comparison_report_unproved(struct comparison *cmp, const struct name *name,
                                const char *detail);
/* Takes back all counts and differences of these slots in one direction. */
void comparison_take_back(struct comparison *cmp, const struct slot_set *slots, bool backward);
/* A name may have been counted on one side only: the sums of names tell nothing any more. */
static inline void extras_spoil(struct comparison *cmp) {
    cmp->extras.sums = SUMS_SPOILT;
}
/* Are two expiries (-1: none), known to within this error, equal for this run? */
bool expiry_is_equal(const struct comparison *cmp, int64_t a_ms, int64_t b_ms, int64_t error_ms);

void name_queue_push(struct name_queue *queue, struct name *name);
struct name *name_queue_pop(struct name_queue *queue);
void name_queue_clear(struct name_queue *queue);
static inline struct bytes name_bytes(const struct name *name) {
    return bytes_of(name->key, name->len);
}
/* False when its slot is compared again since it was named: another pass names it anew. */
static inline bool name_is_current(struct comparison *cmp, const struct name *name) {
    return name->generation == comparison_tally(cmp, name)->generation;
}

/* A string of this length was read: the estimate rises at once and falls slowly. */
void estimate_saw_string(struct estimate *estimate, uint64_t len);
/* Whether a key was a string. */
void estimate_saw_type(struct estimate *estimate, bool string);

/* ---- link.c ---- */

void links_open(struct comparison *cmp, int side, struct deployment *deployment);
/* Until both sides' connections are there, but not for long: keys of a node without a connection
 * are checked one by one. stop may be NULL. */
void links_await(struct comparison *cmp, const volatile bool *stop);
/* Ends all connections; commands under way have called back when it returns. */
void links_close(struct comparison *cmp);
/* The link that a key is to be read through; NULL (and a refresh is wanted) when nobody owns it. */
struct link *link_route(struct comparison *cmp, int side, struct name *name);
/* The links of a key to both sides; false when one of them is not ready. */
bool link_route_both(struct comparison *cmp, struct name *name, struct link *links[SIDES]);
/* The link to a node that an ASK reply names, opened if need be; NULL when a broken server names
 * ever new ones. */
struct link *link_to(struct comparison *cmp, int side, const struct address *address);
/* The link to the node with this address; NULL when there is none. */
struct link *link_find(const struct comparison *cmp, int side, const struct address *address);
/* Once per round, outside of callbacks: refreshes topologies and finds outages. */
void sides_look_after(struct comparison *cmp);
/* Asks for the topology at once. Not from within callbacks. */
void side_refresh_now(struct comparison *cmp, int side);
/* Ends the run when a node has been unusable for longer than --outage-timeout; since_ms 0: it is
 * not. */
void outage_check(struct comparison *cmp, const char *place, int64_t since_ms, const char *cause);
/* The node answered a command. */
static inline void link_answered(struct link *link) {
    link->trouble_since_ms = 0;
}
void link_troubled(struct link *link, const struct err *err);
/* Asks the server's time once per round of the loop, for expiry told as time left. */
void link_ask_clock(struct link *link);
/* A reply to PEXPIRETIME or PTTL, as an absolute time (-1: none) and its error. */
int64_t link_expiry_ms(const struct link *link, int64_t answer, int64_t *error_ms);
/* True when an error of ACL is about the key, false when it is about the command. */
bool refusal_is_about_key(struct bytes text);

/* ---- verdict.c ---- */

enum verdict_is {
    VERDICT_NEXT,    /* the check goes on with .step */
    VERDICT_AGAIN,   /* the key vanished between two steps: the check starts anew */
    VERDICT_NOTHING, /* filtered out, or no question of this direction */
    VERDICT_ABSENT,  /* listed, and on neither side */
    VERDICT_SKIPPED, /* larger than mem_limit_bytes */
    VERDICT_EQUAL,
    VERDICT_DIFFERENT, /* in .kind */
};

struct verdict {
    enum verdict_is is;
    enum check_step step;
    enum difference_kind kind;
};

/* Judges the replies of the present step, which have all come. */
struct verdict verdict_of(struct check *check);

enum outcome {
    OUTCOME_CHECK_AGAIN,
    OUTCOME_FINDING,
    OUTCOME_MOVING,   /* it changes all the time, as a live job carries it over */
    OUTCOME_UNPROVED, /* it changes on both sides all the time, and no live job explains that */
    OUTCOME_UNCOPIED, /* missing where the target is partial */
};

/* Decides about a key that differs; remembers each side's value. */
enum outcome verdict_outcome(struct check *check, enum difference_kind kind);
/* The difference in brief, for people. */
void verdict_explain(const struct check *check, enum difference_kind kind, char *out, size_t size);

/* ---- check_key.c ---- */

/* Starts to check a name; takes it over. False, and nothing happened, when a side is not ready. */
bool check_start(struct comparison *cmp, struct name *name);
/* Checks that wait for room begin when there is room. */
void checks_let_in(struct comparison *cmp);
/* Frees the checks that wait for room, with their names, and the pool. */
void checks_free(struct comparison *cmp);

/* ---- string_batch.c ---- */

/* Takes up to at_most names that the target has off the queue and asks the source for all of them
 * by one command, where one may span them; returns how many. */
size_t exists_batch_start(struct comparison *cmp, struct name_queue *from, size_t at_most);
/* Takes the name into a batch of strings. False, and nothing happened, when it has to be checked by
 * itself. */
bool string_batch_take(struct comparison *cmp, struct name *name);
/* How many bytes of a string a batch asks for: twice the length of strings lately, within bounds.
 */
uint64_t string_batch_bound(const struct comparison *cmp);
/* Is the next key taken for a string that goes into a batch? */
bool string_batches_are_likely(const struct comparison *cmp);
/* Sends the batches that are being filled. */
void string_batches_flush(struct comparison *cmp);

/* ---- digest_batch.c ---- */

void digest_batches_init(struct comparison *cmp);
/* As string_batch_take() and string_batches_flush(), with digests made by the servers. */
bool digest_batch_take(struct comparison *cmp, struct name *name);
void digest_batches_flush(struct comparison *cmp);
/* May sums that scripts make of names tell that there are no extra keys? */
bool digest_sums_names(const struct comparison *cmp);
void digest_add_name(struct comparison *cmp, struct bytes name);
/* Has the target add up its names: extras.sums is SUMS_ASKED until it has. */
void digest_sums_start(struct comparison *cmp);

/* ---- passes.c ---- */

/* Before links are opened: sets on_topology and on_process. */
void passes_init(struct comparison *cmp);
/* Counts the keys of both sides and sets the share of a sample. Calls, see server/call.h. */
void passes_count(struct comparison *cmp, struct deployment *source, struct deployment *target);
/* Begins with the source's first database. */
void passes_start(struct comparison *cmp);
/* Once per round: the next database, slots again, the other direction. */
void passes_next(struct comparison *cmp);
/* All keys have been named, as far as the checks under way do not change that. */
bool passes_are_over(const struct comparison *cmp);
/* More names will come without any check ending. */
bool passes_name_more(const struct comparison *cmp);
/* Once per round: reads on where there is room for names, and finds outages of scans. */
void passes_feed(struct comparison *cmp);
void passes_end(struct comparison *cmp);

#endif
