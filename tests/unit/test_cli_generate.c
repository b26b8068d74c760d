/* cli/generate_random and generate_key: the same seed gives the same data, for ever and in any
 * order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/options.h"
#include "generate/key.h"
#include "generate/random.h"

/* Reference: xoshiro256** from its own state {1, 2, 3, 4}, as published with the algorithm. */
static void test_generator_is_the_published_one(void **state) {
    struct gen_random r = { .s = { 1, 2, 3, 4 } };
    const uint64_t expected[] = { 11520, 0, 1509978240, UINT64_C(1215971899390074240) };
    for (size_t i = 0; i < 4; i++) assert_true(gen_random_next(&r) == expected[i]);
}

static void test_sequences_depend_on_each_part_of_the_seed(void **state) {
    struct gen_random a, b;
    gen_random_seed(&a, 1, 2, 3);
    gen_random_seed(&b, 1, 2, 3);
    for (int i = 0; i < 100; i++) assert_true(gen_random_next(&a) == gen_random_next(&b));
    const uint64_t seeds[][3] = { { 1, 2, 3 }, { 2, 2, 3 }, { 1, 3, 3 },
                                  { 1, 2, 4 }, { 3, 2, 1 }, { 0, 0, 0 } };
    uint64_t first[6];
    for (int i = 0; i < 6; i++) {
        gen_random_seed(&a, seeds[i][0], seeds[i][1], seeds[i][2]);
        first[i] = gen_random_next(&a);
        for (int k = 0; k < i; k++) assert_true(first[i] != first[k]);
    }
}

static void test_ranges_reach_both_ends_and_not_beyond(void **state) {
    struct gen_random r;
    gen_random_seed(&r, 7, 0, 0);
    int seen[6] = { 0 };
    for (int i = 0; i < 1000; i++) {
        int64_t n = gen_random_range(&r, -2, 3);
        assert_in_range(n + 2, 0, 5);
        seen[n + 2]++;
    }
    for (int i = 0; i < 6; i++) assert_true(seen[i] > 100);
    assert_int_equal(gen_random_range(&r, 5, 5), 5);
    gen_random_range(&r, INT64_MIN, INT64_MAX);
    assert_false(gen_random_chance(&r, 0));
    assert_true(gen_random_chance(&r, 100));
}

static void test_fill_writes_all_and_nothing_behind(void **state) {
    struct gen_random r;
    gen_random_seed(&r, 9, 0, 0);
    for (int content = 0; content < GEN_CONTENTS; content++) {
        for (size_t len = 0; len < 70; len++) {
            char *text = mem_alloc(len + 1);
            memset(text, 0, len);
            text[len] = 'E';
            gen_random_fill(&r, (enum gen_content)content, text, len);
            assert_int_equal(text[len], 'E');
            if (content != GEN_BINARY)
                for (size_t i = 0; i < len; i++) assert_in_range(text[i], ' ', '~');
            free(text);
        }
    }
}

static void parse(struct options *options, const char *line) {
    struct err err = { 0 };
    char *text = mem_strdup(line), *argv[16], *rest = NULL;
    int argc = 0;
    for (char *word = strtok_r(text, " ", &rest); word != NULL && argc < 15;
         word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    argv[argc] = NULL;
    if (!options_parse(options, argc, argv, NULL, &err)) fail_msg("%s", err.text);
    free(text);
}

/* Every command of a key, one after the other. */
static char *commands_of(const struct gen_plan *plan, uint64_t number, uint64_t round, int times,
                         size_t *len) {
    struct gen_key key;
    struct outq out;
    outq_init(&out);
    gen_key_init(&key, plan, number, round);
    for (int i = 0; i < times; i++) {
        gen_key_restart(&key);
        size_t before = outq_bytes(&out);
        while (gen_key_next(&key, &out)) {
        }
        if (i + 1 < times) {
            outq_consume(&out, outq_bytes(&out));
        } else {
            assert_true(outq_bytes(&out) > before);
        }
    }
    gen_key_fini(&key);
    *len = outq_bytes(&out);
    char *text = mem_alloc(*len);
    size_t at = 0;
    struct iovec iov[16];
    for (int n; (n = outq_peek(&out, iov, 16)) > 0;)
        for (int i = 0; i < n; i++) {
            memcpy(text + at, iov[i].iov_base, iov[i].iov_len);
            at += iov[i].iov_len;
            outq_consume(&out, iov[i].iov_len);
        }
    outq_fini(&out);
    assert_int_equal(at, *len);
    return text;
}

static void expect_equal(const struct gen_plan *a, const struct gen_plan *b, uint64_t number,
                         bool equal) {
    size_t len_a, len_b;
    char *text_a = commands_of(a, number, 0, 1, &len_a),
         *text_b = commands_of(b, number, 0, 3, &len_b);
    bool same = len_a == len_b && memcmp(text_a, text_b, len_a) == 0;
    if (same != equal) fail_msg("key %d: %s", (int)number, equal ? "differs" : "is the same");
    free(text_a);
    free(text_b);
}

static void test_same_seed_same_commands(void **state) {
    struct options options, options_other;
    parse(&options, "longhaul generate localhost --expire 1h-2h --seed 5");
    parse(&options_other, "longhaul generate localhost --expire 1h-2h --seed 6");
    const int db = 0;
    struct gen_plan plan, plan_other;
    gen_plan_init(&plan, &options.generate, &db, 1);
    gen_plan_init(&plan_other, &options_other.generate, &db, 1);
    assert_int_equal(plan.n_types, GEN_TYPES);
    for (uint64_t number = 1; number <= 200; number++) {
        expect_equal(&plan, &plan, number, true);
        expect_equal(&plan, &plan_other, number, false);
    }
    options_fini(&options);
    options_fini(&options_other);
}

static void test_types_and_databases_are_spread_evenly(void **state) {
    struct options options;
    parse(&options, "longhaul generate localhost --type hash --type list");
    const int dbs[] = { 0, 3 };
    struct gen_plan plan;
    gen_plan_init(&plan, &options.generate, dbs, 2);
    int seen[GEN_TYPES][4] = { 0 };
    for (uint64_t number = 1; number <= 400; number++) {
        struct gen_key key;
        gen_key_init(&key, &plan, number, 0);
        seen[key.type][key.db]++;
        gen_key_fini(&key);
    }
    assert_int_equal(seen[GEN_HASH][0], 100);
    assert_int_equal(seen[GEN_HASH][3], 100);
    assert_int_equal(seen[GEN_LIST][0], 100);
    assert_int_equal(seen[GEN_LIST][3], 100);
    options_fini(&options);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generator_is_the_published_one),
        cmocka_unit_test(test_sequences_depend_on_each_part_of_the_seed),
        cmocka_unit_test(test_ranges_reach_both_ends_and_not_beyond),
        cmocka_unit_test(test_fill_writes_all_and_nothing_behind),
        cmocka_unit_test(test_same_seed_same_commands),
        cmocka_unit_test(test_types_and_databases_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
