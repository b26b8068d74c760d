/* The streams that a live lane knows, each with a fingerprint of its groups when they were polled
 * last. No server announces that a group was used (XACK, XCLAIM, XREADGROUP of pending entries),
 * and tracking does not announce XSETID. So the groups are polled, and a stream is copied when its
 * fingerprint differs. Bounded in memory. Each lane has its own.
 */
#ifndef LONGHAUL_COPY_STREAMS_H
#define LONGHAUL_COPY_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/keyset.h"
#include "resp/reader.h"

struct streams;

/* Instead of a fingerprint: never polled. */
enum { STREAM_UNSEEN = 0 };

struct streams *streams_new(uint64_t bytes_max);
/* Leaves NULL. */
void streams_free(struct streams **streams);

/* Adds the key, which is a stream, as STREAM_UNSEEN if it is new. False when memory is used up;
 * that is logged once. */
bool streams_add(struct streams *streams, int db, struct bytes key, uint16_t slot);
/* The key is no stream, or missing. */
void streams_remove(struct streams *streams, int db, struct bytes key);
/* Stores the fingerprint. True when the stream must be copied: its fingerprint differs from the
 * last one, or there was none. */
bool streams_changed(struct streams *streams, int db, struct bytes key, uint16_t slot,
                     uint64_t fingerprint);

/* The first of all streams, linked by `next`. */
struct key_entry *streams_first(struct streams *streams);

/* The fingerprint of a reply to XINFO STREAM key FULL: of everything about groups, except the lag,
 * which every XADD changes, and of the counters that XSETID sets. STREAM_UNSEEN when it is no such
 * reply. */
uint64_t streams_fingerprint(const struct resp_item *head, struct resp_cursor elements);

#endif
