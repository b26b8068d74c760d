/* The CRC64 at the end of dumped values of Redis and Valkey: Jones' polynomial 0xad93d23594c935a9,
 * reflected, starting with 0, not inverted. Computed by ISA-L (carry-less multiplication) if it was
 * present at build time, otherwise by tables.
 */
#ifndef LONGHAUL_RDB_CRC64_H
#define LONGHAUL_RDB_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Continues crc (0 to begin with) over len bytes. Any thread. */
uint64_t crc64(uint64_t crc, const void *ptr, size_t len);

/* The same without ISA-L. */
uint64_t crc64_by_table(uint64_t crc, const void *ptr, size_t len);

#endif
