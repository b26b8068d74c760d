/* See rewrite.h. */
#include "copy/rewrite.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "rdb/commands.h"
#include "rdb/decode.h"

enum { REWRITE_COMMAND_BYTES = 256 * 1024 };

struct rewrite {
    struct lane *lane;
    struct pool_node *node;
    struct key_entry *entry;
    struct err refused; /* the first error; ERR_NONE while there is none */
    bool discarded;
};

/* ---- replies ---- */

static void rewrite_note(struct rewrite *r, const struct resp_item *item) {
    if (r->refused.code == ERR_NONE && resp_is_error(item))
        client_reply_error(r->node->client, item, &r->refused);
}

/* +QUEUED, or why not. A lost connection is told by the last reply too. */
static void on_queued(void *ctx, void *arg, const struct reply *reply) {
    struct rewrite *r = ctx;
    if (reply->err == NULL) rewrite_note(r, &reply->item);
}

static void rewrite_note_results(struct rewrite *r, const struct reply *reply) {
    struct resp_cursor c = reply->cursor;
    for (int64_t i = 0; i < reply->item.num; i++) {
        struct resp_cursor look = c;
        struct resp_item item;
        if (!resp_next(&look, &item)) return;
        rewrite_note(r, &item);
        resp_skip(&c);
    }
}

/* EXEC's or DISCARD's. */
static void on_last(void *ctx, void *arg, const struct reply *reply) {
    struct rewrite *r = ctx;
    if (reply->err != NULL) {
        /* What was found while decoding stays true whatever became of the connection. */
        if (!r->discarded) r->refused = *reply->err;
    } else if (resp_is_aggregate(&reply->item)) {
        rewrite_note_results(r, reply);
    } else if (!r->discarded) {
        rewrite_note(r, &reply->item);
    }
    if (r->refused.code != ERR_NONE) {
        lane_key_failed(r->lane, r->entry, r->node, &r->refused);
    } else {
        lane_node_works(r->lane, r->node);
        apply_acknowledged(r->lane, r->entry);
    }
    free(r);
}

/* ---- commands ---- */

static void rewrite_send(struct rewrite *r, size_t argc, const struct bytes *argv,
                         client_reply_fn *fn) {
    client_command(r->node->client, fn, r, NULL, argc, argv);
}

static bool on_emit(void *ctx, size_t argc, const struct bytes *argv, struct err *err) {
    rewrite_send(ctx, argc, argv, on_queued);
    return true;
}

static bool on_lost(void *ctx, enum commands_loss what, struct bytes element, struct err *err) {
    struct rewrite *r = ctx;
    char name[64], key[128];
    bytes_escape(element, name, sizeof(name));
    if (what == LOSS_FIELD_EXPIRY)
        return err_set(err, ERR_BAD_PAYLOAD, "target", "%s (field \"%s\")",
                       commands_loss_text(what), name);
    bytes_escape(key_entry_bytes(r->entry), key, sizeof(key));
    log_warn("target", "key \"%s\": %s (\"%s\")", key, commands_loss_text(what), name);
    return true;
}

static bool decode_into(struct bytes payload, struct commands *commands, struct err *err) {
    return commands_expect_payload(commands, payload, err) &&
           decode_value(payload, commands_sink(), commands, err) && commands_finish(commands, err);
}

static bool send_value(struct rewrite *r, const struct fetched *f) {
    const struct copy_plan *plan = r->lane->plan;
    server_version version = deployment_info(plan->target)->redis_version;
    struct commands_options options = {
        .can = { .field_expiry = plan->can.target_field_ttl,
                 .stream_counters = version >= SERVER_VERSION(7, 0, 0),
                 .create_consumer = version >= SERVER_VERSION(6, 2, 0) },
        .max_args = plan->max_args < COMMANDS_ARGS_MIN ? COMMANDS_ARGS_MIN : plan->max_args,
        .max_bytes = REWRITE_COMMAND_BYTES
    };
    struct commands_output output = { .emit = on_emit, .lost = on_lost, .ctx = r };
    struct commands *commands = commands_new(key_entry_bytes(f->entry), &options, &output);
    bool ok = decode_into(f->value, commands, &r->refused);
    commands_free(&commands);
    return ok;
}

static void send_expiry(struct rewrite *r, int64_t expiry_ms) {
    char text[24];
    if (expiry_ms < 0) return;
    snprintf(text, sizeof(text), "%lld", (long long)expiry_ms);
    const struct bytes words[] = { BYTES_LITERAL("PEXPIREAT"), key_entry_bytes(r->entry),
                                   bytes_of_str(text) };
    rewrite_send(r, 3, words, on_queued);
}

void rewrite_value(struct lane *lane, struct pool_node *node, const struct fetched *f) {
    static const struct bytes multi[] = { BYTES_LITERAL("MULTI") },
                              exec[] = { BYTES_LITERAL("EXEC") },
                              discard[] = { BYTES_LITERAL("DISCARD") };
    struct rewrite *r = mem_zalloc(sizeof(*r));
    r->lane = lane;
    r->node = node;
    r->entry = f->entry;
    const struct bytes unlink[] = { BYTES_LITERAL("UNLINK"), key_entry_bytes(f->entry) };
    rewrite_send(r, 1, multi, on_queued);
    rewrite_send(r, 2, unlink, on_queued);
    r->discarded = !send_value(r, f);
    if (!r->discarded) send_expiry(r, f->expiry_ms);
    rewrite_send(r, 1, r->discarded ? discard : exec, on_last);
}
