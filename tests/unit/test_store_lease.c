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
#include "server/call.h"
#include "store/lease.h"
#include "store/orders.h"
#include "store/record_writer.h"
#include "support/lease_rig.h"
#include "support/run_until.h"

static const char *const plain_args[] = { "--rename-command", "EVAL", "",  "--rename-command",
                                          "CLIENT",           "",     NULL };

static int setup_plain(void **state) {
    redis_start(&server, plain_args);
    rig_open();
    return 0;
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

/* ---- one holder ---- */

static void test_acquired(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    assert_string_equal(lease_client_name(k), "longhaul:orders:1");
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    assert_true(is_value("longhaul:{orders}:epoch", "1"));
    assert_int_equal(rig_read_watermark(), -1);
    rig_put("live", 1234);
    RUN_UNTIL(rig_read_watermark() == 1234);
    /* It stays ours for longer than a lease, without a moment in which it is not. */
    for (int64_t until_ms = clock_mono_ms() + 2 * LEASE_MS; clock_mono_ms() < until_ms;) {
        loop_run_once(loop, 10);
        assert_true(lease_may_write(k));
    }
    assert_int_equal(told.losses, 0);
    assert_true(is_value("longhaul:{orders}:epoch", "1"));
    rig_release(&k);
    assert_null(k);
}

static void test_given_back(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LONG_LEASE_MS, &told);
    struct job_record *last = mem_zalloc(sizeof(*last));
    rig_put("live", 1);
    RUN_UNTIL(rig_read_watermark() == 1);
    strcpy(last->job, "orders");
    strcpy(last->source, "a:1");
    strcpy(last->target, "b:2");
    strcpy(last->phase, "stopped");
    last->watermark_us = 2;
    record_writer_end(writer, last, 5000);
    lease_give_back(k, 5000);
    assert_false(lease_may_write(k));
    assert_true(is_value("longhaul:{orders}:lease", "1 -"));
    rig_release(&k);
    free(last);
    bool found;
    struct job_record *r = rig_read_record(&found);
    assert_true(found);
    assert_string_equal(r->phase, "stopped");
    assert_int_equal(r->watermark_us, 2);
    free(r);
    k = rig_hold("host:2:b", LONG_LEASE_MS, &told);
    assert_int_equal(told.waits, 0);
    assert_string_equal(lease_client_name(k), "longhaul:orders:2");
    rig_release(&k);
}

/* Nobody gives the lease back: it has to run out. */
static void test_standby(void **state) {
    struct told first = { 0 }, second = { 0 };
    struct lease *a = rig_hold("host:1:a", LEASE_MS, &first);
    struct lease *b = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    volatile bool stop = true;
    uint64_t epoch;
    struct err err;
    call_set_interrupt(&stop);
    assert_false(lease_acquire(b, NULL, rig_on_wait, &second, &epoch, &err));
    assert_int_equal(err.code, ERR_INTERRUPTED);
    call_set_interrupt(NULL);
    rig_run_for(2 * LEASE_MS); /* the interrupted call has taken nothing */
    assert_true(lease_may_write(a));
    assert_int_equal(first.losses, 0);
    rig_release(&a);
    int64_t began_ms = clock_mono_ms();
    /* More than 2 where this machine was too slow to keep the lease while it waited. */
    assert_true(rig_acquire(b, "host:3:somebody", &second) >= 2);
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
    struct lease *k = rig_hold("host:1:a", LONG_LEASE_MS, &told);
    struct client *former = open_named(lease_client_name(k)),
                  *later = open_named("longhaul:orders:2");
    struct client *foreign = open_named("longhaul:orders2:1"), *plain = open_named("longhaul");
    rig_release(&k);
    k = lease_new(target, 0, "orders", "host:2:b", LONG_LEASE_MS);
    int64_t began_ms = clock_mono_ms();
    assert_int_equal(rig_acquire(k, "host:1:a", &told), 2);
    assert_true(clock_mono_ms() - began_ms < LONG_LEASE_MS / 4);
    assert_int_equal(told.waits, 0);
    RUN_UNTIL(!client_is_ready(former) && !client_is_ready(later));
    rig_run_for(50);
    assert_true(client_is_ready(foreign));
    assert_true(client_is_ready(plain));
    /* Its own are named before they write. */
    rig_start(k, &told);
    rig_put("live", 5);
    RUN_UNTIL(rig_read_watermark() == 5);
    assert_int_equal(told.losses, 0);
    client_close(&former);
    client_close(&later);
    client_close(&foreign);
    client_close(&plain);
    rig_release(&k);
}

/* The lease has vanished, but its holder may still believe to have it: of that the epoch tells. */
static void test_vanished_with_its_holder(void **state) {
    struct told told = { 0 };
    redis_do(&server, "SET longhaul:{orders}:epoch 5");
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    int64_t began_ms = clock_boot_ms();
    assert_int_equal(rig_acquire(k, NULL, &told), 6);
    assert_true(clock_boot_ms() - began_ms >= LEASE_MS);
    lease_free(&k);
}

/* The epoch has vanished too: of the holder only a connection tells. */
static void test_vanished_but_for_a_connection(void **state) {
    struct told told = { 0 };
    struct client *former = open_named("longhaul:orders:5");
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    int64_t began_ms = clock_boot_ms();
    rig_acquire(k, NULL, &told);
    assert_true(clock_boot_ms() - began_ms >= LEASE_MS);
    assert_false(client_is_ready(former));
    client_close(&former);
    lease_free(&k);
}

struct returner {
    struct client *client;
    bool ready;
};

static void on_returned(void *ctx) {
    ((struct returner *)ctx)->ready = true;
}

static void on_return(void *ctx) {
    static const struct client_events events = { .on_ready = on_returned };
    struct returner *r = ctx;
    struct client_settings s = { .role = "target",
                                 .name = "longhaul:orders:5",
                                 .protocol = 2,
                                 .connect_timeout_ms = 5000,
                                 .reply_timeout_ms = 10000 };
    address_set(&s.address, BYTES_LITERAL("127.0.0.1"), server.port);
    r->client = client_open(loop, &s, &events, r);
}

/* A former holder connects again while its successor waits: that connection is ended as well,
 * before the successor writes. */
static void test_a_former_holder_returns_during_the_wait(void **state) {
    struct told told = { 0 };
    struct returner former = { 0 };
    redis_do(&server, "SET longhaul:{orders}:epoch 5");
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    struct loop_timer *timer = loop_timer_new(loop, on_return, &former);
    loop_timer_start(timer, LEASE_MS / 2);
    assert_int_equal(rig_acquire(k, NULL, &told), 6);
    assert_true(former.ready);
    assert_false(client_is_ready(former.client));
    client_close(&former.client);
    loop_timer_free(&timer);
    lease_free(&k);
}

static int64_t acquire_after(const struct lease_former *former, uint64_t *epoch) {
    struct err err;
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    int64_t began_ms = clock_boot_ms();
    assert_true(lease_acquire(k, former, NULL, NULL, epoch, &err));
    lease_free(&k);
    return clock_boot_ms() - began_ms;
}

static void on_patience_over(void *ctx) {
    *(volatile bool *)ctx = true;
}

/* A dead process's lease that cannot run out in time: it gets the expiry of a lease. */
static void test_a_lease_that_does_not_run_out(void **state) {
    static const char *const broken[] = { "PERSIST longhaul:{orders}:lease",
                                          "PEXPIRE longhaul:{orders}:lease 600000" };
    for (size_t i = 0; i < 2; i++) {
        volatile bool stop = false;
        uint64_t epoch = 0;
        struct err err;
        redis_do(&server, "SET longhaul:{orders}:epoch 5");
        redis_do(&server, "SET longhaul:{orders}:lease \"5 host:1:a\"");
        redis_do(&server, "%s", broken[i]);
        struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
        struct loop_timer *timer = loop_timer_new(loop, on_patience_over, (void *)&stop);
        loop_timer_start(timer, 20 * LEASE_MS);
        call_set_interrupt(&stop);
        bool ok = lease_acquire(k, &(struct lease_former){ .lease_ms = LEASE_MS }, NULL, NULL,
                                &epoch, &err);
        call_set_interrupt(NULL);
        assert_true(ok);
        assert_int_equal(epoch, 6);
        loop_timer_free(&timer);
        lease_free(&k);
        redis_do(&server, "FLUSHALL");
    }
}

/* A standby's own lease is short; that of the holder which took over meanwhile is long, and is not
 * made shorter. */
static void test_a_longer_lease_is_left_alone(void **state) {
    volatile bool stop = false;
    uint64_t epoch = 0;
    struct err err;
    redis_do(&server, "SET longhaul:{orders}:lease \"5 host:1:a\" PX 600000");
    struct lease *k = lease_new(target, 0, "orders", "host:2:b", LEASE_MS);
    struct loop_timer *timer = loop_timer_new(loop, on_patience_over, (void *)&stop);
    loop_timer_start(timer, 3 * LEASE_MS);
    call_set_interrupt(&stop);
    assert_false(lease_acquire(k, NULL, NULL, NULL, &epoch, &err));
    call_set_interrupt(NULL);
    assert_int_equal(err.code, ERR_INTERRUPTED);
    assert_true(strtol(redis_do(&server, "PTTL longhaul:{orders}:lease") + 1, NULL, 10) > 300000);
    loop_timer_free(&timer);
    lease_free(&k);
}

/* The former holder had a longer lease than this one: that one counts. */
static void test_the_lease_was_longer(void **state) {
    uint64_t epoch;
    redis_do(&server, "SET longhaul:{orders}:epoch 5");
    assert_true(acquire_after(&(struct lease_former){ .lease_ms = 2 * LEASE_MS }, &epoch) >=
                2 * LEASE_MS);
    assert_int_equal(epoch, 6);
}

/* The state directory tells of a dead process; the epoch tells whether it was the last holder. */
static void test_the_dead_process_was_not_the_last_holder(void **state) {
    uint64_t epoch;
    const struct lease_former former = { .dead_owner = "host:1:a", .dead_epoch = 5 };
    redis_do(&server, "SET longhaul:{orders}:epoch 6");
    assert_true(acquire_after(&former, &epoch) >= LEASE_MS);
    assert_int_equal(epoch, 7);
    redis_do(&server, "DEL longhaul:{orders}:lease");
    redis_do(&server, "SET longhaul:{orders}:epoch 5");
    acquire_after(&former, &epoch); /* this time it was */
    assert_int_equal(epoch, 6);
}

/* The child holds the lease, is stopped for longer than that, and goes on: from then on it must not
 * write. */
static int be_stopped(int ready) {
    struct told told = { 0 };
    struct err err;
    uint64_t epoch;
    loop = loop_new(&err);
    target = rig_open_target(loop);
    struct lease *k = lease_new(target, 0, "orders", "host:1:stopped", LEASE_MS);
    if (!lease_acquire(k, NULL, NULL, NULL, &epoch, &err)) return 2;
    rig_start(k, &told);
    rig_put_followed("live", 1, "one");
    while (!record_writer_has_written_order(writer, "one")) loop_run_once(loop, 10);
    bool stopped = false;
    /* before the parent knows, as it stops this process at once */
    int64_t seen_ms = clock_boot_ms();
    if (write(ready, "", 1) != 1) return 3;
    while (told.losses == 0) {
        rig_put("back from the dead", 99);
        if (clock_boot_ms() - seen_ms > LEASE_MS) stopped = true;
        if (stopped && lease_may_write(k)) return 4;
        seen_ms = clock_boot_ms();
        loop_run_once(loop, 10);
    }
    if (!stopped) return 5;
    rig_run_for(200);
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
    assert_int_equal(rig_acquire(k, NULL, &told), 2);
    assert_string_equal(told.holder, "host:1:stopped");
    rig_start(k, &told);
    rig_put("live", 2);
    RUN_UNTIL(rig_read_watermark() == 2);
    rig_run_for(LEASE_MS); /* so that the child sees that it was stopped for longer than a lease */
    kill(pid, SIGCONT);
    pid_t ended = 0;
    RUN_UNTIL(ended == pid || (ended = waitpid(pid, &status, WNOHANG)) == pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(rig_read_watermark(), 2);
    assert_int_equal(told.losses, 0);
    rig_release(&k);
}

/* ---- losing it ---- */

static void test_lost(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    rig_put("live", 1);
    RUN_UNTIL(rig_read_watermark() == 1);
    redis_do(&server, "SET longhaul:{orders}:lease \"2 host:9:z\"");
    RUN_UNTIL(told.losses == 1);
    assert_string_equal(told.holder, "host:9:z");
    assert_false(lease_may_write(k));
    rig_put("live", 2);
    rig_run_for(LEASE_MS);
    assert_int_equal(rig_read_watermark(), 1);
    assert_int_equal(told.losses, 1);
    rig_release(&k);
}

/* The holder prepares its job for longer than a lease; a loss meanwhile is told once the job
 * starts. */
static void test_before_start(void **state) {
    struct told told = { 0 };
    struct lease *k = lease_new(target, 0, "orders", "host:1:a", LEASE_MS);
    rig_acquire(k, NULL, &told);
    rig_run_for(2 * LEASE_MS);
    assert_true(lease_may_write(k));
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    redis_do(&server, "SET longhaul:{orders}:lease \"2 host:9:z\"");
    RUN_UNTIL(!lease_may_write(k));
    assert_int_equal(told.losses, 0);
    rig_start(k, &told);
    RUN_UNTIL(told.losses == 1);
    rig_run_for(LEASE_MS);
    assert_int_equal(told.losses, 1);
    assert_string_equal(told.holder, "host:9:z");
    rig_release(&k);
}

/* Somebody had it and has given it back. */
static void test_lost_meanwhile(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    redis_do(&server, "MSET longhaul:{orders}:epoch 2");
    redis_do(&server, "DEL longhaul:{orders}:lease");
    RUN_UNTIL(told.losses == 1);
    assert_false(lease_may_write(k));
    rig_release(&k);
}

static void on_gone(void *ctx, uint16_t slot) {
    ++*(int *)ctx;
}

static void test_gone_and_taken_again(void **state) {
    struct told told = { 0 };
    int leases_gone = 0, records_gone = 0;
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    lease_watch_gone(k, on_gone, &leases_gone);
    record_writer_watch_gone(writer, on_gone, &records_gone);
    rig_put_followed("live", 1, "one");
    RUN_UNTIL(record_writer_has_written_order(writer, "one"));
    assert_int_equal(leases_gone + records_gone, 0);
    redis_do(&server, "FLUSHALL");
    RUN_UNTIL(lease()[0] != '\0');
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    RUN_UNTIL(is_value("longhaul:{orders}:epoch", "1"));
    RUN_UNTIL(rig_read_watermark() == 1);
    assert_int_equal(told.losses, 0);
    assert_true(leases_gone > 0);
    assert_int_equal(records_gone, 1);
    assert_true(lease_may_write(k));
    rig_release(&k);
}

/* Down for longer than the lease, and empty after it. */
static void test_target_down(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    rig_put_followed("live", 1, "one");
    RUN_UNTIL(record_writer_has_written_order(writer, "one"));
    kill(server.pid, SIGKILL);
    RUN_UNTIL(!lease_may_write(k) && !record_writer_has_written_order(writer, "one"));
    rig_put_followed("live", 2, "one");
    rig_run_for(LEASE_MS / 2);
    assert_false(lease_may_write(k));
    redis_restart(&server, NULL);
    RUN_UNTIL(lease_may_write(k));
    rig_run_for(LEASE_MS);
    /* Another process at the address: it is given no record before it is recognised. */
    assert_false(record_writer_has_written_order(writer, "one"));
    assert_int_equal(rig_read_watermark(), -1);
    rig_allow_all();
    RUN_UNTIL(lease_may_write(k) && record_writer_has_written_order(writer, "one"));
    assert_int_equal(rig_read_watermark(), 2);
    assert_true(is_value("longhaul:{orders}:lease", "1 host:1:a"));
    assert_int_equal(told.losses, 0);
    rig_release(&k);
}

/* Lanes ask on threads of their own, also while the lease's own thread stands still. */
static void test_right_ends_by_the_clock(void **state) {
    static const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    int64_t began_ms = clock_boot_ms();
    while (lease_may_write(k) && clock_boot_ms() - began_ms < PATIENCE_MS) nanosleep(&pause, NULL);
    assert_false(lease_may_write(k));
    RUN_UNTIL(lease_may_write(k));
    rig_release(&k);
}

/* A successor ends this connection before it writes: so nothing is written from that moment on. */
static void test_right_ends_with_the_connection(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LONG_LEASE_MS, &told);
    int64_t killed_ms = clock_boot_ms();
    kill(server.pid, SIGKILL);
    RUN_UNTIL(!lease_may_write(k));
    assert_in_range(clock_boot_ms() - killed_ms, 0, LONG_LEASE_MS / 2);
    redis_restart(&server, NULL);
    RUN_UNTIL(lease_may_write(k));
    rig_release(&k);
}

static int64_t lease_left_ms(void) {
    return atoi(redis_do(&server, "PTTL longhaul:{orders}:lease") + 1);
}

/* The right to write counts from the question, not from the answer, which may have been on its way
 * for long; and it ends a tenth before the lease. Told by the clock alone, while the loop stands
 * still. */
static void test_right_counts_from_the_question(void **state) {
    enum { MINE_MS = 9000, RENEWED_MS = MINE_MS / 3, MARGIN_MS = MINE_MS / 10, LATE_MS = 750 };
    static const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", MINE_MS, &told);
    RUN_UNTIL(lease_left_ms() < MINE_MS - RENEWED_MS / 2);
    RUN_UNTIL(lease_left_ms() > MINE_MS - RENEWED_MS / 2); /* it has just been renewed */
    int64_t began_ms = clock_boot_ms();
    rig_run_for(100); /* nothing else is under way */
    kill(server.pid, SIGSTOP);
    rig_run_for(RENEWED_MS + MARGIN_MS + LATE_MS); /* the next question waits for its answer */
    kill(server.pid, SIGCONT);
    RUN_UNTIL(lease_left_ms() > MINE_MS - RENEWED_MS / 2);
    rig_run_for(50);
    while (lease_may_write(k)) nanosleep(&pause, NULL);
    assert_in_range(clock_boot_ms() - began_ms, RENEWED_MS / 2 + MINE_MS - MARGIN_MS,
                    RENEWED_MS + MINE_MS - MARGIN_MS + LATE_MS);
    RUN_UNTIL(lease_may_write(k));
    rig_release(&k);
}

/* A server that takes nothing that needs memory still renews. */
static void test_out_of_memory(void **state) {
    struct told told = { 0 };
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    redis_do(&server, "CONFIG SET maxmemory 1");
    rig_put("live", 1);
    for (int64_t until_ms = clock_mono_ms() + 2 * LEASE_MS; clock_mono_ms() < until_ms;) {
        loop_run_once(loop, 10);
        assert_true(lease_may_write(k));
    }
    assert_int_equal(rig_read_watermark(), -1);
    redis_do(&server, "CONFIG SET maxmemory 0");
    RUN_UNTIL(rig_read_watermark() == 1);
    rig_release(&k);
}

static void test_database_refused(void **state) {
    struct lease *k = lease_new(target, 999, "orders", "host:1:a", LEASE_MS);
    struct err err;
    uint64_t epoch;
    assert_false(lease_acquire(k, NULL, NULL, NULL, &epoch, &err));
    assert_non_null(strstr(err.text, "database 999 cannot be selected"));
    rig_release(&k);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
#define TEST_PLAIN(fn)                                                                             \
    { #fn " (without EVAL and CLIENT)", fn, setup_plain, rig_teardown, NULL }

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
        TEST(test_a_former_holder_returns_during_the_wait),
        TEST(test_the_lease_was_longer),
        TEST(test_a_lease_that_does_not_run_out),
        TEST(test_a_longer_lease_is_left_alone),
        TEST(test_the_dead_process_was_not_the_last_holder),
        TEST(test_stopped),
        TEST(test_lost),
        TEST(test_before_start),
        TEST(test_lost_meanwhile),
        TEST(test_gone_and_taken_again),
        TEST(test_target_down),
        TEST(test_right_ends_by_the_clock),
        TEST(test_right_ends_with_the_connection),
        TEST(test_right_counts_from_the_question),
        TEST(test_out_of_memory),
        TEST(test_database_refused),
        TEST_PLAIN(test_acquired),
        TEST_PLAIN(test_given_back),
        TEST_PLAIN(test_standby),
        TEST_PLAIN(test_vanished_with_its_holder),
        TEST_PLAIN(test_lost),
        TEST_PLAIN(test_lost_meanwhile),
        TEST_PLAIN(test_gone_and_taken_again),
        TEST_PLAIN(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
