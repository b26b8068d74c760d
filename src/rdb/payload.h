/* The envelope of a dumped value: what DUMP returns and RESTORE takes.
 *
 *   type byte | body | RDB version, 2 bytes little endian | CRC64 of all before it, 8 bytes little endian
 *
 * Source: redis 7.0.15 src/cluster.c createDumpPayload(), src/rdb.h; the type bytes of newer versions and of Valkey
 * as the project's compatibility tests meet them.
 */
#ifndef LONGHAUL_RDB_PAYLOAD_H
#define LONGHAUL_RDB_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { PAYLOAD_FOOTER_LEN = 10, PAYLOAD_LEN_MIN = 1 + PAYLOAD_FOOTER_LEN };

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

#endif
