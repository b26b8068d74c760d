/* A counted block of bytes: a connection reads into a block, and a queued write may point into one.
 *
 * A value read from the source stays in the block in which it was received; each user of the value
 * holds a reference to the block, and the connection starts a new block instead of moving bytes
 * under the holder's feet. Counting is not atomic: a block belongs to one event-loop thread.
 */
#ifndef LONGHAUL_BASE_BLOCK_H
#define LONGHAUL_BASE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

struct block {
    uint32_t refs;
    size_t cap;
    char data[];
};

/* A block of cap bytes with one reference. */
struct block *block_new(size_t cap);
struct block *block_ref(struct block *block);
/* Drops a reference and leaves NULL; the last one frees the block. */
void block_unref(struct block **block);

/* Bytes held by all living blocks of the process; for tests and the memory report. */
size_t block_total_bytes(void);

#endif
