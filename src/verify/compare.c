/* The run of a comparison; see compare.h for its promises and compare_priv.h for its parts. */
#include "verify/compare.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "verify/compare_priv.h"

enum {
    WINDOW_ALONE = 8192,          /* keys in checks of their own, at least */
    WINDOW_MIN = 16,              /* however large their values are */
    SUSPECT_BYTES_MAX = 16 << 20, /* names that wait for their next check */
    ROUND_MS = 50,                /* longest wait for events, so that clocks are looked at */
    RETRY_ROUND_MS = 10,          /* the same while keys wait for a retry, or for --rate */
    WATERMARK_ASK_MS = 200,       /* how often a live job's watermark is read */
    WATERMARK_WAIT_MS = 60000, /* longest wait of one key for it, if the wall clock is set back */
    RATE_SLICES = 10,          /* credit is kept for this part of a second */
};

struct compare_settings compare_settings_default(void) {
    static const struct key_filter all;
    static const int zero[] = { 0 };
    return (struct compare_settings){ .mode = COMPARE_FULL,
                                      .both_directions = true,
                                      .ttl_tolerance_ms = 100,
                                      .filter = &all,
                                      .dbs = zero,
                                      .n_dbs = 1,
                                      .target_db_override = -1,
                                      .scan_count = 1000,
                                      .rounds = 3,
                                      .interval_ms = 1000,
                                      .max_differences = 1000,
                                      .buffer_bytes = 32 << 20,
                                      .outage_timeout_ms = 300000 };
}

/* ---- feeding ---- */

static size_t window(const struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    size_t most = cmp->pace.keys;
    if (s->pipeline == 0 && !string_batches_are_likely(cmp) && most < WINDOW_ALONE)
        most = WINDOW_ALONE;
    size_t n = s->buffer_bytes / 2 / (string_batch_bound(cmp) + CHECK_COST_BYTES);
    if (n < WINDOW_MIN) n = WINDOW_MIN;
    return n < most ? n : most;
}

static bool has_place(const struct comparison *cmp) {
    return cmp->checks.n + cmp->retries.n < window(cmp);
}

/* While a side is not ready the name waits among the retries. */
static void feed(struct comparison *cmp, struct name *name) {
    if (!name_is_current(cmp, name)) {
        free(name);
    } else if (!check_start(cmp, name)) {
        name_queue_push(&cmp->retries, name);
    }
}

/* One that was never checked. */
static void feed_one(struct comparison *cmp, struct name *name) {
    if (name_is_current(cmp, name) && digest_batch_take(cmp, name)) return;
    if (!name_is_current(cmp, name) || !string_batch_take(cmp, name)) feed(cmp, name);
}

static void feed_retries(struct comparison *cmp, int64_t now_ms) {
    for (size_t n = cmp->retries.n; n > 0; n--) {
        struct name *name = name_queue_pop(&cmp->retries);
        if (now_ms < name->due_ms) {
            name_queue_push(&cmp->retries, name);
        } else {
            feed(cmp, name);
        }
    }
}

/* Beside a live job a difference means something once the target has every write that the source
 * had when the key was read. */
static bool suspect_is_due(const struct comparison *cmp, const struct name *name, int64_t now_ms) {
    if (cmp->watermark.us == 0) return name->due_ms <= now_ms;
    return cmp->watermark.us > name->read_us || name->due_ms + WATERMARK_WAIT_MS <= now_ms;
}

/* Not from within callbacks. */
static void ask_watermark(struct comparison *cmp) {
    const struct compare_settings *s = cmp->settings;
    int64_t now_ms = clock_mono_ms();
    bool due = cmp->watermark_asked_ms == 0 || now_ms - cmp->watermark_asked_ms >= WATERMARK_ASK_MS;
    if (s->watermark == NULL || cmp->suspects.n == 0 || !due) return;
    cmp->watermark = s->watermark(s->watermark_ctx);
    cmp->watermark_asked_ms = clock_mono_ms();
}

static void feed_suspects(struct comparison *cmp, int64_t now_ms) {
    while (cmp->suspects.head != NULL && suspect_is_due(cmp, cmp->suspects.head, now_ms) &&
           has_place(cmp)) {
        struct name *name = name_queue_pop(&cmp->suspects);
        name->watermark_passed = cmp->watermark.explains && cmp->watermark.us > name->read_us;
        feed(cmp, name);
    }
}

static void earn_credit(struct comparison *cmp, int64_t now_ms) {
    double rate = (double)cmp->settings->rate, most = rate / RATE_SLICES + 1;
    cmp->credit += (double)(now_ms - cmp->credited_ms) * rate / 1000;
    if (cmp->credit > most) cmp->credit = most;
    cmp->credited_ms = now_ms;
}

static void feed_fresh(struct comparison *cmp, int64_t now_ms) {
    bool limited = cmp->settings->rate > 0;
    if (limited) earn_credit(cmp, now_ms);
    while (cmp->fresh.head != NULL && has_place(cmp) && cmp->suspects.bytes < SUSPECT_BYTES_MAX) {
        if (limited && cmp->credit < 1) return;
        size_t taken =
            exists_batch_start(cmp, &cmp->fresh, limited ? (size_t)cmp->credit : SIZE_MAX);
        if (taken == 0) {
            feed_one(cmp, name_queue_pop(&cmp->fresh));
            taken = 1;
        }
        if (limited) cmp->credit -= (double)taken;
    }
}

static void feed_all(struct comparison *cmp) {
    int64_t now_ms = clock_mono_ms();
    for (int side = 0; side < SIDES; side++)
        for (size_t i = 0; i < cmp->side[side].n_links; i++)
            cmp->side[side].links[i]->clock_asked = false;
    checks_let_in(cmp);
    feed_retries(cmp, now_ms);
    feed_suspects(cmp, now_ms);
    feed_fresh(cmp, now_ms);
    string_batches_flush(cmp);
    /* full ones cost fewer bytes per key */
    if (!passes_name_more(cmp) || !has_place(cmp)) digest_batches_flush(cmp);
    passes_feed(cmp);
}

/* ---- the run ---- */

static bool is_finished(const struct comparison *cmp) {
    return passes_are_over(cmp) && cmp->checks.n == 0 && cmp->fresh.n == 0 && cmp->retries.n == 0 &&
           cmp->suspects.n == 0 && !cmp->process_changed;
}

static int64_t wait_ms(const struct comparison *cmp) {
    const struct name *suspect = cmp->suspects.head;
    int64_t wait = ROUND_MS;
    if (cmp->passes.names_left && cmp->fresh.n == 0) wait = 1;
    if (cmp->retries.n > 0 || (cmp->settings->rate > 0 && cmp->fresh.n > 0)) wait = RETRY_ROUND_MS;
    if (suspect != NULL && cmp->watermark.us == 0 && suspect->due_ms - clock_mono_ms() < wait)
        wait = suspect->due_ms - clock_mono_ms();
    return wait < 1 ? 1 : wait;
}

static void compare_rounds(struct comparison *cmp, const volatile bool *stop) {
    while (comparison_goes_on(cmp) && !is_finished(cmp)) {
        if (stop != NULL && *stop) {
            struct err err;
            err_set(&err, ERR_INTERRUPTED, "", "%s", err_sentence(ERR_INTERRUPTED));
            comparison_fail(cmp, &err);
            return;
        }
        ask_watermark(cmp);
        feed_all(cmp);
        loop_rest(cmp->loop, window_rest_us(&cmp->pace, cmp->checks.n));
        loop_run_once(cmp->loop, wait_ms(cmp));
        sides_look_after(cmp);
        passes_next(cmp);
        if (cmp->progress != NULL) cmp->progress->different = cmp->different + cmp->suspects.n;
    }
}

static void fill_result(struct comparison *cmp) {
    struct compare_result *r = cmp->result;
    for (int side = 0; side < SIDES; side++) {
        for (unsigned slot = 0; slot < SLOT_COUNT; slot++) {
            const struct tally *t = &cmp->tally[side][slot];
            r->equal += t->equal;
            r->skipped += t->skipped;
            r->rechecked_away += t->away;
            r->moving += t->moving;
            r->unproved += t->unproved;
            r->uncopied += t->uncopied;
            r->absent += t->absent;
            for (int kind = 0; kind < DIFFERENCE_KINDS; kind++) r->count[kind] += t->kind[kind];
        }
    }
    if (r->target_keys < cmp->passes.keys_of[TARGET]) r->target_keys = cmp->passes.keys_of[TARGET];
    if (cmp->settings->sample > 0) r->sampled_of = cmp->passes.keys_of[SOURCE];
    r->keys = r->equal + compare_result_different(r) - r->count[DIFFERENCE_EXTRA];
}

/* No key of many was drawn: that proves nothing. */
static void compare_check_sample(struct comparison *cmp) {
    const struct compare_result *r = cmp->result;
    struct err err;
    if (cmp->settings->sample == 0 || r->sampled_of == 0) return;
    if (r->keys > 0 || r->moving > 0 || r->skipped > 0 || r->uncopied > 0) return;
    if (!filter_wants_all(cmp->settings->filter)) return;
    err_set(&err, ERR_USAGE, "--sample",
            "no key was drawn from about %llu; ask for a larger sample",
            (unsigned long long)r->sampled_of);
    comparison_fail(cmp, &err);
}

static void cleanup(struct comparison *cmp) {
    cmp->state = RUN_CLOSING;
    passes_end(cmp);
    links_close(cmp);
    checks_free(cmp);
    name_queue_clear(&cmp->fresh);
    name_queue_clear(&cmp->retries);
    name_queue_clear(&cmp->suspects);
    digest_set_free(&cmp->unreadable);
    for (int side = 0; side < SIDES; side++) free(cmp->tally[side]);
}

static struct comparison *comparison_new(struct deployment *source, struct deployment *target,
                                         const struct compare_settings *settings,
                                         struct compare_progress *progress,
                                         struct compare_result *result) {
    struct comparison *cmp = mem_zalloc(sizeof(*cmp));
    *result = (struct compare_result){ 0 };
    if (progress != NULL) *progress = (struct compare_progress){ 0 };
    cmp->settings = settings;
    cmp->loop = deployment_loop(source);
    cmp->progress = progress;
    cmp->result = result;
    cmp->estimate.string_score = STRING_SCORE_MAX;
    cmp->estimate.length = LENGTH_AT_FIRST;
    cmp->credited_ms = clock_mono_ms();
    window_init(&cmp->pace, (size_t)settings->pipeline, settings->buffer_bytes / 8);
    for (int side = 0; side < SIDES; side++)
        cmp->tally[side] = mem_zalloc(SLOT_COUNT * sizeof(struct tally));
    passes_init(cmp);
    passes_count(cmp, source, target);
    digest_batches_init(cmp);
    links_open(cmp, SOURCE, source);
    links_open(cmp, TARGET, target);
    return cmp;
}

bool compare_run(struct deployment *source, struct deployment *target,
                 const struct compare_settings *settings, struct compare_progress *progress,
                 const volatile bool *stop, struct compare_result *result, struct err *err) {
    int64_t started_ms = clock_mono_ms();
    struct comparison *cmp = comparison_new(source, target, settings, progress, result);
    links_await(cmp, stop);
    passes_start(cmp);
    compare_rounds(cmp, stop);
    fill_result(cmp);
    compare_check_sample(cmp);
    cleanup(cmp);
    result->duration_ms = clock_mono_ms() - started_ms;
    bool ok = cmp->fatal.code == ERR_NONE;
    if (!ok) *err = cmp->fatal;
    free(cmp);
    return ok;
}
