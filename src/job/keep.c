/* What a live job writes down: its record on the target and in its state directory, and the lease
 * that keeps a second writer away. Without a state directory the target's record is all there is,
 * and enough to go on from. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "live/live_priv.h"

static int target_db(const struct live *live) {
    int db = live->job->result->target_db;
    return db >= 0 ? db : 0;
}

static void make_owner_name(struct live *live) {
    char host[64] = "?";
    uint32_t chance = 0;
    gethostname(host, sizeof(host) - 1);
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance))
        chance = (uint32_t)clock_wall_us();
    snprintf(live->owner_name, sizeof(live->owner_name), "%s:%d:%08" PRIx32, host, (int)getpid(),
             chance);
}

static void describe(struct live *live, struct job_record *r) {
    const struct live_settings *s = live->settings;
    snprintf(r->source, sizeof(r->source), "%s", s->source);
    snprintf(r->target, sizeof(r->target), "%s", s->target);
    snprintf(r->settings, sizeof(r->settings), "%s", s->words);
    snprintf(r->owner, sizeof(r->owner), "%s", live->owner_name);
    if (s->name != NULL) {
        snprintf(r->job, sizeof(r->job), "%s", s->name);
    } else {
        record_make_job(r->job, s->source, s->target, s->words);
    }
}

static void on_wait(void *ctx, const char *holder) {
    struct live *live = ctx;
    log_warn("job", "%s does this job already; waiting as its standby", holder);
    keep_audit(live, "standby", "waits for %s", holder);
}

/* The newer one of what the target knows and what the state directory knows counts. The watermark
 * is the target's: it may have lost what the directory remembers. */
static bool read_target(struct live *live, const struct job_record *identity, struct err *err) {
    struct job_record record = { 0 };
    bool found;
    if (!job_store_read(live->job->target, target_db(live), identity->job, &record, &found, err))
        return false;
    if (!found) {
        if (live->resumed)
            log_warn("target", "it knows nothing of this job any more; everything is copied again");
        record_drop_proof(&live->record);
        return true;
    }
    bool known = live->resumed;
    live->resumed = true;
    if (!known || record.updated_us >= live->record.updated_us) {
        record_move(&live->record, &record);
    } else if (record.watermark_us < live->record.watermark_us) {
        record_take_proof(&live->record, &record);
    }
    record_fini(&record);
    return true;
}

static bool check_identity(const struct live *live, const struct job_record *mine,
                           struct err *err) {
    const struct job_record *r = &live->record;
    if (!live->resumed ||
        (strcmp(r->source, mine->source) == 0 && strcmp(r->target, mine->target) == 0 &&
         strcmp(r->settings, mine->settings) == 0))
        return true;
    return err_set(err, ERR_USAGE, "--job",
                   "job %s copies %s to %s (%s); give this one another name", mine->job, r->source,
                   r->target, r->settings);
}

static void take_over_record(struct live *live, const struct job_record *identity) {
    struct job_record *r = &live->record;
    if (!live->resumed) {
        record_copy(r, identity);
        return;
    }
    live->copied_before = r->copied;
    live->given_up_before = r->given_up;
    snprintf(r->owner, sizeof(r->owner), "%s", identity->owner);
    if (!r->copied_once && r->checkpoint_us > 0) {
        log_info("job", "goes on with its first copy");
    } else if (r->copied_once && r->watermark_us > 0) {
        log_info("job", "goes on from its last watermark, %" PRId64 " s ago",
                 (clock_wall_us() - r->watermark_us) / 1000000);
    } else {
        log_info("job", "was begun before; its first copy was not complete");
    }
}

/* The record before the lease is taken tells how long the former holder may write. */
static bool take_lease(struct live *live, const struct job_record *identity,
                       const char *predecessor, struct err *err) {
    struct job_record before = { 0 };
    bool found;
    if (!job_store_read(live->job->target, target_db(live), identity->job, &before, &found, err))
        return false;
    const struct lease_former former = { .dead_owner = predecessor,
                                         .dead_epoch = live->record.epoch,
                                         .lease_ms = found ? before.lease_ms : 0 };
    record_fini(&before);
    live->lease = lease_new(live->job->target, target_db(live), identity->job, live->owner_name,
                            live->settings->lease_ms);
    return lease_acquire(live->lease, &former, on_wait, live, &live->epoch, err);
}

bool keep_open(struct live *live, struct err *err) {
    struct job_record identity = { 0 };
    char predecessor[128] = "";
    make_owner_name(live);
    describe(live, &identity);
    if (live->settings->state_dir != NULL) {
        live->state = state_open(live->settings->state_dir, &identity, &live->record,
                                 &live->resumed, predecessor, err);
        if (live->state == NULL) return false;
    }
    if (!take_lease(live, &identity, predecessor, err)) return false;
    /* Read when nobody else writes any more. */
    if (!read_target(live, &identity, err) || !check_identity(live, &identity, err)) return false;
    take_over_record(live, &identity);
    live->record.epoch = live->epoch;
    live->record.lease_ms = live->settings->lease_ms;
    deployment_set_client_name(live->job->target, lease_client_name(live->lease));
    live->writer = record_writer_new(live->job->target, target_db(live), identity.job, live->lease);
    keep_audit(live, "started", "%s, lease %" PRIu64, live->owner_name, live->epoch);
    return true;
}

static void on_order(void *ctx, const struct order *order) {
    struct live *live = ctx;
    live->order[0] = *order;
}

static void follow_order(struct live *live, const struct order *order) {
    const struct job_record *r = &live->record;
    for (size_t i = 0; i < r->n_holds; i++) {
        if (strcmp(r->holds[i].id, order->hold) != 0) continue;
        atomic_store(&live->released, true);
        return;
    }
    log_warn("job", "order %s releases hold %s, which there is not; nothing is deleted", order->id,
             order->hold);
}

/* Recorded on every primary of the target and in the state directory, then followed, then removed. */
static void step_order(struct live *live) {
    struct err err;
    struct job_record *r = &live->record;
    if (live->state != NULL && live->order[1].id[0] == '\0')
        state_next_order(live->state, &live->order[1]);
    struct order *order = live->order[0].id[0] != '\0' ? &live->order[0] : &live->order[1];
    if (order->id[0] == '\0') return;
    if (strcmp(r->order_followed, order->id) != 0) {
        snprintf(r->order_followed, sizeof(r->order_followed), "%s", order->id);
        live->published_ms = 0;
        live->order_is_new = true;
    }
    if (!record_writer_has_written_order(live->writer, order->id) ||
        (live->state != NULL && !state_put(live->state, r, &err)))
        return;
    if (live->order_is_new) follow_order(live, order);
    live->order_is_new = false;
    if (order == &live->order[0]) order_reader_done(live->orders, order->id);
    if (order == &live->order[1]) state_remove_order(live->state, order->id, &err);
    order->id[0] = '\0';
}

static void on_lease_lost(void *ctx, const char *holder) {
    struct live *live = ctx;
    log_warn("job", "%s has taken the job over; nothing is written any more", holder);
    keep_audit(live, "lost", "to %s", holder);
    live->lease_lost = true;
}

void keep_start(struct live *live) {
    live->started = true;
    lease_start(live->lease, on_lease_lost, live);
    live->orders = order_reader_new(live->lease, live->record.order_followed, on_order, live);
}

/* ---- the record ---- */

static void fill_nodes(const struct live *live, struct job_record *r) {
    int64_t proved_us = live->copied_once      ? live->watermark_us
                        : r->checkpoint_us > 0 ? live_to_mono_us(r->checkpoint_us)
                                               : LIVE_NEVER;
    record_clear_nodes(r);
    for (const struct live_node *n = live->nodes; n != NULL; n = n->next) {
        int64_t passed_us = atomic_load(&((struct live_node *)n)->passed_us);
        if (n->run_id[0] == '\0' || n->run_id[0] == '?' || n->trust_round != 0) continue;
        struct record_node *to = record_add_node(r);
        to->evidence = json_object();
        address_format(&n->reader, to->address, sizeof(to->address));
        snprintf(to->run_id, sizeof(to->run_id), "%s", n->run_id);
        snprintf(to->replid, sizeof(to->replid), "%s", n->replid);
        to->watermark_us = passed_us == LIVE_NEVER ? 0 : live_to_wall_us(passed_us);
        if (n->taken.calls_known)
            json_object_set_new(to->evidence, "swaps",
                                json_integer((json_int_t)n->taken.calls[WATCH_SWAPDB]));
        if (n->quiet_since_us != LIVE_NO_GAP && n->quiet_since_us <= proved_us)
            json_object_set_new(to->evidence, "forks", json_integer((json_int_t)n->forks));
    }
}

static void fill_gaps(const struct live *live, struct job_record *r) {
    record_clear_gaps(r);
    record_clear_holds(r);
    if (live->limit_us != LIVE_NO_GAP) {
        const struct live_node *told = NULL;
        for (const struct live_node *n = live->nodes; n != NULL; n = n->next)
            if (n->gap_why[0] != '\0' && (told == NULL || n->gap_open)) told = n;
        struct record_gap *gap = record_add_gap(r);
        gap->since_us = live->limit_us == LIVE_NEVER ? 0 : live_to_wall_us(live->limit_us);
        snprintf(gap->place, sizeof(gap->place), "source");
        if (told != NULL) address_format(&told->reader, gap->place, sizeof(gap->place));
        snprintf(gap->why, sizeof(gap->why), "%s",
                 told != NULL ? told->gap_why : "keys are deleted on the target");
    }
    if (slot_set_count(&live->behind.held) > 0) {
        struct record_hold *hold = record_add_hold(r);
        snprintf(hold->id, sizeof(hold->id), "%s", live->hold_id);
        snprintf(hold->cause, sizeof(hold->cause), "sweep");
        hold->deletions = live->behind.hold_gone;
        hold->seen = live->behind.hold_seen;
        snprintf(hold->place, sizeof(hold->place), "%s", r->target);
        snprintf(hold->why, sizeof(hold->why),
                 "more keys are gone on the source than --max-delete allows");
    }
}

static void fill_counts(struct live *live) {
    struct job_record *r = &live->record;
    struct copy_stats sum;
    job_sum_stats(live->job, &sum);
    r->updated_us = clock_wall_us();
    r->copied = live->copied_before + stat_get(&sum.copied);
    r->deleted = stat_get(&sum.vanished);
    r->given_up = live->given_up_before + giveup_count(live->job->result->giveup);
    r->waiting = stat_get(&sum.waiting);
}

static void name_hold(struct live *live) {
    bool held = slot_set_count(&live->behind.held) > 0;
    if (!held) live->hold_id[0] = '\0';
    if (held && live->hold_id[0] == '\0')
        snprintf(live->hold_id, sizeof(live->hold_id), "%" PRIu64 "-%" PRId64, live->epoch,
                 clock_wall_us());
}

void keep_fill(struct live *live) {
    struct job_record *r = &live->record;
    fill_counts(live);
    name_hold(live);
    r->copied_once = live->copied_once;
    r->only = live->settings->only;
    /* A watermark that was there stays until this run has one of its own. */
    if (live->watermark_us != LIVE_NEVER) {
        r->watermark_us = live_to_wall_us(live->watermark_us);
    } else if (!live->copied_once || live->limit_us == LIVE_NEVER) {
        r->watermark_us = 0;
    }
    r->epoch = live->epoch;
    r->lag_p50_us = (int64_t)hist_percentile(live->lag, 50);
    r->lag_p99_us = (int64_t)hist_percentile(live->lag, 99);
    r->lag_max_us = (int64_t)hist_max(live->lag);
    r->gather_ms = atomic_load(&live->gather_ms);
    fill_nodes(live, r);
    fill_gaps(live, r);
}

static void tell_trouble(struct live *live, bool ok, const struct err *err) {
    if (!ok && !live->state_trouble)
        log_warn(err->place, "%s; the job goes on, the target keeps its record", err->text);
    if (ok && live->state_trouble) log_info("state", "written again");
    live->state_trouble = !ok;
}

void keep_step(struct live *live) {
    int64_t now_ms = clock_mono_ms();
    struct err err;
    step_order(live);
    if (now_ms - live->published_ms < LIVE_PUBLISH_MS) return;
    live->published_ms = now_ms;
    keep_fill(live);
    snprintf(live->record.phase, sizeof(live->record.phase), "%s", live->phase);
    /* A server that comes back without what it had must not be told that it has it. */
    record_writer_put(live->writer, live_target_is_silent(live) ? NULL : &live->record);
    if (live->state == NULL || now_ms - live->stated_ms < LIVE_STATE_MS) return;
    live->stated_ms = now_ms;
    tell_trouble(live, state_put(live->state, &live->record, &err), &err);
}

void keep_audit(struct live *live, const char *event, const char *format, ...) {
    char text[512];
    struct err err;
    va_list args;
    if (live->state == NULL) return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    tell_trouble(live, state_audit(live->state, event, text, &err), &err);
}

static void write_given_up(struct live *live) {
    struct err err;
    const struct giveup *giveup = live->job->result->giveup;
    for (size_t i = 0; live->state != NULL && i < giveup_kept(giveup); i++) {
        const struct giveup_key *key = giveup_at(giveup, i);
        tell_trouble(live,
                     state_give_up(live->state, key->db, bytes_of_str(key->key), key->reason, &err),
                     &err);
    }
}

/* phase: NULL when somebody else keeps the record now. */
void keep_end(struct live *live, const char *phase) {
    struct err err;
    if (!live->started) return;
    live->started = false;
    fill_counts(live);
    if (phase != NULL) snprintf(live->record.phase, sizeof(live->record.phase), "%s", phase);
    bool told = phase != NULL && !live->target_was_silent;
    int64_t timeout_ms = deployment_reply_timeout_ms(live->job->target);
    order_reader_free(&live->orders);
    if (!told) record_writer_put(live->writer, NULL);
    record_writer_end(live->writer, told ? &live->record : NULL, timeout_ms);
    lease_give_back(live->lease, timeout_ms);
    if (live->state != NULL && phase != NULL)
        tell_trouble(live, state_put(live->state, &live->record, &err), &err);
    write_given_up(live);
    keep_audit(live, "ended", "%s", phase != NULL ? phase : "taken over");
}

void keep_close(struct live *live) {
    deployment_set_client_name(live->job->target, NULL);
    order_reader_free(&live->orders);
    record_writer_free(&live->writer);
    lease_free(&live->lease);
    state_close(&live->state);
    record_fini(&live->record);
    record_fini(&live->begun);
    record_fini(&live->checkpoint.noted);
}
