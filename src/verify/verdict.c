/* The meaning of the replies about a key; see compare_priv.h. Nothing is sent or counted here.
 *
 *   gone, type, memory ─▶ values ─▶ expiry ─▶ equal
 *            └───────────────┴────────┴─▶ different ─▶ check again, finding, or not proved
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "verify/compare_priv.h"

enum {
    DUMP_USELESS = 8, /* so often in a row DUMP differed for equal values: it is left out, */
    DUMP_RETRY = 64,  /* but tried again after so many */
};

static struct verdict verdict_next(enum check_step step) {
    return (struct verdict){ .is = VERDICT_NEXT, .step = step };
}

static struct verdict verdict_different(enum difference_kind kind) {
    return (struct verdict){ .is = VERDICT_DIFFERENT, .kind = kind };
}

static struct verdict verdict_plain(enum verdict_is is) {
    return (struct verdict){ .is = is };
}

/* ---- one key ---- */

static bool expiry_equal(const struct check *check) {
    const struct view *a = &check->view[SOURCE], *b = &check->view[TARGET];
    return expiry_is_equal(check->cmp, a->expiry_ms, b->expiry_ms,
                           a->expiry_error_ms + b->expiry_error_ms);
}

static struct verdict judge_end(const struct check *check, bool values_equal) {
    if (!values_equal) return verdict_different(DIFFERENCE_VALUE);
    if (!expiry_equal(check)) return verdict_different(DIFFERENCE_TTL);
    return verdict_plain(VERDICT_EQUAL);
}

static struct verdict judge_strings(struct check *check) {
    struct view *a = &check->view[SOURCE], *b = &check->view[TARGET];
    estimate_saw_type(&check->cmp->estimate, a->string);
    if (!a->string || !b->string) return verdict_next(STEP_KIND);
    if (!a->large || !b->large)
        return judge_end(check, a->len == b->len && digest_equal(a->digest, b->digest));
    a->kind = b->kind = SUM_STRING;
    a->memory_bytes = b->memory_bytes = SUM_PIECE_BYTES;
    return verdict_next(STEP_SUM);
}

static bool dump_is_useful(struct estimate *estimate, enum sum_type kind) {
    int *wasted = &estimate->dump_wasted[kind];
    if (*wasted < DUMP_USELESS) return true;
    if (++*wasted < DUMP_USELESS + DUMP_RETRY) return false;
    *wasted = DUMP_USELESS - 1;
    return true;
}

static bool view_is_small(const struct view *view) {
    return view->memory_bytes > 0 && view->memory_bytes <= SUM_WHOLE_BYTES;
}

/* Both have the same type, which is no string: how are its values read? */
static struct verdict judge_way(struct check *check) {
    struct comparison *cmp = check->cmp;
    const struct view *a = &check->view[SOURCE], *b = &check->view[TARGET];
    bool refused = cmp->side[SOURCE].no_dump || cmp->side[TARGET].no_dump;
    if (a->kind == SUM_OTHER && !refused) return verdict_next(STEP_DUMP);
    if (a->kind == SUM_OTHER) { /* a module's value can be read in no other way */
        check->failure = ERR_TYPE;
        return verdict_different(DIFFERENCE_UNREADABLE);
    }
    bool small = view_is_small(a) && view_is_small(b);
    bool dump = !refused && small && dump_is_useful(&cmp->estimate, a->kind);
    return verdict_next(dump ? STEP_DUMP : STEP_SUM);
}

/* A key beyond the limit is left out where the target lacks it. */
static bool is_over_limit(const struct check *check) {
    uint64_t limit = check->cmp->settings->mem_limit_bytes;
    return limit > 0 && check->view[SOURCE].memory_bytes > limit;
}

static struct verdict judge_kinds(struct check *check) {
    const struct view *a = &check->view[SOURCE], *b = &check->view[TARGET];
    if (a->kind == SUM_STRING) estimate_saw_type(&check->cmp->estimate, true);
    if (strcmp(a->type, b->type) != 0) return verdict_different(DIFFERENCE_TYPE);
    /* The target's copy of a key beyond the limit may be an old one: only its value tells. */
    bool quick = check->cmp->settings->mode == COMPARE_QUICK && !is_over_limit(check);
    if (quick) return judge_end(check, true);
    return a->kind == SUM_STRING ? verdict_next(STEP_STRING) : judge_way(check);
}

static bool type_is_wanted(const struct comparison *cmp, const struct view *view) {
    return cmp->settings->filter->n_types == 0 ||
           key_filter_wants_type(cmp->settings->filter, bytes_of_str(view->type));
}

/* From the target's keys: does the source have it? */
static struct verdict judge_backward(struct check *check) {
    struct view *source = &check->view[SOURCE];
    const struct view *target = &check->view[TARGET];
    if (check->step == STEP_EXISTS && source->gone) {
        source->gone = false;
        return verdict_next(STEP_KIND);
    }
    if (target->gone || check->step != STEP_KIND || !type_is_wanted(check->cmp, target))
        return verdict_plain(VERDICT_NOTHING);
    if (source->gone) return verdict_different(DIFFERENCE_EXTRA);
    /* The scan of the source did not name it. */
    bool unseen = scan_filters_type(check->cmp, SOURCE) && !type_is_wanted(check->cmp, source);
    check->name->left_out = unseen;
    return unseen ? verdict_different(DIFFERENCE_TYPE) : verdict_plain(VERDICT_NOTHING);
}

/* A listed key that the source does not have: the target must not have it either. */
static struct verdict judge_listed(const struct check *check) {
    const struct view *target = &check->view[TARGET];
    if (check->step != STEP_KIND) return verdict_next(STEP_KIND); /* for its type */
    if (target->gone) return verdict_plain(VERDICT_ABSENT);
    return type_is_wanted(check->cmp, target) ? verdict_different(DIFFERENCE_EXTRA)
                                              : verdict_plain(VERDICT_NOTHING);
}

/* The source's key has a type that is left out. A target's key of a wanted type under this name is
 * an old copy, or belongs to somebody else: different in either case. */
static struct verdict judge_unwanted(const struct check *check) {
    const struct view *target = &check->view[TARGET];
    if (check->step != STEP_KIND) return verdict_next(STEP_KIND); /* for the target's type */
    bool stale = !target->gone && type_is_wanted(check->cmp, target);
    check->name->left_out = stale;
    return stale ? verdict_different(DIFFERENCE_TYPE) : verdict_plain(VERDICT_NOTHING);
}

static struct verdict judge_forward(struct check *check) {
    const struct view *source = &check->view[SOURCE], *target = &check->view[TARGET];
    if (source->gone && check->name->listed) return judge_listed(check);
    if (source->gone) return verdict_plain(VERDICT_NOTHING);
    if (!type_is_wanted(check->cmp, source)) return judge_unwanted(check);
    if (target->gone && is_over_limit(check)) return verdict_plain(VERDICT_SKIPPED);
    if (target->gone) return verdict_different(DIFFERENCE_MISSING);
    check->name->left_out = is_over_limit(check);
    return check->step == STEP_STRING ? judge_strings(check) : judge_kinds(check);
}

static struct verdict judge_dumps(struct check *check) {
    const struct view *a = &check->view[SOURCE], *b = &check->view[TARGET];
    bool equal = digest_equal(a->digest, b->digest);
    if (a->gone || b->gone) return verdict_plain(VERDICT_AGAIN);
    if (a->kind == SUM_OTHER) return judge_end(check, equal);
    if (equal) {
        check->cmp->estimate.dump_wasted[a->kind] = 0;
        return judge_end(check, true);
    }
    check->dumps_differ = true;
    return verdict_next(STEP_SUM);
}

static struct verdict judge_sums(struct check *check) {
    const struct view *a = &check->view[SOURCE], *b = &check->view[TARGET];
    bool equal = value_sum_equal(a->sum, b->sum);
    if (equal && check->dumps_differ) check->cmp->estimate.dump_wasted[a->kind]++;
    return judge_end(check, equal);
}

struct verdict verdict_of(struct check *check) {
    switch (check->step) {
    case STEP_EXISTS:
        return judge_backward(check);
    case STEP_KIND:
    case STEP_STRING:
        return check->name->backward ? judge_backward(check) : judge_forward(check);
    case STEP_DUMP:
        return judge_dumps(check);
    case STEP_SUM:
        break;
    }
    return judge_sums(check);
}

/* ---- a difference ---- */

/* Everything that this check read of the key on one side. Time left, as old servers tell it, is
 * never the same twice. */
static struct digest sight_of(const struct check *check, int side) {
    const struct view *view = &check->view[side];
    struct digest d = digest_chain_number(digest_of(bytes_of_str(view->type)), view->gone);
    if (!check->cmp->side[side].no_pexpiretime) d = digest_chain_number(d, view->expiry_ms);
    if (check->step == STEP_STRING || check->step == STEP_DUMP) {
        d = digest_chain_number(d, (int64_t)view->len);
        return digest_chain(d, bytes_of(&view->digest, sizeof(view->digest)));
    }
    for (int i = 0; view->sum != NULL && i < SUM_PARTS; i++)
        d = digest_chain(d,
                         bytes_of(&view->sum->part[i].digest, sizeof(view->sum->part[i].digest)));
    return d;
}

/* The key has changed on both sides since its last check, so no two readings of it are of the same
 * moment. A key that did not change on one of the sides is different for good. */
static bool is_moving(struct check *check) {
    struct name *name = check->name;
    bool changed = name->has_before;
    for (int side = 0; side < SIDES; side++) {
        struct digest now = sight_of(check, side);
        changed &= !digest_equal(now, name->before[side]);
        name->before[side] = now;
    }
    name->has_before = name->suspect;
    name->read_us = clock_wall_us();
    return changed;
}

enum outcome verdict_outcome(struct check *check, enum difference_kind kind) {
    struct name *name = check->name;
    const struct compare_settings *s = check->cmp->settings;
    bool moving = is_moving(check), last = name->checks >= s->rounds;
    if (kind == DIFFERENCE_MISSING && s->target_is_partial) return OUTCOME_UNCOPIED;
    if (check->forbidden) return OUTCOME_FINDING;
    if (!last) return OUTCOME_CHECK_AGAIN;
    if (!moving || kind == DIFFERENCE_UNREADABLE) return OUTCOME_FINDING;
    return name->watermark_passed ? OUTCOME_MOVING : OUTCOME_UNPROVED;
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

static void explain_expiry(const struct check *check, char *out, size_t size) {
    char a[64], b[64];
    snprintf(out, size, "source %s, target %s",
             expiry_text(check->view[SOURCE].expiry_ms, a, sizeof(a)),
             expiry_text(check->view[TARGET].expiry_ms, b, sizeof(b)));
}

static void explain_sizes(const struct check *check, const char *noun, char *out, size_t size) {
    uint64_t a = check->view[SOURCE].len, b = check->view[TARGET].len;
    if (a == b)
        snprintf(out, size, "other %s (%" PRIu64 " bytes on both sides)", noun, a);
    else
        snprintf(out, size, "%s: source %" PRIu64 " bytes, target %" PRIu64, noun, a, b);
}

static void explain_value(const struct check *check, char *out, size_t size) {
    const struct view *source = &check->view[SOURCE], *target = &check->view[TARGET];
    if (check->step == STEP_SUM) {
        value_sum_explain(source->kind, source->sum, target->sum, out, size);
    } else if (check->step == STEP_DUMP) {
        explain_sizes(check, "payload", out, size);
    } else if (source->large != target->large) {
        snprintf(out, size, "contents: source %s%" PRIu64 " bytes, target %s%" PRIu64,
                 source->large ? "at least " : "", source->len, target->large ? "at least " : "",
                 target->len);
    } else {
        explain_sizes(check, "contents", out, size);
    }
}

void verdict_explain(const struct check *check, enum difference_kind kind, char *out, size_t size) {
    const struct view *source = &check->view[SOURCE], *target = &check->view[TARGET];
    out[0] = '\0';
    switch (kind) {
    case DIFFERENCE_MISSING:
        snprintf(out, size, "source %s", source->type);
        break;
    case DIFFERENCE_EXTRA:
        snprintf(out, size, "target %s", target->type);
        break;
    case DIFFERENCE_TYPE:
        snprintf(out, size, "source %s, target %s", source->type, target->type);
        break;
    case DIFFERENCE_TTL:
        explain_expiry(check, out, size);
        break;
    case DIFFERENCE_VALUE:
        explain_value(check, out, size);
        break;
    case DIFFERENCE_UNREADABLE:
        snprintf(out, size, "%s",
                 check->refusal != NULL ? check->refusal : err_sentence(check->failure));
        break;
    case DIFFERENCE_KINDS:
        break;
    }
}
