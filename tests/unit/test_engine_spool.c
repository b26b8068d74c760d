/* The spool: names come back as they were added and in order, however many, from a file that nobody
 * sees; and a name that could not be written is never passed over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/spool.h"

enum { MANY = 200000, MEMORY_MAX = 64 * 1024, NAME_MAX_BYTES = 100000, FILE_MAX = 20000 };

static char dir[32];

static int setup(void **state) {
    strcpy(dir, "/tmp/longhaul-test-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int teardown(void **state) {
    return rmdir(dir); /* fails where a file was left behind */
}

static struct spool *spool_here(void) {
    struct err err;
    struct spool *spool = spool_new(dir, &err);
    if (spool == NULL) fail_msg("%s", err.text);
    return spool;
}

static void add(struct spool *spool, struct bytes key, int db, uint32_t tag) {
    struct err err;
    struct spooled one = { .key = key, .db = db, .tag = tag };
    assert_true(spool_add(spool, &one, &err));
}

static void add_number(struct spool *spool, int number) {
    char text[32];
    snprintf(text, sizeof(text), "key:%d", number);
    add(spool, bytes_of_str(text), number % 16, (uint32_t)number);
}

static void assert_next(struct spool *spool, struct bytes key, int db, uint32_t tag) {
    struct err err = { 0 };
    struct spooled one;
    assert_true(spool_next(spool, &one, &err));
    assert_true(bytes_equal(one.key, key));
    assert_int_equal(one.db, db);
    assert_int_equal(one.tag, tag);
    assert_int_equal(err.code, ERR_NONE);
}

static void assert_next_number(struct spool *spool, int number) {
    char text[32];
    snprintf(text, sizeof(text), "key:%d", number);
    assert_next(spool, bytes_of_str(text), number % 16, (uint32_t)number);
}

static void assert_at_end(struct spool *spool) {
    struct err err = { 0 };
    struct spooled one;
    for (int i = 0; i < 2; i++) {
        assert_false(spool_next(spool, &one, &err));
        assert_int_equal(err.code, ERR_NONE);
    }
}

static void rewind_it(struct spool *spool) {
    struct err err;
    assert_true(spool_rewind(spool, &err));
}

static size_t memory_in_use(void) {
    return mallinfo2().uordblks;
}

static void every_name_comes_back_in_order_and_takes_no_memory(void **state) {
    struct spool *spool = spool_here();
    size_t before = memory_in_use();
    for (int i = 0; i < MANY; i++) add_number(spool, i);
    assert_int_equal(spool_count(spool), MANY);
    for (int round = 0; round < 2; round++) {
        rewind_it(spool);
        for (int i = 0; i < MANY; i++) assert_next_number(spool, i);
        assert_at_end(spool);
    }
    assert_true(memory_in_use() < before + MEMORY_MAX);
    spool_free(&spool);
    assert_null(spool);
    spool_free(&spool);
}

static void any_bytes_are_a_name(void **state) {
    char *large = calloc(1, NAME_MAX_BYTES);
    struct spool *spool = spool_here();
    large[NAME_MAX_BYTES - 1] = '\n';
    add(spool, BYTES_LITERAL(""), 0, UINT32_MAX);
    add(spool, bytes_of(large, NAME_MAX_BYTES), INT32_MAX, 0);
    add(spool, BYTES_LITERAL("a\0\r\n\xff"), -1, 7);
    rewind_it(spool);
    assert_next(spool, BYTES_LITERAL(""), 0, UINT32_MAX);
    assert_next(spool, bytes_of(large, NAME_MAX_BYTES), INT32_MAX, 0);
    assert_next(spool, BYTES_LITERAL("a\0\r\n\xff"), -1, 7);
    assert_at_end(spool);
    spool_free(&spool);
    free(large);
}

static void names_added_while_it_is_read_come_after_the_next_rewind(void **state) {
    struct spool *spool = spool_here();
    for (int i = 0; i < 10; i++) add_number(spool, i);
    rewind_it(spool);
    for (int i = 0; i < 5; i++) assert_next_number(spool, i);
    add_number(spool, 10);
    add_number(spool, 11);
    for (int i = 5; i < 10; i++) assert_next_number(spool, i);
    assert_at_end(spool);
    add_number(spool, 12);
    assert_at_end(spool);
    assert_int_equal(spool_count(spool), 13);
    rewind_it(spool);
    for (int i = 0; i < 13; i++) assert_next_number(spool, i);
    assert_at_end(spool);
    spool_free(&spool);
}

static int files_in_dir(void) {
    int n = -2; /* "." and ".." */
    DIR *d = opendir(dir);
    while (readdir(d) != NULL) n++;
    closedir(d);
    return n;
}

static void its_file_has_no_name(void **state) {
    struct spool *spool = spool_here();
    for (int i = 0; i < 10000; i++) add_number(spool, i);
    assert_int_equal(files_in_dir(), 0);
    spool_free(&spool);
}

static void assert_says(const struct err *err, const char *place) {
    assert_int_equal(err->code, ERR_IO);
    assert_string_equal(err->place, place);
    assert_non_null(strstr(err->text, "cannot be spooled"));
    assert_non_null(strstr(err->text, "TMPDIR"));
    assert_null(strchr(err->text, '\n'));
}

/* As on a full disk that has room again later: the name that was cut off stays a failure. */
static void a_name_that_cannot_be_written_is_an_error_for_good(void **state) {
    struct spool *spool = spool_here();
    struct rlimit before, limit;
    struct err err = { 0 };
    struct spooled one = { .key = BYTES_LITERAL("a name of some length"), .db = 0 };
    uint64_t added = 0;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = FILE_MAX;
    setrlimit(RLIMIT_FSIZE, &limit);
    while (added < FILE_MAX && spool_add(spool, &one, &err)) added++;
    setrlimit(RLIMIT_FSIZE, &before);
    assert_in_range(added, 1, FILE_MAX - 1);
    assert_says(&err, dir);
    assert_int_equal(spool_count(spool), added);
    err = (struct err){ 0 };
    assert_false(spool_add(spool, &one, &err));
    assert_says(&err, dir);
    err = (struct err){ 0 };
    assert_false(spool_rewind(spool, &err));
    assert_says(&err, dir);
    spool_free(&spool);
}

/* A few names stay in memory until they are read. */
static void a_full_disk_shows_before_reading_at_the_latest(void **state) {
    struct spool *spool = spool_here();
    struct rlimit before, limit;
    struct err err = { 0 };
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 10;
    add_number(spool, 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_false(spool_rewind(spool, &err));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_says(&err, dir);
    assert_at_end(spool);
    spool_free(&spool);
}

static void a_directory_that_is_not_there_is_named(void **state) {
    char missing[64];
    struct err err = { 0 };
    snprintf(missing, sizeof(missing), "%s/missing", dir);
    assert_null(spool_new(missing, &err));
    assert_says(&err, missing);
    setenv("TMPDIR", missing, 1);
    err = (struct err){ 0 };
    assert_null(spool_new(NULL, &err));
    assert_says(&err, missing);
    for (int i = 0; i < 2; i++) {
        setenv("TMPDIR", i == 0 ? "" : dir, 1);
        struct spool *spool = spool_new(NULL, &err);
        add_number(spool, i);
        rewind_it(spool);
        assert_next_number(spool, i);
        spool_free(&spool);
    }
    unsetenv("TMPDIR");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_name_comes_back_in_order_and_takes_no_memory),
        TEST(any_bytes_are_a_name),
        TEST(names_added_while_it_is_read_come_after_the_next_rewind),
        TEST(its_file_has_no_name),
        TEST(a_name_that_cannot_be_written_is_an_error_for_good),
        TEST(a_full_disk_shows_before_reading_at_the_latest),
        TEST(a_directory_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
