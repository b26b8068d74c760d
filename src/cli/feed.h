/* Many writes to one server, one after the other, without waiting for each: what the demo fills its
 * source with. */
#ifndef LONGHAUL_CLI_FEED_H
#define LONGHAUL_CLI_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"

enum { FEED_PENDING_MAX = 1000, FEED_UNSENT_MAX = 1024 * 1024 };

struct feed {
    struct loop *loop;
    struct client *client; /* borrowed */
    const volatile bool *stop;
    struct err err; /* the first error; ERR_NONE while all is well */
};

/* Starts a command of argc words, of which `name` is the first; the others follow with feed_word().
 * False when there was an error or a signal: then nothing may follow. */
bool feed_begin(struct feed *feed, size_t argc, const char *name);
void feed_word(struct feed *feed, struct bytes word);
void feed_text(struct feed *feed, const char *word);
void feed_number(struct feed *feed, int64_t number);
void feed_end(struct feed *feed);

/* Waits until all is answered; false when there was an error, which is in feed->err. */
bool feed_sync(struct feed *feed);

#endif
