/* Which sides are refused; whether they are found out is for test_refusals.py. */
#include "probe/sides.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define A_REPLID "1111111111111111111111111111111111111111"
#define B_REPLID "2222222222222222222222222222222222222222"

struct pair {
    struct side_server servers[2];
    struct side_place places[2];
    char ids[2][1][TOPOLOGY_ID_MAX];
    struct side_facts source, target;
};

/* Two servers that have nothing to do with each other. */
static void pair_set(struct pair *p) {
    *p = (struct pair){ 0 };
    for (int i = 0; i < 2; i++) {
        struct server_info *info = &p->servers[i].info;
        snprintf(info->run_id, sizeof(info->run_id), "run%d", i);
        snprintf(info->replid, sizeof(info->replid), "%s", i == 0 ? A_REPLID : B_REPLID);
        snprintf(info->version_text, sizeof(info->version_text), "7.0.15");
        info->version = info->redis_version = SERVER_VERSION(7, 0, 15);
        snprintf(p->places[i].ip, sizeof(p->places[i].ip), "10.0.0.%d", i);
        p->places[i].port = 6379;
        snprintf(p->ids[i][0], TOPOLOGY_ID_MAX, "node%d", i);
        struct side_facts *facts = i == 0 ? &p->source : &p->target;
        *facts = (struct side_facts){ "side", &p->servers[i], 1, &p->places[i], 1, p->ids[i], 1 };
    }
}

static bool allowed(const struct pair *p, struct err *err) {
    return sides_judge(&p->source, &p->target, false, err);
}

static void assert_refused(const struct pair *p, enum err_code code, const char *word) {
    struct err err;
    assert_false(allowed(p, &err));
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.text, word));
}

static void strangers_are_allowed(void **state) {
    struct pair p;
    struct err err;
    pair_set(&p);
    assert_true(allowed(&p, &err));
}

static void one_server_is_refused_but_for_two_databases(void **state) {
    struct pair p;
    struct err err;
    pair_set(&p);
    p.servers[1].info = p.servers[0].info;
    assert_refused(&p, ERR_USAGE, "the same server");
    assert_true(sides_judge(&p.source, &p.target, true, &err));
}

static void one_history_is_refused(void **state) {
    struct pair p;
    pair_set(&p);
    memcpy(p.servers[1].info.replid, A_REPLID, sizeof(A_REPLID));
    assert_refused(&p, ERR_USAGE, "replication group");
}

static void ids_that_are_not_known_are_no_evidence(void **state) {
    struct pair p;
    struct err err;
    pair_set(&p);
    for (int i = 0; i < 2; i++) {
        p.servers[i].info.run_id[0] = p.ids[i][0][0] = '\0';
        memset(p.servers[i].info.replid, '0', 40);
    }
    assert_true(allowed(&p, &err));
}

/* A replica that has not synchronised has a replid of its own; its primary's address tells. */
static void a_replica_of_the_other_side_is_refused(void **state) {
    struct pair p;
    for (int i = 0; i < 2; i++) {
        pair_set(&p);
        p.servers[i].info.replica = true;
        p.servers[i].primary = p.places[1 - i];
        assert_refused(&p, ERR_USAGE, i == 0 ? "source is a replica" : "target is a replica");
    }
}

static void a_detached_replica_is_allowed(void **state) {
    struct pair p;
    struct err err;
    pair_set(&p);
    memcpy(p.servers[1].former_replid, A_REPLID, sizeof(A_REPLID));
    assert_true(allowed(&p, &err));
}

static void one_cluster_is_refused(void **state) {
    struct pair p;
    pair_set(&p);
    memcpy(p.ids[1][0], p.ids[0][0], TOPOLOGY_ID_MAX);
    assert_refused(&p, ERR_USAGE, "the same cluster");
}

static void servers_before_4_0_are_refused(void **state) {
    struct pair p;
    for (int i = 0; i < 2; i++) {
        pair_set(&p);
        p.servers[i].info.version = p.servers[i].info.redis_version = SERVER_VERSION(3, 2, 13);
        assert_refused(&p, ERR_UNSUPPORTED, "4.0");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_allowed),
        cmocka_unit_test(one_server_is_refused_but_for_two_databases),
        cmocka_unit_test(one_history_is_refused),
        cmocka_unit_test(ids_that_are_not_known_are_no_evidence),
        cmocka_unit_test(a_replica_of_the_other_side_is_refused),
        cmocka_unit_test(a_detached_replica_is_allowed),
        cmocka_unit_test(one_cluster_is_refused),
        cmocka_unit_test(servers_before_4_0_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
