/* The watch over a side's topology: refreshed when wanted, not more often than allowed, a change
 * reported once, and the outage in one sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/sight.h"
#include "support/redis_process.h"

enum { PATIENCE_MS = 60000 };

static struct redis_process server;
static struct loop *loop;

struct heard {
    int changed, seen;
    unsigned slots_before, slots_now;
    int64_t changed_asked_us, seen_asked_us;
};

static void on_changed(void *ctx, const struct topology *before, const struct topology *now,
                       int64_t asked_us) {
    struct heard *h = ctx;
    h->changed++;
    h->slots_before = SLOT_COUNT - topology_uncovered(before);
    h->slots_now = SLOT_COUNT - topology_uncovered(now);
    h->changed_asked_us = asked_us;
}

static void on_seen(void *ctx, int64_t asked_us) {
    struct heard *h = ctx;
    h->seen++;
    h->seen_asked_us = asked_us;
}

static const struct sight_events events = { on_changed, on_seen };

static struct deployment *open_server(void) {
    struct endpoint endpoint;
    struct err err;
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%d", server.port);
    assert_true(endpoint_parse(&endpoint, "source", text, &err));
    struct deployment_settings settings = { .connect_timeout_ms = 5000, .reply_timeout_ms = 5000 };
    struct deployment *d = deployment_open(loop, &endpoint, &settings, &err);
    endpoint_fini(&endpoint);
    assert_non_null(d);
    return d;
}

static void refreshed_when_wanted_and_not_too_often(void **state) {
    struct deployment *d = open_server();
    struct heard h = { 0 };
    struct sight_settings often = { .pause_ms = 0 }, seldom = { .pause_ms = 3600 * 1000 };
    struct sight *s = sight_new(d, &often, &events, &h);
    sight_step(s);
    assert_int_equal(h.seen, 0); /* nobody wants it */
    int64_t before_us = clock_mono_us();
    sight_want(s);
    sight_step(s);
    assert_int_equal(h.seen, 1);
    assert_true(h.seen_asked_us >= before_us && h.seen_asked_us <= clock_mono_us());
    assert_false(sight_is_wanted(s));
    sight_free(&s);
    s = sight_new(d, &seldom, &events, &h);
    sight_want(s);
    sight_step(s);
    assert_int_equal(h.seen, 1); /* too soon, and not forgotten */
    assert_true(sight_is_wanted(s));
    sight_want_now(s);
    sight_step(s);
    assert_int_equal(h.seen, 2);
    assert_int_equal(h.changed, 0);
    sight_free(&s);
    deployment_free(&d);
}

static void a_change_is_reported_once(void **state) {
    redis_do(&server, "CLUSTER DELSLOTS 7 8 9");
    struct deployment *d = open_server();
    struct heard h = { 0 };
    struct err err;
    struct sight_settings settings = { .pause_ms = 0 };
    struct sight *s = sight_new(d, &settings, &events, &h);
    redis_do(&server, "CLUSTER ADDSLOTS 7");
    sight_want(s);
    sight_step(s);
    sight_step(s);
    assert_int_equal(h.changed, 1);
    assert_int_equal(h.slots_before, SLOT_COUNT - 3);
    assert_int_equal(h.slots_now, SLOT_COUNT - 2);
    assert_int_equal(h.changed_asked_us, h.seen_asked_us);
    /* One that another caller has found: when it was asked for is not known. */
    redis_do(&server, "CLUSTER ADDSLOTS 8 9");
    assert_true(deployment_refresh(d, &err));
    sight_step(s);
    assert_int_equal(h.changed, 2);
    assert_int_equal(h.seen, 1);
    assert_int_equal(h.changed_asked_us, 0);
    sight_free(&s);
    deployment_free(&d);
}

static void polled_where_topologies_change_by_themselves(void **state) {
    struct deployment *d = open_server();
    struct heard h = { 0 };
    struct sight_settings settings = { .pause_ms = 3600 * 1000, .poll_ms = 1 };
    struct sight *s = sight_new(d, &settings, &events, &h);
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (h.seen < 3 && clock_mono_ms() < deadline_ms) sight_step(s);
    assert_int_equal(h.seen, 3);
    sight_free(&s);
    deployment_free(&d);
}

static void an_outage_is_told_once_it_lasts(void **state) {
    struct deployment *d = open_server();
    struct heard h = { 0 };
    struct err err;
    struct sight_settings settings = { .pause_ms = 0, .outage_timeout_ms = 200 };
    struct sight *s = sight_new(d, &settings, &events, &h);
    assert_false(sight_outage(s, &err));
    redis_stop(&server);
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    sight_want(s);
    while (!sight_outage(s, &err) && clock_mono_ms() < deadline_ms) sight_step(s);
    assert_true(sight_outage(s, &err));
    assert_int_equal(err.code, ERR_OUTAGE);
    assert_non_null(strstr(err.text, "longer than --outage-timeout allows: "));
    assert_non_null(strstr(err.place, "source 127.0.0.1"));
    assert_true(sight_down_since_ms(s) > 0);
    assert_int_equal(h.seen, 0);
    sight_free(&s);
    deployment_free(&d);
}

/* A node that left the topology is asked when nobody else answers; one that took another identity
 * meanwhile is not believed. */
static void a_forgotten_node_is_asked_again(void **state) {
    static const char *const args[] = { "--cluster-enabled", "yes", NULL };
    struct redis_process first, second;
    struct err err;
    redis_start(&first, args);
    redis_start(&second, args);
    redis_do(&first, "CLUSTER ADDSLOTSRANGE 0 8191");
    redis_do(&second, "CLUSTER ADDSLOTSRANGE 8192 16383");
    redis_do(&second, "CLUSTER SET-CONFIG-EPOCH 2");
    redis_do(&first, "CLUSTER MEET 127.0.0.1 %d", second.port);
    server = first;
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    struct deployment *d = NULL;
    struct topology *t = NULL;
    for (int n = 0; n < 2 && clock_mono_ms() < deadline_ms; loop_run_once(loop, 50)) {
        deployment_free(&d);
        topology_unref(&t);
        d = open_server();
        t = deployment_topology(d);
        n = t->n_nodes;
    }
    assert_int_equal(t->n_nodes, 2);
    topology_unref(&t);
    /* The second one loses its slots, and with them its place in the topology. */
    redis_do(&first, "CLUSTER DELSLOTSRANGE 8192 16383");
    assert_true(deployment_refresh(d, &err));
    t = deployment_topology(d);
    assert_int_equal(t->n_nodes, 1);
    topology_unref(&t);
    redis_stop(&first);
    assert_true(deployment_refresh(d, &err));
    t = deployment_topology(d);
    int found = -1;
    for (int i = 0; i < t->n_nodes; i++)
        if (t->nodes[i].address.port == second.port) found = i;
    assert_true(found >= 0);
    topology_unref(&t);
    redis_stop(&second);
    assert_false(deployment_refresh(d, &err));
    deployment_free(&d);
}

static void the_sentence(void **state) {
    struct err err;
    int64_t now_ms = clock_mono_ms();
    assert_false(sight_outage_since("x", 0, 1, "c", &err));
    assert_false(sight_outage_since("x", now_ms - 5000, 0, "c", &err));
    assert_false(sight_outage_since("x", now_ms - 5000, 3600 * 1000, "c", &err));
    assert_true(sight_outage_since("x", now_ms - 5000, 5000, "", &err));
    assert_string_equal(err.text,
                        "unusable for 5 s, longer than --outage-timeout allows: no connection");
}

static int setup(void **state) {
    static const char *const args[] = { "--cluster-enabled", "yes", NULL };
    struct err err;
    loop = loop_new(&err);
    redis_start(&server, args);
    redis_do(&server, "CLUSTER ADDSLOTSRANGE 0 16383");
    return loop == NULL;
}

static int teardown(void **state) {
    loop_free(&loop);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refreshed_when_wanted_and_not_too_often),
        cmocka_unit_test(a_change_is_reported_once),
        cmocka_unit_test(polled_where_topologies_change_by_themselves),
        cmocka_unit_test(an_outage_is_told_once_it_lasts),
        cmocka_unit_test(the_sentence),
        cmocka_unit_test(a_forgotten_node_is_asked_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
