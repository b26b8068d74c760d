/* A real server as the target, a loop, and leases of the job "orders" on it, with the record and
 * the orders that go with a lease. All holders of a test hang on one loop. */
#ifndef LONGHAUL_TESTS_LEASE_RIG_H
#define LONGHAUL_TESTS_LEASE_RIG_H

#include "net/loop.h"
#include "server/deployment.h"
#include "store/lease.h"
#include "store/orders.h"
#include "store/record_writer.h"
#include "support/redis_process.h"

enum { LEASE_MS = 1500, LONG_LEASE_MS = 12000, PATIENCE_MS = 30000 };

extern struct redis_process server;
extern struct loop *loop;
extern struct deployment *target;
/* Of the lease that was started last. */
extern struct record_writer *writer;
extern struct order_reader *orders;

/* The events that a lease and its orders told. */
struct told {
    int waits, orders, losses;
    char holder[160];
    struct order order; /* the last one */
};

/* For cmocka: an empty server, and the target opened. */
int rig_setup(void **state);
int rig_teardown(void **state);
/* The loop and the target, once `server` runs. */
void rig_open(void);
struct deployment *rig_open_target(struct loop *on);

void rig_run_for(int64_t ms);

/* Acquires the lease, which must succeed; its epoch. */
uint64_t rig_acquire(struct lease *k, const char *predecessor, struct told *told);
/* Starts the lease with a writer of the record and a reader of orders. */
void rig_start(struct lease *k, struct told *told);
/* A lease that is acquired and started. */
struct lease *rig_hold(const char *owner, int64_t lease_ms, struct told *told);
void rig_release(struct lease **k);
/* Callbacks that count in struct told. */
void rig_on_wait(void *ctx, const char *holder);
void rig_on_order(void *ctx, const struct order *order);
/* The processes that run now may be given the record. */
void rig_allow_all(void);

/* Gives the writer a record. */
void rig_put(const char *phase, int64_t watermark_us);
void rig_put_followed(const char *phase, int64_t watermark_us, const char *order);
/* The record as it is read back; the watermark is -1 where there is none. */
struct job_record *rig_read_record(bool *found);
int64_t rig_read_watermark(void);

#endif
