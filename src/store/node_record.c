/* See node_record.h. */
#include "store/node_record.h"

#include "store/keys_priv.h"

/* False: the node is no primary that owns slots. */
static bool node_record_key(struct deployment *target, const struct address *node,
                            char key[STORE_KEY_MAX]) {
    struct topology *t = deployment_topology(target);
    int i = topology_find(t, node), slot = i >= 0 ? store_lowest_slot(t, i) : -1;
    topology_unref(&t);
    if (slot >= 0) store_state_key(key, (uint16_t)slot);
    return slot >= 0;
}

static bool node_record_select(struct deployment *target, struct client *client, int db,
                               struct err *err) {
    char text[24];
    struct call_reply reply;
    if (db == 0) return true;
    snprintf(text, sizeof(text), "SELECT %d", db);
    if (!call_ok(deployment_loop(target), client, deployment_reply_timeout_ms(target), &reply, err,
                 text))
        return false;
    call_reply_fini(&reply);
    return true;
}

static bool node_record_get(struct deployment *target, struct client *client, const char *key,
                            const char *job, struct job_record *record, bool *found,
                            struct err *err) {
    const struct bytes words[] = { BYTES_LITERAL("HGET"), bytes_of_str(key), bytes_of_str(job) };
    struct call_reply reply;
    struct err broken;
    if (!call_send(deployment_loop(target), client, deployment_reply_timeout_ms(target), &reply,
                   err, 3, words))
        return false;
    bool ok = !resp_is_error(&reply.item);
    if (!ok) client_reply_error(client, &reply.item, err);
    /* A record that cannot be read proves nothing. */
    if (ok && resp_is_string(&reply.item))
        *found = record_from_text(record, reply.item.str, &broken);
    call_reply_fini(&reply);
    return ok;
}

bool node_record_read(struct deployment *target, int db, const char *job,
                      const struct address *node, struct job_record *record, bool *found,
                      struct err *err) {
    char key[STORE_KEY_MAX];
    *found = false;
    if (!node_record_key(target, node, key))
        return err_set(err, ERR_CLUSTERDOWN, "target", "the server owns no slots now");
    struct client *client = deployment_call_open(target, node, err);
    if (client == NULL) return false;
    bool ok = node_record_select(target, client, db, err) &&
              node_record_get(target, client, key, job, record, found, err);
    client_close(&client);
    return ok;
}
