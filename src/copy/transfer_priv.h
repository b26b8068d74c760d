/* Inside of transfers: transfer.c (the way of a key), transfer_link.c (commands and replies),
 * transfer_plain.c (strings, lists, sets, hashes, sorted sets), transfer_field.c (expiry of hash
 * fields), transfer_stream.c, transfer_group.c and transfer_place.c (streams, their groups, and
 * pending entries whose messages are deleted).
 *
 *   begin ─▶ TYPE ─▶ reading ⇄ writing ─▶ sealed ─▶ checked ─▶ committed ─▶ ended ─▶ (last reply) freed
 *     ▲                 │ changed, and all replies are in
 *     └─────────────────┘
 */
#ifndef LONGHAUL_COPY_TRANSFER_PRIV_H
#define LONGHAUL_COPY_TRANSFER_PRIV_H

#include "base/slot.h"
#include "copy/lane_priv.h"
#include "copy/transfer.h"

enum {
    PIECE_BYTES = 512 * 1024,
    PIECE_STRING_BYTES = 1024 * 1024,
    PIECE_ELEMENTS_MAX = 500,
    PIECE_ELEMENTS_START = 16, /* until the size of an element is known */
    PIECES_UNACKED_MAX = 2,
    TRANSFER_NAME_MAX = 64,
    STREAM_ID_MAX = 48,
    CLAIM_IDS_MAX = 500,       /* in one XCLAIM */
    DUMPED_LENGTH_MAX = 10000, /* elements of a value that is dumped though its size is not known */
};

#define TRANSFER_NAME_PREFIX "longhaul:tmp:"

/* The temporary key of a slot; its length. */
size_t transfer_name(uint16_t slot, char name[TRANSFER_NAME_MAX]);

/* What the types differ in, as far as they are alike. */
struct transfer_kind {
    const char *type; /* TYPE's word */
    enum value_type value;
    const char *length, *page, *whole, *write;
    unsigned words; /* of a reply per element */
    bool scans;     /* paged by cursor, else by index */
};

struct transfer;

/* What becomes of a good reply; errors and lost connections are decided before. */
typedef void transfer_step_fn(struct transfer *t, const struct reply *reply);
struct transfer_step {
    transfer_step_fn *fn; /* NULL: nothing */
    bool ends_piece;      /* with its reply the target has a whole piece */
};

/* Expiry of the fields of one piece of a hash. */
struct field_times {
    struct block *block; /* that the piece lies in */
    struct resp_cursor elements;
    size_t n, got, due; /* fields; of those, answered; replies */
    int64_t *ms;
    transfer_step_fn *then; /* called with NULL */
};

struct entry_id {
    uint64_t ms, seq;
};

/* Pending entries of a stream, and those whose messages it does not have any more. */
struct places {
    bool wanted;   /* an attempt without has lost some; outlives attempts */
    bool too_many; /* to be remembered */
    /* those before `at` have been looked for, and the first `placed` are placeholders */
    struct entry_id *ids;
    size_t n, cap, at, placed;
};

struct stream_copy {
    char next[STREAM_ID_MAX];    /* where the next page starts */
    char last[STREAM_ID_MAX];    /* copied last; "" when none */
    char first[STREAM_ID_MAX];   /* of the source, at the end */
    char last_id[STREAM_ID_MAX]; /* last-generated-id */
    char deleted[STREAM_ID_MAX]; /* max-deleted-entry-id; "" before 7.0 */
    int64_t added;               /* entries-added; -1 before 7.0 */
    int64_t length, copied;
    size_t page;    /* entries asked for */
    bool caught_up; /* the end was read once; only tails follow */
    bool expecting; /* before entries are read: what is pending is asked for */
    uint64_t tail_pages;
    /* groups, as the last tail told */
    struct block *block;
    struct resp_cursor groups;
    int64_t groups_left;
    char *group; /* name of the one that is being copied; owned */
    size_t group_len;
    char pending_next[STREAM_ID_MAX];
    int64_t now_ms; /* the source's clock */
    uint64_t asked, claimed;
};

struct transfer {
    struct transfers *all;
    struct lane *lane;
    struct transfer *next;
    struct transfer *next_settling;
    bool settles; /* stands in all->settling */
    /* NULL when it has ended: then nothing is sent any more, and what follows is void */
    struct key_entry *entry;
    char *
        key_bytes; /* owned: callbacks may still read the name when the entry has been given back */
    struct bytes key;
    int db;
    uint16_t slot;
    const struct transfer_kind *kind;
    bool large;      /* in pieces, watched on a connection of its own */
    bool opening;    /* that is being opened */
    bool waits;      /* for another transfer of the same slot */
    bool again;      /* begins anew when all replies are in */
    bool holds_name; /* uses the slot's temporary key */
    /* between MULTI and EXEC, which must come: others write on the same connection */
    bool in_block;
    unsigned attempts;
    uint64_t reserved; /* of the lane's budget */

    struct pool_node *source, *target;
    struct client *reader;      /* borrowed */
    uint64_t target_reconnects; /* when it began: a server that restarted has lost the pieces */
    char name[TRANSFER_NAME_MAX];
    struct bytes to; /* the key that is written */
    size_t source_due, target_due;
    struct outq scratch; /* of a dry run */

    uint64_t bytes; /* read so far */
    uint64_t elements;
    double element_bytes;
    size_t page; /* elements asked for */
    int64_t offset, length, expiry_ms, server_ms;
    char cursor[24];
    bool reading, read_all, sealing, expects_length;
    unsigned unacked;          /* pieces */
    struct block *value_block; /* a small value, until its expiry is known */
    struct resp_item value;
    struct resp_cursor value_elements;
    struct field_times times;
    struct stream_copy stream;
    struct places places;
};

/* ---- transfer.c ---- */

/* The key changed while it was read: once more, or given up. */
void transfer_again(struct transfer *t);
void transfer_fail(struct transfer *t, struct pool_node *node, const struct err *err);
/* Nothing may be written now: the key is read anew when it may. */
void transfer_pause(struct transfer *t);
/* The key is gone on the source, or empty. */
void transfer_gone(struct transfer *t);
/* The value is read by DUMP. */
void transfer_by_dump(struct transfer *t);
/* Too large for one go after all. */
void transfer_enlarge(struct transfer *t);
/* Whatever can go on does. */
void transfer_continue(struct transfer *t);
/* Once all replies are in, a transfer that has ended is freed, and one that begins again is begun,
 * at the end of the loop's round: nothing is freed inside of its own callback, however deep. */
void transfer_settle(struct transfer *t);
/* The copy is whole: has it as many elements as the source? Then the key is replaced. */
void transfer_check(struct transfer *t);
void transfer_commit(struct transfer *t);
void transfer_begin_block(struct transfer *t);
/* EXEC, after MULTI and what writes the key: the key is done with its reply. */
void transfer_end_block(struct transfer *t);
/* True when no other transfer uses the temporary key of the slot; else this one begins again when
 * it is free. False also when the transfer ended because nothing can be written. */
bool transfer_take_name(struct transfer *t);
/* Forgets what an attempt has read. */
void transfer_reset(struct transfer *t);

/* ---- transfer_link.c ---- */

/* Sends a command to the source. Where a connection is gone the transfer fails. */
void transfer_read(struct transfer *t, const struct transfer_step *step, size_t argc,
                   const struct bytes *argv);
/* Writes a command for the target: between the two the words, written into what the first returns.
 */
struct outq *transfer_write(struct transfer *t);
void transfer_written(struct transfer *t, const struct transfer_step *step);
/* One that is whole. */
void transfer_send(struct transfer *t, const struct transfer_step *step, size_t argc,
                   const struct bytes *argv);
/* Fails, or begins again, by what a server said. */
void transfer_refused(struct transfer *t, struct pool_node *node, const struct client *client,
                      const struct resp_item *item);

/* For replies to MULTI and what is queued. */
extern const struct transfer_step transfer_step_none;
/* The last command of a piece. */
extern const struct transfer_step transfer_step_piece;

#define TRANSFER_READ(t, step, ...)                                                                \
    transfer_read(t, step, sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes),         \
                  (struct bytes[]){ __VA_ARGS__ })
#define TRANSFER_SEND(t, step, ...)                                                                \
    transfer_send(t, step, sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes),         \
                  (struct bytes[]){ __VA_ARGS__ })

/* A number as a word; buf is the caller's. */
struct bytes transfer_number(int64_t number, char buf[24]);
/* Expiry commands of the source's version, for a MULTI or a pipeline; then their replies, in order.
 */
void transfer_ask_expiry(struct transfer *t, const struct transfer_step *number,
                         const struct transfer_step *clock);
void transfer_take_expiry(struct transfer *t, const struct resp_item *number);
bool transfer_take_clock(struct transfer *t, struct resp_cursor *elements);
/* PEXPIREAT for t->to's final name, when the key expires. */
void transfer_write_expiry(struct transfer *t);

/* ---- transfer_plain.c ---- */

const struct transfer_kind *transfer_kind_of(struct bytes type);
/* Where the source tells no sizes: the length tells whether the value can be dumped. */
void plain_weigh(struct transfer *t);
void plain_begin(struct transfer *t);
void plain_continue(struct transfer *t);
/* Elements as words of the kind's write command, split by --max-args; the last command gets `last`.
 */
void plain_write(struct transfer *t, struct resp_cursor elements, size_t words, struct block *block,
                 const struct transfer_step *last);

/* ---- transfer_field.c ---- */

bool field_times_wanted(const struct transfer *t);
/* Asks for the expiry of the fields among these elements (field, value, ..), which lie in block. */
void field_times_ask(struct transfer *t, struct resp_cursor elements, size_t fields,
                     struct block *block, transfer_step_fn *then);
/* Does any of them expire (or has done so)? */
bool field_times_any(const struct transfer *t);
/* Writes them; false when the target cannot (the transfer has failed then). */
bool field_times_write(struct transfer *t);
void field_times_fini(struct field_times *times);

/* ---- transfer_stream.c, transfer_group.c, transfer_place.c ---- */

void stream_begin(struct transfer *t);
void stream_continue(struct transfer *t);
void stream_fini(struct stream_copy *s);
bool stream_id_parse(struct bytes text, uint64_t *ms, uint64_t *seq);
/* Negative, 0, positive; "" is before everything. */
int stream_id_compare(const char *a, const char *b);
/* The ID that follows; out may be the same as id. */
void stream_id_next(const char *id, char out[STREAM_ID_MAX]);

/* All groups are copied: placeholders go, what the source lost at its front too, then
 * transfer_check(). */
void stream_finish(struct transfer *t);

/* Copies the groups of t->stream.groups one by one, then calls stream_finish(); or begins anew with placeholders. While
 * t->stream.expecting it only passes what is pending to places_expect(), then calls stream_continue().
 */
void groups_continue(struct transfer *t);
/* Pending entries that could not be made: their messages are deleted. */
uint64_t groups_lost(const struct transfer *t);

/* Forgets all but whether placeholders are wanted. */
void places_reset(struct places *p);
void places_expect(struct places *p, struct bytes id);
/* When all are known. */
void places_sort(struct places *p);
/* Writes placeholders for what is expected up to end. Ends must ascend. */
void places_until(struct transfer *t, struct bytes end, bool end_is_entry);
/* Deletes the placeholders from that ID on; "": all. */
void places_delete(struct transfer *t, const char *from);

#endif
