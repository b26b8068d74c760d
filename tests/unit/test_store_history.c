/* The history of a job is read while the job writes, in order, also where nothing may be written;
 * and a directory that holds none is an error that names it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/history.h"
#include "store/state.h"

enum { NOBODY = 65534, LIST_MAX = 8 };

static char root[32], dir[64];
static struct state *job;

static int setup(void **state) {
    static struct job_record record, kept;
    struct err err;
    bool found;
    strcpy(root, "/tmp/longhaul-test-XXXXXX");
    if (mkdtemp(root) == NULL) return -1;
    snprintf(dir, sizeof(dir), "%s/with ?#%% in it", root);
    record = (struct job_record){ 0 };
    strcpy(record.job, "orders");
    strcpy(record.owner, "host:1:first");
    job = state_open(dir, &record, &kept, &found, NULL, &err);
    if (job == NULL) fail_msg("%s", err.text);
    return 0;
}

static int teardown(void **state) {
    char line[128];
    state_close(&job);
    snprintf(line, sizeof(line), "chmod -R u+rwx %s; rm -rf %s", root, root);
    return system(line);
}

/* What was read, as lines. */
struct list {
    int n;
    char lines[LIST_MAX][128];
};

static void add_event(void *ctx, const struct history_event *event) {
    struct list *list = ctx;
    assert_true(event->at_us > 0 && list->n < LIST_MAX);
    snprintf(list->lines[list->n++], 128, "%s: %s", event->event, event->text);
}

static void add_run(void *ctx, const struct history_run *run) {
    struct list *list = ctx;
    assert_true(run->began_us > 0 && list->n < LIST_MAX);
    snprintf(list->lines[list->n++], 128, "%s %s %llu %llu %s", run->mode, run->outcome,
             (unsigned long long)run->compared, (unsigned long long)run->different,
             run->ended_us == 0               ? "runs"
             : run->ended_us >= run->began_us ? "ended"
                                              : "ended before it began");
}

static void add_key(void *ctx, const struct history_key *key) {
    struct list *list = ctx;
    assert_true(key->at_us > 0 && list->n < LIST_MAX);
    snprintf(list->lines[list->n++], 128, "%d %zu %.*s %s", key->db, key->key.len,
             (int)key->key.len, key->key.ptr, key->reason);
}

static struct history *open_it(void) {
    struct err err;
    struct history *h = history_open(dir, &err);
    if (h == NULL) fail_msg("%s", err.text);
    return h;
}

static void assert_lines(const struct list *list, int n, const char *const *lines) {
    assert_int_equal(list->n, n);
    for (int i = 0; i < n; i++) assert_string_equal(list->lines[i], lines[i]);
}

static void events_come_oldest_first_while_the_job_writes(void **state) {
    static const char *const lines[] = { "started: the first", "gap: the second",
                                         "closed: the third" };
    struct list list = { 0 };
    struct err err;
    assert_true(state_audit(job, "started", "the first", &err));
    assert_true(state_audit(job, "gap", "the second", &err));
    struct history *h = open_it();
    assert_true(history_events(h, add_event, &list, &err));
    assert_lines(&list, 2, lines);
    assert_true(state_audit(job, "closed", "the third", &err)); /* it is not disturbed */
    list.n = 0;
    assert_true(history_events(h, add_event, &list, &err));
    assert_lines(&list, 3, lines);
    history_close(&h);
    assert_null(h);
    history_close(&h);
}

static void a_comparison_that_has_not_ended_has_no_outcome(void **state) {
    static const char *const lines[] = { "full different 1000 3 ended", "sample  0 0 runs" };
    struct list list = { 0 };
    struct err err;
    int64_t first, second;
    assert_true(state_run_begin(job, "full", &first, &err));
    assert_true(state_run_end(job, first, 1000, 3, "different", &err));
    assert_true(state_run_begin(job, "sample", &second, &err));
    struct history *h = open_it();
    assert_true(history_runs(h, add_run, &list, &err));
    assert_lines(&list, 2, lines);
    history_close(&h);
}

static void keys_that_were_given_up_come_in_their_order(void **state) {
    static const char *const lines[] = { "0 0  too large", "0 1 b refused", "3 1 a refused" };
    struct list list = { 0 };
    struct err err;
    assert_true(state_give_up(job, 3, BYTES_LITERAL("a"), "refused", &err));
    assert_true(state_give_up(job, 0, BYTES_LITERAL("b"), "refused", &err));
    assert_true(state_give_up(job, 0, BYTES_LITERAL(""), "too large", &err));
    struct history *h = open_it();
    assert_true(history_given_up(h, add_key, &list, &err));
    assert_lines(&list, 3, lines);
    history_close(&h);
}

/* As for a user who may read the directory of a job that has ended, and no more. */
static void a_directory_that_is_read_only_is_read(void **state) {
    struct err err;
    char line[320];
    int status;
    assert_true(state_audit(job, "started", "the first", &err));
    state_close(&job);
    snprintf(line, sizeof(line), "chmod 755 %s; chmod -R a+r,a-w '%s'; chmod a+x '%s'", root, dir,
             dir);
    assert_int_equal(system(line), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct list list = { 0 };
        if (getuid() == 0 && setuid(NOBODY) != 0) _exit(2);
        struct history *h = history_open(dir, &err);
        if (h == NULL) _exit(3);
        bool good = history_events(h, add_event, &list, &err) && list.n == 1;
        history_close(&h);
        _exit(good ? 0 : 4);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void assert_refused(const char *says) {
    struct err err = { 0 };
    char path[96];
    snprintf(path, sizeof(path), "%s/longhaul.db", dir);
    assert_null(history_open(dir, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.place, path);
    if (strstr(err.text, says) == NULL) fail_msg("\"%s\" is not in: %s", says, err.text);
}

static void what_is_no_history_is_an_error_that_names_it(void **state) {
    char path[96];
    state_close(&job);
    snprintf(path, sizeof(path), "%s/longhaul.db", dir);
    FILE *file = fopen(path, "w");
    fputs("this is no database, however long one reads in it\n", file);
    fclose(file);
    assert_refused("not a database");
    unlink(path);
    assert_refused("cannot be read");
}

/* A database of something else: each question is an error, none is an empty answer. */
static void a_table_that_is_not_there_is_an_error(void **state) {
    struct list list = { 0 };
    struct err err = { 0 };
    char path[96];
    sqlite3 *db;
    state_close(&job);
    snprintf(path, sizeof(path), "%s/longhaul.db", dir);
    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE audit (id INTEGER)", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    struct history *h = open_it();
    assert_false(history_events(h, add_event, &list, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_false(history_runs(h, add_run, &list, &err));
    assert_false(history_given_up(h, add_key, &list, &err));
    assert_int_equal(list.n, 0);
    history_close(&h);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(events_come_oldest_first_while_the_job_writes),
        TEST(a_comparison_that_has_not_ended_has_no_outcome),
        TEST(keys_that_were_given_up_come_in_their_order),
        TEST(a_directory_that_is_read_only_is_read),
        TEST(what_is_no_history_is_an_error_that_names_it),
        TEST(a_table_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
