/* longhaul generate: test data of every type. What a key holds is in generate_key.h, how it gets to
 * its node in generate_lane.h; here is when the next one is due, and what the user sees. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/generate_lane.h"
#include "cli/json_out.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "cli/side.h"
#include "cli/signals.h"
#include "cli/table.h"

enum {
    GEN_SLICE_MS = 20,      /* longest pause between two looks at what is due */
    GEN_STARTUP_MS = 30000, /* LOADING is waited out for so long */
    GEN_ALL_DATABASES = 16  /* of a stock server; --databases all */
};

struct generate {
    const struct options *options;
    struct loop *loop;
    struct deployment *deployment;
    struct gen_plan plan;
    struct gen_writer *writer;
    int databases[OPTIONS_DATABASES_MAX];
    int64_t started_ms, stopping_ms; /* 0: not stopping */
    uint64_t number, round;          /* of the next key */
    int64_t paced_ms;                /* since then, so many keys were handed to the writer */
    uint64_t paced;
    bool ended; /* no further key will be handed */
};

static uint64_t keys_in_round(const struct generate *g) {
    return (uint64_t)(g->options->keys.last - g->options->keys.first) + 1;
}

static bool goes_round(const struct generate *g) {
    return g->options->forever || g->options->duration_ms > 0;
}

/* ---- when the next key is due ---- */

static bool is_due(struct generate *g, int64_t now_ms) {
    double rate = (double)g->options->rate;
    if (g->options->rate == 0) return true;
    double late = (double)(now_ms - g->paced_ms) * rate / 1000 - (double)g->paced;
    /* A short delay is made up for, a long one is not: it would end in a burst. */
    if (late > rate) {
        g->paced_ms = now_ms;
        g->paced = 0;
        late = 0;
    }
    return late > 0 || g->paced == 0;
}

static void step(struct generate *g) {
    g->paced++;
    if (g->number++ < (uint64_t)g->options->keys.last) return;
    g->number = (uint64_t)g->options->keys.first;
    g->round++;
    if (!goes_round(g)) g->ended = true;
}

static void hand_over(struct generate *g) {
    int64_t now_ms = clock_mono_ms();
    if (*signals_stop_flag()) g->ended = true;
    if (g->options->duration_ms > 0 && now_ms - g->started_ms >= g->options->duration_ms)
        g->ended = true;
    /* A round of the loop must come to its end: at most this many keys before it is entered again.
     */
    for (int i = 0; i < GEN_BATCH_DEFAULT * 10 && !g->ended && is_due(g, now_ms); i++) {
        if (!gen_writer_offer(g->writer, g->number, g->round)) return;
        step(g);
    }
}

/* ---- running ---- */

static void fill_progress(void *ctx, struct progress_state *state) {
    struct generate *g = ctx;
    struct gen_stats stats = gen_writer_stats(g->writer);
    state->phase = "generating";
    state->keys = stats.keys;
    state->total = goes_round(g) ? 0 : keys_in_round(g);
    state->bytes = stats.bytes_out;
    state->given_up = stats.refused;
    state->note = gen_writer_trouble(g->writer);
}

/* Keys that wait for the server to recover hold nobody up who wants to stop. */
static bool is_over(struct generate *g) {
    if (!g->ended) return false;
    if (g->stopping_ms == 0) g->stopping_ms = clock_mono_ms();
    if (*signals_stop_flag()) {
        gen_writer_give_up_waiting(g->writer);
        if (clock_mono_ms() - g->stopping_ms > g->options->timeout_ms) return true;
    }
    return gen_writer_open(g->writer) == 0;
}

static bool run(struct generate *g, struct err *err) {
    g->started_ms = g->paced_ms = clock_mono_ms();
    g->number = (uint64_t)g->options->keys.first;
    struct progress *progress = progress_new(g->options->progress);
    progress_drive(progress, g->loop, fill_progress, g);
    bool good = true;
    while (good && !is_over(g)) {
        hand_over(g);
        loop_run_once(g->loop, GEN_SLICE_MS);
        good = gen_writer_work(g->writer, err);
    }
    progress_end(&progress);
    return good;
}

/* ---- databases ---- */

/* Returns how many; false when the server has no such databases. */
static bool choose_databases(struct generate *g, int *n, struct err *err) {
    const struct opt_databases *wanted = &g->options->databases;
    const struct endpoint *endpoint = deployment_endpoint(g->deployment);
    *n = 0;
    if (wanted->all && !deployment_is_cluster(g->deployment)) {
        for (int db = 0; db < GEN_ALL_DATABASES; db++) g->databases[(*n)++] = db;
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

static void print_types(const struct gen_stats *stats) {
    struct table *table = table_new();
    char text[32];
    for (int type = 0; type < OPT_GEN_COUNT; type++) {
        if (stats->written[type] == 0) continue;
        table_text(table, "%s", gen_type_name((enum opt_gen_type)type));
        table_number(table, "%s", units_format_number(stats->written[type], text, sizeof(text)));
        table_end_row(table);
    }
    table_print(table, stdout, 2);
    table_free(&table);
}

static void print_text(const struct generate *g, const struct gen_stats *stats, int64_t took_ms) {
    char keys[32], rate[32], took[32], bytes[32];
    double seconds = took_ms > 0 ? (double)took_ms / 1000 : 0.001;
    printf("%s keys in %s (%s keys/s), %s sent\n",
           units_format_number(stats->keys, keys, sizeof(keys)),
           units_format_duration(took_ms, took, sizeof(took)),
           units_format_number((uint64_t)((double)stats->keys / seconds), rate, sizeof(rate)),
           units_format_bytes(stats->bytes_out, bytes, sizeof(bytes)));
    print_types(stats);
    if (goes_round(g))
        printf("  later rounds also changed %" PRIu64 " keys in place, set an expiry on %" PRIu64
               ", deleted %" PRIu64 "\n",
               stats->actions[GEN_CHANGE], stats->actions[GEN_EXPIRE], stats->actions[GEN_DELETE]);
    if (stats->retries > 0)
        printf("  %" PRIu64 " keys were written again after errors, %" PRIu64 " reconnections\n",
               stats->retries, stats->reconnects);
    if (stats->refused > 0)
        printf("  %" PRIu64 " keys were refused by the server\n", stats->refused);
}

static json_t *types_json(const struct gen_stats *stats) {
    json_t *types = json_object();
    for (int type = 0; type < OPT_GEN_COUNT; type++)
        if (stats->written[type] > 0)
            json_object_set_new(types, gen_type_name((enum opt_gen_type)type),
                                json_integer((json_int_t)stats->written[type]));
    return types;
}

static int print_json(const struct generate *g, const struct gen_stats *stats, int64_t took_ms,
                      int status, const struct err *failure) {
    json_t *document = json_pack(
        "{s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "command",
        "generate", "endpoint", deployment_endpoint(g->deployment)->label, "seed",
        (json_int_t)g->options->seed, "keys", (json_int_t)stats->keys, "types", types_json(stats),
        "changed", (json_int_t)stats->actions[GEN_CHANGE], "expired",
        (json_int_t)stats->actions[GEN_EXPIRE], "deleted", (json_int_t)stats->actions[GEN_DELETE],
        "refused", (json_int_t)stats->refused, "retries", (json_int_t)stats->retries, "reconnects",
        (json_int_t)stats->reconnects, "bytes", (json_int_t)stats->bytes_out, "duration_ms",
        (json_int_t)took_ms, "interrupted", *signals_stop_flag());
    json_object_set_new(document, "error", report_error(failure));
    struct err err;
    return json_out(document, status, &err) ? status : complain(&err);
}

static int end_status(const struct generate *g, const struct gen_stats *stats,
                      const struct err *failure) {
    if (failure->code != ERR_NONE) return complain(failure);
    /* Asked to go on until interrupted, an interruption is the proper end. */
    if (*signals_stop_flag() && !g->options->forever) return STATUS_TROUBLE;
    return stats->refused > 0 ? STATUS_FINDINGS : STATUS_DONE;
}

static int generate(struct generate *g) {
    struct err failure = { 0 };
    int n_databases;
    if (!choose_databases(g, &n_databases, &failure)) return complain(&failure);
    gen_plan_init(&g->plan, g->options, g->databases, n_databases);
    g->writer = gen_writer_new(g->deployment, &g->plan);
    run(g, &failure);
    struct gen_stats stats = gen_writer_stats(g->writer);
    int64_t took_ms = clock_mono_ms() - g->started_ms;
    int status = end_status(g, &stats, &failure);
    if (g->options->output == OPT_OUTPUT_JSON)
        return print_json(g, &stats, took_ms, status, &failure);
    print_text(g, &stats, took_ms);
    return status;
}

int cmd_generate(const struct options *options) {
    struct generate g = { .options = options };
    struct err err;
    g.loop = loop_new(&err);
    if (g.loop == NULL) return complain(&err);
    signals_install(g.loop);
    g.deployment = side_open(g.loop, options, OPT_SERVER, GEN_STARTUP_MS, &err);
    int status = g.deployment != NULL ? generate(&g) : complain(&err);
    gen_writer_free(&g.writer);
    deployment_free(&g.deployment);
    signals_uninstall();
    loop_run_once(g.loop, 0);
    loop_free(&g.loop);
    return status;
}
