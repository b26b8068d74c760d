/* Inside of transfers. A file calls only files further down:
 *
 *   transfer.c          turns, starts, the table of types
 *   transfer_plain.c    strings, lists, sets, hashes, sorted sets
 *   transfer_field.c    expiry of hash fields
 *   transfer_stream.c   streams
 *   transfer_group.c    their consumer groups
 *   transfer_place.c    pending entries of deleted messages
 *   transfer_commit.c   the temporary key, and putting it in place
 *   transfer_link.c     commands and replies
 *   transfer_end.c      states, and the ends of a transfer
 *
 * transfer_continue() and steps are called through pointers. Nothing is freed inside of its own
 * callback: transfer_settle() leaves that to the end of the loop's round.
 */
#ifndef LONGHAUL_COPY_TRANSFER_PRIV_H
#define LONGHAUL_COPY_TRANSFER_PRIV_H

#include "base/slot.h"
#include "copy/flight.h"
#include "copy/transfer.h"
#include "rdb/payload.h"
#include "rdb/stream_id.h"

enum {
    PIECE_BYTES = 512 * 1024,
    PIECE_STRING_BYTES = 1024 * 1024,
    PIECE_ELEMENTS_MAX = 500,
    PIECE_ELEMENTS_START = 16, /* until the size of an element is known */
    PIECES_UNACKED_MAX = 2,
    TRANSFER_NAME_MAX = 64,
    CLAIM_IDS_MAX = 500,       /* in one XCLAIM */
    DUMPED_LENGTH_MAX = 10000, /* elements of a value that is dumped without knowing its size */
};

#define TRANSFER_NAME_PREFIX "longhaul:tmp:"

/* The state of a transfer.
 *
 *   OPENING ─▶ STARTING ─▶ [EXPECTING] ─▶ READING ─▶ LAST_READ ─▶ SEALING ─▶ CHECKING
 *                 ▲  │                      ▲  │                   │  │           ▼
 *                 │  └▶ WAITING             │  └─ small value ─────┼──┴───▶ COMMITTING ─▶ ENDED
 *                 │      ▼                  └── stream has grown ──┘                       ▼
 *                 └─── AGAIN ◀── the key has changed                                     freed
 *
 * ENDED can follow every state, and AGAIN every state but ENDED.
 */
enum transfer_state {
    TRANSFER_OPENING,    /* large: its connection to the source is being opened */
    TRANSFER_STARTING,   /* type and length are being asked */
    TRANSFER_WAITING,    /* another transfer uses the temporary key of the slot */
    TRANSFER_EXPECTING,  /* stream: its pending entries are being read, see transfer_place.c */
    TRANSFER_READING,    /* whole, or piece by piece */
    TRANSFER_LAST_READ,  /* the next read is the last: length, expiry and more of one moment */
    TRANSFER_SEALING,    /* the last read is under way; stream: its groups are being copied */
    TRANSFER_CHECKING,   /* the length of the temporary key is being asked */
    TRANSFER_COMMITTING, /* from MULTI on, which EXEC must follow */
    TRANSFER_AGAIN,      /* begins again when all replies are in; sends nothing */
    TRANSFER_ENDED,      /* the key has been given back; freed when all replies are in */
    TRANSFER_STATES
};

struct transfer;

/* The differences between the types. */
struct transfer_kind {
    const char *type; /* the server's word, from TYPE */
    enum value_type value;
    const char *length, *page, *whole, *write;
    unsigned words; /* of a reply per element */
    bool scans;     /* paged by cursor, else by index */
    void (*begin)(struct transfer *t);
    /* Takes every step that is possible now. */
    void (*go_on)(struct transfer *t);
};

/* Handles a good reply; errors and lost connections are handled before. */
typedef void transfer_step_fn(struct transfer *t, const struct reply *reply);
struct transfer_step {
    transfer_step_fn *fn; /* may be NULL */
    bool ends_piece;      /* its reply means that the target has a whole piece */
};

/* A small value, until its expiry is known. */
struct small_value {
    struct block *block;
    struct resp_item item;
    struct resp_cursor elements;
};

/* A value on its way in pieces. */
struct pieces {
    uint64_t elements; /* read so far */
    double element_bytes;
    int64_t offset;
    char cursor[24];
    bool page_asked;
    unsigned unacked;
};

/* Expiry of the fields of one piece of a hash. */
struct field_times {
    struct block *block; /* holds the piece */
    struct resp_cursor elements;
    size_t n, got, due; /* fields; fields with an answer; replies that are due */
    int64_t *ms;
    transfer_step_fn *then; /* called with NULL when all are known */
};

/* Pending entries of a stream. Those of deleted messages become placeholders. */
struct places {
    bool wanted;   /* an attempt without placeholders lost some; outlives attempts */
    bool too_many; /* to be remembered */
    /* entries before `at` have been looked for, and the first `placed` are placeholders */
    struct stream_id *ids;
    size_t n, cap, at, placed;
};

struct stream_copy {
    struct stream_id next; /* the first ID that has not been read */
    bool no_next;          /* the last possible ID has been read */
    struct stream_id last; /* the ID copied last; valid while copied > 0 */
    /* of the source, at the end */
    struct stream_id first, last_id, deleted;
    int64_t added; /* entries-added, with max-deleted-entry-id; -1 before 7.0 */
    int64_t length, copied;
    size_t page; /* entries asked for */
    uint64_t tail_pages;
    /* consumer groups, from the last XINFO GROUPS */
    struct block *block;
    struct resp_cursor groups;
    int64_t groups_left;
    /* the group that is being copied; its name is owned */
    bool in_group;
    char *group;
    size_t group_len;
    struct stream_id pending_next;
    int64_t now_ms; /* the source's clock */
    uint64_t asked, claimed;
};

struct transfer {
    struct transfers *all;
    struct flight *flight;
    struct transfer *next;
    struct transfer *next_settling;
    bool settles; /* stands in all->settling */
    enum transfer_state state;
    struct key_entry *entry; /* NULL when it has ended */
    bool measured;           /* its size on the source is known: */
    uint64_t measured_bytes;
    struct bytes key; /* a copy: replies may still come when the entry has been given back */
    int db;
    uint16_t slot;
    const struct transfer_kind *kind;
    bool large;      /* in pieces, watched on a connection of its own */
    bool holds_name; /* uses the slot's temporary key */
    unsigned attempts;
    uint64_t reserved; /* of the lane's budget */

    struct pool_node *source, *target;
    struct client *reader; /* borrowed */
    /* at the beginning: a server that was reconnected may have lost the pieces */
    uint64_t target_reconnects;
    char name[TRANSFER_NAME_MAX];
    struct bytes to; /* the key that is written */
    size_t source_due, target_due;
    struct outq scratch; /* takes words that must not be sent */

    uint64_t bytes; /* read so far */
    int64_t length, expiry_ms, server_ms;
    bool expects_length; /* the temporary key's length is compared before it is put in place */
    bool keeps_sign;     /* the sorted set is a skiplist, see rdb/score.h */
    struct small_value value;
    struct pieces pieces;
    struct field_times times;
    struct stream_copy stream;
    struct places places;
};

/* Of one lane. */
struct transfers {
    struct flight *flight;
    struct key_list large, small; /* waiting for their turn */
    struct transfer *running;     /* also ended ones whose replies are not all in */
    struct transfer *settling;    /* of those: to be begun again or freed at the end of the round */
    size_t n_small;
    bool large_busy;
    struct client *reader; /* for the large one: a connection that may WATCH */
};

/* Commands may be sent, and replies mean something. */
static inline bool transfer_is_active(const struct transfer *t) {
    return t->state < TRANSFER_AGAIN;
}

/* Takes every step that is possible now. */
static inline void transfer_continue(struct transfer *t) {
    if (transfer_is_active(t) && t->state != TRANSFER_WAITING) t->kind->go_on(t);
}

/* ---- transfer_end.c ---- */

/* Changes the state; the move must be one of those drawn above. */
void transfer_move(struct transfer *t, enum transfer_state state);
bool transfer_may_move(enum transfer_state from, enum transfer_state to);
/* The key changed while it was read: begins again, or gives the key up after TRANSFER_ATTEMPTS. */
void transfer_again(struct transfer *t);
/* Begins again without counting an attempt. */
void transfer_again_for(struct transfer *t, const char *reason);
void transfer_fail(struct transfer *t, struct pool_node *node, const struct err *err);
/* The source's reply to this command makes no sense. The key is given up. */
void transfer_malformed(struct transfer *t, const char *command);
/* Nothing may be written now: the key waits, and is read anew later. */
void transfer_pause(struct transfer *t);
/* The lane stops: the key is queued again. */
void transfer_requeue(struct transfer *t);
/* The source has no such key, or it is empty. */
void transfer_missing(struct transfer *t);
/* The key is read by DUMP instead. */
void transfer_by_dump(struct transfer *t);
/* The key is copied as a large one instead. */
void transfer_enlarge(struct transfer *t);
/* The target has the key. */
void transfer_done(struct transfer *t);
/* Once all replies are in, a transfer that has ended is freed, and one in AGAIN is begun again, at
 * the end of the loop's round. */
void transfer_settle(struct transfer *t);
/* Pending entries that could not be made: their messages are deleted. */
uint64_t transfer_lost_pending(const struct transfer *t);

/* ---- transfer_link.c ---- */

/* Sends a command to the source. If the connection is lost, the transfer fails. */
void transfer_read(struct transfer *t, const struct transfer_step *step, size_t argc,
                   const struct bytes *argv);
/* Writes a command for the target: the caller writes the words into the returned queue between
 * these two calls. */
struct outq *transfer_write(struct transfer *t);
void transfer_written(struct transfer *t, const struct transfer_step *step);
/* Sends a whole command to the target. */
void transfer_send(struct transfer *t, const struct transfer_step *step, size_t argc,
                   const struct bytes *argv);
/* Fails, or begins again, as the error reply requires. */
void transfer_refused(struct transfer *t, struct pool_node *node, const struct client *client,
                      const struct resp_item *item);

/* For replies to MULTI and to queued commands. */
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
/* Asks for the expiry with the commands of the source's version, in a MULTI or a pipeline. The
 * other two take the replies, in this order. */
void transfer_ask_expiry(struct transfer *t, const struct transfer_step *number,
                         const struct transfer_step *clock);
void transfer_take_expiry(struct transfer *t, const struct resp_item *number);
bool transfer_take_clock(struct transfer *t, struct resp_cursor *elements);

/* ---- transfer_commit.c ---- */

/* The name of the slot's temporary key; returns its length. */
size_t transfer_name(uint16_t slot, char name[TRANSFER_NAME_MAX]);
/* True when no other transfer uses the slot's temporary key. Else this transfer begins again when
 * the name is free. False also when the transfer ended because nothing can be written. */
bool transfer_take_name(struct transfer *t);
void transfer_begin_block(struct transfer *t);
/* PEXPIREAT for the key itself, if the key expires. */
void transfer_write_expiry(struct transfer *t);
/* EXEC, after MULTI and the commands that write the key: its reply ends the transfer. */
void transfer_end_block(struct transfer *t);
/* The copy is whole. If it has as many elements as the source, it replaces the key. */
void transfer_check(struct transfer *t);

/* ---- transfer.c ---- */

/* By the word of TYPE; NULL for types of modules. */
const struct transfer_kind *transfer_kind_of(struct bytes type);

/* ---- transfer_plain.c ---- */

/* Where the source tells no sizes: the length tells whether the value can be dumped. */
void plain_weigh(struct transfer *t);
void plain_begin(struct transfer *t);
void plain_continue(struct transfer *t);

/* ---- transfer_field.c ---- */

bool field_times_wanted(const struct transfer *t);
/* Asks for the expiry of the fields among these elements (field, value, ..), which lie in block. */
void field_times_ask(struct transfer *t, struct resp_cursor elements, size_t fields,
                     struct block *block, transfer_step_fn *then);
/* True when one of them expires, or has expired. */
bool field_times_any(const struct transfer *t);
/* Writes them; false when the target cannot (the transfer has failed then). */
bool field_times_write(struct transfer *t);
void field_times_fini(struct field_times *times);

/* ---- transfer_stream.c, transfer_group.c, transfer_place.c ---- */

void stream_begin(struct transfer *t);
void stream_continue(struct transfer *t);
void stream_copy_fini(struct stream_copy *s);

/* The reply of XINFO GROUPS, in block; its n groups are next. */
void groups_set(struct transfer *t, struct block *block, struct resp_cursor groups, int64_t n);
/* Takes the next step: reads pending entries and writes them as pending (while EXPECTING, only
 * passes their IDs to places_expect()). False when all groups are done. */
bool groups_continue(struct transfer *t);

/* Forgets everything but whether placeholders are wanted. */
void places_reset(struct places *p);
void places_expect(struct places *p, struct bytes id);
/* When all are known. */
void places_sort(struct places *p);
/* Writes placeholders for the expected entries up to end. Ends must ascend. */
void places_until(struct transfer *t, struct stream_id end, bool end_is_entry);
/* Deletes the placeholders from that ID on. */
void places_delete(struct transfer *t, struct stream_id from);

#endif
