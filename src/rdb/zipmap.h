/* Zipmaps: small hashes as Redis before 2.6 wrote them.
 *
 *   count u8 | ( length | field | length | free u8 | value | free bytes )* | 0xff
 *
 * A length is one byte, or 254 and four bytes. A count of 254 means "unknown".
 *
 * Source: redis 7.0.15 src/zipmap.c, its head comment.
 */
#ifndef LONGHAUL_RDB_ZIPMAP_H
#define LONGHAUL_RDB_ZIPMAP_H

#include "rdb/rdb_cursor.h"

/* Places *in before the first field and behind the last. */
bool zipmap_open(struct rdb_cursor *in, struct bytes blob, size_t offset, struct err *err);
bool zipmap_next(struct rdb_cursor *in, struct bytes *field, struct bytes *value, struct err *err);

#endif
