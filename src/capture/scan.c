/* See scan.h. */
#include "capture/scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/info.h"

enum {
    SCAN_RETRY_MS = 100,
    SCAN_PAGE_MAX = 512 * 1024 * 1024, /* bytes of one page of names */
};

struct scan {
    struct loop *loop;
    struct scan_settings settings;
    struct scan_events events;
    void *ctx;
    struct client *client;
    struct loop_timer *pause;
    char cursor[SCAN_CURSOR_MAX]; /* of the next page */
    /* of the process that the cursor belongs to; empty before the first answer */
    char run_id[RUN_ID_MAX];
    bool asked, paused, identified, ended, started;
    struct bytes *keys; /* of one page, kept for the next */
    size_t keys_cap;
};

static void scan_page(struct scan *s);
static void scan_identify(struct scan *s);

static void scan_end_with(struct scan *s, enum scan_end end, const struct err *err) {
    if (s->ended) return;
    s->ended = true;
    loop_timer_stop(s->pause);
    s->events.on_end(s->ctx, end, err);
}

/* ---- pages ---- */

static void scan_on_pause_over(void *ctx) {
    struct scan *s = ctx;
    if (s->identified) {
        scan_page(s);
    } else if (!s->ended && client_is_ready(s->client)) {
        scan_identify(s);
    }
}

static void scan_refused(struct scan *s, const struct resp_item *item) {
    struct err err;
    client_reply_error(s->client, item, &err);
    if (err_class_of(err.code) == ERR_CLASS_HERE) {
        loop_timer_start(s->pause, SCAN_RETRY_MS);
        return;
    }
    scan_end_with(s, SCAN_FAILED, &err);
}

static bool read_page(struct scan *s, struct resp_cursor c, size_t *n) {
    struct resp_item cursor, list, key;
    if (!resp_next(&c, &cursor) || !resp_is_string(&cursor) || cursor.str.len >= SCAN_CURSOR_MAX)
        return false;
    if (!resp_next(&c, &list) || !resp_is_aggregate(&list)) return false;
    *n = (size_t)list.num;
    if (*n > s->keys_cap) {
        s->keys_cap = *n + *n / 4;
        s->keys = mem_array(s->keys, s->keys_cap, sizeof(*s->keys));
    }
    for (size_t i = 0; i < *n; i++) {
        if (!resp_next(&c, &key) || !resp_is_string(&key)) return false;
        s->keys[i] = key.str;
    }
    memcpy(s->cursor, cursor.str.ptr, cursor.str.len);
    s->cursor[cursor.str.len] = '\0';
    return true;
}

static void scan_on_page(void *ctx, void *arg, const struct reply *reply) {
    struct scan *s = ctx;
    s->asked = false;
    if (s->ended || reply->err != NULL) return; /* lost: scan_on_ready() asks for the page again */
    if (resp_is_error(&reply->item)) {
        scan_refused(s, &reply->item);
        return;
    }
    size_t n = 0;
    if (reply->item.num != 2 || !read_page(s, reply->cursor, &n)) {
        struct err err;
        err_set(&err, ERR_PROTOCOL, client_place(s->client), "the reply to SCAN is malformed");
        scan_end_with(s, SCAN_FAILED, &err);
        return;
    }
    s->started = true;
    bool complete = strcmp(s->cursor, "0") == 0;
    s->events.on_keys(s->ctx, s->keys, n);
    if (s->ended) return;
    if (complete) {
        scan_end_with(s, SCAN_COMPLETE, NULL);
    } else if (s->settings.sleep_ms > 0) {
        loop_timer_start(s->pause, s->settings.sleep_ms);
    } else {
        scan_page(s);
    }
}

static void scan_page(struct scan *s) {
    if (s->ended || s->asked || !s->identified || !client_is_ready(s->client)) return;
    s->paused = s->events.may_continue != NULL && !s->events.may_continue(s->ctx);
    if (s->paused) return;
    struct bytes words[8];
    char count[24];
    size_t n = 0;
    words[n++] = BYTES_LITERAL("SCAN");
    words[n++] = bytes_of_str(s->cursor);
    if (s->settings.match != NULL) {
        words[n++] = BYTES_LITERAL("MATCH");
        words[n++] = bytes_of_str(s->settings.match);
    }
    snprintf(count, sizeof(count), "%lld", (long long)s->settings.count);
    words[n++] = BYTES_LITERAL("COUNT");
    words[n++] = bytes_of_str(count);
    if (s->settings.type != NULL) {
        words[n++] = BYTES_LITERAL("TYPE");
        words[n++] = bytes_of_str(s->settings.type);
    }
    s->asked = true;
    client_command(s->client, scan_on_page, s, NULL, n, words);
}

/* ---- the process behind the connection ---- */

static void on_identity(void *ctx, void *arg, const struct reply *reply) {
    struct scan *s = ctx;
    if (s->ended || reply->err != NULL) return;
    if (!resp_is_string(&reply->item)) {
        /* Without the run_id a cursor cannot be used again. */
        scan_refused(s, &reply->item);
        return;
    }
    struct server_info info;
    server_info_parse(&info, reply->item.str);
    if (s->started && strcmp(info.run_id, s->run_id) != 0) {
        struct err err;
        err_set(
            &err, ERR_CLOSED, client_place(s->client),
            "the run_id changed: another server process answers, and is scanned from the start");
        scan_end_with(s, SCAN_NODE_CHANGED, &err);
        return;
    }
    snprintf(s->run_id, sizeof(s->run_id), "%s", info.run_id);
    s->identified = true;
    scan_page(s);
}

static void scan_identify(struct scan *s) {
    static const struct bytes words[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("server") };
    client_command(s->client, on_identity, s, NULL, 2, words);
}

static void scan_on_ready(void *ctx) {
    scan_identify(ctx);
}

static void scan_on_down(void *ctx, const struct err *err, bool final) {
    struct scan *s = ctx;
    s->identified = s->asked = false;
    if (final) {
        scan_end_with(s, SCAN_FAILED, err);
    } else {
        log_debug(err->place, "scan: %s", err->text);
    }
}

struct scan *scan_start(struct loop *loop, const struct scan_settings *settings,
                        const struct scan_events *events, void *ctx) {
    static const struct client_events client_events = { .on_ready = scan_on_ready,
                                                        .on_down = scan_on_down };
    struct scan *s = mem_zalloc(sizeof(*s));
    s->loop = loop;
    s->settings = *settings;
    s->settings.client.db = settings->db;
    s->settings.client.reconnect = true;
    s->settings.client.reply_bytes_max = SCAN_PAGE_MAX;
    s->events = *events;
    s->ctx = ctx;
    s->started = settings->cursor != NULL && settings->cursor[0] != '\0';
    snprintf(s->cursor, sizeof(s->cursor), "%s", s->started ? settings->cursor : "0");
    if (s->started) snprintf(s->run_id, sizeof(s->run_id), "%s", settings->run_id);
    s->pause = loop_timer_new(loop, scan_on_pause_over, s);
    s->client = client_open(loop, &s->settings.client, &client_events, s);
    return s;
}

static void scan_release(void *ctx) {
    struct scan *s = ctx;
    loop_timer_free(&s->pause);
    free(s->keys);
    free(s);
}

void scan_free(struct scan **scan) {
    struct scan *s = *scan;
    *scan = NULL;
    if (s == NULL) return;
    s->ended = true;
    loop_timer_stop(s->pause);
    client_close(&s->client);
    loop_defer(s->loop, scan_release, s);
}

void scan_resume(struct scan *s) {
    if (!s->paused) return;
    s->paused = false;
    scan_page(s);
}

const char *scan_cursor(const struct scan *scan) {
    return scan->cursor;
}

const char *scan_run_id(const struct scan *scan) {
    return scan->run_id;
}

int64_t scan_down_since_ms(const struct scan *scan) {
    return client_down_since_ms(scan->client);
}

const struct err *scan_last_error(const struct scan *scan) {
    return client_last_error(scan->client);
}

const char *scan_place(const struct scan *scan) {
    return client_place(scan->client);
}

uint64_t scan_reconnects(const struct scan *scan) {
    return client_reconnects(scan->client);
}
