/* Allocation: zero sizes, copies, and the end of the process where there is nothing to give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static void nothing_is_something(void **state) {
    void *a = mem_alloc(0), *b = mem_zalloc(0), *c = mem_array(NULL, 0, 8);
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    c = mem_realloc(c, 0);
    assert_non_null(c);
    free(a);
    free(b);
    free(c);
}

static void zeroed_and_grown(void **state) {
    unsigned char *p = mem_zalloc(100);
    for (int i = 0; i < 100; i++) assert_int_equal(p[i], 0);
    p[99] = 7;
    p = mem_array(p, 1000, 10);
    assert_int_equal(p[99], 7);
    free(p);
}

static void copies(void **state) {
    char unterminated[3] = { 'a', 'b', 'c' };
    char *s = mem_strndup(unterminated, 3);
    assert_string_equal(s, "abc");
    free(s);
    s = mem_strndup("ab\0cd", 5);
    assert_string_equal(s, "ab");
    free(s);
    s = mem_strdup("");
    assert_string_equal(s, "");
    free(s);
    s = mem_printf("%s-%d-%*s", "x", 7, 3000, "end");
    assert_int_equal(strlen(s), 3004);
    free(s);
}

static void ask_for_too_much(void) {
    mem_array(NULL, SIZE_MAX / 2, 3);
}

static void overflow_ends_the_process(void **state) {
    int fds[2];
    char line[256] = "";
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        ask_for_too_much();
        _exit(0);
    }
    close(fds[1]);
    ssize_t len = read(fds[0], line, sizeof(line) - 1);
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
    assert_true(len > 0 && line[len - 1] == '\n');
    assert_non_null(strstr(line, "out of memory"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_something),
        cmocka_unit_test(zeroed_and_grown),
        cmocka_unit_test(copies),
        cmocka_unit_test(overflow_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
