/* See address.h. */
#include "server/address.h"

#include <stdio.h>
#include <strings.h>

bool address_set(struct address *address, struct bytes host, uint16_t port) {
    if (host.len == 0 || host.len >= ADDRESS_HOST_MAX || memchr(host.ptr, '\0', host.len) != NULL)
        return false;
    *address = (struct address){ .port = port };
    memcpy(address->host, host.ptr, host.len);
    return true;
}

bool address_set_unix(struct address *address, const char *path) {
    if (!address_set(address, bytes_of_str(path), 0)) return false;
    address->is_unix = true;
    return true;
}

bool address_equal(const struct address *a, const struct address *b) {
    return a->is_unix == b->is_unix && a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

const char *address_format(const struct address *address, char *buf, size_t size) {
    if (address->is_unix) {
        snprintf(buf, size, "%s", address->host);
    } else {
        bool v6 = strchr(address->host, ':') != NULL;
        snprintf(buf, size, v6 ? "[%s]:%u" : "%s:%u", address->host, address->port);
    }
    return buf;
}

struct bytes address_own_host(const struct address *address) {
    return address->is_unix ? BYTES_LITERAL("127.0.0.1") : bytes_of_str(address->host);
}

bool address_parse(struct address *address, struct bytes text, const struct address *from) {
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':') colon--;
    if (colon == 0) return false;
    int64_t port;
    if (!bytes_to_i64(bytes_of(text.ptr + colon, text.len - colon), &port) || port < 1 ||
        port > 65535)
        return false;
    struct bytes host = bytes_of(text.ptr, colon - 1);
    if (host.len == 0) host = address_own_host(from);
    return address_set(address, host, (uint16_t)port);
}
