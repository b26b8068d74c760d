/* Temporary keys have one name per slot, so what a crash has left behind can be removed without looking for it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "copy/transfer_priv.h"

struct cleaning {
    size_t due;
    int64_t removed;
    const struct client *client;
    struct err err;
};

static void on_unlinked(void *ctx, void *arg, const struct reply *reply) {
    struct cleaning *c = ctx;
    c->due--;
    if (reply->err != NULL) {
        c->err = *reply->err;
    } else if (!resp_is_error(&reply->item)) {
        c->removed += reply->item.num;
    } else if (c->err.code == ERR_NONE) {
        client_reply_error(c->client, &reply->item, &c->err);
        /* A slot on its way: the key, should there be one, is removed by the next transfer in that slot. A user who may
         * not touch such keys has left none. */
        enum err_class class = err_class_of(c->err.code);
        if (class == ERR_CLASS_THERE || class == ERR_CLASS_KEY || c->err.code == ERR_TRYAGAIN) err_clear(&c->err);
    }
}

static void unlink_names(struct client *client, const struct topology *t, int node, struct cleaning *c) {
    char name[TRANSFER_NAME_MAX], tag[SLOT_TAG_MAX];
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        if (t->owner[slot] != node) continue;
        snprintf(name, sizeof(name), TRANSFER_NAME_PREFIX "{%s}", slot_tag((uint16_t)slot, tag));
        const struct bytes words[] = { BYTES_LITERAL("UNLINK"), bytes_of_str(name) };
        c->due++;
        client_command(client, on_unlinked, c, NULL, 2, words);
    }
}

/* Waits for the replies to be in; the client's own timeout ends a wait without any. */
static void await_replies(struct deployment *target, struct cleaning *c) {
    while (c->due > 0) loop_run_once(deployment_loop(target), -1);
}

static bool clean_node(struct deployment *target, const struct topology *t, int node, const int *dbs, size_t n_dbs,
                       struct err *err) {
    struct client *client = deployment_call_open(target, &t->nodes[node].address, err);
    if (client == NULL) return false;
    struct cleaning c = { .client = client };
    for (size_t i = 0; i < n_dbs && c.err.code == ERR_NONE; i++) {
        client_select(client, dbs[i]);
        unlink_names(client, t, node, &c);
        await_replies(target, &c);
    }
    client_close(&client);
    if (c.removed > 0) log_info("target", "%lld unfinished copies of large keys were removed", (long long)c.removed);
    if (c.err.code == ERR_NONE) return true;
    *err = c.err;
    return false;
}

bool transfer_clean_target(struct deployment *target, const int *dbs, size_t n_dbs, struct err *err) {
    struct topology *t = deployment_topology(target);
    bool ok = true;
    for (int i = 0; i < t->n_nodes && ok; i++)
        if (topology_is_primary(t, i)) ok = clean_node(target, t, i, dbs, n_dbs, err);
    topology_unref(&t);
    return ok;
}
