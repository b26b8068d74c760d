/* Hash slots. CRC16 is linear over XOR, so each of its tables of 256 entries is made by the
 * compiler from the eight entries of the single bits: nothing to fill at start, nothing to copy
 * wrongly. Four bytes are taken in a step: a byte with n more behind it counts by table n.
 */
#include "base/slot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define BIT(i, n, crc) (((i) & (1 << (n))) != 0 ? (crc) : 0)
#define ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                                   \
    (BIT(i, 0, b0) ^ BIT(i, 1, b1) ^ BIT(i, 2, b2) ^ BIT(i, 3, b3) ^ BIT(i, 4, b4) ^               \
     BIT(i, 5, b5) ^ BIT(i, 6, b6) ^ BIT(i, 7, b7))
#define ENTRIES4(i, ...)                                                                           \
    ENTRY(i, __VA_ARGS__), ENTRY(i + 1, __VA_ARGS__), ENTRY(i + 2, __VA_ARGS__),                   \
        ENTRY(i + 3, __VA_ARGS__)
#define ENTRIES16(i, ...)                                                                          \
    ENTRIES4(i, __VA_ARGS__), ENTRIES4(i + 4, __VA_ARGS__), ENTRIES4(i + 8, __VA_ARGS__),          \
        ENTRIES4(i + 12, __VA_ARGS__)
#define ENTRIES64(i, ...)                                                                          \
    ENTRIES16(i, __VA_ARGS__), ENTRIES16(i + 16, __VA_ARGS__), ENTRIES16(i + 32, __VA_ARGS__),     \
        ENTRIES16(i + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
    {                                                                                              \
        ENTRIES64(0, __VA_ARGS__), ENTRIES64(64, __VA_ARGS__), ENTRIES64(128, __VA_ARGS__),        \
            ENTRIES64(192, __VA_ARGS__)                                                            \
    }

static const uint16_t tables[4][256] = {
    TABLE(0x1021, 0x2042, 0x4084, 0x8108, 0x1231, 0x2462, 0x48c4, 0x9188),
    TABLE(0x3331, 0x6662, 0xccc4, 0x89a9, 0x0373, 0x06e6, 0x0dcc, 0x1b98),
    TABLE(0x3730, 0x6e60, 0xdcc0, 0xa9a1, 0x4363, 0x86c6, 0x1dad, 0x3b5a),
    TABLE(0x76b4, 0xed68, 0xcaf1, 0x85c3, 0x1ba7, 0x374e, 0x6e9c, 0xdd38),
};

uint16_t crc16(const void *data, size_t len) {
    const unsigned char *p = data, *end = p + len;
    unsigned crc = 0;
    for (; end - p >= 4; p += 4)
        crc = tables[3][(crc >> 8) ^ p[0]] ^ tables[2][(crc & 0xff) ^ p[1]] ^ tables[1][p[2]] ^
              tables[0][p[3]];
    for (; p < end; p++) crc = ((crc << 8) & 0xffff) ^ tables[0][(crc >> 8) ^ *p];
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

/* The smallest number of each slot; found once, by trying some 160,000 in turn. Every job does so
 * when it starts, so ten numbers share the CRC of the digits that they begin with. */
static uint32_t tags[SLOT_COUNT];

static unsigned crc_digit(unsigned crc, uint32_t digit) {
    return ((crc << 8) & 0xffff) ^ tables[0][(crc >> 8) ^ ('0' + digit)];
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
    for (unsigned i = 0; i < SLOT_COUNT / 64; i++)
        count += (unsigned)__builtin_popcountll(set->bits[i]);
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
            return err_set(err, ERR_USAGE, place,
                           "'%.*s' is not a slot or a range of slots from 0 to %d, like 0-8000",
                           range.len < 64 ? (int)range.len : 64, range.ptr, SLOT_COUNT - 1);
        }
        slot_set_add_range(&made, first, last);
    }
    *set = made;
    return true;
}

char *slot_set_format(const struct slot_set *set) {
    char *text = mem_strdup("");
    for (int first = 0; first < SLOT_COUNT; first++) {
        if (!slot_set_has(set, (uint16_t)first)) continue;
        int last = first;
        while (last + 1 < SLOT_COUNT && slot_set_has(set, (uint16_t)(last + 1))) last++;
        const char *comma = text[0] != '\0' ? "," : "";
        char *longer = first == last ? mem_printf("%s%s%d", text, comma, first)
                                     : mem_printf("%s%s%d-%d", text, comma, first, last);
        free(text);
        text = longer;
        first = last;
    }
    return text;
}
