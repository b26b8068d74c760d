/* See hyperloglog.h. Functions of the server are named where one of these repeats it. */
#include "verify/hyperloglog.h"

#include <math.h>
#include <string.h>

enum {
    ENCODING_AT = 4,
    ENCODING_DENSE = 0,
    ENCODING_SPARSE = 1,
    REGISTERS = 16384,
    REGISTER_BITS = 6,
    REGISTER_VALUES = 64,
    DENSE_BYTES = HYPERLOGLOG_CACHE_END + REGISTERS * REGISTER_BITS / 8,
    HASH_BITS_LEFT = 50, /* HLL_Q: of a hash of 64 bits, 14 choose the register */
};

/* The highest bit of the cached count: the count is out of date. */
#define CACHE_IS_STALE (UINT64_C(1) << 63)

/* How many registers hold each value. */
struct histogram {
    int of[REGISTER_VALUES];
};

/* hllDenseRegHisto() */
static void histogram_of_dense(const unsigned char *bytes, struct histogram *h) {
    for (unsigned i = 0; i < REGISTERS; i++) {
        unsigned bit = i * REGISTER_BITS, at = bit / 8, shift = bit % 8;
        unsigned word = bytes[at];
        if (shift > 8 - REGISTER_BITS) word |= (unsigned)bytes[at + 1] << 8;
        h->of[word >> shift & (REGISTER_VALUES - 1)]++;
    }
}

/* hllSparseRegHisto(): false when the runs do not make up all registers. */
static bool histogram_of_sparse(const unsigned char *p, const unsigned char *end,
                                struct histogram *h) {
    int n = 0;
    while (p < end && n <= REGISTERS) {
        int length, value = 0;
        if ((*p & 0xc0) == 0) { /* ZERO: 00xxxxxx */
            length = (*p & 0x3f) + 1;
        } else if ((*p & 0xc0) == 0x40) { /* XZERO: 01xxxxxx yyyyyyyy */
            if (end - p < 2) return false;
            length = (((*p & 0x3f) << 8) | p[1]) + 1;
            p++;
        } else { /* VAL: 1vvvvvxx */
            length = (*p & 0x3) + 1;
            value = ((*p >> 2) & 0x1f) + 1;
        }
        p++;
        n += length;
        h->of[value] += length;
    }
    return p == end && n == REGISTERS;
}

static bool histogram_of(struct bytes value, struct histogram *h) {
    const unsigned char *bytes = (const unsigned char *)value.ptr;
    *h = (struct histogram){ { 0 } };
    if (bytes[ENCODING_AT] == ENCODING_SPARSE)
        return histogram_of_sparse(bytes + HYPERLOGLOG_CACHE_END, bytes + value.len, h);
    histogram_of_dense(bytes + HYPERLOGLOG_CACHE_END, h);
    return true;
}

/* isHLLObjectOrReply(), and for sparse ones the demands of hllCount(). */
bool hyperloglog_is_valid(struct bytes value) {
    struct histogram ignored;
    if (value.len < HYPERLOGLOG_CACHE_END || memcmp(value.ptr, "HYLL", 4) != 0) return false;
    switch (value.ptr[ENCODING_AT]) {
    case ENCODING_DENSE:
        return value.len == DENSE_BYTES;
    case ENCODING_SPARSE:
        return histogram_of(value, &ignored);
    default:
        return false;
    }
}

/* hllSigma() */
static double sigma(double x) {
    double before, y = 1, z = x;
    if (x == 1.) return INFINITY;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (before != z);
    return z;
}

/* hllTau() */
static double tau(double x) {
    double before, y = 1, z = 1 - x;
    if (x == 0. || x == 1.) return 0;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= pow(1 - x, 2) * y;
    } while (before != z);
    return z / 3;
}

/* hllCount() */
static uint64_t count_of(const struct histogram *h) {
    const double alpha_inf = 0.721347520444481703680, m = REGISTERS;
    double z = m * tau((m - h->of[HASH_BITS_LEFT + 1]) / m);
    for (int j = HASH_BITS_LEFT; j >= 1; j--) {
        z += h->of[j];
        z *= 0.5;
    }
    z += m * sigma(h->of[0] / m);
    return (uint64_t)llroundl(alpha_inf * m * m / z);
}

bool hyperloglog_cache_is_right(struct bytes value) {
    const unsigned char *bytes = (const unsigned char *)value.ptr;
    struct histogram h;
    uint64_t cached = 0;
    for (int i = HYPERLOGLOG_CACHE_END - 1; i >= HYPERLOGLOG_CACHE_AT; i--)
        cached = cached << 8 | bytes[i];
    if ((cached & CACHE_IS_STALE) != 0) return true;
    return histogram_of(value, &h) && count_of(&h) == cached;
}
