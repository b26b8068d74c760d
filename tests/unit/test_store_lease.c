/* Lease and record on real servers: one holder at a time, through every failure of it and of the
 * server, and a holder that was stopped does not write. All holders of a test hang on one loop, but
 * for the one that is stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/slot.h"
#include "server/call.h"
#include "store/job_store.h"
#include "store/lease.h"
#include "store/orders.h"
#include "store/record_writer.h"
#include "store/role.h"
#include "support/redis_process.h"
#include "support/run_until.h"

enum { LEASE_MS = 1500, LONG_LEASE_MS = 12000, PATIENCE_MS = 30000 };

static const char *const plain_args[] = { "--rename-command", "EVAL", "",  "--rename-command",
                                          "CLIENT",           "",     NULL };
static const char *const cluster_args[] = { "--cluster-enabled", "yes", "--cluster-node-timeout",
                                            "5000", NULL };

static struct redis_process server, other;
static struct loop *loop;
static struct deployment *target;
/* Of the lease that was started last. */
static struct record_writer *writer;
static struct order_reader *orders;

/* The events that a lease and its orders told. */
struct told {
    int waits, orders, losses;
    char holder[160];
    struct order order; /* the last one */
};

static void on_wait(void *ctx, const char *holder) {
    struct told *t = ctx;
    t->waits++;
    snprintf(t->holder, sizeof(t->holder), "%s", holder);
}

static void on_order(void *ctx, const struct order *order) {
    struct told *t = ctx;
    t->orders++;
    t->order = *order;
}

static void on_lost(void *ctx, const char *holder) {
    struct told *t = ctx;
    t->losses++;
    snprintf(t->holder, sizeof(t->holder), "%s", holder);
}

static void run_for(int64_t ms) {
    for (int64_t until_ms = clock_mono_ms() + ms; clock_mono_ms() < until_ms;)
        loop_run_once(loop, 10);
}

static struct deployment *open_target(struct loop *on) {
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

static void open_all(void) {
    struct err err;
    loop = loop_new(&err);
    target = open_target(loop);
}

static int setup(void **state) {
    redis_start(&server, NULL);
    open_all();
    return 0;
}

static int setup_plain(void **state) {
    redis_start(&server, plain_args);
    open_all();
    return 0;
}

static int teardown(void **state) {
    call_set_interrupt(NULL);
    deployment_free(&target);
    loop_run_once(loop, 0);
    loop_free(&loop);
    redis_stop(&server);
    return 0;
}

static uint64_t acquire(struct lease *k, const char *predecessor, struct told *told) {
    uint64_t epoch = 0;
    struct err err;
    char text[1024];
    const struct lease_former former = { .dead_owner = predecessor };
    if (!lease_acquire(k, &former, on_wait, told, &epoch, &err))
        fail_msg("%s", err_format(&err, text, sizeof(text)));
    assert_true(lease_may_write(k));
    return epoch;
}

/* The processes that run now may be given the record. */
static void allow_all(void) {
    struct topology *t = deployment_topology(target);
    struct server_info info;
    struct err err;
    for (int i = 0; i < t->n_nodes; i++)
        if (deployment_node_info(target, &t->nodes[i].address, &info, NULL, &err))
            record_writer_allow(writer, &t->nodes[i].address, info.run_id);
    topology_unref(&t);
}

static void start(struct lease *k, struct told *told) {
    lease_start(k, on_lost, told);
    writer = record_writer_new(target, 0, "orders", k);
    allow_all();
    orders = order_reader_new(k, "", on_order, told);
}

static struct lease *hold(const char *owner, int64_t lease_ms, struct told *told) {
    struct lease *k = lease_new(target, 0, "orders", owner, lease_ms);
    assert_false(lease_may_write(k));
    acquire(k, NULL, told);
    start(k, told);
    return k;
}

static void release(struct lease **k) {
    order_reader_free(&orders);
    record_writer_free(&writer);
    lease_free(k);
}

static void put_followed(const char *phase, int64_t watermark_us, const char *order) {
    struct job_record r = { .watermark_us = watermark_us, .updated_us = clock_wall_us() };
    strcpy(r.job, "orders");
    strcpy(r.source, "a:1");
    strcpy(r.target, "b:2");
    snprintf(r.phase, sizeof(r.phase), "%s", phase);
    snprintf(r.order_followed, sizeof(r.order_followed), "%s", order);
    record_writer_put(writer, &r);
}

static void put(const char *phase, int64_t watermark_us) {
    put_followed(phase, watermark_us, "");
}

static const char *lease(void) {
    static char value[256];
    /* The first line of a bulk string is its length. */
    snprintf(value, sizeof(value), "%s", redis_do(&server, "TTL longhaul:{orders}:lease"));
    return strcmp(value, ":-2") == 0 ? "" : "held";
}

static bool is_value(const char *key, const char *value) {
    char expected[24];
    snprintf(expected, sizeof(expected), "$%zu", strlen(value));
    if (strcmp(redis_do(&server, "GET %s", key), expected) != 0) return false;
    /* SET ... GET is not needed: a comparison that the server makes. */
    redis_do(&server, "SET longhaul-test:value \"%s\"", value);
    const char *lcs = redis_do(&server, "LCS %s longhaul-test:value LEN", key);
    return atoi(lcs + 1) == (int)strlen(value);
}

static struct job_record *read_record(bool *found) {
    struct job_record *r = mem_zalloc(sizeof(*r));
    struct err err;
    char text[1024];
    if (!job_store_read(target, 0, "orders", r, found, &err))
        fail_msg("%s", err_format(&err, text, sizeof(text)));
    return r;
}

static int64_t read_watermark(void) {
    bool found;
    struct job_record *r = read_record(&found);
    int64_t us = found ? r->watermark_us : -1;
    free(r);
    return us;
}

/* ---- one holder ---- */

static void test_acquired(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    assert_string_equal(lease_client_name(k), "longhaul:orders:1");
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    assert_true(is_value("longhaul:{orders}:epoch", "1"));
    assert_int_equal(read_watermark(), -1);
    put("live", 1234);
    RUN_UNTIL(read_watermark() == 1234);
    /* It stays ours for longer than a lease, without a moment in which it is not. */
    for (int64_t until_ms = clock_mono_ms() + 2 * LEASE_MS; clock_mono_ms() < until_ms;) {
        loop_run_once(loop, 10);
        assert_true(lease_may_write(k));
    }
    assert_int_equal(told.losses, 0);
    assert_true(is_value("longhaul:{orders}:epoch", "1"));
    release(&k);
    assert_null(k);
}

static void test_given_back(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LONG_LEASE_MS, &told);
    struct job_record *last = mem_zalloc(sizeof(*last));
    put("live", 1);
    RUN_UNTIL(read_watermark() == 1);
    strcpy(last->job, "orders");
    strcpy(last->source, "a:1");
    strcpy(last->target, "b:2");
    strcpy(last->phase, "stopped");
    last->watermark_us = 2;
    record_writer_end(writer, last, 5000);
    lease_give_back(k, 5000);
    assert_false(lease_may_write(k));
    assert_true(is_value("longhaul:{orders}:lease", "1 -"));
    release(&k);
    free(last);
    bool found;
    struct job_record *r = read_record(&found);
    assert_true(found);
    assert_string_equal(r->phase, "stopped");
    assert_int_equal(r->watermark_us, 2);
    free(r);
    k = hold("host:2:b", LONG_LEASE_MS, &told);
    assert_int_equal(told.waits, 0);
    assert_string_equal(lease_client_name(k), "longhaul:orders:2");
    release(&k);
}

/* Nobody gives the lease back: it has to run out. */
static void test_standby(void **state) {
    struct told first = { 0 }, second = { 0 };
    struct lease *a = hold("host:1:a", LEASE_MS, &first);
    struct lease *b = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    volatile bool stop = true;
    uint64_t epoch;
    struct err err;
    call_set_interrupt(&stop);
    assert_false(lease_acquire(b, NULL, on_wait, &second, &epoch, &err));
    assert_int_equal(err.code, ERR_INTERRUPTED);
    call_set_interrupt(NULL);
    run_for(2 * LEASE_MS); /* the interrupted call has taken nothing */
    assert_true(lease_may_write(a));
    assert_int_equal(first.losses, 0);
    release(&a);
    int64_t began_ms = clock_mono_ms();
    /* More than 2 where this machine was too slow to keep the lease while it waited. */
    assert_true(acquire(b, "host:3:somebody", &second) >= 2);
    assert_true(clock_mono_ms() - began_ms > LEASE_MS / 3);
    assert_int_equal(second.waits, 1);
    assert_string_equal(second.holder, "host:1:a");
    lease_free(&b);
}

/* ---- a former holder ---- */

static struct client *open_named(const char *name) {
    struct client_settings s = {
        .role = "target", .protocol = 2, .connect_timeout_ms = 5000, .reply_timeout_ms = 10000
    };
    struct err err;
    struct call_reply reply;
    address_set(&s.address, BYTES_LITERAL("127.0.0.1"), server.port);
    struct client *client = call_open(loop, &s, 5000, &err);
    assert_non_null(client);
    const struct bytes words[] = { BYTES_LITERAL("CLIENT"), BYTES_LITERAL("SETNAME"),
                                   bytes_of_str(name) };
    assert_true(call_send(loop, client, 5000, &reply, &err, 3, words));
    call_reply_fini(&reply);
    return client;
}

/* A dead one's lease is taken at once, and its connections end; others do not. */
static void test_predecessor(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LONG_LEASE_MS, &told);
    struct client *former = open_named(lease_client_name(k)),
                  *later = open_named("longhaul:orders:2");
    struct client *foreign = open_named("longhaul:orders2:1"), *plain = open_named("longhaul");
    release(&k);
    k = lease_new(target, 0, "orders", "host:2:b", LONG_LEASE_MS);
    int64_t began_ms = clock_mono_ms();
    assert_int_equal(acquire(k, "host:1:a", &told), 2);
    assert_true(clock_mono_ms() - began_ms < LONG_LEASE_MS / 4);
    assert_int_equal(told.waits, 0);
    RUN_UNTIL(!client_is_ready(former) && !client_is_ready(later));
    run_for(50);
    assert_true(client_is_ready(foreign));
    assert_true(client_is_ready(plain));
    /* Its own are named before they write. */
    start(k, &told);
    put("live", 5);
    RUN_UNTIL(read_watermark() == 5);
    assert_int_equal(told.losses, 0);
    client_close(&former);
    client_close(&later);
    client_close(&foreign);
    client_close(&plain);
    release(&k);
}

/* The lease has vanished, but its holder may still believe to have it: of that the epoch tells. */
static void test_vanished_with_its_holder(void **state) {
    struct told told = { 0 };
    redis_do(&server, "SET longhaul:{orders}:epoch 5");
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    int64_t began_ms = clock_boot_ms();
    assert_int_equal(acquire(k, NULL, &told), 6);
    assert_true(clock_boot_ms() - began_ms >= LEASE_MS);
    lease_free(&k);
}

/* The epoch has vanished too: of the holder only a connection tells. */
static void test_vanished_but_for_a_connection(void **state) {
    struct told told = { 0 };
    struct client *former = open_named("longhaul:orders:5");
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    int64_t began_ms = clock_boot_ms();
    acquire(k, NULL, &told);
    assert_true(clock_boot_ms() - began_ms >= LEASE_MS);
    assert_false(client_is_ready(former));
    client_close(&former);
    lease_free(&k);
}

/* The child holds the lease, is stopped for longer than that, and goes on: from then on it must not
 * write. */
static int be_stopped(int ready) {
    struct told told = { 0 };
    struct err err;
    uint64_t epoch;
    loop = loop_new(&err);
    target = open_target(loop);
    struct lease *k = lease_new(target, 0, "orders", "host:1:stopped", LEASE_MS);
    if (!lease_acquire(k, NULL, NULL, NULL, &epoch, &err)) return 2;
    start(k, &told);
    put_followed("live", 1, "one");
    while (!record_writer_has_written_order(writer, "one")) loop_run_once(loop, 10);
    bool stopped = false;
    /* before the parent knows, as it stops this process at once */
    int64_t seen_ms = clock_boot_ms();
    if (write(ready, "", 1) != 1) return 3;
    while (told.losses == 0) {
        put("back from the dead", 99);
        if (clock_boot_ms() - seen_ms > LEASE_MS) stopped = true;
        if (stopped && lease_may_write(k)) return 4;
        seen_ms = clock_boot_ms();
        loop_run_once(loop, 10);
    }
    if (!stopped) return 5;
    run_for(200);
    return strcmp(told.holder, "host:2:b") == 0 && !lease_may_write(k) ? 0 : 6;
}

static void test_stopped(void **state) {
    int ready[2], status;
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) _exit(be_stopped(ready[1]));
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    kill(pid, SIGSTOP);
    struct told told = { 0 };
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    assert_int_equal(acquire(k, NULL, &told), 2);
    assert_string_equal(told.holder, "host:1:stopped");
    start(k, &told);
    put("live", 2);
    RUN_UNTIL(read_watermark() == 2);
    run_for(LEASE_MS); /* so that the child sees that it was stopped for longer than a lease */
    kill(pid, SIGCONT);
    pid_t ended = 0;
    RUN_UNTIL(ended == pid || (ended = waitpid(pid, &status, WNOHANG)) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(read_watermark(), 2);
    assert_int_equal(told.losses, 0);
    release(&k);
}

/* ---- losing it ---- */

static void test_lost(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    put("live", 1);
    RUN_UNTIL(read_watermark() == 1);
    redis_do(&server, "SET longhaul:{orders}:lease \"2 host:9:z\"");
    RUN_UNTIL(told.losses == 1);
    assert_string_equal(told.holder, "host:9:z");
    assert_false(lease_may_write(k));
    put("live", 2);
    run_for(LEASE_MS);
    assert_int_equal(read_watermark(), 1);
    assert_int_equal(told.losses, 1);
    release(&k);
}

/* The holder prepares its job for longer than a lease; a loss meanwhile is told once the job
 * starts. */
static void test_before_start(void **state) {
    struct told told = { 0 };
    struct lease *k = lease_new(target, 0, "orders", "host:1:a", LEASE_MS);
    acquire(k, NULL, &told);
    run_for(2 * LEASE_MS);
    assert_true(lease_may_write(k));
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    redis_do(&server, "SET longhaul:{orders}:lease \"2 host:9:z\"");
    RUN_UNTIL(!lease_may_write(k));
    assert_int_equal(told.losses, 0);
    start(k, &told);
    RUN_UNTIL(told.losses == 1);
    run_for(LEASE_MS);
    assert_int_equal(told.losses, 1);
    assert_string_equal(told.holder, "host:9:z");
    release(&k);
}

/* Somebody had it and has given it back. */
static void test_lost_meanwhile(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    redis_do(&server, "MSET longhaul:{orders}:epoch 2");
    redis_do(&server, "DEL longhaul:{orders}:lease");
    RUN_UNTIL(told.losses == 1);
    assert_false(lease_may_write(k));
    release(&k);
}

static void on_gone(void *ctx, uint16_t slot) {
    ++*(int *)ctx;
}

static void test_gone_and_taken_again(void **state) {
    struct told told = { 0 };
    int leases_gone = 0, records_gone = 0;
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    lease_watch_gone(k, on_gone, &leases_gone);
    record_writer_watch_gone(writer, on_gone, &records_gone);
    put_followed("live", 1, "one");
    RUN_UNTIL(record_writer_has_written_order(writer, "one"));
    assert_int_equal(leases_gone + records_gone, 0);
    redis_do(&server, "FLUSHALL");
    RUN_UNTIL(lease()[0] != '\0');
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    RUN_UNTIL(is_value("longhaul:{orders}:epoch", "1"));
    RUN_UNTIL(read_watermark() == 1);
    assert_int_equal(told.losses, 0);
    assert_true(leases_gone > 0);
    assert_int_equal(records_gone, 1);
    assert_true(lease_may_write(k));
    release(&k);
}

/* Down for longer than the lease, and empty after it. */
static void test_target_down(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    put_followed("live", 1, "one");
    RUN_UNTIL(record_writer_has_written_order(writer, "one"));
    kill(server.pid, SIGKILL);
    RUN_UNTIL(!lease_may_write(k) && !record_writer_has_written_order(writer, "one"));
    put_followed("live", 2, "one");
    run_for(LEASE_MS / 2);
    assert_false(lease_may_write(k));
    redis_restart(&server, NULL);
    RUN_UNTIL(lease_may_write(k));
    run_for(LEASE_MS);
    /* Another process at the address: it is given no record before it is recognised. */
    assert_false(record_writer_has_written_order(writer, "one"));
    assert_int_equal(read_watermark(), -1);
    allow_all();
    RUN_UNTIL(lease_may_write(k) && record_writer_has_written_order(writer, "one"));
    assert_int_equal(read_watermark(), 2);
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    assert_int_equal(told.losses, 0);
    release(&k);
}

/* Lanes ask on threads of their own, also while the lease's own thread stands still. */
static void test_right_ends_by_the_clock(void **state) {
    static const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    int64_t began_ms = clock_boot_ms();
    while (lease_may_write(k) && clock_boot_ms() - began_ms < PATIENCE_MS) nanosleep(&pause, NULL);
    assert_false(lease_may_write(k));
    RUN_UNTIL(lease_may_write(k));
    release(&k);
}

/* A successor ends this connection before it writes: so nothing is written from that moment on. */
static void test_right_ends_with_the_connection(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LONG_LEASE_MS, &told);
    int64_t killed_ms = clock_boot_ms();
    kill(server.pid, SIGKILL);
    RUN_UNTIL(!lease_may_write(k));
    assert_in_range(clock_boot_ms() - killed_ms, 0, LONG_LEASE_MS / 2);
    redis_restart(&server, NULL);
    RUN_UNTIL(lease_may_write(k));
    release(&k);
}

/* A server that takes nothing that needs memory still renews. */
static void test_out_of_memory(void **state) {
    struct told told = { 0 };
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    redis_do(&server, "CONFIG SET maxmemory 1");
    put("live", 1);
    for (int64_t until_ms = clock_mono_ms() + 2 * LEASE_MS; clock_mono_ms() < until_ms;) {
        loop_run_once(loop, 10);
        assert_true(lease_may_write(k));
    }
    assert_int_equal(read_watermark(), -1);
    redis_do(&server, "CONFIG SET maxmemory 0");
    RUN_UNTIL(read_watermark() == 1);
    release(&k);
}

static void test_database_refused(void **state) {
    struct lease *k = lease_new(target, 999, "orders", "host:1:a", LEASE_MS);
    struct err err;
    uint64_t epoch;
    assert_false(lease_acquire(k, NULL, NULL, NULL, &epoch, &err));
    assert_non_null(strstr(err.text, "database 999 cannot be selected"));
    release(&k);
}

/* ---- orders and reading ---- */

static void give(const char *hold, struct order *order) {
    struct err err;
    order_make_release(order, hold);
    if (!orders_give(target, 0, "orders", order, &err)) fail_msg("%s", err.text);
}

/* Recorded, then done; a second one that was given meanwhile is not lost, and none comes twice. */
static void test_orders(void **state) {
    struct told told = { 0 };
    struct order first, second;
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    give("hold-1", &first);
    RUN_UNTIL(told.orders == 1);
    assert_string_equal(told.order.id, first.id);
    assert_string_equal(told.order.hold, "hold-1");
    give("hold-2", &second);
    put_followed("held", 1, first.id);
    assert_false(record_writer_has_written_order(writer, first.id));
    RUN_UNTIL(record_writer_has_written_order(writer, first.id));
    assert_false(record_writer_has_written_order(writer, second.id));
    order_reader_done(orders, first.id);
    RUN_UNTIL(told.orders == 2);
    assert_string_equal(told.order.id, second.id);
    put_followed("held", 1, second.id);
    RUN_UNTIL(record_writer_has_written_order(writer, second.id));
    order_reader_done(orders, second.id);
    RUN_UNTIL(strcmp(redis_do(&server, "EXISTS longhaul:{orders}:order"), ":0") == 0);
    run_for(1500);
    assert_int_equal(told.orders, 2);
    release(&k);
}

/* An order that was recorded as followed by a process that then died. */
static void test_order_of_a_former_run(void **state) {
    struct told told = { 0 };
    struct order first;
    struct lease *k = lease_new(target, 0, "orders", "host:1:a", LEASE_MS);
    acquire(k, NULL, &told);
    give("hold-1", &first);
    redis_do(&server, "RPUSH longhaul:{orders}:order broken");
    struct order_reader *reader = order_reader_new(k, first.id, on_order, &told);
    RUN_UNTIL(strcmp(redis_do(&server, "EXISTS longhaul:{orders}:order"), ":0") == 0);
    assert_int_equal(told.orders, 0);
    order_reader_free(&reader);
    assert_null(reader);
    lease_free(&k);
}

/* A string: an order of an older version. */
static void test_old_order(void **state) {
    struct order order;
    redis_do(&server, "SET longhaul:{orders}:order \"release 1\"");
    give("hold-1", &order);
    assert_string_equal(redis_do(&server, "LLEN longhaul:{orders}:order"), ":1");
}

static void test_order_text(void **state) {
    struct order order, back;
    struct err err;
    order_make_release(&order, "h");
    char *text = order_to_text(&order);
    assert_true(order_from_text(&back, bytes_of_str(text), &err));
    assert_string_equal(back.id, order.id);
    assert_int_equal(back.given_us, order.given_us);
    free(text);
    static const char *const bad[] = { "",
                                       "{}",
                                       "{\"id\":\"\"}",
                                       "{\"id\":\"1\"}",
                                       "{\"id\":\"1\",\"hold\":\"h\"}",
                                       "{\"id\":\"1\",\"hold\":\"h\",\"kind\":\"dance\"}" };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (order_from_text(&back, bytes_of_str(bad[i]), &err)) fail_msg("accepted: %s", bad[i]);
}

static void test_read_all(void **state) {
    struct job_list list = { 0 };
    struct told told = { 0 };
    struct role_record role;
    struct err err;
    char tag[SLOT_TAG_MAX];
    bool found;
    assert_true(job_store_read_all(target, 0, &list, NULL));
    assert_int_equal(list.n, 0);
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    put("live", 1);
    RUN_UNTIL(read_watermark() == 1);
    assert_true(role_read(target, &role, &found, &err));
    assert_false(found);
    slot_tag(0, tag);
    static const char job[] =
        "'{\"job\":\"%s\",\"source\":\"a\",\"target\":\"b\",\"phase\":\"ended\"}'";
    char text[256];
    snprintf(text, sizeof(text), job, "b");
    redis_do(&server,
             "HSET longhaul:{%s}:state b %s c '{broken' @role "
             "'{\"role\":\"active\",\"by\":\"me\",\"epoch\":3,\"since_us\":5}'",
             tag, text);
    assert_true(job_store_read_all(target, 0, &list, NULL));
    assert_int_equal(list.n, 2);
    assert_string_equal(list.jobs[0].record.job, "b");
    assert_false(list.jobs[0].lease_held);
    assert_string_equal(list.jobs[1].record.job, "orders");
    assert_true(list.jobs[1].lease_held);
    assert_string_equal(list.jobs[1].holder, "host:1:a");
    job_list_fini(&list);
    assert_true(role_read(target, &role, &found, &err));
    assert_true(found);
    assert_true(role.active);
    assert_false(role_check_target(&role, "b:1", &err));
    assert_non_null(strstr(err.text, "was made the active side by me at 1970"));

    assert_false(job_store_forget(target, 0, "orders", &err));
    assert_non_null(strstr(err.text, "job orders is held by host:1:a"));
    record_writer_end(writer, NULL, 5000);
    lease_give_back(k, 5000);
    assert_true(job_store_forget(target, 0, "orders", &err));
    assert_string_equal(redis_do(&server, "EXISTS longhaul:{orders}:lease longhaul:{orders}:epoch"),
                        ":0");
    assert_int_equal(read_watermark(), -1);
    release(&k);
}

/* Records in other databases, one of them with the same name. */
static void test_read_all_databases(void **state) {
    struct job_list list = { 0 };
    struct err err;
    char tag[SLOT_TAG_MAX], line[512];
    slot_tag(0, tag);
    for (int db = 0; db <= 7; db += 7) {
        snprintf(
            line, sizeof(line),
            "redis-cli -p %u -n %d HSET longhaul:{%s}:state j "
            "'{\"job\":\"j\",\"source\":\"a\",\"target\":\"b\",\"phase\":\"ended\"}' >/dev/null",
            server.port, db, tag);
        assert_int_equal(system(line), 0);
    }
    if (!job_store_read_all(target, JOB_STORE_ALL_DBS, &list, &err)) fail_msg("%s", err.text);
    assert_int_equal(list.n, 2);
    assert_int_equal(list.jobs[0].db, 0);
    assert_int_equal(list.jobs[1].db, 7);
    job_list_fini(&list);
}

/* ---- a cluster of two ---- */

static bool cluster_is_up(const struct redis_process *p) {
    char line[4096];
    snprintf(line, sizeof(line),
             "redis-cli -p %u cluster info | grep -q 'cluster_state:ok' && redis-cli -p %u cluster "
             "info | grep -q 'cluster_slots_assigned:16384'",
             p->port, p->port);
    return system(line) == 0;
}

static void id_of(const struct redis_process *p, char id[64]) {
    char line[128];
    snprintf(line, sizeof(line), "redis-cli -p %u cluster myid", p->port);
    FILE *out = popen(line, "r");
    assert_non_null(fgets(id, 64, out));
    id[strcspn(id, "\n")] = '\0';
    pclose(out);
}

static int setup_cluster(void **state) {
    redis_start(&server, cluster_args);
    redis_start(&other, cluster_args);
    redis_do(&server, "CLUSTER ADDSLOTSRANGE 0 8191");
    redis_do(&other, "CLUSTER ADDSLOTSRANGE 8192 16383");
    redis_do(&other, "CLUSTER SET-CONFIG-EPOCH 2");
    redis_do(&other, "CLUSTER MEET 127.0.0.1 %u", server.port);
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (!(cluster_is_up(&server) && cluster_is_up(&other)) && clock_mono_ms() < deadline_ms)
        usleep(50000);
    open_all();
    return 0;
}

static int teardown_cluster(void **state) {
    teardown(state);
    redis_stop(&other);
    return 0;
}

static void test_cluster(void **state) {
    struct told told = { 0 };
    struct err err;
    char tag[SLOT_TAG_MAX], id[64];
    struct lease *k = hold("host:1:a", LEASE_MS, &told);
    put_followed("live", 10, "ten");
    RUN_UNTIL(record_writer_has_written_order(writer, "ten"));
    assert_int_equal(read_watermark(), 10);
    assert_string_equal(redis_do(&server, "EXISTS longhaul:{%s}:state", slot_tag(0, tag)), ":1");
    assert_string_equal(redis_do(&other, "EXISTS longhaul:{%s}:state", slot_tag(8192, tag)), ":1");

    /* The record of a slot that leaves is written where the node's lowest slot is now. */
    id_of(&server, id);
    redis_do(&other, "DEL longhaul:{%s}:state", slot_tag(8192, tag));
    redis_do(&other, "CLUSTER SETSLOT 8192 NODE %s", id);
    redis_do(&server, "CLUSTER SETSLOT 8192 NODE %s", id);
    redis_do(&server, "CLUSTER BUMPEPOCH");
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    struct topology *t = deployment_topology(target);
    while (t->owner[8192] != t->owner[0] && clock_mono_ms() < deadline_ms) {
        topology_unref(&t);
        run_for(50);
        assert_true(deployment_refresh(target, &err));
        t = deployment_topology(target);
    }
    topology_unref(&t);
    assert_int_equal(read_watermark(), 0);
    lease_update_topology(k);
    record_writer_update_topology(writer);
    allow_all();
    assert_false(record_writer_has_written_order(writer, "ten"));
    RUN_UNTIL(record_writer_has_written_order(writer, "ten"));
    assert_int_equal(read_watermark(), 10);
    assert_string_equal(redis_do(&other, "EXISTS longhaul:{%s}:state", slot_tag(8193, tag)), ":1");

    /* One of them loses its record: the oldest counts. */
    release(&k);
    redis_do(&other, "DEL longhaul:{%s}:state", slot_tag(8193, tag));
    assert_int_equal(read_watermark(), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define TEST_PLAIN(fn)                                                                             \
    { #fn " (without EVAL and CLIENT)", fn, setup_plain, teardown, NULL }

/* Argument: which tests (a pattern of cmocka's). */
int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_acquired),
        TEST(test_given_back),
        TEST(test_standby),
        TEST(test_predecessor),
        TEST(test_vanished_with_its_holder),
        TEST(test_vanished_but_for_a_connection),
        TEST(test_stopped),
        TEST(test_lost),
        TEST(test_before_start),
        TEST(test_lost_meanwhile),
        TEST(test_gone_and_taken_again),
        TEST(test_target_down),
        TEST(test_right_ends_by_the_clock),
        TEST(test_right_ends_with_the_connection),
        TEST(test_out_of_memory),
        TEST(test_database_refused),
        TEST(test_orders),
        TEST(test_order_of_a_former_run),
        TEST(test_old_order),
        TEST(test_order_text),
        TEST(test_read_all),
        TEST(test_read_all_databases),
        TEST_PLAIN(test_acquired),
        TEST_PLAIN(test_given_back),
        TEST_PLAIN(test_standby),
        TEST_PLAIN(test_vanished_with_its_holder),
        TEST_PLAIN(test_lost),
        TEST_PLAIN(test_lost_meanwhile),
        TEST_PLAIN(test_gone_and_taken_again),
        TEST_PLAIN(test_out_of_memory),
        cmocka_unit_test_setup_teardown(test_cluster, setup_cluster, teardown_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
