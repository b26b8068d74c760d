/* A live job between two real clusters: slots that move between servers of the source, and a server
 * of the target that takes another one's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "support/live_rig.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, KEYS = 40, ID_MAX = 41 };

static struct redis_process joined;  /* of the source; owns nothing at first */
static struct redis_process standby; /* of the target: a replica */
static bool moved[SLOT_COUNT];       /* to the one that joined */

static int begin(void **state) {
    rig_init(&rig);
    return 0;
}

/* ---- clusters ---- */

static void node_id(const struct redis_process *p, char id[ID_MAX]) {
    snprintf(id, ID_MAX, "%s",
             redis_do(p, "EVAL \"return {ok=redis.call('cluster','myid')}\" 0") + 1);
}

static bool cluster_is_well(const struct redis_process *p) {
    const char *text = redis_do(p, "EVAL \"local i=redis.call('cluster','info') return "
                                   "{ok=string.match(i,'cluster_state:(%%w+)')..string.match(i,"
                                   "'cluster_known_nodes:(%%d+)')}\" 0");
    return strcmp(text, "+ok2") == 0;
}

static bool is_in_step(const struct redis_process *replica) {
    const char *text = redis_do(replica, "EVAL \"return {ok=string.match(redis.call('info',"
                                         "'replication'),'master_link_status:(%%w+)')}\" 0");
    return strcmp(text, "+up") == 0;
}

static uint16_t slot_of(int key) {
    char name[32];
    snprintf(name, sizeof(name), "key:%d", key);
    return slot_of_key(bytes_of_str(name));
}

static const struct redis_process *owner_of(int key) {
    return moved[slot_of(key)] ? &joined : &source;
}

/* A key's slot with all its keys, as operators move it. */
static void move_slot_of(int key) {
    uint16_t slot = slot_of(key);
    const struct redis_process *from = owner_of(key), *to = from == &source ? &joined : &source;
    char from_id[ID_MAX], to_id[ID_MAX];
    node_id(from, from_id);
    node_id(to, to_id);
    redis_do(to, "CLUSTER SETSLOT %d IMPORTING %s", slot, from_id);
    redis_do(from, "CLUSTER SETSLOT %d MIGRATING %s", slot, to_id);
    for (int i = 0; i < KEYS; i++)
        if (slot_of(i) == slot) redis_do(from, "MIGRATE 127.0.0.1 %d key:%d 0 5000", to->port, i);
    assert_string_equal(redis_do(to, "CLUSTER SETSLOT %d NODE %s", slot, to_id), "+OK");
    assert_string_equal(redis_do(from, "CLUSTER SETSLOT %d NODE %s", slot, to_id), "+OK");
    moved[slot] = to == &joined;
}

/* ---- data ---- */

static void append(int key) {
    const char *reply = redis_do(owner_of(key), "APPEND key:%d x", key);
    if (reply[0] != ':') fail_msg("%s", reply);
}

static int length_at(const struct redis_process *p, int key) {
    return atoi(redis_do(p, "STRLEN key:%d", key) + 1);
}

static void assert_equal_at(const struct redis_process *of_target) {
    for (int i = 0; i < KEYS; i++)
        if (length_at(of_target, i) != length_at(owner_of(i), i)) fail_msg("key:%d", i);
}

/* ---- the source ---- */

/* Live, and the topology was asked for since all of it is listened to. */
static void go_live(void) {
    RIG_GO_LIVE(&rig);
    unsigned seen = rig.seen;
    RIG_UNTIL(&rig, rig.seen > seen + 1);
    RIG_CATCH_UP(&rig);
}

#define SEE_ANOTHER_TOPOLOGY(of_target, change)                                                    \
    do {                                                                                           \
        unsigned topologies = rig.topologies[of_target];                                           \
        change;                                                                                    \
        RIG_UNTIL(&rig, rig.topologies[of_target] > topologies);                                   \
    } while (0)

static void slots_of_a_server_that_nobody_listened_to_have_a_gap(void **state) {
    go_live();
    assert_equal_at(&target);
    SEE_ANOTHER_TOPOLOGY(0, (move_slot_of(0), append(0)));
    RIG_UNTIL(&rig, rig_look(&rig).gaps_opened == 1);
    RIG_CATCH_UP(&rig);
    append(0);
    append(1);
    RIG_CATCH_UP(&rig);
    assert_equal_at(&target);
    assert_int_equal(rig_look(&rig).gaps_opened, 1);
    assert_non_null(strstr(rig.text[EVENT_RESYNC], "resync of 1 slots: every key"));
    rig_stop(&rig);
}

static void slots_that_move_between_servers_that_are_listened_to_have_none(void **state) {
    go_live();
    SEE_ANOTHER_TOPOLOGY(0, move_slot_of(2));
    append(0);
    append(2);
    RIG_CATCH_UP(&rig);
    assert_equal_at(&target);
    assert_int_equal(rig_look(&rig).gaps_opened, 0);
    rig_stop(&rig);
}

static unsigned count_nodes(void) {
    unsigned n = 0;
    struct topology *t = deployment_topology(rig.sides[0]);
    n = (unsigned)t->n_primaries;
    topology_unref(&t);
    return n;
}

static void a_server_that_has_no_slots_left_is_listened_to_no_more(void **state) {
    go_live();
    move_slot_of(0);
    move_slot_of(2);
    RIG_UNTIL(&rig, count_nodes() == 1);
    append(0);
    append(2);
    RIG_CATCH_UP(&rig);
    assert_equal_at(&target);
    RIG_UNTIL(&rig, redis_do(&joined, "PUBSUB CHANNELS longhaul:nobody")[1] == '0');
    rig_stop(&rig);
}

/* ---- the target ---- */

static void a_server_that_takes_the_place_of_a_primary_says_how_far_it_is(void **state) {
    RIG_GO_LIVE(&rig);
    RIG_UNTIL(&rig, rig.allowed == 1);
    RIG_CATCH_UP(&rig);
    SEE_ANOTHER_TOPOLOGY(1, redis_do(&standby, "CLUSTER FAILOVER TAKEOVER"));
    RIG_UNTIL(&rig, rig.events[EVENT_TARGET_LOST] > 0);
    assert_non_null(strstr(rig.text[EVENT_TARGET_LOST], "another server took a primary's place"));
    assert_non_null(strstr(rig.text[EVENT_TARGET_LOST], "resync of every key"));
    assert_int_equal(rig.records_read, 1);
    append(5);
    RIG_CATCH_UP(&rig);
    assert_equal_at(&standby);
    assert_int_equal(rig.allowed, 2);
    rig_stop(&rig);
}

static void start_cluster(struct redis_process *primary, struct redis_process *other) {
    /* A primary that has lost its last slot stays one. */
    static const char *const args[] = { "--cluster-enabled",
                                        "yes",
                                        "--cluster-allow-replica-migration",
                                        "no",
                                        "--repl-diskless-sync-delay",
                                        "0",
                                        NULL };
    redis_start(primary, args);
    redis_start(other, args);
    redis_do(primary, "CLUSTER ADDSLOTSRANGE 0 16383");
    redis_do(other, "CLUSTER SET-CONFIG-EPOCH 2");
    redis_do(primary, "CLUSTER MEET 127.0.0.1 %d", other->port);
}

static int setup(void **state) {
    struct err err;
    char id[ID_MAX];
    log_set_level(LOG_ERROR);
    loop = loop_new(&err);
    start_cluster(&source, &joined);
    start_cluster(&target, &standby);
    node_id(&target, id);
    RUN_UNTIL(strcmp(redis_do(&standby, "CLUSTER REPLICATE %s", id), "+OK") == 0);
    RUN_UNTIL(is_in_step(&standby));
    RUN_UNTIL(cluster_is_well(&source) && cluster_is_well(&joined) && cluster_is_well(&target));
    for (int i = 0; i < KEYS; i++) append(i);
    return 0;
}

static int teardown(void **state) {
    redis_stop(&joined);
    redis_stop(&standby);
    return fixture_stop_sides(state);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, begin, rig_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        RULE(slots_of_a_server_that_nobody_listened_to_have_a_gap),
        RULE(slots_that_move_between_servers_that_are_listened_to_have_none),
        RULE(a_server_that_has_no_slots_left_is_listened_to_no_more),
        RULE(a_server_that_takes_the_place_of_a_primary_says_how_far_it_is),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
