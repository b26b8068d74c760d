/* Numbers and units as people write and read them. */
#ifndef LONGHAUL_BASE_UNITS_H
#define LONGHAUL_BASE_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* "12KB", "64MiB", "1.5gb", "4096": bytes; K, M, G, T are powers of 1024 with or without "i" and
 * "B" (as RIOT and the servers' own configuration count them), case is ignored. */
bool units_parse_bytes(const char *text, const char *place, uint64_t *bytes, struct err *err);

/* "250ms", "3s", "5m", "2h", "1d", "PT5S" is refused; a number without unit counts as seconds.
 * Fractions allowed. */
bool units_parse_duration(const char *text, const char *place, int64_t *duration_ms,
                          struct err *err);

/* A whole number from min to max. */
bool units_parse_number(const char *text, const char *place, int64_t min, int64_t max,
                        int64_t *number, struct err *err);

/* "1,234,567"; "1.2 MiB"; "1h 02m 03s" or "4.21 s"; each cut to size, returns buf. */
const char *units_format_number(uint64_t number, char *buf, size_t size);
const char *units_format_bytes(uint64_t bytes, char *buf, size_t size);
const char *units_format_duration(int64_t duration_ms, char *buf, size_t size);

/* Wall clock in microseconds as "2026-11-23T01:31:28.059Z"; returns buf. */
const char *units_format_time(int64_t wall_us, char *buf, size_t size);

#endif
