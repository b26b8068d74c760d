/* See loop.h. Deferred work is a growing array with a mark before the first that has not run; work
 * that is deferred meanwhile joins the end and runs in the same round. Posts cross threads through
 * a mutex and an eventfd. */
#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/descriptors.h"

enum { LOOP_SIGNALS_MAX = 8 };

struct work {
    loop_fn *fn;
    void *ctx;
};

struct work_list {
    struct work *items;
    size_t n, cap;
};

struct loop_signal {
    struct event *event;
    loop_signal_fn *fn;
    void *ctx;
    int signum;
};

struct loop {
    struct event_base *base;
    bool stopped;
    bool in_round; /* callbacks are running */
    int64_t rest_us;
    struct work_list deferred;
    size_t deferred_next; /* the first that has not run */
    int post_fd;
    struct event *post_event;
    pthread_mutex_t post_lock;
    struct work_list posted;
    struct loop_signal signals[LOOP_SIGNALS_MAX];
    int n_signals;
};

struct loop_timer {
    struct event *event;
    loop_fn *fn;
    void *ctx;
};

static void work_list_add(struct work_list *list, loop_fn *fn, void *ctx) {
    if (list->n == list->cap) {
        list->cap = list->cap == 0 ? 16 : list->cap * 2;
        list->items = mem_array(list->items, list->cap, sizeof(*list->items));
    }
    list->items[list->n++] = (struct work){ fn, ctx };
}

static void on_post(evutil_socket_t fd, short what, void *arg) {
    struct loop *loop = arg;
    uint64_t ignored;
    ssize_t n = read(fd, &ignored, sizeof(ignored));
    (void)n;
    pthread_mutex_lock(&loop->post_lock);
    struct work_list list = loop->posted;
    loop->posted = (struct work_list){ 0 };
    pthread_mutex_unlock(&loop->post_lock);
    for (size_t i = 0; i < list.n; i++) list.items[i].fn(list.items[i].ctx);
    free(list.items);
}

/* libevent writes to the standard error, and exits with status 1 where it cannot go on. */
static void loop_on_library_log(int severity, const char *text) {
    log_debug("event loop", "%s", text);
}

static void loop_on_library_fatal(int error) {
    fprintf(stderr, "longhaul: event loop: libevent cannot go on (%s)\n", strerror(errno));
    _exit(err_exit_status(ERR_INTERNAL));
}

static void loop_set_up_library(void) {
    event_set_log_callback(loop_on_library_log);
    event_set_fatal_callback(loop_on_library_fatal);
    evthread_use_pthreads();
}

struct loop *loop_new(struct err *err) {
    /* A loop needs no locks of its own; libevent's state of the whole process does (random numbers
     * of the resolver). */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, loop_set_up_library);
    /* A peer that went away is an error of write(), not a signal. */
    signal(SIGPIPE, SIG_IGN);
    if (!descriptors_are_left(LOOP_DESCRIPTORS, "event loop", err)) return NULL;
    struct loop *loop = mem_zalloc(sizeof(*loop));
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    loop->post_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&loop->post_lock, NULL);
    if (loop->base == NULL || loop->post_fd < 0) {
        descriptors_set_errno(err, ERR_INTERNAL, "event loop", errno, "cannot be made");
        loop_free(&loop);
        return NULL;
    }
    loop->post_event = event_new(loop->base, loop->post_fd, EV_READ | EV_PERSIST, on_post, loop);
    event_add(loop->post_event, NULL);
    return loop;
}

static bool loop_run_deferred(struct loop *loop) {
    struct work_list *list = &loop->deferred;
    bool any = list->n > 0;
    while (loop->deferred_next < list->n) {
        struct work work = list->items[loop->deferred_next++];
        if (work.fn != NULL) work.fn(work.ctx);
    }
    loop->deferred_next = list->n = 0;
    return any;
}

/* Objects that were closed just before still have memory to give back: connections at the end of a
 * round, questions to the resolver when their cancellation comes round. */
static void loop_run_last_rounds(struct loop *loop) {
    enum { LAST_ROUNDS = 3 };
    for (int i = 0; i < LAST_ROUNDS; i++) {
        loop_run_deferred(loop);
        event_base_loop(loop->base, EVLOOP_NONBLOCK);
    }
    loop_run_deferred(loop);
}

void loop_free(struct loop **loop) {
    struct loop *l = *loop;
    *loop = NULL;
    if (l == NULL) return;
    for (int i = 0; i < l->n_signals; i++) event_free(l->signals[i].event);
    if (l->post_event != NULL) event_free(l->post_event);
    if (l->post_fd >= 0) close(l->post_fd);
    if (l->base != NULL) loop_run_last_rounds(l);
    if (l->base != NULL) event_base_free(l->base);
    pthread_mutex_destroy(&l->post_lock);
    free(l->posted.items);
    free(l->deferred.items);
    free(l);
}

void loop_rest(struct loop *loop, int64_t us) {
    loop->rest_us = us < LOOP_REST_MAX_US ? us : LOOP_REST_MAX_US;
}

static void loop_sleep(struct loop *loop) {
    struct timespec rest = { .tv_nsec = (long)loop->rest_us * 1000 };
    loop->rest_us = 0;
    nanosleep(&rest, NULL); /* a signal may shorten it */
}

void loop_run(struct loop *loop) {
    loop->stopped = false;
    while (!loop->stopped) loop_run_once(loop, -1);
}

void loop_settle(struct loop *loop) {
    assert(!loop->in_round);
    loop->in_round = true;
    loop_run_deferred(loop);
    loop->in_round = false;
}

static void on_wake(evutil_socket_t fd, short what, void *arg) {}

void loop_run_once(struct loop *loop, int64_t timeout_ms) {
    assert(!loop->in_round);
    loop->in_round = true;
    /* The work that was deferred before the round may be all that the caller waits for: then the
     * round does not wait. */
    if (loop_run_deferred(loop)) timeout_ms = 0;
    if (loop->rest_us > 0) loop_sleep(loop);
    if (timeout_ms == 0) {
        event_base_loop(loop->base, EVLOOP_NONBLOCK);
    } else if (timeout_ms > 0) {
        struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000 };
        /* Persistent: the base may go on waiting when the timer has fired beside events of its own,
         * which it does not count (libevent 2.1.12 event.c event_base_loop(),
         * event_process_active()). */
        struct event *wake = event_new(loop->base, -1, EV_PERSIST, on_wake, NULL);
        evtimer_add(wake, &tv);
        event_base_loop(loop->base, EVLOOP_ONCE);
        event_free(wake);
    } else {
        event_base_loop(loop->base, EVLOOP_ONCE);
    }
    loop_run_deferred(loop);
    loop->in_round = false;
}

bool loop_until(struct loop *loop, loop_done_fn *done, void *ctx, int64_t deadline_ms,
                const volatile bool *stop) {
    while (!done(ctx)) {
        int64_t left_ms = deadline_ms - clock_mono_ms();
        if (left_ms <= 0 || (stop != NULL && *stop)) return false;
        loop_run_once(loop, left_ms < LOOP_SLICE_MS ? left_ms : LOOP_SLICE_MS);
    }
    return true;
}

static bool loop_never_done(void *ctx) {
    return false;
}

bool loop_pause(struct loop *loop, int64_t pause_ms, const volatile bool *stop) {
    loop_until(loop, loop_never_done, NULL, clock_mono_ms() + pause_ms, stop);
    return stop == NULL || !*stop;
}

void loop_stop(struct loop *loop) {
    loop->stopped = true;
}

void loop_defer(struct loop *loop, loop_fn *fn, void *ctx) {
    work_list_add(&loop->deferred, fn, ctx);
}

void loop_undefer(struct loop *loop, void *ctx) {
    for (size_t i = loop->deferred_next; i < loop->deferred.n; i++)
        if (loop->deferred.items[i].ctx == ctx) loop->deferred.items[i].fn = NULL;
}

void loop_post(struct loop *loop, loop_fn *fn, void *ctx) {
    pthread_mutex_lock(&loop->post_lock);
    work_list_add(&loop->posted, fn, ctx);
    pthread_mutex_unlock(&loop->post_lock);
    uint64_t one = 1;
    ssize_t n = write(loop->post_fd, &one, sizeof(one));
    (void)n;
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
    struct loop_timer *timer = arg;
    timer->fn(timer->ctx);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_fn *fn, void *ctx) {
    struct loop_timer *timer = mem_zalloc(sizeof(*timer));
    timer->fn = fn;
    timer->ctx = ctx;
    timer->event = evtimer_new(loop->base, on_timer, timer);
    return timer;
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms) {
    if (delay_ms < 0) delay_ms = 0;
    struct timeval tv = { .tv_sec = delay_ms / 1000, .tv_usec = (delay_ms % 1000) * 1000 };
    evtimer_add(timer->event, &tv);
}

void loop_timer_stop(struct loop_timer *timer) {
    evtimer_del(timer->event);
}

bool loop_timer_is_pending(const struct loop_timer *timer) {
    return evtimer_pending(timer->event, NULL) != 0;
}

void loop_timer_free(struct loop_timer **timer) {
    if (*timer == NULL) return;
    event_free((*timer)->event);
    free(*timer);
    *timer = NULL;
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
    struct loop_signal *s = arg;
    s->fn(s->ctx, s->signum);
}

void loop_on_signal(struct loop *loop, int signum, loop_signal_fn *fn, void *ctx) {
    assert(loop->n_signals < LOOP_SIGNALS_MAX);
    struct loop_signal *s = &loop->signals[loop->n_signals++];
    *s = (struct loop_signal){ .fn = fn, .ctx = ctx, .signum = signum };
    s->event = evsignal_new(loop->base, signum, on_signal, s);
    evsignal_add(s->event, NULL);
}

struct event_base *loop_base(struct loop *loop) {
    return loop->base;
}
