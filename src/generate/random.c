/* See generate_random.h. */
#include "generate/random.h"

#include <stdio.h>
#include <string.h>

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void gen_random_seed(struct gen_random *r, uint64_t seed, uint64_t a, uint64_t b) {
    uint64_t state = seed;
    state = splitmix64(&state) ^ a;
    state = splitmix64(&state) ^ b;
    for (int i = 0; i < 4; i++) r->s[i] = splitmix64(&state);
}

static uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

uint64_t gen_random_next(struct gen_random *r) {
    uint64_t *s = r->s, result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t gen_random_below(struct gen_random *r, uint64_t n) {
    return (uint64_t)(((unsigned __int128)gen_random_next(r) * n) >> 64);
}

int64_t gen_random_range(struct gen_random *r, int64_t first, int64_t last) {
    uint64_t span = (uint64_t)last - (uint64_t)first;
    if (span == 0) return first;
    return (int64_t)((uint64_t)first +
                     (span == UINT64_MAX ? gen_random_next(r) : gen_random_below(r, span + 1)));
}

bool gen_random_chance(struct gen_random *r, int64_t percent) {
    return (int64_t)gen_random_below(r, 100) < percent;
}

/* Ten characters of six bits each per number. */
static void fill_text(struct gen_random *r, char *out, size_t len) {
    static const char letters[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    for (size_t i = 0; i < len;) {
        uint64_t bits = gen_random_next(r);
        for (int k = 0; k < 10 && i < len; k++, bits >>= 6) out[i++] = letters[bits & 63];
    }
}

static void fill_words(struct gen_random *r, char *out, size_t len) {
    static const char *const words[] = { "region", "order", "item", "basket", "user",   "session",
                                         "price",  "stock", "city", "street", "parcel", "invoice",
                                         "north",  "south", "east", "west" };
    for (size_t i = 0; i < len;) {
        const char *word = words[gen_random_below(r, 16)];
        while (*word != '\0' && i < len) out[i++] = *word++;
        if (i < len) out[i++] = ' ';
    }
}

/* One object of numbered members, cut at len. */
static void fill_json(struct gen_random *r, char *out, size_t len) {
    for (size_t i = 0, n = 0; i < len; n++) {
        char member[64];
        int size = snprintf(member, sizeof(member), "%c\"m%zu\":%u", n == 0 ? '{' : ',', n,
                            (unsigned)gen_random_below(r, 100000));
        size_t part = (size_t)size < len - i ? (size_t)size : len - i;
        memcpy(out + i, member, part);
        i += part;
    }
    if (len > 1) out[len - 1] = '}';
}

static void fill_binary(struct gen_random *r, char *out, size_t len) {
    for (size_t i = 0; i < len; i += 8) {
        uint64_t bits = gen_random_next(r);
        memcpy(out + i, &bits, len - i < 8 ? len - i : 8);
    }
}

void gen_random_fill(struct gen_random *r, enum gen_content content, char *out, size_t len) {
    switch (content) {
    case GEN_TEXT:
        fill_text(r, out, len);
        return;
    case GEN_WORDS:
        fill_words(r, out, len);
        return;
    case GEN_JSON:
        fill_json(r, out, len);
        return;
    case GEN_BINARY:
    case GEN_CONTENTS:
        fill_binary(r, out, len);
        return;
    }
}
