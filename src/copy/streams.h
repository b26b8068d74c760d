/* The streams that a live lane knows, and what the groups of each looked like when they were last
 * seen. No server announces that a group was used (XACK, XCLAIM, XREADGROUP of what is pending),
 * and tracking does not tell of XSETID, so they are looked at every now and then, and a stream is
 * copied when its fingerprint differs. Bounded in memory. A lane's own.
 */
#ifndef LONGHAUL_COPY_STREAMS_H
#define LONGHAUL_COPY_STREAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/keyset.h"
#include "resp/reader.h"

struct streams;

/* What stands in the place of a fingerprint. */
enum { STREAM_UNSEEN = 0 };

struct streams *streams_new(uint64_t bytes_max);
/* Leaves NULL. */
void streams_free(struct streams **streams);

/* The key is a stream. Its groups are unseen when it was not known. False when there is no room to
 * remember it; that is logged, once. */
bool streams_add(struct streams *streams, int db, struct bytes key, uint16_t slot);
/* The key is no stream, or gone. */
void streams_remove(struct streams *streams, int db, struct bytes key);
/* Remembers the fingerprint. True when the stream is to be copied: it differs from the one before,
 * or there was none. */
bool streams_changed(struct streams *streams, int db, struct bytes key, uint16_t slot,
                     uint64_t fingerprint);

/* All of them, by `next`. */
struct key_entry *streams_first(struct streams *streams);

/* Of the reply to XINFO STREAM key FULL: of all that it tells of groups, except the lag, which
 * every XADD changes too, and of what XSETID sets. STREAM_UNSEEN when it is no such reply. */
uint64_t streams_fingerprint(const struct resp_item *head, struct resp_cursor elements);

#endif
