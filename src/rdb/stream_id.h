/* IDs of stream entries: "1526919030474-55", two unsigned numbers of 64 bits. */
#ifndef LONGHAUL_RDB_STREAM_ID_H
#define LONGHAUL_RDB_STREAM_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { STREAM_ID_TEXT_MAX = 48 };

struct stream_id {
    uint64_t ms, seq;
};

/* The greatest ID. A stream that holds it takes no further entry. */
#define STREAM_ID_LAST ((struct stream_id){ UINT64_MAX, UINT64_MAX })

static inline int stream_id_compare(struct stream_id a, struct stream_id b) {
    if (a.ms != b.ms) return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

static inline bool stream_id_is_zero(struct stream_id id) {
    return id.ms == 0 && id.seq == 0;
}

/* False when the text is no ID of two numbers. */
bool stream_id_parse(struct bytes text, struct stream_id *id);
/* The text lies in buf. */
struct bytes stream_id_text(struct stream_id id, char buf[STREAM_ID_TEXT_MAX]);
/* Makes *id the next ID. False, and *id unchanged, when it is STREAM_ID_LAST. */
bool stream_id_advance(struct stream_id *id);

#endif
