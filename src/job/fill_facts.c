/* The one place where a job's figures are filled; see facts.h. */
#include "base/clock.h"
#include "job/job_priv.h"
#include "job/journal.h"

static void facts_take_stats(struct job *job, struct facts *f) {
    struct copy_stats sum;
    engine_sum_stats(job->engine, &sum);
    int64_t copied = 0, deleted = 0, given_up = 0;
    if (job->journal != NULL) {
        copied = journal_copied_before(job->journal);
        deleted = journal_deleted_before(job->journal);
        given_up = journal_given_up_before(job->journal);
    }
    f->copied = copied + (int64_t)stat_get(&sum.copied);
    f->deleted = deleted + (int64_t)stat_get(&sum.vanished);
    f->given_up = given_up + (int64_t)giveup_count(job->result->giveup);
    f->skipped = (int64_t)stat_get(&sum.skipped);
    f->unchanged = (int64_t)stat_get(&sum.unchanged);
    f->waiting = (int64_t)stat_get(&sum.waiting);
    f->bytes = (int64_t)stat_get(&sum.bytes);
    f->scanned = (int64_t)engine_scanned(job->engine);
    f->keys_total = (int64_t)job->keys_total;
    job->result->stats = sum;
}

static void facts_take_live(struct job *job, struct facts *f) {
    struct live_state s = live_look(job->live);
    bool known = !moment_is_never(s.watermark);
    f->live = true;
    f->phase = phase_of(&s);
    f->watermark_us = known ? s.watermark.wall_us : 0;
    f->source_time_us = s.source_time_us;
    f->lag_us = known ? clock_boot_us() - s.watermark.boot_us : -1;
    f->lag_p50_us = s.lag.p50_us;
    f->lag_p99_us = s.lag.p99_us;
    f->lag_max_us = s.lag.max_us;
    f->lag_minute_max_us = s.lag.minute_max_us;
    f->lag_hour_max_us = s.lag.hour_max_us;
    f->gather_ms = s.gather_ms;
    f->gaps = (int64_t)s.gaps_opened;
    f->extra_keys = (int64_t)s.extra_keys;
    f->target_evicted = (int64_t)s.target_evicted;
    f->deletions_held = 0;
    for (size_t i = 0; i < s.n_holds; i++) f->deletions_held += (int64_t)s.holds[i].deletions;
}

void job_fill_facts(struct job *job) {
    struct facts *f = &job->result->facts;
    if (job->engine != NULL) facts_take_stats(job, f);
    if (job->live != NULL) facts_take_live(job, f);
}
