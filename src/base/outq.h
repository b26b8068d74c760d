/* Bytes that wait to be written to a connection: small pieces are copied into shared blocks, large
 * ones are referred to.
 *
 *     segment        segment              segment
 *   [ own block ] -> [ reference into   ] -> [ own block, still being filled ]
 *     written ^       a received block        ^ outq_write() appends here
 *
 * The order of bytes is the order of the calls. Bounded by its users, which look at outq_bytes()
 * before they produce more.
 */
#ifndef LONGHAUL_BASE_OUTQ_H
#define LONGHAUL_BASE_OUTQ_H

#include <stddef.h>
#include <sys/uio.h>

#include "base/block.h"
#include "base/bytes.h"

/* From this size on outq_write_ref() refers instead of copying. */
enum { OUTQ_REF_MIN = 16 * 1024 };

struct outq_segment;

struct outq {
    struct outq_segment *head, *tail;
    size_t bytes;
};

void outq_init(struct outq *q);
void outq_fini(struct outq *q);

/* Copies len bytes to the end. */
void outq_write(struct outq *q, const void *ptr, size_t len);

/* Room for at least len bytes at the end, to be filled by the caller; outq_commit() says how many
 * were. */
char *outq_reserve(struct outq *q, size_t len);
void outq_commit(struct outq *q, size_t len);

/* Appends a view into block. Large ones are referred to (the block is kept until they are written),
 * others copied. */
void outq_write_ref(struct outq *q, struct block *block, struct bytes view);

/* Fills iov with up to max pieces from the front; returns how many. */
int outq_peek(const struct outq *q, struct iovec *iov, int max);

/* Drops len bytes from the front: they were written. */
void outq_consume(struct outq *q, size_t len);

static inline size_t outq_bytes(const struct outq *q) {
    return q->bytes;
}

#endif
