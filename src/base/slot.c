/* Hash slots. CRC16 is linear over XOR, so its table of 256 entries is made by the compiler from the eight entries
 * of the single bits: nothing to fill at start, nothing to copy wrongly.
 */
#include "base/slot.h"

#include <pthread.h>
#include <string.h>

#define BIT(i, n, crc) (((i) & (1 << (n))) != 0 ? (crc) : 0)
#define ENTRY(i)                                                                                                       \
    (BIT(i, 0, 0x1021) ^ BIT(i, 1, 0x2042) ^ BIT(i, 2, 0x4084) ^ BIT(i, 3, 0x8108) ^ BIT(i, 4, 0x1231) ^               \
     BIT(i, 5, 0x2462) ^ BIT(i, 6, 0x48c4) ^ BIT(i, 7, 0x9188))
#define ENTRIES4(i) ENTRY(i), ENTRY(i + 1), ENTRY(i + 2), ENTRY(i + 3)
#define ENTRIES16(i) ENTRIES4(i), ENTRIES4(i + 4), ENTRIES4(i + 8), ENTRIES4(i + 12)
#define ENTRIES64(i) ENTRIES16(i), ENTRIES16(i + 16), ENTRIES16(i + 32), ENTRIES16(i + 48)

static const uint16_t table[256] = { ENTRIES64(0), ENTRIES64(64), ENTRIES64(128), ENTRIES64(192) };

uint16_t crc16(const void *data, size_t len) {
    const unsigned char *p = data;
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) crc = ((crc << 8) & 0xffff) ^ table[(crc >> 8) ^ p[i]];
    return (uint16_t)crc;
}

uint16_t slot_of_key(struct bytes key) {
    struct bytes hashed = key;
    const char *open = key.len > 0 ? memchr(key.ptr, '{', key.len) : NULL;
    if (open != NULL) {
        const char *tag = open + 1;
        const char *close = memchr(tag, '}', key.len - (size_t)(tag - key.ptr));
        if (close != NULL && close != tag) hashed = bytes_of(tag, (size_t)(close - tag));
    }
    return crc16(hashed.ptr, hashed.len) & (SLOT_COUNT - 1);
}

/* The smallest number of each slot; found once, by trying some 160,000 in turn. Every job does so when it starts, so ten
 * numbers share the CRC of the digits that they begin with. */
static uint32_t tags[SLOT_COUNT];

static unsigned crc_digit(unsigned crc, uint32_t digit) {
    return ((crc << 8) & 0xffff) ^ table[(crc >> 8) ^ ('0' + digit)];
}

static unsigned crc_number(uint32_t number) {
    return number == 0 ? 0 : crc_digit(crc_number(number / 10), number % 10);
}

static void find_tags(void) {
    bool found[SLOT_COUNT] = { false };
    for (uint32_t number = 0, missing = SLOT_COUNT; missing > 0;) {
        unsigned first = crc_number(number / 10);
        for (uint32_t digit = 0; digit < 10 && missing > 0; digit++, number++) {
            uint16_t slot = crc_digit(first, digit) & (SLOT_COUNT - 1);
            if (found[slot]) continue;
            found[slot] = true;
            tags[slot] = number;
            missing--;
        }
    }
}

const char *slot_tag(uint16_t slot, char tag[SLOT_TAG_MAX]) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_tags);
    char digits[SLOT_TAG_MAX], *start = digits + sizeof(digits) - 1;
    uint32_t number = tags[slot];
    *start = '\0';
    do *--start = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(tag, start, (size_t)(digits + sizeof(digits) - start));
    return tag;
}

void slot_set_add_range(struct slot_set *set, uint16_t first, uint16_t last) {
    for (unsigned slot = first; slot <= last; slot++) slot_set_add(set, (uint16_t)slot);
}

unsigned slot_set_count(const struct slot_set *set) {
    unsigned count = 0;
    for (unsigned i = 0; i < SLOT_COUNT / 64; i++) count += (unsigned)__builtin_popcountll(set->bits[i]);
    return count;
}

/* A slot number without sign. */
static bool parse_slot(struct bytes text, uint16_t *slot) {
    int64_t number;
    if (text.len == 0 || text.ptr[0] < '0' || text.ptr[0] > '9') return false;
    if (!bytes_to_i64(text, &number) || number >= SLOT_COUNT) return false;
    *slot = (uint16_t)number;
    return true;
}

static bool parse_range(struct bytes range, uint16_t *first, uint16_t *last) {
    bool has_dash = range.len > 0 && memchr(range.ptr, '-', range.len) != NULL;
    struct bytes low = bytes_split(&range, '-');
    if (!parse_slot(low, first)) return false;
    *last = *first;
    return !has_dash || (parse_slot(range, last) && *first <= *last);
}

bool slot_set_parse(struct slot_set *set, const char *text, const char *place, struct err *err) {
    struct slot_set made = *set;
    struct bytes rest = bytes_of_str(text);
    bool more = true;
    while (more) {
        /* A comma at the end announces one more range, so it is not the same as no comma. */
        more = rest.len > 0 && memchr(rest.ptr, ',', rest.len) != NULL;
        struct bytes range = bytes_split(&rest, ',');
        uint16_t first, last;
        if (!parse_range(range, &first, &last)) {
            return err_set(err, ERR_USAGE, place, "'%.*s' is not a slot or a range of slots from 0 to %d, like 0-8000",
                           range.len < 64 ? (int)range.len : 64, range.ptr, SLOT_COUNT - 1);
        }
        slot_set_add_range(&made, first, last);
    }
    *set = made;
    return true;
}
