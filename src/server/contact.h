/* Why the first contact with a server failed: short probes find out which protocol the port speaks,
 * so that the error tells the cause and the remedy, and not only the symptom ("connection
 * closed"). */
#ifndef LONGHAUL_SERVER_CONTACT_H
#define LONGHAUL_SERVER_CONTACT_H

#include <stdbool.h>

#include "base/err.h"
#include "net/loop.h"
#include "server/address.h"

struct contact {
    const char *role; /* "source", "target", "server": how the options of the side begin */
    struct address address;
    bool tls; /* how longhaul speaks to it */
    int64_t timeout_ms;
};

/* For an error of the first attempt: true when it comes from plain against a TLS port, or from TLS
 * against a plain one; then *err says so (ERR_TLS, which trying again does not mend). */
bool contact_explain_tls(struct loop *loop, const struct contact *contact, struct err *err);

/* For a connection that is closed again and again: true when the server answers PING and yet closes
 * it at the commands that longhaul begins with; then *err says that a proxy stands there. */
bool contact_explain_proxy(struct loop *loop, const struct contact *contact, struct err *err);

#endif
