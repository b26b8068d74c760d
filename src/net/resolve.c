/* See resolve.h. The answer is delivered from a timer of zero length, so that it never arrives inside the resolver's own
 * callback, where its base could not be freed. */
#include "net/resolve.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct resolve {
    struct loop *loop;
    char *host, *place;
    uint16_t port;
    resolve_fn *fn;
    void *ctx;
    struct evdns_base *dns;
    struct evdns_getaddrinfo_request *request;
    struct loop_timer *deliver;
    struct resolve_address addresses[RESOLVE_MAX];
    int n;
    bool asking, dead;
    struct err err;
};

static void resolve_release(struct resolve *r) {
    if (r->dns != NULL) evdns_base_free(r->dns, 0);
    loop_timer_free(&r->deliver);
    free(r->host);
    free(r->place);
    free(r);
}

static void on_deliver(void *ctx) {
    struct resolve *r = ctx;
    if (r->dead) {
        resolve_release(r);
        return;
    }
    r->fn(r->ctx, r->addresses, r->n, r->n > 0 ? NULL : &r->err);
}

static void resolve_add(struct resolve *r, const struct evutil_addrinfo *ai) {
    for (; ai != NULL && r->n < RESOLVE_MAX; ai = ai->ai_next) {
        if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6) continue;
        struct resolve_address *a = &r->addresses[r->n++];
        memcpy(&a->addr, ai->ai_addr, ai->ai_addrlen);
        a->len = (socklen_t)ai->ai_addrlen;
        a->family = ai->ai_family;
    }
}

static void on_answer(int result, struct evutil_addrinfo *ai, void *ctx) {
    struct resolve *r = ctx;
    r->request = NULL;
    r->asking = false;
    if (result == 0) resolve_add(r, ai);
    if (ai != NULL) evutil_freeaddrinfo(ai);
    if (r->n == 0)
        err_set(&r->err, ERR_RESOLVE, r->place, "%s has no address (%s); check the name and the resolver", r->host,
                result == 0 ? "empty answer" : evutil_gai_strerror(result));
    loop_timer_start(r->deliver, 0);
}

static bool resolve_numeric(struct resolve *r, const char *port) {
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    struct addrinfo *ai = NULL;
    if (getaddrinfo(r->host, port, &hints, &ai) != 0) return false;
    resolve_add(r, ai);
    freeaddrinfo(ai);
    return r->n > 0;
}

static void resolve_ask(struct resolve *r, const char *port) {
    struct event_base *base = loop_base(r->loop);
    r->dns = evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
    if (r->dns == NULL) {
        /* No resolv.conf that can be used: /etc/hosts may still know the name. */
        r->dns = evdns_base_new(base, 0);
        if (r->dns != NULL) evdns_base_load_hosts(r->dns, "/etc/hosts");
    }
    if (r->dns == NULL) {
        err_set(&r->err, ERR_RESOLVE, r->place, "the resolver cannot be started");
        loop_timer_start(r->deliver, 0);
        return;
    }
    struct evutil_addrinfo hints = { .ai_flags = EVUTIL_AI_NUMERICSERV,
                                     .ai_family = AF_UNSPEC,
                                     .ai_socktype = SOCK_STREAM,
                                     .ai_protocol = IPPROTO_TCP };
    r->asking = true;
    struct evdns_getaddrinfo_request *request = evdns_getaddrinfo(r->dns, r->host, port, &hints, on_answer, r);
    /* on_answer() may have run already, then request is NULL. */
    if (r->asking) r->request = request;
}

struct resolve *resolve_new(struct loop *loop, const char *host, uint16_t port, const char *place, resolve_fn *fn, void *ctx) {
    struct resolve *r = mem_zalloc(sizeof(*r));
    r->loop = loop;
    r->host = mem_strdup(host);
    r->place = mem_strdup(place);
    r->port = port;
    r->fn = fn;
    r->ctx = ctx;
    r->deliver = loop_timer_new(loop, on_deliver, r);
    char text[8];
    snprintf(text, sizeof(text), "%u", port);
    if (resolve_numeric(r, text)) {
        loop_timer_start(r->deliver, 0);
    } else {
        resolve_ask(r, text);
    }
    return r;
}

void resolve_free(struct resolve **resolve) {
    struct resolve *r = *resolve;
    *resolve = NULL;
    if (r == NULL) return;
    if (r->request == NULL) {
        resolve_release(r);
        return;
    }
    /* Its callback comes once more, with EVUTIL_EAI_CANCEL. */
    r->dead = true;
    evdns_getaddrinfo_cancel(r->request);
}
