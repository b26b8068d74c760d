/* See status_history.h. */
#include "cli/status_history.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/units.h"
#include "output/json_out.h"
#include "output/line.h"
#include "store/history.h"

enum { NUMBER_MAX = 32 };

/* ---- text ---- */

static void print_event(void *ctx, const struct history_event *event) {
    char when[NUMBER_MAX];
    line_print(stdout, "  %s  %-12s %s", units_format_time(event->at_us, when, sizeof(when)),
               event->event, event->text);
}

static void print_run(void *ctx, const struct history_run *run) {
    char when[NUMBER_MAX], n[2][NUMBER_MAX];
    const char *began = units_format_time(run->began_us, when, sizeof(when));
    if (run->ended_us == 0) {
        line_print(stdout, "  %s  %s: not ended", began, run->mode);
        return;
    }
    line_print(stdout, "  %s  %s: %s, %s keys compared, %s different", began, run->mode,
               run->outcome, units_format_number(run->compared, n[0], NUMBER_MAX),
               units_format_number(run->different, n[1], NUMBER_MAX));
}

static void print_key(void *ctx, const struct history_key *key) {
    size_t size = key->key.len * 4 + 1;
    char when[NUMBER_MAX], *name = mem_alloc(size);
    line_print(stdout, "  %s  db%d \"%s\": %s", units_format_time(key->at_us, when, sizeof(when)),
               key->db, bytes_escape(key->key, name, size), key->reason);
    free(name);
}

bool status_history_text(const struct options *options, struct err *err) {
    if (!options->history && !options->given_up) return true;
    struct history *h = history_open(options->state_dir, err);
    bool good = h != NULL;
    if (good && options->history) {
        fputs("\nhistory\n", stdout);
        good = history_events(h, print_event, NULL, err);
        fputs("comparisons\n", stdout);
        good = good && history_runs(h, print_run, NULL, err);
    }
    if (good && options->given_up) {
        fputs("\nkeys given up\n", stdout);
        good = history_given_up(h, print_key, NULL, err);
    }
    history_close(&h);
    return good;
}

/* ---- JSON ---- */

static void add_item(json_t *list, json_t *item, int64_t at_us) {
    char when[NUMBER_MAX];
    if (json_array_size(list) >= STATUS_HISTORY_JSON_MAX) {
        json_decref(item);
        return;
    }
    json_object_set_new(item, "at_us", json_integer(at_us));
    json_object_set_new(item, "at", json_string(units_format_time(at_us, when, sizeof(when))));
    json_array_append_new(list, item);
}

static json_t *text_json(const char *text) {
    return json_of_bytes(bytes_of_str(text));
}

static void add_event(void *ctx, const struct history_event *event) {
    add_item(ctx,
             json_pack("{so so}", "event", text_json(event->event), "text", text_json(event->text)),
             event->at_us);
}

static void add_run(void *ctx, const struct history_run *run) {
    json_t *item = json_pack("{so sI sI}", "mode", text_json(run->mode), "compared",
                             (json_int_t)run->compared, "different", (json_int_t)run->different);
    json_object_set_new(item, "outcome",
                        run->ended_us == 0 ? json_null() : text_json(run->outcome));
    add_item(ctx, item, run->began_us);
}

static void add_key(void *ctx, const struct history_key *key) {
    add_item(ctx,
             json_pack("{si so so}", "db", key->db, "key", json_of_bytes(key->key), "reason",
                       text_json(key->reason)),
             key->at_us);
}

bool status_history_json(const struct options *options, json_t *document, struct err *err) {
    if (!options->history && !options->given_up) return true;
    struct history *h = history_open(options->state_dir, err);
    bool good = h != NULL;
    if (good && options->history) {
        json_t *events = json_array(), *runs = json_array();
        good = history_events(h, add_event, events, err) && history_runs(h, add_run, runs, err);
        json_object_set_new(document, "history", events);
        json_object_set_new(document, "comparisons", runs);
    }
    if (good && options->given_up) {
        json_t *keys = json_array();
        good = history_given_up(h, add_key, keys, err);
        json_object_set_new(document, "given_up_keys", keys);
    }
    history_close(&h);
    return good;
}
