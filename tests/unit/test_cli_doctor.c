/* cli/doctor: the sentence of an error about a command, and the findings that are concluded from
 * facts without asking anybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "doctor/doctor.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void test_answers(void **state) {
    const struct {
        const char *text;
        enum doctor_answer answer;
    } cases[] = {
        { "ERR unknown command 'DUMP', with args beginning with: 'x' ", ANSWER_UNKNOWN },
        { "ERR unknown subcommand 'NO-TOUCH'. Try CLIENT HELP.", ANSWER_UNKNOWN },
        { "ERR Unknown subcommand or wrong number of arguments for 'TRACKING'. Try CLIENT HELP",
          ANSWER_UNKNOWN },
        { "NOPERM User app has no permissions to run the 'eval' command", ANSWER_NOPERM },
        { "NOPERM this user has no permissions to run the 'eval' command or its subcommand",
          ANSWER_NOPERM },
        { "NOPERM No permissions to access a key", ANSWER_NO_KEYS },
        { "NOPERM No permissions to access a channel", ANSWER_NO_CHANNELS },
        { "NOPERM this user has no permissions to access one of the channels used as arguments",
          ANSWER_NO_CHANNELS },
        { "NOPERM this user has no permissions to access one of the keys used as arguments",
          ANSWER_NO_KEYS },
        { "ERR DUMP payload version or checksum are wrong", ANSWER_GOOD },
        { "MOVED 12 10.0.0.1:6379", ANSWER_GOOD },
        { "OOM command not allowed when used memory > 'maxmemory'.", ANSWER_GOOD },
        { "ERR this is not allowed here", ANSWER_REFUSED },
    };
    for (size_t i = 0; i < N(cases); i++)
        if (doctor_answer_of_error(bytes_of_str(cases[i].text)) != cases[i].answer)
            fail_msg("%s", cases[i].text);
}

static struct server_info server(enum server_flavour flavour, int major, int minor) {
    return (struct server_info){ .flavour = flavour,
                                 .version = SERVER_VERSION((unsigned)major, (unsigned)minor, 0) };
}

static void test_formats_of_values(void **state) {
    const struct {
        enum server_flavour flavour;
        int major, minor, rdb;
    } writes[] = { { SERVER_REDIS, 5, 0, 9 },   { SERVER_REDIS, 6, 2, 9 },
                   { SERVER_REDIS, 7, 0, 10 },  { SERVER_REDIS, 7, 2, 11 },
                   { SERVER_REDIS, 7, 4, 12 },  { SERVER_REDIS, 8, 0, 12 },
                   { SERVER_VALKEY, 7, 2, 11 }, { SERVER_VALKEY, 8, 1, 11 },
                   { SERVER_VALKEY, 9, 1, 80 } };
    for (size_t i = 0; i < N(writes); i++) {
        struct server_info info = server(writes[i].flavour, writes[i].major, writes[i].minor);
        assert_int_equal(doctor_rdb_version(&info), writes[i].rdb);
        assert_true(doctor_takes_rdb(&info, writes[i].rdb));
    }
    struct server_info redis7 = server(SERVER_REDIS, 7, 0), redis8 = server(SERVER_REDIS, 8, 0),
                       valkey8 = server(SERVER_VALKEY, 8, 0), valkey9 = server(SERVER_VALKEY, 9, 1);
    assert_false(doctor_takes_rdb(&redis7, 11));
    assert_true(doctor_takes_rdb(&redis8, 11));
    assert_false(doctor_takes_rdb(&redis8, 80));
    assert_false(doctor_takes_rdb(&valkey8, 12));
    assert_false(doctor_takes_rdb(&valkey9, 12));
    assert_true(doctor_takes_rdb(&valkey9, 11));
}

/* Two sides of one node each, with nothing to complain about. */
struct pair {
    struct doctor_node a, b;
    struct doctor_side source, target;
};

static void pair_init(struct pair *p) {
    *p = (struct pair){ 0 };
    p->a.reached = p->b.reached = p->a.has_clock = p->b.has_clock = true;
    p->a.info = p->b.info = server(SERVER_REDIS, 7, 0);
    p->a.info.total_system_memory = p->b.info.total_system_memory = UINT64_C(1) << 30;
    snprintf(p->a.info.run_id, RUN_ID_MAX, "a");
    snprintf(p->b.info.run_id, RUN_ID_MAX, "b");
    snprintf(p->a.info.maxmemory_policy, sizeof(p->a.info.maxmemory_policy), "noeviction");
    p->source = (struct doctor_side){
        .id = DOCTOR_SOURCE, .given = true, .reached = true, .kind = "standalone"
    };
    p->target = (struct doctor_side){
        .id = DOCTOR_TARGET, .given = true, .reached = true, .kind = "standalone"
    };
    p->source.nodes = &p->a;
    p->target.nodes = &p->b;
    p->source.n_nodes = p->target.n_nodes = 1;
}

/* How many findings of that severity and topic the pair gives. */
static int count(const struct pair *p, enum doctor_severity severity, const char *topic) {
    struct doctor_findings findings = { 0 };
    doctor_judge_both(&findings, &p->source, &p->target);
    int n = 0;
    for (size_t i = 0; i < findings.n; i++)
        if (findings.items[i].severity == severity && strcmp(findings.items[i].topic, topic) == 0)
            n++;
    doctor_findings_fini(&findings);
    return n;
}

/* The pair's versions; how many notes and warnings about them. */
static void versions(struct server_info source, struct server_info target, int *notes,
                     int *warnings) {
    struct pair p;
    pair_init(&p);
    p.a.info.flavour = source.flavour;
    p.a.info.version = source.version;
    p.b.info.flavour = target.flavour;
    p.b.info.version = target.version;
    *notes = count(&p, DOCTOR_NOTE, "versions");
    *warnings = count(&p, DOCTOR_WARNING, "versions");
    assert_int_equal(count(&p, DOCTOR_PROBLEM, "versions"), 0);
    assert_int_equal(count(&p, DOCTOR_OK, "versions"), *notes == 0);
}

static void test_no_pair_of_versions_is_a_problem(void **state) {
    const struct {
        enum server_flavour from;
        int from_major, from_minor;
        enum server_flavour to;
        int to_major, to_minor, notes, warnings;
    } cases[] = {
        { SERVER_REDIS, 6, 0, SERVER_VALKEY, 9, 1, 0, 0 },
        { SERVER_REDIS, 7, 0, SERVER_REDIS, 8, 0, 0, 0 },
        { SERVER_REDIS, 7, 0, SERVER_REDIS, 6, 2, 1, 0 },
        { SERVER_REDIS, 7, 0, SERVER_REDIS, 6, 0, 1, 1 },
        { SERVER_REDIS, 8, 0, SERVER_REDIS, 7, 4, 0, 1 },
        { SERVER_REDIS, 8, 0, SERVER_REDIS, 7, 0, 1, 1 },
        { SERVER_REDIS, 8, 0, SERVER_VALKEY, 9, 1, 1, 1 },
        { SERVER_REDIS, 7, 4, SERVER_VALKEY, 9, 0, 1, 0 },
        { SERVER_VALKEY, 9, 1, SERVER_REDIS, 8, 0, 1, 0 },
        { SERVER_VALKEY, 9, 1, SERVER_VALKEY, 8, 1, 1, 1 },
        { SERVER_VALKEY, 8, 1, SERVER_VALKEY, 8, 0, 0, 0 },
        { SERVER_REDIS, 6, 0, SERVER_REDIS, 4, 0, 1, 1 },
    };
    for (size_t i = 0; i < N(cases); i++) {
        int notes, warnings;
        versions(server(cases[i].from, cases[i].from_major, cases[i].from_minor),
                 server(cases[i].to, cases[i].to_major, cases[i].to_minor), &notes, &warnings);
        if (notes != cases[i].notes || warnings != cases[i].warnings)
            fail_msg("case %zu: %d notes, %d warnings", i, notes, warnings);
    }
}

static void test_functions_and_a_target_without(void **state) {
    struct pair p;
    pair_init(&p);
    p.source.functions_bytes = 100;
    assert_int_equal(count(&p, DOCTOR_WARNING, "functions"), 0);
    p.b.info.version = SERVER_VERSION(6, 2, 0);
    assert_int_equal(count(&p, DOCTOR_WARNING, "functions"), 1);
    p.source.functions_bytes = 10;
    assert_int_equal(count(&p, DOCTOR_WARNING, "functions"), 0);
}

static void test_clock_skew_counts_only_beyond_what_was_measured(void **state) {
    struct pair p;
    pair_init(&p);
    assert_int_equal(count(&p, DOCTOR_OK, "clocks"), 1);
    p.b.clock_ahead_us = -3000000;
    assert_int_equal(count(&p, DOCTOR_WARNING, "clocks"), 1);
    p.b.clock_within_us = 2500000;
    assert_int_equal(count(&p, DOCTOR_NOTE, "clocks"), 1);
    p.a.clock_ahead_us = -3000000;
    assert_int_equal(count(&p, DOCTOR_OK, "clocks"), 1);
}

static void test_memory_of_the_target(void **state) {
    struct pair p;
    pair_init(&p);
    p.a.info.used_memory = 600 << 20;
    assert_int_equal(count(&p, DOCTOR_OK, "memory"), 1);
    p.b.info.used_memory = 300 << 20;
    assert_int_equal(count(&p, DOCTOR_WARNING, "memory"), 1);
    p.b.info.maxmemory = 800 << 20;
    assert_int_equal(count(&p, DOCTOR_PROBLEM, "memory"), 1);
    p.b.info.maxmemory = p.b.info.total_system_memory = 0;
    assert_int_equal(count(&p, DOCTOR_NOTE, "memory"), 1);
}

static void test_nodes_of_one_machine_share_its_memory(void **state) {
    struct pair p;
    pair_init(&p);
    struct doctor_node nodes[2] = { p.b, p.b };
    p.target.nodes = nodes;
    p.target.n_nodes = 2;
    p.a.info.used_memory = UINT64_C(1500) << 20;
    assert_int_equal(count(&p, DOCTOR_PROBLEM, "memory"), 1);
    snprintf(nodes[1].address.host, sizeof(nodes[1].address.host), "another");
    assert_int_equal(count(&p, DOCTOR_OK, "memory"), 1);
}

static void test_same_process_on_both_sides(void **state) {
    struct pair p;
    pair_init(&p);
    assert_int_equal(count(&p, DOCTOR_PROBLEM, "same"), 0);
    snprintf(p.b.info.run_id, RUN_ID_MAX, "a");
    assert_int_equal(count(&p, DOCTOR_PROBLEM, "same"), 1);
    p.target.db = 1; /* from one database into another is no mistake */
    assert_int_equal(count(&p, DOCTOR_PROBLEM, "same"), 0);
}

/* The findings about --mode live of a side: the texts of all findings of that severity, one after
 * the other. */
static int live(const struct doctor_side *side, enum doctor_severity severity, const char *words) {
    struct doctor_findings findings = { 0 };
    doctor_judge_live(&findings, side);
    int n = 0;
    for (size_t i = 0; i < findings.n; i++)
        if (findings.items[i].severity == severity && strstr(findings.items[i].text, words) != NULL)
            n++;
    assert_int_equal(findings.count[DOCTOR_PROBLEM], 0);
    doctor_findings_fini(&findings);
    return n;
}

static void live_init(struct doctor_live *live) {
    *live =
        (struct doctor_live){ .notify_known = true, .counts_calls = true, .counts_forks = true };
    for (int id = 0; id < DOCTOR_CHECKS; id++) live->checks[id].answer = ANSWER_GOOD;
}

static void test_live_asks_for_the_worst_of_several(void **state) {
    struct pair p;
    pair_init(&p);
    live_init(&p.a.live);
    struct doctor_node nodes[2] = { p.a, p.a };
    snprintf(nodes[1].name, sizeof(nodes[1].name), "10.0.0.5:6379");
    p.source.nodes = nodes;
    p.source.n_nodes = 2;
    assert_int_equal(live(&p.source, DOCTOR_OK, "CLIENT TRACKING"), 1);
    assert_int_equal(live(&p.source, DOCTOR_WARNING, ""), 0);
    nodes[1].live.checks[DOCTOR_CHECK_TRACKING].answer = ANSWER_UNKNOWN;
    assert_int_equal(
        live(&p.source, DOCTOR_WARNING, "on 10.0.0.5:6379, and keyspace notifications"), 1);
    for (int i = 0; i < 2; i++) snprintf(nodes[i].live.notify, sizeof(nodes[i].live.notify), "AE");
    assert_int_equal(live(&p.source, DOCTOR_WARNING, ""), 0);
    nodes[0].live.notify_known = false;
    assert_int_equal(live(&p.source, DOCTOR_NOTE, "replicate --mode live"), 1);
    nodes[1].reached = false; /* nothing is known of it; the first one tracks */
    assert_int_equal(live(&p.source, DOCTOR_OK, "CLIENT TRACKING"), 1);
}

static void test_live_counters_of_the_source(void **state) {
    struct pair p;
    pair_init(&p);
    live_init(&p.a.live);
    assert_int_equal(live(&p.source, DOCTOR_NOTE, ""), 0);
    p.a.live.counts_calls = false;
    assert_int_equal(live(&p.source, DOCTOR_NOTE, "commandstats"), 1);
    p.a.live.counts_forks = false;
    assert_int_equal(live(&p.source, DOCTOR_NOTE, "total_forks"), 1);
}

static void test_live_buffer_is_measured_by_the_memory(void **state) {
    struct pair p;
    pair_init(&p);
    live_init(&p.a.live);
    p.a.live.buffer_known = true;
    assert_int_equal(live(&p.source, DOCTOR_WARNING, "unlimited"), 1);
    p.a.live.buffer_hard = 32 << 20;
    assert_int_equal(live(&p.source, DOCTOR_WARNING, ""), 0);
    p.a.info.maxmemory = 100 << 20;
    assert_int_equal(live(&p.source, DOCTOR_WARNING, "memory grows"), 1);
    p.a.info.maxmemory = 0;
    p.a.live.buffer_soft = 1000;
    assert_int_equal(live(&p.source, DOCTOR_WARNING, "cuts --mode live off"), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_formats_of_values),
        cmocka_unit_test(test_no_pair_of_versions_is_a_problem),
        cmocka_unit_test(test_functions_and_a_target_without),
        cmocka_unit_test(test_clock_skew_counts_only_beyond_what_was_measured),
        cmocka_unit_test(test_memory_of_the_target),
        cmocka_unit_test(test_nodes_of_one_machine_share_its_memory),
        cmocka_unit_test(test_same_process_on_both_sides),
        cmocka_unit_test(test_live_asks_for_the_worst_of_several),
        cmocka_unit_test(test_live_counters_of_the_source),
        cmocka_unit_test(test_live_buffer_is_measured_by_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
