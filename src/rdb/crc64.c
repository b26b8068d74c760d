/* See crc64.h. Eight tables let a step take eight bytes: table[k][b] is the CRC of byte b followed
 * by k zeroes. */
#include "rdb/crc64.h"

#include <pthread.h>

#ifdef LONGHAUL_HAVE_ISAL
#include <isa-l/crc64.h>
#endif

enum { STEP = 8, BYTE_VALUES = 256 };

static const uint64_t polynomial_reflected = UINT64_C(0x95ac9329ac4bc9b5);
static uint64_t table[STEP][BYTE_VALUES];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
    for (unsigned byte = 0; byte < BYTE_VALUES; byte++) {
        uint64_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ polynomial_reflected : crc >> 1;
        table[0][byte] = crc;
    }
    for (int k = 1; k < STEP; k++) {
        for (unsigned byte = 0; byte < BYTE_VALUES; byte++) {
            uint64_t before = table[k - 1][byte];
            table[k][byte] = table[0][before & 0xff] ^ before >> 8;
        }
    }
}

static uint64_t read_u64le(const unsigned char *p) {
    uint64_t value = 0;
    for (int i = STEP - 1; i >= 0; i--) value = value << 8 | p[i];
    return value;
}

uint64_t crc64_by_table(uint64_t crc, const void *ptr, size_t len) {
    pthread_once(&table_once, fill_table);
    const unsigned char *p = ptr;
    for (; len >= STEP; p += STEP, len -= STEP) {
        crc ^= read_u64le(p);
        uint64_t next = 0;
        for (int k = 0; k < STEP; k++) next ^= table[STEP - 1 - k][crc >> 8 * k & 0xff];
        crc = next;
    }
    for (; len > 0; p++, len--) crc = table[0][(crc ^ *p) & 0xff] ^ crc >> 8;
    return crc;
}

uint64_t crc64(uint64_t crc, const void *ptr, size_t len) {
#ifdef LONGHAUL_HAVE_ISAL
    /* ISA-L inverts before and after, Redis does not. */
    return ~crc64_jones_refl(~crc, ptr, len);
#else
    return crc64_by_table(crc, ptr, len);
#endif
}
