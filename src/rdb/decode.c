/* See decode.h. */
#include "rdb/decode.h"

#include <stdlib.h>

#include "base/mem.h"
#include "rdb/decode_priv.h"
#include "rdb/payload.h"

/* Added for each step, so that empty elements cannot make a run endless. */
enum { STEP_BYTES = 16 };

static decode_step_fn *const openers[RDB_TYPES] = {
    [RDB_STRING] = decode_string_open,
    [RDB_LIST] = decode_list_open,
    [RDB_SET] = decode_set_open,
    [RDB_ZSET] = decode_zset_open,
    [RDB_HASH] = decode_hash_open,
    [RDB_ZSET_2] = decode_zset_open,
    [RDB_HASH_ZIPMAP] = decode_hash_open,
    [RDB_LIST_ZIPLIST] = decode_list_open,
    [RDB_SET_INTSET] = decode_set_open,
    [RDB_ZSET_ZIPLIST] = decode_zset_open,
    [RDB_HASH_ZIPLIST] = decode_hash_open,
    [RDB_LIST_QUICKLIST] = decode_list_open,
    [RDB_STREAM] = decode_stream_open,
    [RDB_HASH_LISTPACK] = decode_hash_open,
    [RDB_ZSET_LISTPACK] = decode_zset_open,
    [RDB_LIST_QUICKLIST_2] = decode_list_open,
    [RDB_STREAM_2] = decode_stream_open,
    [RDB_SET_LISTPACK] = decode_set_open,
    [RDB_STREAM_3] = decode_stream_open,
    [RDB_VALKEY_HASH_2] = decode_hash_open,
    [RDB_HASH_METADATA] = decode_hash_open,
    [RDB_HASH_LISTPACK_EX] = decode_hash_open,
};

static decode_step_fn *decoder_opener(unsigned type, unsigned version) {
    /* Redis used 22 in releases before 7.4, for something else. */
    if (type == RDB_VALKEY_HASH_2 && version < RDB_VERSION_VALKEY) return NULL;
    return type < RDB_TYPES ? openers[type] : NULL;
}

bool decoder_knows(struct bytes payload) {
    if (payload.len < PAYLOAD_LEN_MIN) return false;
    return decoder_opener((unsigned char)payload.ptr[0], payload_version(payload)) != NULL;
}

static bool decoder_step_open(struct decoder *d, struct err *err) {
    if (!rdb_read_byte(&d->in, &d->type, err)) return false;
    decode_step_fn *open = decoder_opener(d->type, d->version);
    if (open != NULL) return open(d, err);
    return rdb_bad(
        &d->in, err, "values of type byte %u (%s), RDB version %u, cannot be decoded", d->type,
        value_type_name(payload_type(bytes_of(d->in.base, d->in.end + PAYLOAD_FOOTER_LEN))),
        d->version);
}

struct decoder *decoder_new(struct bytes payload, const struct value_sink *sink, void *ctx) {
    struct decoder *d = mem_zalloc(sizeof(*d));
    size_t footer = payload.len < PAYLOAD_FOOTER_LEN ? payload.len : (size_t)PAYLOAD_FOOTER_LEN;
    d->in = rdb_cursor_of(bytes_of(payload.ptr, payload.len - footer));
    d->version = payload_version(payload);
    d->sink = sink;
    d->ctx = ctx;
    d->step = decoder_step_open;
    return d;
}

/* Servers have no empty values, except streams. */
static bool decoder_check_end(struct decoder *d, struct err *err) {
    if (rdb_left(&d->in) > 0)
        return rdb_bad(&d->in, err, "%zu bytes follow the value", rdb_left(&d->in));
    return d->elements > 0 || d->stream != NULL ||
           rdb_bad(&d->in, err, "the value has no elements");
}

enum decode_status decoder_run(struct decoder *d, size_t max_bytes, struct err *err) {
    if (d->failed) {
        rdb_bad(&d->in, err, "decoding has failed before");
        return DECODE_FAILED;
    }
    uint64_t start = d->handed_bytes, steps = 0;
    while (d->step != NULL) {
        d->failed = !d->step(d, err) || (d->step == NULL && !decoder_check_end(d, err));
        if (d->failed) return DECODE_FAILED;
        if (d->step != NULL && d->handed_bytes - start + ++steps * STEP_BYTES >= max_bytes)
            return DECODE_MORE;
    }
    return DECODE_DONE;
}

void decoder_free(struct decoder **decoder) {
    struct decoder *d = *decoder;
    *decoder = NULL;
    if (d == NULL) return;
    decode_stream_close(d);
    for (int i = 0; i < SCRATCHES; i++) rdb_scratch_fini(&d->scratch[i]);
    free(d);
}

bool decode_value(struct bytes payload, const struct value_sink *sink, void *ctx, struct err *err) {
    struct decoder *d = decoder_new(payload, sink, ctx);
    enum decode_status status = decoder_run(d, SIZE_MAX, err);
    decoder_free(&d);
    return status == DECODE_DONE;
}
