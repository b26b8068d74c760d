/* Command lines, environment and configuration file: their meaning, and the error of each wrong
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/option.h"
#include "cli/options.h"
#include "cli/secrets.h"

enum { ARGS_MAX = 80, MESSAGE_MAX = ERR_PLACE_MAX + ERR_TEXT_MAX + 4 };

/* Splits at blanks; "longhaul" is put before. The words live until the next call. */
static int split(const char *line, char **argv) {
    static char buf[2048];
    snprintf(buf, sizeof(buf), "longhaul %s", line);
    int argc = 0;
    for (char *word = strtok(buf, " "); word != NULL && argc < ARGS_MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    return argc;
}

static bool parse_env(struct options *options, const char *line, const char *const *env,
                      struct err *err) {
    char *argv[ARGS_MAX];
    int argc = split(line, argv);
    *err = (struct err){ 0 };
    return options_parse(options, argc, argv, (char *const *)env, err);
}

static struct options parse(const char *line) {
    struct options options;
    struct err err;
    if (!parse_env(&options, line, NULL, &err)) fail_msg("%s: %s: %s", line, err.place, err.text);
    return options;
}

static void test_defaults(void **state) {
    struct options options = parse("replicate a b");
    assert_int_equal(options.command, COMMAND_REPLICATE);
    assert_string_equal(options.side[OPT_SOURCE].uri, "a");
    assert_string_equal(options.side[OPT_TARGET].uri, "b");
    assert_int_equal(options.mode, OPT_MODE_SCAN);
    assert_int_equal(options.type, OPT_TYPE_DUMP);
    assert_int_equal(options.compare, OPT_COMPARE_QUICK);
    assert_int_equal(options.threads, 0);
    assert_int_equal(options.copy.batch_keys, 0);
    assert_int_equal(options.copy.pipeline, 0);
    assert_int_equal(options.scan_count, 1000);
    assert_int_equal(options.copy.max_args, 3999);
    assert_int_equal(options.buffer_memory_bytes, 32 << 20);
    assert_int_equal(options.rate, 0);
    assert_int_equal(options.sleep_ms, 0);
    assert_int_equal(options.ttl_tolerance_ms, 100);
    assert_int_equal(options.timeout_ms, 10000);
    assert_int_equal(options.connect_timeout_ms, 5000);
    assert_int_equal(options.copy.outage_timeout_ms, 300000);
    assert_int_equal(options.log_level, LOG_INFO);
    assert_int_equal(options.progress, OPT_PROGRESS_AUTO);
    assert_false(options_is_given(&options, "threads"));
    assert_false(options.key_slots.given);
    assert_null(options.key_pattern);
    options_fini(&options);
}

static void test_a_live_job_that_compares_nothing(void **state) {
    struct options options = parse("replicate a b --mode live --compare none");
    assert_int_equal(options.compare, OPT_COMPARE_NONE);
    options_fini(&options);
}

static void test_replicate(void **state) {
    struct options options = parse(
        "replicate --mode live --threads=4 --batch 50 --pipeline 200 --scan-count 77 --struct a "
        "--key-pattern u:* --key-type hash --key-type ZSET,ReJSON-RL --key-include a* "
        "--key-include b* --key-exclude *x --key-slot 0-99,200 --mem-limit 12KB "
        "--ttl-tolerance 250 --databases 5,0-2,1 --sleep 20 --rate 5000 --log-keys "
        "--compare full --show-diffs --timeout 2 --outage-timeout 0 --source-read-from replica -v "
        "--output json --idle-timeout 1500 --capture tracking --poll 500ms --state-dir d "
        "--job a.b-1 --resync full --max-delete 20 "
        "--release-deletions --lease 3s --cluster -- b");
    assert_int_equal(options.mode, OPT_MODE_LIVE);
    assert_int_equal(options.threads, 4);
    assert_int_equal(options.copy.batch_keys, 50);
    assert_int_equal(options.copy.pipeline, 200);
    assert_int_equal(options.scan_count, 77);
    assert_int_equal(options.type, OPT_TYPE_STRUCT);
    assert_string_equal(options.key_pattern, "u:*");
    assert_int_equal(options.key_types.n, 3);
    assert_string_equal(options.key_types.items[1], "zset");
    assert_string_equal(options.key_types.items[2], "ReJSON-RL");
    assert_int_equal(options.key_include.n, 2);
    assert_string_equal(options.key_include.items[1], "b*");
    assert_int_equal(options.key_exclude.n, 1);
    assert_true(options.key_slots.given);
    assert_int_equal(slot_set_count(&options.key_slots.set), 101);
    assert_int_equal(options.copy.mem_limit_bytes, 12 << 10);
    assert_int_equal(options.ttl_tolerance_ms, 250);
    assert_int_equal(options.databases.n, 4);
    assert_int_equal(options.databases.dbs[3], 5);
    assert_int_equal(options.sleep_ms, 20);
    assert_int_equal(options.rate, 5000);
    assert_int_equal(options.compare, OPT_COMPARE_FULL);
    assert_int_equal(options.timeout_ms, 2000);
    assert_int_equal(options.copy.outage_timeout_ms, 0);
    assert_int_equal(options.read_from, OPT_READ_FROM_REPLICA);
    assert_int_equal(options.log_level, LOG_DEBUG);
    assert_int_equal(options.output, OPT_OUTPUT_JSON);
    assert_int_equal(options.idle_timeout_ms, 1500);
    assert_int_equal(options.capture, OPT_CAPTURE_TRACKING);
    assert_int_equal(options.poll_ms, 500);
    assert_string_equal(options.state_dir, "d");
    assert_string_equal(options.job, "a.b-1");
    assert_int_equal(options.resync, OPT_RESYNC_FULL);
    assert_int_equal(options.max_delete, 20);
    assert_true(options.release_deletions);
    assert_int_equal(options.lease_ms, 3000);
    assert_true(options.cluster);
    options_fini(&options);
}

/* The scope of `longhaul replicate ARGS a b`, with database 0 on both sides. */
static char *scope_of(const char *args) {
    char line[1024];
    snprintf(line, sizeof(line), "replicate a b %s", args);
    struct options options = parse(line);
    char *scope = options_scope(&options, 0, 0);
    options_fini(&options);
    return scope;
}

static void expect_scope(const char *args, const char *expected) {
    char *scope = scope_of(args);
    assert_string_equal(scope, expected);
    free(scope);
}

#define ONE_DATABASE "\"target_databases\":[0]}"

static void test_scope_is_canonical(void **state) {
    expect_scope("", "{\"databases\":\"0\"," ONE_DATABASE);
    expect_scope("--mode live --big-key 1MB --threads 3 --extra delete --job x",
                 "{\"databases\":\"0\",\"mode\":\"live\"," ONE_DATABASE);
    expect_scope("--mode liveonly --key-slot 5,1-3,4,9 --databases 3,0-2",
                 "{\"databases\":\"0,1,2,3\",\"mode\":\"live\",\"slots\":\"1-5,9\","
                 "\"target_databases\":[0,1,2,3]}");
    expect_scope("--key-slot 0-16383 --databases all", "{\"databases\":\"all\"}");
    expect_scope(
        "--key-include b --key-include a --key-include b --key-exclude c",
        "{\"databases\":\"0\",\"key-exclude\":[\"c\"],\"key-include\":[\"a\",\"b\"]," ONE_DATABASE);
    expect_scope(
        "--key-type SET,hash --mem-limit 10KB --struct --no-ttl --no-functions",
        "{\"databases\":\"0\",\"key-type\":[\"hash\",\"set\"],\"mem-limit\":10240,"
        "\"no-functions\":true,\"no-ttl\":true,\"target_databases\":[0],\"type\":\"struct\"}");
    expect_scope("--key-pattern \xc3\xa4",
                 "{\"databases\":\"0\",\"key-pattern\":\"\\u00E4\"," ONE_DATABASE);
    expect_scope("--key-pattern \xff",
                 "{\"databases\":\"0\",\"key-pattern\":{\"hex\":\"ff\"}," ONE_DATABASE);
}

static void test_scope_names_both_databases(void **state) {
    struct options options = parse("replicate a b");
    char *scope = options_scope(&options, 2, 5);
    assert_string_equal(scope, "{\"databases\":\"2->5\",\"target_databases\":[5]}");
    free(scope);
    options_fini(&options);
}

/* Each option that decides the content of the target changes the scope; no other option does. */
static void test_every_content_option_changes_the_scope(void **state) {
    static const char *const values[] = {
        [OPTION_NUMBER] = "7",   [OPTION_COUNT] = "17", [OPTION_SIZE] = "2MB",
        [OPTION_DURATION] = "9", [OPTION_STRING] = "x", [OPTION_LIST] = "x",
        [OPTION_TYPES] = "hash", [OPTION_SLOTS] = "7",  [OPTION_DATABASES] = "7",
    };
    char *plain = scope_of("");
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        struct options options;
        struct err err;
        char line[256], value[OPTION_WORD_MAX] = "";
        const char *words = option->limits.words;
        if (!option_belongs_to(option, COMMAND_REPLICATE) || strcmp(option->name, "help") == 0)
            continue;
        while (option->type == OPTION_CHOICE && option_next_word(&words, value)) {
        }
        if (option->type == OPTION_FLAG) snprintf(value, sizeof(value), "true");
        if (value[0] == '\0' && values[option->type] != NULL)
            snprintf(value, sizeof(value), "%s", values[option->type]);
        const char *more = option->effect == OPTION_EFFECT_CONTENT ? "--struct" : "";
        snprintf(line, sizeof(line), "replicate a b --%s=%s %s", option->name, value, more);
        if (strcmp(option->name, "type") == 0) line[strlen(line) - strlen(more)] = '\0';
        bool good = value[0] != '\0' && parse_env(&options, line, NULL, &err);
        char *with_more = scope_of(strcmp(option->name, "type") == 0 ? "" : more);
        if (good && option->effect == OPTION_EFFECT_MANNER) {
            char *scope = options_scope(&options, 0, 0);
            if (strcmp(scope, plain) != 0) fail_msg("--%s changes the scope", option->name);
            free(scope);
        }
        if (option->effect == OPTION_EFFECT_CONTENT) {
            if (!good) fail_msg("%s: %s", line, err.text);
            char *scope = options_scope(&options, 0, 0);
            if (strcmp(scope, with_more) == 0) fail_msg("--%s is not in the scope", option->name);
            free(scope);
        }
        free(with_more);
        options_fini(&options);
    }
    free(plain);
}

static void test_other_commands(void **state) {
    struct options options = parse("compare a b --quick");
    assert_int_equal(options.compare, OPT_COMPARE_QUICK);
    options_fini(&options);
    options = parse("compare a b");
    assert_int_equal(options.compare, OPT_COMPARE_FULL);
    options_fini(&options);
    options = parse("compare a b --no-ttl");
    assert_true(options.copy.no_ttl);
    options_fini(&options);
    options = parse("replicate a b --dry-run");
    assert_int_equal(options.compare, OPT_COMPARE_NONE);
    options_fini(&options);
    options = parse("ping a --iterations 0 --count 10 --sleep 2 --unit us --tls --insecure");
    assert_int_equal(options.iterations, 0);
    assert_int_equal(options.sleep_ms, 2000);
    assert_int_equal(options.unit, OPT_UNIT_US);
    assert_true(options.side[OPT_SERVER].tls);
    options_fini(&options);
    options = parse("doctor a");
    assert_null(options.side[OPT_TARGET].uri);
    options_fini(&options);
    options = parse("demo --keys 5 --keep");
    assert_int_equal(options.generate.keys.last, 5);
    assert_true(options.keep);
    options_fini(&options);
    options = parse("replicate --help --bogus");
    assert_true(options.help);
    options_fini(&options);
}

static void test_generate(void **state) {
    struct options options =
        parse("generate a --keys 1001-2000 --type string,geo --type counter --value-size 10-4KB "
              "--elements 5 --expire 10s-2d --seed 7 --databases all");
    assert_int_equal(options.generate.keys.first, 1001);
    assert_int_equal(options.generate.keys.last, 2000);
    assert_int_equal(options.generate.types, 1 << GEN_STRING | 1 << GEN_GEO | 1 << GEN_COUNTER);
    assert_int_equal(options.generate.value_size_bytes.first, 10);
    assert_int_equal(options.generate.value_size_bytes.last, 4096);
    assert_int_equal(options.generate.elements.first, 5);
    assert_int_equal(options.generate.elements.last, 5);
    assert_int_equal(options.generate.expire_ms.first, 10000);
    assert_int_equal(options.generate.expire_ms.last, 2 * 86400000);
    assert_int_equal(options.generate.expire_share, 100);
    assert_true(options.databases.all);
    options_fini(&options);
    options = parse("generate a --keys 50");
    assert_int_equal(options.generate.keys.first, 1);
    assert_int_equal(options.generate.keys.last, 50);
    assert_int_equal(options.generate.types, (1 << GEN_TYPES) - 1);
    assert_int_equal(options.generate.expire_share, 0);
    assert_string_equal(options.generate.key_prefix, "gen:");
    options_fini(&options);
}

/* The words of a choice and the enum of its values are two lists; they must not drift apart. */
static void test_choices(void **state) {
    static const struct {
        const char *name;
        enum command_id command;
        int count;
    } choices[] = {
        { "mode", COMMAND_REPLICATE, OPT_MODE_LIVEONLY + 1 },
        { "type", COMMAND_REPLICATE, OPT_TYPE_STRUCT + 1 },
        { "compare", COMMAND_REPLICATE, OPT_COMPARE_NONE + 1 },
        { "source-read-from", COMMAND_REPLICATE, 2 },
        { "progress", COMMAND_REPLICATE, OPT_PROGRESS_NONE + 1 },
        { "output", COMMAND_REPLICATE, OPT_OUTPUT_JSON + 1 },
        { "unit", COMMAND_PING, OPT_UNIT_US + 1 },
        { "type", COMMAND_GENERATE, GEN_TYPES },
        { "log-level", COMMAND_REPLICATE, LOG_DEBUG + 1 },
    };
    char word[OPTION_WORD_MAX];
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        const struct option *option =
            option_find(choices[i].name, strlen(choices[i].name), choices[i].command);
        const char *words = option->limits.words;
        int count = 0;
        while (option_next_word(&words, word)) count++;
        assert_int_equal(count, choices[i].count);
    }
}

/* Two rows of one name must not belong to the same command, nor two of one letter. */
static void test_table(void **state) {
    for (size_t i = 0; i < option_count; i++)
        for (size_t j = i + 1; j < option_count; j++) {
            const struct option *a = &option_table[i], *b = &option_table[j];
            if (!(a->commands & b->commands)) continue;
            if (strcmp(a->name, b->name) == 0) fail_msg("--%s is there twice", a->name);
            if (a->letter != 0 && a->letter == b->letter) fail_msg("-%c is there twice", a->letter);
        }
}

static const struct refused {
    const char *line;
    const char *says;
} refused[] = {
    { "", "no command is given; see longhaul --help" },
    { "replicat a b", "unknown command \"replicat\"; did you mean replicate?" },
    { "frobnicate", "unknown command \"frobnicate\"; see longhaul --help" },
    { "--threads 4", "a command must come before the options; see longhaul --help" },
    { "replicate", "SOURCE is missing; usage: longhaul replicate [OPTIONS] SOURCE TARGET" },
    { "replicate a", "TARGET is missing; usage: longhaul replicate [OPTIONS] SOURCE TARGET" },
    { "replicate a b c",
      "unexpected argument \"c\"; usage: longhaul replicate [OPTIONS] SOURCE TARGET" },
    { "replicate a b redis://u:SECRET@c",
      "unexpected argument \"redis://u:*@c\"; usage: longhaul replicate [OPTIONS] SOURCE TARGET" },
    { "completion", "SHELL is missing; usage: longhaul completion SHELL" },
    { "replicate a b --thread 4", "unknown option --thread; did you mean --threads?" },
    { "replicate a b --source-pas=SECRET",
      "unknown option --source-pas; did you mean --source-pass?" },
    { "replicate a b --zzzzzz", "unknown option --zzzzzz; see longhaul replicate --help" },
    { "replicate a b -threads 4", "unknown option -threads; did you mean --threads?" },
    { "replicate a b -Z", "unknown option -Z; see longhaul replicate --help" },
    { "replicate a b --tls", "replicate has no option --tls; use --source-tls or --target-tls" },
    { "replicate a b --count 5", "replicate has no option --count; it belongs to ping" },
    { "ping a --source-tls",
      "ping has no option --source-tls; it belongs to replicate, compare, doctor" },
    { "replicate a b --threads", "--threads: the value is missing; expected --threads N" },
    { "replicate a b --threads --batch 4",
      "--threads: the value is missing: the option --batch follows; expected --threads N" },
    { "replicate a b --threads 1 --threads 2", "--threads: given twice" },
    { "replicate a b --no-ttl --no-ttl", "--no-ttl: given twice" },
    { "replicate a b --no-ttl=maybe", "--no-ttl: \"maybe\" is neither true nor false" },
    { "replicate a b --threads 0",
      "--threads: \"0\" is not a whole number from 1 to 64, nor auto" },
    { "replicate a b --threads 65",
      "--threads: \"65\" is not a whole number from 1 to 64, nor auto" },
    { "replicate a b --scan-count 0",
      "--scan-count: \"0\" is not a whole number from 1 to 1000000" },
    { "replicate a b --rate 0", "--rate: \"0\" is not a whole number from 1 to 100000000" },
    { "replicate a b --buffer-memory 4KB",
      "--buffer-memory: \"4KB\" is not between 1.0 MiB and 64.0 GiB" },
    { "replicate a b --timeout 0", "--timeout: \"0\" is not between" },
    { "replicate a b --mode fast", "--mode: \"fast\" is unknown; expected scan, live or liveonly" },
    { "replicate a b --key-type hashes", "--key-type: \"hashes\" is not a type of keys" },
    { "replicate a b --key-slot 9-x", "--key-slot: " },
    { "replicate a b --mem-limit 12QB", "--mem-limit: " },
    { "replicate a b --key-pattern=", "--key-pattern: the value is empty; expected GLOB" },
    { "replicate a b --databases 1,x",
      "--databases: \"x\" is not a list of databases; expected all, or e.g. 0,3,5-9" },
    { "replicate a b --databases 5-1", "--databases: \"5-1\" is not a list of databases" },
    { "replicate a b --databases 0-999999",
      "--databases: more than 1024 databases are listed; expected all" },
    { "replicate redis://a/1 b --databases all",
      "--databases: the source names database 1; leave out one of both" },
    { "generate a --keys 9-3", "--keys: \"9-3\" ends before it begins; expected e.g. 10-1000" },
    { "generate a --keys 0", "--keys: \"0\" is not a whole number from 1 to" },
    { "generate a --expire-share 101",
      "--expire-share: \"101\" is not a whole number from 0 to 100" },
    { "generate a --forever --duration 5s", "--forever and --duration contradict each other" },
    { "demo --keys 5-9", "--keys: demo takes a number of keys, not a range" },
    { "replicate a b --quick --compare full", "--quick and --compare contradict each other" },
    { "replicate a b --struct --type dump", "--struct and --type contradict each other" },
    { "replicate a b -q -v", "--quiet and --verbose contradict each other" },
    { "replicate a b -q --log-level debug", "--quiet and --log-level contradict each other" },
    { "replicate a b --dry-run --compare full", "--dry-run writes nothing" },
    { "replicate a b --compare none --show-diffs",
      "--show-diffs and --compare contradict each other: nothing is compared" },
    { "replicate a b --idle-timeout 5s",
      "--idle-timeout: is for following changes; add --mode live" },
    { "replicate a b --lease 5s", "--lease: is for following changes; add --mode live" },
    { "replicate a b --max-delete 5", "--max-delete: is for following changes; add --mode live" },
    { "replicate a b --mode live --lease 500ms", "--lease: \"500ms\" is not" },
    { "replicate a b --mode live --job a{b", "--job: a name has 1 to 64 letters, digits" },
    { "replicate a b --mode live --job "
      "0123456789012345678901234567890123456789012345678901234567890123x",
      "--job: a name has 1 to 64 letters, digits" },
    { "status", "TARGET is missing, or --state-dir; usage: longhaul status [OPTIONS] [TARGET]" },
    { "resume --job x", "TARGET is missing, or --state-dir" },
    { "status a --source-user x", "status has no option --source-user" },
    { "compare a b --quick --full", "--quick and --full contradict each other" },
    { "compare a b --quick --digest", "--quick and --digest contradict each other" },
    { "compare a b --dry-run", "--dry-run: is about what --repair does" },
    { "compare a b --max-delete 5", "--max-delete: is about what --repair does" },
    { "compare a b --sample 5 --repair", "--sample" },
    { "compare a b --sample 5 --key-file names", "--sample: draws from all keys" },
    { "replicate a:1 a:1", "source and target are the same: a:1" },
    { "replicate a:x b", "source: the port behind ':' is not a number from 1 to 65535" },
    { "replicate a redis://b/x", "target: database \"x\" is not a number from 0 to 999999" },
    { "replicate /s b --source-cluster",
      "--source-cluster: the source is a Unix socket, which is no cluster" },
    { "replicate a redis-sentinel://b?sentinelMasterId=m --cluster",
      "--cluster: the target is a primary behind sentinels" },
    { "replicate a b --source-cacert f",
      "--source-cacert: means nothing without TLS; add --source-tls or write rediss://" },
    { "ping a --insecure", "--insecure: means nothing without TLS; add --tls or write rediss://" },
    { "replicate a b --target-tls --target-key k",
      "--target-key: a key needs its certificate; add --target-cert FILE" },
    { "replicate a b --target-tls --target-key-pass SECRET",
      "--target-key-pass: there is no key to open" },
    { "replicate a b --source-tls --source-insecure --source-cacert f",
      "--source-insecure: verifies nothing" },
    { "replicate /s b --source-tls", "--source-tls: a Unix socket has no TLS" },
    { "replicate a b --source-pass SECRET --source-pass-prompt",
      "--source-pass-prompt: --source-pass gives a password too" },
    { "replicate redis://x@a b --source-pass SECRET",
      "--source-pass: the URI of the source has a password too" },
    { "replicate redis://SECRET@a b --source-pass-file f",
      "--source-pass-file: the URI of the source has a password too" },
    { "replicate redis://u:SECRET@a b --source-user v",
      "--source-user: the URI of the source names another user" },
    { "replicate a b --mode live --compare full",
      "--compare: has no effect here: a live job compares only when --idle-timeout ends it" },
    { "replicate a b --mode live --compare quick", "--compare: has no effect here" },
    { "replicate a b --mode live --quick", "--quick: has no effect here" },
    { "replicate a b --mode live --ttl-tolerance 5s", "--ttl-tolerance: has no effect here" },
    { "replicate a b --mode live --show-diffs", "--show-diffs: has no effect here" },
    { "replicate a b --mode liveonly --extra keep",
      "--extra: has no effect here: --mode liveonly makes no first copy" },
    { "replicate a b --extra keep", "--extra: is for following changes; add --mode live" },
    { "replicate a b --beside a{b", "--beside: a name has 1 to 64 letters, digits" },
    { "replicate a b --mode live --beside a{b", "--beside: a name has 1 to 64 letters, digits" },
    { "replicate a b --mode live --dry-run", "--dry-run: a live job has no end to report at" },
    { "replicate a b --no-ttl --ttl-tolerance 5s",
      "--ttl-tolerance: has no effect here: --no-ttl leaves expiry out" },
    { "replicate a b --compare none --ttl-tolerance 5s",
      "--ttl-tolerance: has no effect here: nothing is compared" },
    { "compare a b --seed 5", "--seed: has no effect here: add --sample N" },
    { "compare a b --no-ttl --ttl-tolerance 5s", "--ttl-tolerance: has no effect here" },
    { "replicate rediss://a b --source-tls=false",
      "--source-tls=false: the URI of the source asks for TLS; write redis:// there" },
    { "compare a valkeys://b --target-tls=no", "--target-tls=false: the URI of the target" },
    { "ping rediss://a --tls=off", "--tls=false: the URI of the server asks for TLS" },
    { "replicate a b --help=some", "--help: \"some\" is unknown; expected all, or nothing" },
    { "replicate a b --config /nonexistent/x", "--config: cannot open /nonexistent/x" },
};

static void expect_env_error(const char *line, const char *variable, const char *expected) {
    const char *env[] = { variable, NULL };
    struct options options;
    struct err err;
    char message[MESSAGE_MAX];
    assert_false(parse_env(&options, line, env, &err));
    assert_int_equal(err.code, ERR_USAGE);
    assert_string_equal(err_format(&err, message, sizeof(message)), expected);
    options_fini(&options);
}

static void test_variables_that_name_no_option(void **state) {
    struct options options;
    struct err err;
    const char *env[] = { "LONGHAULX=1", "LONGHAUL_SEED=3", "PATH=/", NULL };
    assert_true(parse_env(&options, "replicate a b", env, &err));
    options_fini(&options);
    expect_env_error("replicate a b", "LONGHAUL_THREAD=3",
                     "LONGHAUL_THREAD: this variable of the environment names no option; did you "
                     "mean LONGHAUL_THREADS?");
    expect_env_error("status a", "LONGHAUL_QQQQQQQQ=SECRET",
                     "LONGHAUL_QQQQQQQQ: this variable of the environment names no option; "
                     "remove it");
    expect_env_error("status a", "LONGHAUL_=",
                     "LONGHAUL_: this variable of the environment names "
                     "no option; remove it");
    const char *wrong[] = { "LONGHAUL_THREAD=3", NULL };
    assert_true(parse_env(&options, "version", wrong, &err));
    options_fini(&options);
}

static void test_status(void **state) {
    struct options options = parse("status --state-dir d --output json");
    assert_string_equal(options.state_dir, "d");
    assert_null(options.side[OPT_TARGET].uri);
    options_fini(&options);
    options = parse("resume redis://host:1/3 --job x --target-user u --timeout 1s");
    assert_string_equal(options.side[OPT_TARGET].uri, "redis://host:1/3");
    assert_string_equal(options.job, "x");
    options_fini(&options);
}

static void test_refused(void **state) {
    char message[MESSAGE_MAX];
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct options options;
        struct err err;
        if (parse_env(&options, refused[i].line, NULL, &err))
            fail_msg("accepted: %s", refused[i].line);
        err_format(&err, message, sizeof(message));
        if (strncmp(message, refused[i].says, strlen(refused[i].says)) != 0)
            fail_msg("%s: %s", refused[i].line, message);
        if (strstr(message, "SECRET") != NULL) fail_msg("the secret shows: %s", message);
        assert_int_equal(err_exit_status(err.code), 2);
        options_fini(&options);
    }
}

static void test_env(void **state) {
    const char *env[] = { "LONGHAUL_THREADS=7",      "LONGHAUL_SOURCE_PASS=fromenv",
                          "LONGHAUL_NO_TTL=true",    "LONGHAUL_QUIET=1",
                          "LONGHAUL_KEY_INCLUDE=x*", "LONGHAUL_RATE=",
                          "LONGHAUL_COUNT=bad",      NULL };
    struct options options;
    struct err err;
    assert_true(parse_env(
        &options, "replicate a b --threads 3 --no-ttl=false --log-level debug --key-include y*",
        env, &err));
    assert_int_equal(options.threads, 3);
    assert_string_equal(options.side[OPT_SOURCE].pass, "fromenv");
    assert_false(options.copy.no_ttl);
    assert_int_equal(options.log_level, LOG_DEBUG);
    assert_int_equal(options.key_include.n, 1);
    assert_string_equal(options.key_include.items[0], "y*");
    options_fini(&options);

    /* A password in the URI stands on the command line, and wins. */
    assert_true(parse_env(&options, "replicate redis://u:fromuri@a b", env, &err));
    struct endpoint endpoint;
    assert_true(options_endpoint(&options, OPT_SOURCE, &endpoint, &err));
    assert_string_equal(endpoint.pass, "fromuri");
    endpoint_fini(&endpoint);
    options_fini(&options);

    const char *bad[] = { "LONGHAUL_THREADS=many", NULL };
    assert_false(parse_env(&options, "replicate a b", bad, &err));
    assert_string_equal(err.place, "LONGHAUL_THREADS");
    options_fini(&options);
}

static char *write_file(const char *text) {
    char *path = mem_strdup("/tmp/longhaul-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

static bool parse_config(struct options *options, const char *text, const char *line,
                         struct err *err) {
    char words[256], *path = write_file(text);
    snprintf(words, sizeof(words), "%s --config %s", line, path);
    bool good = parse_env(options, words, NULL, err);
    unlink(path);
    free(path);
    return good;
}

static void test_config(void **state) {
    static const char text[] =
        "; a comment\n[defaults]\nthreads = 2\nscan-count=50\nlog-level = warn\ncount = 9\n"
        "\n[replicate]\n  threads = 5\nkey-exclude = tmp:*\nkey-exclude = log:*\nno-ttl = yes\n"
        "[compare]\nthreads = 9\n";
    struct options options;
    struct err err;
    assert_true(parse_config(&options, text, "replicate a b --scan-count 60", &err));
    assert_int_equal(options.threads, 5);
    assert_int_equal(options.scan_count, 60);
    assert_int_equal(options.log_level, LOG_WARN);
    assert_int_equal(options.key_exclude.n, 2);
    assert_true(options.copy.no_ttl);
    options_fini(&options);
    /* The flag on the command line beats the file's other word for the same. */
    assert_true(
        parse_config(&options, "[defaults]\nlog-level = error\n", "replicate a b -v", &err));
    assert_int_equal(options.log_level, LOG_DEBUG);
    options_fini(&options);
}

static void test_bad_config(void **state) {
    static const struct {
        const char *text;
        const char *place;
        const char *says;
    } bad[] = {
        { "[defaults]\n\nthreads = 0\n", " line 3: threads", "\"0\" is not a whole number" },
        { "[defaults]\nthread = 1\n", " line 2",
          "unknown option \"thread\"; did you mean threads?" },
        { "[replicate]\ncount = 1\n", " line 2",
          "replicate has no option \"count\"; it belongs to ping" },
        { "[replicat]\nthreads = 1\n", " line 2", "unknown section [replicat]" },
        { "threads = 1\n", " line 1", "unknown section []" },
        { "[defaults]\nthreads = 1\nthreads = 2\n", " line 3: threads", "given twice" },
        { "[defaults]\nnonsense\n", " line 2", "expected [section] or name = value" },
        { "[defaults]\nconfig = x\n", " line 2", "has no place" },
        { "[compare]\nlog-keys = 1\n", " line 2",
          "compare has no option \"log-keys\"; it belongs to replicate" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct options options;
        struct err err;
        if (parse_config(&options, bad[i].text, "replicate a b", &err))
            fail_msg("accepted: %s", bad[i].text);
        if (strstr(err.place, bad[i].place) == NULL)
            fail_msg("%s: place %s", bad[i].text, err.place);
        if (strstr(err.text, bad[i].says) == NULL) fail_msg("%s: %s", bad[i].text, err.text);
        options_fini(&options);
    }
    char long_line[600] = "[defaults]\nkey-pattern = ";
    memset(long_line + strlen(long_line), 'x', 400);
    struct options options;
    struct err err;
    assert_false(parse_config(&options, long_line, "replicate a b", &err));
    assert_non_null(strstr(err.text, "longer than 190 bytes"));
    options_fini(&options);
}

static void test_endpoint(void **state) {
    struct options options =
        parse("replicate redis://h:7000/3 b --source-user app --source-pass p --source-tls "
              "--source-cacert ca.pem --source-cert c.pem --source-sni name --source-cluster");
    struct endpoint endpoint;
    struct err err = { 0 };
    assert_true(options_endpoint(&options, OPT_SOURCE, &endpoint, &err));
    assert_string_equal(endpoint.role, "source");
    assert_string_equal(endpoint.user, "app");
    assert_string_equal(endpoint.pass, "p");
    assert_int_equal(endpoint.db, 3);
    assert_true(endpoint.tls.on);
    assert_string_equal(endpoint.tls.ca_file, "ca.pem");
    assert_string_equal(endpoint.tls.key_file, "c.pem");
    assert_string_equal(endpoint.tls.server_name, "name");
    assert_true(endpoint.cluster_wanted);
    endpoint_fini(&endpoint);
    assert_true(options_endpoint(&options, OPT_TARGET, &endpoint, &err));
    assert_false(endpoint.tls.on);
    assert_null(endpoint.pass);
    endpoint_fini(&endpoint);
    options_fini(&options);
}

static void check_load(const char *text, const char *expected) {
    char line[256], *path = write_file(text);
    snprintf(line, sizeof(line), "replicate a b --source-pass-file %s", path);
    struct options options = parse(line);
    struct err err = { 0 };
    bool good = options_load_secrets(&options, &err);
    unlink(path);
    free(path);
    assert_int_equal(good, expected != NULL);
    if (good)
        assert_string_equal(options.side[OPT_SOURCE].pass, expected);
    else
        assert_string_equal(err.place, "--source-pass-file");
    options_fini(&options);
}

static void test_pass_file(void **state) {
    check_load("pass word\n", "pass word");
    check_load("p\r\nsecond line\n", "p");
    check_load("no newline", "no newline");
    check_load("", NULL);
    check_load("\nsecond\n", NULL);
}

static void test_hide(void **state) {
    char *argv[ARGS_MAX];
    int argc = split("replicate redis://user:SECRET@h:1/0 redis://SECRET@h --source-pass SECRET "
                     "--target-pass=SECRET --target-key-pass SECRET "
                     "unix:///s?password=SECRET&db=1 redis://u:SECRET/x@y@h user:SECRET@h --rate 5",
                     argv);
    secrets_hide(argc, argv);
    for (int i = 0; i < argc; i++) assert_null(strstr(argv[i], "SECRET"));
    assert_string_equal(argv[2], "redis://user:*@h:1/0");
    assert_string_equal(argv[3], "redis://*@h");
    assert_string_equal(argv[5], "*");
    assert_string_equal(argv[6], "--target-pass=*");
    assert_string_equal(argv[9], "unix:///s?password=*&db=1");
    assert_string_equal(argv[10], "redis://u:*@h");
    assert_string_equal(argv[13], "5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_replicate),
        cmocka_unit_test(test_a_live_job_that_compares_nothing),
        cmocka_unit_test(test_scope_is_canonical),
        cmocka_unit_test(test_scope_names_both_databases),
        cmocka_unit_test(test_every_content_option_changes_the_scope),
        cmocka_unit_test(test_variables_that_name_no_option),
        cmocka_unit_test(test_other_commands),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_endpoint),
        cmocka_unit_test(test_pass_file),
        cmocka_unit_test(test_hide),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
