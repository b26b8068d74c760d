/* longhaul replicate: from options to a job, its progress on the screen, the comparison after it,
 * and the summary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/progress.h"
#include "cli/replicate_report.h"
#include "cli/report.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "job/replicate.h"
#include "output/json_out.h"
#include "verify/compare.h"

struct replicate_run {
    const struct options *options;
    struct loop *loop;
    struct endpoint source_endpoint, target_endpoint;
    struct deployment *source, *target;
    struct key_filter filter;
    struct replicate_result result;
    struct compare_result compared;
    struct compare_progress comparing;
    bool did_compare;
    struct progress *progress;
    char words[256];
    char *scope;      /* owned */
    struct err error; /* ERR_NONE while all is well */
};

/* ---- settings ---- */

/* A live job waits for an outage to end, unless a limit was asked for. */
static int64_t replicate_outage_timeout_ms(const struct options *o) {
    bool asked = options_is_given(o, "outage-timeout");
    return o->mode == OPT_MODE_SCAN || asked ? o->copy.outage_timeout_ms : 0;
}

/* A snapshot writes what a live job with its options would write. */
static char *replicate_scope(const struct replicate_run *run) {
    struct options options = *run->options;
    if (options.mode == OPT_MODE_SCAN) options.mode = OPT_MODE_LIVE;
    return options_scope(&options, run->source_endpoint.db, run->target_endpoint.db);
}

static struct replicate_settings replicate_settings_of(struct replicate_run *run) {
    const struct options *o = run->options;
    run->scope = replicate_scope(run);
    struct replicate_settings settings = { .purpose = { .source = run->source_endpoint.label,
                                                        .target = run->target_endpoint.label,
                                                        .scope = run->scope,
                                                        .beside = o->beside },
                                           .copy = o->copy,
                                           .filter = &run->filter,
                                           .all_databases = o->databases.all,
                                           .dbs = o->databases.dbs,
                                           .n_dbs = o->databases.n,
                                           .threads = (int)o->threads,
                                           .scan_count = o->scan_count,
                                           .buffer_bytes = o->buffer_memory_bytes,
                                           .rate = (double)o->rate,
                                           .sleep_ms = o->sleep_ms,
                                           .no_functions = o->no_functions };
    settings.copy.outage_timeout_ms = replicate_outage_timeout_ms(o);
    return settings;
}

static struct compare_settings compare_settings_of(struct replicate_run *run) {
    const struct options *o = run->options;
    struct compare_settings s = compare_settings_default();
    s.mode = o->compare == OPT_COMPARE_FULL ? COMPARE_FULL : COMPARE_QUICK;
    s.both_directions = false;
    s.target_is_partial = o->mode == OPT_MODE_LIVEONLY;
    s.ttl_tolerance_ms = o->ttl_tolerance_ms;
    s.no_ttl = o->copy.no_ttl;
    s.filter = &run->filter;
    s.dbs = run->result.dbs;
    s.n_dbs = run->result.n_dbs;
    s.target_db_override = run->result.target_db;
    s.scan_count = o->scan_count;
    s.mem_limit_bytes = o->copy.mem_limit_bytes;
    s.max_args = (size_t)o->copy.max_args;
    s.buffer_bytes = o->buffer_memory_bytes;
    s.outage_timeout_ms = o->copy.outage_timeout_ms;
    return s;
}

/* The databases and filters of the job in words, for `longhaul status`. */
static void replicate_describe(const struct options *o, char *text, size_t size) {
    FILE *out = fmemopen(text, size, "w");
    if (out == NULL) return;
    if (o->databases.all) fputs("all databases", out);
    for (size_t i = 0; i < o->databases.n; i++)
        fprintf(out, i == 0 ? "databases %d" : ",%d", o->databases.dbs[i]);
    if (!o->databases.all && o->databases.n == 0) fputs("one database", out);
    if (o->key_pattern != NULL) fprintf(out, ", keys like %s", o->key_pattern);
    for (size_t i = 0; i < o->key_include.n; i++)
        fprintf(out, ", with %s", o->key_include.items[i]);
    for (size_t i = 0; i < o->key_exclude.n; i++)
        fprintf(out, ", without %s", o->key_exclude.items[i]);
    for (size_t i = 0; i < o->key_types.n; i++) fprintf(out, ", type %s", o->key_types.items[i]);
    if (o->key_slots.given) fprintf(out, ", %u slots", slot_set_count(&o->key_slots.set));
    fclose(out);
    text[size - 1] = '\0';
}

static struct live_settings live_settings_of(struct replicate_run *run) {
    const struct options *o = run->options;
    replicate_describe(o, run->words, sizeof(run->words));
    return (struct live_settings){ .only = o->mode == OPT_MODE_LIVEONLY,
                                   .capture = (enum capture_wish)o->capture,
                                   .poll_ms = o->poll_ms,
                                   .gather_ms = o->gather_ms,
                                   .state_dir = o->state_dir,
                                   .name = o->job,
                                   .words = run->words,
                                   .extra = (enum sweep_extra)o->extra,
                                   .max_delete_percent = (double)o->max_delete,
                                   .release_deletions = o->release_deletions,
                                   .resync_whole = o->resync == OPT_RESYNC_FULL,
                                   .lease_ms = o->lease_ms,
                                   .idle_timeout_ms = o->idle_timeout_ms };
}

/* ---- progress ---- */

static void on_replicate_progress(void *ctx, const struct facts *f) {
    struct replicate_run *run = ctx;
    uint64_t done = (uint64_t)(f->copied + f->deleted + f->skipped + f->given_up);
    bool whole = run->filter.pattern == NULL && run->filter.n_include == 0 &&
                 run->filter.n_exclude == 0 && run->filter.slots == NULL &&
                 run->filter.n_types == 0;
    bool copies = !f->live || f->phase == PHASE_COPYING;
    struct progress_state state = { .phase = run->options->copy.dry_run ? "reading"
                                             : f->live                  ? phase_word(f->phase)
                                                                        : "copying",
                                    .keys = done,
                                    .total = whole && copies ? (uint64_t)f->keys_total : 0,
                                    .bytes = (uint64_t)f->bytes,
                                    .has_lag = f->live && f->lag_us >= 0,
                                    .lag_ms = f->lag_us / 1000,
                                    .waiting = f->live ? (uint64_t)f->waiting : 0,
                                    .given_up = (uint64_t)f->given_up };
    progress_update(run->progress, &state);
}

static void fill_compare_progress(void *ctx, struct progress_state *state) {
    struct replicate_run *run = ctx;
    state->phase = "comparing";
    state->keys = run->comparing.keys;
    state->total = run->comparing.total;
    state->different = run->comparing.different;
    state->note = run->comparing.note[0] != '\0' ? run->comparing.note : NULL;
}

/* ---- steps ---- */

static bool replicate_open_sides(struct replicate_run *run) {
    const struct options *o = run->options;
    if (!options_endpoint(o, OPT_SOURCE, &run->source_endpoint, &run->error)) return false;
    if (!options_endpoint(o, OPT_TARGET, &run->target_endpoint, &run->error)) return false;
    run->source = side_open(run->loop, o, OPT_SOURCE, o->copy.outage_timeout_ms, &run->error);
    if (run->source == NULL) return false;
    run->target = side_open(run->loop, o, OPT_TARGET, o->copy.outage_timeout_ms, &run->error);
    return run->target != NULL;
}

static void replicate_copy(struct replicate_run *run) {
    struct replicate_settings settings = replicate_settings_of(run);
    struct live_settings live = live_settings_of(run);
    if (run->options->mode != OPT_MODE_SCAN) settings.live = &live;
    run->progress = progress_new(run->options->progress);
    /* A process that loses the lease becomes the standby of its new holder. */
    do {
        replicate_result_fini(&run->result);
        err_clear(&run->error);
        if (replicate_run(run->source, run->target, &settings, on_replicate_progress, run,
                          signals_stop_flag(), &run->result, &run->error))
            err_clear(&run->error);
    } while (run->error.code == ERR_LEASE);
    progress_end(&run->progress);
}

static void replicate_compare(struct replicate_run *run) {
    const struct options *o = run->options;
    if (o->compare == OPT_COMPARE_NONE || o->copy.dry_run || run->error.code != ERR_NONE) return;
    /* stopped: the source goes on changing */
    if (run->result.facts.live && !run->result.idle) return;
    struct compare_settings settings = compare_settings_of(run);
    run->did_compare = true;
    run->progress = progress_new(o->progress);
    progress_drive(run->progress, run->loop, fill_compare_progress, run);
    compare_run(run->source, run->target, &settings, &run->comparing, signals_stop_flag(),
                &run->compared, &run->error);
    progress_end(&run->progress);
}

static int replicate_status(const struct replicate_run *run) {
    if (run->error.code != ERR_NONE) return STATUS_TROUBLE;
    bool lost = run->result.began && giveup_count(run->result.giveup) > 0;
    bool different = run->did_compare && !compare_result_is_equal(&run->compared);
    return lost || different ? STATUS_FINDINGS : STATUS_DONE;
}

static int replicate_report_result(struct replicate_run *run) {
    struct replicate_report report = { .options = run->options,
                                       .source_endpoint = &run->source_endpoint,
                                       .target_endpoint = &run->target_endpoint,
                                       .source = run->source,
                                       .target = run->target,
                                       .result = run->result.began ? &run->result : NULL,
                                       .compared = run->did_compare ? &run->compared : NULL,
                                       .compare_mode = run->options->compare == OPT_COMPARE_FULL
                                                           ? COMPARE_FULL
                                                           : COMPARE_QUICK,
                                       .error = &run->error,
                                       .exit_status = replicate_status(run) };
    int status = report.exit_status;
    if (run->options->output == OPT_OUTPUT_JSON) {
        struct err err;
        if (!json_out(replicate_report_json(&report), status, &err)) status = complain(&err);
    } else if (run->result.began) {
        replicate_report_text(stdout, &report);
        fflush(stdout);
    }
    if (run->error.code != ERR_NONE) status = complain(&run->error);
    return status;
}

static void replicate_release(struct replicate_run *run) {
    replicate_result_fini(&run->result);
    compare_result_fini(&run->compared);
    deployment_free(&run->source);
    deployment_free(&run->target);
    free(run->scope);
    endpoint_fini(&run->source_endpoint);
    endpoint_fini(&run->target_endpoint);
    signals_uninstall();
    loop_run_once(run->loop, 0);
    loop_free(&run->loop);
}

int cmd_replicate(const struct options *options) {
    struct replicate_run run = { .options = options, .filter = options_filter(options) };
    run.loop = loop_new(&run.error);
    if (run.loop == NULL) return complain(&run.error);
    signals_reload_on_hangup();
    signals_install(run.loop);
    if (replicate_open_sides(&run)) {
        err_clear(&run.error);
        replicate_copy(&run);
        replicate_compare(&run);
    }
    int status = replicate_report_result(&run);
    replicate_release(&run);
    return status;
}
