/* See feeder.h. */
#include "demo/feeder.h"

#include "resp/writer.h"

enum { FEEDER_SLICE_MS = 100 };

static void on_reply(void *ctx, void *arg, const struct reply *reply) {
    struct feeder *feeder = ctx;
    if (feeder->err.code != ERR_NONE) return;
    if (reply->err != NULL) {
        feeder->err = *reply->err;
    } else if (resp_is_error(&reply->item)) {
        client_reply_error(feeder->client, &reply->item, &feeder->err);
    }
}

static bool is_usable(struct feeder *feeder) {
    if (feeder->err.code == ERR_NONE && *feeder->stop)
        err_set(&feeder->err, ERR_INTERRUPTED, NULL, "%s", err_sentence(ERR_INTERRUPTED));
    if (feeder->err.code == ERR_NONE && !client_is_ready(feeder->client))
        feeder->err = *client_last_error(feeder->client);
    return feeder->err.code == ERR_NONE;
}

bool feeder_begin(struct feeder *feeder, size_t argc, const char *name) {
    while (is_usable(feeder) && (client_pending(feeder->client) >= FEEDER_PENDING_MAX ||
                                 client_unsent_bytes(feeder->client) >= FEEDER_UNSENT_MAX))
        loop_run_once(feeder->loop, FEEDER_SLICE_MS);
    if (!is_usable(feeder)) return false;
    resp_write_head(client_out(feeder->client), argc);
    feeder_text(feeder, name);
    return true;
}

void feeder_word(struct feeder *feeder, struct bytes word) {
    resp_write_arg(client_out(feeder->client), word);
}

void feeder_text(struct feeder *feeder, const char *word) {
    feeder_word(feeder, bytes_of_str(word));
}

void feeder_number(struct feeder *feeder, int64_t number) {
    resp_write_arg_i64(client_out(feeder->client), number);
}

void feeder_end(struct feeder *feeder) {
    client_end_command(feeder->client, on_reply, feeder, NULL);
}

bool feeder_sync(struct feeder *feeder) {
    while (is_usable(feeder) && client_pending(feeder->client) > 0)
        loop_run_once(feeder->loop, FEEDER_SLICE_MS);
    return feeder->err.code == ERR_NONE;
}
