/* Orders of an operator to a job: written by `longhaul resume` and others, followed once.
 *
 *   longhaul:{JOB}:order   a list of orders as JSON, the oldest first; gone after ORDER_LIFE_S
 *
 * An order has an id of its own. The job records the id as followed (job_record.order_followed)
 * before it follows the order, and only then takes that order, and no other, from the list: so no
 * order is followed twice, and none is lost that was given meanwhile.
 */
#ifndef LONGHAUL_STORE_ORDERS_H
#define LONGHAUL_STORE_ORDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "server/deployment.h"
#include "store/lease.h"
#include "store/record.h"

enum { ORDER_LIFE_S = 24 * 3600, ORDER_POLL_MS = 1000 };

enum order_kind {
    ORDER_RELEASE, /* held deletions may be made: order.hold says which */
};

struct order {
    char id[RECORD_ID_MAX];
    enum order_kind kind;
    char hold[RECORD_ID_MAX];
    int64_t given_us;
};

/* With a new id, given now. */
void order_make_release(struct order *order, const char *hold);
/* As JSON; the caller frees it. */
char *order_to_text(const struct order *order);
bool order_from_text(struct order *order, struct bytes text, struct err *err);

/* Puts the order behind those that wait. A call: see server/call.h. */
bool orders_give(struct deployment *target, int db, const char *job, const struct order *order,
                 struct err *err);

/* Reads the orders of a job that runs, on the loop of its lease, while it may write. */
struct order_reader;
typedef void order_fn(void *ctx, const struct order *order);
/* followed: the record's order_followed; such an order is removed and not given again. on_order is
 * called with one order at a time, and with the next one after order_reader_done(). */
struct order_reader *order_reader_new(struct lease *lease, const char *followed, order_fn *on_order,
                                      void *ctx);
/* The order is recorded as followed on the target: it is removed. */
void order_reader_done(struct order_reader *reader, const char *id);
/* Leaves NULL; NULL is ignored. Before the lease is freed. */
void order_reader_free(struct order_reader **reader);

#endif
