/* The event loop: timers, work deferred to the end of the round, work posted by other threads, and
 * ending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/loop.h"

static struct loop *loop;
static char order[64];
static int count;

static int setup(void **state) {
    struct err err;
    loop = loop_new(&err);
    order[0] = '\0';
    count = 0;
    return loop == NULL;
}

static int teardown(void **state) {
    loop_free(&loop);
    return loop != NULL;
}

static void note(void *ctx) {
    strcat(order, ctx);
}

static void stop(void *ctx) {
    loop_stop(loop);
}

static void timers_in_order(void **state) {
    struct loop_timer *a = loop_timer_new(loop, note, (void *)"a"),
                      *b = loop_timer_new(loop, note, (void *)"b");
    struct loop_timer *c = loop_timer_new(loop, note, (void *)"c"),
                      *end = loop_timer_new(loop, stop, NULL);
    int64_t start_ms = clock_mono_ms();
    loop_timer_start(a, 60);
    loop_timer_start(b, 20);
    loop_timer_start(c, 10);
    loop_timer_start(end, 90);
    loop_timer_stop(c);
    loop_timer_stop(c);
    assert_false(loop_timer_is_pending(c));
    assert_true(loop_timer_is_pending(a));
    loop_timer_start(b, 40); /* moved, not added */
    loop_run(loop);
    assert_in_range(clock_mono_ms() - start_ms, 89, 2000);
    assert_string_equal(order, "ba");
    assert_false(loop_timer_is_pending(a));
    loop_timer_free(&a);
    loop_timer_free(&b);
    loop_timer_free(&c);
    loop_timer_free(&end);
    assert_null(end);
    loop_timer_free(&end);
}

static struct loop_timer *own_timer;

static void free_own_timer(void *ctx) {
    loop_timer_free(&own_timer);
    count++;
}

static void timer_freed_in_its_callback(void **state) {
    own_timer = loop_timer_new(loop, free_own_timer, NULL);
    loop_timer_start(own_timer, -5);
    while (count == 0) loop_run_once(loop, 1000);
    assert_null(own_timer);
}

static void defer_more(void *ctx) {
    note((void *)"1");
    loop_defer(loop, note, (void *)"3");
}

static void deferred_in_one_round(void **state) {
    char unwanted[] = "x";
    loop_defer(loop, defer_more, NULL);
    loop_defer(loop, note, unwanted);
    loop_defer(loop, note, (void *)"2");
    loop_undefer(loop, unwanted);
    loop_run_once(loop, 0);
    assert_string_equal(order, "123");
    loop_run_once(loop, 0);
    assert_string_equal(order, "123");
}

static void undefer_another(void *ctx) {
    loop_undefer(loop, ctx);
}

static void undefer_while_running(void **state) {
    char unwanted[] = "x";
    loop_defer(loop, undefer_another, unwanted);
    loop_defer(loop, note, unwanted);
    loop_defer(loop, note, (void *)"y");
    loop_run_once(loop, 0);
    assert_string_equal(order, "y");
}

/* The caller may be waiting for work that was deferred before the round. */
static void deferred_work_does_not_wait(void **state) {
    int64_t start_ms = clock_mono_ms();
    loop_defer(loop, note, (void *)"a");
    loop_run_once(loop, -1);
    loop_defer(loop, stop, NULL);
    loop_run(loop);
    assert_string_equal(order, "a");
    assert_true(clock_mono_ms() - start_ms < 1000);
}

static void run_once_waits_as_long_as_said(void **state) {
    int64_t start_ms = clock_mono_ms();
    loop_run_once(loop, 50);
    int64_t took_ms = clock_mono_ms() - start_ms;
    assert_in_range(took_ms, 49, 1000);
    start_ms = clock_mono_ms();
    loop_run_once(loop, 0);
    assert_true(clock_mono_ms() - start_ms < 45);
}

enum { POSTERS = 4, POSTS = 20000 };

static pthread_t loop_thread;

static void on_post(void *ctx) {
    assert_true(pthread_equal(pthread_self(), loop_thread));
    if (++count == POSTERS * POSTS) loop_stop(loop);
}

static void *post_many(void *arg) {
    for (int i = 0; i < POSTS; i++) loop_post(loop, on_post, NULL);
    return NULL;
}

static void posts_from_threads(void **state) {
    pthread_t threads[POSTERS];
    loop_thread = pthread_self();
    for (int i = 0; i < POSTERS; i++) pthread_create(&threads[i], NULL, post_many, NULL);
    loop_run(loop);
    for (int i = 0; i < POSTERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(count, POSTERS * POSTS);
}

/* Work that is deferred before the sleep goes first, and the loop sleeps once only. */
static void rests_before_it_waits(void **state) {
    loop_rest(loop, 60 * 1000 * 1000);
    loop_defer(loop, note, (void *)"d");
    int64_t start_us = clock_mono_us();
    loop_run_once(loop, 0);
    int64_t rested_us = clock_mono_us() - start_us;
    assert_true(rested_us >= LOOP_REST_MAX_US && rested_us < 30 * 1000 * 1000);
    assert_string_equal(order, "d");
    int64_t shortest_us = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        start_us = clock_mono_us();
        loop_run_once(loop, 0);
        int64_t took_us = clock_mono_us() - start_us;
        if (took_us < shortest_us) shortest_us = took_us;
    }
    assert_true(shortest_us < LOOP_REST_MAX_US);
}

static void *run_own_loop(void *arg) {
    struct err err;
    for (int i = 0; i < 50; i++) {
        struct loop *mine = loop_new(&err);
        assert_non_null(mine);
        loop_run_once(mine, 0);
        loop_free(&mine);
    }
    return NULL;
}

static void loops_in_threads(void **state) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, run_own_loop, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

static void freed_with_work_left(void **state) {
    loop_post(loop, note, (void *)"p");
    loop_defer(loop, note, (void *)"d");
    loop_free(&loop);
    /* Posted work is dropped; deferred work gives memory back and therefore runs. */
    assert_string_equal(order, "d");
}

static void on_signal(void *ctx, int signum) {
    count = signum;
    loop_stop(loop);
}

static void signals(void **state) {
    loop_on_signal(loop, SIGUSR1, on_signal, NULL);
    raise(SIGUSR1);
    loop_run(loop);
    assert_int_equal(count, SIGUSR1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- waiting ---- */

static void count_up(void *ctx) {
    ++*(int *)ctx;
}

static bool counts_down(void *ctx) {
    int *left = ctx;
    return (*left)-- == 0;
}

static bool never(void *ctx) {
    ++*(int *)ctx;
    return false;
}

static void waits_until_done_or_late_or_stopped(void **state) {
    volatile bool stop = false;
    int left = 3, asked = 0;
    assert_true(loop_until(loop, counts_down, &left, LOOP_NO_DEADLINE, NULL));
    int64_t began_ms = clock_mono_ms();
    assert_false(loop_until(loop, never, &asked, began_ms + 30, &stop));
    assert_true(clock_mono_ms() - began_ms >= 30);
    assert_true(asked > 1);
    left = 0; /* met already: no deadline and no flag matters */
    stop = true;
    assert_true(loop_until(loop, counts_down, &left, began_ms, &stop));
    assert_false(loop_until(loop, never, &asked, LOOP_NO_DEADLINE, &stop));
    assert_false(loop_pause(loop, 3600 * 1000, &stop));
    assert_true(loop_pause(loop, 20, NULL));
}

static void settles_what_is_deferred(void **state) {
    int n = 0;
    loop_defer(loop, count_up, &n);
    assert_int_equal(n, 0);
    loop_settle(loop);
    assert_int_equal(n, 1);
    loop_settle(loop);
    assert_int_equal(n, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(waits_until_done_or_late_or_stopped),
        TEST(settles_what_is_deferred),
        TEST(timers_in_order),
        TEST(timer_freed_in_its_callback),
        TEST(deferred_in_one_round),
        TEST(undefer_while_running),
        TEST(deferred_work_does_not_wait),
        TEST(run_once_waits_as_long_as_said),
        TEST(rests_before_it_waits),
        TEST(posts_from_threads),
        TEST(loops_in_threads),
        TEST(freed_with_work_left),
        TEST(signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
