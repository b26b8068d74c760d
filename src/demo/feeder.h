/* Many writes to one server, one after the other, without waiting for each. The demo fills its
 * source with them. */
#ifndef LONGHAUL_DEMO_FEEDER_H
#define LONGHAUL_DEMO_FEEDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "net/loop.h"
#include "server/client.h"

enum { FEEDER_PENDING_MAX = 1000, FEEDER_UNSENT_MAX = 1024 * 1024 };

struct feeder {
    struct loop *loop;
    struct client *client; /* borrowed */
    const volatile bool *stop;
    struct err err; /* the first error; ERR_NONE while all is well */
};

/* Starts a command of argc words, of which `name` is the first; the others follow with
 * feeder_word(). False when there was an error or a signal: then nothing may follow. */
bool feeder_begin(struct feeder *feeder, size_t argc, const char *name);
void feeder_word(struct feeder *feeder, struct bytes word);
void feeder_text(struct feeder *feeder, const char *word);
void feeder_number(struct feeder *feeder, int64_t number);
void feeder_end(struct feeder *feeder);

/* Waits until all is answered; false when there was an error, which is in feeder->err. */
bool feeder_sync(struct feeder *feeder);

#endif
