/* An endpoint as the user names it: its place, the login, the database.
 *
 * Accepted forms (others are refused with the place and the expected form):
 *   host:port   host   [::1]:port   :port
 *   redis://[user:password@ | password@ | user:@]host[:port][/db][?timeout=5s&db=1]
 *                               also rediss://  valkey://  valkeys://
 *   unix:///path/to.sock[?db=1&user=u&password=p&timeout=5s]
 *                               also redis-socket://, and /path/to.sock
 *   redis-sentinel://[user:password@]h1[:p1],h2[:p2].../[db]?sentinelMasterId=NAME
 *                     &sentinelUser=u&sentinelPassword=p     where sentinels want a login
 *                               also rediss-sentinel://
 * The scheme ending in "s" switches TLS on. User and password are percent-decoded. Source of the
 * forms: the "redis" and "rediss" URI schemes registered at IANA, and the syntax of Lettuce, which
 * RIOT users know.
 */
#ifndef LONGHAUL_SERVER_ENDPOINT_H
#define LONGHAUL_SERVER_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum endpoint_kind { ENDPOINT_TCP, ENDPOINT_UNIX, ENDPOINT_SENTINEL };

enum { ENDPOINT_DEFAULT_PORT = 6379, ENDPOINT_SENTINEL_PORT = 26379, ENDPOINT_HOSTS_MAX = 32 };

struct endpoint_host {
    char *host;
    uint16_t port;
};

struct endpoint_tls {
    bool on;
    bool insecure;     /* neither certificate nor host name are verified */
    char *ca_file;     /* PEM; NULL: the system's store */
    char *ca_dir;      /* NULL: the system's store */
    char *cert_file;   /* client certificate, PEM; NULL: none */
    char *key_file;    /* its key; NULL: none */
    char *key_pass;    /* passphrase of the key; NULL: none */
    char *server_name; /* SNI and the name that is verified; NULL: the host connected to */
};

struct endpoint {
    const char *role; /* "source", "target" or "server": the first word of log lines; static */
    enum endpoint_kind kind;
    struct endpoint_host *hosts; /* TCP: one; Sentinel: the sentinels; Unix: none */
    size_t n_hosts;
    char *path; /* Unix socket */
    char *sentinel_name;
    char *sentinel_user; /* for the sentinels themselves; NULL: none */
    char *sentinel_pass;
    char *user; /* NULL: the default user */
    char *pass; /* NULL: no authentication */
    /* where pass came from, and is read again; NULL: from elsewhere, it stays */
    char *pass_file;
    int db; /* 0 where none was named */
    bool db_named;
    bool cluster_wanted;    /* --source-cluster and the like: an error when it is none */
    int64_t uri_timeout_ms; /* from ?timeout=, else 0 */
    struct endpoint_tls tls;
    char *label; /* "host:port" for people, without any secret */
};

/* Parses text into *endpoint (which is overwritten; release it with endpoint_fini). role is static.
 * On false *err names the part that is wrong, without repeating a password. */
bool endpoint_parse(struct endpoint *endpoint, const char *role, const char *text, struct err *err);

void endpoint_copy(struct endpoint *to, const struct endpoint *from);

/* Frees the contents; secrets are wiped before. */
void endpoint_fini(struct endpoint *endpoint);

/* Overwrites and frees a secret; leaves NULL. */
void endpoint_wipe(char **secret);

#endif
