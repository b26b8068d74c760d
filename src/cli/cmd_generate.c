/* longhaul generate: from options to a run (generate/run.h), and its result. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "generate/run.h"
#include "output/json_out.h"
#include "output/table.h"

enum {
    GENERATE_STARTUP_MS = 30000, /* wait for a server that is LOADING so long */
    GENERATE_ALL_DATABASES = 16  /* of a stock server; --databases all */
};

struct generate {
    const struct options *options;
    struct loop *loop;
    struct deployment *deployment;
    struct gen_run *run; /* NULL: the server could not be written to */
    struct err failure;
    int databases[OPTIONS_DATABASES_MAX];
};

static void generate_fill_progress(void *ctx, struct progress_state *state) {
    struct generate *g = ctx;
    struct gen_stats stats = gen_run_stats(g->run);
    const struct int_range *keys = &g->options->generate.keys;
    state->phase = "generating";
    state->keys = stats.keys;
    state->total =
        gen_run_is_endless(&g->options->generate) ? 0 : (uint64_t)(keys->last - keys->first) + 1;
    state->bytes = stats.bytes_out;
    state->given_up = stats.refused;
    state->note = gen_run_trouble(g->run);
}

/* ---- databases ---- */

/* False if the server has no such databases. */
static bool generate_choose_databases(struct generate *g, int *n, struct err *err) {
    const struct opt_databases *wanted = &g->options->databases;
    const struct endpoint *endpoint = deployment_endpoint(g->deployment);
    *n = 0;
    if (wanted->all && !deployment_is_cluster(g->deployment)) {
        for (int db = 0; db < GENERATE_ALL_DATABASES; db++) g->databases[(*n)++] = db;
    } else if (wanted->n > 0) {
        for (size_t i = 0; i < wanted->n; i++) g->databases[(*n)++] = wanted->dbs[i];
    } else {
        g->databases[(*n)++] = wanted->all ? 0 : endpoint->db;
    }
    for (int i = 0; i < *n; i++) {
        if (!deployment_is_cluster(g->deployment) || g->databases[i] == 0) continue;
        /* may have cluster-databases */
        if (deployment_info(g->deployment)->flavour == SERVER_VALKEY) continue;
        return err_set(err, ERR_USAGE, endpoint->role, "%s is a cluster, which has database 0 only",
                       endpoint->label);
    }
    return true;
}

/* ---- the summary ---- */

static void generate_print_types(const struct gen_stats *stats) {
    struct table *table = table_new();
    char text[32];
    for (int type = 0; type < GEN_TYPES; type++) {
        if (stats->written[type] == 0) continue;
        table_text(table, "%s", gen_type_name((enum gen_type)type));
        table_number(table, "%s", units_format_number(stats->written[type], text, sizeof(text)));
        table_end_row(table);
    }
    table_print(table, stdout, 2);
    table_free(&table);
}

static void generate_print_text(const struct generate *g, const struct gen_stats *stats,
                                int64_t took_ms) {
    char keys[32], rate[32], took[32], bytes[32];
    double seconds = took_ms > 0 ? (double)took_ms / 1000 : 0.001;
    printf("%s keys in %s (%s keys/s), %s sent\n",
           units_format_number(stats->keys, keys, sizeof(keys)),
           units_format_duration(took_ms, took, sizeof(took)),
           units_format_number((uint64_t)((double)stats->keys / seconds), rate, sizeof(rate)),
           units_format_bytes(stats->bytes_out, bytes, sizeof(bytes)));
    generate_print_types(stats);
    if (gen_run_is_endless(&g->options->generate))
        printf("  later rounds also changed %" PRIu64 " keys in place, set an expiry on %" PRIu64
               ", deleted %" PRIu64 "\n",
               stats->actions[GEN_CHANGE], stats->actions[GEN_EXPIRE], stats->actions[GEN_DELETE]);
    if (stats->retries > 0)
        printf("  %" PRIu64 " keys were written again after errors, %" PRIu64 " reconnections\n",
               stats->retries, stats->reconnects);
    if (stats->refused > 0)
        printf("  %" PRIu64 " keys were refused by the server\n", stats->refused);
}

static json_t *generate_types_json(const struct gen_stats *stats) {
    json_t *types = json_object();
    for (int type = 0; type < GEN_TYPES; type++)
        if (stats->written[type] > 0)
            json_object_set_new(types, gen_type_name((enum gen_type)type),
                                json_integer((json_int_t)stats->written[type]));
    return types;
}

static json_t *generate_json(const struct generate *g, const struct gen_stats *stats) {
    json_t *document = json_pack(
        "{s:s, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "command", "generate",
        "endpoint", side_label_json(g->options, OPT_SERVER), "seed",
        (json_int_t)g->options->generate.seed, "keys", (json_int_t)stats->keys, "types",
        generate_types_json(stats), "changed", (json_int_t)stats->actions[GEN_CHANGE], "expired",
        (json_int_t)stats->actions[GEN_EXPIRE], "deleted", (json_int_t)stats->actions[GEN_DELETE],
        "refused", (json_int_t)stats->refused, "retries", (json_int_t)stats->retries, "reconnects",
        (json_int_t)stats->reconnects, "bytes", (json_int_t)stats->bytes_out, "interrupted",
        *signals_stop_flag());
    json_object_set_new(document, "duration_ms",
                        json_integer(g->run != NULL ? gen_run_took_ms(g->run) : 0));
    json_object_set_new(document, "error", json_of_error(&g->failure));
    return document;
}

static int generate_status(const struct generate *g, const struct gen_stats *stats) {
    if (g->failure.code != ERR_NONE) return complain(&g->failure);
    /* An interruption is the proper end of a run that has no other. */
    if (*signals_stop_flag() && !g->options->generate.forever) return STATUS_TROUBLE;
    return stats->refused > 0 ? STATUS_FINDINGS : STATUS_DONE;
}

static void generate_write(struct generate *g) {
    int n_databases;
    g->deployment = side_open(g->loop, g->options, OPT_SERVER, GENERATE_STARTUP_MS, &g->failure);
    if (g->deployment == NULL) return;
    err_clear(&g->failure);
    if (!generate_choose_databases(g, &n_databases, &g->failure)) return;
    g->run = gen_run_new(g->deployment, &g->options->generate, g->databases, n_databases,
                         signals_stop_flag());
    struct progress *progress = progress_new(g->options->progress);
    progress_drive(progress, g->loop, generate_fill_progress, g);
    gen_run_to_end(g->run, &g->failure);
    progress_end(&progress);
}

static int generate_report(struct generate *g) {
    struct gen_stats stats = { 0 };
    struct err err;
    if (g->run != NULL) stats = gen_run_stats(g->run);
    int status = generate_status(g, &stats);
    if (g->options->output == OPT_OUTPUT_JSON)
        return json_out(generate_json(g, &stats), status, &err) ? status : complain(&err);
    if (g->run != NULL) generate_print_text(g, &stats, gen_run_took_ms(g->run));
    return status;
}

int cmd_generate(const struct options *options) {
    struct generate g = { .options = options };
    g.loop = loop_new(&g.failure);
    if (g.loop == NULL) return complain(&g.failure);
    signals_install(g.loop);
    generate_write(&g);
    int status = generate_report(&g);
    gen_run_free(&g.run);
    deployment_free(&g.deployment);
    signals_uninstall();
    loop_run_once(g.loop, 0);
    loop_free(&g.loop);
    return status;
}
