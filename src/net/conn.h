/* A connection: TCP, Unix socket or TLS behind one face, never blocking.
 *
 *   conn_open() ─▶ resolving ─▶ connecting ─▶ (TLS handshake) ─▶ open ─▶ closed
 *                     └──────────────┴──────────────┴───────────────┴──▶ on_close(err)
 *
 * Input lies in one block, in order; the user looks at conn_input() and takes the bytes that it has
 * understood with conn_consume(). To keep bytes longer it takes a reference to conn_input_block().
 * Output goes into conn_out() and leaves at the end of the loop's round. After on_close the
 * connection does nothing more; it is freed by its owner, also from within its callbacks (the
 * memory goes at the end of the round).
 */
#ifndef LONGHAUL_NET_CONN_H
#define LONGHAUL_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/outq.h"
#include "net/loop.h"
#include "net/tls.h"

struct conn;

struct conn_address {
    const char *path; /* Unix socket, or NULL */
    const char *host;
    uint16_t port;
    struct tls *tls;         /* referenced until the connection is freed; NULL: plain */
    const char *server_name; /* for TLS; NULL: host */
};

struct conn_callbacks {
    void (*on_open)(void *ctx);
    void (*on_input)(void *ctx); /* more input than at the last call */
    void (*on_close)(void *ctx, const struct err *err);
};

/* Starts to connect. Names are resolved anew each time, all addresses are tried in turn. place is
 * the subject of errors ("source 10.0.0.5:6379"); it and the address are copied. connect_timeout_ms
 * bounds all of it up to on_open. Never calls back before it returns. */
struct conn *conn_open(struct loop *loop, const struct conn_address *address,
                       int64_t connect_timeout_ms, const char *place,
                       const struct conn_callbacks *callbacks, void *ctx);
void conn_free(struct conn **conn);

bool conn_is_open(const struct conn *conn);

struct bytes conn_input(const struct conn *conn);
struct block *conn_input_block(const struct conn *conn);
void conn_consume(struct conn *conn, size_t len);
/* Tells the total length, as far as it is known, of the incomplete value at the start of the input:
 * room is made at once. */
void conn_expect(struct conn *conn, size_t len);

/* The queue to append to; call conn_flush() after. */
struct outq *conn_out(struct conn *conn);
/* The output leaves at the end of the round. */
void conn_flush(struct conn *conn);

uint64_t conn_bytes_in(const struct conn *conn);
uint64_t conn_bytes_out(const struct conn *conn);

#endif
