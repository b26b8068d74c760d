/* See journal.h. */
#include "job/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "job/others.h"
#include "job/side_ids.h"
#include "probe/sides.h"
#include "store/extra_store.h"
#include "store/job_store.h"
#include "store/lease.h"
#include "store/node_record.h"
#include "store/orders.h"
#include "store/record_writer.h"
#include "store/role.h"
#include "store/state.h"

enum {
    JOURNAL_PUBLISH_MS = 250, /* between two records handed to the writer */
    JOURNAL_STATE_MS = 2000   /* between two records written into the state directory */
};

struct journal {
    struct job *job;
    struct state *state; /* NULL: none */
    struct lease *lease;
    struct record_writer *writer;
    struct order_reader *orders;
    struct job_record record; /* as it was found, then as it was put last */
    struct others others;
    bool resumed, started, state_trouble;
    char owner[RECORD_OWNER_MAX];
    uint64_t epoch;
    int64_t copied_before, deleted_before, given_up_before;
    int64_t published_ms, stated_ms;
    enum phase phase;
    struct live_memory memory;
    struct order order; /* recorded as followed, to be followed */
    bool order_waits, order_of_state;
    struct event_observer audit;
};

static int journal_db(const struct journal *j) {
    int db = j->job->result->target_db;
    return db >= 0 ? db : 0;
}

/* ---- events ---- */

static void journal_tell_state(struct journal *j, bool ok, const struct err *err) {
    if (!ok && !j->state_trouble)
        log_warn(err->place, "%s; the job goes on, the target keeps its record", err->text);
    if (ok && j->state_trouble) log_info("state", "the state directory is written again");
    j->state_trouble = !ok;
}

static void on_event(void *ctx, enum event_id id, const char *place, const char *text) {
    struct journal *j = ctx;
    const struct event_row *row = event_row(id);
    struct err err;
    if (j->state == NULL || !row->audit) return;
    char *line = mem_printf("%s: %s", place, text);
    journal_tell_state(j, state_audit(j->state, row->name, line, &err), &err);
    free(line);
}

/* ---- the identity of the job ---- */

static void make_owner_name(char owner[RECORD_OWNER_MAX]) {
    char host[64] = "?";
    uint32_t chance = 0;
    gethostname(host, sizeof(host) - 1);
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) != (ssize_t)sizeof(chance))
        chance = (uint32_t)clock_wall_us();
    snprintf(owner, RECORD_OWNER_MAX, "%s:%d:%08" PRIx32, host, (int)getpid(), chance);
}

static void journal_describe(struct journal *j, struct job_record *r) {
    const struct live_settings *s = j->job->settings->live;
    const struct job_purpose *purpose = &j->job->settings->purpose;
    snprintf(r->source, sizeof(r->source), "%s", purpose->source);
    snprintf(r->target, sizeof(r->target), "%s", purpose->target);
    snprintf(r->settings, sizeof(r->settings), "%s", s->words);
    snprintf(r->owner, sizeof(r->owner), "%s", j->owner);
    r->lease_ms = s->lease_ms;
    record_set_scope(r, purpose->scope);
}

bool journal_supersede(struct journal *j, struct err *err) {
    return others_supersede(&j->others, j->job->target, err);
}

/* The name of the job: as the user gave it, as it was recorded under another spelling of the end
 * points, or made from these and from the scope. */
static bool journal_find_job(struct journal *j, struct job_record *me, struct err *err) {
    const struct live_settings *s = j->job->settings->live;
    const struct job_identity identity = { .job = s->name,
                                           .source = me->source,
                                           .target = me->target,
                                           .scope = me->scope,
                                           .source_ids = &me->source_ids,
                                           .target_ids = &me->target_ids,
                                           .beside = j->job->settings->purpose.beside };
    if (!others_check(j->job->source, j->job->target, &identity, &j->others, err)) return false;
    if (s->name != NULL) {
        snprintf(me->job, sizeof(me->job), "%s", s->name);
    } else if (j->others.own[0] != '\0') {
        snprintf(me->job, sizeof(me->job), "%s", j->others.own);
    } else {
        record_make_job(me->job, me->source, me->target, me->scope);
    }
    return true;
}

static bool journal_check_role(struct journal *j, const struct job_record *me, struct err *err) {
    struct role_record role = { 0 };
    bool found;
    if (!role_read(j->job->target, &role, &found, err)) return false;
    return !found || role_check_target(&role, me->target, err);
}

/* ---- the records of former runs ---- */

static void on_wait(void *ctx, const char *holder) {
    struct journal *j = ctx;
    j->resumed = true;
    event_raise(&j->job->events, EVENT_STANDBY, "job",
                "%s does this job already; waiting as its standby", holder);
}

/* The target's record counts as a whole: the state directory may remember writes that the target
 * has lost, or be a copy of another time. */
static bool journal_read_target(struct journal *j, const char *job, struct err *err) {
    struct job_record record = { 0 };
    bool found, known = j->record.job[0] != '\0';
    if (!job_store_read(j->job->target, journal_db(j), job, &record, &found, err)) return false;
    j->resumed = found || known;
    if (found) {
        record_move(&j->record, &record);
    } else if (known) {
        log_warn("target", "job record missing on the target: starting a full copy");
        record_drop_proof(&j->record);
    }
    record_fini(&record);
    return true;
}

static void memory_take_holds(struct live_memory *m, const struct job_record *r) {
    m->holds = mem_array(NULL, r->n_holds + 1, sizeof(*m->holds));
    for (size_t i = 0; i < r->n_holds; i++) {
        const struct record_hold *from = &r->holds[i];
        struct hold *to = &m->holds[m->n_holds];
        struct err ignored;
        *to = (struct hold){ .deletions = from->deletions,
                             .seen = from->seen,
                             .since = moment_of_wall(from->since_us) };
        to->cause = strcmp(from->cause, "extra") == 0 ? HOLD_EXTRA : HOLD_MISSING;
        snprintf(to->id, sizeof(to->id), "%s", from->id);
        snprintf(to->place, sizeof(to->place), "%.*s", (int)sizeof(to->place) - 1, from->place);
        if (from->slots == NULL) slot_set_add_range(&to->slots, 0, SLOT_COUNT - 1);
        if (from->slots != NULL && !slot_set_parse(&to->slots, from->slots, "record", &ignored))
            slot_set_add_range(&to->slots, 0, SLOT_COUNT - 1);
        m->n_holds++;
    }
}

static void memory_take_cursors(struct live_memory *m, const struct job_record *r) {
    m->cursors = mem_array(NULL, r->n_cursors + 1, sizeof(*m->cursors));
    for (size_t i = 0; i < r->n_cursors; i++) {
        const struct record_cursor *from = &r->cursors[i];
        struct checkpoint_cursor *to = &m->cursors[m->n_cursors++];
        *to = (struct checkpoint_cursor){ .db = (int)from->db, .slots = from->slots };
        snprintf(to->address, sizeof(to->address), "%.*s", (int)sizeof(to->address) - 1,
                 from->address);
        snprintf(to->run_id, sizeof(to->run_id), "%.*s", (int)sizeof(to->run_id) - 1, from->run_id);
        snprintf(to->cursor, sizeof(to->cursor), "%.*s", (int)sizeof(to->cursor) - 1, from->cursor);
    }
}

/* Evidence of a record: addresses and values are owned by the list. */
static struct follow_base *take_base(const struct job_record *r, size_t *n) {
    struct follow_base *base = mem_array(NULL, r->n_nodes + 1, sizeof(*base));
    *n = 0;
    for (size_t i = 0; i < r->n_nodes; i++) {
        struct evidence *e = mem_zalloc(sizeof(*e));
        if (r->nodes[i].evidence == NULL || !evidence_from_json(e, r->nodes[i].evidence)) {
            free(e);
            continue;
        }
        base[(*n)++] = (struct follow_base){ mem_strdup(r->nodes[i].address), e };
    }
    return base;
}

/* The recorded moment by the clock that goes on while this machine sleeps, where it is the same
 * machine that recorded it; else by the wall clocks. Evidence is from before the watermark. */
static struct moment moment_of_record(int64_t wall_us, const struct follow_base *base, size_t n) {
    char boot_id[EVIDENCE_BOOT_ID_MAX];
    struct moment at = moment_of_wall(wall_us);
    evidence_boot_id(boot_id);
    for (size_t i = 0; i < n; i++) {
        const struct evidence *e = base[i].evidence;
        bool same = boot_id[0] != '\0' && strcmp(e->boot_id, boot_id) == 0;
        if (same && e->asked_boot_us < at.boot_us) at.boot_us = e->asked_boot_us;
    }
    return at;
}

static void memory_take_counts(struct live_memory *m, const struct job_record *r) {
    m->counts = mem_array(NULL, r->n_targets + 1, sizeof(*m->counts));
    for (size_t i = 0; i < r->n_targets; i++) {
        const struct record_target *from = &r->targets[i];
        struct target_counts *to = &m->counts[m->n_counts++];
        *to = (struct target_counts){ .evicted = from->evicted,
                                      .flushes = from->flushes,
                                      .swaps = from->swaps,
                                      .incomplete = from->incomplete };
        snprintf(to->run_id, sizeof(to->run_id), "%s", from->run_id);
    }
}

static void journal_remember(struct journal *j) {
    const struct job_record *r = &j->record;
    struct live_memory *m = &j->memory;
    m->resumed = j->resumed;
    m->census_done = j->resumed && (r->census_done || r->copied_once || r->checkpoint_us > 0);
    m->copied_once = r->copied_once && (!r->only || j->job->settings->live->only);
    m->since = MOMENT_NEVER;
    m->base = take_base(r, &m->n_base);
    int64_t since_us = m->copied_once ? r->watermark_us : r->checkpoint_us;
    if (since_us > 0) m->since = moment_of_record(since_us, m->base, m->n_base);
    if (!m->copied_once) memory_take_cursors(m, r);
    memory_take_holds(m, r);
    if (m->resumed) memory_take_counts(m, r);
    j->copied_before = (int64_t)r->copied;
    j->deleted_before = (int64_t)r->deleted;
    j->given_up_before = (int64_t)r->given_up;
}

static void journal_tell_start(const struct journal *j) {
    const struct job_record *r = &j->record;
    if (!j->resumed) return;
    if (j->memory.copied_once && r->watermark_us > 0) {
        log_info("job", "resumes at its last watermark, %" PRId64 " s ago",
                 (clock_wall_us() - r->watermark_us) / 1000000);
    } else if (j->memory.n_cursors > 0) {
        log_info("job", "resumes its first copy");
    } else if (r->only && !j->job->settings->live->only) {
        log_info("job", "was started with --mode liveonly: the first copy is made now");
    } else {
        log_info("job", "was begun before; its first copy was not complete");
    }
}

/* ---- opening ---- */

static bool journal_take_lease(struct journal *j, const char *job, const char *dead_owner,
                               struct err *err) {
    const struct live_settings *s = j->job->settings->live;
    struct job_record former = { 0 };
    bool found;
    if (!job_store_read(j->job->target, journal_db(j), job, &former, &found, err)) return false;
    bool first = !found && j->record.job[0] == '\0';
    if (first && !sides_check_target_role(j->job->target, err)) return false;
    struct lease_former known = { .dead_owner = dead_owner,
                                  .dead_epoch = j->record.epoch,
                                  .lease_ms = former.lease_ms };
    record_fini(&former);
    j->lease = lease_new(j->job->target, journal_db(j), job, j->owner, s->lease_ms);
    return lease_acquire(j->lease, &known, on_wait, j, &j->epoch, err);
}

static bool journal_open_as(struct journal *j, struct job_record *me, struct err *err) {
    const struct live_settings *s = j->job->settings->live;
    char dead_owner[RECORD_OWNER_MAX] = "";
    bool found = false;
    if (!journal_find_job(j, me, err)) return false;
    if (s->state_dir != NULL) {
        j->state = state_open(s->state_dir, me, &j->record, &found, dead_owner, err);
        if (j->state == NULL) return false;
    }
    if (!journal_take_lease(j, me->job, dead_owner, err)) return false;
    /* Read when nobody else writes any more. */
    if (!journal_check_role(j, me, err) || !journal_read_target(j, me->job, err)) return false;
    journal_remember(j);
    journal_tell_start(j);
    if (!j->resumed) record_copy(&j->record, me);
    return true;
}

static void journal_take_over(struct journal *j, const struct job_record *me) {
    struct job_record *r = &j->record;
    snprintf(r->owner, sizeof(r->owner), "%s", me->owner);
    snprintf(r->settings, sizeof(r->settings), "%s", me->settings);
    record_set_scope(r, me->scope);
    r->lease_ms = me->lease_ms;
    r->epoch = j->epoch;
    record_ids_clear(&r->source_ids);
    record_ids_clear(&r->target_ids);
    for (size_t i = 0; i < me->source_ids.n; i++)
        record_ids_add(&r->source_ids, me->source_ids.list[i]);
    for (size_t i = 0; i < me->target_ids.n; i++)
        record_ids_add(&r->target_ids, me->target_ids.list[i]);
}

struct journal *journal_open(struct job *job, struct err *err) {
    struct journal *j = mem_zalloc(sizeof(*j));
    struct job_record me = { 0 };
    j->job = job;
    j->phase = PHASE_STARTING;
    j->audit = (struct event_observer){ .fn = on_event, .ctx = j };
    event_observe(&job->events, &j->audit);
    make_owner_name(j->owner);
    journal_describe(j, &me);
    bool ok = side_ids_ask(job->source, &me.source_ids, err) &&
              side_ids_ask(job->target, &me.target_ids, err) && journal_open_as(j, &me, err);
    if (ok) {
        journal_take_over(j, &me);
        j->writer = record_writer_new(job->target, journal_db(j), me.job, j->lease);
        deployment_set_client_name(job->target, lease_client_name(j->lease));
        event_raise(&job->events, EVENT_STARTED, "job", "started by %s, lease %" PRIu64, j->owner,
                    j->epoch);
    }
    record_fini(&me);
    if (!ok) journal_free(&j);
    return j;
}

bool journal_is_resumed(const struct journal *j) {
    return j->resumed;
}

const struct live_memory *journal_memory(const struct journal *j) {
    return &j->memory;
}

uint64_t journal_epoch(const struct journal *j) {
    return j->epoch;
}

const char *journal_job(const struct journal *j) {
    return j->record.job;
}

int64_t journal_copied_before(const struct journal *j) {
    return j->copied_before;
}

int64_t journal_deleted_before(const struct journal *j) {
    return j->deleted_before;
}

int64_t journal_given_up_before(const struct journal *j) {
    return j->given_up_before;
}

/* ---- hooks of the live job ---- */

bool journal_load_extra(struct journal *j, struct extra *extra, struct err *err) {
    char *data = NULL;
    size_t len = 0;
    bool found;
    if (!j->resumed) return true;
    if (!extra_store_read(j->job->target, journal_db(j), j->record.job, &data, &len, &found, err))
        return false;
    bool known = found ? extra_from_bytes(extra, bytes_of(data, len)) : j->record.extra_keys == 0;
    if (!known) {
        log_warn("target",
                 "the list of the target's %" PRIu64 " keys that this job never copied is lost: "
                 "deletions that a break hides are HELD until longhaul resume",
                 j->record.extra_keys);
        extra_forget(extra, j->record.extra_keys);
    }
    free(data);
    return true;
}

static bool on_save_extra(void *ctx, const struct extra *extra) {
    struct journal *j = ctx;
    char *data;
    struct err err;
    size_t len = extra_to_bytes(extra, &data);
    bool ok = lease_may_write(j->lease) &&
              extra_store_write(j->job->target, journal_db(j), j->record.job, data, len, &err);
    free(data);
    if (!ok) return false;
    j->record.census_done = true;
    j->record.extra_keys = extra_count(extra);
    return ok;
}

static bool on_read_target_record(void *ctx, const struct address *node,
                                  struct target_record *out) {
    struct journal *j = ctx;
    struct job_record record = { 0 };
    struct err err;
    *out = (struct target_record){ .watermark = MOMENT_NEVER };
    if (!node_record_read(j->job->target, journal_db(j), j->record.job, node, &record, &out->found,
                          &err)) {
        log_debug(err.place, "the job's record cannot be read: %s", err.text);
        return false;
    }
    if (out->found) out->base = take_base(&record, &out->n_base);
    if (out->found && record.watermark_us > 0 && record.copied_once)
        out->watermark = moment_of_record(record.watermark_us, out->base, out->n_base);
    record_fini(&record);
    return true;
}

static void on_release_target_record(void *ctx, struct target_record *record) {
    follow_base_free(record->base, record->n_base);
    record->base = NULL;
    record->n_base = 0;
}

static void on_allow_target_record(void *ctx, const struct address *node, const char *run_id) {
    struct journal *j = ctx;
    record_writer_allow(j->writer, node, run_id);
}

static void on_target_silent(void *ctx) {
    struct journal *j = ctx;
    record_writer_put(j->writer, NULL);
}

static bool on_may_write(void *ctx) {
    const struct journal *j = ctx;
    return lease_may_write(j->lease);
}

void journal_fill_hooks(struct journal *j, struct live_hooks *hooks) {
    hooks->save_extra = on_save_extra;
    hooks->read_target_record = on_read_target_record;
    hooks->release_target_record = on_release_target_record;
    hooks->allow_target_record = on_allow_target_record;
    hooks->on_target_silent = on_target_silent;
    hooks->may_write = on_may_write;
    hooks->ctx = j;
}

/* ---- the record ---- */

/* As a record tells times: 0: none. */
static int64_t recorded_us(struct moment at) {
    return moment_is_never(at) ? 0 : at.wall_us;
}

static struct record_node *add_node(struct job_record *r, const char *address, const char *run_id,
                                    const char *replid, const struct evidence *evidence) {
    struct record_node *to = record_add_node(r);
    snprintf(to->address, sizeof(to->address), "%s", address);
    snprintf(to->run_id, sizeof(to->run_id), "%s", run_id);
    snprintf(to->replid, sizeof(to->replid), "%s", replid);
    to->evidence = evidence_to_json(evidence);
    return to;
}

static void add_live_node(void *ctx, const struct follow_view *view) {
    if (view->evidence == NULL) return;
    add_node(ctx, view->address, view->run_id, view->replid, view->evidence)->watermark_us =
        recorded_us(view->passed);
}

/* Of a first copy: the evidence that belongs to its checkpoint. */
static void fill_checkpoint(struct job_record *r, const struct checkpoint_view *c) {
    r->checkpoint_us = recorded_us(c->at);
    record_clear_cursors(r);
    record_clear_nodes(r);
    for (size_t i = 0; i < c->n_base; i++) {
        const struct evidence *e = c->base[i].evidence;
        add_node(r, c->base[i].address, e->run_id, e->replid, e);
    }
    for (size_t i = 0; i < c->n_cursors; i++) {
        const struct checkpoint_cursor *from = &c->cursors[i];
        struct record_cursor *to = record_add_cursor(r);
        to->db = from->db;
        to->slots = from->slots;
        snprintf(to->address, sizeof(to->address), "%s", from->address);
        snprintf(to->run_id, sizeof(to->run_id), "%s", from->run_id);
        snprintf(to->cursor, sizeof(to->cursor), "%s", from->cursor);
    }
}

/* Fills in the proof together with the evidence of its moment. The proof of a former run stays
 * until this run has one of its own. */
static void fill_proof(struct journal *j, const struct live_state *s) {
    struct job_record *r = &j->record;
    bool first_copy = !s->copied_once;
    r->copied_once = s->copied_once;
    r->only = j->job->settings->live->only && !(j->memory.copied_once && !r->only);
    if (first_copy && (!moment_is_never(s->checkpoint.at) || j->memory.n_cursors == 0)) {
        fill_checkpoint(r, &s->checkpoint);
        r->watermark_us = r->source_time_us = 0;
    }
    if (!first_copy && s->nothing) record_drop_proof(r);
    if (first_copy || moment_is_never(s->watermark)) return;
    r->checkpoint_us = 0;
    record_clear_cursors(r);
    record_clear_nodes(r);
    live_each_node(j->job->live, add_live_node, r);
    r->watermark_us = s->watermark.wall_us;
    r->source_time_us = s->source_time_us;
}

static void add_target_counts(void *ctx, const struct target_counts *counts) {
    struct record_target *to = record_add_target(ctx);
    snprintf(to->run_id, sizeof(to->run_id), "%s", counts->run_id);
    to->evicted = counts->evicted;
    to->flushes = counts->flushes;
    to->swaps = counts->swaps;
    to->incomplete = counts->incomplete;
}

/* The former ones stay until every primary has answered. */
static void fill_target_counts(struct journal *j) {
    struct job_record now = { 0 };
    if (!live_each_target_counts(j->job->live, add_target_counts, &now)) return;
    record_clear_targets(&j->record);
    j->record.targets = now.targets;
    j->record.n_targets = now.n_targets;
}

static void fill_gaps(struct journal *j) {
    struct job_record *r = &j->record;
    struct ledger_view view;
    record_clear_gaps(r);
    for (size_t i = 0; live_explain_gap(j->job->live, i, &view); i++) {
        struct record_gap *gap = record_add_gap(r);
        gap->since_us = recorded_us(view.since);
        gap->slots = view.slots;
        snprintf(gap->place, sizeof(gap->place), "%s", view.place);
        snprintf(gap->why, sizeof(gap->why), "%s", view.why);
    }
}

static void fill_holds(struct journal *j, const struct live_state *s) {
    struct job_record *r = &j->record;
    record_clear_holds(r);
    for (size_t i = 0; i < s->n_holds; i++) {
        const struct hold *from = &s->holds[i];
        struct record_hold *to = record_add_hold(r);
        to->deletions = from->deletions;
        to->seen = from->seen;
        to->since_us = from->since.wall_us;
        to->slots = slot_set_format(&from->slots);
        snprintf(to->id, sizeof(to->id), "%s", from->id);
        snprintf(to->place, sizeof(to->place), "%s", from->place);
        snprintf(to->cause, sizeof(to->cause), "%s",
                 from->cause == HOLD_EXTRA ? "extra" : "missing");
        snprintf(to->why, sizeof(to->why), "%s",
                 from->cause == HOLD_EXTRA
                     ? "the target has keys that the source does not have and the job never copied"
                     : "more keys are missing on the source than --max-delete allows");
    }
}

static void fill_counts(struct journal *j) {
    struct job_record *r = &j->record;
    job_fill_facts(j->job);
    const struct facts *f = &j->job->result->facts;
    r->updated_us = clock_wall_us();
    r->epoch = j->epoch;
    r->copied = (uint64_t)f->copied;
    r->deleted = (uint64_t)f->deleted;
    r->given_up = (uint64_t)f->given_up;
    r->waiting = (uint64_t)f->waiting;
    r->extra_keys = (uint64_t)f->extra_keys;
    r->target_evicted = (uint64_t)f->target_evicted;
    r->lag.p50_us = f->lag_p50_us;
    r->lag.p99_us = f->lag_p99_us;
    r->lag.max_us = f->lag_max_us;
    r->lag.minute_max_us = f->lag_minute_max_us;
    r->lag.hour_max_us = f->lag_hour_max_us;
    r->gather_ms = f->gather_ms;
}

/* A side that does not answer, in the words of the log. */
static void fill_trouble(struct journal *j) {
    struct record_trouble *t = &j->record.trouble;
    const struct job *job = j->job;
    const struct sight *sights[] = { job->source_sight, job->target_sight };
    int64_t since_us = t->since_us;
    *t = (struct record_trouble){ 0 };
    for (size_t i = 0; i < 2 && t->text[0] == '\0'; i++) {
        const struct err *err = sight_last_error(sights[i]);
        if (sight_down_since_ms(sights[i]) == 0) continue;
        snprintf(t->place, sizeof(t->place), "%s", err->place);
        snprintf(t->text, sizeof(t->text), "%.*s", (int)sizeof(t->text) - 1, err->text);
        t->since_us = since_us > 0 ? since_us : clock_wall_us();
    }
}

static void fill_record(struct journal *j, const struct live_state *s) {
    j->phase = phase_of(s);
    snprintf(j->record.phase, sizeof(j->record.phase), "%s", phase_word(j->phase));
    fill_counts(j);
    side_ids_refresh(j->job, &j->record);
    fill_proof(j, s);
    fill_target_counts(j);
    fill_gaps(j);
    fill_holds(j, s);
    fill_trouble(j);
}

void journal_fill(struct journal *j) {
    struct live_state s = live_look(j->job->live);
    fill_record(j, &s);
}

/* ---- orders ---- */

static void on_order(void *ctx, const struct order *order) {
    struct journal *j = ctx;
    if (j->order_waits) return;
    j->order = *order;
    j->order_waits = true;
    j->order_of_state = false;
    snprintf(j->record.order_followed, sizeof(j->record.order_followed), "%s", order->id);
    j->published_ms = 0;
}

static void journal_follow_order(struct journal *j) {
    if (j->order.kind == ORDER_RELEASE && !live_release(j->job->live, j->order.hold))
        log_warn("job", "an order to release hold %s is ignored: there is no such hold",
                 j->order.hold);
    j->order_waits = false;
    j->published_ms = 0;
}

/* Recorded before it is followed: a process that is killed in between does not follow it twice. */
static void journal_step_orders(struct journal *j) {
    struct err err;
    if (!j->order_waits && j->state != NULL && state_next_order(j->state, &j->order)) {
        on_order(j, &j->order);
        j->order_of_state = true;
    }
    if (!j->order_waits || !record_writer_has_written_order(j->writer, j->order.id)) return;
    if (j->state != NULL && !state_put(j->state, &j->record, &err)) {
        journal_tell_state(j, false, &err);
        return;
    }
    journal_follow_order(j);
    if (j->order_of_state) {
        journal_tell_state(j, state_remove_order(j->state, j->order.id, &err), &err);
    } else {
        order_reader_done(j->orders, j->order.id);
    }
}

/* ---- rounds ---- */

static void on_lease_lost(void *ctx, const char *holder) {
    struct journal *j = ctx;
    event_raise(&j->job->events, EVENT_LOST, "job",
                "%s has taken the job over; nothing is written any more", holder);
    j->job->lease_lost = true;
}

static void on_record_gone(void *ctx, uint16_t slot) {
    struct journal *j = ctx;
    if (j->started) live_target_lost(j->job->live, slot);
}

void journal_start(struct journal *j) {
    j->started = true;
    lease_start(j->lease, on_lease_lost, j);
    lease_watch_gone(j->lease, on_record_gone, j);
    record_writer_watch_gone(j->writer, on_record_gone, j);
    j->orders = order_reader_new(j->lease, j->record.order_followed, on_order, j);
}

/* While a node of the target is silent, the record on the target is not written: the node may come
 * back without some of its writes, and the record would say that it has them. */
static void journal_publish(struct journal *j) {
    struct live_state s = live_look(j->job->live);
    struct err err;
    int64_t now_ms = clock_mono_ms();
    if (phase_of(&s) != j->phase) j->published_ms = 0;
    if (now_ms - j->published_ms < JOURNAL_PUBLISH_MS) return;
    j->published_ms = now_ms;
    fill_record(j, &s);
    record_writer_put(j->writer, s.target_silent ? NULL : &j->record);
    if (j->state == NULL || now_ms - j->stated_ms < JOURNAL_STATE_MS) return;
    j->stated_ms = now_ms;
    journal_tell_state(j, state_put(j->state, &j->record, &err), &err);
}

void journal_step(struct journal *j) {
    journal_step_orders(j);
    journal_publish(j);
}

void journal_topology_changed(struct journal *j) {
    lease_update_topology(j->lease);
    record_writer_update_topology(j->writer);
}

/* ---- the end ---- */

static void journal_write_given_up(struct journal *j) {
    struct err err;
    const struct giveup *giveup = j->job->result->giveup;
    for (size_t i = 0; j->state != NULL && i < giveup_kept(giveup); i++) {
        const struct giveup_key *key = giveup_at(giveup, i);
        journal_tell_state(
            j, state_give_up(j->state, key->db, bytes_of_str(key->key), key->reason, &err), &err);
    }
}

void journal_end(struct journal *j, enum phase phase) {
    struct err err;
    int64_t timeout_ms = deployment_reply_timeout_ms(j->job->target);
    if (!j->started) return;
    j->started = false;
    fill_counts(j);
    snprintf(j->record.phase, sizeof(j->record.phase), "%s", phase_word(phase));
    struct live_state s = live_look(j->job->live);
    bool lost = j->job->lease_lost;
    record_writer_end(j->writer, lost || s.target_silent ? NULL : &j->record, timeout_ms);
    if (!lost) lease_give_back(j->lease, timeout_ms);
    if (j->state != NULL && !lost)
        journal_tell_state(j, state_put(j->state, &j->record, &err), &err);
    journal_write_given_up(j);
    event_raise(&j->job->events, EVENT_ENDED, "job", "%s",
                lost ? "ended: another process has taken over" : phase_word(phase));
}

void journal_free(struct journal **journal) {
    struct journal *j = *journal;
    *journal = NULL;
    if (j == NULL) return;
    deployment_set_client_name(j->job->target, NULL);
    order_reader_free(&j->orders);
    record_writer_free(&j->writer);
    lease_free(&j->lease);
    j->job->events.observers = NULL;
    state_close(&j->state);
    follow_base_free(j->memory.base, j->memory.n_base);
    free(j->memory.cursors);
    free(j->memory.holds);
    free(j->memory.counts);
    others_fini(&j->others);
    record_fini(&j->record);
    free(j);
}
