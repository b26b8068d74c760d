/* The state directory: for one job, for one process, there again after a kill, and clear words
 * where it cannot be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/state.h"

enum { NOBODY = 65534 };

static char root[32], dir[64];
static struct job_record record, kept;

static int setup(void **state) {
    strcpy(root, "/tmp/longhaul-test-XXXXXX");
    if (mkdtemp(root) == NULL) return -1;
    snprintf(dir, sizeof(dir), "%s/state", root);
    record = (struct job_record){ .watermark_us = 5, .updated_us = 6 };
    strcpy(record.job, "orders");
    strcpy(record.source, "a:1");
    strcpy(record.target, "b:2");
    strcpy(record.settings, "databases 0");
    strcpy(record.phase, "live");
    strcpy(record.owner, "host:1:first");
    return 0;
}

static int teardown(void **state) {
    char line[128];
    snprintf(line, sizeof(line), "chmod -R u+rwx %s; rm -rf %s", root, root);
    return system(line);
}

static struct state *open_it(bool *found, char *predecessor) {
    struct err err;
    char text[1024];
    struct state *s = state_open(dir, &record, &kept, found, predecessor, &err);
    if (s == NULL) fail_msg("%s", err_format(&err, text, sizeof(text)));
    return s;
}

static void assert_refused(const char *says) {
    struct err err = { 0 };
    bool found;
    char text[1024];
    assert_null(state_open(dir, &record, &kept, &found, NULL, &err));
    err_format(&err, text, sizeof(text));
    if (strstr(text, says) == NULL) fail_msg("\"%s\" is not in: %s", says, text);
    assert_null(strchr(text, '\n'));
}

static int64_t number(const char *sql) {
    char path[128];
    sqlite3 *db;
    sqlite3_stmt *stmt;
    snprintf(path, sizeof(path), "%s/longhaul.db", dir);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return n;
}

static void test_kept(void **state) {
    bool found = true;
    char predecessor[128] = "x";
    struct state *s = open_it(&found, predecessor);
    assert_false(found);
    assert_string_equal(predecessor, "");
    assert_true(state_put(s, &record, NULL));
    record.watermark_us = 77;
    assert_true(state_put(s, &record, NULL));
    state_close(&s);
    assert_null(s);

    strcpy(record.owner, "host:2:second");
    s = open_it(&found, predecessor);
    assert_true(found);
    assert_int_equal(kept.watermark_us, 77);
    assert_string_equal(kept.owner, "host:1:first");
    assert_string_equal(predecessor, "host:1:first");
    state_close(&s);
}

static void test_other_job(void **state) {
    bool found;
    struct state *s = open_it(&found, NULL);
    state_close(&s);
    strcpy(record.source, "elsewhere:1");
    strcpy(record.job, "other");
    assert_refused(
        "belongs to job orders from a:1 to b:2; its source: \"a:1\", but now \"elsewhere:1\"");
    strcpy(record.source, "a:1");
    assert_refused("its job: \"orders\", but now \"other\"");
    strcpy(record.job, "orders");
    strcpy(record.settings, "databases 1");
    assert_refused("its keys: \"databases 0\", but now \"databases 1\"");
}

static void test_locked(void **state) {
    bool found, locked;
    struct err err;
    struct state *s = open_it(&found, NULL);
    assert_false(state_read(dir, &kept, &locked, &err));
    assert_true(locked);
    assert_non_null(strstr(err.text, "holds no record yet"));
    assert_true(state_put(s, &record, NULL));
    assert_refused("is in use by host:1:first");
    assert_true(state_read(dir, &kept, &locked, &err));
    assert_true(locked);
    assert_string_equal(kept.job, "orders");
    state_close(&s);
    assert_true(state_read(dir, &kept, &locked, &err));
    assert_false(locked);
}

/* The child writes until it is killed, at any moment; the next one finds a record and the lock
 * free. */
static void test_killed(void **state) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        bool found;
        struct state *s = state_open(dir, &record, &kept, &found, NULL, NULL);
        if (s == NULL) _exit(1);
        for (int i = 1;; i++) {
            record.watermark_us = i;
            if (!state_put(s, &record, NULL) || !state_audit(s, "put", "again", NULL)) _exit(1);
            if (i == 50 && write(ready[1], "", 1) != 1) _exit(1);
        }
    }
    char byte;
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    strcpy(record.owner, "host:2:second");
    assert_refused("is in use by host:1:first");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    bool found, locked;
    char predecessor[128];
    assert_true(state_read(dir, &kept, &locked, NULL));
    assert_false(locked);
    struct state *s = open_it(&found, predecessor);
    assert_true(found);
    assert_true(kept.watermark_us >= 50);
    assert_string_equal(predecessor, "host:1:first");
    state_close(&s);
}

static void test_tables(void **state) {
    bool found;
    int64_t run;
    struct state *s = open_it(&found, NULL);
    struct bytes key = bytes_of("a\0\xff", 3);
    assert_true(state_give_up(s, 3, key, "too large", NULL));
    assert_true(state_give_up(s, 3, key, "still too large", NULL));
    assert_true(state_run_begin(s, "full", &run, NULL));
    assert_true(state_finding(s, run, &(struct state_finding){ 3, key, "missing", NULL }, NULL));
    assert_true(state_run_end(s, run, 10, 1, "different", NULL));
    for (int i = 0; i < 3; i++) assert_true(state_audit(s, "gap", "why", NULL));
    assert_int_equal(
        number(
            "SELECT count(*) FROM given_up WHERE db=3 AND length(key)=3 AND reason LIKE 'still%'"),
        1);
    assert_int_equal(
        number("SELECT count(*) FROM finding JOIN run ON run.id=run WHERE kind='missing'"), 1);
    assert_int_equal(
        number("SELECT compared FROM run WHERE outcome='different' AND ended_us >= began_us"), 10);
    assert_int_equal(number("SELECT count(*) FROM audit WHERE event='gap'"), 3);
    state_close(&s);
}

static void test_orders(void **state) {
    bool found;
    struct err err;
    struct order first, second, order;
    order_make_release(&first, "hold-1");
    order_make_release(&second, "hold-2");
    assert_string_not_equal(first.id, second.id);
    assert_false(state_give_order(dir, &first, &err));
    struct state *s = open_it(&found, NULL);
    assert_false(state_next_order(s, &order));
    assert_true(state_give_order(dir, &first, &err));
    assert_true(state_give_order(dir, &first, &err)); /* once, as it has one id */
    assert_true(state_next_order(s, &order));
    assert_string_equal(order.id, first.id);
    assert_string_equal(order.hold, "hold-1");
    /* Given between reading the former one and removing it. */
    assert_true(state_give_order(dir, &second, &err));
    assert_true(state_remove_order(s, first.id, &err));
    assert_true(state_next_order(s, &order));
    assert_string_equal(order.id, second.id);
    assert_string_equal(order.hold, "hold-2");
    assert_true(state_remove_order(s, second.id, &err));
    assert_false(state_next_order(s, &order));
    state_close(&s);
}

/* In a process without rights over the directory. */
static void test_not_writable(void **state) {
    bool found;
    struct state *s = open_it(&found, NULL);
    assert_true(state_put(s, &record, NULL));
    state_close(&s);
    char line[256];
    snprintf(line, sizeof(line), "chmod 755 %s; chmod 555 %s; chmod 444 %s/*", root, dir, dir);
    assert_int_equal(system(line), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = { 0 };
        bool locked = true;
        if (geteuid() == 0 && setuid(NOBODY) != 0) _exit(2);
        if (state_open(dir, &record, &kept, &found, NULL, &err) != NULL) _exit(3);
        if (strstr(err.text, "cannot be opened for writing: Permission denied") == NULL) _exit(4);
        if (!state_read(dir, &kept, &locked, &err) || locked || strcmp(kept.job, "orders") != 0)
            _exit(5);
        struct order order;
        order_make_release(&order, "hold");
        if (state_give_order(dir, &order, &err)) _exit(6);
        snprintf(dir, sizeof(dir), "%s/state/deeper", root);
        if (state_open(dir, &record, &kept, &found, NULL, &err) != NULL) _exit(7);
        _exit(strstr(err.text, "cannot be made: Permission denied") != NULL ? 0 : 8);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A limit on the size of files stands in for a full disk; the earlier state stays good. */
static void test_full_disk(void **state) {
    pid_t pid = fork();
    if (pid == 0) {
        bool found;
        struct err err = { 0 };
        struct state *s = state_open(dir, &record, &kept, &found, NULL, NULL);
        if (s == NULL || !state_put(s, &record, NULL)) _exit(2);
        signal(SIGXFSZ, SIG_IGN);
        const struct rlimit limit = { 300000, 300000 };
        setrlimit(RLIMIT_FSIZE, &limit);
        char text[5000];
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        int i = 0;
        while (i < 1000 && state_audit(s, "fill", text, &err)) i++;
        if (i == 1000 || strstr(err.place, "longhaul.db") == NULL || err.text[0] == '\0') _exit(3);
        if (strchr(err.text, '\n') != NULL) _exit(4);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(WEXITSTATUS(status), 0);
    bool found;
    struct state *s = open_it(&found, NULL);
    assert_true(found);
    assert_true(state_put(s, &record, NULL));
    state_close(&s);
}

static void test_broken(void **state) {
    bool found;
    struct state *s = open_it(&found, NULL);
    state_close(&s);
    char line[256];
    snprintf(line, sizeof(line),
             "echo 'this is no database, however long it may be' >%s/longhaul.db", dir);
    assert_int_equal(system(line), 0);
    assert_refused("file is not a database");
    struct err err;
    bool locked;
    assert_false(state_read(dir, &kept, &locked, &err));
    snprintf(line, sizeof(line), "rm %s/longhaul.db", dir);
    assert_int_equal(system(line), 0);
    assert_false(state_read(dir, &kept, &locked, &err));
    assert_non_null(strstr(err.text, "No such file"));
}

static void test_newer(void **state) {
    bool found;
    struct state *s = open_it(&found, NULL);
    state_close(&s);
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/longhaul.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_refused("was written by a newer longhaul");
}

static int mode_of(const char *name) {
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s%s", dir, name);
    return stat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

/* Parents are made; all is for the user alone, with any umask. */
static void test_made_private(void **state) {
    bool found;
    static const mode_t masks[] = { 0, 0277 };
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        snprintf(dir, sizeof(dir), "%s/%zu/b/c", root, i);
        mode_t before = umask(masks[i]);
        struct state *s = open_it(&found, NULL);
        assert_true(state_put(s, &record, NULL));
        umask(before);
        assert_int_equal(mode_of(""), 0700);
        assert_int_equal(mode_of("/.."), 0700);
        assert_int_equal(mode_of("/lock"), 0600);
        assert_int_equal(mode_of("/longhaul.db"), 0600);
        assert_int_equal(mode_of("/longhaul.db-wal"), 0600);
        state_close(&s);
    }
}

/* A link in the place of a file would be a way to write to another one. */
static void test_links_are_not_followed(void **state) {
    static const char *const names[] = { "lock", "longhaul.db" };
    char path[128], victim[128];
    snprintf(victim, sizeof(victim), "%s/victim", root);
    assert_int_equal(mkdir(dir, 0700), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        assert_int_equal(symlink(victim, path), 0);
        assert_refused("is a symbolic link");
        assert_int_equal(access(victim, F_OK), -1);
        assert_int_equal(unlink(path), 0);
    }
}

/* The same servers under other names; a record tells their ids. */
static void test_same_servers(void **state) {
    bool found;
    record_ids_add(&record.source_ids, "replid-a");
    record_ids_add(&record.target_ids, "replid-b");
    record_set_scope(&record, "{}");
    struct state *s = open_it(&found, NULL);
    assert_true(state_put(s, &record, NULL));
    state_close(&s);
    strcpy(record.source, "localhost:1");
    strcpy(record.target, "127.0.0.1:2");
    strcpy(record.settings, "the same in other words");
    s = open_it(&found, NULL);
    state_close(&s);
    record_set_scope(&record, "{\"slots\":\"0\"}");
    assert_refused("its keys: ");
    record_set_scope(&record, "{}");
    record_ids_clear(&record.target_ids);
    assert_refused("its target: \"b:2\", but now \"127.0.0.1:2\"");
    record_fini(&record);
    record_fini(&kept);
}

static void test_forgotten(void **state) {
    bool found, locked;
    struct err err;
    struct order order;
    assert_false(state_forget(dir, &err));
    assert_non_null(strstr(err.text, "No such file"));
    struct state *s = open_it(&found, NULL);
    assert_true(state_put(s, &record, NULL));
    assert_true(state_audit(s, "gap", "why", NULL));
    order_make_release(&order, "hold");
    assert_true(state_give_order(dir, &order, &err));
    assert_false(state_forget(dir, &err));
    assert_non_null(strstr(err.text, "is in use by host:1:first"));
    state_close(&s);
    assert_true(state_forget(dir, &err));
    assert_false(state_read(dir, &kept, &locked, &err));
    strcpy(record.job, "another");
    s = open_it(&found, NULL);
    assert_false(found);
    assert_false(state_next_order(s, &order));
    assert_int_equal(number("SELECT count(*) FROM audit"), 1);
    state_close(&s);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_kept),         TEST(test_other_job),    TEST(test_locked),
        TEST(test_killed),       TEST(test_tables),       TEST(test_orders),
        TEST(test_full_disk),    TEST(test_not_writable), TEST(test_broken),
        TEST(test_newer),        TEST(test_made_private), TEST(test_links_are_not_followed),
        TEST(test_same_servers), TEST(test_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
