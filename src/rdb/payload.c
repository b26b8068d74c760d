/* See payload.h. */
#include "rdb/payload.h"

#include <assert.h>

#include "rdb/crc64.h"

enum { FOOTER_CRC = 2 }; /* offset in the footer */

const char *value_type_name(enum value_type type) {
    static const char *const names[VALUE_TYPES] = { "string", "list",   "set",    "zset",
                                                    "hash",   "stream", "module", "unknown" };
    return (unsigned)type < VALUE_TYPES ? names[type] : "unknown";
}

enum value_type payload_type(struct bytes payload) {
    if (payload.len < PAYLOAD_LEN_MIN) return VALUE_UNKNOWN;
    switch ((unsigned char)payload.ptr[0]) {
    case 0:
        return VALUE_STRING;
    case 1:  /* linked list */
    case 10: /* ziplist */
    case 14: /* quicklist, 3.2 */
    case 18: /* quicklist of listpacks, 7.0 */
        return VALUE_LIST;
    case 2:  /* hash table */
    case 11: /* intset */
    case 20: /* listpack, 7.2 */
        return VALUE_SET;
    case 3:  /* scores as text */
    case 5:  /* scores as doubles, 4.0 */
    case 12: /* ziplist */
    case 17: /* listpack, 7.0 */
        return VALUE_ZSET;
    case 4:  /* hash table */
    case 9:  /* zipmap */
    case 13: /* ziplist */
    case 16: /* listpack, 7.0 */
    case 22: /* with field expiry, Valkey 9.0 */
    case 24: /* with field expiry, Redis 7.4 */
    case 25: /* the same as listpack */
        return VALUE_HASH;
    case 15: /* 5.0 */
    case 19: /* 7.0 */
    case 21: /* 7.2 */
    case 26: /* 8.6 */
    case 27: /* 8.8 */
        return VALUE_STREAM;
    case 6:
    case 7:
        return VALUE_MODULE;
    default:
        return VALUE_UNKNOWN;
    }
}

unsigned payload_version(struct bytes payload) {
    if (payload.len < PAYLOAD_LEN_MIN) return 0;
    const unsigned char *footer =
        (const unsigned char *)payload.ptr + payload.len - PAYLOAD_FOOTER_LEN;
    return footer[0] | (unsigned)footer[1] << 8;
}

void payload_restamp(struct bytes payload, unsigned version, char footer[PAYLOAD_FOOTER_LEN]) {
    assert(payload.len >= PAYLOAD_LEN_MIN && version <= PAYLOAD_VERSION_MAX);
    const char stamp[FOOTER_CRC] = { (char)(version & 0xff), (char)(version >> 8) };
    uint64_t crc = crc64(0, payload.ptr, payload.len - PAYLOAD_FOOTER_LEN);
    crc = crc64(crc, stamp, sizeof(stamp));
    for (int i = 0; i < FOOTER_CRC; i++) footer[i] = stamp[i];
    for (int i = FOOTER_CRC; i < PAYLOAD_FOOTER_LEN; i++, crc >>= 8) footer[i] = (char)(crc & 0xff);
}
