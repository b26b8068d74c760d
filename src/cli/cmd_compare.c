/* longhaul compare: opens both sides, compares them, and says what differs; exit status as diff(1). */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/json_out.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "job/preflight.h"
#include "verify/compare.h"

struct compare_run {
    const struct options *options;
    struct loop *loop;
    struct endpoint source_endpoint, target_endpoint;
    struct deployment *source, *target;
    struct key_filter filter;
    int *dbs;
    size_t n_dbs;
    int target_db;
    enum compare_mode mode;
    bool began;
    struct compare_result result;
    struct compare_progress comparing;
    struct err error; /* ERR_NONE while all is well */
};

/* ---- databases ---- */

/* With "all", a database that only the target uses is full of extra keys. */
static bool add_target_databases(struct compare_run *run) {
    int *more;
    size_t n;
    if (!preflight_databases(run->target, true, NULL, 0, &more, &n, &run->error)) return false;
    run->dbs = mem_array(run->dbs, run->n_dbs + n, sizeof(*run->dbs));
    size_t known = run->n_dbs;
    for (size_t i = 0; i < n; i++) {
        bool is_known = false;
        for (size_t k = 0; k < known; k++) is_known |= run->dbs[k] == more[i];
        if (!is_known) run->dbs[run->n_dbs++] = more[i];
    }
    free(more);
    return true;
}

static bool choose_databases(struct compare_run *run) {
    const struct opt_databases *asked = &run->options->databases;
    const struct endpoint *to = &run->target_endpoint;
    bool several = asked->all || asked->n > 0;
    if (several && to->db_named && to->db != 0)
        return err_set(&run->error, ERR_USAGE, "--databases",
                       "the target names database %d; each is compared with its own number, so leave it out", to->db);
    run->target_db = several ? -1 : to->db;
    if (!preflight_databases(run->source, asked->all, asked->dbs, asked->n, &run->dbs, &run->n_dbs, &run->error))
        return false;
    return !asked->all || add_target_databases(run);
}

/* ---- steps ---- */

static struct key_filter filter_of(const struct options *o) {
    return (struct key_filter){ .pattern = o->key_pattern,
                                .include = o->key_include.items,
                                .n_include = o->key_include.n,
                                .exclude = o->key_exclude.items,
                                .n_exclude = o->key_exclude.n,
                                .slots = o->key_slots.given ? &o->key_slots.set : NULL,
                                .types = o->key_types.items,
                                .n_types = o->key_types.n };
}

static struct compare_settings settings_of(struct compare_run *run) {
    const struct options *o = run->options;
    struct compare_settings s = compare_settings_default();
    s.mode = run->mode;
    s.ttl_tolerance_ms = o->ttl_tolerance_ms;
    s.no_ttl = o->no_ttl;
    s.filter = &run->filter;
    s.dbs = run->dbs;
    s.n_dbs = run->n_dbs;
    s.target_db_override = run->target_db;
    s.scan_count = o->scan_count;
    s.sleep_ms = o->sleep_ms;
    s.rate = o->rate;
    s.pipeline = o->pipeline;
    s.mem_limit_bytes = o->mem_limit_bytes;
    s.buffer_bytes = o->buffer_memory_bytes;
    s.outage_timeout_ms = o->outage_timeout_ms;
    return s;
}

static bool open_sides(struct compare_run *run) {
    const struct options *o = run->options;
    if (!options_endpoint(o, OPT_SOURCE, &run->source_endpoint, &run->error)) return false;
    if (!options_endpoint(o, OPT_TARGET, &run->target_endpoint, &run->error)) return false;
    run->source = side_open(run->loop, o, OPT_SOURCE, o->outage_timeout_ms, &run->error);
    if (run->source == NULL) return false;
    run->target = side_open(run->loop, o, OPT_TARGET, o->outage_timeout_ms, &run->error);
    return run->target != NULL && choose_databases(run);
}

/* Filters make the servers' own counts useless as an estimate. */
static void fill_progress(void *ctx, struct progress_state *state) {
    struct compare_run *run = ctx;
    const struct key_filter *f = &run->filter;
    bool whole = f->pattern == NULL && f->n_include == 0 && f->n_exclude == 0 && f->slots == NULL && f->n_types == 0;
    state->phase = "comparing";
    state->keys = run->comparing.keys;
    state->total = whole ? run->comparing.total : 0;
    state->different = run->comparing.different;
    state->note = run->comparing.note[0] != '\0' ? run->comparing.note : NULL;
}

static void compare(struct compare_run *run) {
    struct compare_settings settings = settings_of(run);
    struct progress *progress = progress_new(run->options->progress);
    run->began = true;
    progress_drive(progress, run->loop, fill_progress, run);
    compare_run(run->source, run->target, &settings, &run->comparing, signals_stop_flag(), &run->result, &run->error);
    progress_end(&progress);
}

/* ---- the end ---- */

static json_t *json_of(struct compare_run *run) {
    return json_pack("{ss ss so so ss so sI so}", "command", "compare", "version", LONGHAUL_VERSION, "source",
                     report_side(&run->source_endpoint, run->source), "target",
                     report_side(&run->target_endpoint, run->target), "result", report_result(&run->error), "error",
                     report_error(&run->error), "duration_ms", (json_int_t)run->result.duration_ms, "compare",
                     run->began ? report_compare(run->mode, &run->result) : json_null());
}

static void print_text(struct compare_run *run) {
    report_side_text(stdout, "source", &run->source_endpoint, run->source);
    report_side_text(stdout, "target", &run->target_endpoint, run->target);
    if (run->error.code != ERR_NONE) printf("%s before the end; so far:\n", report_result(&run->error));
    report_compare_text(stdout, run->mode, &run->result);
    if (run->options->show_diffs) report_differences_text(stdout, &run->result);
    fflush(stdout);
}

static int report(struct compare_run *run) {
    int status = compare_result_different(&run->result) > 0 ? STATUS_FINDINGS : STATUS_DONE;
    if (run->error.code != ERR_NONE) status = STATUS_TROUBLE;
    if (run->options->output == OPT_OUTPUT_JSON) {
        struct err err;
        if (!json_out(json_of(run), status, &err)) status = complain(&err);
    } else if (run->began) {
        print_text(run);
    }
    if (run->error.code != ERR_NONE) status = complain(&run->error);
    return status;
}

static void release(struct compare_run *run) {
    compare_result_fini(&run->result);
    free(run->dbs);
    deployment_free(&run->source);
    deployment_free(&run->target);
    endpoint_fini(&run->source_endpoint);
    endpoint_fini(&run->target_endpoint);
    signals_uninstall();
    loop_run_once(run->loop, 0);
    loop_free(&run->loop);
}

int cmd_compare(const struct options *options) {
    struct compare_run run = { .options = options,
                               .filter = filter_of(options),
                               .mode = options->compare == OPT_COMPARE_QUICK ? COMPARE_QUICK : COMPARE_FULL };
    run.loop = loop_new(&run.error);
    if (run.loop == NULL) return complain(&run.error);
    signals_install(run.loop);
    if (open_sides(&run)) compare(&run);
    int status = report(&run);
    release(&run);
    return status;
}
