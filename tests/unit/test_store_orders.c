/* Orders, and the records of jobs on real servers: they are followed once, read from every
 * database, and written to each server of a cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slot.h"
#include "store/job_store.h"
#include "store/role.h"
#include "support/lease_rig.h"
#include "support/run_until.h"

static const char *const cluster_args[] = { "--cluster-enabled", "yes", "--cluster-node-timeout",
                                            "5000", NULL };

static struct redis_process other;

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
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    give("hold-1", &first);
    RUN_UNTIL(told.orders == 1);
    assert_string_equal(told.order.id, first.id);
    assert_string_equal(told.order.hold, "hold-1");
    give("hold-2", &second);
    rig_put_followed("held", 1, first.id);
    assert_false(record_writer_has_written_order(writer, first.id));
    RUN_UNTIL(record_writer_has_written_order(writer, first.id));
    assert_false(record_writer_has_written_order(writer, second.id));
    order_reader_done(orders, first.id);
    RUN_UNTIL(told.orders == 2);
    assert_string_equal(told.order.id, second.id);
    rig_put_followed("held", 1, second.id);
    RUN_UNTIL(record_writer_has_written_order(writer, second.id));
    order_reader_done(orders, second.id);
    RUN_UNTIL(strcmp(redis_do(&server, "EXISTS longhaul:{orders}:order"), ":0") == 0);
    rig_run_for(1500);
    assert_int_equal(told.orders, 2);
    rig_release(&k);
}

/* An order that was recorded as followed by a process that then died. */
static void test_order_of_a_former_run(void **state) {
    struct told told = { 0 };
    struct order first;
    struct lease *k = lease_new(target, 0, "orders", "host:1:a", LEASE_MS);
    rig_acquire(k, NULL, &told);
    give("hold-1", &first);
    redis_do(&server, "RPUSH longhaul:{orders}:order broken");
    struct order_reader *reader = order_reader_new(k, first.id, rig_on_order, &told);
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
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    rig_put("live", 1);
    RUN_UNTIL(rig_read_watermark() == 1);
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
    assert_int_equal(rig_read_watermark(), -1);
    rig_release(&k);
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
    rig_open();
    return 0;
}

static int teardown_cluster(void **state) {
    rig_teardown(state);
    redis_stop(&other);
    return 0;
}

static void test_cluster(void **state) {
    struct told told = { 0 };
    struct err err;
    char tag[SLOT_TAG_MAX], id[64];
    struct lease *k = rig_hold("host:1:a", LEASE_MS, &told);
    rig_put_followed("live", 10, "ten");
    RUN_UNTIL(record_writer_has_written_order(writer, "ten"));
    assert_int_equal(rig_read_watermark(), 10);
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
        rig_run_for(50);
        assert_true(deployment_refresh(target, &err));
        t = deployment_topology(target);
    }
    topology_unref(&t);
    assert_int_equal(rig_read_watermark(), 0);
    lease_update_topology(k);
    record_writer_update_topology(writer);
    rig_allow_all();
    assert_false(record_writer_has_written_order(writer, "ten"));
    RUN_UNTIL(record_writer_has_written_order(writer, "ten"));
    assert_int_equal(rig_read_watermark(), 10);
    assert_string_equal(redis_do(&other, "EXISTS longhaul:{%s}:state", slot_tag(8193, tag)), ":1");

    /* One of them loses its record: the oldest counts. */
    rig_release(&k);
    redis_do(&other, "DEL longhaul:{%s}:state", slot_tag(8193, tag));
    assert_int_equal(rig_read_watermark(), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_orders),
        TEST(test_order_of_a_former_run),
        TEST(test_old_order),
        TEST(test_order_text),
        TEST(test_read_all),
        TEST(test_read_all_databases),
        cmocka_unit_test_setup_teardown(test_cluster, setup_cluster, teardown_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
