/* See extra.h. An open-addressing table of hashes; 0 marks a free place. */
#include "live/extra.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

enum { EXTRA_TABLE_MIN = 64, EXTRA_HASH_BYTES = 8 };

struct extra {
    uint64_t *table;
    size_t size; /* a power of two */
    size_t n;
    uint64_t count; /* of keys, also those that are not in the table */
    bool unknown;
};

static uint64_t extra_hash(int db, struct bytes key) {
    uint64_t hash = XXH3_64bits_withSeed(key.ptr, key.len, (uint64_t)(uint32_t)db);
    return hash != 0 ? hash : 1;
}

struct extra *extra_new(void) {
    return mem_zalloc(sizeof(struct extra));
}

void extra_free(struct extra **extra) {
    if (*extra == NULL) return;
    free((*extra)->table);
    free(*extra);
    *extra = NULL;
}

static size_t extra_find(const uint64_t *table, size_t size, uint64_t hash) {
    size_t at = hash & (size - 1);
    while (table[at] != 0 && table[at] != hash) at = (at + 1) & (size - 1);
    return at;
}

static void extra_grow(struct extra *x) {
    size_t size = x->size > 0 ? x->size * 2 : EXTRA_TABLE_MIN;
    uint64_t *table = mem_zalloc(size * sizeof(*table));
    for (size_t i = 0; i < x->size; i++)
        if (x->table[i] != 0) table[extra_find(table, size, x->table[i])] = x->table[i];
    free(x->table);
    x->table = table;
    x->size = size;
}

static void extra_add_hash(struct extra *x, uint64_t hash) {
    if (x->n * 4 >= x->size * 3) extra_grow(x);
    size_t at = extra_find(x->table, x->size, hash);
    if (x->table[at] == hash) return;
    x->table[at] = hash;
    x->n++;
    x->count++;
}

void extra_forget(struct extra *x, uint64_t count) {
    extra_clear(x);
    x->unknown = true;
    x->count = count;
}

void extra_add(struct extra *x, int db, struct bytes key) {
    if (x->unknown) {
        x->count++;
    } else if (x->n >= EXTRA_KEYS_MAX) {
        extra_forget(x, x->count + 1);
    } else {
        extra_add_hash(x, extra_hash(db, key));
    }
}

bool extra_has(const struct extra *x, int db, struct bytes key) {
    if (x->unknown) return true;
    if (x->size == 0) return false;
    return x->table[extra_find(x->table, x->size, extra_hash(db, key))] != 0;
}

uint64_t extra_count(const struct extra *x) {
    return x->count;
}

void extra_clear(struct extra *x) {
    free(x->table);
    *x = (struct extra){ 0 };
}

bool extra_is_known(const struct extra *x) {
    return !x->unknown;
}

size_t extra_to_bytes(const struct extra *x, char **data) {
    size_t len = 0;
    *data = mem_alloc(x->n * EXTRA_HASH_BYTES + 1);
    for (size_t i = 0; i < x->size; i++) {
        for (int b = 0; b < EXTRA_HASH_BYTES && x->table[i] != 0; b++)
            (*data)[len++] = (char)(x->table[i] >> (8 * b) & 0xff);
    }
    return len;
}

bool extra_from_bytes(struct extra *x, struct bytes data) {
    extra_clear(x);
    if (data.len % EXTRA_HASH_BYTES != 0 || data.len / EXTRA_HASH_BYTES > EXTRA_KEYS_MAX)
        return false;
    for (size_t at = 0; at < data.len; at += EXTRA_HASH_BYTES) {
        uint64_t hash = 0;
        for (int b = 0; b < EXTRA_HASH_BYTES; b++)
            hash |= (uint64_t)(unsigned char)data.ptr[at + (size_t)b] << (8 * b);
        if (hash != 0) extra_add_hash(x, hash);
    }
    return true;
}
