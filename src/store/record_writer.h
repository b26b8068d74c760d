/* Writes a job's record to every primary of the target, about every RECORD_WRITE_MS, while the
 * lease allows it. On the control loop; never waits, but for record_writer_end().
 *
 *   longhaul:{TAG}:state   on every primary: a hash, one field per job, the record as JSON. TAG
 *                          makes it fall into the lowest slot that the primary owns.
 */
#ifndef LONGHAUL_STORE_RECORD_WRITER_H
#define LONGHAUL_STORE_RECORD_WRITER_H

#include <stdint.h>

#include "server/deployment.h"
#include "store/lease.h"
#include "store/record.h"

struct record_writer;

enum { RECORD_WRITE_MS = 1000 };

/* After the lease was acquired. lease is borrowed for the writer's life. */
struct record_writer *record_writer_new(struct deployment *target, int db, const char *job,
                                        struct lease *lease);
/* From now on on_gone is called, from the loop, each time a server that was given the record lacks
 * it: it lost data. slot: of the record. */
void record_writer_watch_gone(struct record_writer *writer,
                              void (*on_gone)(void *ctx, uint16_t slot), void *ctx);
/* The record to write from now on (copied). NULL: nothing is written until there is another one. */
void record_writer_put(struct record_writer *writer, const struct job_record *record);
/* The target's topology may have changed. Not from within a callback. */
void record_writer_update_topology(struct record_writer *writer);
/* This server process may be given the record from now on, and no other one at the address: the
 * record that a server holds says how far it is, so a process that the job has not recognised must
 * not be given a newer one. */
void record_writer_allow(struct record_writer *writer, const struct address *node,
                         const char *run_id);
/* Every primary of the target has acknowledged a record that names this order as followed, and
 * none was lost since. */
bool record_writer_has_written_order(const struct record_writer *writer, const char *order_id);
/* Writes the last record (NULL: none), before the lease is given back; at most timeout_ms. */
void record_writer_end(struct record_writer *writer, const struct job_record *last,
                       int64_t timeout_ms);
/* Leaves NULL; NULL is ignored. */
void record_writer_free(struct record_writer **writer);

#endif
