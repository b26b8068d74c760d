/* See resolve.h. A question is shared by the loop's side and the thread's, and goes with the last
 * of them; a pipe tells the loop that the answer is in.
 *
 *   loop:   resolve ──▶ question ◀── thread: getaddrinfo(), then a byte into the pipe
 *              ▲ event on the pipe's other end
 *
 * A thread whose question nobody waits for any more ends by itself when the resolver gives up.
 */
#include "net/resolve.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/descriptors.h"

enum { RESOLVE_STACK = 512 * 1024 };

struct question {
    atomic_int refs;
    /* stored by the thread behind all that it wrote, loaded by the loop before it reads that */
    atomic_bool answered;
    char *host;
    char port[8];
    int wake_fd; /* the thread's end of the pipe */
    int result;  /* of getaddrinfo() */
    int errnum;
    struct resolve_address addresses[RESOLVE_MAX];
    int n;
};

struct resolve {
    char *place;
    resolve_fn *fn;
    void *ctx;
    struct question *question;
    int answer_fd; /* -1: answered already, a literal address */
    struct event *event;
};

static void question_unref(struct question *q) {
    if (atomic_fetch_sub(&q->refs, 1) > 1) return;
    if (q->wake_fd >= 0) close(q->wake_fd);
    free(q->host);
    free(q);
}

static bool question_ask(struct question *q, int flags) {
    struct addrinfo hints = { .ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    q->result = getaddrinfo(q->host, q->port, &hints, &list);
    q->errnum = errno;
    if (q->result != 0) return false;
    for (struct addrinfo *ai = list; ai != NULL && q->n < RESOLVE_MAX; ai = ai->ai_next) {
        if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6) continue;
        struct resolve_address *a = &q->addresses[q->n++];
        memcpy(&a->addr, ai->ai_addr, ai->ai_addrlen);
        a->len = ai->ai_addrlen;
        a->family = ai->ai_family;
    }
    freeaddrinfo(list);
    return q->n > 0;
}

static void *thread_main(void *arg) {
    struct question *q = arg;
    question_ask(q, AI_ADDRCONFIG);
    /* Where only the loopback is configured, AI_ADDRCONFIG leaves nothing. */
    if (q->n == 0 && q->result == EAI_NONAME) question_ask(q, 0);
    atomic_store_explicit(&q->answered, true, memory_order_release);
    ssize_t written = write(q->wake_fd, "", 1); /* nobody may be listening any more */
    (void)written;
    question_unref(q);
    return NULL;
}

static bool question_start_thread(struct question *q) {
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, RESOLVE_STACK);
    atomic_fetch_add(&q->refs, 1);
    int failed = pthread_create(&thread, &attr, thread_main, q);
    pthread_attr_destroy(&attr);
    if (failed == 0) return true;
    atomic_fetch_sub(&q->refs, 1);
    atomic_store(&q->answered, true);
    q->result = EAI_SYSTEM;
    q->errnum = failed;
    return false;
}

static void on_answer(evutil_socket_t fd, short what, void *arg) {
    struct resolve *r = arg;
    struct question *q = r->question;
    struct err err;
    bool by_thread = r->answer_fd >= 0;
    if (by_thread && !atomic_load_explicit(&q->answered, memory_order_acquire)) return;
    if (q->n == 0 && q->result == EAI_SYSTEM)
        descriptors_set_errno(&err, ERR_RESOLVE, r->place, q->errnum,
                              "the host name cannot be resolved");
    if (q->n == 0 && q->result != EAI_SYSTEM)
        err_set(&err, ERR_RESOLVE, r->place,
                "%s has no address (%s); check the name and the resolver", q->host,
                q->result == 0 ? "empty answer" : gai_strerror(q->result));
    /* fn may free the resolve, and with it the question. */
    atomic_fetch_add(&q->refs, 1);
    r->fn(r->ctx, q->addresses, q->n, q->n > 0 ? NULL : &err);
    question_unref(q);
}

/* The answer comes through the pipe, or at once, in the loop's next round. */
static void resolve_listen(struct resolve *r, struct loop *loop) {
    int ends[2];
    struct timeval now = { 0 };
    bool known = question_ask(r->question, AI_NUMERICHOST);
    bool piped = !known && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0;
    if (!known && !piped) {
        r->question->result = EAI_SYSTEM;
        r->question->errnum = errno;
    }
    if (piped) {
        r->answer_fd = ends[0];
        r->question->wake_fd = ends[1];
        if (question_start_thread(r->question)) {
            r->event = event_new(loop_base(loop), r->answer_fd, EV_READ, on_answer, r);
            event_add(r->event, NULL);
            return;
        }
    }
    r->event = evtimer_new(loop_base(loop), on_answer, r);
    evtimer_add(r->event, &now);
}

struct resolve *resolve_new(struct loop *loop, const char *host, uint16_t port, const char *place,
                            resolve_fn *fn, void *ctx) {
    struct resolve *r = mem_zalloc(sizeof(*r));
    struct question *q = mem_zalloc(sizeof(*q));
    atomic_init(&q->refs, 1);
    q->host = mem_strdup(host);
    q->wake_fd = -1;
    snprintf(q->port, sizeof(q->port), "%u", port);
    r->place = mem_strdup(place);
    r->fn = fn;
    r->ctx = ctx;
    r->question = q;
    r->answer_fd = -1;
    resolve_listen(r, loop);
    return r;
}

void resolve_free(struct resolve **resolve) {
    struct resolve *r = *resolve;
    *resolve = NULL;
    if (r == NULL) return;
    event_free(r->event);
    if (r->answer_fd >= 0) close(r->answer_fd);
    question_unref(r->question);
    free(r->place);
    free(r);
}
