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
    struct flight *flight;
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

/* +QUEUED, or an error. A lost connection also fails the last reply. */
static void on_rewrite_queued(void *ctx, void *arg, const struct reply *reply) {
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

/* The reply to EXEC or DISCARD. */
static void on_rewrite_end(void *ctx, void *arg, const struct reply *reply) {
    struct rewrite *r = ctx;
    if (reply->err != NULL) {
        /* An error found while decoding holds even if the connection was lost. */
        if (!r->discarded) r->refused = *reply->err;
    } else if (resp_is_aggregate(&reply->item)) {
        rewrite_note_results(r, reply);
    } else if (!r->discarded) {
        rewrite_note(r, &reply->item);
    }
    if (r->refused.code != ERR_NONE) {
        flight_failed(r->flight, r->entry, r->node, &r->refused);
    } else {
        flight_node_works(r->flight, r->node);
        flight_copied(r->flight, r->entry);
    }
    free(r);
}

/* ---- commands ---- */

static void rewrite_send(struct rewrite *r, size_t argc, const struct bytes *argv,
                         client_reply_fn *fn) {
    client_command(r->node->client, fn, r, NULL, argc, argv);
}

static bool on_rewrite_command(void *ctx, size_t argc, const struct bytes *argv, struct err *err) {
    rewrite_send(ctx, argc, argv, on_rewrite_queued);
    return true;
}

static bool on_rewrite_loss(void *ctx, enum commands_loss what, struct bytes element,
                            struct err *err) {
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

static bool rewrite_decode(struct bytes payload, struct commands *commands, struct err *err) {
    return commands_expect_payload(commands, payload, err) &&
           decode_value(payload, commands_sink(), commands, err) && commands_finish(commands, err);
}

static bool rewrite_send_value(struct rewrite *r, const struct fetched *f) {
    const struct copy_plan *plan = r->flight->plan;
    server_version version = deployment_info(plan->target)->redis_version;
    struct commands_options options = {
        .can = { .field_expiry = plan->can.target_field_ttl,
                 .stream_counters = version >= SERVER_VERSION(7, 0, 0),
                 .create_consumer = version >= SERVER_VERSION(6, 2, 0) },
        .max_args = plan->max_args < COMMANDS_ARGS_MIN ? COMMANDS_ARGS_MIN : plan->max_args,
        .max_bytes = REWRITE_COMMAND_BYTES
    };
    struct commands_output output = { .emit = on_rewrite_command,
                                      .lost = on_rewrite_loss,
                                      .ctx = r };
    struct commands *commands = commands_new(key_entry_bytes(f->entry), &options, &output);
    bool ok = rewrite_decode(f->value, commands, &r->refused);
    commands_free(&commands);
    return ok;
}

static void rewrite_send_expiry(struct rewrite *r, int64_t expiry_ms) {
    char text[24];
    if (expiry_ms < 0) return;
    snprintf(text, sizeof(text), "%lld", (long long)expiry_ms);
    const struct bytes words[] = { BYTES_LITERAL("PEXPIREAT"), key_entry_bytes(r->entry),
                                   bytes_of_str(text) };
    rewrite_send(r, 3, words, on_rewrite_queued);
}

void rewrite_value(struct flight *flight, struct pool_node *node, const struct fetched *f) {
    static const struct bytes multi[] = { BYTES_LITERAL("MULTI") },
                              exec[] = { BYTES_LITERAL("EXEC") },
                              discard[] = { BYTES_LITERAL("DISCARD") };
    struct rewrite *r = mem_zalloc(sizeof(*r));
    r->flight = flight;
    r->node = node;
    r->entry = f->entry;
    const struct bytes unlink[] = { BYTES_LITERAL("UNLINK"), key_entry_bytes(f->entry) };
    rewrite_send(r, 1, multi, on_rewrite_queued);
    rewrite_send(r, 2, unlink, on_rewrite_queued);
    r->discarded = !rewrite_send_value(r, f);
    if (!r->discarded) rewrite_send_expiry(r, f->expiry_ms);
    rewrite_send(r, 1, r->discarded ? discard : exec, on_rewrite_end);
}
