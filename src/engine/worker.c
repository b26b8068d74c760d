/* See worker.h. */
#include "engine/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"

struct worker {
    pthread_t thread;
    struct loop *loop;
    struct lane *lane;          /* NULL when the worker is being freed */
    _Atomic int64_t *beginning; /* to be lowered when the lane has begun */
    bool stopped;
};

/* Names packed one behind the other. */
struct packed_name {
    uint32_t len;
    uint16_t slot;
    uint8_t reason;
};

struct posted_mark {
    struct worker *worker;
    struct lane_mark *mark;
};

struct name_batch {
    struct worker *worker;
    _Atomic int64_t *in_transit;
    int db;
    size_t len, cap;
    char *data;
};

static void *worker_main(void *arg) {
    struct worker *w = arg;
    loop_run(w->loop);
    return NULL;
}

struct worker *worker_start(const struct copy_plan *plan, int index, struct err *err) {
    struct worker *w = mem_zalloc(sizeof(*w));
    w->loop = loop_new(err);
    if (w->loop == NULL) {
        free(w);
        return NULL;
    }
    w->lane = lane_new(w->loop, plan, index);
    int failed = pthread_create(&w->thread, NULL, worker_main, w);
    if (failed == 0) return w;
    err_set_errno(err, ERR_INTERNAL, "worker", failed, "cannot start a thread");
    lane_free(&w->lane);
    loop_run_once(w->loop, 0);
    loop_free(&w->loop);
    free(w);
    return NULL;
}

static void on_end(void *ctx) {
    loop_stop(ctx);
}

void worker_stop(struct worker *worker) {
    if (worker->stopped) return;
    worker->stopped = true;
    loop_post(worker->loop, on_end, worker->loop);
    pthread_join(worker->thread, NULL);
}

void worker_free(struct worker **worker) {
    struct worker *w = *worker;
    *worker = NULL;
    if (w == NULL) return;
    worker_stop(w);
    lane_free(&w->lane);
    loop_run_once(w->loop, 0); /* runs the work that closing deferred, and drops late posts */
    loop_free(&w->loop);
    free(w);
}

struct loop *worker_loop(struct worker *worker) {
    return worker->loop;
}

struct lane *worker_lane(struct worker *worker) {
    return worker->lane;
}

static void on_begin(void *ctx) {
    struct worker *w = ctx;
    if (w->lane != NULL) lane_begin(w->lane);
    atomic_fetch_sub_explicit(w->beginning, 1, memory_order_release);
}

void worker_begin(struct worker *worker, _Atomic int64_t *in_transit) {
    worker->beginning = in_transit;
    atomic_fetch_add_explicit(in_transit, 1, memory_order_relaxed);
    loop_post(worker->loop, on_begin, worker);
}

static void on_update(void *ctx) {
    struct worker *w = ctx;
    if (w->lane != NULL) lane_update(w->lane);
}

void worker_update(struct worker *worker) {
    loop_post(worker->loop, on_update, worker);
}

static void on_stop_lane(void *ctx) {
    struct worker *w = ctx;
    if (w->lane != NULL) lane_stop(w->lane);
}

void worker_stop_lane(struct worker *worker) {
    loop_post(worker->loop, on_stop_lane, worker);
}

static void on_posted_mark(void *ctx) {
    struct posted_mark *posted = ctx;
    if (posted->worker->lane != NULL) lane_put_mark(posted->worker->lane, posted->mark);
    free(posted);
}

void worker_put_mark(struct worker *worker, struct lane_mark *mark) {
    struct posted_mark *posted = mem_alloc(sizeof(*posted));
    *posted = (struct posted_mark){ worker, mark };
    loop_post(worker->loop, on_posted_mark, posted);
}

struct name_batch *name_batch_new(int db) {
    struct name_batch *batch = mem_zalloc(sizeof(*batch));
    batch->db = db;
    return batch;
}

void name_batch_add(struct name_batch *batch, struct bytes key, uint16_t slot,
                    enum key_reason reason) {
    struct packed_name head = { .len = (uint32_t)key.len, .slot = slot, .reason = (uint8_t)reason };
    size_t need = batch->len + sizeof(head) + key.len;
    if (need > batch->cap) {
        batch->cap = need + need / 2 + 4096;
        batch->data = mem_realloc(batch->data, batch->cap);
    }
    memcpy(batch->data + batch->len, &head, sizeof(head));
    memcpy(batch->data + batch->len + sizeof(head), key.ptr, key.len);
    batch->len = need;
}

bool name_batch_is_empty(const struct name_batch *batch) {
    return batch->len == 0;
}

void name_batch_free(struct name_batch **batch) {
    if (*batch == NULL) return;
    free((*batch)->data);
    free(*batch);
    *batch = NULL;
}

static void on_names(void *ctx) {
    struct name_batch *batch = ctx;
    for (size_t at = 0; at < batch->len;) {
        struct packed_name head;
        memcpy(&head, batch->data + at, sizeof(head));
        at += sizeof(head);
        if (batch->worker->lane == NULL) break; /* it came too late */
        lane_name(batch->worker->lane, batch->db, bytes_of(batch->data + at, head.len), head.slot,
                  (enum key_reason)head.reason);
        at += head.len;
    }
    atomic_fetch_sub_explicit(batch->in_transit, 1, memory_order_release);
    name_batch_free(&batch);
}

void worker_name(struct worker *worker, struct name_batch *batch, _Atomic int64_t *in_transit) {
    batch->worker = worker;
    batch->in_transit = in_transit;
    atomic_fetch_add_explicit(in_transit, 1, memory_order_relaxed);
    loop_post(worker->loop, on_names, batch);
}
