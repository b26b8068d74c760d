/* Which dumped values the target takes, as found by trying (probe/restore.h), and so how each
 * value travels. */
#ifndef LONGHAUL_COPY_ACCEPT_H
#define LONGHAUL_COPY_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "rdb/payload.h"

enum { ACCEPT_VERSIONS = 128, ACCEPT_TYPES = 64 };

struct accept {
    bool version[ACCEPT_VERSIONS]; /* RDB versions that RESTORE does not refuse */
    bool type[ACCEPT_TYPES];       /* type bytes whose bodies it can read */
    bool untried
        /* type bytes that came after this program, or before anything it meets: nothing is known */
        [ACCEPT_TYPES];
    /* type 7 may be tried: the server refuses unknown modules instead of exiting */
    bool modules;
};

enum accept_how {
    ACCEPT_AS_IS,     /* RESTORE of the very bytes */
    ACCEPT_RESTAMPED, /* RESTORE with another version in the footer */
    ACCEPT_COMMANDS,  /* decoded, and written by commands */
    ACCEPT_NEVER,     /* the target cannot have such a value */
};

/* *version: the version to stamp for ACCEPT_RESTAMPED. An untried type is given to servers that
 * take its very version: those are of the source's family and not older. */
enum accept_how accept_how(const struct accept *accept, struct bytes payload, unsigned *version);

#endif
