/* See functions.h. */
#include "probe/functions.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/call.h"

enum { LIBRARIES_AT_ONCE = 16 };

struct library {
    struct bytes name, code; /* in the reply to FUNCTION LIST */
};

/* The target's primaries, all of which get every library. */
struct loading {
    struct deployment *target;
    bool again; /* a refusal that may pass is trouble */
    struct client **clients;
    struct call **calls; /* LIBRARIES_AT_ONCE of each client */
    int n;
};

/* The value behind a name in one library's map, which RESP2 sends as a list of pairs. */
static bool library_fields(struct resp_cursor *c, struct bytes *name, struct bytes *code) {
    struct resp_item head, key;
    *name = *code = bytes_of("", 0);
    if (!resp_next(c, &head) || !resp_is_aggregate(&head)) return false;
    for (int64_t i = 0; i + 1 < head.num; i += 2) {
        struct resp_item value;
        if (!resp_next(c, &key)) return false;
        struct resp_cursor look = *c;
        if (!resp_next(&look, &value) || !resp_skip(c)) return false;
        if (bytes_equal_str(key.str, "library_name")) *name = value.str;
        if (bytes_equal_str(key.str, "library_code")) *code = value.str;
    }
    return code->len > 0;
}

/* ---- the target ---- */

static bool loading_open(struct loading *l, struct deployment *target, bool again,
                         struct err *err) {
    struct topology *t = deployment_topology(target);
    *l = (struct loading){ .target = target, .again = again };
    l->clients = mem_zalloc((size_t)t->n_primaries * sizeof(*l->clients));
    l->calls = mem_zalloc((size_t)t->n_primaries * LIBRARIES_AT_ONCE * sizeof(*l->calls));
    for (int i = 0; i < t->n_nodes; i++)
        if (topology_is_primary(t, i))
            l->clients[l->n++] = deployment_call_begin(target, &t->nodes[i].address);
    topology_unref(&t);
    for (int i = 0; i < l->n; i++)
        if (!deployment_call_await(target, &l->clients[i], err)) return false;
    return true;
}

static void loading_close(struct loading *l, bool ok) {
    for (int i = 0; i < l->n * LIBRARIES_AT_ONCE; i++) call_drop(&l->calls[i]);
    for (int i = 0; i < l->n; i++) {
        if (ok) deployment_call_close(l->target, &l->clients[i]);
        client_close(&l->clients[i]);
    }
    free(l->calls);
    free(l->clients);
}

/* *ok is false when one primary refuses it. */
static bool take_loaded(struct loading *l, size_t library, bool *ok, struct err *refusal,
                        struct err *err) {
    int64_t timeout_ms = deployment_reply_timeout_ms(l->target);
    *ok = true;
    for (int i = 0; i < l->n; i++) {
        struct call_reply reply;
        struct call **call = &l->calls[i * LIBRARIES_AT_ONCE + (int)library];
        if (!call_finish(deployment_loop(l->target), call, timeout_ms, &reply, err)) return false;
        bool refused = resp_is_error(&reply.item);
        if (refused) client_reply_error(l->clients[i], &reply.item, refusal);
        call_reply_fini(&reply);
        *ok = *ok && !refused;
        if (!refused || !l->again || err_class_of(refusal->code) == ERR_CLASS_KEY) continue;
        *err = *refusal;
        return false;
    }
    return true;
}

static void give_up(struct giveup *giveup, struct bytes name, const struct err *refusal) {
    char label[128];
    snprintf(label, sizeof(label), "function library %.*s", (int)(name.len < 90 ? name.len : 90),
             name.ptr);
    giveup_add_once(giveup, 0, bytes_of_str(label), refusal);
}

/* At most LIBRARIES_AT_ONCE, in one round trip. */
static bool load_some(struct loading *l, const struct library *libraries, size_t n,
                      struct giveup *giveup, uint64_t *copied, uint64_t *refused, struct err *err) {
    for (int i = 0; i < l->n; i++) {
        for (size_t k = 0; k < n; k++) {
            const struct bytes words[] = { BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"),
                                           BYTES_LITERAL("REPLACE"), libraries[k].code };
            l->calls[i * LIBRARIES_AT_ONCE + (int)k] = call_start(l->clients[i], 4, words);
        }
    }
    for (size_t k = 0; k < n; k++) {
        bool ok;
        struct err refusal;
        if (!take_loaded(l, k, &ok, &refusal, err)) return false;
        *copied += ok;
        *refused += !ok;
        if (!ok) give_up(giveup, libraries[k].name, &refusal);
    }
    return true;
}

static bool copy_listed(struct deployment *target, bool again, struct call_reply *list,
                        struct giveup *giveup, uint64_t *copied, uint64_t *refused,
                        struct err *err) {
    struct loading loading;
    bool ok = loading_open(&loading, target, again, err), more = true;
    for (int64_t left = list->item.num; left > 0 && ok && more;) {
        struct library some[LIBRARIES_AT_ONCE];
        size_t n = 0;
        for (; n < LIBRARIES_AT_ONCE && left > 0 && more; left--) {
            more = library_fields(&list->cursor, &some[n].name, &some[n].code);
            n += more;
        }
        ok = load_some(&loading, some, n, giveup, copied, refused, err);
    }
    loading_close(&loading, ok);
    return ok;
}

bool functions_copy(struct deployment *source, struct deployment *target, bool again,
                    struct giveup *giveup, uint64_t *copied, uint64_t *refused, struct err *err) {
    *copied = *refused = 0;
    struct topology *t = deployment_topology(source);
    int first = 0;
    while (first < t->n_nodes && !topology_is_primary(t, first)) first++;
    struct client *client = deployment_call_open(source, &t->nodes[first].address, err);
    topology_unref(&t);
    if (client == NULL) return false;
    static const struct bytes words[] = { BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LIST"),
                                          BYTES_LITERAL("WITHCODE") };
    struct call_reply list;
    bool ok = call_send(deployment_loop(source), client, deployment_reply_timeout_ms(source), &list,
                        err, 3, words);
    if (ok && resp_is_error(&list.item))
        log_debug(client_place(client),
                  "function libraries are not copied: FUNCTION LIST is refused");
    if (ok) deployment_call_close(source, &client);
    client_close(&client);
    if (!ok) return false;
    if (resp_is_aggregate(&list.item) && list.item.num > 0)
        ok = copy_listed(target, again, &list, giveup, copied, refused, err);
    call_reply_fini(&list);
    return ok;
}
