/* Decoding of dumped values: every encoding of strings, lists, sets, sorted sets, hashes and
 * streams that Redis 2.8 to 8.0 and Valkey 7.2 to 9.1 write. Module values are not decoded:
 * they can only be copied as they are.
 *
 *   payload ─▶ decoder ─▶ element, element, ... ─▶ sink
 *                 └ a node packed with LZF is unpacked into a buffer of its size, one at a time
 *
 * Decoding goes step by step, so the caller can stop when its own buffers are full, and continue
 * later. Besides the payload it needs memory for the largest packed node and, for streams, eight
 * bytes per pending entry of one group. Malformed payloads are refused with offset and reason. Time
 * is linear in the unpacked size, except for the binary search of pending entries.
 */
#ifndef LONGHAUL_RDB_DECODE_H
#define LONGHAUL_RDB_DECODE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rdb/sink.h"

struct decoder;

enum decode_status { DECODE_DONE, DECODE_MORE, DECODE_FAILED };

/* True if values of this type byte and version can be decoded. */
bool decoder_knows(struct bytes payload);

/* The payload (with its footer, whose CRC is not checked) and the sink are
 * borrowed until the end. Never NULL: the first decoder_run() reports a malformed payload. */
struct decoder *decoder_new(struct bytes payload, const struct value_sink *sink, void *ctx);

/* Hands on elements until they have about max_bytes together (at least one step is made). After
 * DECODE_FAILED, with err set here or by the sink, nothing more comes. */
enum decode_status decoder_run(struct decoder *decoder, size_t max_bytes, struct err *err);

/* Leaves NULL. Not from a callback. */
void decoder_free(struct decoder **decoder);

/* All at once. */
bool decode_value(struct bytes payload, const struct value_sink *sink, void *ctx, struct err *err);

#endif
