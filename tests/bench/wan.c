/* A long fat pipe: a TCP proxy with a delay and a rate.
 *
 *   wan PORT TARGET_PORT ROUND_TRIP_MS BITS_PER_SECOND
 *       ports of 127.0.0.1; 0 ms: no delay, 0 bit/s: no limit
 *
 *   client ──read──▶ [ chunk, due at ][ chunk, due at ] ... ──write──▶ server
 *       and the same the other way
 *
 * Each direction is one link that all connections share. Bytes that are read from a socket get
 * their place on the link at once: a chunk leaves when the link is free, takes bytes / rate, and
 * arrives half of the round trip later. When the link is booked for LINK_AHEAD_US, nothing more is
 * read, so that the rest waits in the sender's own socket as it would before a slow router. The
 * bytes on the way have no bound of their own: rate times delay bounds them, and with no rate the
 * sender's window does. The program prints "ready" and ends with its standard input.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK_BYTES = 256 * 1024,
    CHUNKS_SPARE_MAX = 256,
    SOCKET_BUFFER_BYTES = 4 * 1024 * 1024,
    LINK_AHEAD_US = 5000,
    JOIN_US = 200, /* bytes that come so soon behind others arrive with them */
    /* with a delay it looks no more often: a network card gathers packets too, and costs no
     * processor */
    REST_US = 200,
    EVENTS_MAX = 64,
};

struct chunk {
    struct chunk *next;
    int64_t due_us;
    size_t start, end;
    char data[CHUNK_BYTES];
};

/* All bytes of one direction pass here one after the other. */
struct link {
    int64_t free_us; /* when the last booked chunk has left */
};

/* One direction of one connection. */
struct way {
    struct link *link;
    struct chunk *head, *tail;
    bool ended, told; /* the sender has finished; the receiver knows */
};

struct end {
    struct pair *pair;
    int fd;
    uint32_t wanted; /* of epoll */
    bool writable;
};

/* side 0 is the client, side 1 the server; way[i] goes out of side i. */
struct pair {
    struct pair *next;
    struct end end[2];
    struct way way[2];
    bool broken;
};

static struct {
    int epoll_fd, listen_fd, timer_fd;
    uint16_t target_port;
    int64_t delay_us;
    double us_per_byte;
    struct link link[2];
    struct pair *pairs;
    struct chunk *spare;
    size_t n_spare;
} wan;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- chunks ---- */

static struct chunk *chunk_take(void) {
    struct chunk *c = wan.spare;
    if (c != NULL) {
        wan.spare = c->next;
        wan.n_spare--;
    } else if ((c = malloc(sizeof(*c))) == NULL) {
        die("malloc");
    }
    c->next = NULL;
    c->start = c->end = 0;
    return c;
}

static void chunk_drop(struct chunk *c) {
    if (wan.n_spare == CHUNKS_SPARE_MAX) {
        free(c);
        return;
    }
    c->next = wan.spare;
    wan.spare = c;
    wan.n_spare++;
}

static void way_drop_head(struct way *w) {
    struct chunk *c = w->head;
    w->head = c->next;
    if (w->head == NULL) w->tail = NULL;
    chunk_drop(c);
}

/* ---- sockets ---- */

static void tune(int fd) {
    int one = 1, bytes = SOCKET_BUFFER_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* Root may have more than the system's limit, which is small for a long pipe; others get the
     * system's limit. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static struct sockaddr_in loopback(uint16_t port) {
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void want(struct end *e, uint32_t events) {
    if (e->wanted == events) return;
    struct epoll_event ev = { .events = events, .data.ptr = e };
    if (epoll_ctl(wan.epoll_fd, EPOLL_CTL_MOD, e->fd, &ev) != 0) die("epoll_ctl");
    e->wanted = events;
}

static void watch(struct end *e, struct pair *p, int fd) {
    *e = (struct end){ .pair = p, .fd = fd, .wanted = EPOLLIN, .writable = true };
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = e };
    if (epoll_ctl(wan.epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) die("epoll_ctl");
}

static void on_client(void) {
    int fd = accept4(wan.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct sockaddr_in to = loopback(wan.target_port);
    int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (other < 0) die("socket");
    tune(fd);
    tune(other);
    if (connect(other, (struct sockaddr *)&to, sizeof(to)) != 0) {
        close(fd);
        close(other);
        return;
    }
    struct pair *p = calloc(1, sizeof(*p));
    if (p == NULL) die("calloc");
    watch(&p->end[0], p, fd);
    watch(&p->end[1], p, other);
    p->way[0].link = &wan.link[0];
    p->way[1].link = &wan.link[1];
    p->next = wan.pairs;
    wan.pairs = p;
}

/* ---- moving ---- */

static int64_t book(struct link *link, size_t bytes, int64_t now) {
    if (link->free_us < now) link->free_us = now;
    link->free_us += (int64_t)((double)bytes * wan.us_per_byte);
    return link->free_us + wan.delay_us;
}

static bool is_link_full(const struct link *link, int64_t now) {
    return link->free_us > now + LINK_AHEAD_US;
}

/* The last chunk takes more as long as that comes out at nearly the same time. */
static struct chunk *chunk_for(struct way *w, int64_t now) {
    struct chunk *c = w->tail;
    bool joins = c != NULL && c->end < CHUNK_BYTES / 2 && now + wan.delay_us <= c->due_us + JOIN_US;
    if (joins) return c;
    c = chunk_take();
    if (w->tail != NULL) {
        w->tail->next = c;
    } else {
        w->head = c;
    }
    w->tail = c;
    return c;
}

static void read_from(struct pair *p, int side, int64_t now) {
    struct way *w = &p->way[side];
    if (w->ended || is_link_full(w->link, now)) return;
    struct chunk *c = chunk_for(w, now);
    ssize_t n = read(p->end[side].fd, c->data + c->end, CHUNK_BYTES - c->end);
    if (n > 0) {
        c->end += (size_t)n;
        c->due_us = book(w->link, (size_t)n, now);
    } else if (n == 0) {
        w->ended = true;
        c->due_us = now + wan.delay_us;
    } else if (errno != EAGAIN && errno != EINTR) {
        p->broken = true;
    } else if (c->end == 0) {
        c->due_us = now;
    }
}

static void write_to(struct pair *p, int side, int64_t now) {
    struct way *w = &p->way[!side];
    struct end *e = &p->end[side];
    while (w->head != NULL && w->head->due_us <= now && e->writable) {
        struct chunk *c = w->head;
        ssize_t n = c->start == c->end
                        ? 0
                        : send(e->fd, c->data + c->start, c->end - c->start, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            e->writable = false;
        } else if (n < 0 && errno != EINTR) {
            p->broken = true;
            return;
        } else if (n >= 0 && (c->start += (size_t)n) == c->end) {
            way_drop_head(w);
        }
    }
    if (w->head == NULL && w->ended && !w->told) {
        shutdown(e->fd, SHUT_WR);
        w->told = true;
    }
}

static void pair_free(struct pair **at) {
    struct pair *p = *at;
    *at = p->next;
    for (int i = 0; i < 2; i++) {
        close(p->end[i].fd);
        while (p->way[i].head != NULL) way_drop_head(&p->way[i]);
    }
    free(p);
}

/* Writes the chunks that are due, and returns the time when the next one is due: INT64_MAX when
 * nothing is on its way.
 */
static int64_t move_all(int64_t now) {
    int64_t next = INT64_MAX;
    for (struct pair **at = &wan.pairs; *at != NULL;) {
        struct pair *p = *at;
        for (int side = 0; side < 2; side++) write_to(p, side, now);
        if (p->broken || (p->way[0].told && p->way[1].told)) {
            pair_free(at);
            continue;
        }
        for (int side = 0; side < 2; side++) {
            const struct way *out = &p->way[side], *in = &p->way[!side];
            bool full = is_link_full(out->link, now);
            if (in->head != NULL && p->end[side].writable && in->head->due_us < next)
                next = in->head->due_us;
            if (full && out->link->free_us - LINK_AHEAD_US < next)
                next = out->link->free_us - LINK_AHEAD_US;
            want(&p->end[side], (out->ended || full ? 0 : (uint32_t)EPOLLIN) |
                                    (p->end[side].writable ? 0 : (uint32_t)EPOLLOUT));
        }
        at = &p->next;
    }
    return next;
}

static void sleep_until(int64_t due_us) {
    struct itimerspec spec = { 0 };
    if (due_us != INT64_MAX) {
        if (due_us < 1) due_us = 1;
        spec.it_value.tv_sec = due_us / 1000000;
        spec.it_value.tv_nsec = due_us % 1000000 * 1000;
    }
    timerfd_settime(wan.timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* ---- life ---- */

static void add_special(int fd, void *tag) {
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };
    if (epoll_ctl(wan.epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) die("epoll_ctl");
}

static void open_all(uint16_t port) {
    int one = 1;
    struct sockaddr_in at = loopback(port);
    wan.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    wan.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    wan.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(wan.listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(wan.listen_fd, (struct sockaddr *)&at, sizeof(at)) != 0) die("bind");
    tune(wan.listen_fd); /* the window's scale is agreed upon before accept() */
    if (listen(wan.listen_fd, 64) != 0) die("listen");
    add_special(wan.listen_fd, &wan.listen_fd);
    add_special(wan.timer_fd, &wan.timer_fd);
    add_special(STDIN_FILENO, NULL);
    printf("ready\n");
    fflush(stdout);
}

static void on_event(const struct epoll_event *ev, int64_t now) {
    if (ev->data.ptr == NULL) exit(0);
    if (ev->data.ptr == &wan.listen_fd) {
        on_client();
        return;
    }
    if (ev->data.ptr == &wan.timer_fd) {
        uint64_t ignored;
        ssize_t n = read(wan.timer_fd, &ignored, sizeof(ignored));
        (void)n;
        return;
    }
    struct end *e = ev->data.ptr;
    if (ev->events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) e->writable = true;
    if (ev->events & EPOLLERR) e->pair->broken = true;
    if (ev->events & (EPOLLIN | EPOLLHUP)) read_from(e->pair, e == &e->pair->end[1], now);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: wan PORT TARGET_PORT ROUND_TRIP_MS BITS_PER_SECOND\n");
        return 2;
    }
    double rate = strtod(argv[4], NULL);
    wan.target_port = (uint16_t)atoi(argv[2]);
    wan.delay_us = (int64_t)(strtod(argv[3], NULL) * 1000 / 2);
    wan.us_per_byte = rate > 0 ? 8e6 / rate : 0;
    signal(SIGPIPE, SIG_IGN);
    open_all((uint16_t)atoi(argv[1]));
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(wan.epoll_fd, events, EVENTS_MAX, -1);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        int64_t now = now_us();
        for (int i = 0; i < n; i++) on_event(&events[i], now);
        sleep_until(move_all(now_us()));
        if (wan.delay_us > 0) usleep(REST_US);
    }
}
