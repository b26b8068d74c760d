/* See accept.h. */
#include "copy/accept.h"

enum { TYPE_MODULE = 6, TYPE_MODULE_2 = 7 };

/* The newest that is not newer than the payload's own; failing that the oldest. */
static unsigned choose_version(const struct accept *accept, unsigned own) {
    if (own >= ACCEPT_VERSIONS) own = ACCEPT_VERSIONS - 1;
    for (unsigned v = own; v > 0; v--)
        if (accept->version[v]) return v;
    for (unsigned v = own; v < ACCEPT_VERSIONS; v++)
        if (accept->version[v]) return v;
    return 0;
}

enum accept_how accept_how(const struct accept *accept, struct bytes payload, unsigned *version) {
    if (payload.len < PAYLOAD_LEN_MIN) return ACCEPT_NEVER;
    unsigned type = (unsigned char)payload.ptr[0], own = payload_version(payload);
    bool module = type == TYPE_MODULE || type == TYPE_MODULE_2;
    bool as_is = own < ACCEPT_VERSIONS && accept->version[own];
    if (!module && type < ACCEPT_TYPES && accept->untried[type])
        return as_is ? ACCEPT_AS_IS : ACCEPT_COMMANDS;
    bool known = module ? accept->modules : type < ACCEPT_TYPES && accept->type[type];
    if (known && as_is) return ACCEPT_AS_IS;
    *version = choose_version(accept, own);
    if (known && *version > 0) return ACCEPT_RESTAMPED;
    return module ? ACCEPT_NEVER : ACCEPT_COMMANDS;
}
