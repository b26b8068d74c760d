/* A value, handed over element by element. The sender is a decoder of dumped values, or code that
 * reads a value with the commands of its type; the receiver writes the value elsewhere, counts it
 * or compares it.
 *
 * Views are valid only during the call. A callback that returns false has set err and ends the
 * reading. A callback may be NULL; then it is not called. A value calls only the callbacks of its
 * type; a stream calls them in this order:
 *
 *   entry* info ( group ( consumer pending* )* )*
 */
#ifndef LONGHAUL_RDB_SINK_H
#define LONGHAUL_RDB_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rdb/stream_id.h"

enum { FIELD_NEVER_EXPIRES = -1, ENTRIES_READ_UNKNOWN = -1 };

struct stream_info {
    uint64_t length;
    struct stream_id last, first;
    bool has_counters; /* since 7.0; without them the two below are 0-0 and length */
    struct stream_id max_deleted;
    uint64_t entries_added;
};

struct value_sink {
    bool (*on_string)(void *ctx, struct bytes value, struct err *err);
    bool (*on_list_item)(void *ctx, struct bytes item, struct err *err);
    bool (*on_set_member)(void *ctx, struct bytes member, struct err *err);
    /* score may be infinite, and NaN in broken old dumps */
    bool (*on_zset_member)(void *ctx, struct bytes member, double score, struct err *err);
    /* expiry_ms: absolute, or FIELD_NEVER_EXPIRES */
    bool (*on_hash_field)(void *ctx, struct bytes field, struct bytes value, int64_t expiry_ms,
                          struct err *err);
    /* fields: n times name and value */
    bool (*on_stream_entry)(void *ctx, struct stream_id id, size_t n, const struct bytes *fields,
                            struct err *err);
    bool (*on_stream_info)(void *ctx, const struct stream_info *info, struct err *err);
    /* entries_read: or ENTRIES_READ_UNKNOWN */
    bool (*on_group)(void *ctx, struct bytes group, struct stream_id last, int64_t entries_read,
                     struct err *err);
    /* active_ms: -1 when the consumer never got an entry, or the server does not say */
    bool (*on_consumer)(void *ctx, struct bytes group, struct bytes consumer, int64_t seen_ms,
                        int64_t active_ms, struct err *err);
    bool (*on_pending)(void *ctx, struct bytes group, struct bytes consumer, struct stream_id id,
                       int64_t delivered_ms, uint64_t deliveries, struct err *err);
};

#endif
