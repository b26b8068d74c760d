/* Log lines as they arrive on standard error: whole, in one piece, with the hooks around them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { THREADS = 4, LINES = 500 };

static FILE *capture;
static int saved_stderr;
static char text[512 * 1024];

static int start_capture(void **state) {
    capture = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    dup2(fileno(capture), STDERR_FILENO);
    log_set_level(LOG_INFO);
    log_set_hooks(NULL, NULL, NULL);
    return 0;
}

static const char *end_capture(void) {
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    rewind(capture);
    text[fread(text, 1, sizeof(text) - 1, capture)] = '\0';
    fclose(capture);
    return text;
}

static bool looks_like(const char *line, const char *pattern) {
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&re, line, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
}

#define STAMP "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

static void shape(void **state) {
    log_warn("source h:1", "lost after %d ms", 7);
    assert_true(looks_like(end_capture(), STAMP "warn  source h:1: lost after 7 ms\n$"));
}

static void no_subject(void **state) {
    log_info(NULL, "hello");
    assert_true(looks_like(end_capture(), STAMP "info  hello\n$"));
}

static void an_error_as_a_line(void **state) {
    struct err err;
    err_set(&err, ERR_CONNECT, "target t:2", "refused 100%%");
    log_err(LOG_ERROR, &err);
    assert_true(looks_like(end_capture(), STAMP "error target t:2: refused 100%\n$"));
}

static void levels(void **state) {
    log_debug(NULL, "not seen");
    log_set_level(LOG_ERROR);
    assert_false(log_is_on(LOG_WARN));
    log_warn(NULL, "not seen");
    log_set_level(LOG_DEBUG);
    log_debug(NULL, "seen");
    const char *got = end_capture();
    assert_null(strstr(got, "not seen"));
    assert_non_null(strstr(got, "debug seen\n"));
}

static void control_characters(void **state) {
    log_info("a\nb", "c\rd\x1b[2J");
    assert_true(looks_like(end_capture(), STAMP "info  a\\?b: c\\?d\\?\\[2J\n$"));
}

static void long_lines_are_cut(void **state) {
    static char longer[10000];
    memset(longer, 'x', sizeof(longer) - 1);
    log_info(longer, "%s", longer);
    log_info(NULL, "%s", longer);
    log_info(NULL, "next");
    const char *got = end_capture();
    assert_true(strlen(got) < 3 * 2048);
    assert_true(looks_like(strrchr(strstr(got, "next") - 8, 'i'), "info  next\n$"));
}

static void keeps_errno(void **state) {
    errno = ENOENT;
    log_info(NULL, "%m");
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(end_capture(), "No such file"));
}

static void mark(void *ctx) {
    ssize_t n = write(STDERR_FILENO, ctx, 1);
    (void)n;
}
static void mark_next(void *ctx) {
    mark((char *)ctx + 1);
}

static void hooks_stand_around(void **state) {
    static char marks[] = "<>";
    log_set_hooks(mark, mark_next, marks);
    log_info(NULL, "one");
    log_debug(NULL, "dropped: no hooks");
    log_with_lock(mark, marks);
    log_set_hooks(NULL, NULL, NULL);
    const char *got = end_capture();
    assert_int_equal(got[0], '<');
    assert_string_equal(strchr(got, '\n'), "\n><");
}

static void *chatter(void *name) {
    for (int i = 0; i < LINES; i++) log_info(name, "line %d ends", i);
    return NULL;
}

static void threads_do_not_mix(void **state) {
    pthread_t threads[THREADS];
    char names[THREADS][8];
    for (int i = 0; i < THREADS; i++) {
        snprintf(names[i], sizeof(names[i]), "t%d", i);
        pthread_create(&threads[i], NULL, chatter, names[i]);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    char *save = NULL, *rest = (char *)(uintptr_t)end_capture();
    int lines = 0;
    for (char *line = strtok_r(rest, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save), lines++) {
        if (!looks_like(line, STAMP "info  t[0-3]: line [0-9]+ ends$")) fail_msg("mixed: %s", line);
    }
    assert_int_equal(lines, THREADS * LINES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shape, start_capture),
        cmocka_unit_test_setup(no_subject, start_capture),
        cmocka_unit_test_setup(an_error_as_a_line, start_capture),
        cmocka_unit_test_setup(levels, start_capture),
        cmocka_unit_test_setup(control_characters, start_capture),
        cmocka_unit_test_setup(long_lines_are_cut, start_capture),
        cmocka_unit_test_setup(keeps_errno, start_capture),
        cmocka_unit_test_setup(hooks_stand_around, start_capture),
        cmocka_unit_test_setup(threads_do_not_mix, start_capture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
