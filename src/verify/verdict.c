/* What the answers about a key mean; see compare_priv.h.
 *
 *   gone, type, memory ─▶ values ─▶ expiry ─▶ equal
 *            └───────────────┴────────┴─▶ differs: looked at again later, or at last a finding
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "verify/compare_priv.h"

enum {
    ATTEMPTS_MAX = 5, /* at a key whose commands are refused for a reason of its own */
    DUMP_USELESS = 8, /* so often in a row DUMP differed for equal values: it is left out, */
    DUMP_RETRY = 64,  /* but tried again after so many */
    STRING_SCORE_MAX = 64,
    LATER_HERE_MS = 100,
    LATER_THERE_MS = 30,
    LATER_WAIT_MS = 1000,
};

static const struct {
    const char *label, *title, *sentence;
} kinds[DIFFERENCE_KINDS] = {
#define DIFFERENCE(id, label, title, sentence) { #label, title, sentence },
#include "verify/difference.def"
#undef DIFFERENCE
};

const char *compare_mode_name(enum compare_mode mode) {
    return mode == COMPARE_QUICK ? "quick" : mode == COMPARE_FULL ? "full" : "digest";
}

const char *difference_label(enum difference_kind kind) {
    return kinds[kind].label;
}

const char *difference_title(enum difference_kind kind) {
    return kinds[kind].title;
}

const char *difference_sentence(enum difference_kind kind) {
    return kinds[kind].sentence;
}

/* ---- details, for people ---- */

static const char *expiry_text(int64_t expiry_ms, char *buf, size_t size) {
    if (expiry_ms < 0) return "none";
    time_t seconds = (time_t)(expiry_ms / 1000);
    struct tm utc;
    char date[40] = "";
    if (gmtime_r(&seconds, &utc) == NULL ||
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        snprintf(buf, size, "%" PRId64 " ms", expiry_ms);
    else
        snprintf(buf, size, "%s.%03dZ", date, (int)(expiry_ms % 1000));
    return buf;
}

static void explain_expiry(const struct exam *exam, char *out, size_t size) {
    char a[64], b[64];
    snprintf(out, size, "source %s, target %s",
             expiry_text(exam->view[SOURCE].expiry_ms, a, sizeof(a)),
             expiry_text(exam->view[TARGET].expiry_ms, b, sizeof(b)));
}

static void explain_sizes(const struct exam *exam, const char *what, char *out, size_t size) {
    uint64_t a = exam->view[SOURCE].len, b = exam->view[TARGET].len;
    if (a == b)
        snprintf(out, size, "other %s (%" PRIu64 " bytes on both sides)", what, a);
    else
        snprintf(out, size, "%s: source %" PRIu64 " bytes, target %" PRIu64, what, a, b);
}

static void explain_value(const struct exam *exam, char *out, size_t size) {
    const struct view *source = &exam->view[SOURCE], *target = &exam->view[TARGET];
    if (exam->step == STEP_SUM) {
        value_sum_explain(source->kind, source->sum, target->sum, out, size);
    } else if (exam->step == STEP_DUMP) {
        explain_sizes(exam, "payload", out, size);
    } else if (source->large != target->large) {
        snprintf(out, size, "contents: source %s%" PRIu64 " bytes, target %s%" PRIu64,
                 source->large ? "at least " : "", source->len, target->large ? "at least " : "",
                 target->len);
    } else {
        explain_sizes(exam, "contents", out, size);
    }
}

static void explain(const struct exam *exam, enum difference_kind kind, char *out, size_t size) {
    out[0] = '\0';
    switch (kind) {
    case DIFFERENCE_MISSING:
        snprintf(out, size, "source %s", exam->view[SOURCE].type);
        break;
    case DIFFERENCE_EXTRA:
        snprintf(out, size, "target %s", exam->view[TARGET].type);
        break;
    case DIFFERENCE_TYPE:
        snprintf(out, size, "source %s, target %s", exam->view[SOURCE].type,
                 exam->view[TARGET].type);
        break;
    case DIFFERENCE_TTL:
        explain_expiry(exam, out, size);
        break;
    case DIFFERENCE_VALUE:
        explain_value(exam, out, size);
        break;
    case DIFFERENCE_UNREADABLE:
        snprintf(out, size, "%s",
                 exam->refusal != NULL ? exam->refusal : err_sentence(exam->failure));
        break;
    case DIFFERENCE_KINDS:
        break;
    }
}

/* ---- ends of an exam ---- */

static struct name *exam_end(struct exam *exam) {
    struct name *name = exam->name;
    struct compare_progress *progress = exam->cmp->progress;
    if (progress != NULL && !name->suspect) progress->keys++;
    exam_free(exam);
    return name;
}

/* Neither equal nor different: filtered out, gone on both sides, or only asked whether it exists.
 */
static void conclude_nothing(struct exam *exam) {
    if (exam->name->suspect) compare_tally(exam->cmp, exam->name)->away++;
    free(exam_end(exam));
}

static void conclude_skipped(struct exam *exam) {
    compare_tally(exam->cmp, exam->name)->skipped++;
    free(exam_end(exam));
}

static void conclude_equal(struct exam *exam) {
    struct tally *tally = compare_tally(exam->cmp, exam->name);
    tally->equal++;
    if (exam->name->suspect) tally->away++;
    free(exam_end(exam));
}

static void keep_difference(struct exam *exam, enum difference_kind kind) {
    struct compare_result *r = exam->cmp->result;
    const struct compare_settings *settings = exam->cmp->settings;
    struct difference d = {
        .db = exam->name->db, .kind = kind, .key = exam->name->key, .key_len = exam->name->len
    };
    explain(exam, kind, d.detail, sizeof(d.detail));
    if (settings->on_difference != NULL) settings->on_difference(settings->ctx, &d);
    if (r->n_differences >= settings->max_differences) return;
    if ((r->n_differences & (r->n_differences - 1)) == 0)
        r->differences = mem_array(r->differences, r->n_differences == 0 ? 1 : r->n_differences * 2,
                                   sizeof(*r->differences));
    d.key = bytes_dup(name_bytes(exam->name));
    r->differences[r->n_differences++] = d;
}

/* All that this look saw of the key on one side. Time left, as old servers tell it, is never the
 * same twice. */
static struct digest sight(const struct exam *exam, int side) {
    const struct view *view = &exam->view[side];
    struct digest d = digest_chain_number(digest_of(bytes_of_str(view->type)), view->gone);
    if (!exam->cmp->side[side].no_pexpiretime) d = digest_chain_number(d, view->expiry_ms);
    if (exam->step == STEP_STRING || exam->step == STEP_DUMP) {
        d = digest_chain_number(d, (int64_t)view->len);
        return digest_chain(d, bytes_of(&view->digest, sizeof(view->digest)));
    }
    for (int i = 0; view->sum != NULL && i < SUM_PARTS; i++)
        d = digest_chain(d,
                         bytes_of(&view->sum->part[i].digest, sizeof(view->sum->part[i].digest)));
    return d;
}

/* It had changed on both sides since it was last looked at: something carries it over, and no two
 * readings of it are of the same moment. What stays as it was on either side stays behind. */
static bool is_moving(struct exam *exam) {
    struct name *name = exam->name;
    bool changed = name->suspect && name->seen;
    for (int side = 0; side < SIDES; side++) {
        struct digest now = sight(exam, side);
        changed &= !digest_equal(now, name->before[side]);
        name->before[side] = now;
    }
    name->seen = name->suspect;
    name->read_us = clock_wall_us();
    return changed;
}

static void conclude_moving(struct exam *exam) {
    compare_tally(exam->cmp, exam->name)->moving++;
    free(exam_end(exam));
}

static void conclude_different(struct exam *exam, enum difference_kind kind) {
    struct comparison *cmp = exam->cmp;
    struct name *name = exam->name;
    bool moving = is_moving(exam), unreadable = kind == DIFFERENCE_UNREADABLE;
    if (unreadable && !name->backward)
        digest_set_add(&cmp->unreadable, digest_of(name_bytes(name)));
    if (unreadable && name->backward &&
        digest_set_has(cmp->unreadable, digest_of(name_bytes(name)))) {
        free(exam_end(exam)); /* counted when the source's keys were gone through */
        return;
    }
    if (moving && !unreadable && name->looks >= cmp->settings->rounds) {
        conclude_moving(exam);
        return;
    }
    if (exam->forbidden || name->looks >= cmp->settings->rounds) {
        keep_difference(exam, kind);
        compare_tally(cmp, name)->kind[kind]++;
        cmp->different++;
        free(exam_end(exam));
        return;
    }
    exam_end(exam);
    name->looks++;
    name->suspect = true;
    name->attempts = 0;
    name->due_ms = clock_mono_ms() + cmp->settings->interval_ms;
    name_queue_push(&cmp->suspects, name);
}

static void exam_retry(struct exam *exam) {
    struct comparison *cmp = exam->cmp;
    struct name *name = exam->name;
    enum err_class class = err_class_of(exam->failure);
    if (class == ERR_CLASS_KEY && (exam->forbidden || ++name->attempts >= ATTEMPTS_MAX)) {
        conclude_different(exam, DIFFERENCE_UNREADABLE);
        return;
    }
    int64_t later_ms = class == ERR_CLASS_THERE  ? LATER_THERE_MS
                       : class == ERR_CLASS_WAIT ? LATER_WAIT_MS
                                                 : LATER_HERE_MS;
    if (exam->failure == ERR_ASK) later_ms = 0;
    name->due_ms = clock_mono_ms() + later_ms;
    exam_free(exam);
    name_queue_push(&cmp->again, name);
}

static void exam_redo(struct exam *exam) {
    exam->failure = ERR_TRYAGAIN;
    exam_retry(exam);
}

/* ---- judging ---- */

bool expiry_is_equal(const struct comparison *cmp, int64_t a_ms, int64_t b_ms, int64_t error_ms) {
    if (cmp->settings->no_ttl) return true;
    if (a_ms < 0 || b_ms < 0) return a_ms < 0 && b_ms < 0;
    int64_t gap_ms = a_ms > b_ms ? a_ms - b_ms : b_ms - a_ms;
    return gap_ms <= cmp->settings->ttl_tolerance_ms + error_ms;
}

static bool expiry_equal(const struct exam *exam) {
    const struct view *a = &exam->view[SOURCE], *b = &exam->view[TARGET];
    return expiry_is_equal(exam->cmp, a->expiry_ms, b->expiry_ms,
                           a->expiry_error_ms + b->expiry_error_ms);
}

static void judge_end(struct exam *exam, bool values_equal) {
    if (!values_equal) {
        conclude_different(exam, DIFFERENCE_VALUE);
    } else if (!expiry_equal(exam)) {
        conclude_different(exam, DIFFERENCE_TTL);
    } else {
        conclude_equal(exam);
    }
}

static void judge_strings(struct exam *exam) {
    struct view *a = &exam->view[SOURCE], *b = &exam->view[TARGET];
    int *score = &exam->cmp->string_score;
    *score += a->string ? (*score < STRING_SCORE_MAX) : -(*score > 0);
    if (!a->string || !b->string) {
        exam_go(exam, STEP_KIND);
    } else if (a->large && b->large) {
        a->kind = b->kind = SUM_STRING;
        a->memory_bytes = b->memory_bytes = SUM_PIECE_BYTES;
        exam_go(exam, STEP_SUM);
    } else {
        judge_end(exam, a->len == b->len && digest_equal(a->digest, b->digest));
    }
}

static bool dump_is_useful(struct comparison *cmp, enum sum_type kind) {
    if (kind == SUM_OTHER) return true;
    int *wasted = &cmp->dump_wasted[kind];
    if (*wasted < DUMP_USELESS) return true;
    if (++*wasted < DUMP_USELESS + DUMP_RETRY) return false;
    *wasted = DUMP_USELESS - 1;
    return true;
}

static bool is_small(const struct view *view) {
    return view->memory_bytes > 0 && view->memory_bytes <= SUM_WHOLE_BYTES;
}

static void judge_kinds(struct exam *exam) {
    struct comparison *cmp = exam->cmp;
    struct view *a = &exam->view[SOURCE], *b = &exam->view[TARGET];
    int *score = &cmp->string_score;
    if (a->kind == SUM_STRING && *score < STRING_SCORE_MAX) ++*score;
    if (strcmp(a->type, b->type) != 0) {
        conclude_different(exam, DIFFERENCE_TYPE);
    } else if (cmp->settings->mode == COMPARE_QUICK) {
        judge_end(exam, true);
    } else if (a->kind == SUM_STRING) {
        exam_go(exam, STEP_STRING);
    } else {
        bool refused = cmp->side[SOURCE].no_dump || cmp->side[TARGET].no_dump;
        bool small = is_small(a) && is_small(b);
        if (a->kind == SUM_OTHER && refused) { /* a module's value has no other way to be read */
            exam->failure = ERR_TYPE;
            conclude_different(exam, DIFFERENCE_UNREADABLE);
        } else {
            bool dump = a->kind == SUM_OTHER || (!refused && small && dump_is_useful(cmp, a->kind));
            exam_go(exam, dump ? STEP_DUMP : STEP_SUM);
        }
    }
}

static bool type_is_wanted(const struct comparison *cmp, const struct view *view) {
    return cmp->settings->filter->n_types == 0 ||
           key_filter_wants_type(cmp->settings->filter, bytes_of_str(view->type));
}

static void judge_backward(struct exam *exam) {
    const struct view *source = &exam->view[SOURCE], *target = &exam->view[TARGET];
    if (exam->step == STEP_EXISTS && source->gone) {
        exam->view[SOURCE].gone = false;
        exam_go(exam, STEP_KIND);
    } else if (source->gone && !target->gone && type_is_wanted(exam->cmp, target)) {
        conclude_different(exam, DIFFERENCE_EXTRA);
    } else {
        conclude_nothing(exam);
    }
}

/* The source does not have it, so the target must not either. */
static void judge_listed(struct exam *exam) {
    if (exam->step != STEP_KIND) {
        exam_go(exam, STEP_KIND); /* for its type */
    } else if (!exam->view[TARGET].gone && type_is_wanted(exam->cmp, &exam->view[TARGET])) {
        conclude_different(exam, DIFFERENCE_EXTRA);
    } else {
        conclude_nothing(exam);
    }
}

static void judge_look(struct exam *exam) {
    struct comparison *cmp = exam->cmp;
    const struct view *source = &exam->view[SOURCE];
    uint64_t limit = cmp->settings->mem_limit_bytes;
    if (source->gone) cmp->sums_spoilt = true; /* its name was added up */
    if (source->gone && exam->name->listed) {
        judge_listed(exam);
    } else if (source->gone || !type_is_wanted(cmp, source)) {
        conclude_nothing(exam);
    } else if (limit > 0 && source->memory_bytes > limit) {
        conclude_skipped(exam);
    } else if (exam->view[TARGET].gone) {
        conclude_different(exam, DIFFERENCE_MISSING);
    } else if (exam->step == STEP_STRING) {
        judge_strings(exam);
    } else {
        judge_kinds(exam);
    }
}

static void judge_dumps(struct exam *exam) {
    const struct view *a = &exam->view[SOURCE], *b = &exam->view[TARGET];
    bool equal = digest_equal(a->digest, b->digest);
    if (a->gone || b->gone) {
        exam_redo(exam);
    } else if (equal) {
        if (a->kind != SUM_OTHER) exam->cmp->dump_wasted[a->kind] = 0;
        judge_end(exam, true);
    } else if (a->kind == SUM_OTHER) {
        judge_end(exam, false);
    } else {
        exam->dumps_differ = true;
        exam_go(exam, STEP_SUM);
    }
}

static void judge_sums(struct exam *exam) {
    const struct view *a = &exam->view[SOURCE], *b = &exam->view[TARGET];
    bool equal = value_sum_equal(a->sum, b->sum);
    if (equal && exam->dumps_differ) exam->cmp->dump_wasted[a->kind]++;
    judge_end(exam, equal);
}

void exam_advance(struct exam *exam) {
    struct comparison *cmp = exam->cmp;
    if (cmp->closing || cmp->failed || !name_is_current(cmp, exam->name)) {
        free(exam->name);
        exam_free(exam);
        return;
    }
    if (exam->failed) {
        exam_retry(exam);
        return;
    }
    switch (exam->step) {
    case STEP_EXISTS:
        judge_backward(exam);
        break;
    case STEP_KIND:
    case STEP_STRING:
        if (exam->name->backward) {
            judge_backward(exam);
        } else {
            judge_look(exam);
        }
        break;
    case STEP_DUMP:
        judge_dumps(exam);
        break;
    case STEP_SUM:
        judge_sums(exam);
        break;
    }
}
