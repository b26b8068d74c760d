/* The envelope of a dumped value, as DUMP returns it and RESTORE takes it.
 *
 *   type byte | body | RDB version | CRC64 of all before it
 *                    └─ the footer: 2 + 8 bytes, little endian ─┘
 *
 * RESTORE always compares the CRC (0 does not mean "none" there, as it does in files) and refuses
 * versions above its own; Valkey since 8.1 also refuses 12 to 79. The version says no more about
 * the body than the type byte does. So a server that knows the type byte accepts the payload if its
 * footer names a version of that server: payload_restamp().
 *
 * Source: redis 7.0.15 src/cluster.c createDumpPayload(), src/rdb.h; the type bytes of newer
 * versions and of Valkey as the project's compatibility tests meet them.
 */
#ifndef LONGHAUL_RDB_PAYLOAD_H
#define LONGHAUL_RDB_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    PAYLOAD_FOOTER_LEN = 10,
    PAYLOAD_LEN_MIN = 1 + PAYLOAD_FOOTER_LEN,
    PAYLOAD_VERSION_MAX = 65535,
};

/* Types as people know them. */
enum value_type {
    VALUE_STRING,
    VALUE_LIST,
    VALUE_SET,
    VALUE_ZSET,
    VALUE_HASH,
    VALUE_STREAM,
    VALUE_MODULE,
    VALUE_UNKNOWN,
    VALUE_TYPES
};

/* "string", "list", "set", "zset", "hash", "stream", "module", "unknown". */
const char *value_type_name(enum value_type type);

/* From the first byte of a payload; VALUE_UNKNOWN for one that is too short or not known. */
enum value_type payload_type(struct bytes payload);

/* The RDB version in the footer; 0 for a payload that is too short. */
unsigned payload_version(struct bytes payload);

/* Writes the payload's footer for another version into footer, which may be the payload's own
 * footer. So a large payload needs no copy: all but its last PAYLOAD_FOOTER_LEN bytes are sent as
 * they are, then the new footer. The payload has PAYLOAD_LEN_MIN bytes at least. */
void payload_restamp(struct bytes payload, unsigned version, char footer[PAYLOAD_FOOTER_LEN]);

#endif
