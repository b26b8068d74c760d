/* See run.h. */
#include "generate/run.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { GEN_SLICE_MS = 20 /* longest pause between two checks for due keys */ };

struct gen_run {
    const struct gen_settings *settings;
    struct deployment *deployment;
    const volatile bool *stop;
    struct gen_plan plan;
    struct gen_writer *writer;
    int64_t started_ms, ended_ms;
    int64_t stopping_ms;    /* 0: not stopping */
    uint64_t number, round; /* of the next key */
    /* keys that were offered since paced_ms */
    uint64_t paced;
    int64_t paced_ms;
    bool ended; /* no further key will be offered */
};

bool gen_run_is_endless(const struct gen_settings *settings) {
    return settings->forever || settings->duration_ms > 0;
}

/* ---- when the next key is due ---- */

static bool gen_run_is_due(struct gen_run *run, int64_t now_ms) {
    double rate = (double)run->settings->rate;
    if (run->settings->rate == 0) return true;
    double late = (double)(now_ms - run->paced_ms) * rate / 1000 - (double)run->paced;
    /* A short delay is made up for. A long one is not: it would end in a burst. */
    if (late > rate) {
        run->paced_ms = now_ms;
        run->paced = 0;
        late = 0;
    }
    return late > 0 || run->paced == 0;
}

static void gen_run_advance(struct gen_run *run) {
    run->paced++;
    if (run->number++ < (uint64_t)run->settings->keys.last) return;
    run->number = (uint64_t)run->settings->keys.first;
    run->round++;
    if (!gen_run_is_endless(run->settings)) run->ended = true;
}

static void gen_run_offer_due(struct gen_run *run) {
    int64_t now_ms = clock_mono_ms(), limit_ms = run->settings->duration_ms;
    if (*run->stop) run->ended = true;
    if (limit_ms > 0 && now_ms - run->started_ms >= limit_ms) run->ended = true;
    /* A bound, so that the event loop is entered again soon. */
    for (int i = 0; i < GEN_BATCH_DEFAULT * 10 && !run->ended && gen_run_is_due(run, now_ms); i++) {
        if (!gen_writer_offer(run->writer, run->number, run->round)) return;
        gen_run_advance(run);
    }
}

/* An interrupted run does not wait for keys that the server refuses at present. */
static bool gen_run_is_over(struct gen_run *run) {
    if (!run->ended) return false;
    if (run->stopping_ms == 0) run->stopping_ms = clock_mono_ms();
    if (*run->stop) {
        gen_writer_give_up_waiting(run->writer);
        if (clock_mono_ms() - run->stopping_ms > run->settings->timeout_ms) return true;
    }
    return gen_writer_open(run->writer) == 0;
}

bool gen_run_to_end(struct gen_run *run, struct err *err) {
    run->started_ms = run->paced_ms = clock_mono_ms();
    run->number = (uint64_t)run->settings->keys.first;
    bool good = true;
    while (good && !gen_run_is_over(run)) {
        gen_run_offer_due(run);
        loop_run_once(deployment_loop(run->deployment), GEN_SLICE_MS);
        good = gen_writer_work(run->writer, err);
    }
    run->ended_ms = clock_mono_ms();
    return good;
}

/* ---- the run ---- */

struct gen_run *gen_run_new(struct deployment *deployment, const struct gen_settings *settings,
                            const int *dbs, int n_dbs, const volatile bool *stop) {
    struct gen_run *run = mem_zalloc(sizeof(*run));
    run->settings = settings;
    run->deployment = deployment;
    run->stop = stop;
    gen_plan_init(&run->plan, settings, dbs, n_dbs);
    run->writer = gen_writer_new(deployment, &run->plan);
    return run;
}

void gen_run_free(struct gen_run **run) {
    if (*run == NULL) return;
    gen_writer_free(&(*run)->writer);
    free(*run);
    *run = NULL;
}

int64_t gen_run_took_ms(const struct gen_run *run) {
    return run->ended_ms - run->started_ms;
}

struct gen_stats gen_run_stats(const struct gen_run *run) {
    return gen_writer_stats(run->writer);
}

const char *gen_run_trouble(struct gen_run *run) {
    return gen_writer_trouble(run->writer);
}
