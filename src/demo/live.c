/* See demo_live.h. */
#include "demo/live.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "demo/process.h"

enum { ASK_EVERY_MS = 50, END_SLICE_MS = 20 };

void demo_live_init(struct demo_live *live, const char *program, const char *target,
                    const char *directory, struct loop *loop, const struct demo_stop *stop) {
    int room = DEMO_PATH_MAX - 32;
    *live = (struct demo_live){ .program = program, .target = target, .loop = loop, .stop = stop };
    snprintf(live->log, sizeof(live->log), "%.*s/replicate.log", room, directory);
    snprintf(live->output, sizeof(live->output), "%.*s/replicate.txt", room, directory);
    snprintf(live->status, sizeof(live->status), "%.*s/status.json", room, directory);
}

bool demo_live_start(struct demo_live *live, const char *const *words, struct err *err) {
    const char *argv[DEMO_LIVE_ARGS_MAX] = { live->program };
    for (size_t i = 0; words[i] != NULL && i + 2 < DEMO_LIVE_ARGS_MAX; i++) argv[i + 1] = words[i];
    struct process_settings settings = {
        .argv = argv, .log_file = live->log, .output_file = live->output, .background = true
    };
    return process_start(&settings, &live->pid, err);
}

/* ---- how far it is ---- */

static char *read_file(const char *path, long from, long *size) {
    FILE *in = fopen(path, "re");
    if (in == NULL) return mem_strdup("");
    fseek(in, 0, SEEK_END);
    *size = ftell(in);
    size_t len = *size > from ? (size_t)(*size - from) : 0;
    char *text = mem_zalloc(len + 1);
    fseek(in, from, SEEK_SET);
    /* shows the part that is there, the rest the next time */
    if (fread(text, 1, len, in) < len) *size = from;
    fclose(in);
    return text;
}

/* The output of `longhaul status`; NULL when status could not run. Its complaints are dropped: the
 * job may not have written anything yet. */
static json_t *ask_status(const struct demo_live *live) {
    const char *argv[] = { live->program, "status", live->target, "--output", "json", NULL };
    struct process_settings settings = {
        .argv = argv, .log_file = "/dev/null", .output_file = live->status, .background = true
    };
    struct err err;
    pid_t pid;
    int ended;
    long size = 0;
    unlink(live->status);
    if (!process_start(&settings, &pid, &err)) return NULL;
    while (!process_has_ended(&pid, &ended)) loop_run_once(live->loop, END_SLICE_MS);
    char *text = read_file(live->status, 0, &size);
    json_t *status = json_loads(text, 0, NULL);
    free(text);
    return status;
}

static bool live_has_passed(const json_t *status, int64_t moment_us) {
    const json_t *job = json_array_get(json_object_get(status, "jobs"), 0);
    return json_is_true(json_object_get(job, "alive")) &&
           json_array_size(json_object_get(job, "gaps")) == 0 &&
           json_integer_value(json_object_get(job, "watermark_us")) > moment_us;
}

bool demo_live_wait(struct demo_live *live, int64_t moment_us, json_t **status, struct err *err) {
    int64_t until_ms = clock_mono_ms() + DEMO_FOLLOW_MS;
    int ended;
    for (;;) {
        if (*live->stop->asked)
            return err_set(err, ERR_INTERRUPTED, NULL, "%s", err_sentence(ERR_INTERRUPTED));
        if (process_has_ended(&live->pid, &ended))
            return err_set(err, ERR_INTERNAL, "demo",
                           "the replication ended by itself, with status %d", ended);
        json_decref(*status);
        *status = ask_status(live);
        if (live_has_passed(*status, moment_us)) return true;
        if (clock_mono_ms() >= until_ms)
            return err_set(err, ERR_TIMEOUT, "demo", "the target was not up to date within %d s",
                           DEMO_FOLLOW_MS / 1000);
        loop_run_once(live->loop, ASK_EVERY_MS);
    }
}

/* ---- the end ---- */

void demo_live_kill(struct demo_live *live) {
    int status;
    if (live->pid == 0) return;
    kill(live->pid, SIGKILL);
    while (!process_has_ended(&live->pid, &status)) loop_run_once(live->loop, END_SLICE_MS);
}

int demo_live_end(struct demo_live *live, char **output) {
    int status = 0;
    long size = 0;
    if (live->pid != 0) kill(live->pid, SIGTERM);
    int64_t until_ms = clock_mono_ms() + DEMO_DRAIN_MS;
    while (!process_has_ended(&live->pid, &status) && clock_mono_ms() < until_ms &&
           !*live->stop->asked)
        loop_run_once(live->loop, END_SLICE_MS);
    demo_live_kill(live);
    *output = read_file(live->output, 0, &size);
    return status;
}

void demo_live_show_log(struct demo_live *live) {
    long size = live->log_shown;
    char *text = read_file(live->log, live->log_shown, &size);
    fputs(text, stdout);
    fflush(stdout);
    live->log_shown = size;
    free(text);
}
