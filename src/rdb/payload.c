/* See payload.h. */
#include "rdb/payload.h"

#include <inttypes.h>

#include "rdb/crc64.h"
#include "rdb/rdb_cursor.h"

enum {
    TYPE_MODULE_2 = 7,
    VERSION_MAX = 65535,
    FOOTER_CRC = 2, /* offset in the footer */
    MODULE_VERSION_BITS = 10,
    MODULE_LETTER_BITS = 6,
};

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

static const char *footer_of(struct bytes payload) {
    return payload.ptr + payload.len - PAYLOAD_FOOTER_LEN;
}

static bool check_len(struct bytes payload, struct err *err) {
    if (payload.len >= PAYLOAD_LEN_MIN) return true;
    return err_set(err, ERR_BAD_PAYLOAD, "payload",
                   "%zu bytes are too few; a dumped value has at least %d", payload.len,
                   PAYLOAD_LEN_MIN);
}

bool payload_check(struct bytes payload, struct err *err) {
    if (!check_len(payload, err)) return false;
    const char *footer = footer_of(payload);
    uint64_t said = rdb_le((const unsigned char *)footer + FOOTER_CRC, sizeof(said));
    uint64_t is = crc64(0, payload.ptr, payload.len - PAYLOAD_FOOTER_LEN + FOOTER_CRC);
    if (said == is) return true;
    return err_set(err, ERR_BAD_PAYLOAD, "payload",
                   "the CRC is %016" PRIx64 " and should be %016" PRIx64
                   "; the value was damaged on its way",
                   said, is);
}

bool payload_restamp(struct bytes payload, unsigned version, char footer[PAYLOAD_FOOTER_LEN],
                     struct err *err) {
    if (!check_len(payload, err)) return false;
    if (version > VERSION_MAX)
        return err_set(err, ERR_INTERNAL, "payload", "%u is no RDB version", version);
    const char stamp[FOOTER_CRC] = { (char)(version & 0xff), (char)(version >> 8) };
    uint64_t crc = crc64(0, payload.ptr, payload.len - PAYLOAD_FOOTER_LEN);
    crc = crc64(crc, stamp, sizeof(stamp));
    for (int i = 0; i < FOOTER_CRC; i++) footer[i] = stamp[i];
    for (int i = FOOTER_CRC; i < PAYLOAD_FOOTER_LEN; i++, crc >>= 8) footer[i] = (char)(crc & 0xff);
    return true;
}

/* The id is nine letters of six bits each, and the version of the encoding. */
bool payload_module(struct bytes payload, struct payload_module *out) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (payload.len < PAYLOAD_LEN_MIN || payload.ptr[0] != TYPE_MODULE_2) return false;
    struct rdb_cursor c = rdb_cursor_of(bytes_of(payload.ptr, payload.len - PAYLOAD_FOOTER_LEN));
    c.pos = 1;
    if (!rdb_read_len(&c, &out->id, NULL)) return false;
    out->version = (unsigned)(out->id & ((1u << MODULE_VERSION_BITS) - 1));
    uint64_t name = out->id >> MODULE_VERSION_BITS;
    for (int i = MODULE_NAME_LEN - 1; i >= 0; i--, name >>= MODULE_LETTER_BITS)
        out->name[i] = letters[name & 63];
    out->name[MODULE_NAME_LEN] = '\0';
    return true;
}
