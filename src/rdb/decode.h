/* Decoding of dumped values: every encoding of strings, lists, sets, sorted sets, hashes and
 * streams that Redis 2.8 to 8.0 and Valkey 7.2 to 9.1 write. Module values are not decoded: they
 * only travel as they are.
 *
 *   payload ─▶ decoder ─▶ element, element, ... ─▶ sink
 *                 └ a node packed with LZF is unpacked into a buffer of its size, one at a time
 *
 * It goes step by step, so that the caller can stop where its own buffers are full and go on later.
 * Beyond the payload itself it needs the largest packed node and, for streams, eight bytes per
 * pending entry of one group. Malformed payloads are refused with offset and reason; time is linear
 * in the size of what is unpacked, but for the logarithm of looking up pending entries.
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

/* Can values of this type byte and version be decoded? */
bool decoder_knows(struct bytes payload);

/* The payload (with its footer, whose CRC is not looked at: payload_check()) and the sink are
 * borrowed until the end. Never NULL: what is wrong with the payload comes out of the first
 * decoder_run(). */
struct decoder *decoder_new(struct bytes payload, const struct value_sink *sink, void *ctx);

/* Hands on elements until they have about max_bytes together (at least one step is made). After
 * DECODE_FAILED, with err set here or by the sink, nothing more comes. */
enum decode_status decoder_run(struct decoder *decoder, size_t max_bytes, struct err *err);

/* Leaves NULL. Not from a callback. */
void decoder_free(struct decoder **decoder);

/* All at once. */
bool decode_value(struct bytes payload, const struct value_sink *sink, void *ctx, struct err *err);

#endif
