/* Shared by the files that read values: sum.c, sum_stream.c and sum_vector.c. */
#ifndef LONGHAUL_VERIFY_SUM_PRIV_H
#define LONGHAUL_VERIFY_SUM_PRIV_H

#include "verify/sum.h"

enum { SUM_CURSOR_MAX = 48 };

struct sum;

typedef void sum_piece_fn(struct sum *s, const struct reply *reply);

/* Of a stream: the groups that are gone through one by one. */
struct sum_groups {
    char **names;
    size_t *lens;
    size_t n, at;
};

struct sum {
    struct sum_request request;
    sum_done_fn *done;
    void *ctx, *arg;
    sum_piece_fn *on_piece; /* of the command in flight */
    struct value_sum value;
    uint64_t length;             /* elements, as the server counts them */
    uint64_t pos;                /* of the next piece, by rank */
    char cursor[SUM_CURSOR_MAX]; /* of the next piece, by cursor or id */
    int attempts;                /* of a scan whose count came out wrong */
    struct digest *fields;       /* of the last piece, for their expiry */
    size_t n_fields, fields_cap;
    unsigned due;        /* of several commands in flight */
    struct err trouble;  /* of one of them */
    struct block *names; /* of a vector set, and where in them the next batch starts */
    struct resp_cursor names_at;
    struct sum_groups groups;
};

/* Sends one command; its reply, if it is no error, goes to fn. */
void sum_send(struct sum *s, sum_piece_fn *fn, size_t argc, const struct bytes *argv);
#define SUM_SEND(s, fn, ...)                                                                       \
    do {                                                                                           \
        const struct bytes words_[] = { __VA_ARGS__ };                                             \
        sum_send(s, fn, sizeof(words_) / sizeof(words_[0]), words_);                               \
    } while (0)

/* Chooses the database; false when the connection is not ready. Before client_command(). */
bool sum_prepare(struct sum *s);
void sum_keep_field(struct sum *s, struct digest field);
void sum_fail(struct sum *s, const struct err *err);

/* The end; s is gone afterwards. */
void sum_finish(struct sum *s);
void sum_malformed(struct sum *s);

/* How many elements to ask for, so that a piece has about SUM_PIECE_BYTES. */
uint64_t sum_piece_elements(const struct sum *s);

/* Adds an element where order does not count. */
void sum_add(struct sum *s, enum sum_part part, struct digest element);
/* Appends one where it does. */
void sum_append(struct sum *s, enum sum_part part, struct bytes word);

/* Starts reading a stream (sum_stream.c). */
void sum_read_stream(struct sum *s);
/* Starts reading a vector set (sum_vector.c). */
void sum_read_vectors(struct sum *s);

#endif
