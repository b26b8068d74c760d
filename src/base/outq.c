/* See outq.h. */
#include "base/outq.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

enum { SEGMENT_CAP = 64 * 1024 - 64 };

struct outq_segment {
    struct outq_segment *next;
    struct block *block;
    size_t start, end; /* the bytes of the block to write */
    bool own;          /* the block is the queue's: more may be appended */
};

void outq_init(struct outq *q) {
    *q = (struct outq){ 0 };
}

static void outq_drop_head(struct outq *q) {
    struct outq_segment *s = q->head;
    q->head = s->next;
    if (q->head == NULL) q->tail = NULL;
    block_unref(&s->block);
    free(s);
}

void outq_fini(struct outq *q) {
    while (q->head != NULL) outq_drop_head(q);
    q->bytes = 0;
}

static struct outq_segment *outq_append(struct outq *q, struct block *block, bool own) {
    struct outq_segment *s = mem_zalloc(sizeof(*s));
    s->block = block;
    s->own = own;
    if (q->tail != NULL) {
        q->tail->next = s;
    } else {
        q->head = s;
    }
    q->tail = s;
    return s;
}

char *outq_reserve(struct outq *q, size_t len) {
    struct outq_segment *s = q->tail;
    if (s == NULL || !s->own || s->block->cap - s->end < len)
        s = outq_append(q, block_new(len > SEGMENT_CAP ? len : SEGMENT_CAP), true);
    return s->block->data + s->end;
}

void outq_commit(struct outq *q, size_t len) {
    assert(q->tail != NULL && q->tail->own && q->tail->block->cap - q->tail->end >= len);
    q->tail->end += len;
    q->bytes += len;
}

void outq_write(struct outq *q, const void *ptr, size_t len) {
    if (len == 0) return;
    memcpy(outq_reserve(q, len), ptr, len);
    outq_commit(q, len);
}

void outq_write_ref(struct outq *q, struct block *block, struct bytes view) {
    if (view.len < OUTQ_REF_MIN) {
        outq_write(q, view.ptr, view.len);
        return;
    }
    assert(view.ptr >= block->data && view.ptr + view.len <= block->data + block->cap);
    struct outq_segment *s = outq_append(q, block_ref(block), false);
    s->start = (size_t)(view.ptr - block->data);
    s->end = s->start + view.len;
    q->bytes += view.len;
}

int outq_peek(const struct outq *q, struct iovec *iov, int max) {
    int n = 0;
    for (struct outq_segment *s = q->head; s != NULL && n < max; s = s->next) {
        if (s->end == s->start) continue;
        iov[n++] =
            (struct iovec){ .iov_base = s->block->data + s->start, .iov_len = s->end - s->start };
    }
    return n;
}

void outq_consume(struct outq *q, size_t len) {
    assert(len <= q->bytes);
    q->bytes -= len;
    while (q->head != NULL) {
        struct outq_segment *s = q->head;
        size_t part = s->end - s->start;
        if (part > len) {
            s->start += len;
            return;
        }
        len -= part;
        /* The last own block is kept and filled anew, so that a busy connection does not allocate.
         */
        if (s->own && s->next == NULL && s->block->refs == 1 && s->block->cap <= SEGMENT_CAP) {
            s->start = s->end = 0;
            return;
        }
        outq_drop_head(q);
    }
}
