/* One pass of SCAN over one database of one server process: names keys, never reads values.
 *
 *   start ─▶ (connect, run_id) ─▶ page ─▶ page ─▶ ... ─▶ SCAN_COMPLETE
 *                ▲                  │                    SCAN_NODE_CHANGED  another run_id: the
 *                └──────────────────┘                                       cursor is worthless
 *          connection lost: goes on if same run_id       SCAN_FAILED        refused, for good
 *
 * SCAN_COMPLETE guarantees that every key that existed from the first page to the last has been
 * named, some more than once (redis.io, SCAN). A scan has a connection of its own, so that names do
 * not wait behind values.
 */
#ifndef LONGHAUL_CAPTURE_SCAN_H
#define LONGHAUL_CAPTURE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"

struct scan;

enum { SCAN_CURSOR_MAX = 32 };

enum scan_end { SCAN_COMPLETE, SCAN_NODE_CHANGED, SCAN_FAILED };

struct scan_settings {
    struct client_settings client; /* to the node */
    int db;
    int64_t count;     /* COUNT hint */
    const char *match; /* MATCH pattern; NULL: none. Borrowed. */
    const char *type;  /* TYPE; NULL: none. Borrowed. Redis 6.0 and newer. */
    int64_t sleep_ms;  /* pause after each page */
    /* to go on with a scan of this process; NULL or empty: from the beginning */
    const char *cursor, *run_id;
};

struct scan_events {
    /* A page's keys; the views are good during the call. n may be 0. */
    void (*on_keys)(void *ctx, const struct bytes *keys, size_t n);
    /* Asked before each page; false pauses the scan until scan_resume(). NULL: never pause. */
    bool (*may_continue)(void *ctx);
    /* Once, the last call. err is set for SCAN_FAILED and SCAN_NODE_CHANGED. The scan is freed by
     * its owner, also from within this call. */
    void (*on_end)(void *ctx, enum scan_end end, const struct err *err);
};

struct scan *scan_start(struct loop *loop, const struct scan_settings *settings,
                        const struct scan_events *events, void *ctx);
/* Ends it without on_end. Leaves NULL. */
void scan_free(struct scan **scan);
/* After may_continue() said no. */
void scan_resume(struct scan *scan);

/* Of the next page, "0" when there is none; and the process that it belongs to. Good until the next
 * page. */
const char *scan_cursor(const struct scan *scan);
const char *scan_run_id(const struct scan *scan);

/* Since when the node does not answer, monotonic ms; 0 when it does. And why. */
int64_t scan_down_since_ms(const struct scan *scan);
const struct err *scan_last_error(const struct scan *scan);
const char *scan_place(const struct scan *scan);
uint64_t scan_reconnects(const struct scan *scan);

#endif
