/* See demo.h: two servers on this machine, real data, a live replication between them that is
 * written to, killed and started again, and the comparison of both.
 *
 * Nothing is shown that the user could not type: each step runs this same program as a process of
 * its own, under the command line that is printed. Whether both sides are equal is asked of the
 * servers themselves (DBSIZE, DEBUG DIGEST-VALUE), not of longhaul. */
#include "demo/demo.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/units.h"
#include "demo/check.h"
#include "demo/data.h"
#include "demo/feeder.h"
#include "demo/live.h"
#include "demo/process.h"
#include "demo/server.h"
#include "output/json_out.h"
#include "server/call.h"
#include "server/info.h"

/* Exit statuses of the commands that the demo runs. */
enum { EXIT_DONE = 0, EXIT_FINDINGS = 1 };

enum { DEMO_REPLY_MS = 30000, DEMO_ARGS_MAX = 16, DEMO_EQUAL_MS = 10000, DEMO_SLICE_MS = 100 };

#define DEMO_PROGRAM "/proc/self/exe"

struct demo {
    struct demo_settings settings;
    struct loop *loop;
    char directory[DEMO_PATH_MAX];
    struct demo_server source, target;
    char server_name[64]; /* "redis 7.0.15" */
    struct err err;

    const char *data;                                   /* where the keys come from */
    json_t *replicate, *status, *compare, *differences; /* documents of the steps */
    char state[DEMO_PATH_MAX];                          /* the job's state directory */
    struct demo_live live;
    struct feeder feeder; /* here, since its commands may be pending when a step has failed */
    int64_t arrived_ms, back_ms;
    struct demo_check check;
    struct demo_changes changes;
    bool equal, found_exactly;
};

static bool is_text(const struct demo *d) {
    return d->settings.text;
}

static void say(const struct demo *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct demo *d, const char *fmt, ...) {
    if (!is_text(d)) return;
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    fflush(stdout);
}

static bool interrupted(struct demo *d) {
    if (*d->settings.stop.asked)
        err_set(&d->err, ERR_INTERRUPTED, NULL, "%s", err_sentence(ERR_INTERRUPTED));
    return *d->settings.stop.asked;
}

/* ---- steps that are longhaul itself ---- */

/* Runs `longhaul WORDS...` (NULL-ended). With document, the output is taken as JSON and not shown.
 * Returns its status. */
static int run_longhaul(struct demo *d, const char *const *words, json_t **document) {
    const char *argv[DEMO_ARGS_MAX] = { DEMO_PROGRAM };
    size_t argc = 1;
    for (; words[argc - 1] != NULL && argc < DEMO_ARGS_MAX - 4; argc++)
        argv[argc] = words[argc - 1];
    if (document != NULL) {
        argv[argc++] = "--output";
        argv[argc++] = "json";
    }
    char *output = NULL;
    int status = process_run(argv, document != NULL ? &output : NULL, &d->settings.stop, &d->err);
    if (document != NULL) {
        json_decref(*document);
        *document = output != NULL ? json_loads(output, 0, NULL) : NULL;
    }
    free(output);
    return status;
}

/* Says the command line, and runs it: shown to the user as text, or kept as a document. */
static int demo_step(struct demo *d, const char *const *words, json_t **document) {
    say(d, "$ longhaul");
    for (size_t i = 0; words[i] != NULL; i++) say(d, " %s", words[i]);
    say(d, "\n");
    int status = run_longhaul(d, words, is_text(d) ? NULL : document);
    say(d, "\n");
    return status;
}

static bool failed_step(struct demo *d, const char *what, int status) {
    if (interrupted(d) || d->err.code != ERR_NONE) return false;
    return err_set(&d->err, ERR_INTERNAL, "demo", "%s ended with status %d", what, status);
}

/* ---- filling the source ---- */

static bool demo_write_packages(struct demo *d) {
    d->feeder = (struct feeder){ .loop = d->loop,
                                 .client = d->source.client,
                                 .stop = d->settings.stop.asked };
    d->data = "the package database of this machine";
    if (demo_data_write(&d->feeder, (uint64_t)d->settings.keys)) return true;
    d->err = d->feeder.err;
    return false;
}

static bool write_generated(struct demo *d) {
    char keys[32];
    snprintf(keys, sizeof(keys), "%" PRId64, d->settings.keys);
    const char *words[] = { "generate", d->source.endpoint, "--keys", keys, "--expire-share",
                            "10",       "--expire",         "1h-7d",  NULL };
    json_t *ignored = NULL;
    d->data = "generated keys of every type";
    int status = run_longhaul(d, words, &ignored);
    json_decref(ignored);
    return status == EXIT_DONE || failed_step(d, "generate", status);
}

static bool fill(struct demo *d) {
    int64_t began_ms = clock_mono_ms();
    bool good = demo_data_is_there() ? demo_write_packages(d) : write_generated(d);
    if (!good) return false;
    uint64_t keys;
    char number[32], took[32];
    if (!demo_count(d->loop, d->source.client, &keys, &d->err)) return false;
    say(d, "The source holds %s keys: %s, written in %s.\n\n",
        units_format_number(keys, number, sizeof(number)), d->data,
        units_format_duration(clock_mono_ms() - began_ms, took, sizeof(took)));
    return true;
}

/* ---- the servers ---- */

static bool name_server(struct demo *d) {
    struct call_reply reply;
    if (!call_ok(d->loop, d->source.client, DEMO_REPLY_MS, &reply, &d->err, "INFO server"))
        return false;
    struct server_info info;
    server_info_parse(&info, reply.item.str);
    server_info_name(&info, d->server_name, sizeof(d->server_name));
    call_reply_fini(&reply);
    return true;
}

static bool start_servers(struct demo *d) {
    const char *binary = demo_server_find(&d->err);
    bool keep = d->settings.keep;
    if (binary == NULL || !demo_directory_make(d->directory, &d->err)) return false;
    if (!demo_server_start(&d->source, "source", binary, d->directory, keep, d->loop,
                           &d->settings.stop, &d->err))
        return false;
    if (!demo_server_start(&d->target, "target", binary, d->directory, keep, d->loop,
                           &d->settings.stop, &d->err))
        return false;
    if (!name_server(d)) return false;
    say(d, "Two servers (%s) run on this machine: source %s, target %s.\n", d->server_name,
        d->source.endpoint, d->target.endpoint);
    return true;
}

/* ---- the demonstration ---- */

/* In the background; the options of the JSON output are not shown. */
static bool start_live(struct demo *d) {
    const char *words[] = { "replicate",   d->source.endpoint, d->target.endpoint, "--mode", "live",
                            "--state-dir", d->state,           "--output",         "json",   NULL };
    if (is_text(d)) words[7] = NULL;
    say(d, "$ longhaul replicate %s %s --mode live --state-dir %s &\n", d->source.endpoint,
        d->target.endpoint, d->state);
    return demo_live_start(&d->live, words, &d->err);
}

/* Until everything that was written before now is on the target. */
static bool wait_for_live(struct demo *d) {
    bool good = demo_live_wait(&d->live, clock_wall_us(), &d->status, &d->err);
    if (is_text(d)) demo_live_show_log(&d->live);
    say(d, "\n");
    return good;
}

static bool follow(struct demo *d) {
    say(d, "Live replication: everything is copied, and changes are followed from then on.\n\n");
    return start_live(d) && wait_for_live(d);
}

static bool change(struct demo *d, enum demo_stage stage) {
    demo_changes_fini(&d->changes);
    if (!demo_changes_make(&d->changes, stage, d->loop, d->source.client, &d->err)) return false;
    for (size_t i = 0; i < d->changes.n; i++) say(d, "  %s\n", d->changes.items[i].shown);
    say(d, "\n");
    return true;
}

/* The servers count a key that has expired until they come across it, and a group that was read
 * from is found by polling: so it may take a moment until both say the same. */
static bool ask_servers(struct demo *d) {
    char a[32], b[32];
    struct demo_check *c = &d->check;
    int64_t until_ms = clock_mono_ms() + DEMO_EQUAL_MS;
    do {
        if (!demo_check_run(c, d->loop, d->source.client, d->target.client, &d->err)) return false;
        d->equal = c->source_keys == c->target_keys && c->sampled > 0 && c->equal == c->sampled;
        if (!d->equal) loop_run_once(d->loop, DEMO_SLICE_MS);
    } while (!d->equal && clock_mono_ms() < until_ms && !*d->settings.stop.asked);
    if (interrupted(d)) return false;
    say(d, "What the servers themselves say, asked without longhaul's copy or comparison:\n\n");
    say(d, "  DBSIZE               source %s, target %s",
        units_format_number(c->source_keys, a, sizeof(a)),
        units_format_number(c->target_keys, b, sizeof(b)));
    say(d, " (and %s in which longhaul keeps the job's state)\n",
        units_format_number(c->own_keys, a, sizeof(a)));
    say(d, "  DEBUG DIGEST-VALUE   of %s sampled keys, %s are the same on both sides\n\n",
        units_format_number(c->sampled, a, sizeof(a)), units_format_number(c->equal, b, sizeof(b)));
    return d->equal || err_set(&d->err, ERR_INTERNAL, "demo", "the servers do not hold the same");
}

static bool write_while_it_runs(struct demo *d) {
    const char *words[] = { "status", d->target.endpoint, NULL };
    say(d, "The source is written to while it runs:\n\n");
    if (!change(d, DEMO_WHILE_IT_RUNS)) return false;
    d->arrived_ms = demo_measure_arrival(d->loop, d->source.client, d->target.client, &d->err);
    if (d->arrived_ms < 0) return false;
    say(d, "One more write was to be seen on the target within %" PRId64 " ms of its reply.\n",
        d->arrived_ms + 1);
    say(d, "How far behind is the target? It knows by itself, also when the source is lost:\n\n");
    if (!demo_live_wait(&d->live, clock_wall_us(), &d->status, &d->err)) return false;
    json_t *ignored = NULL;
    int status = demo_step(d, words, &ignored);
    json_decref(ignored);
    if (status != EXIT_DONE) return failed_step(d, "status", status);
    return ask_servers(d);
}

static bool kill_and_go_on(struct demo *d) {
    char took[32];
    int64_t began_ms;
    say(d, "Now longhaul is killed, and the source is written to meanwhile:\n\n");
    say(d, "$ kill -9 %d\n\n", (int)d->live.pid);
    demo_live_kill(&d->live);
    if (!change(d, DEMO_WHILE_IT_IS_DEAD)) return false;
    say(d, "Started again, it finds what changed:\n\n");
    began_ms = clock_mono_ms();
    if (!start_live(d) || !wait_for_live(d)) return false;
    d->back_ms = clock_mono_ms() - began_ms;
    say(d, "After %s the target was up to date again.\n",
        units_format_duration(d->back_ms, took, sizeof(took)));
    return ask_servers(d);
}

/* SIGTERM: writes that were acknowledged before are still applied. */
static bool end_live(struct demo *d) {
    char *output = NULL;
    say(d, "It ends in order when it is asked to, with what this second run did:\n\n$ kill %d\n",
        (int)d->live.pid);
    int status = demo_live_end(&d->live, &output);
    if (is_text(d)) demo_live_show_log(&d->live);
    say(d, "%s\n", output);
    if (!is_text(d)) d->replicate = json_loads(output, 0, NULL);
    free(output);
    return status == EXIT_DONE || failed_step(d, "replicate", status);
}

static bool demo_compare(struct demo *d) {
    const char *words[] = { "compare", d->source.endpoint, d->target.endpoint, NULL };
    say(d, "Every key is compared, with its value, in both directions:\n\n");
    int status = demo_step(d, words, &d->compare);
    return status == EXIT_DONE || failed_step(d, "compare", status);
}

/* The user sees the text; the check reads the document of a second run. */
static bool find_changes(struct demo *d) {
    const char *words[] = { "compare", d->source.endpoint, d->target.endpoint, "--show-diffs",
                            NULL };
    say(d, "Does the comparison find anything at all? Now that nobody follows, the source is "
           "changed:\n\n");
    if (!change(d, DEMO_AFTER_ITS_END)) return false;
    say(d, "It finds these keys, and no others:\n\n");
    int status = demo_step(d, words, &d->differences);
    if (status != EXIT_FINDINGS) return failed_step(d, "compare", status);
    if (is_text(d)) run_longhaul(d, words, &d->differences);
    d->found_exactly = demo_changes_match(&d->changes, d->differences);
    if (d->found_exactly) return true;
    return failed_step(d, "compare found other keys than those that were changed, and", status);
}

static bool show(struct demo *d) {
    if (!start_servers(d)) return false;
    snprintf(d->state, sizeof(d->state), "%.*s/state", DEMO_PATH_MAX - 8, d->directory);
    demo_live_init(&d->live, DEMO_PROGRAM, d->target.endpoint, d->directory, d->loop,
                   &d->settings.stop);
    return fill(d) && !interrupted(d) && follow(d) && write_while_it_runs(d) && kill_and_go_on(d) &&
           end_live(d) && demo_compare(d) && find_changes(d) && !interrupted(d);
}

/* ---- the end ---- */

void demo_say_next(const struct demo *d) {
    if (d->err.code == ERR_NONE) {
        say(d, "All of it was as it should be. What to try next:\n\n");
        say(d, "  longhaul doctor SOURCE TARGET       what would hinder a replication of yours\n");
        say(d, "  longhaul replicate --help           which keys, how fast, from which replicas\n");
        say(d, "  longhaul compare --digest           over a long distance, without moving the "
               "values\n");
        say(d, "  longhaul generate ENDPOINT          test data of every type\n");
    }
    if (!d->settings.keep || d->source.pid == 0 || d->target.pid == 0) return;
    say(d,
        "\nThe servers go on running. Source: %s, process %d. Target: %s, process %d. Files: %s\n",
        d->source.endpoint, (int)d->source.pid, d->target.endpoint, (int)d->target.pid,
        d->directory);
    say(d, "End them with: kill %d %d\n", (int)d->source.pid, (int)d->target.pid);
}

json_t *demo_json(struct demo *d) {
    const struct demo_check *c = &d->check;
    json_t *document = json_pack(
        "{ss ss ss ss ss? sI sI sb s{sI sI sI sI sI} si sb}", "command", "demo", "source",
        d->source.endpoint, "target", d->target.endpoint, "server", d->server_name, "data", d->data,
        "arrived_ms", (json_int_t)d->arrived_ms, "back_ms", (json_int_t)d->back_ms, "equal",
        d->equal, "check", "source_keys", (json_int_t)c->source_keys, "target_keys",
        (json_int_t)c->target_keys, "own_keys", (json_int_t)c->own_keys, "sampled",
        (json_int_t)c->sampled, "equal", (json_int_t)c->equal, "changed", (int)d->changes.n,
        "changes_found_exactly", d->found_exactly);
    json_object_set(document, "replicate", d->replicate);
    json_object_set(document, "status", d->status);
    json_object_set(document, "compare", d->compare);
    json_object_set(document, "differences", d->differences);
    json_object_set_new(document, "error", json_of_error(&d->err));
    if (!d->settings.keep) return document;
    json_object_set_new(document, "kept",
                        json_pack("{ss si si}", "directory", d->directory, "source_pid",
                                  (int)d->source.pid, "target_pid", (int)d->target.pid));
    return document;
}

const struct err *demo_error(const struct demo *d) {
    return &d->err;
}

struct demo *demo_run(struct loop *loop, const struct demo_settings *settings) {
    struct demo *d = mem_zalloc(sizeof(*d));
    d->settings = *settings;
    d->loop = loop;
    show(d);
    return d;
}

void demo_free(struct demo **demo) {
    struct demo *d = *demo;
    bool keep = d->settings.keep;
    *demo = NULL;
    if (d->live.pid != 0) demo_live_kill(&d->live);
    demo_server_end(&d->source, keep);
    demo_server_end(&d->target, keep);
    if (!keep) demo_directory_remove(d->directory);
    loop_settle(d->loop); /* commands of the feeder may have been pending */
    demo_changes_fini(&d->changes);
    json_decref(d->replicate);
    json_decref(d->status);
    json_decref(d->compare);
    json_decref(d->differences);
    free(d);
}
