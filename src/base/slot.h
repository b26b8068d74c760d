/* Hash slots of a cluster. Source: the cluster specification ("Key distribution model" and "Hash
 * tags"); CRC16 is CCITT/XMODEM: polynomial 0x1021, start 0. */
#ifndef LONGHAUL_BASE_SLOT_H
#define LONGHAUL_BASE_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum { SLOT_COUNT = 16384 };

uint16_t crc16(const void *data, size_t len);

/* The slot of a key: of the part between the first '{' and the next '}' where that part is not
 * empty.
 */
uint16_t slot_of_key(struct bytes key);

/* A short decimal text whose slot this is, for a name like "x:{<tag>}" that has to lie there. The
 * same on every machine, so that such names can be enumerated. Any thread. */
enum { SLOT_TAG_MAX = 16 };
const char *slot_tag(uint16_t slot, char tag[SLOT_TAG_MAX]);

/* A set of slots. */
struct slot_set {
    uint64_t bits[SLOT_COUNT / 64];
};

static inline bool slot_set_has(const struct slot_set *set, uint16_t slot) {
    return (set->bits[slot >> 6] >> (slot & 63)) & 1;
}
static inline void slot_set_add(struct slot_set *set, uint16_t slot) {
    set->bits[slot >> 6] |= UINT64_C(1) << (slot & 63);
}
static inline void slot_set_remove(struct slot_set *set, uint16_t slot) {
    set->bits[slot >> 6] &= ~(UINT64_C(1) << (slot & 63));
}
static inline void slot_set_unite(struct slot_set *set, const struct slot_set *other) {
    for (size_t i = 0; i < SLOT_COUNT / 64; i++) set->bits[i] |= other->bits[i];
}
static inline void slot_set_subtract(struct slot_set *set, const struct slot_set *other) {
    for (size_t i = 0; i < SLOT_COUNT / 64; i++) set->bits[i] &= ~other->bits[i];
}
static inline struct slot_set slot_set_common(const struct slot_set *a, const struct slot_set *b) {
    struct slot_set both;
    for (size_t i = 0; i < SLOT_COUNT / 64; i++) both.bits[i] = a->bits[i] & b->bits[i];
    return both;
}
void slot_set_add_range(struct slot_set *set, uint16_t first, uint16_t last);
unsigned slot_set_count(const struct slot_set *set);

/* "0-99,200", as slot_set_parse() takes it; "" for none. The caller frees the text. */
char *slot_set_format(const struct slot_set *set);

/* Adds "7", "0-8000" or "0-99,200-299" to the set; place names the option in the error. */
bool slot_set_parse(struct slot_set *set, const char *text, const char *place, struct err *err);

#endif
