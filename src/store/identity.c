/* See identity.h. An unknown member is taken for an overlap: a job that is refused by mistake can
 * be started with --beside; keys that two jobs overwrite in turn are lost. */
#include "store/identity.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/slot.h"

/* ---- scopes ---- */

static bool slots_overlap(const json_t *a, const json_t *b) {
    struct slot_set x = { 0 }, y = { 0 };
    struct err err;
    if (!json_is_string(a) || !json_is_string(b)) return true;
    if (!slot_set_parse(&x, json_string_value(a), "slots", &err) ||
        !slot_set_parse(&y, json_string_value(b), "slots", &err))
        return true;
    struct slot_set both = slot_set_common(&x, &y);
    return slot_set_count(&both) > 0;
}

static bool databases_overlap(const json_t *a, const json_t *b) {
    if (!json_is_array(a) || !json_is_array(b)) return true;
    for (size_t i = 0; i < json_array_size(a); i++)
        for (size_t k = 0; k < json_array_size(b); k++)
            if (json_equal(json_array_get(a, i), json_array_get(b, k))) return true;
    return false;
}

bool identity_scopes_overlap(const char *a, const char *b) {
    json_t *x = a != NULL ? json_loads(a, 0, NULL) : NULL;
    json_t *y = b != NULL ? json_loads(b, 0, NULL) : NULL;
    bool overlap = databases_overlap(json_object_get(x, "target_databases"),
                                     json_object_get(y, "target_databases")) &&
                   slots_overlap(json_object_get(x, "slots"), json_object_get(y, "slots"));
    json_decref(x);
    json_decref(y);
    return overlap;
}

/* ---- sides ---- */

static bool ids_intersect(const struct record_ids *a, const struct record_ids *b) {
    for (size_t i = 0; i < a->n; i++)
        if (record_ids_has(b, a->list[i])) return true;
    return false;
}

/* The same server: it says so itself, or it is written in the same way. */
static bool is_same_side(const char *label, const struct record_ids *ids, const char *other_label,
                         const struct record_ids *other_ids) {
    return strcmp(label, other_label) == 0 || ids_intersect(ids, other_ids);
}

static bool is_same_job(const struct job_record *r, const struct job_identity *me) {
    return r->scope != NULL && strcmp(r->scope, me->scope) == 0 &&
           is_same_side(r->source, &r->source_ids, me->source, me->source_ids) &&
           is_same_side(r->target, &r->target_ids, me->target, me->target_ids);
}

/* ---- this job ---- */

const struct stored_job *identity_find_job(const struct job_list *on_target,
                                           const struct job_identity *me) {
    for (size_t i = 0; i < on_target->n; i++) {
        const struct job_record *r = &on_target->jobs[i].record;
        bool found = me->job != NULL ? strcmp(r->job, me->job) == 0 : is_same_job(r, me);
        if (found) return &on_target->jobs[i];
    }
    return NULL;
}

bool identity_check_job(const struct stored_job *found, const struct job_identity *me,
                        struct err *err) {
    const struct job_record *r = found != NULL ? &found->record : NULL;
    if (r == NULL || is_same_job(r, me)) return true;
    if (!is_same_side(r->source, &r->source_ids, me->source, me->source_ids))
        return err_set(err, ERR_USAGE, "--job",
                       "job %s copies from %s, not from %s; give this job another name, or remove"
                       " the old one by longhaul forget",
                       r->job, r->source, me->source);
    if (!is_same_side(r->target, &r->target_ids, me->target, me->target_ids))
        return err_set(err, ERR_USAGE, "--job",
                       "job %s copies to %s, not to %s; give this job another name, or remove the"
                       " old one by longhaul forget",
                       r->job, r->target, me->target);
    return err_set(err, ERR_USAGE, "--job",
                   "job %s copies something else (%s); give this job another name, or remove the"
                   " old one by longhaul forget",
                   r->job, r->settings);
}

/* ---- other jobs ---- */

/* Nothing is left to decide or to copy: no deletion waits for an operator, no gap is open. */
static bool job_is_settled(const struct stored_job *job) {
    return !job->lease_held && job->record.n_holds == 0 && job->record.n_gaps == 0;
}

static bool job_is_over(const struct stored_job *job) {
    return job_is_settled(job) && strcmp(job->record.phase, "ended") == 0;
}

static const char *job_state(const struct stored_job *job) {
    return job->lease_held           ? "runs"
           : job->record.n_holds > 0 ? "holds deletions"
           : job->record.n_gaps > 0  ? "has an open gap"
                                     : "is not finished";
}

/* A job that was stopped in order with everything settled writes nothing until it is started again,
 * and then it is refused beside a job that runs. From another source, its operator must say first
 * that it is over. */
static bool job_is_at_rest(const struct stored_job *job, const struct job_identity *me) {
    const struct job_record *r = &job->record;
    return job_is_over(job) ||
           (job_is_settled(job) && strcmp(r->phase, "stopped") == 0 &&
            is_same_side(r->source, &r->source_ids, me->source, me->source_ids));
}

static bool may_write_the_same(const struct stored_job *job, const struct stored_job *own,
                               const struct job_identity *me) {
    if (job == own || (me->beside != NULL && strcmp(me->beside, job->record.job) == 0))
        return false;
    return identity_scopes_overlap(job->record.scope, me->scope);
}

bool identity_is_superseded(const struct stored_job *job, const struct stored_job *own,
                            const struct job_identity *me) {
    return may_write_the_same(job, own, me) && job_is_at_rest(job, me);
}

bool identity_check_conflict(const struct job_list *on_target, const struct stored_job *own,
                             const struct job_identity *me, struct err *err) {
    for (size_t i = 0; i < on_target->n; i++) {
        const struct stored_job *job = &on_target->jobs[i];
        const struct job_record *r = &job->record;
        if (!may_write_the_same(job, own, me) || job_is_at_rest(job, me)) continue;
        return err_set(err, ERR_USAGE, "target",
                       "job %s from %s %s and may write the same keys: end it and remove it by"
                       " longhaul forget --job %s, or give --beside %s if their keys differ",
                       r->job, r->source, job_state(job), r->job, r->job);
    }
    return true;
}

bool identity_check_reverse(const struct job_list *on_source, const struct job_identity *me,
                            struct err *err) {
    for (size_t i = 0; i < on_source->n; i++) {
        const struct stored_job *job = &on_source->jobs[i];
        const struct job_record *r = &job->record;
        if (job_is_over(job) ||
            !is_same_side(r->source, &r->source_ids, me->target, me->target_ids))
            continue;
        return err_set(
            err, ERR_USAGE, "source",
            "%s is itself the target of job %s, which %s and copies from %s; copying back"
            " would overwrite newer values: end that job and remove it by longhaul forget"
            " --job %s",
            me->source, r->job, job_state(job), r->source, r->job);
    }
    return true;
}
