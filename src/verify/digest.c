/* See digest.h. A chain hashes the digest so far together with the digest of the next word, so that
 * its state stays 128 bits wide and words need no separator. */
#include "verify/digest.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "verify/hyperloglog.h"

enum { SCORE_TEXT_MAX = 64 };

static uint64_t seed(void) {
    static uint64_t drawn;
    if (drawn == 0 && getrandom(&drawn, sizeof(drawn), 0) != (ssize_t)sizeof(drawn))
        drawn = (uint64_t)clock_wall_us();
    return drawn |= 1; /* zero means "not drawn yet" */
}

static struct digest of_raw(const void *data, size_t len) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, len, seed());
    return (struct digest){ hash.low64, hash.high64 };
}

struct digest digest_of(struct bytes bytes) {
    return of_raw(bytes.ptr, bytes.len);
}

uint64_t digest_place(struct bytes key, uint64_t seed) {
    return XXH3_64bits_withSeed(key.ptr, key.len, seed);
}

struct digest digest_chain(struct digest before, struct bytes word) {
    const struct digest pair[2] = { before, digest_of(word) };
    return of_raw(pair, sizeof(pair));
}

struct digest digest_chain_number(struct digest before, int64_t number) {
    return digest_chain(before, bytes_of(&number, sizeof(number)));
}

void digest_add(struct digest *sum, struct digest element) {
    sum->low += element.low;
    sum->high += element.high + (sum->low < element.low);
}

struct digest digest_of_string(struct bytes value) {
    if (!hyperloglog_is_valid(value) || !hyperloglog_cache_is_right(value)) return digest_of(value);
    struct digest header = digest_of(bytes_of(value.ptr, HYPERLOGLOG_CACHE_AT));
    return digest_chain(
        header, bytes_of(value.ptr + HYPERLOGLOG_CACHE_END, value.len - HYPERLOGLOG_CACHE_END));
}

struct digest digest_chain_score(struct digest before, struct bytes score) {
    char text[SCORE_TEXT_MAX], *end;
    if (score.len >= sizeof(text)) return digest_chain(before, score);
    memcpy(text, score.ptr, score.len);
    text[score.len] = '\0';
    double number = strtod(text, &end);
    if (end == text || *end != '\0') return digest_chain(before, score);
    return digest_chain(before, bytes_of(&number, sizeof(number)));
}

/* ---- sets: open addressing on the low word; at most half full ---- */

struct digest_set {
    size_t n, cap;
    uint64_t *places; /* 0: free */
};

static size_t digest_set_place(const struct digest_set *set, uint64_t word) {
    size_t at = word & (set->cap - 1);
    while (set->places[at] != 0 && set->places[at] != word) at = (at + 1) & (set->cap - 1);
    return at;
}

static void set_grow(struct digest_set *set) {
    struct digest_set grown = { .cap = set->cap == 0 ? 64 : set->cap * 2 };
    grown.places = mem_zalloc(grown.cap * sizeof(*grown.places));
    for (size_t i = 0; i < set->cap; i++) {
        if (set->places[i] == 0) continue;
        grown.places[digest_set_place(&grown, set->places[i])] = set->places[i];
        grown.n++;
    }
    free(set->places);
    *set = grown;
}

void digest_set_add(struct digest_set **set, struct digest digest) {
    if (*set == NULL) *set = mem_zalloc(sizeof(**set));
    struct digest_set *s = *set;
    if (s->n == DIGEST_SET_MAX) return;
    if (s->n * 2 >= s->cap) set_grow(s);
    uint64_t word = digest.low | 1;
    size_t at = digest_set_place(s, word);
    s->n += s->places[at] == 0;
    s->places[at] = word;
}

bool digest_set_has(const struct digest_set *set, struct digest digest) {
    if (set == NULL) return false;
    uint64_t word = digest.low | 1;
    return set->places[digest_set_place(set, word)] == word;
}

void digest_set_free(struct digest_set **set) {
    if (*set == NULL) return;
    free((*set)->places);
    free(*set);
    *set = NULL;
}
