/* TLS settings of one side, made once from its files and shared by its connections (OpenSSL 3.0).
 *
 * Verified by default: the chain against --*-cacert or the system's store, and the name or address
 * connected to. At least TLS 1.2.
 */
#ifndef LONGHAUL_NET_TLS_H
#define LONGHAUL_NET_TLS_H

#include <stdbool.h>

#include "base/err.h"

struct tls_settings {
    bool insecure;
    const char *ca_file, *ca_dir, *cert_file, *key_file, *key_pass; /* NULL: none */
};

struct tls;

/* place names the side in errors ("source"). The settings are not kept. NULL on error. */
struct tls *tls_new(const struct tls_settings *settings, const char *place, struct err *err);
struct tls *tls_ref(struct tls *tls);
/* Gives a reference back; the last one frees. Leaves NULL. */
void tls_free(struct tls **tls);

#endif
