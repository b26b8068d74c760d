/* See others.h. */
#include "job/others.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "job/side_ids.h"
#include "store/job_store.h"

struct superseded_job {
    char job[RECORD_JOB_MAX];
    int db; /* in which its record lies */
};

static void others_note_superseded(struct others *others, const struct job_list *on_target,
                                   const struct stored_job *own, const struct job_identity *me) {
    others->superseded = mem_array(NULL, on_target->n + 1, sizeof(*others->superseded));
    for (size_t i = 0; i < on_target->n; i++) {
        const struct stored_job *job = &on_target->jobs[i];
        if (!identity_is_superseded(job, own, me)) continue;
        struct superseded_job *to = &others->superseded[others->n_superseded++];
        snprintf(to->job, sizeof(to->job), "%s", job->record.job);
        to->db = job->db;
    }
}

/* The source may refuse to be read for records; then nothing is known of jobs that write to it. */
static bool others_check_source(struct deployment *source, const struct job_identity *me,
                                struct err *err) {
    struct job_list on_source = { 0 };
    struct err ignored;
    bool ok = !job_store_read_all(source, JOB_STORE_ALL_DBS, &on_source, &ignored) ||
              identity_check_reverse(&on_source, me, err);
    job_list_fini(&on_source);
    return ok;
}

/* follows: the start may go on with its own recorded job, whose lease it will wait for. */
static bool others_check_target(struct deployment *target, const struct job_identity *me,
                                bool follows, struct others *others, struct err *err) {
    struct job_list on_target = { 0 };
    bool ok = job_store_read_all(target, JOB_STORE_ALL_DBS, &on_target, err);
    const struct stored_job *own = ok ? identity_find_job(&on_target, me) : NULL;
    const struct stored_job *passed = follows || (own != NULL && !own->lease_held) ? own : NULL;
    ok = ok && (!follows || identity_check_job(own, me, err)) &&
         identity_check_conflict(&on_target, passed, me, err);
    if (ok) others_note_superseded(others, &on_target, own, me);
    if (ok && own != NULL) snprintf(others->own, sizeof(others->own), "%s", own->record.job);
    job_list_fini(&on_target);
    return ok;
}

bool others_check(struct deployment *source, struct deployment *target,
                  const struct job_identity *me, struct others *others, struct err *err) {
    others_fini(others);
    return others_check_target(target, me, true, others, err) &&
           others_check_source(source, me, err);
}

typedef bool others_fn(struct deployment *source, struct deployment *target,
                       const struct job_identity *me, struct others *others, struct err *err);

static bool others_with_ids(others_fn *check, struct deployment *source, struct deployment *target,
                            const struct job_purpose *purpose, struct others *others,
                            struct err *err) {
    struct record_ids source_ids = { 0 }, target_ids = { 0 };
    const struct job_identity me = { .source = purpose->source,
                                     .target = purpose->target,
                                     .scope = purpose->scope,
                                     .source_ids = &source_ids,
                                     .target_ids = &target_ids,
                                     .beside = purpose->beside };
    bool ok = side_ids_ask(source, &source_ids, err) && side_ids_ask(target, &target_ids, err) &&
              check(source, target, &me, others, err);
    record_ids_clear(&source_ids);
    record_ids_clear(&target_ids);
    return ok;
}

static bool check_snapshot(struct deployment *source, struct deployment *target,
                           const struct job_identity *me, struct others *others, struct err *err) {
    return others_check_target(target, me, false, others, err) &&
           others_check_source(source, me, err);
}

static bool check_reverse(struct deployment *source, struct deployment *target,
                          const struct job_identity *me, struct others *others, struct err *err) {
    return others_check_source(source, me, err);
}

bool others_check_snapshot(struct deployment *source, struct deployment *target,
                           const struct job_purpose *purpose, struct others *others,
                           struct err *err) {
    others_fini(others);
    return others_with_ids(check_snapshot, source, target, purpose, others, err);
}

bool others_check_reverse(struct deployment *source, struct deployment *target,
                          const struct job_purpose *purpose, struct err *err) {
    return others_with_ids(check_reverse, source, target, purpose, NULL, err);
}

bool others_supersede(struct others *others, struct deployment *target, struct err *err) {
    for (; others->n_superseded > 0; others->n_superseded--) {
        const struct superseded_job *old = &others->superseded[others->n_superseded - 1];
        log_warn("target",
                 "job %s is at rest and its keys are written now: its record is removed,"
                 " a start with its options makes a full copy",
                 old->job);
        if (!job_store_forget(target, old->db, old->job, err)) return false;
    }
    return true;
}

void others_fini(struct others *others) {
    free(others->superseded);
    *others = (struct others){ 0 };
}
