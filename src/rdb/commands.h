/* Turns the elements of a value into commands that make an equal value under a key that does not
 * exist yet. It is a value_sink, so a decoder can feed it.
 *
 *   element, element, ... ─▶ batch: max_args words, max_bytes ─▶ emit( RPUSH key item item ... )
 *
 *   string   SET      set    SADD      hash     HSET, then HPEXPIREAT per moment of expiry
 *   list     RPUSH    zset   ZADD      stream   XADD with IDs, XSETID, XGROUP, XCLAIM
 *
 * Servers ignore an XCLAIM of an entry that is no longer in its stream. Such pending entries are
 * kept nevertheless: a placeholder entry is added, claimed, and removed again. That needs
 * commands_expect_pending() for streams. No command writes the time at which a consumer was last
 * seen. A score of -0 needs a skiplist, see score.h.
 *
 * If all fields of a hash have expired by the time its commands have run, the key does not exist.
 */
#ifndef LONGHAUL_RDB_COMMANDS_H
#define LONGHAUL_RDB_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rdb/sink.h"

enum { COMMANDS_ARGS_MIN = 16 };

/* Abilities of the server that will execute the commands. */
struct commands_abilities {
    bool field_expiry;    /* HPEXPIREAT: Redis 7.4, Valkey 9.0 */
    bool stream_counters; /* 7.0: XSETID ENTRIESADDED MAXDELETEDID, XGROUP ENTRIESREAD */
    bool create_consumer; /* 6.2: XGROUP CREATECONSUMER */
};

/* Parts of a value that the server cannot have. */
enum commands_loss {
    LOSS_FIELD_EXPIRY, /* element: the field; it is written without expiry */
    LOSS_SCORE,        /* element: the member, left out: its score is not a number */
    LOSS_PENDING,      /* element: the id, which lies beyond the stream's last */
    LOSSES
};

const char *commands_loss_text(enum commands_loss what);

struct commands_options {
    struct commands_abilities can;
    /* words in a command, COMMANDS_ARGS_MIN at least; an entry of a stream is one command always */
    size_t max_args;
    size_t max_bytes; /* of elements in a command; a larger element goes alone */
};

/* The views are good during the call; that of a large element is the sink's own, not a copy. Either
 * callback ends the work by returning false with err set. */
struct commands_output {
    bool (*emit)(void *ctx, size_t argc, const struct bytes *argv, struct err *err);
    /* may be NULL */
    bool (*lost)(void *ctx, enum commands_loss what, struct bytes element, struct err *err);
    void *ctx;
};

struct commands;

/* The key is borrowed until the end. */
struct commands *commands_new(struct bytes key, const struct commands_options *options,
                              const struct commands_output *output);

/* The sink, whose ctx is the struct commands. */
const struct value_sink *commands_sink(void);

/* Names an entry that is pending in some group, before the first entry comes, in any order; costs
 * 16 bytes each. */
void commands_expect_pending(struct commands *commands, struct stream_id id);
/* The same for all that a dumped stream has; other values are left alone. */
bool commands_expect_payload(struct commands *commands, struct bytes payload, struct err *err);

/* After the last element: emits the rest of the batch and removes placeholders. */
bool commands_finish(struct commands *commands, struct err *err);

/* Leaves NULL. */
void commands_free(struct commands **commands);

#endif
