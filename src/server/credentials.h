/* How one side lets longhaul in: user, password and TLS identity, shared by the side's connections.
 *
 * A file that was named (password, CA certificates, client certificate and key) is read again when
 * a login or a TLS handshake fails, and before the first connection after SIGHUP, so that passwords
 * and certificates can be rotated under a running job. A password from the command line, the
 * environment or a prompt stays. Files that cannot be used leave the former contents in force.
 * Every function may be called from any thread.
 */
#ifndef LONGHAUL_SERVER_CREDENTIALS_H
#define LONGHAUL_SERVER_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/tls.h"
#include "server/endpoint.h"

struct credentials;

enum { CREDENTIALS_PAUSE_MS = 500 }; /* between two readings of unchanged files */

/* The endpoint is copied. NULL where its TLS files cannot be used. */
struct credentials *credentials_new(const struct endpoint *endpoint, struct err *err);
/* Leaves NULL. */
void credentials_free(struct credentials **credentials);

/* A copy for one attempt to connect. */
struct login {
    char *user, *pass;   /* owned; NULL: none */
    struct tls *tls;     /* owned reference; NULL: plain */
    uint64_t generation; /* which contents of the files */
};
void credentials_take(struct credentials *credentials, struct login *login);
/* Wipes the password. All zero afterwards. */
void login_fini(struct login *login);

/* The server, or TLS, refused a login of this generation: the files are read again. True when the
 * next attempt uses something else. */
bool credentials_renew(struct credentials *credentials, uint64_t generation);

/* All credentials of the process read their files again before their next use. May be called by a
 * signal handler. */
void credentials_hang_up(void);

#endif
