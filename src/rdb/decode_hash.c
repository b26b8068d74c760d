/* Hashes: field by field (4), as one zipmap (9), ziplist (13) or listpack (16); with field expiry
 * by Valkey field by field (22), by Redis field by field (24) and as one listpack (25).
 *
 *   22   ( field | value | expiry i64, -1: none )*
 *   24   least expiry i64 | count | ( expiry - least + 1, 0: none | field | value )*
 *   25   least expiry i64 | listpack of ( field, value, expiry, 0: none )*
 *
 * Source: redis 7.4 and valkey 9.0 src/rdb.c, rdbSaveObject(), and payloads of these servers.
 */
#include "rdb/decode_priv.h"
#include "rdb/zipmap.h"

static bool hand_field(struct decoder *d, struct bytes field, struct bytes value, int64_t expiry_ms,
                       struct err *err) {
    decode_note(d, field.len + value.len);
    return d->sink->on_hash_field == NULL ||
           d->sink->on_hash_field(d->ctx, field, value, expiry_ms, err);
}

/* ---- field by field ---- */

/* The expiry before a field of type 24. */
static bool read_relative_expiry(struct decoder *d, int64_t *expiry_ms, struct err *err) {
    uint64_t after, least = (uint64_t)d->min_expiry_ms;
    *expiry_ms = FIELD_NEVER_EXPIRES;
    if (!rdb_read_len(&d->in, &after, err)) return false;
    if (after == 0) return true;
    if (least > INT64_MAX || after - 1 > INT64_MAX - least)
        return rdb_bad(&d->in, err, "the field expiry is out of range");
    *expiry_ms = (int64_t)(least + after - 1);
    return true;
}

/* The expiry after a field of type 22. */
static bool read_expiry(struct decoder *d, int64_t *expiry_ms, struct err *err) {
    if (!rdb_read_i64(&d->in, expiry_ms, err)) return false;
    return *expiry_ms >= FIELD_NEVER_EXPIRES ||
           rdb_bad(&d->in, err, "the field expiry is out of range");
}

static bool hash_step_plain(struct decoder *d, struct err *err) {
    struct bytes field, value;
    int64_t expiry_ms = FIELD_NEVER_EXPIRES;
    if (d->left == 0) {
        d->step = NULL;
        return true;
    }
    d->left--;
    if (d->type == RDB_HASH_METADATA && !read_relative_expiry(d, &expiry_ms, err)) return false;
    if (!rdb_read_string(&d->in, &d->scratch[SCRATCH_FIELD], &field, err) ||
        !rdb_read_string(&d->in, &d->scratch[SCRATCH_VALUE], &value, err))
        return false;
    if (d->type == RDB_VALKEY_HASH_2 && !read_expiry(d, &expiry_ms, err)) return false;
    return hand_field(d, field, value, expiry_ms, err);
}

/* ---- packed ---- */

static bool hash_step_packed(struct decoder *d, struct err *err) {
    struct packed_item field, value;
    int64_t expiry_ms = 0;
    if (!packed_has_more(&d->packed)) {
        d->step = NULL;
        return true;
    }
    if (!packed_next(&d->packed, &field, err) || !packed_next(&d->packed, &value, err))
        return false;
    if (d->type == RDB_HASH_LISTPACK_EX && !packed_next_number(&d->packed, &expiry_ms, err))
        return false;
    if (expiry_ms < 0) return rdb_bad(&d->packed.in, err, "the field expiry is out of range");
    return hand_field(d, packed_bytes(&field), packed_bytes(&value),
                      expiry_ms == 0 ? FIELD_NEVER_EXPIRES : expiry_ms, err);
}

static bool step_zipmap(struct decoder *d, struct err *err) {
    struct bytes field, value;
    if (rdb_left(&d->node) == 0) {
        d->step = NULL;
        return true;
    }
    return zipmap_next(&d->node, &field, &value, err) &&
           hand_field(d, field, value, FIELD_NEVER_EXPIRES, err);
}

static bool open_zipmap(struct decoder *d, struct err *err) {
    struct bytes blob;
    size_t offset;
    d->step = step_zipmap;
    return decode_read_node(d, &blob, &offset, err) && zipmap_open(&d->node, blob, offset, err);
}

bool decode_hash_open(struct decoder *d, struct err *err) {
    d->step = hash_step_packed;
    switch (d->type) {
    case RDB_HASH_ZIPMAP:
        return open_zipmap(d, err);
    case RDB_HASH_ZIPLIST:
        return decode_open_ziplist(d, err);
    case RDB_HASH_LISTPACK:
        return decode_open_listpack(d, err);
    case RDB_HASH_LISTPACK_EX:
        return rdb_read_i64(&d->in, &d->min_expiry_ms, err) && decode_open_listpack(d, err);
    case RDB_HASH_METADATA:
        if (!rdb_read_i64(&d->in, &d->min_expiry_ms, err)) return false;
        break;
    default:
        break;
    }
    d->step = hash_step_plain;
    return rdb_read_count(&d->in, 2, &d->left, err);
}
