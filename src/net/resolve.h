/* Names to addresses, without blocking the loop: the C library's resolver on a thread of its own
 * for each question, so that everything the machine's configuration says holds (hosts file, search
 * domains, TCP for long answers). Nothing is cached here, since the operators' failovers are
 * changes of DNS. Literal addresses need no thread. */
#ifndef LONGHAUL_NET_RESOLVE_H
#define LONGHAUL_NET_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "net/loop.h"

enum { RESOLVE_MAX = 16 };

struct resolve_address {
    struct sockaddr_storage addr;
    socklen_t len;
    int family;
};

struct resolve;

/* Called once: n > 0 addresses (the first RESOLVE_MAX of the answer), or n == 0 and the error. */
typedef void resolve_fn(void *ctx, const struct resolve_address *addresses, int n,
                        const struct err *err);

/* Starts; fn is never called before it returns. Freeing it earlier cancels: fn is not called any
 * more. */
struct resolve *resolve_new(struct loop *loop, const char *host, uint16_t port, const char *place,
                            resolve_fn *fn, void *ctx);
void resolve_free(struct resolve **resolve);

#endif
