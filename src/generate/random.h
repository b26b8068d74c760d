/* Random numbers that are the same on every machine: a seed gives one sequence for ever.
 *
 * The generator is xoshiro256** by Blackman and Vigna, its state filled by splitmix64 (both
 * published as algorithms, in the public domain). Not for secrets. */
#ifndef LONGHAUL_GENERATE_RANDOM_H
#define LONGHAUL_GENERATE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gen_random {
    uint64_t s[4];
};

/* One sequence per (seed, a, b); neighbours have nothing in common. */
void gen_random_seed(struct gen_random *r, uint64_t seed, uint64_t a, uint64_t b);
uint64_t gen_random_next(struct gen_random *r);
/* From 0 to n - 1; n > 0. */
uint64_t gen_random_below(struct gen_random *r, uint64_t n);
/* From first to last, both included. */
int64_t gen_random_range(struct gen_random *r, int64_t first, int64_t last);
bool gen_random_chance(struct gen_random *r, int64_t percent);

/* The content of values. */
enum gen_content { GEN_TEXT, GEN_WORDS, GEN_JSON, GEN_BINARY, GEN_CONTENTS };

/* Fills out with len bytes. Words and JSON compress well, text and binary do not. */
void gen_random_fill(struct gen_random *r, enum gen_content content, char *out, size_t len);

#endif
