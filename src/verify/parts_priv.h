/* Shared by parts.c and parts_stream.c. */
#ifndef LONGHAUL_VERIFY_PARTS_PRIV_H
#define LONGHAUL_VERIFY_PARTS_PRIV_H

#include "server/call.h"
#include "verify/compare_priv.h"
#include "verify/parts.h"

enum {
    PARTS_SHOWN = 3,         /* beyond, only that there are more */
    PARTS_PIECES_MAX = 1000, /* of a value, before its search ends */
    PARTS_PIECE = 100,       /* elements */
    PARTS_VALUE_SHOWN = 100, /* of a value, in characters */
};

/* One key on both sides. */
struct parts {
    struct deployment *deployment[SIDES];
    struct client *client[SIDES]; /* of the key's nodes */
    int db[SIDES];
    struct bytes key;
    bool failed; /* an answer did not come, or was an error */
    int found;
    size_t len;
    char text[PARTS_TEXT_MAX];
};

/* Asks one side; the reply is the caller's to release, also on false. */
bool parts_ask(struct parts *p, int side, struct call_reply *reply, size_t argc,
               const struct bytes *argv);
#define PARTS_ASK(p, side, reply, ...)                                                             \
    parts_ask(p, side, reply, sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes),      \
              (struct bytes[]){ __VA_ARGS__ })

/* Adds a finding; false when enough are known. */
__attribute__((format(printf, 2, 3))) bool parts_add(struct parts *p, const char *format, ...);
/* In quotes, cut and escaped; size should be PARTS_VALUE_SHOWN. */
const char *parts_show(struct bytes value, char *out, size_t size);

void parts_of_stream(struct parts *p);

#endif
