/* See digest.h. A chain hashes the digest so far together with the digest of the next word, so that its state stays
 * 128 bits wide and words need no separator. */
#include "verify/digest.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/clock.h"

enum { HLL_CACHE_AT = 8, HLL_CACHE_END = 16, SCORE_TEXT_MAX = 64 };

static uint64_t seed(void) {
    static uint64_t drawn;
    if (drawn == 0 && getrandom(&drawn, sizeof(drawn), 0) != (ssize_t)sizeof(drawn)) drawn = (uint64_t)clock_wall_us();
    return drawn |= 1; /* zero means "not drawn yet" */
}

static struct digest of_raw(const void *data, size_t len) {
    XXH128_hash_t hash = XXH3_128bits_withSeed(data, len, seed());
    return (struct digest){ hash.low64, hash.high64 };
}

struct digest digest_of(struct bytes bytes) {
    return of_raw(bytes.ptr, bytes.len);
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
    if (value.len < HLL_CACHE_END || memcmp(value.ptr, "HYLL", 4) != 0) return digest_of(value);
    struct digest digest = digest_of(bytes_of(value.ptr, HLL_CACHE_AT));
    return digest_chain(digest, bytes_of(value.ptr + HLL_CACHE_END, value.len - HLL_CACHE_END));
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
