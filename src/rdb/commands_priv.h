/* Inside of commands: shared by commands.c (batches, collections) and commands_stream.c. */
#ifndef LONGHAUL_RDB_COMMANDS_PRIV_H
#define LONGHAUL_RDB_COMMANDS_PRIV_H

#include <stdint.h>

#include "rdb/commands.h"

enum { COMMANDS_TEXT_MAX = 48 }; /* an id, a number, a score */

/* Elements of one command; argv[0] is its name, argv[1] the key.
 *
 *   argv    [ HSET | key | field | value | field | value |      free      ]   max_args
 *                            │       │       │       │
 *   arena   [              field    value   field   value |   free        ]   max_bytes
 */
struct commands_batch {
    size_t argc, used;
    struct bytes *argv;
    char *arena;
    int64_t *expiry_ms; /* per pair of a hash */
};

struct commands_stream;

struct commands {
    struct bytes key;
    struct commands_options options;
    struct commands_output output;
    struct commands_batch batch;
    struct bytes *expiry_argv;
    struct commands_stream *stream;
    bool has_filler; /* see score.h: it is removed at the end */
};

bool commands_emit(struct commands *c, size_t argc, const struct bytes *argv, struct err *err);
bool commands_lose(struct commands *c, enum commands_loss what, struct bytes element,
                   struct err *err);
/* Begins a batch of this command unless it is under way. */
void commands_begin(struct commands *c, const char *name);
/* Adds n words that must stay together. */
bool commands_add(struct commands *c, const struct bytes *words, size_t n, int64_t expiry_ms,
                  struct err *err);
bool commands_flush(struct commands *c, struct err *err);

bool commands_stream_entry(void *ctx, struct stream_id id, size_t n, const struct bytes *fields,
                           struct err *err);
bool commands_stream_info(void *ctx, const struct stream_info *info, struct err *err);
bool commands_stream_group(void *ctx, struct bytes group, struct stream_id last,
                           int64_t entries_read, struct err *err);
bool commands_stream_consumer(void *ctx, struct bytes group, struct bytes consumer, int64_t seen_ms,
                              int64_t active_ms, struct err *err);
bool commands_stream_pending(void *ctx, struct bytes group, struct bytes consumer,
                             struct stream_id id, int64_t delivered_ms, uint64_t deliveries,
                             struct err *err);
bool commands_stream_finish(struct commands *c, struct err *err);
void commands_stream_free(struct commands *c);

#endif
