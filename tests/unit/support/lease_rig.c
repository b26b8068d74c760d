/* See lease_rig.h. */
#include "support/lease_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/call.h"
#include "store/job_store.h"

struct redis_process server;
struct loop *loop;
struct deployment *target;
struct record_writer *writer;
struct order_reader *orders;

void rig_on_wait(void *ctx, const char *holder) {
    struct told *t = ctx;
    t->waits++;
    snprintf(t->holder, sizeof(t->holder), "%s", holder);
}

void rig_on_order(void *ctx, const struct order *order) {
    struct told *t = ctx;
    t->orders++;
    t->order = *order;
}

static void on_lost(void *ctx, const char *holder) {
    struct told *t = ctx;
    t->losses++;
    snprintf(t->holder, sizeof(t->holder), "%s", holder);
}

void rig_run_for(int64_t ms) {
    for (int64_t until_ms = clock_mono_ms() + ms; clock_mono_ms() < until_ms;)
        loop_run_once(loop, 10);
}

struct deployment *rig_open_target(struct loop *on) {
    struct endpoint endpoint;
    struct err err;
    char uri[64], text[1024];
    const struct deployment_settings settings = { .connect_timeout_ms = 5000,
                                                  .reply_timeout_ms = 10000,
                                                  .startup_timeout_ms = 10000,
                                                  .writes = true };
    snprintf(uri, sizeof(uri), "127.0.0.1:%u", server.port);
    assert_true(endpoint_parse(&endpoint, "target", uri, &err));
    struct deployment *d = deployment_open(on, &endpoint, &settings, &err);
    if (d == NULL) fail_msg("%s", err_format(&err, text, sizeof(text)));
    endpoint_fini(&endpoint);
    return d;
}

void rig_open(void) {
    struct err err;
    loop = loop_new(&err);
    target = rig_open_target(loop);
}

int rig_setup(void **state) {
    redis_start(&server, NULL);
    rig_open();
    return 0;
}

int rig_teardown(void **state) {
    call_set_interrupt(NULL);
    deployment_free(&target);
    loop_run_once(loop, 0);
    loop_free(&loop);
    redis_stop(&server);
    return 0;
}

uint64_t rig_acquire(struct lease *k, const char *predecessor, struct told *told) {
    uint64_t epoch = 0;
    struct err err;
    char text[1024];
    const struct lease_former former = { .dead_owner = predecessor };
    if (!lease_acquire(k, &former, rig_on_wait, told, &epoch, &err))
        fail_msg("%s", err_format(&err, text, sizeof(text)));
    assert_true(lease_may_write(k));
    return epoch;
}

/* The processes that run now may be given the record. */
void rig_allow_all(void) {
    struct topology *t = deployment_topology(target);
    struct server_info info;
    struct err err;
    for (int i = 0; i < t->n_nodes; i++)
        if (deployment_node_info(target, &t->nodes[i].address, &info, NULL, &err))
            record_writer_allow(writer, &t->nodes[i].address, info.run_id);
    topology_unref(&t);
}

void rig_start(struct lease *k, struct told *told) {
    lease_start(k, on_lost, told);
    writer = record_writer_new(target, 0, "orders", k);
    rig_allow_all();
    orders = order_reader_new(k, "", rig_on_order, told);
}

struct lease *rig_hold(const char *owner, int64_t lease_ms, struct told *told) {
    struct lease *k = lease_new(target, 0, "orders", owner, lease_ms);
    assert_false(lease_may_write(k));
    rig_acquire(k, NULL, told);
    rig_start(k, told);
    return k;
}

void rig_release(struct lease **k) {
    order_reader_free(&orders);
    record_writer_free(&writer);
    lease_free(k);
}

void rig_put_followed(const char *phase, int64_t watermark_us, const char *order) {
    struct job_record r = { .watermark_us = watermark_us, .updated_us = clock_wall_us() };
    strcpy(r.job, "orders");
    strcpy(r.source, "a:1");
    strcpy(r.target, "b:2");
    snprintf(r.phase, sizeof(r.phase), "%s", phase);
    snprintf(r.order_followed, sizeof(r.order_followed), "%s", order);
    record_writer_put(writer, &r);
}

void rig_put(const char *phase, int64_t watermark_us) {
    rig_put_followed(phase, watermark_us, "");
}

struct job_record *rig_read_record(bool *found) {
    struct job_record *r = mem_zalloc(sizeof(*r));
    struct err err;
    char text[1024];
    if (!job_store_read(target, 0, "orders", r, found, &err))
        fail_msg("%s", err_format(&err, text, sizeof(text)));
    return r;
}

int64_t rig_read_watermark(void) {
    bool found;
    struct job_record *r = rig_read_record(&found);
    int64_t us = found ? r->watermark_us : -1;
    free(r);
    return us;
}
