/* See compare_state.h. */
#include "cli/compare_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/state.h"

struct compare_state {
    struct state *state;
    int64_t run;
};

/* A live job's directory keeps that job's identity, and its owner, by which the job knows its own
 * lease again. */
static void identify(struct job_record *identity, const char *dir, const char *source,
                     const char *target) {
    struct err no_record;
    bool locked;
    if (state_read(dir, identity, &locked, &no_record) && strcmp(identity->source, source) == 0 &&
        strcmp(identity->target, target) == 0)
        return;
    record_fini(identity);
    snprintf(identity->settings, sizeof(identity->settings), "compare");
    snprintf(identity->source, sizeof(identity->source), "%s", source);
    snprintf(identity->target, sizeof(identity->target), "%s", target);
    snprintf(identity->owner, sizeof(identity->owner), "compare, process %ld", (long)getpid());
    record_make_job(identity->job, source, target, identity->settings);
}

struct compare_state *compare_state_open(const char *dir, const char *source, const char *target,
                                         struct err *err) {
    struct job_record identity = { 0 }, record = { 0 };
    struct compare_state *s = mem_zalloc(sizeof(*s));
    bool found;
    identify(&identity, dir, source, target);
    s->state = state_open(dir, &identity, &record, &found, NULL, err);
    record_fini(&identity);
    record_fini(&record);
    if (s->state == NULL) compare_state_close(&s);
    return s;
}

bool compare_state_begin(struct compare_state *s, const char *mode, struct err *err) {
    return state_run_begin(s->state, mode, &s->run, err);
}

bool compare_state_end(struct compare_state *s, const struct compare_result *r,
                       const struct err *trouble, struct err *err) {
    uint64_t different = compare_result_different(r);
    for (size_t i = 0; i < r->n_differences; i++) {
        const struct difference *d = &r->differences[i];
        struct state_finding finding = { .db = d->db,
                                         .key = bytes_of(d->key, d->key_len),
                                         .kind = difference_label(d->kind),
                                         .detail = d->parts != NULL ? d->parts : d->detail };
        if (!state_finding(s->state, s->run, &finding, err)) return false;
    }
    const char *outcome = "equal";
    if (r->unproved > 0) outcome = "not proved";
    if (different > 0) outcome = "different";
    if (trouble->code != ERR_NONE) outcome = trouble->text;
    return state_run_end(s->state, s->run, r->keys, different, outcome, err);
}

void compare_state_close(struct compare_state **state) {
    struct compare_state *s = *state;
    *state = NULL;
    if (s == NULL) return;
    state_close(&s->state);
    free(s);
}
