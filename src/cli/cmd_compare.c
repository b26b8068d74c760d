/* longhaul compare: opens both sides, compares them, repairs the differences where that is asked
 * for and compares these keys again, and reports; exit status as diff(1). */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/compare_live.h"
#include "cli/compare_report.h"
#include "cli/compare_state.h"
#include "cli/complain.h"
#include "cli/findings.h"
#include "cli/key_file.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "job/repair.h"
#include "output/json_out.h"
#include "probe/preflight.h"
#include "verify/compare.h"
#include "verify/parts.h"

/* Findings wait for the repair with a tag: their kind, or this one where nothing may be copied. */
enum { TAG_LEFT_OUT = DIFFERENCE_KINDS };

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
    int pass; /* 1; 2: after the repair */
    struct compare_report report;
    struct compare_progress comparing;
    struct key_file *key_file;
    struct findings *findings;
    struct compare_state *state;
    struct compare_live *live;
    char *scope;         /* of the keys that are compared */
    struct spool *spool; /* the findings of the first pass, to be repaired */
    struct err unwritten;
    uint64_t seed;
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

static bool compare_choose_databases(struct compare_run *run) {
    const struct opt_databases *asked = &run->options->databases;
    const struct endpoint *to = &run->target_endpoint;
    bool several = asked->all || asked->n > 0;
    if (several && to->db_named && to->db != 0)
        return err_set(
            &run->error, ERR_USAGE, "--databases",
            "the target names database %d; each is compared with its own number, so leave it out",
            to->db);
    run->target_db = several ? -1 : to->db;
    if (!preflight_databases(run->source, asked->all, asked->dbs, asked->n, &run->dbs, &run->n_dbs,
                             &run->error))
        return false;
    return !asked->all || add_target_databases(run);
}

/* ---- steps ---- */

static void on_difference(void *ctx, const struct difference *d) {
    struct compare_run *run = ctx;
    if (run->findings != NULL) findings_add(run->findings, run->pass, d);
    if (run->spool == NULL || run->pass > 1 || run->unwritten.code != ERR_NONE) return;
    struct spooled one = { .key = bytes_of(d->key, d->key_len),
                           .db = d->db,
                           .tag = d->left_out ? TAG_LEFT_OUT : (uint32_t)d->kind };
    spool_add(run->spool, &one, &run->unwritten);
}

static void on_unproved(void *ctx, const struct difference *d) {
    struct compare_run *run = ctx;
    if (run->findings != NULL) findings_add_unproved(run->findings, run->pass, d);
}

static void on_taken_back(void *ctx, const struct slot_set *slots, bool backward) {
    struct compare_run *run = ctx;
    if (run->findings != NULL) findings_take_back(run->findings, run->pass, slots, backward);
}

static struct compare_settings settings_of(struct compare_run *run) {
    const struct options *o = run->options;
    struct compare_settings s = compare_settings_default();
    s.mode = run->mode;
    s.ttl_tolerance_ms = o->ttl_tolerance_ms;
    s.no_ttl = o->copy.no_ttl;
    s.filter = &run->filter;
    s.dbs = run->dbs;
    s.n_dbs = run->n_dbs;
    s.target_db_override = run->target_db;
    s.scan_count = o->scan_count;
    s.sleep_ms = o->sleep_ms;
    s.rate = o->rate;
    s.pipeline = o->copy.pipeline;
    s.max_args = (size_t)o->copy.max_args;
    s.mem_limit_bytes = o->copy.mem_limit_bytes;
    s.buffer_bytes = o->buffer_memory_bytes;
    s.outage_timeout_ms = o->copy.outage_timeout_ms;
    s.rounds = (int)o->rounds;
    s.interval_ms = o->interval_ms;
    s.names = run->key_file != NULL ? key_file_names(run->key_file) : NULL;
    s.sample = (uint64_t)o->sample;
    s.seed = run->seed;
    s.on_difference = on_difference;
    s.on_unproved = on_unproved;
    s.on_taken_back = on_taken_back;
    s.ctx = run;
    s.watermark = compare_live_watermark;
    s.watermark_ctx = run->live;
    return s;
}

static bool compare_open_sides(struct compare_run *run) {
    const struct options *o = run->options;
    if (!options_endpoint(o, OPT_SOURCE, &run->source_endpoint, &run->error)) return false;
    if (!options_endpoint(o, OPT_TARGET, &run->target_endpoint, &run->error)) return false;
    run->source = side_open(run->loop, o, OPT_SOURCE, o->copy.outage_timeout_ms, &run->error);
    if (run->source == NULL) return false;
    run->target = side_open(run->loop, o, OPT_TARGET, o->copy.outage_timeout_ms, &run->error);
    return run->target != NULL && compare_choose_databases(run);
}

/* The state directory of this pair of sides, and a live job between them. */
static bool open_records(struct compare_run *run) {
    const char *dir = run->options->state_dir, *from = run->source_endpoint.label,
               *to = run->target_endpoint.label;
    run->scope = options_scope(run->options, run->source_endpoint.db, run->target_endpoint.db);
    const struct compare_live_settings live = { .db = run->target_db >= 0 ? run->target_db : 0,
                                                .source_label = from,
                                                .target_label = to,
                                                .scope = run->scope };
    run->live = compare_live_new(run->target, &live);
    if (dir != NULL) run->state = compare_state_open(dir, from, to, &run->error);
    return dir == NULL || run->state != NULL;
}

/* Filters make the servers' own counts useless as an estimate. */
static void fill_progress(void *ctx, struct progress_state *state) {
    struct compare_run *run = ctx;
    const struct key_filter *f = &run->filter;
    bool whole = f->pattern == NULL && f->n_include == 0 && f->n_exclude == 0 && f->slots == NULL &&
                 f->n_types == 0;
    state->phase = "comparing";
    state->keys = run->comparing.keys;
    state->total = whole ? run->comparing.total : 0;
    state->different = run->comparing.different;
    state->note = run->comparing.note[0] != '\0' ? run->comparing.note : NULL;
}

static bool open_files(struct compare_run *run) {
    const struct options *o = run->options;
    run->seed = o->seed != 0 ? (uint64_t)o->seed : (uint64_t)clock_wall_us();
    if (o->key_file != NULL && (run->key_file = key_file_open(o->key_file, &run->error)) == NULL)
        return false;
    if (o->report_file != NULL &&
        (run->findings = findings_open(o->report_file, &run->error)) == NULL)
        return false;
    if (o->repair && (run->spool = spool_new(NULL, &run->error)) == NULL) return false;
    return true;
}

static bool compare_once(struct compare_run *run, const struct compare_settings *settings,
                         struct compare_result *result) {
    if (run->state != NULL &&
        !compare_state_begin(run->state, compare_mode_name(run->mode), &run->error))
        return false;
    struct progress *progress = progress_new(run->options->progress);
    progress_drive(progress, run->loop, fill_progress, run);
    bool ok = compare_run(run->source, run->target, settings, &run->comparing, signals_stop_flag(),
                          result, &run->error);
    progress_end(&progress);
    return ok;
}

/* When the parts that differ are known too. Findings that cannot be written down stay findings. */
static void compare_write_state(struct compare_run *run, const struct compare_result *result) {
    struct err err;
    if (run->state == NULL || compare_state_end(run->state, result, &run->error, &err)) return;
    if (run->error.code == ERR_NONE) run->error = err;
}

static void explain(struct compare_run *run, struct compare_result *result) {
    compare_explain(run->source, run->target, run->target_db, signals_stop_flag(), result);
}

static void compare_all(struct compare_run *run) {
    struct compare_settings settings = settings_of(run);
    run->pass = 1;
    run->report.began = true;
    if (compare_once(run, &settings, &run->report.found) && run->options->show_diffs)
        explain(run, &run->report.found);
    compare_write_state(run, &run->report.found);
}

/* ---- repair ---- */

/* A target that would lose much is not emptied: the source may have come back without its data. */
static bool guard_holds(struct compare_run *run) {
    struct compare_report *r = &run->report;
    uint64_t extra = r->found.count[DIFFERENCE_EXTRA], keys = r->found.target_keys;
    bool many = (double)extra * 100 > (double)run->options->max_delete * (double)keys;
    if (!run->options->delete_extra || extra == 0 || !many) return false;
    r->held = extra;
    log_warn("target",
             "%llu of its %llu keys are not on the source, more than --max-delete allows: "
             "nothing is deleted",
             (unsigned long long)extra, (unsigned long long)keys);
    return true;
}

static bool repair_some(struct compare_run *run, uint64_t tags, bool may_delete) {
    const struct options *o = run->options;
    struct repair_result result;
    struct repair_settings settings = { .purpose = { .source = run->source_endpoint.label,
                                                     .target = run->target_endpoint.label,
                                                     .scope = run->scope },
                                        .keys = run->spool,
                                        .tags = tags,
                                        .may_delete = may_delete,
                                        .dbs = run->dbs,
                                        .n_dbs = run->n_dbs,
                                        .target_db = run->target_db,
                                        .buffer_bytes = o->buffer_memory_bytes,
                                        .big_key_bytes = o->copy.big_key_bytes,
                                        .max_args = (size_t)o->copy.max_args,
                                        .no_ttl = o->copy.no_ttl,
                                        .outage_timeout_ms = o->copy.outage_timeout_ms };
    bool ok =
        repair_run(run->source, run->target, &settings, signals_stop_flag(), &result, &run->error);
    run->report.copied += stat_get(&result.stats.copied);
    run->report.given_up += stat_get(&result.stats.given_up);
    if (may_delete) run->report.deleted += stat_get(&result.stats.vanished);
    repair_result_fini(&result);
    return ok;
}

static bool next_spooled(void *ctx, int db, struct bytes *key, struct err *err) {
    struct compare_run *run = ctx;
    struct spooled one;
    while (spool_next(run->spool, &one, err)) {
        if (one.db != db) continue;
        *key = one.key;
        return true;
    }
    return false;
}

static void rewind_spooled(void *ctx) {
    struct compare_run *run = ctx;
    spool_rewind(run->spool, &run->error);
}

/* All keys that differed are compared again; those that are equal now were repaired. */
static void compare_again(struct compare_run *run) {
    const struct compare_names names = { .next = next_spooled,
                                         .rewind = rewind_spooled,
                                         .ctx = run };
    struct compare_settings settings = settings_of(run);
    settings.names = &names;
    run->pass = 2;
    run->report.compared_again = true;
    if (compare_once(run, &settings, &run->report.left) && run->options->show_diffs)
        explain(run, &run->report.left);
    compare_write_state(run, &run->report.left);
}

static void repair(struct compare_run *run) {
    const struct options *o = run->options;
    const uint64_t extra = UINT64_C(1) << DIFFERENCE_EXTRA;
    const uint64_t never = UINT64_C(1) << DIFFERENCE_UNREADABLE | UINT64_C(1) << TAG_LEFT_OUT;
    if (run->unwritten.code != ERR_NONE && run->error.code == ERR_NONE) run->error = run->unwritten;
    if (!o->repair || run->error.code != ERR_NONE || spool_count(run->spool) == 0) return;
    run->report.repairs = true;
    bool may_delete = !guard_holds(run) && o->delete_extra;
    run->report.may_delete = may_delete;
    if (o->copy.dry_run) return;
    if (!repair_some(run, ~extra & ~never, false)) return;
    if (may_delete && run->report.found.count[DIFFERENCE_EXTRA] > 0 &&
        !repair_some(run, extra, true))
        return;
    compare_again(run);
}

/* ---- the end ---- */

static int compare_exit_status(struct compare_run *run) {
    const struct compare_report *r = &run->report;
    if (run->error.code != ERR_NONE) return STATUS_TROUBLE;
    /* A repair leaves keys alone that are not proved. */
    bool equal = r->compared_again ? compare_result_is_equal(&r->left) && r->found.unproved == 0
                                   : compare_result_is_equal(&r->found);
    return equal ? STATUS_DONE : STATUS_FINDINGS;
}

static int compare_report_all(struct compare_run *run) {
    struct compare_report *r = &run->report;
    r->source_endpoint = &run->source_endpoint;
    r->target_endpoint = &run->target_endpoint;
    r->source = run->source;
    r->target = run->target;
    r->mode = run->mode;
    r->dry_run = run->options->copy.dry_run;
    r->error = &run->error;
    r->scope = run->scope;
    int status = compare_exit_status(run);
    json_t *document = compare_report_json(r);
    struct err err;
    json_object_set_new(document, "exit_status", json_integer(status));
    if (run->findings != NULL && !findings_finish(run->findings, document, &err))
        status = complain(&err);
    if (run->options->output == OPT_OUTPUT_JSON) {
        if (!json_out(document, status, &err)) status = complain(&err);
    } else {
        json_decref(document);
        if (r->began) compare_report_text(stdout, r, run->options->show_diffs);
    }
    if (run->error.code != ERR_NONE) status = complain(&run->error);
    return status;
}

static void compare_release(struct compare_run *run) {
    compare_result_fini(&run->report.found);
    compare_result_fini(&run->report.left);
    key_file_close(&run->key_file);
    findings_close(&run->findings);
    spool_free(&run->spool);
    compare_state_close(&run->state);
    compare_live_free(&run->live);
    free(run->scope);
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
                               .filter = options_filter(options),
                               .mode = options->compare == OPT_COMPARE_QUICK    ? COMPARE_QUICK
                                       : options->compare == OPT_COMPARE_DIGEST ? COMPARE_DIGEST
                                                                                : COMPARE_FULL };
    run.loop = loop_new(&run.error);
    if (run.loop == NULL) return complain(&run.error);
    signals_reload_on_hangup();
    signals_install(run.loop);
    if (open_files(&run) && compare_open_sides(&run) && open_records(&run)) {
        compare_all(&run);
        repair(&run);
    }
    int status = compare_report_all(&run);
    compare_release(&run);
    return status;
}
