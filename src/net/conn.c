/* See conn.h. */
#include "net/conn.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/descriptors.h"
#include "net/resolve.h"
#include "net/tls_priv.h"
#include <openssl/err.h>

enum {
    IN_BLOCK = 128 * 1024,       /* usual size of the input block */
    IN_READ_MIN = 16 * 1024,     /* less room than this is not worth a system call */
    IN_ROUND_MAX = 1024 * 1024,  /* read in one round, so that others get their turn */
    OUT_ROUND_MAX = 1024 * 1024, /* written in one round */
    OUT_IOV_MAX = 64,
};

enum conn_state { CONN_RESOLVING, CONN_CONNECTING, CONN_HANDSHAKE, CONN_OPEN, CONN_CLOSED };

struct conn {
    struct loop *loop;
    enum conn_state state;
    struct conn_callbacks callbacks;
    void *ctx;
    char *place, *path, *host, *server_name;
    uint16_t port;
    struct tls *tls;

    struct resolve *resolve;
    struct resolve_address addresses[RESOLVE_MAX];
    int n_addresses, next_address;
    int64_t deadline_ms;
    struct loop_timer *timer; /* until open: the time limit; then: more to read from OpenSSL */
    struct err last_err;      /* why the previous address failed */

    int fd;
    SSL *ssl;
    struct event *on_read, *on_write;
    bool flush_pending;

    struct block *in;
    size_t in_start, in_end, expected;
    struct outq out;
    uint64_t bytes_in, bytes_out;
};

static void conn_try_next(struct conn *c);
static void conn_write(struct conn *c);

/* ---- ending ---- */

static void conn_drop_socket(struct conn *c) {
    if (c->on_read != NULL) event_free(c->on_read);
    if (c->on_write != NULL) event_free(c->on_write);
    c->on_read = c->on_write = NULL;
    if (c->ssl != NULL) SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

/* The one way in which a connection ends by itself. */
static void conn_close(struct conn *c, const struct err *err) {
    if (c->state == CONN_CLOSED) return;
    c->state = CONN_CLOSED;
    struct err copy = *err;
    conn_drop_socket(c);
    resolve_free(&c->resolve);
    loop_timer_stop(c->timer);
    outq_fini(&c->out);
    c->callbacks.on_close(c->ctx, &copy);
}

static void conn_release(void *ctx) {
    struct conn *c = ctx;
    loop_timer_free(&c->timer);
    block_unref(&c->in);
    outq_fini(&c->out);
    tls_free(&c->tls);
    free(c->place);
    free(c->path);
    free(c->host);
    free(c->server_name);
    free(c);
}

void conn_free(struct conn **conn) {
    struct conn *c = *conn;
    *conn = NULL;
    if (c == NULL) return;
    c->state = CONN_CLOSED;
    conn_drop_socket(c);
    loop_timer_stop(c->timer);
    resolve_free(&c->resolve);
    loop_undefer(c->loop, c);
    loop_defer(c->loop, conn_release, c);
}

/* ---- input ---- */

static void conn_make_room(struct conn *c) {
    size_t used = c->in_end - c->in_start;
    size_t want = used + IN_READ_MIN;
    if (c->expected > want) want = c->expected;
    bool shared = c->in != NULL && c->in->refs > 1;
    if (c->in != NULL && !shared && used == 0) c->in_start = c->in_end = 0;
    /* Once a large reply is over, its block goes with it: small values that are kept would keep all
     * of it. */
    bool fits = c->in != NULL && (c->in->cap <= IN_BLOCK || want > IN_BLOCK);
    if (fits && c->in->cap - c->in_start >= want) return;
    if (fits && !shared && c->in->cap >= want) {
        memmove(c->in->data, c->in->data + c->in_start, used);
    } else {
        /* A reply of many values does not say how long it is: growing by halves keeps the copying
         * linear. */
        size_t cap = want > IN_BLOCK && want < used + used / 2 ? used + used / 2 : want;
        struct block *fresh = block_new(cap > IN_BLOCK ? cap : IN_BLOCK);
        if (used > 0) memcpy(fresh->data, c->in->data + c->in_start, used);
        block_unref(&c->in);
        c->in = fresh;
    }
    c->in_start = 0;
    c->in_end = used;
}

/* Bytes read, 0 when nothing is there now, -1 when the connection ended (closed already). */
static ssize_t conn_read_some(struct conn *c, char *to, size_t room) {
    if (c->ssl != NULL) {
        ERR_clear_error();
        int n = SSL_read(c->ssl, to, room > INT32_MAX ? INT32_MAX : (int)room);
        if (n > 0) return n;
        int saved_errno = errno;
        int kind = SSL_get_error(c->ssl, n);
        if (kind == SSL_ERROR_WANT_READ) return 0;
        if (kind == SSL_ERROR_WANT_WRITE) {
            event_add(c->on_write, NULL);
            return 0;
        }
        struct err err;
        tls_session_error(c->ssl, n, saved_errno, c->place, &err);
        conn_close(c, &err);
        return -1;
    }
    ssize_t n = read(c->fd, to, room);
    if (n > 0) return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    struct err err;
    if (n == 0) {
        err_set(&err, ERR_CLOSED, c->place, "connection closed by the server");
    } else {
        err_set_errno(&err, ERR_CLOSED, c->place, errno, "connection lost");
    }
    conn_close(c, &err);
    return -1;
}

static void conn_read(struct conn *c) {
    size_t total = 0;
    while (c->state == CONN_OPEN && total < IN_ROUND_MAX) {
        conn_make_room(c);
        size_t room = c->in->cap - c->in_end;
        ssize_t n = conn_read_some(c, c->in->data + c->in_end, room);
        if (n < 0) return;
        if (n == 0) break;
        c->in_end += (size_t)n;
        c->bytes_in += (size_t)n;
        total += (size_t)n;
        c->callbacks.on_input(c->ctx);
        /* A short read of a plain socket has emptied it; a TLS record may have more behind it. */
        if (c->ssl == NULL && (size_t)n < room) break;
    }
    /* Bytes that OpenSSL holds already raise no event; the timer does, in the next round
     * (event_active() would in this one). */
    if (c->state == CONN_OPEN && c->ssl != NULL && total >= IN_ROUND_MAX)
        loop_timer_start(c->timer, 0);
}

/* ---- output ---- */

/* A server that turned us away said why before it closed (too many clients, no certificate): that
 * is heard first. */
static ssize_t conn_write_failed(struct conn *c, const struct err *err) {
    conn_read(c);
    conn_close(c, err);
    return -1;
}

static ssize_t conn_write_some(struct conn *c) {
    struct iovec iov[OUT_IOV_MAX];
    int n_iov = outq_peek(&c->out, iov, c->ssl != NULL ? 1 : OUT_IOV_MAX);
    if (c->ssl != NULL) {
        ERR_clear_error();
        int n = SSL_write(c->ssl, iov[0].iov_base,
                          iov[0].iov_len > INT32_MAX ? INT32_MAX : (int)iov[0].iov_len);
        if (n > 0) return n;
        int saved_errno = errno;
        int kind = SSL_get_error(c->ssl, n);
        if (kind == SSL_ERROR_WANT_WRITE || kind == SSL_ERROR_WANT_READ) return 0;
        struct err err;
        tls_session_error(c->ssl, n, saved_errno, c->place, &err);
        return conn_write_failed(c, &err);
    }
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = (size_t)n_iov };
    ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EINTR) return 0;
    struct err err;
    err_set_errno(&err, ERR_CLOSED, c->place, errno, "connection lost");
    return conn_write_failed(c, &err);
}

static void conn_write(struct conn *c) {
    size_t total = 0;
    while (outq_bytes(&c->out) > 0 && total < OUT_ROUND_MAX) {
        ssize_t n = conn_write_some(c);
        if (n < 0) return;
        if (n == 0) break;
        outq_consume(&c->out, (size_t)n);
        c->bytes_out += (size_t)n;
        total += (size_t)n;
    }
    if (outq_bytes(&c->out) > 0) event_add(c->on_write, NULL);
}

static void on_flush(void *ctx) {
    struct conn *c = ctx;
    c->flush_pending = false;
    if (c->state == CONN_OPEN && !event_pending(c->on_write, EV_WRITE, NULL)) conn_write(c);
}

struct outq *conn_out(struct conn *conn) {
    return &conn->out;
}

void conn_flush(struct conn *c) {
    if (c->flush_pending || c->state != CONN_OPEN) return;
    c->flush_pending = true;
    loop_defer(c->loop, on_flush, c);
}

/* ---- opening ---- */

static void conn_opened(struct conn *c) {
    c->state = CONN_OPEN;
    loop_timer_stop(c->timer);
    event_add(c->on_read, NULL);
    c->callbacks.on_open(c->ctx);
    if (c->state == CONN_OPEN) conn_flush(c);
}

static void conn_fail_address(struct conn *c, const struct err *err) {
    c->last_err = *err;
    conn_drop_socket(c);
    /* A certificate that is refused here is refused at the next address too. */
    if (err->code == ERR_TLS) {
        conn_close(c, err);
        return;
    }
    conn_try_next(c);
}

static void conn_handshake(struct conn *c) {
    ERR_clear_error();
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) {
        conn_opened(c);
        return;
    }
    int saved_errno = errno;
    int kind = SSL_get_error(c->ssl, n);
    if (kind == SSL_ERROR_WANT_READ) {
        event_add(c->on_read, NULL);
    } else if (kind == SSL_ERROR_WANT_WRITE) {
        event_add(c->on_write, NULL);
    } else {
        struct err err;
        tls_session_error(c->ssl, n, saved_errno, c->place, &err);
        conn_fail_address(c, &err);
    }
}

static void conn_set_refusal(const struct conn *c, int errnum, struct err *err) {
    const char *advice = errnum == ECONNREFUSED ? "check host and port, and that the server runs"
                         : errnum == EHOSTUNREACH || errnum == ENETUNREACH || errnum == ETIMEDOUT
                             ? "check address, route and firewall"
                             : "check address and port";
    if (c->path != NULL) advice = "check the path, and that the server runs";
    err_set(err, ERR_CONNECT, c->place, "cannot connect: %s; %s", strerror(errnum), advice);
}

static void conn_connected(struct conn *c) {
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
    struct err err;
    if (errnum != 0) {
        conn_set_refusal(c, errnum, &err);
        conn_fail_address(c, &err);
        return;
    }
    if (c->tls == NULL) {
        conn_opened(c);
        return;
    }
    c->ssl = tls_session_new(c->tls, c->fd,
                             c->server_name != NULL ? c->server_name
                             : c->host != NULL      ? c->host
                                                    : "localhost",
                             c->place, &err);
    if (c->ssl == NULL) {
        conn_fail_address(c, &err);
        return;
    }
    c->state = CONN_HANDSHAKE;
    conn_handshake(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    if (c->state == CONN_HANDSHAKE) {
        conn_handshake(c);
    } else if (c->state == CONN_OPEN) {
        conn_read(c);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    if (c->state == CONN_CONNECTING) {
        conn_connected(c);
    } else if (c->state == CONN_HANDSHAKE) {
        conn_handshake(c);
    } else if (c->state == CONN_OPEN) {
        conn_write(c);
        if (c->state == CONN_OPEN && c->ssl != NULL) conn_read(c);
    }
}

static void conn_tune_socket(struct conn *c, int family) {
    if (family == AF_UNIX) return;
    int one = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

static bool conn_start_socket(struct conn *c, const struct sockaddr *addr, socklen_t len) {
    struct err err;
    c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        descriptors_set_errno(&c->last_err, ERR_CONNECT, c->place, errno, "cannot open a socket");
        return false;
    }
    conn_tune_socket(c, addr->sa_family);
    if (connect(c->fd, addr, len) != 0 && errno != EINPROGRESS) {
        conn_set_refusal(c, errno, &err);
        c->last_err = err;
        conn_drop_socket(c);
        return false;
    }
    struct event_base *base = loop_base(c->loop);
    c->on_read = event_new(base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
    c->on_write = event_new(base, c->fd, EV_WRITE, on_writable, c);
    event_add(c->on_write, NULL);
    c->state = CONN_CONNECTING;
    return true;
}

/* Takes the addresses in turn; each gets its share of the time that is left. */
static void conn_try_next(struct conn *c) {
    while (c->next_address < c->n_addresses) {
        const struct resolve_address *a = &c->addresses[c->next_address++];
        int64_t left_ms = c->deadline_ms - clock_mono_ms();
        loop_timer_start(c->timer, left_ms / (c->n_addresses - c->next_address + 1));
        if (conn_start_socket(c, (const struct sockaddr *)&a->addr, a->len)) return;
    }
    conn_close(c, &c->last_err);
}

static void on_resolved(void *ctx, const struct resolve_address *addresses, int n,
                        const struct err *err) {
    struct conn *c = ctx;
    if (n == 0) {
        conn_close(c, err);
        return;
    }
    memcpy(c->addresses, addresses, (size_t)n * sizeof(*addresses));
    c->n_addresses = n;
    /* Only now: the addresses that were copied belong to the resolver's question. */
    resolve_free(&c->resolve);
    conn_try_next(c);
}

static void conn_timed_out(struct conn *c) {
    const char *what = c->state == CONN_RESOLVING ? "the resolver does not answer"
                       : c->state == CONN_CONNECTING
                           ? "cannot connect: no answer in time; check address, firewall and "
                             "security group"
                           : "no TLS handshake in time; does the port speak TLS?";
    struct err err;
    err_set(&err, ERR_TIMEOUT, c->place, "%s (see --connect-timeout)", what);
    if (c->state == CONN_RESOLVING) {
        conn_close(c, &err);
        return;
    }
    conn_fail_address(c, &err);
}

static void on_timer(void *ctx) {
    struct conn *c = ctx;
    if (c->state == CONN_OPEN) {
        conn_read(c);
    } else {
        conn_timed_out(c);
    }
}

/* A Unix socket is tried from the timer too, so that conn_open() never calls back. */
static void on_start_unix(void *ctx) {
    struct conn *c = ctx;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    if (c->state == CONN_CLOSED) return;
    if (strlen(c->path) >= sizeof(addr.sun_path)) {
        err_set(&c->last_err, ERR_CONNECT, c->place,
                "the socket's path is too long (%zu bytes at most)", sizeof(addr.sun_path) - 1);
        conn_close(c, &c->last_err);
        return;
    }
    strcpy(addr.sun_path, c->path);
    if (!conn_start_socket(c, (const struct sockaddr *)&addr, sizeof(addr)))
        conn_close(c, &c->last_err);
}

struct conn *conn_open(struct loop *loop, const struct conn_address *address,
                       int64_t connect_timeout_ms, const char *place,
                       const struct conn_callbacks *callbacks, void *ctx) {
    struct conn *c = mem_zalloc(sizeof(*c));
    c->loop = loop;
    c->state = CONN_RESOLVING;
    c->callbacks = *callbacks;
    c->ctx = ctx;
    c->place = mem_strdup(place);
    c->tls = address->tls != NULL ? tls_ref(address->tls) : NULL;
    c->server_name = address->server_name != NULL ? mem_strdup(address->server_name) : NULL;
    c->fd = -1;
    c->deadline_ms = clock_mono_ms() + connect_timeout_ms;
    c->timer = loop_timer_new(loop, on_timer, c);
    loop_timer_start(c->timer, connect_timeout_ms);
    outq_init(&c->out);
    if (address->path != NULL) {
        c->path = mem_strdup(address->path);
        loop_defer(loop, on_start_unix, c);
    } else {
        c->host = mem_strdup(address->host);
        c->port = address->port;
        c->resolve = resolve_new(loop, c->host, c->port, place, on_resolved, c);
    }
    return c;
}

/* ---- looking ---- */

bool conn_is_open(const struct conn *conn) {
    return conn->state == CONN_OPEN;
}

struct bytes conn_input(const struct conn *conn) {
    if (conn->in == NULL) return bytes_of("", 0);
    return bytes_of(conn->in->data + conn->in_start, conn->in_end - conn->in_start);
}

struct block *conn_input_block(const struct conn *conn) {
    return conn->in;
}

void conn_consume(struct conn *conn, size_t len) {
    assert(len <= conn->in_end - conn->in_start);
    conn->in_start += len;
    conn->expected = 0;
}

void conn_expect(struct conn *conn, size_t len) {
    conn->expected = len;
}

uint64_t conn_bytes_in(const struct conn *conn) {
    return conn->bytes_in;
}

uint64_t conn_bytes_out(const struct conn *conn) {
    return conn->bytes_out;
}
