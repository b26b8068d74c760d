/* See intset.h. */
#include "rdb/intset.h"

#include <inttypes.h>

enum { HEADER_LEN = 8 };

bool intset_open(struct rdb_cursor *in, int *width, struct bytes blob, size_t offset,
                 struct err *err) {
    *in = rdb_cursor_of_node("intset", blob, offset);
    const unsigned char *header = rdb_take(in, HEADER_LEN, err);
    if (header == NULL) return false;
    uint64_t bytes = rdb_le(header, 4), count = rdb_le(header + 4, 4);
    if (bytes != 2 && bytes != 4 && bytes != 8)
        return rdb_bad(in, err, "integers of %" PRIu64 " bytes", bytes);
    *width = (int)bytes;
    if (count * bytes == rdb_left(in)) return true;
    return rdb_bad(in, err, "%" PRIu64 " integers are announced, %zu bytes are there", count,
                   rdb_left(in));
}
