/* See block.h. */
#include "base/block.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"

static atomic_size_t total_bytes;

struct block *block_new(size_t cap) {
    struct block *block = mem_alloc(sizeof(*block) + cap);
    block->refs = 1;
    block->cap = cap;
    atomic_fetch_add_explicit(&total_bytes, cap, memory_order_relaxed);
    return block;
}

struct block *block_ref(struct block *block) {
    block->refs++;
    return block;
}

void block_unref(struct block **block) {
    struct block *b = *block;
    *block = NULL;
    if (b == NULL) return;
    assert(b->refs > 0);
    if (--b->refs > 0) return;
    atomic_fetch_sub_explicit(&total_bytes, b->cap, memory_order_relaxed);
    free(b);
}

size_t block_total_bytes(void) {
    return atomic_load_explicit(&total_bytes, memory_order_relaxed);
}
