/* A pipelined client of one server process.
 *
 *   client_open() ─▶ connecting ─▶ handshake ─▶ ready ─▶ (lost) ─▶ waiting ─▶ connecting ...
 *                                     └─▶ failed for good: wrong password, TLS refused
 *
 * Any number of commands is in flight; each has one callback, called exactly once, in order: with
 * the reply, or with the error that ended the connection. Such failures are reported at the end of
 * the loop's round, never through the stack of the call that broke or closed the client. The client
 * makes lost connections anew with growing pauses, names resolved anew each time; it never sends a
 * command again: that is the caller's to decide. One thread, one loop.
 */
#ifndef LONGHAUL_SERVER_CLIENT_H
#define LONGHAUL_SERVER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "net/tls.h"
#include "resp/reader.h"
#include "resp/writer.h"
#include "server/address.h"
#include "server/credentials.h"

struct client;

enum {
    CLIENT_BACKOFF_MIN_MS = 50,
    CLIENT_BACKOFF_MAX_MS = 2000,
    /* Longest reply to a question: INFO, CLUSTER SLOTS, CLIENT LIST, a job's record. */
    CLIENT_REPLY_MAX = 64 * 1024 * 1024,
};
/* Longest reply that holds values of keys. */
#define CLIENT_VALUES_MAX RESP_REPLY_MAX

struct client_settings {
    /* "source", "target", "server", "sentinel": first word of the place; static */
    const char *role;
    struct address address;
    struct tls *tls;         /* borrowed; NULL: plain */
    const char *server_name; /* TLS name; NULL: the host. Borrowed. */
    const char *user, *pass; /* borrowed for the client's life; NULL: none */
    /* borrowed for the client's life; NULL: user, pass and tls of above. Otherwise they come from
     * here for each connection, and a refused login has their files read again. */
    struct credentials *credentials;
    int db;        /* selected after the handshake */
    int protocol;  /* 2 or 3; 3 sends HELLO 3 */
    bool readonly; /* READONLY, to read from replicas of a cluster */
    bool no_touch; /* CLIENT NO-TOUCH ON where the server has it */
    /* for writers: CLIENT KILL of the lost connection makes sure that commands it still had under
     * way are never executed after those of the new one */
    bool fence;
    bool identify; /* INFO is asked for the run_id; see client_run_id() */
    /* subscribes to channels: messages from them are pushes with RESP2 too */
    bool subscriber;
    const char *name; /* CLIENT SETNAME; borrowed for the client's life; NULL: "longhaul" */
    /* trouble that ends other clients for good, but may pass (login refused, TLS), is tried
     * again */
    bool persistent;
    bool reconnect; /* false: the first loss is the end */
    int64_t connect_timeout_ms;
    /* a longer reply ends the connection as soon as that is known; 0: CLIENT_REPLY_MAX */
    size_t reply_bytes_max;
    /* 0: none. No byte for this long while replies are due ends the connection. */
    int64_t reply_timeout_ms;
};

/* Where MOVED and ASK send a command; the server's own words are parsed once, here. */
struct redirect {
    bool ask; /* once, behind ASKING; false: MOVED, all commands for the slot */
    uint16_t slot;
    struct address address;
};

struct client_events {
    /* The handshake is done; commands may be sent. Also after each reconnection. May be NULL. */
    void (*on_ready)(void *ctx);
    /* The connection, or an attempt, ended; all callbacks have been called. final: no further
     * attempt will be made (reconnect is off, or the error's class is STOP). May be NULL. */
    void (*on_down)(void *ctx, const struct err *err, bool final);
    /* A push of RESP3; of a subscriber with RESP2, an array that begins with message, pmessage,
     * subscribe, psubscribe, unsubscribe or punsubscribe. May be NULL. */
    void (*on_push)(void *ctx, struct resp_cursor cursor);
    /* A command was answered by MOVED or ASK; its callback follows. May be NULL. */
    void (*on_redirect)(void *ctx, const struct redirect *redirect);
};

/* A reply: a view that is good during the callback. To keep it longer, take a reference to block.
 */
struct reply {
    /* the connection ended before the answer, else NULL: then the rest is set */
    const struct err *err;
    struct resp_item item;     /* the first value */
    struct resp_cursor cursor; /* behind the first value: an aggregate's values */
    struct bytes raw;
    struct block *block;
};

/* arg is the caller's, as given to client_end_command(). */
typedef void client_reply_fn(void *ctx, void *arg, const struct reply *reply);

struct client *client_open(struct loop *loop, const struct client_settings *settings,
                           const struct client_events *events, void *ctx);
/* Pending callbacks are called with ERR_CLOSED at the end of the round, so their contexts must last
 * until then: release them by loop_defer() after this call, or call loop_settle() first. Allowed
 * from within callbacks. Leaves NULL. */
void client_close(struct client **client);

bool client_is_ready(const struct client *client);
/* "source 10.0.0.5:6379", for errors and log lines. */
const char *client_place(const struct client *client);
const struct address *client_address(const struct client *client);

/* Commands: write one with resp/writer into client_out(), then name the function that gets its
 * reply. Only while ready; the pair must not be left half done. */
struct outq *client_out(struct client *client);
void client_end_command(struct client *client, client_reply_fn *fn, void *ctx, void *arg);
/* The same for n commands that were written one behind the other: arg is the number of each, from
 * 0. */
void client_end_commands(struct client *client, client_reply_fn *fn, void *ctx, size_t n);

/* For SUBSCRIBE and its kin, whose answers are pushes: none is awaited. A refusal is an answer
 * nevertheless, and is taken for the next command's. */
void client_end_unanswered(struct client *client);

/* One whole command from words. */
void client_command(struct client *client, client_reply_fn *fn, void *ctx, void *arg, size_t argc,
                    const struct bytes *argv);

/* Sends SELECT when the last one sent was for another database. */
void client_select(struct client *client, int db);
/* Sends ASKING; its reply is looked at by nobody, the next command's tells. */
void client_asking(struct client *client);

/* Breaks the connection, which is then made anew: to have the name resolved again, or because the
 * server's state makes it useless. The client is not ready any more on return; pending commands are
 * failed with this reason at the end of the round. Allowed from within callbacks. */
void client_break(struct client *client, const struct err *reason);
/* Tries now instead of at the end of the present pause. */
void client_hurry(struct client *client);

/* The run_id of the server process that the present connection, or the last one, leads to; empty
 * when it is not known: the handshake has not come so far, INFO is refused, or
 * client_settings.identify is off. */
const char *client_run_id(const struct client *client);

/* How long the present connection's handshake took, from its last command to the answer: about a
 * round trip. 0 before the first. */
int64_t client_round_trip_us(const struct client *client);

/* Commands whose reply is due. */
size_t client_pending(const struct client *client);
/* Bytes waiting to be written. */
size_t client_unsent_bytes(const struct client *client);
/* Since when it is not ready, monotonic ms; 0 while it is. */
int64_t client_down_since_ms(const struct client *client);
const struct err *client_last_error(const struct client *client);
uint64_t client_reconnects(const struct client *client);
uint64_t client_bytes_in(const struct client *client);
uint64_t client_bytes_out(const struct client *client);

/* True when the error reply is MOVED or ASK; then *redirect says where to. An address without host
 * is completed by the client's own. */
bool client_redirect(const struct client *client, const struct resp_item *item,
                     struct redirect *redirect);

/* Turns an error reply into *err: its code from the first word, the client's place, the server's
 * own sentence and the remedy. */
void client_reply_error(const struct client *client, const struct resp_item *item, struct err *err);

#endif
