/* See flags.h. */
#include "capture/flags.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slot.h"
#include "server/info.h"

enum {
    FLAGS_ASK_MS = 50,    /* between two CONFIG GET */
    FLAGS_WRITE_MS = 250, /* between two rounds of longhaul's own key */
    FLAGS_KEY_MAX = 64,
    FLAGS_WORDS_MAX = 5,
    FLAGS_TELL_MS = 10 * 1000, /* between two log lines about the same trouble */
};

/* A command of each class of events, behind the key's name; the key is gone at the end. */
static const struct own_write {
    const char *command, *event;
    const char *args[FLAGS_WORDS_MAX - 2];
    bool needed; /* every server has it */
} own_writes[] = {
    { "SET", "set", { "x", "PX", "500" }, true },
    { "DEL", "del", { 0 }, true },
    { "RPUSH", "rpush", { "x" }, true },
    { "DEL", "del", { 0 }, true },
    { "SADD", "sadd", { "x" }, true },
    { "DEL", "del", { 0 }, true },
    { "HSET", "hset", { "x", "x" }, true },
    { "DEL", "del", { 0 }, true },
    { "ZADD", "zadd", { "0", "x" }, true },
    { "DEL", "del", { 0 }, true },
    { "XADD", "xadd", { "*", "x", "x" }, false },
    { "DEL", "del", { 0 }, true },
};
enum { OWN_WRITES = sizeof(own_writes) / sizeof(own_writes[0]) };

struct flags {
    struct loop *loop;
    flags_fn *on_bad;
    void *ctx;
    struct client *reader, *primary; /* primary: NULL where keys are written to the reader */
    struct address writer_address;
    struct deployment *source;
    bool closed, config_refused;
    char run_id[RUN_ID_MAX];
    uint32_t generation; /* of flags_reset() */
    bool under_way;
    int64_t sent_us, due_ms, proved_us;
    char key[FLAGS_KEY_MAX];

    /* CONFIG GET */
    bool suffices, counted;
    uint64_t sets, gets; /* calls of CONFIG SET and CONFIG GET at the last check */
    uint64_t calls[SAMPLE_CALLS];
    bool calls_told;

    /* longhaul's own key: bits by the row in own_writes */
    uint32_t wanted, heard;
    bool failed;
    int64_t acked_us, told_ms; /* acked_us: 0 while replies are due */
};

bool flags_suffice(struct bytes flags) {
    static const char classes[] = "g$lshzxet";
    bool event = false, all = false;
    size_t found = 0;
    for (size_t i = 0; i < flags.len; i++) {
        event = event || flags.ptr[i] == 'E';
        all = all || flags.ptr[i] == 'A';
    }
    for (const char *c = classes; *c != '\0' && flags.len > 0; c++)
        found += memchr(flags.ptr, *c, flags.len) != NULL;
    return event && (all || found == sizeof(classes) - 1);
}

/* ---- CONFIG GET ---- */

static bool is_stale(const struct flags *f, void *arg, const struct reply *reply) {
    return f->closed || reply->err != NULL || (uint32_t)(uintptr_t)arg != f->generation;
}

static void flags_report(struct flags *f, enum err_code code, const char *text) {
    struct err err;
    f->under_way = false;
    f->proved_us = FLAGS_NEVER;
    err_set(&err, code, client_place(f->reader), "%s", text);
    f->on_bad(f->ctx, &err);
}

static void on_config(void *ctx, void *arg, const struct reply *reply) {
    struct flags *f = ctx;
    if (is_stale(f, arg, reply)) return;
    struct resp_cursor c = reply->cursor;
    struct resp_item name, value;
    struct err err;
    f->suffices = false;
    if (resp_is_error(&reply->item)) {
        client_reply_error(f->reader, &reply->item, &err);
        f->config_refused = err_class_of(err.code) == ERR_CLASS_KEY;
        return;
    }
    if (!resp_next(&c, &name) || !resp_next(&c, &value)) {
        f->config_refused = true;
        return;
    }
    f->suffices = flags_suffice(value.str);
    if (f->suffices) return;
    char flags[64], text[ERR_TEXT_MAX];
    bytes_escape(value.str, flags, sizeof(flags));
    snprintf(
        text, sizeof(text),
        "keyspace notifications do not tell of every change: notify-keyspace-events is \"%s\"; %s",
        flags, FLAGS_ADVICE);
    flags_report(f, ERR_UNSUPPORTED, text);
}

/* Has CONFIG SET been called since the last check? CONFIG GET has been, by that check: where its
 * count did not rise, the counters were reset meanwhile. */
static bool may_have_changed(struct flags *f, struct bytes text) {
    uint64_t sets = info_calls(text, "config|set"), gets = info_calls(text, "config|get");
    if (gets == 0) return false; /* before 7.0 subcommands are not counted apart */
    bool changed = f->counted && (sets != f->sets || gets <= f->gets);
    f->counted = true;
    f->sets = sets;
    f->gets = gets;
    return changed;
}

static void on_counters(void *ctx, void *arg, const struct reply *reply) {
    struct flags *f = ctx;
    if (f->closed) return;
    f->under_way = false;
    if (is_stale(f, arg, reply) || !f->suffices) return;
    if (resp_is_string(&reply->item) && may_have_changed(f, reply->item.str)) {
        flags_report(
            f, ERR_TRYAGAIN,
            "CONFIG SET or CONFIG RESETSTAT was called: notify-keyspace-events may have been "
            "different for a moment");
        return;
    }
    f->calls_told = resp_is_string(&reply->item) && sample_count_calls(f->calls, reply->item.str);
    f->proved_us = f->sent_us;
}

static void ask_config(struct flags *f) {
    static const struct bytes get[] = { BYTES_LITERAL("CONFIG"), BYTES_LITERAL("GET"),
                                        BYTES_LITERAL("notify-keyspace-events") };
    static const struct bytes counters[] = { BYTES_LITERAL("INFO"), BYTES_LITERAL("commandstats") };
    void *generation = (void *)(uintptr_t)f->generation;
    f->under_way = true;
    f->sent_us = clock_mono_us();
    f->due_ms = clock_mono_ms() + FLAGS_ASK_MS;
    client_command(f->reader, on_config, f, generation, 3, get);
    client_command(f->reader, on_counters, f, generation, 2, counters);
}

/* ---- longhaul's own key ---- */

static struct client *flags_writer(struct flags *f) {
    return f->primary != NULL ? f->primary : f->reader;
}

/* In a slot of the server's. */
static void choose_key(struct flags *f) {
    char tag[SLOT_TAG_MAX];
    int slot = 0;
    struct topology *t = f->source != NULL ? deployment_topology(f->source) : NULL;
    int node = t != NULL ? topology_find(t, &f->writer_address) : -1;
    while (node >= 0 && slot < SLOT_COUNT && t->owner[slot] != node) slot++;
    if (t != NULL) topology_unref(&t);
    snprintf(f->key, sizeof(f->key), "longhaul:{%s}:order",
             slot_tag((uint16_t)(slot % SLOT_COUNT), tag));
}

static void tell_unwritten(struct flags *f, const struct err *err) {
    if (f->told_ms != 0 && clock_mono_ms() - f->told_ms < FLAGS_TELL_MS) return;
    f->told_ms = clock_mono_ms();
    log_warn(
        err->place,
        "notify-keyspace-events cannot be checked by longhaul's own key (%s); the watermark waits",
        err->text);
}

static void take_refusal(struct flags *f, const struct own_write *row,
                         const struct resp_item *item) {
    struct err err;
    client_reply_error(flags_writer(f), item, &err);
    bool refused = err_class_of(err.code) == ERR_CLASS_KEY;
    if (refused && !row->needed) {
        f->wanted &= ~(1u << (row - own_writes));
        return;
    }
    if (err_class_of(err.code) != ERR_CLASS_THERE) tell_unwritten(f, &err);
    f->failed = true;
    if (!refused) return;
    char text[ERR_TEXT_MAX];
    snprintf(
        text, sizeof(text),
        "CONFIG GET is refused, and so is %s of the key %s, so that nobody knows whether keyspace "
        "notifications are on (notify-keyspace-events); allow the user either",
        row->command, f->key);
    flags_report(f, ERR_UNSUPPORTED, text);
}

static void flags_on_written(void *ctx, void *arg, const struct reply *reply) {
    struct flags *f = ctx;
    const struct own_write *row = arg;
    if (f->closed) return;
    bool last = row == &own_writes[OWN_WRITES - 1];
    if (reply->err != NULL) f->failed = true;
    if (reply->err == NULL && !f->failed && resp_is_error(&reply->item))
        take_refusal(f, row, &reply->item);
    if (!last || f->closed) return;
    if (f->failed) f->under_way = false;
    f->acked_us = clock_mono_us();
}

static void write_key(struct flags *f) {
    struct client *writer = flags_writer(f);
    if (!client_is_ready(writer) || client_pending(writer) > 0) return;
    choose_key(f);
    f->under_way = true;
    f->failed = false;
    f->sent_us = clock_mono_us();
    f->due_ms = clock_mono_ms() + FLAGS_WRITE_MS;
    f->acked_us = 0;
    f->heard = 0;
    f->wanted = (1u << OWN_WRITES) - 1;
    for (size_t i = 0; i < OWN_WRITES; i++) {
        struct bytes words[FLAGS_WORDS_MAX] = { bytes_of_str(own_writes[i].command),
                                                bytes_of_str(f->key) };
        size_t n = 2;
        for (size_t k = 0; k < FLAGS_WORDS_MAX - 2 && own_writes[i].args[k] != NULL; k++)
            words[n++] = bytes_of_str(own_writes[i].args[k]);
        client_command(writer, flags_on_written, f, (void *)&own_writes[i], n, words);
    }
}

bool flags_take_event(struct flags *f, struct bytes key, struct bytes event) {
    if (f->key[0] == '\0' || !bytes_equal_str(key, f->key)) return false;
    for (size_t i = 0; i < OWN_WRITES; i++)
        if (bytes_equal_str(event, own_writes[i].event)) f->heard |= 1u << i;
    return true;
}

void flags_passed(struct flags *f, int64_t since_us) {
    if (!f->config_refused || !f->under_way || f->failed) return;
    if (f->acked_us == 0 || since_us < f->acked_us) return;
    f->under_way = false;
    uint32_t missing = f->wanted & ~f->heard;
    if (missing == 0) {
        f->proved_us = f->sent_us;
        f->told_ms = 0;
        return;
    }
    char text[ERR_TEXT_MAX];
    snprintf(text, sizeof(text),
             "keyspace notifications do not tell of every change: %s of longhaul's own key gave no "
             "event; %s",
             own_writes[__builtin_ctz(missing)].command, FLAGS_ADVICE);
    flags_report(f, ERR_UNSUPPORTED, text);
}

/* ---- life ---- */

/* The connection beside leads to the process that the feed listens to. */
static bool flags_reads_process(struct flags *f) {
    struct err err;
    const char *run_id = client_run_id(f->reader);
    if (!client_is_ready(f->reader)) return false;
    if (run_id[0] == '\0' || f->run_id[0] == '\0' || strcmp(run_id, f->run_id) == 0) return true;
    err_set(&err, ERR_CLOSED, client_place(f->reader), "another server process answers here");
    client_break(f->reader, &err);
    return false;
}

void flags_step(struct flags *f) {
    if (f->under_way || clock_mono_ms() < f->due_ms || !flags_reads_process(f)) return;
    if (f->config_refused) {
        write_key(f);
    } else {
        ask_config(f);
    }
}

void flags_reset(struct flags *f, const char *run_id) {
    snprintf(f->run_id, sizeof(f->run_id), "%s", run_id);
    f->generation++;
    f->under_way = f->config_refused = f->counted = f->calls_told = false;
    f->due_ms = 0;
    f->proved_us = FLAGS_NEVER;
    f->key[0] = '\0';
}

int64_t flags_proved_us(const struct flags *f) {
    return f->proved_us;
}

const uint64_t *flags_calls(const struct flags *f) {
    return f->calls_told && !f->config_refused ? f->calls : NULL;
}

struct flags *flags_new(struct loop *loop, const struct flags_settings *settings, flags_fn *on_bad,
                        void *ctx) {
    struct flags *f = mem_zalloc(sizeof(*f));
    struct client_settings reader = settings->reader;
    f->loop = loop;
    f->on_bad = on_bad;
    f->ctx = ctx;
    f->source = settings->source;
    f->proved_us = FLAGS_NEVER;
    reader.protocol = 2;
    reader.fence = reader.subscriber = false;
    reader.identify = reader.reconnect = reader.persistent = true;
    f->reader = client_open(loop, &reader, NULL, NULL);
    f->writer_address = reader.address;
    if (settings->primary != NULL) {
        struct client_settings primary = *settings->primary;
        primary.readonly = primary.fence = false;
        primary.reconnect = primary.persistent = true;
        f->primary = client_open(loop, &primary, NULL, NULL);
        f->writer_address = primary.address;
    }
    return f;
}

static void flags_release(void *ctx) {
    free(ctx);
}

void flags_free(struct flags **flags) {
    struct flags *f = *flags;
    *flags = NULL;
    if (f == NULL) return;
    f->closed = true;
    client_close(&f->reader);
    client_close(&f->primary);
    loop_defer(f->loop, flags_release, f);
}
