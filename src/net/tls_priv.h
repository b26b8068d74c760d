/* TLS as connections see it. */
#ifndef LONGHAUL_NET_TLS_PRIV_H
#define LONGHAUL_NET_TLS_PRIV_H

#include <openssl/ssl.h>

#include "net/tls.h"

/* A client session on a connected socket; name is verified and, unless it is an address, sent as
 * SNI. */
SSL *tls_session_new(struct tls *tls, int fd, const char *name, const char *place, struct err *err);

/* The reason of the last failure on this thread's error queue and of the session's verification. */
void tls_session_error(SSL *ssl, int result, int saved_errno, const char *place, struct err *err);

#endif
