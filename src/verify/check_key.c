/* Checks one key on both sides; see compare_priv.h. Each step of a check sends its commands to both
 * sides at once and waits for all their replies; a reply that says to try later or elsewhere makes
 * the whole check start anew. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "verify/compare_priv.h"

enum {
    DUMP_FOOTER_BYTES = 10,
    ATTEMPTS_MAX = 5, /* at a key whose commands are refused for a reason of its own */
    RETRY_HERE_MS = 100,
    RETRY_THERE_MS = 30,
    RETRY_WAIT_MS = 1000,
};

static void check_advance(struct check *check);
static void check_go(struct check *check, enum check_step step);

/* ---- checks ---- */

static struct check *check_new(struct comparison *cmp, struct name *name) {
    struct check *check = cmp->checks.free;
    if (check != NULL) {
        cmp->checks.free = check->next;
        *check = (struct check){ 0 };
    } else {
        check = mem_zalloc(sizeof(*check));
    }
    check->cmp = cmp;
    check->name = name;
    cmp->checks.n++;
    return check;
}

static void check_free(struct check *check) {
    struct checks *checks = &check->cmp->checks;
    for (int side = 0; side < SIDES; side++) free(check->view[side].sum);
    free(check->refusal);
    checks->cost_bytes -= check->cost;
    checks->n--;
    check->next = checks->free;
    checks->free = check;
}

void checks_free(struct comparison *cmp) {
    struct checks *checks = &cmp->checks;
    while (checks->heavy != NULL) {
        struct check *check = checks->heavy;
        checks->heavy = check->next;
        free(check->name);
        check_free(check);
    }
    while (checks->free != NULL) {
        struct check *check = checks->free;
        checks->free = check->next;
        free(check);
    }
}

static void check_reply_done(struct check *check) {
    if (--check->due == 0) check_advance(check);
}

/* ---- replies that are no answers ---- */

/* reply is the error; NULL when it is not at hand: then the next attempt brings it. */
static void check_redirected(struct link *link, struct check *check, const struct err *err,
                             const struct resp_item *reply) {
    struct redirect redirect;
    check->name->ask[link->side] = NULL;
    if (err->code == ERR_MOVED) sight_want(link->cmp->side[link->side].sight);
    if (reply != NULL && client_redirect(link->client, reply, &redirect) && redirect.ask)
        check->name->ask[link->side] = link_to(link->cmp, link->side, &redirect.address);
}

static void check_keep_refusal(struct link *link, struct check *check, const struct err *err) {
    size_t size = strlen(err->text) + sizeof("source: ");
    free(check->refusal);
    check->refusal = mem_alloc(size);
    snprintf(check->refusal, size, "%s: %s", link->side == SOURCE ? "source" : "target", err->text);
}

/* reply as for check_redirected(). */
static void check_refused(struct link *link, struct check *check, const struct err *err,
                          const struct resp_item *reply) {
    check->failed = true;
    check->failure = err->code;
    switch (err_class_of(err->code)) {
    case ERR_CLASS_THERE:
        check_redirected(link, check, err, reply);
        link_troubled(link, err);
        break;
    case ERR_CLASS_HERE:
    case ERR_CLASS_WAIT:
        if (err->code == ERR_CLUSTERDOWN || err->code == ERR_MASTERDOWN)
            sight_want(link->cmp->side[link->side].sight);
        link_troubled(link, err);
        break;
    case ERR_CLASS_KEY:
        check->forbidden = err->code == ERR_NOPERM && refusal_is_about_key(bytes_of_str(err->text));
        if (err->code == ERR_UNKNOWN_COMMAND || (err->code == ERR_NOPERM && !check->forbidden))
            comparison_fail(link->cmp, err);
        check_keep_refusal(link, check, err);
        break;
    case ERR_CLASS_STOP:
        comparison_fail(link->cmp, err);
        break;
    }
}

static enum err_code reply_error_code(const struct reply *reply) {
    return resp_is_error(&reply->item) ? err_code_of_reply(reply->item.str.ptr, reply->item.str.len)
                                       : ERR_NONE;
}

/* True when the reply is an answer; otherwise the check has failed. `tolerated` is an error that
 * counts as an answer. */
static bool check_answered(struct link *link, struct check *check, const struct reply *reply,
                           enum err_code tolerated) {
    if (reply->err != NULL) {
        check->failed = true;
        check->failure = reply->err->code;
        return false;
    }
    if (!resp_is_error(&reply->item) ||
        (tolerated != ERR_NONE && reply_error_code(reply) == tolerated)) {
        link_answered(link);
        return true;
    }
    struct err err;
    client_reply_error(link->client, &reply->item, &err);
    check_refused(link, check, &err, &reply->item);
    return false;
}

/* True for a command that the server lacks or forbids, and that is not indispensable. */
static bool command_is_unavailable(const struct reply *reply) {
    if (reply->err != NULL) return false;
    enum err_code code = reply_error_code(reply);
    return code == ERR_UNKNOWN_COMMAND ||
           (code == ERR_NOPERM && !refusal_is_about_key(reply->item.str));
}

/* ---- commands ---- */

static void check_send_words(struct check *check, int side, client_reply_fn *fn, size_t argc,
                             const struct bytes *argv) {
    struct link *link = check->view[side].link;
    check->due++;
    if (check->name->ask[side] != NULL) client_asking(link->client);
    client_command(link->client, fn, link, check, argc, argv);
}

#define SEND(check, side, fn, ...)                                                                 \
    do {                                                                                           \
        const struct bytes words_[] = { __VA_ARGS__ };                                             \
        check_send_words(check, side, fn, sizeof(words_) / sizeof(words_[0]), words_);             \
    } while (0)

static void on_string(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct check *check = arg;
    struct view *view = &check->view[link->side];
    if (check_answered(link, check, reply, ERR_WRONGTYPE)) {
        view->string = !resp_is_error(&reply->item);
        struct bytes value = reply->item.str;
        if (view->string) {
            view->len = value.len;
            view->large = value.len >= STRING_SMALL_BYTES;
            view->digest = digest_of_string(value);
            estimate_saw_string(&link->cmp->estimate, value.len);
        }
    }
    check_reply_done(check);
}

static void on_type(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct check *check = arg;
    struct view *view = &check->view[link->side];
    if (check_answered(link, check, reply, ERR_NONE)) {
        struct bytes type = reply->item.str;
        size_t len = type.len < sizeof(view->type) ? type.len : sizeof(view->type) - 1;
        memcpy(view->type, type.ptr, len);
        view->type[len] = '\0';
        view->kind = sum_type_of(type);
        if (bytes_equal_str(type, "none")) view->gone = true;
    }
    check_reply_done(check);
}

static void on_memory(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct check *check = arg;
    struct side *side = &link->cmp->side[link->side];
    if (command_is_unavailable(reply)) {
        side->no_memory = true;
        if (link->cmp->settings->mem_limit_bytes > 0 && !link->cmp->memory_warned)
            log_warn(client_place(link->client),
                     "MEMORY USAGE is refused; --mem-limit leaves nothing out");
        link->cmp->memory_warned = true;
    } else if (check_answered(link, check, reply, ERR_NONE) && reply->item.type == RESP_INTEGER) {
        check->view[link->side].memory_bytes = (uint64_t)reply->item.num;
    }
    check_reply_done(check);
}

static void on_expiry(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct check *check = arg;
    struct view *view = &check->view[link->side];
    struct side *side = &link->cmp->side[link->side];
    if (!side->no_pexpiretime && reply_error_code(reply) == ERR_UNKNOWN_COMMAND) {
        side->no_pexpiretime = check->failed = true; /* asked again in the older way */
        check->failure = ERR_TRYAGAIN;
    } else if (check_answered(link, check, reply, ERR_NONE)) {
        view->gone |= reply->item.num == -2;
        view->expiry_ms = link_expiry_ms(link, reply->item.num, &view->expiry_error_ms);
    }
    check_reply_done(check);
}

/* Servers before 7.0 tell only the time left. */
static void check_send_expiry(struct check *check, int side) {
    struct bytes key = name_bytes(check->name);
    if (!check->cmp->side[side].no_pexpiretime) {
        SEND(check, side, on_expiry, BYTES_LITERAL("PEXPIRETIME"), key);
        return;
    }
    link_ask_clock(check->view[side].link);
    SEND(check, side, on_expiry, BYTES_LITERAL("PTTL"), key);
}

static void on_exists(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct check *check = arg;
    if (check_answered(link, check, reply, ERR_NONE))
        check->view[link->side].gone = reply->item.num == 0;
    check_reply_done(check);
}

/* Equal payloads are equal values; the footer holds only the version and a checksum. */
static void on_dump(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct check *check = arg;
    struct view *view = &check->view[link->side];
    if (command_is_unavailable(reply)) {
        link->cmp->side[link->side].no_dump = check->failed = true;
        check->failure = ERR_TRYAGAIN;
    } else if (check_answered(link, check, reply, ERR_NONE)) {
        struct bytes payload = reply->item.str;
        view->gone = reply->item.type == RESP_NULL;
        view->len = payload.len;
        if (payload.len >= DUMP_FOOTER_BYTES) payload.len -= DUMP_FOOTER_BYTES;
        view->digest = digest_of(payload);
    }
    check_reply_done(check);
}

static void on_sum(void *ctx, void *arg, const struct value_sum *value, const struct err *err) {
    struct link *link = ctx;
    struct check *check = arg;
    struct view *view = &check->view[link->side];
    if (err != NULL) {
        check_refused(link, check, err, NULL);
    } else {
        link_answered(link);
        view->sum = mem_alloc(sizeof(*view->sum));
        *view->sum = *value;
    }
    check_reply_done(check);
}

/* ---- steps ---- */

static void check_send_memory(struct check *check, int side) {
    if (check->cmp->side[side].no_memory) return;
    SEND(check, side, on_memory, BYTES_LITERAL("MEMORY"), BYTES_LITERAL("USAGE"),
         name_bytes(check->name));
}

static void check_send_step(struct check *check, int side) {
    const struct compare_settings *settings = check->cmp->settings;
    struct bytes key = name_bytes(check->name);
    bool limited = side == SOURCE && settings->mem_limit_bytes > 0;
    switch (check->step) {
    case STEP_EXISTS:
        if (side == SOURCE) SEND(check, side, on_exists, BYTES_LITERAL("EXISTS"), key);
        break;
    case STEP_KIND:
        SEND(check, side, on_type, BYTES_LITERAL("TYPE"), key);
        if (limited || settings->mode != COMPARE_QUICK) check_send_memory(check, side);
        check_send_expiry(check, side);
        break;
    case STEP_STRING: {
        SEND(check, side, on_string, BYTES_LITERAL("GETRANGE"), key, BYTES_LITERAL("0"),
             BYTES_LITERAL(STRING_SMALL_LAST));
        if (side == SOURCE && settings->filter->n_types > 0)
            SEND(check, side, on_type, BYTES_LITERAL("TYPE"), key);
        if (limited) check_send_memory(check, side);
        check_send_expiry(check, side);
        break;
    }
    case STEP_DUMP:
        SEND(check, side, on_dump, BYTES_LITERAL("DUMP"), key);
        break;
    case STEP_SUM: {
        struct view *view = &check->view[side];
        struct sum_request request = { .client = view->link->client,
                                       .db = comparison_db(check->cmp, side, check->name->db),
                                       .asking = check->name->ask[side] != NULL,
                                       .key = key,
                                       .type = view->kind,
                                       .memory_bytes = view->memory_bytes,
                                       .has_field_expiry =
                                           check->cmp->side[side].has_field_expiry };
        check->due++;
        sum_start(&request, on_sum, view->link, check);
        break;
    }
    }
}

/* The check is held by one more reply while it sends, so that it does not advance before both sides
 * are asked. */
static void check_send(struct check *check) {
    check->due = 1;
    check->failed = false;
    for (int side = 0; side < SIDES; side++) {
        struct view *view = &check->view[side];
        free(view->sum);
        view->sum = NULL;
        if (!client_is_ready(view->link->client)) {
            check->failed = true;
            check->failure = ERR_CLOSED;
            continue;
        }
        client_select(view->link->client, comparison_db(check->cmp, side, check->name->db));
        check_send_step(check, side);
    }
    check_reply_done(check);
}

static uint64_t check_cost(const struct check *check, enum check_step step) {
    uint64_t a = check->view[SOURCE].memory_bytes, b = check->view[TARGET].memory_bytes;
    uint64_t both = a + b + CHECK_COST_BYTES;
    return step == STEP_SUM && both > 2 * SUM_WHOLE_BYTES ? 2 * SUM_WHOLE_BYTES : both;
}

static bool checks_have_room(const struct comparison *cmp, uint64_t cost) {
    return cmp->checks.cost_bytes == 0 ||
           cmp->checks.cost_bytes + cost <= cmp->settings->buffer_bytes / 2;
}

static void check_charge(struct check *check, uint64_t cost) {
    check->cmp->checks.cost_bytes += cost - check->cost;
    check->cost = cost;
}

static void check_go(struct check *check, enum check_step step) {
    struct comparison *cmp = check->cmp;
    check->step = step;
    if (step != STEP_DUMP && step != STEP_SUM) {
        check_send(check);
        return;
    }
    uint64_t cost = check_cost(check, step);
    if (check->cost > 0 || (cmp->checks.heavy == NULL && checks_have_room(cmp, cost))) {
        check_charge(check, cost);
        check_send(check);
        return;
    }
    check->next = NULL;
    if (cmp->checks.heavy == NULL) {
        cmp->checks.heavy = check;
    } else {
        cmp->checks.heavy_tail->next = check;
    }
    cmp->checks.heavy_tail = check;
}

void checks_let_in(struct comparison *cmp) {
    while (cmp->checks.heavy != NULL &&
           checks_have_room(cmp, check_cost(cmp->checks.heavy, cmp->checks.heavy->step))) {
        struct check *check = cmp->checks.heavy;
        cmp->checks.heavy = check->next;
        check_charge(check, check_cost(check, check->step));
        check_send(check);
    }
}

/* ---- ends ---- */

/* The check ends; its name is the caller's again. */
static struct name *check_finish(struct check *check) {
    struct name *name = check->name;
    struct compare_progress *progress = check->cmp->progress;
    if (progress != NULL && !name->suspect) progress->keys++;
    check_free(check);
    return name;
}

/* A key whose end is counted, and that is no difference. */
static void check_conclude(struct check *check, uint64_t *count) {
    ++*count;
    free(check_finish(check));
}

static void check_conclude_equal(struct check *check) {
    struct tally *tally = comparison_tally(check->cmp, check->name);
    if (check->name->suspect) tally->away++;
    check_conclude(check, &tally->equal);
}

/* Filtered out, gone on both sides, or only asked whether it exists. */
static void check_conclude_nothing(struct check *check) {
    struct tally *tally = comparison_tally(check->cmp, check->name);
    if (check->name->suspect) tally->away++;
    free(check_finish(check));
}

static void check_again(struct check *check) {
    struct comparison *cmp = check->cmp;
    struct name *name = check_finish(check);
    name->checks++;
    name->suspect = true;
    name->attempts = 0;
    name->due_ms = clock_mono_ms() + cmp->settings->interval_ms;
    name_queue_push(&cmp->suspects, name);
}

/* Counts an unreadable key once, although both directions find it. */
static bool is_known_unreadable(struct check *check, enum difference_kind kind) {
    struct comparison *cmp = check->cmp;
    struct digest digest = digest_of(name_bytes(check->name));
    if (kind != DIFFERENCE_UNREADABLE) return false;
    if (check->name->backward) return digest_set_has(cmp->unreadable, digest);
    digest_set_add(&cmp->unreadable, digest);
    return false;
}

static void check_conclude_different(struct check *check, enum difference_kind kind) {
    struct tally *tally = comparison_tally(check->cmp, check->name);
    char detail[DIFFERENCE_DETAIL_MAX];
    if (is_known_unreadable(check, kind)) {
        free(check_finish(check));
        return;
    }
    switch (verdict_outcome(check, kind)) {
    case OUTCOME_CHECK_AGAIN:
        check_again(check);
        return;
    case OUTCOME_UNCOPIED:
        check_conclude(check, &tally->uncopied);
        return;
    case OUTCOME_MOVING:
        check_conclude(check, &tally->moving);
        return;
    case OUTCOME_UNPROVED:
        verdict_explain(check, kind, detail, sizeof(detail));
        comparison_report_unproved(check->cmp, check->name, detail);
        check_conclude(check, &tally->moving);
        return;
    case OUTCOME_FINDING:
        verdict_explain(check, kind, detail, sizeof(detail));
        comparison_report(check->cmp, check->name, kind, detail);
        free(check_finish(check));
        return;
    }
}

/* A reply said to try later or elsewhere, or a command about the key was refused. */
static void check_retry(struct check *check) {
    struct comparison *cmp = check->cmp;
    struct name *name = check->name;
    enum err_class class = err_class_of(check->failure);
    if (class == ERR_CLASS_KEY && (check->forbidden || ++name->attempts >= ATTEMPTS_MAX)) {
        check_conclude_different(check, DIFFERENCE_UNREADABLE);
        return;
    }
    int64_t later_ms = RETRY_HERE_MS;
    if (class == ERR_CLASS_THERE) later_ms = RETRY_THERE_MS;
    if (class == ERR_CLASS_WAIT) later_ms = RETRY_WAIT_MS;
    if (check->failure == ERR_ASK) later_ms = 0;
    name->due_ms = clock_mono_ms() + later_ms;
    check_free(check);
    name_queue_push(&cmp->retries, name);
}

static void check_apply(struct check *check, struct verdict verdict) {
    struct tally *tally = comparison_tally(check->cmp, check->name);
    switch (verdict.is) {
    case VERDICT_NEXT:
        check_go(check, verdict.step);
        break;
    case VERDICT_AGAIN:
        check->failure = ERR_TRYAGAIN;
        check_retry(check);
        break;
    case VERDICT_EQUAL:
        check_conclude_equal(check);
        break;
    case VERDICT_NOTHING:
        check_conclude_nothing(check);
        break;
    case VERDICT_ABSENT:
        check_conclude(check, &tally->absent);
        break;
    case VERDICT_SKIPPED:
        check_conclude(check, &tally->skipped);
        break;
    case VERDICT_DIFFERENT:
        check_conclude_different(check, verdict.kind);
        break;
    }
}

/* All replies of the present step are there. */
static void check_advance(struct check *check) {
    struct comparison *cmp = check->cmp;
    if (!comparison_goes_on(cmp) || !name_is_current(cmp, check->name)) {
        free(check->name);
        check_free(check);
        return;
    }
    if (check->failed) {
        check_retry(check);
        return;
    }
    /* Its name was added up when it was scanned. */
    bool looked = check->step == STEP_KIND || check->step == STEP_STRING;
    if (looked && !check->name->backward && check->view[SOURCE].gone) extras_spoil(cmp);
    check_apply(check, verdict_of(check));
}

/* ---- beginning ---- */

static enum check_step check_first_step(const struct comparison *cmp, const struct name *name) {
    if (name->backward)
        return name->suspect || scan_filters_type(cmp, SOURCE) ? STEP_KIND : STEP_EXISTS;
    bool likely =
        cmp->estimate.string_score >= STRING_SCORE_LIKELY && !name->suspect && !name->no_string;
    return likely && cmp->settings->mode != COMPARE_QUICK ? STEP_STRING : STEP_KIND;
}

bool check_start(struct comparison *cmp, struct name *name) {
    struct link *link[SIDES];
    if (!link_route_both(cmp, name, link)) return false;
    struct check *check = check_new(cmp, name);
    for (int side = 0; side < SIDES; side++)
        check->view[side] = (struct view){ .link = link[side], .expiry_ms = -1 };
    check_go(check, check_first_step(cmp, name));
    return true;
}
