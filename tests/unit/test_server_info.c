/* INFO of every flavour and version in the shape in which it comes: CRLF lines, sections, fields
 * that begin alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/info.h"

#define L "\r\n"

static const char redis_5[] =
    "# Server" L "redis_version:5.0.14" L "redis_git_sha1:00000000" L "redis_mode:standalone" L
    "os:Linux 5.10.0 x86_64" L "run_id:1f4ff5b7ba5ac6d0e5ab9b0d2f3c9a8d7e6f5a4b" L
    "tcp_port:6379" L L "# Memory" L "used_memory:1000000" L "used_memory_human:976.56K" L
    "used_memory_dataset:500000" L "used_memory_dataset_perc:50.00%" L
    "total_system_memory:8000000000" L "maxmemory:2147483648" L "maxmemory_human:2.00G" L
    "maxmemory_policy:noeviction" L L "# Persistence" L "loading:0" L L "# Replication" L
    "role:slave" L "master_host:10.0.0.9" L "master_port:6390" L "master_link_status:up" L
    "slave_read_only:1" L "connected_slaves:0" L
    "master_replid:aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd" L
    "master_replid2:0000000000000000000000000000000000000000" L L "# Cluster" L
    "cluster_enabled:0" L L "# Keyspace" L "db0:keys=12,expires=3,avg_ttl=0" L
    "db11:keys=7,expires=0,avg_ttl=0" L;

static const char redis_6[] =
    "# Server" L "redis_version:6.0.20" L "redis_mode:cluster" L "run_id:r6" L L "# Persistence" L
    "loading:1" L "loading_start_time:5" L L "# Replication" L "role:master" L
    "connected_slaves:1" L "slave0:ip=127.0.0.1,port=7003,state=online,offset=14,lag=0" L L
    "# Cluster" L "cluster_enabled:1" L L "# Keyspace" L;

static const char redis_7[] =
    "# Server" L "redis_version:7.0.15" L "redis_mode:standalone" L "run_id:r7" L
    "os:Linux 6.1.0" L L "# Memory" L "maxmemory:0" L "maxmemory_policy:allkeys-lru" L L
    "# Keyspace" L "db0:keys=1000000,expires=500000,avg_ttl=8633" L;

static const char redis_8[] =
    "# Server" L "redis_version:8.0.2" L "redis_mode:standalone" L "run_id:r8" L L "# Keyspace" L
    "db0:keys=5,expires=1,avg_ttl=0,subexpiry=2" L L "# Keysizes" L
    "db0_distrib_strings_sizes:1=5,2=3" L "db3:keys=1,expires=0,avg_ttl=0,subexpiry=0" L;

static const char valkey_8[] =
    "# Server" L "redis_version:7.2.4" L "server_name:valkey" L "valkey_version:8.1.1" L
    "valkey_release_stage:ga" L "server_mode:standalone" L "run_id:v8" L L "# Keyspace" L
    "db0:keys=9,expires=8,avg_ttl=0" L;

static const char valkey_9[] =
    "# Server" L "redis_version:7.2.4" L "server_name:valkey" L "valkey_version:9.1.2" L
    "server_mode:cluster" L "run_id:v9" L L "# Keyspace" L
    "db0:keys=9,expires=8,avg_ttl=0,keys_with_volatile_items=1" L
    "db15:keys=1,expires=1,avg_ttl=0" L;

static struct server_info parsed(const char *text) {
    struct server_info info;
    memset(&info, 0xee, sizeof(info));
    server_info_parse(&info, bytes_of_str(text));
    return info;
}

static void assert_name(const struct server_info *info, const char *expected) {
    char buf[64];
    assert_string_equal(server_info_name(info, buf, sizeof(buf)), expected);
}

static void replica_of_5(void **state) {
    struct server_info i = parsed(redis_5);
    assert_name(&i, "redis 5.0.14");
    assert_int_equal(i.version, SERVER_VERSION(5, 0, 14));
    assert_string_equal(i.run_id, "1f4ff5b7ba5ac6d0e5ab9b0d2f3c9a8d7e6f5a4b");
    assert_true(i.replica && i.primary_link_up && !i.cluster && !i.loading);
    assert_string_equal(i.primary_host, "10.0.0.9");
    assert_int_equal(i.primary_port, 6390);
    assert_string_equal(i.replid, "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd");
    assert_int_equal(i.maxmemory, 2147483648);
    assert_int_equal(i.used_memory, 1000000);
    assert_int_equal(i.used_memory_dataset, 500000);
    assert_int_equal(i.total_system_memory, 8000000000);
    assert_string_equal(i.maxmemory_policy, "noeviction");
    assert_string_equal(i.os, "Linux 5.10.0 x86_64");
}

static void flavours(void **state) {
    struct server_info i = parsed(redis_6);
    assert_true(i.cluster && i.loading && !i.replica && i.flavour == SERVER_REDIS);
    assert_int_equal(i.version, 60020);
    i = parsed(redis_7);
    assert_name(&i, "redis 7.0.15");
    assert_true(i.version == i.redis_version && !i.cluster && i.maxmemory == 0);
    i = parsed(redis_8);
    assert_int_equal(i.version, 80002);
    i = parsed(valkey_8);
    assert_name(&i, "valkey 8.1.1");
    assert_int_equal(i.version, SERVER_VERSION(8, 1, 1));
    assert_int_equal(i.redis_version, SERVER_VERSION(7, 2, 4));
    assert_false(i.cluster);
    i = parsed(valkey_9);
    assert_true(i.cluster && i.flavour == SERVER_VALKEY);
    assert_int_equal(i.version, SERVER_VERSION(9, 1, 2));
}

static void keyspace(void **state) {
    uint64_t keys, expires;
    int dbs[16];
    info_keyspace(bytes_of_str(redis_5), 11, &keys, &expires);
    assert_true(keys == 7 && expires == 0);
    info_keyspace(bytes_of_str(redis_5), 1, &keys, &expires);
    assert_true(keys == 0 && expires == 0);
    info_keyspace(bytes_of_str(redis_7), 0, &keys, &expires);
    assert_true(keys == 1000000 && expires == 500000);
    info_keyspace(bytes_of_str(valkey_9), 0, &keys, &expires);
    assert_true(keys == 9 && expires == 8);
    assert_int_equal(info_databases(bytes_of_str(redis_5), dbs, 16), 2);
    assert_true(dbs[0] == 0 && dbs[1] == 11);
    assert_int_equal(info_databases(bytes_of_str(redis_5), dbs, 1), 1);
    assert_int_equal(info_databases(bytes_of_str(redis_6), dbs, 16), 0);
    assert_int_equal(info_databases(bytes_of_str(redis_8), dbs, 16), 2);
    assert_int_equal(dbs[1], 3);
}

static void numbers(void **state) {
    struct bytes info = BYTES_LITERAL(
        "total_forks:7\r\nmaster_repl_offset:123456789012345\r\nbad:x\r\nlow:-1\r\nnone:\r\n");
    uint64_t n;
    assert_true(info_number(info, "total_forks", &n) && n == 7);
    assert_true(info_number(info, "master_repl_offset", &n) && n == 123456789012345);
    assert_false(info_number(info, "bad", &n) || n != 0);
    assert_false(info_number(info, "low", &n) || n != 0);
    assert_false(info_number(info, "none", &n) || info_number(info, "absent", &n));
}

static void children(void **state) {
    assert_false(info_has_child(bytes_of_str(redis_5)));
    assert_false(
        info_has_child(BYTES_LITERAL("rdb_bgsave_in_progress:0\r\naof_rewrite_in_progress:0\r\n")));
    assert_true(
        info_has_child(BYTES_LITERAL("rdb_bgsave_in_progress:1\r\naof_rewrite_in_progress:0\r\n")));
    assert_true(
        info_has_child(BYTES_LITERAL("rdb_bgsave_in_progress:0\r\naof_rewrite_in_progress:1\r\n")));
    assert_true(info_has_child(BYTES_LITERAL("module_fork_in_progress:1\r\n")));
    assert_false(info_has_child(BYTES_LITERAL("aof_rewrite_scheduled:1\r\n")));
}

static void replicas(void **state) {
    uint64_t lowest;
    assert_int_equal(info_replicas(bytes_of_str(redis_6), &lowest), 1);
    assert_int_equal(lowest, 14);
    assert_int_equal(info_replicas(bytes_of_str(redis_5), &lowest), 0);
    assert_int_equal(lowest, 0);
    struct bytes several =
        BYTES_LITERAL("slave_read_only:1\r\n"
                      "slave0:ip=10.0.0.1,port=1,state=online,offset=300,lag=0\r\n"
                      "slave1:ip=10.0.0.2,port=1,state=wait_bgsave,offset=0,lag=0\r\n"
                      "slave2:ip=10.0.0.3,port=1,state=online,offset=200,lag=1,type=replica\r\n");
    assert_int_equal(info_replicas(several, &lowest), 2);
    assert_int_equal(lowest, 200);
    struct bytes silent = BYTES_LITERAL(
        "slave0:ip=h,port=1,state=online,offset=9\nslave1:ip=h,port=1,state=online\n");
    assert_int_equal(info_replicas(silent, &lowest), 2);
    assert_int_equal(lowest, 0);
}

static void calls(void **state) {
    struct bytes redis_62 =
        BYTES_LITERAL("# Commandstats\r\ncmdstat_xgroup:calls=5,usec=9,usec_per_call=1.80,"
                      "rejected_calls=1,failed_calls=0\r\ncmdstat_xgroupx:calls=100,usec=1\r\n"
                      "cmdstat_set:calls=3,usec=1\r\n");
    struct bytes redis_70 =
        BYTES_LITERAL("# Commandstats\r\ncmdstat_xgroup|create:calls=2,usec=9\r\n"
                      "cmdstat_xgroup|setid:calls=3,usec=9\r\ncmdstat_function|list:calls=9\r\n"
                      "cmdstat_function|load:calls=1,usec=40\r\n");
    assert_int_equal(info_calls(redis_62, "xgroup"), 5);
    assert_int_equal(info_calls(redis_62, "set"), 3);
    assert_int_equal(info_calls(redis_62, "se"), 0);
    assert_int_equal(info_calls(redis_70, "xgroup"), 5);
    assert_int_equal(info_calls(redis_70, "xgroup|setid"), 3);
    assert_int_equal(info_calls(redis_70, "function|load"), 1);
    assert_int_equal(info_calls(redis_70, "function|delete"), 0);
    assert_true(info_counts_calls(redis_62) && info_counts_calls(redis_70));
    assert_false(info_counts_calls(bytes_of_str(redis_7)) ||
                 info_counts_calls(BYTES_LITERAL("# Commandstats\r\n")));
}

static void processor_time(void **state) {
    static const char redis_60[] =
        "used_cpu_sys:1.006226" L "used_cpu_user:20.002075" L "used_cpu_sys_children:9.000904" L
        "used_cpu_user_children:9.001039" L;
    static const char redis_70[] =
        "used_cpu_sys:5.000000" L "used_cpu_user:5.000000" L "used_cpu_sys_main_thread:0.003076" L
        "used_cpu_user_main_thread:1.000001" L;
    assert_int_equal(info_cpu_us(bytes_of_str(redis_60)), 21008301);
    assert_int_equal(info_cpu_us(bytes_of_str(redis_70)), 1003077);
    static const char *const odd[] = { "",
                                       "used_cpu_sys:1.000000",
                                       "used_cpu_sys:1" L "used_cpu_user:2",
                                       "used_cpu_sys:-1.000000" L "used_cpu_user:1.000000",
                                       "used_cpu_sys:1.00000x" L "used_cpu_user:1.000000",
                                       "used_cpu_sys:99999999999999.000000" L
                                       "used_cpu_user:1.000000" };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_int_equal(info_cpu_us(bytes_of_str(odd[i])), -1);
}

static void fields(void **state) {
    struct bytes info = BYTES_LITERAL("used_memory_rss:1\r\nused_memory:2\nempty:\r\nlast:3");
    assert_true(bytes_equal_str(info_field(info, "used_memory"), "2"));
    assert_true(bytes_equal_str(info_field(info, "last"), "3"));
    assert_int_equal(info_field(info, "empty").len, 0);
    assert_int_equal(info_field(info, "used").len, 0);
    assert_int_equal(info_field(bytes_of("", 0), "x").len, 0);
}

static void odd_texts(void **state) {
    static const char *const odd[] = { "",
                                       "\r\n",
                                       ":",
                                       "redis_version:",
                                       "redis_version:\xff\xff.9999999999.-1",
                                       "redis_version:255.255.255\nrun_id:",
                                       "db:keys=1\ndb-1:keys=1\ndb9999999999:keys=1\ndbx:keys=1" };
    int dbs[4];
    for (size_t k = 0; k < sizeof(odd) / sizeof(odd[0]); k++) {
        struct server_info i = parsed(odd[k]);
        assert_false(i.cluster || i.replica || i.loading);
        assert_string_equal(i.run_id, "");
        assert_int_equal(info_databases(bytes_of_str(odd[k]), dbs, 4), 0);
    }
    char text[400] = "run_id:";
    memset(text + 7, 'a', 300);
    assert_int_equal(strlen(parsed(text).run_id), RUN_ID_MAX - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replica_of_5),   cmocka_unit_test(flavours),  cmocka_unit_test(keyspace),
        cmocka_unit_test(fields),         cmocka_unit_test(odd_texts), cmocka_unit_test(numbers),
        cmocka_unit_test(children),       cmocka_unit_test(replicas),  cmocka_unit_test(calls),
        cmocka_unit_test(processor_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
