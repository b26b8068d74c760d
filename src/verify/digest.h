/* 128-bit digests of values, so that two sides are compared without holding values in memory.
 *
 * XXH3 with a seed that is drawn once per process, so that nobody can prepare two values that look
 * equal. Digests mean something within one process only.
 */
#ifndef LONGHAUL_VERIFY_DIGEST_H
#define LONGHAUL_VERIFY_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct digest {
    uint64_t low, high;
};

struct digest digest_of(struct bytes bytes);
/* Even over all 64 bits, and the same in every process: for choosing keys. */
uint64_t digest_place(struct bytes key, uint64_t seed);

/* Of the words before, followed by this one; words are told apart: "ab","c" is not "a","bc". Start
 * from {0}. */
struct digest digest_chain(struct digest before, struct bytes word);
struct digest digest_chain_number(struct digest before, int64_t number);

/* Adds one element to a sum that does not depend on the order of its elements, but on how often
 * each occurs. */
void digest_add(struct digest *sum, struct digest element);

static inline bool digest_equal(struct digest a, struct digest b) {
    return a.low == b.low && a.high == b.high;
}

/* Digests to be recognised again: up to DIGEST_SET_MAX, later ones are not kept. NULL is the empty
 * set. */
enum { DIGEST_SET_MAX = 1024 * 1024 };
struct digest_set;
void digest_set_add(struct digest_set **set, struct digest digest);
bool digest_set_has(const struct digest_set *set, struct digest digest);
void digest_set_free(struct digest_set **set);

/* Of a whole string. The count that a HyperLogLog caches is left out where it is right or out of
 * date: PFCOUNT changes it, and no client can tell. */
struct digest digest_of_string(struct bytes value);

/* A sorted set's score, which versions print in different ways ("0.1", "0.10000000000000001"): the
 * number itself. */
struct digest digest_chain_score(struct digest before, struct bytes score);

#endif
