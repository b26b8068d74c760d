/* See sentinel.h. */
#include "server/sentinel.h"

#include "server/call.h"
#include "server/client.h"

static bool ask(struct loop *loop, struct client *sentinel, const char *name, int64_t timeout_ms,
                struct address *primary, struct err *err) {
    const struct bytes words[] = { BYTES_LITERAL("SENTINEL"),
                                   BYTES_LITERAL("GET-MASTER-ADDR-BY-NAME"), bytes_of_str(name) };
    struct call_reply reply;
    if (!call_send(loop, sentinel, timeout_ms, &reply, err, 3, words)) return false;
    struct resp_item host, port;
    int64_t number = 0;
    bool ok = false;
    if (resp_is_error(&reply.item)) {
        client_reply_error(sentinel, &reply.item, err);
    } else if (reply.item.type == RESP_NULL) {
        err_set(err, ERR_USAGE, client_place(sentinel),
                "the sentinel knows no primary named \"%s\"; see sentinelMasterId", name);
    } else {
        ok = reply.item.num == 2 && resp_next(&reply.cursor, &host) &&
             resp_next(&reply.cursor, &port) && bytes_to_i64(port.str, &number) && number > 0 &&
             number <= 65535 && address_set(primary, host.str, (uint16_t)number);
        if (!ok)
            err_set(err, ERR_PROTOCOL, client_place(sentinel),
                    "the sentinel's answer is in a form that is not known");
    }
    call_reply_fini(&reply);
    return ok;
}

bool sentinel_find_primary(struct loop *loop, const struct endpoint *endpoint, struct tls *tls,
                           int64_t connect_timeout_ms, int64_t reply_timeout_ms,
                           struct address *primary, struct err *err) {
    struct err last;
    err_set(&last, ERR_USAGE, endpoint->role, "no sentinel is named that could be asked");
    for (size_t i = 0; i < endpoint->n_hosts; i++) {
        struct client_settings settings = { .role = "sentinel",
                                            .tls = tls,
                                            .server_name = endpoint->tls.server_name,
                                            .user = endpoint->sentinel_user,
                                            .pass = endpoint->sentinel_pass,
                                            .protocol = 2,
                                            .connect_timeout_ms = connect_timeout_ms,
                                            .reply_timeout_ms = reply_timeout_ms };
        if (!address_set(&settings.address, bytes_of_str(endpoint->hosts[i].host),
                         endpoint->hosts[i].port))
            continue;
        struct client *sentinel =
            call_open(loop, &settings, connect_timeout_ms + reply_timeout_ms, &last);
        if (sentinel == NULL) continue;
        bool found = ask(loop, sentinel, endpoint->sentinel_name, reply_timeout_ms, primary, &last);
        client_close(&sentinel);
        if (found) return true;
    }
    *err = last;
    return false;
}
