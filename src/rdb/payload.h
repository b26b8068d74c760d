/* The envelope of a dumped value: what DUMP returns and RESTORE takes.
 *
 *   type byte | body | RDB version, 2 bytes little endian | CRC64 of all before it, 8 bytes little endian
 *                    └─────────── the footer ────────────────────────────────────────────────────────────┘
 *
 * RESTORE compares the CRC always (a zero there is not "none", as it is in files) and refuses
 * versions above its own; Valkey since 8.1 refuses 12 to 79 too. Neither says more about the body
 * than the type byte does, so that a payload whose type byte a server knows is accepted once its
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
#include "base/err.h"

enum { PAYLOAD_FOOTER_LEN = 10, PAYLOAD_LEN_MIN = 1 + PAYLOAD_FOOTER_LEN, MODULE_NAME_LEN = 9 };

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

/* Is it long enough, and is its CRC right? */
bool payload_check(struct bytes payload, struct err *err);

/* Writes the footer that the payload has under another version into footer, which may be the
 * payload's own place for it. A large payload thus needs no copy: all but its last
 * PAYLOAD_FOOTER_LEN bytes are sent as they are, then the footer. False for a payload that is too
 * short or a version above 65535. */
bool payload_restamp(struct bytes payload, unsigned version, char footer[PAYLOAD_FOOTER_LEN],
                     struct err *err);

/* Who understands a module's value (vector sets are one): "vectorset", "ReJSON-RL", ... */
struct payload_module {
    uint64_t id;
    char name[MODULE_NAME_LEN + 1];
    unsigned version; /* of the module's encoding */
};

/* False when the payload is no module value, or broken. */
bool payload_module(struct bytes payload, struct payload_module *out);

#endif
