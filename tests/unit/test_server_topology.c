/* The picture of a cluster: CLUSTER SLOTS as each version and ElastiCache answer it, answers that
 * must be refused, and the questions of the rest of the program to the picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/topology.h"

static struct address from(void) {
    struct address a;
    address_set(&a, BYTES_LITERAL("config.example"), 6379);
    return a;
}

/* raw may use '|' for CRLF. */
static struct topology *parse(const char *raw, struct err *err) {
    char *text = mem_alloc(2 * strlen(raw) + 1), *p = text;
    for (; *raw != '\0'; raw++) {
        if (*raw == '|') *p++ = '\r';
        *p++ = *raw == '|' ? '\n' : *raw;
    }
    struct bytes all = bytes_of(text, (size_t)(p - text));
    struct resp_framer framer = { 0 };
    assert_int_equal(resp_frame(&framer, all, err), RESP_FRAMED);
    assert_int_equal(framer.pos, all.len);
    struct address a = from();
    *err = (struct err){ 0 };
    struct topology *t =
        topology_parse_slots(resp_cursor_of(all), &a, "source config.example:6379", err);
    free(text);
    return t;
}

static struct topology *parse_good(const char *raw) {
    struct err err;
    struct topology *t = parse(raw, &err);
    if (t == NULL) fail_msg("%s", err.text);
    return t;
}

static void assert_node(const struct topology *t, int node, const char *shown) {
    char buf[ADDRESS_HOST_MAX + 16];
    assert_in_range(node, 0, t->n_nodes - 1);
    assert_string_equal(address_format(&t->nodes[node].address, buf, sizeof(buf)), shown);
}

#define NODE(host, port, id) "*3|" host ":" port "|" id
#define THREE                                                                                      \
    "*3|"                                                                                          \
    "*4|:0|:5460|" NODE("$8|10.0.0.1|", "7000", "$2|p1|")                                          \
        NODE("$8|10.0.0.4|", "7003", "$2|r1|") "*4|:5461|:10922|" NODE("$8|10.0.0.2|", "7001",     \
                                                                       "$2|p2|")                   \
            NODE("$8|10.0.0.5|", "7004", "$2|r2|") "*4|:10923|:16383|" NODE(                       \
                "$8|10.0.0.3|", "7002", "$2|p3|") NODE("$8|10.0.0.6|", "7005", "$2|r3|")

static void whole_cluster(void **state) {
    struct topology *t = parse_good(THREE);
    assert_true(t->cluster);
    assert_int_equal(t->n_nodes, 6);
    assert_int_equal(t->n_primaries, 3);
    assert_int_equal(topology_uncovered(t), 0);
    assert_node(t, t->owner[0], "10.0.0.1:7000");
    assert_node(t, t->owner[5460], "10.0.0.1:7000");
    assert_node(t, t->owner[5461], "10.0.0.2:7001");
    assert_node(t, t->owner[16383], "10.0.0.3:7002");
    assert_string_equal(t->nodes[t->owner[16383]].id, "p3");
    assert_int_equal(topology_slots_of(t, t->owner[0]), 5461);
    struct address a;
    address_set(&a, BYTES_LITERAL("10.0.0.5"), 7004);
    int replica = topology_find(t, &a);
    assert_false(topology_is_primary(t, replica));
    assert_int_equal(t->nodes[replica].primary, t->owner[6000]);
    a.port = 1;
    assert_int_equal(topology_find(t, &a), -1);
    int without = -1;
    assert_true(topology_read_from_replicas(t, &without));
    assert_int_equal(t->nodes[t->owner[6000]].reader, replica);
    topology_unref(&t);
    assert_null(t);
}

static void hosts(void **state) {
    /* Null and empty mean the host that was asked; "?" has its address in the metadata. */
    struct topology *t = parse_good("*1|*5|:0|:16383|" NODE("$-1|", "7000", "$1|a|") NODE(
        "$0||", "7001", "$1|b|") "*4|$1|?|:7002|$1|c|*2|$2|ip|$8|10.0.0.7|");
    assert_node(t, 0, "config.example:7000");
    assert_node(t, 1, "config.example:7001");
    assert_node(t, 2, "10.0.0.7:7002");
    topology_unref(&t);
    t = parse_good("*1|*4|:0|:16383|" NODE(
        "_|", "7000", "$1|a|") "*4|$6|a.host|:7002|$1|c|%2|$2|ip|$8|10.0.0.7|$1|x|_|");
    assert_node(t, 0, "config.example:7000");
    assert_node(t, 1, "a.host:7002");
    topology_unref(&t);
    /* Metadata of RESP2 with the name behind the address; and none at all, as 6.0 answers. */
    t = parse_good(
        "*2|*3|:0|:1|*4|$8|10.0.0.1|:7000|$1|a|*2|$8|hostname|$6|a.host|*3|:2|:3|*2|$8|10.0.0.2|"
        ":7000|");
    assert_node(t, 0, "10.0.0.1:7000");
    assert_node(t, 1, "10.0.0.2:7000");
    assert_string_equal(t->nodes[1].id, "");
    topology_unref(&t);
    t = parse_good("*1|*3|:0|:16383|*4|$1|?|:7002|$1|c|*0|");
    assert_node(t, 0, "config.example:7002");
    topology_unref(&t);
}

static void gaps_and_roles(void **state) {
    /* A node that is named as a replica first and owns slots itself is a primary. */
    struct topology *t = parse_good(
        "*3|*4|:0|:10|" NODE("$1|a|", "1", "$1|a|") NODE("$1|b|", "1", "$1|b|") "*3|:20|:30|" NODE(
            "$1|b|", "1", "$1|b|") "*3|:40|:50|" NODE("$1|a|", "1", "$1|a|"));
    assert_int_equal(t->n_nodes, 2);
    assert_int_equal(t->n_primaries, 2);
    assert_int_equal(topology_uncovered(t), SLOT_COUNT - 33);
    assert_int_equal(t->owner[11], -1);
    assert_int_equal(topology_slots_of(t, 0), 22);
    int without = -1;
    assert_false(topology_read_from_replicas(t, &without));
    assert_int_equal(without, 0);
    topology_unref(&t);
}

static void refused(void **state) {
    static const char *const bad[] = {
        "+OK|",
        ":1|",
        "_|",
        "-ERR x|",
        "*1|:1|",
        "*1|*2|:0|:1|",
        "*1|*3|:0|:16384|" NODE("$1|a|", "1", "$1|a|"),
        "*1|*3|:-1|:5|" NODE("$1|a|", "1", "$1|a|"),
        "*1|*3|:9|:5|" NODE("$1|a|", "1", "$1|a|"),
        "*1|*3|$1|0|:5|" NODE("$1|a|", "1", "$1|a|"),
        "*1|*3|:0|:5|" NODE("$1|a|", "65536", "$1|a|"),
        "*1|*3|:0|:5|" NODE("$1|a|", "-1", "$1|a|"),
        "*1|*3|:0|:5|*1|$1|a|",
        "*1|*3|:0|:5|*0|",
        "*1|*3|:0|:5|$1|a|",
        "*1|*3|:0|:5|*2|$1|a|$1|1|",
        "*1|*3|:0|:5|*2|*0|:1|",
        "*1|*4|:0|:5|" NODE("$1|a|", "1", "$1|a|") ":1|",
        "*1|*3|:0|:5|*3|$1|a|:1|*0|",
    };
    struct err err;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_null(parse(bad[i], &err));
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_string_equal(err.place, "source config.example:6379");
    }
    assert_null(parse("*0|", &err));
    assert_int_equal(err.code, ERR_CLUSTERDOWN);
    /* A primary that speaks TLS only, asked for without. */
    assert_null(parse("*1|*3|:0|:5|" NODE("$1|a|", "0", "$1|a|"), &err));
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "TLS"));
    /* Such a replica is left out. */
    struct topology *t =
        parse_good("*1|*4|:0|:5|" NODE("$1|a|", "1", "$1|a|") NODE("$1|b|", "0", "$1|b|"));
    assert_int_equal(t->n_nodes, 1);
    topology_unref(&t);
}

static void hostile_sizes(void **state) {
    struct err err;
    char host[ADDRESS_HOST_MAX + 1], text[2048];
    memset(host, 'h', ADDRESS_HOST_MAX);
    host[ADDRESS_HOST_MAX] = '\0';
    snprintf(text, sizeof(text), "*1|*3|:0|:5|*3|$%d|%s|:1|$1|a|", ADDRESS_HOST_MAX, host);
    assert_null(parse(text, &err));
    snprintf(text, sizeof(text), "*1|*3|:0|:5|*3|$1|a|:1|$%d|%s|", ADDRESS_HOST_MAX, host);
    struct topology *t = parse_good(text);
    assert_true(strlen(t->nodes[0].id) < TOPOLOGY_ID_MAX);
    topology_unref(&t);
    /* More nodes than there may be. */
    char *many = mem_alloc((TOPOLOGY_NODES_MAX + 2) * 32), *p = many;
    p += sprintf(p, "*1|*%d|:0|:5|", TOPOLOGY_NODES_MAX + 3);
    for (int i = 1; i <= TOPOLOGY_NODES_MAX + 1; i++) p += sprintf(p, "*3|$1|a|:%d|$1|a|", i);
    assert_null(parse(many, &err));
    assert_non_null(strstr(err.text, "more than 4096 nodes"));
    free(many);
}

static void equality(void **state) {
    struct topology *a = parse_good(THREE), *b = parse_good(THREE);
    assert_true(topology_equal(a, b));
    topology_unref(&b);
    /* Other order of nodes, same picture. */
    b = parse_good("*3|*4|:10923|:16383|" NODE("$8|10.0.0.3|", "7002", "$2|p3|") NODE(
        "$8|10.0.0.6|", "7005", "$2|r3|") "*4|:0|:5460|" NODE("$8|10.0.0.1|", "7000", "$2|p1|")
                       NODE("$8|10.0.0.4|", "7003",
                            "$2|r1|") "*4|:5461|:10922|" NODE("$8|10.0.0.2|", "7001", "$2|p2|")
                           NODE("$8|10.0.0.5|", "7004", "$2|r2|"));
    assert_true(topology_equal(a, b));
    topology_unref(&b);
    /* Two replicas have changed places. */
    b = parse_good("*3|*4|:0|:5460|" NODE("$8|10.0.0.1|", "7000", "$2|p1|") NODE(
        "$8|10.0.0.5|", "7004", "$2|r2|") "*4|:5461|:10922|" NODE("$8|10.0.0.2|", "7001", "$2|p2|")
                       NODE("$8|10.0.0.4|", "7003",
                            "$2|r1|") "*4|:10923|:16383|" NODE("$8|10.0.0.3|", "7002", "$2|p3|")
                           NODE("$8|10.0.0.6|", "7005", "$2|r3|"));
    assert_false(topology_equal(a, b));
    topology_unref(&b);
    struct address single = from();
    b = topology_new_single(&single);
    assert_false(topology_equal(a, b));
    topology_unref(&b);
    topology_unref(&a);
}

static void single(void **state) {
    struct address a = from(), r;
    struct topology *t = topology_new_single(&a);
    assert_false(t->cluster);
    assert_int_equal(topology_slots_of(t, 0), SLOT_COUNT);
    assert_true(topology_is_primary(t, 0));
    int without = -1;
    assert_false(topology_read_from_replicas(t, &without));
    assert_int_equal(t->nodes[0].reader, 0);
    address_set(&r, BYTES_LITERAL("10.0.0.2"), 6379);
    topology_add_replica(t, &r);
    topology_add_replica(t, &r);
    topology_add_replica(t, &a);
    assert_int_equal(t->n_nodes, 2);
    assert_true(topology_is_primary(t, 0) && !topology_is_primary(t, 1));
    assert_true(topology_read_from_replicas(t, &without));
    assert_int_equal(t->nodes[0].reader, 1);
    topology_unref(&t);
}

static void open_slots(void **state) {
    struct slot_set migrating = { 0 }, importing = { 0 };
    struct bytes text = BYTES_LITERAL(
        "aa 127.0.0.1:7001@17001,host myself,master - 0 1 1 connected 0-5460 [93->-bb] "
        "[16383->-bb] [7-<-cc]\n"
        "bb fe80::1:7002@17002 master - 0 1 2 connected 5461-10922 12000\n"
        "cc :0@0 slave,fail bb 0 1 2 disconnected\n"
        "[ [] [x->-y] [-1->-y] [16384->-y] [99999999999999999999->-y] [5 [5- [5-x [8-<-");
    topology_open_slots(text, &migrating, &importing);
    assert_true(slot_set_has(&migrating, 93) && slot_set_has(&migrating, 16383));
    assert_true(slot_set_has(&importing, 7) && slot_set_has(&importing, 8));
    assert_int_equal(slot_set_count(&migrating), 2);
    assert_int_equal(slot_set_count(&importing), 2);
    topology_open_slots(text, NULL, NULL);
    topology_open_slots(bytes_of("", 0), &migrating, NULL);
}

static void *take_and_give(void *arg) {
    for (int i = 0; i < 100000; i++) {
        struct topology *mine = topology_ref(arg);
        topology_unref(&mine);
    }
    return NULL;
}

static void counted_across_threads(void **state) {
    struct address a = from();
    struct topology *t = topology_new_single(&a);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, take_and_give, t);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_int_equal(t->refs, 1);
    topology_unref(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_cluster),
        cmocka_unit_test(hosts),
        cmocka_unit_test(gaps_and_roles),
        cmocka_unit_test(refused),
        cmocka_unit_test(hostile_sizes),
        cmocka_unit_test(equality),
        cmocka_unit_test(single),
        cmocka_unit_test(open_slots),
        cmocka_unit_test(counted_across_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
