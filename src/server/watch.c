/* See watch.h.
 *
 *   timer ──▶ TIME, INFO, INFO commandstats ──▶ all answered: on_sample ──▶ timer
 *                     └── broken, silent, refused: on_silent ──▶ timer, or once connected again
 */
#include "server/watch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

struct watch {
    struct loop *loop;
    struct client_settings settings;
    struct client *client; /* NULL: given up for good by itself; opened anew by the timer */
    struct loop_timer *timer;
    int64_t interval_ms;
    bool with_commands;
    struct watch_events events;
    void *ctx;
    bool under_way, again; /* a sample; another one is wanted behind it */
    /* its number, by which late replies of one that was given up are known */
    uintptr_t number;
    bool silent; /* on_silent has been called for this outage */
    bool closed;
    bool has_before;
    struct server_sample now, before;
};

static void watch_ask(struct watch *w);

static void watch_went_silent(struct watch *w, const struct err *err) {
    w->under_way = w->again = false;
    if (w->silent || w->closed) return;
    w->silent = true;
    if (w->events.on_silent != NULL) w->events.on_silent(w->ctx, err);
}

/* ---- sampling ---- */

static void watch_finish_sample(struct watch *w) {
    w->silent = false;
    w->now.answered_boot_us = clock_boot_us();
    bool same = w->has_before && strcmp(w->before.info.run_id, w->now.info.run_id) == 0;
    if (w->events.on_sample != NULL) w->events.on_sample(w->ctx, &w->now, same ? &w->before : NULL);
    if (w->closed) return;
    /* only now: watch_now() in the callback must not overwrite the sample it is given */
    w->under_way = false;
    sample_fini(&w->before);
    w->before = w->now;
    memset(&w->now, 0, sizeof(w->now));
    w->has_before = true;
    if (w->again) watch_ask(w);
}

/* Refused: INFO tells the server's clock from 7.0 on. */
static void on_time(void *ctx, void *arg, const struct reply *reply) {
    struct watch *w = ctx;
    if (w->closed || reply->err != NULL || (uintptr_t)arg != w->number) return;
    struct resp_cursor c = reply->cursor;
    struct resp_item seconds, rest;
    int64_t s, us;
    if (!resp_is_aggregate(&reply->item) || !resp_next(&c, &seconds) || !resp_next(&c, &rest))
        return;
    if (bytes_to_i64(seconds.str, &s) && bytes_to_i64(rest.str, &us))
        sample_take_time(&w->now, s, us);
}

static void on_info(void *ctx, void *arg, const struct reply *reply) {
    struct watch *w = ctx;
    /* a loss is told by on_down() */
    if (w->closed || reply->err != NULL || (uintptr_t)arg != w->number) return;
    if (!resp_is_string(&reply->item)) {
        struct err err;
        if (resp_is_error(&reply->item)) {
            client_reply_error(w->client, &reply->item, &err);
        } else {
            err_set(&err, ERR_PROTOCOL, client_place(w->client), "INFO was not answered by a text");
        }
        watch_went_silent(w, &err);
        return;
    }
    sample_take_info(&w->now, reply->item.str);
    if (!w->with_commands) watch_finish_sample(w);
}

static void on_commandstats(void *ctx, void *arg, const struct reply *reply) {
    struct watch *w = ctx;
    if (w->closed || reply->err != NULL || !w->under_way || (uintptr_t)arg != w->number) return;
    if (resp_is_string(&reply->item)) sample_take_calls(&w->now, reply->item.str);
    watch_finish_sample(w);
}

static void watch_ask(struct watch *w) {
    if (w->under_way || w->client == NULL || !client_is_ready(w->client)) {
        w->again = w->under_way;
        return;
    }
    static const struct bytes time_words[] = { BYTES_LITERAL("TIME") };
    const struct bytes words[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("commandstats") };
    w->again = false;
    w->under_way = true;
    w->number++;
    sample_fini(&w->now);
    memset(&w->now, 0, sizeof(w->now));
    w->now.asked_boot_us = clock_boot_us();
    w->now.asked_wall_us = clock_wall_us();
    loop_timer_start(w->timer, w->interval_ms);
    client_command(w->client, on_time, w, (void *)w->number, 1, time_words);
    client_command(w->client, on_info, w, (void *)w->number, 1, words);
    if (w->with_commands)
        client_command(w->client, on_commandstats, w, (void *)w->number, 2, words);
}

/* ---- the connection ---- */

static void on_ready(void *ctx) {
    watch_ask(ctx);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct watch *w = ctx;
    if (final) {
        client_close(&w->client);
        loop_timer_start(w->timer, w->interval_ms);
    }
    watch_went_silent(w, err);
}

static void watch_connect(struct watch *w) {
    static const struct client_events events = { .on_ready = on_ready, .on_down = on_down };
    w->client = client_open(w->loop, &w->settings, &events, w);
}

static void on_timer(void *ctx) {
    struct watch *w = ctx;
    loop_timer_start(w->timer, w->interval_ms);
    if (w->client == NULL) {
        watch_connect(w);
    } else if (!w->under_way) {
        watch_ask(w);
    }
}

/* ---- for the owner ---- */

struct watch *watch_start(struct loop *loop, const struct client_settings *settings,
                          int64_t interval_ms, bool with_commands,
                          const struct watch_events *events, void *ctx) {
    assert(settings->reply_timeout_ms > 0 && interval_ms > 0);
    struct watch *w = mem_zalloc(sizeof(*w));
    w->loop = loop;
    w->settings = *settings;
    w->settings.reconnect = true;
    w->interval_ms = interval_ms;
    w->with_commands = with_commands;
    w->events = *events;
    w->ctx = ctx;
    w->timer = loop_timer_new(loop, on_timer, w);
    loop_timer_start(w->timer, interval_ms);
    watch_connect(w);
    return w;
}

static void watch_release(void *ctx) {
    struct watch *w = ctx;
    loop_timer_free(&w->timer);
    sample_fini(&w->now);
    sample_fini(&w->before);
    free(w);
}

void watch_free(struct watch **watch) {
    struct watch *w = *watch;
    *watch = NULL;
    if (w == NULL) return;
    w->closed = true;
    loop_timer_stop(w->timer);
    client_close(&w->client);
    loop_defer(w->loop, watch_release, w);
}

void watch_now(struct watch *w) {
    if (w->client == NULL) {
        watch_connect(w);
    } else if (client_is_ready(w->client)) {
        watch_ask(w);
    } else {
        client_hurry(w->client);
    }
}

const struct address *watch_address(const struct watch *w) {
    return &w->settings.address;
}
