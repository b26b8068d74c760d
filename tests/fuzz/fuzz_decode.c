/* Any bytes as a dumped value: refused with a place and a reason, or decoded to the same elements
 * in one run and step by step; nothing is read beyond the payload or the nodes unpacked from it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rdb/decode.h"
#include "rdb/payload.h"
#include "rdb/portable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The pieces that were handed on, in order. */
struct seen {
    uint64_t elements, sum;
};

static void mix(struct seen *seen, uint64_t number) {
    seen->sum = (seen->sum ^ number) * UINT64_C(0x100000001b3);
}

static void mix_bytes(struct seen *seen, struct bytes b) {
    mix(seen, b.len);
    for (size_t i = 0; i < b.len; i++) mix(seen, (unsigned char)b.ptr[i]);
}

static bool on_bytes(void *ctx, struct bytes b, struct err *err) {
    ((struct seen *)ctx)->elements++;
    mix_bytes(ctx, b);
    return true;
}

static bool on_zset_member(void *ctx, struct bytes member, double score, struct err *err) {
    uint64_t bits;
    memcpy(&bits, &score, sizeof(bits));
    mix(ctx, bits);
    return on_bytes(ctx, member, err);
}

static bool on_hash_field(void *ctx, struct bytes field, struct bytes value, int64_t expiry_ms,
                          struct err *err) {
    if (expiry_ms < FIELD_NEVER_EXPIRES) abort();
    mix(ctx, (uint64_t)expiry_ms);
    mix_bytes(ctx, value);
    return on_bytes(ctx, field, err);
}

static bool on_stream_entry(void *ctx, struct stream_id id, size_t n, const struct bytes *fields,
                            struct err *err) {
    ((struct seen *)ctx)->elements++;
    if (n == 0) abort();
    mix(ctx, id.ms);
    mix(ctx, id.seq);
    for (size_t i = 0; i < 2 * n; i++) mix_bytes(ctx, fields[i]);
    return true;
}

static bool on_stream_info(void *ctx, const struct stream_info *info, struct err *err) {
    mix(ctx, info->length ^ info->last.ms ^ info->last.seq);
    return true;
}

static bool on_group(void *ctx, struct bytes group, struct stream_id last, int64_t entries_read,
                     struct err *err) {
    mix(ctx, last.ms ^ last.seq ^ (uint64_t)entries_read);
    return on_bytes(ctx, group, err);
}

static bool on_consumer(void *ctx, struct bytes group, struct bytes consumer, int64_t seen_ms,
                        int64_t active_ms, struct err *err) {
    mix(ctx, (uint64_t)seen_ms ^ (uint64_t)active_ms);
    mix_bytes(ctx, group);
    return on_bytes(ctx, consumer, err);
}

static bool on_pending(void *ctx, struct bytes group, struct bytes consumer, struct stream_id id,
                       int64_t delivered_ms, uint64_t deliveries, struct err *err) {
    mix(ctx, id.ms ^ id.seq ^ (uint64_t)delivered_ms ^ deliveries);
    mix_bytes(ctx, group);
    return on_bytes(ctx, consumer, err);
}

static const struct value_sink sink = {
    .on_string = on_bytes,
    .on_list_item = on_bytes,
    .on_set_member = on_bytes,
    .on_zset_member = on_zset_member,
    .on_hash_field = on_hash_field,
    .on_stream_entry = on_stream_entry,
    .on_stream_info = on_stream_info,
    .on_group = on_group,
    .on_consumer = on_consumer,
    .on_pending = on_pending,
};
static const struct value_sink nobody = { 0 };

static bool decode(struct bytes payload, size_t chunk, const struct value_sink *to,
                   struct seen *seen, struct err *err) {
    struct decoder *decoder = decoder_new(payload, to, seen);
    enum decode_status status;
    while ((status = decoder_run(decoder, chunk, err)) == DECODE_MORE) {
    }
    decoder_free(&decoder);
    return status == DECODE_DONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* exactly that size, so that the sanitizer sees a step too far */
    char *tight = mem_alloc(size);
    if (size > 0) memcpy(tight, data, size);
    struct bytes payload = bytes_of(tight, size);
    struct seen whole = { 0 }, steps = { 0 };
    struct err err = { 0 }, again = { 0 };
    bool ok = decode(payload, SIZE_MAX, &sink, &whole, &err);
    if (!ok && (err.code != ERR_BAD_PAYLOAD || strncmp(err.text, "at offset ", 10) != 0)) abort();
    if (decode(payload, 1, &sink, &steps, &again) != ok || strcmp(err.text, again.text) != 0)
        abort();
    if (whole.elements != steps.elements || whole.sum != steps.sum) abort();
    if (ok && (!decoder_knows(payload) || payload_type(payload) == VALUE_UNKNOWN)) abort();
    decode(payload, SIZE_MAX, &nobody, NULL, &again);
    payload_is_portable(payload);
    free(tight);
    return 0;
}
