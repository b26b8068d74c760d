/* See watch.h.
 *
 *   timer ──▶ INFO, INFO commandstats ──▶ both answered: on_look ──▶ timer
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
    bool under_way, again; /* a look; another one is wanted behind it */
    /* its number, by which late replies of one that was given up are known */
    uintptr_t look;
    bool silent; /* on_silent has been called for this outage */
    bool closed;
    bool has_before;
    struct watch_look now, before;
};

/* The commands behind each counter. Of FUNCTION only what changes: longhaul itself calls the
 * subcommands that read. */
static const struct {
    enum watch_calls calls;
    const char *command;
} counted[] = {
    { WATCH_SWAPDB, "swapdb" },
    { WATCH_FLUSH, "flushdb" },
    { WATCH_FLUSH, "flushall" },
    { WATCH_GROUPS, "xack" },
    { WATCH_GROUPS, "xreadgroup" },
    { WATCH_GROUPS, "xclaim" },
    { WATCH_GROUPS, "xautoclaim" },
    { WATCH_GROUPS, "xgroup" },
    { WATCH_GROUPS, "xsetid" },
    { WATCH_GROUPS, "xackdel" },
    { WATCH_GROUPS, "xdelex" },
    { WATCH_GROUPS, "xnack" },
    { WATCH_FUNCTIONS, "function|load" },
    { WATCH_FUNCTIONS, "function|delete" },
    { WATCH_FUNCTIONS, "function|flush" },
    { WATCH_FUNCTIONS, "function|restore" },
};

static void watch_look(struct watch *w);

static void watch_went_silent(struct watch *w, const struct err *err) {
    w->under_way = w->again = false;
    if (w->silent || w->closed) return;
    w->silent = true;
    if (w->events.on_silent != NULL) w->events.on_silent(w->ctx, err);
}

/* ---- looking ---- */

static void look_take_info(struct watch_look *look, struct bytes text) {
    server_info_parse(&look->info, text);
    look->n_dbs = info_databases(text, look->dbs, INFO_DATABASES_MAX);
    look->forks_known = info_number(text, "total_forks", &look->forks);
    look->has_child = info_has_child(text);
    info_number(text, "master_repl_offset", &look->offset);
    look->cpu_us = info_cpu_us(text);
    look->n_replicas = info_replicas(text, &look->replicas_offset);
}

static void look_take_calls(struct watch_look *look, struct bytes text) {
    look->calls_known = info_counts_calls(text);
    for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++)
        look->calls[counted[i].calls] += info_calls(text, counted[i].command);
}

static void watch_finish_look(struct watch *w) {
    w->silent = false;
    bool same = w->has_before && strcmp(w->before.info.run_id, w->now.info.run_id) == 0;
    if (w->events.on_look != NULL) w->events.on_look(w->ctx, &w->now, same ? &w->before : NULL);
    if (w->closed) return;
    /* only now: watch_now() in the callback must not begin to overwrite what it looks at */
    w->under_way = false;
    w->before = w->now;
    w->has_before = true;
    if (w->again) watch_look(w);
}

static void on_info(void *ctx, void *arg, const struct reply *reply) {
    struct watch *w = ctx;
    /* a loss is told by on_down() */
    if (w->closed || reply->err != NULL || (uintptr_t)arg != w->look) return;
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
    look_take_info(&w->now, reply->item.str);
    if (!w->with_commands) watch_finish_look(w);
}

static void on_commandstats(void *ctx, void *arg, const struct reply *reply) {
    struct watch *w = ctx;
    if (w->closed || reply->err != NULL || !w->under_way || (uintptr_t)arg != w->look) return;
    if (resp_is_string(&reply->item)) look_take_calls(&w->now, reply->item.str);
    watch_finish_look(w);
}

static void watch_look(struct watch *w) {
    if (w->under_way || w->client == NULL || !client_is_ready(w->client)) {
        w->again = w->under_way;
        return;
    }
    const struct bytes words[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("commandstats") };
    w->again = false;
    w->under_way = true;
    w->look++;
    memset(&w->now, 0, sizeof(w->now));
    w->now.asked_us = clock_wall_us();
    loop_timer_start(w->timer, w->interval_ms);
    client_command(w->client, on_info, w, (void *)w->look, 1, words);
    if (w->with_commands) client_command(w->client, on_commandstats, w, (void *)w->look, 2, words);
}

/* ---- the connection ---- */

static void on_ready(void *ctx) {
    watch_look(ctx);
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
        watch_look(w);
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
        watch_look(w);
    } else {
        client_hurry(w->client);
    }
}

const struct address *watch_address(const struct watch *w) {
    return &w->settings.address;
}
