/* Writing commands: an array of bulk strings, which every server accepts under both protocols. */
#ifndef LONGHAUL_RESP_WRITER_H
#define LONGHAUL_RESP_WRITER_H

#include <stdint.h>

#include "base/block.h"
#include "base/bytes.h"
#include "base/outq.h"

/* Starts a command of argc words, which must follow. */
void resp_write_head(struct outq *out, size_t argc);
void resp_write_arg(struct outq *out, struct bytes arg);
/* A large arg must lie in block, which is referenced instead of copying it. */
void resp_write_arg_ref(struct outq *out, struct block *block, struct bytes arg);
void resp_write_arg_i64(struct outq *out, int64_t number);

/* An argument in two parts, the first of which may be referred to. */
void resp_write_arg_parts(struct outq *out, struct block *block, struct bytes first,
                          struct bytes second);

/* For commands that are written by the million: straight into room that was reserved for all of
 * one, with RESP_ARG_ROOM() for each argument. Each returns the end of its argument. */
#define RESP_NUMBER_ROOM 24
#define RESP_ARG_ROOM(len) ((len) + RESP_NUMBER_ROOM + 5)
static inline char *resp_put(char *at, const char *encoded, size_t len) {
    memcpy(at, encoded, len);
    return at + len;
}
/* Words that are the same in every command, as they are on the wire: "*2\r\n$3\r\nGET\r\n". */
#define resp_put_encoded(at, s) resp_put(at, "" s, sizeof(s) - 1)
char *resp_put_arg(char *at, struct bytes arg);
char *resp_put_arg_i64(char *at, int64_t number);

/* A whole command from words. */
void resp_write_command(struct outq *out, size_t argc, const struct bytes *argv);

#define resp_write_literal(out, s) resp_write_arg(out, BYTES_LITERAL(s))

#endif
