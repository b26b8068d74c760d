/* See fixture.h. */
#include "support/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/block.h"

struct loop *loop;
struct redis_process server, source, target, other_node;

static int start_loop(void) {
    struct err err;
    loop = loop_new(&err);
    return loop == NULL;
}

int fixture_start_server(void **state) {
    redis_start(&server, NULL);
    return start_loop();
}

int fixture_stop_server(void **state) {
    loop_free(&loop);
    redis_stop(&server);
    return block_total_bytes() != 0;
}

struct client_settings fixture_client_settings(void) {
    struct client_settings s = { .role = "source",
                                 .protocol = 2,
                                 .reconnect = true,
                                 .connect_timeout_ms = 5000,
                                 .reply_timeout_ms = 20000 };
    address_set(&s.address, BYTES_LITERAL("127.0.0.1"), server.port);
    return s;
}

int fixture_start_sides(void **state) {
    redis_start(&source, NULL);
    redis_start(&target, NULL);
    return start_loop();
}

int fixture_stop_sides(void **state) {
    loop_free(&loop);
    redis_stop(&source);
    redis_stop(&target);
    return block_total_bytes() != 0;
}

int fixture_start_cluster_source(void **state) {
    redis_start_cluster(&source, &other_node, SLOT_COUNT - 1);
    redis_start(&target, NULL);
    return start_loop();
}

int fixture_stop_cluster_source(void **state) {
    redis_stop(&other_node);
    return fixture_stop_sides(state);
}

static struct deployment *open_side(const char *role, const struct redis_process *process,
                                    bool writes) {
    char text[64];
    struct endpoint endpoint;
    struct err err;
    struct deployment_settings settings = { .connect_timeout_ms = 5000,
                                            .reply_timeout_ms = 20000,
                                            .startup_timeout_ms = 20000,
                                            .writes = writes };
    snprintf(text, sizeof(text), "127.0.0.1:%u", process->port);
    assert_true(endpoint_parse(&endpoint, role, text, &err));
    struct deployment *d = deployment_open(loop, &endpoint, &settings, &err);
    if (d == NULL) fail_msg("%s", err.text);
    endpoint_fini(&endpoint);
    return d;
}

void fixture_open_sides(struct deployment *sides[2]) {
    sides[0] = open_side("source", &source, false);
    sides[1] = open_side("target", &target, true);
}

struct copy_plan fixture_plan(struct deployment *const sides[2]) {
    return (struct copy_plan){ .source = sides[0],
                               .target = sides[1],
                               .can = { .source_pexpiretime = true,
                                        .source_memory_usage = true,
                                        .source_getrange = true,
                                        .source_spans_slots = true,
                                        .target_set_pxat = true,
                                        .target_spans_slots = true },
                               .lanes = 1,
                               .target_db = -1,
                               .batch_keys = 50,
                               .window_keys = 1000,
                               .max_args = 1000,
                               .lane_bytes = 16 * 1024 * 1024,
                               .big_key_bytes = 1024 * 1024,
                               .giveup = giveup_new() };
}
