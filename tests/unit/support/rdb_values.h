/* Dumped values of real servers for tests, and decoded values as JSON that can be compared.
 *
 *   string  "..."     list  [...]     set   {member: true}
 *   zset    {member: "score"}         hash  {field: [value, expiry]}
 *   stream  {entries, length, last, groups: {name: {last, read, consumers: CONSUMERS}}},
 *           and added, deleted where the payload has counters
 *   CONSUMERS  {name: {id: [delivered, deliveries]}}
 *
 * Bytes are the characters of the same number, as tests/servers/make-corpus writes them.
 */
#ifndef LONGHAUL_TESTS_RDB_VALUES_H
#define LONGHAUL_TESTS_RDB_VALUES_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/err.h"
#include "rdb/sink.h"

/* Sets the directory that holds fuzz/corpus and unit/data. */
void rdb_values_at(const char *tests_directory);

typedef void rdb_value_fn(void *ctx, const char *server, const char *name, struct bytes payload,
                          json_t *expected);
/* Calls it for each value of the corpus. */
void rdb_values_each(rdb_value_fn *call, void *ctx);

/* The payload decoded, as {type: value}; NULL with err set. chunk: bytes per decoder_run(). */
json_t *rdb_value_json(struct bytes payload, size_t chunk, struct err *err);

/* A sink that makes the same of its input; ctx is a json_t object. */
const struct value_sink *rdb_json_sink(void);

#endif
