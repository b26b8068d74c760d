/* Where one node is: connections are opened to an address, and nodes are told apart by it. A small
 * value, copied freely. */
#ifndef LONGHAUL_SERVER_ADDRESS_H
#define LONGHAUL_SERVER_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { ADDRESS_HOST_MAX = 256 };

struct address {
    bool is_unix;
    uint16_t port;
    char host[ADDRESS_HOST_MAX]; /* name or address; the path of a Unix socket */
};

/* False when host does not fit. */
bool address_set(struct address *address, struct bytes host, uint16_t port);
bool address_set_unix(struct address *address, const char *path);
bool address_equal(const struct address *a, const struct address *b);

/* "host:port", "[::1]:port" or the path; cut to size; returns buf. */
const char *address_format(const struct address *address, char *buf, size_t size);

/* The host that another port of the same machine is reached at; behind a Unix socket that is the
 * loopback. */
struct bytes address_own_host(const struct address *address);

/* "host:port" as in MOVED and ASK; an empty host means `from`'s own (redis 7.0 cluster.c,
 * clusterRedirectClient). */
bool address_parse(struct address *address, struct bytes text, const struct address *from);

#endif
