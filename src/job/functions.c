/* See functions.h. */
#include "job/functions.h"

#include <stdio.h>

#include "base/log.h"
#include "server/call.h"

/* Loads one library on every primary; *ok is false when one of them refuses it. */
static bool load_everywhere(struct deployment *target, const struct topology *t, struct bytes code, bool *ok,
                            struct err *refusal, struct err *err) {
    const struct bytes words[] = { BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LOAD"), BYTES_LITERAL("REPLACE"), code };
    *ok = true;
    for (int i = 0; i < t->n_nodes; i++) {
        struct call_reply reply;
        if (!topology_is_primary(t, i)) continue;
        struct client *client = deployment_call_open(target, &t->nodes[i].address, err);
        if (client == NULL) return false;
        bool sent =
            call_send(deployment_loop(target), client, deployment_reply_timeout_ms(target), &reply, err, 4, words);
        if (sent && resp_is_error(&reply.item)) {
            client_reply_error(client, &reply.item, refusal);
            *ok = false;
        }
        if (sent) call_reply_fini(&reply);
        client_close(&client);
        if (!sent) return false;
    }
    return true;
}

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

static bool copy_listed(struct deployment *target, struct call_reply *list, struct giveup *giveup, uint64_t *copied,
                        uint64_t *refused, struct err *err) {
    struct topology *t = deployment_topology(target);
    bool alive = true;
    for (int64_t i = 0; i < list->item.num && alive; i++) {
        struct bytes name, code;
        bool ok;
        struct err refusal;
        if (!library_fields(&list->cursor, &name, &code)) break;
        alive = load_everywhere(target, t, code, &ok, &refusal, err);
        if (!alive) break;
        *copied += ok;
        *refused += !ok;
        char label[128];
        snprintf(label, sizeof(label), "function library %.*s", (int)(name.len < 90 ? name.len : 90), name.ptr);
        if (!ok) giveup_add(giveup, 0, bytes_of_str(label), &refusal);
    }
    topology_unref(&t);
    return alive;
}

bool functions_copy(struct deployment *source, struct deployment *target, struct giveup *giveup, uint64_t *copied,
                    uint64_t *refused, struct err *err) {
    *copied = *refused = 0;
    struct topology *t = deployment_topology(source);
    int first = 0;
    while (first < t->n_nodes && !topology_is_primary(t, first)) first++;
    struct client *client = deployment_call_open(source, &t->nodes[first].address, err);
    topology_unref(&t);
    if (client == NULL) return false;
    static const struct bytes words[] = { BYTES_LITERAL("FUNCTION"), BYTES_LITERAL("LIST"), BYTES_LITERAL("WITHCODE") };
    struct call_reply list;
    bool ok = call_send(deployment_loop(source), client, deployment_reply_timeout_ms(source), &list, err, 3, words);
    if (ok && resp_is_error(&list.item))
        log_debug(client_place(client), "function libraries are not copied: FUNCTION LIST is refused");
    client_close(&client);
    if (!ok) return false;
    if (resp_is_aggregate(&list.item)) ok = copy_listed(target, &list, giveup, copied, refused, err);
    call_reply_fini(&list);
    return ok;
}
