/* See feed.h. */
#include "cli/feed.h"

#include "resp/writer.h"

enum { FEED_SLICE_MS = 100 };

static void on_reply(void *ctx, void *arg, const struct reply *reply) {
    struct feed *feed = ctx;
    if (feed->err.code != ERR_NONE) return;
    if (reply->err != NULL) {
        feed->err = *reply->err;
    } else if (resp_is_error(&reply->item)) {
        client_reply_error(feed->client, &reply->item, &feed->err);
    }
}

static bool is_usable(struct feed *feed) {
    if (feed->err.code == ERR_NONE && *feed->stop)
        err_set(&feed->err, ERR_INTERRUPTED, NULL, "%s", err_sentence(ERR_INTERRUPTED));
    if (feed->err.code == ERR_NONE && !client_is_ready(feed->client))
        feed->err = *client_last_error(feed->client);
    return feed->err.code == ERR_NONE;
}

bool feed_begin(struct feed *feed, size_t argc, const char *name) {
    while (is_usable(feed) && (client_pending(feed->client) >= FEED_PENDING_MAX ||
                               client_unsent_bytes(feed->client) >= FEED_UNSENT_MAX))
        loop_run_once(feed->loop, FEED_SLICE_MS);
    if (!is_usable(feed)) return false;
    resp_write_head(client_out(feed->client), argc);
    feed_text(feed, name);
    return true;
}

void feed_word(struct feed *feed, struct bytes word) {
    resp_write_arg(client_out(feed->client), word);
}

void feed_text(struct feed *feed, const char *word) {
    feed_word(feed, bytes_of_str(word));
}

void feed_number(struct feed *feed, int64_t number) {
    resp_write_arg_i64(client_out(feed->client), number);
}

void feed_end(struct feed *feed) {
    client_end_command(feed->client, on_reply, feed, NULL);
}

bool feed_sync(struct feed *feed) {
    while (is_usable(feed) && client_pending(feed->client) > 0)
        loop_run_once(feed->loop, FEED_SLICE_MS);
    return feed->err.code == ERR_NONE;
}
