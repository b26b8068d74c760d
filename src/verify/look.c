/* Looking at one key on both sides; see compare_priv.h. Each step of an exam sends its commands to
 * both sides at once and waits for all their replies; a reply that tells to try later or elsewhere
 * makes the whole exam start anew. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "verify/compare_priv.h"

enum { DUMP_FOOTER_BYTES = 10 };

/* What a key costs beside its value: the commands and their short replies. */
enum { LOOK_COST_BYTES = 256 };

/* ---- exams ---- */

static struct exam *exam_new(struct comparison *cmp, struct name *name) {
    struct exam *exam = cmp->free_exams;
    if (exam != NULL) {
        cmp->free_exams = exam->next;
        *exam = (struct exam){ 0 };
    } else {
        exam = mem_zalloc(sizeof(*exam));
    }
    exam->cmp = cmp;
    exam->name = name;
    cmp->n_exams++;
    return exam;
}

void exam_free(struct exam *exam) {
    struct comparison *cmp = exam->cmp;
    for (int side = 0; side < SIDES; side++) free(exam->view[side].sum);
    free(exam->refusal);
    cmp->cost_bytes -= exam->cost;
    cmp->n_exams--;
    exam->next = cmp->free_exams;
    cmp->free_exams = exam;
}

void exam_pool_free(struct comparison *cmp) {
    while (cmp->free_exams != NULL) {
        struct exam *exam = cmp->free_exams;
        cmp->free_exams = exam->next;
        free(exam);
    }
}

static void reply_done(struct exam *exam) {
    if (--exam->due == 0) exam_advance(exam);
}

/* ---- replies that are no answers ---- */

static void redirected(struct link *link, struct exam *exam, const struct err *err,
                       struct bytes text) {
    struct comparison *cmp = link->cmp;
    exam->name->ask[link->side] = NULL;
    if (err->code == ERR_ASK) {
        exam->name->ask[link->side] = link_to(cmp, link->side, text, link);
    } else {
        cmp->side[link->side].refresh_wanted = true;
    }
}

/* A user may be kept from single keys: that is no reason to end the run. The sentences: redis
 * 7.0.15 src/acl.c getAclErrorMessage(), before 7.0 src/server.c processCommand(); only those about
 * commands say "to run". */
bool refusal_is_about_key(struct bytes text) {
    return memmem(text.ptr, text.len, "to run", 6) == NULL;
}

static void keep_refusal(struct link *link, struct exam *exam, const struct err *err) {
    size_t size = strlen(err->text) + sizeof("source: ");
    free(exam->refusal);
    exam->refusal = mem_alloc(size);
    snprintf(exam->refusal, size, "%s: %s", link->side == SOURCE ? "source" : "target", err->text);
}

/* text is the error reply, empty when it is not at hand: then the next look at the key brings it.
 */
static void refused(struct link *link, struct exam *exam, const struct err *err,
                    struct bytes text) {
    exam->failed = true;
    exam->failure = err->code;
    switch (err_class_of(err->code)) {
    case ERR_CLASS_THERE:
        redirected(link, exam, err, text);
        link_troubled(link, err);
        break;
    case ERR_CLASS_HERE:
    case ERR_CLASS_WAIT:
        if (err->code == ERR_CLUSTERDOWN || err->code == ERR_MASTERDOWN)
            link->cmp->side[link->side].refresh_wanted = true;
        link_troubled(link, err);
        break;
    case ERR_CLASS_KEY:
        exam->forbidden = err->code == ERR_NOPERM && refusal_is_about_key(bytes_of_str(err->text));
        if (err->code == ERR_UNKNOWN_COMMAND || (err->code == ERR_NOPERM && !exam->forbidden))
            compare_fail(link->cmp, err);
        keep_refusal(link, exam, err);
        break;
    case ERR_CLASS_STOP:
        compare_fail(link->cmp, err);
        break;
    }
}

static enum err_code error_of(const struct reply *reply) {
    return resp_is_error(&reply->item) ? err_code_of_reply(reply->item.str.ptr, reply->item.str.len)
                                       : ERR_NONE;
}

/* True when the reply is an answer; otherwise the exam has been told. `tolerated` are errors that
 * are answers. */
static bool answered(struct link *link, struct exam *exam, const struct reply *reply,
                     enum err_code tolerated) {
    if (reply->err != NULL) {
        exam->failed = true;
        exam->failure = reply->err->code;
        return false;
    }
    if (!resp_is_error(&reply->item) || (tolerated != ERR_NONE && error_of(reply) == tolerated)) {
        link_answered(link);
        return true;
    }
    struct err err;
    client_reply_error(link->client, &reply->item, &err);
    refused(link, exam, &err, reply->item.str);
    return false;
}

/* A command that is missing or forbidden there and that one can do without. */
static bool is_unavailable(const struct reply *reply) {
    if (reply->err != NULL) return false;
    enum err_code code = error_of(reply);
    return code == ERR_UNKNOWN_COMMAND ||
           (code == ERR_NOPERM && !refusal_is_about_key(reply->item.str));
}

/* ---- commands ---- */

static void send_words(struct exam *exam, int side, client_reply_fn *fn, size_t argc,
                       const struct bytes *argv) {
    struct link *link = exam->view[side].link;
    exam->due++;
    if (exam->name->ask[side] != NULL) client_asking(link->client);
    client_command(link->client, fn, link, exam, argc, argv);
}

#define SEND(exam, side, fn, ...)                                                                  \
    do {                                                                                           \
        const struct bytes words_[] = { __VA_ARGS__ };                                             \
        send_words(exam, side, fn, sizeof(words_) / sizeof(words_[0]), words_);                    \
    } while (0)

static void on_string(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exam *exam = arg;
    struct view *view = &exam->view[link->side];
    if (answered(link, exam, reply, ERR_WRONGTYPE)) {
        view->foreign = resp_is_error(&reply->item);
        view->string = !view->foreign;
        struct bytes value = reply->item.str;
        if (view->string) {
            view->len = value.len;
            view->large = value.len >= LOOK_STRING_BYTES;
            view->digest = digest_of_string(value);
            compare_saw_length(link->cmp, value.len);
        }
    }
    reply_done(exam);
}

static void on_type(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exam *exam = arg;
    struct view *view = &exam->view[link->side];
    if (answered(link, exam, reply, ERR_NONE)) {
        struct bytes type = reply->item.str;
        size_t len = type.len < sizeof(view->type) ? type.len : sizeof(view->type) - 1;
        memcpy(view->type, type.ptr, len);
        view->type[len] = '\0';
        view->kind = sum_type_of(type);
        if (bytes_equal_str(type, "none")) view->gone = true;
    }
    reply_done(exam);
}

static void on_memory(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exam *exam = arg;
    struct side *side = &link->cmp->side[link->side];
    if (is_unavailable(reply)) {
        side->no_memory = true;
        if (link->cmp->settings->mem_limit_bytes > 0 && !link->cmp->memory_warned)
            log_warn(client_place(link->client),
                     "MEMORY USAGE is refused; --mem-limit leaves nothing out");
        link->cmp->memory_warned = true;
    } else if (answered(link, exam, reply, ERR_NONE) && reply->item.type == RESP_INTEGER) {
        exam->view[link->side].memory_bytes = (uint64_t)reply->item.num;
    }
    reply_done(exam);
}

static void on_time(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct resp_cursor c = reply->cursor;
    struct resp_item seconds, micros;
    int64_t s, us;
    if (reply->err != NULL || reply->item.num != 2 || !resp_next(&c, &seconds) ||
        !resp_next(&c, &micros))
        return;
    if (!bytes_to_i64(seconds.str, &s) || !bytes_to_i64(micros.str, &us)) return;
    link->server_ms = s * 1000 + us / 1000;
    link->clock_error_ms = clock_mono_ms() - (int64_t)(intptr_t)arg + 1;
}

static void on_expiry(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exam *exam = arg;
    struct view *view = &exam->view[link->side];
    struct side *side = &link->cmp->side[link->side];
    if (!side->no_pexpiretime && error_of(reply) == ERR_UNKNOWN_COMMAND) {
        side->no_pexpiretime = exam->failed = true; /* asked again in the older way */
        exam->failure = ERR_TRYAGAIN;
    } else if (answered(link, exam, reply, ERR_NONE)) {
        int64_t answer = reply->item.num;
        view->gone |= answer == -2;
        view->expiry_ms = answer < 0 ? -1 : answer;
        if (side->no_pexpiretime && answer >= 0) {
            view->expiry_ms += link->server_ms;
            view->expiry_error_ms = link->clock_error_ms;
        }
    }
    reply_done(exam);
}

void link_ask_clock(struct link *link) {
    const struct bytes time = BYTES_LITERAL("TIME");
    if (link->clock_asked) return;
    client_command(link->client, on_time, link, (void *)(intptr_t)clock_mono_ms(), 1, &time);
    link->clock_asked = true;
}

/* Before 7.0 only the time left is told: the server's clock is read in the same stream of commands
 * before it. */
static void send_expiry(struct exam *exam, int side) {
    struct bytes key = name_bytes(exam->name);
    if (!exam->cmp->side[side].no_pexpiretime) {
        SEND(exam, side, on_expiry, BYTES_LITERAL("PEXPIRETIME"), key);
        return;
    }
    link_ask_clock(exam->view[side].link);
    SEND(exam, side, on_expiry, BYTES_LITERAL("PTTL"), key);
}

static void on_exists(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exam *exam = arg;
    if (answered(link, exam, reply, ERR_NONE)) exam->view[link->side].gone = reply->item.num == 0;
    reply_done(exam);
}

/* Equal payloads are equal values; the footer holds only the version and a checksum. */
static void on_dump(void *ctx, void *arg, const struct reply *reply) {
    struct link *link = ctx;
    struct exam *exam = arg;
    struct view *view = &exam->view[link->side];
    if (is_unavailable(reply)) {
        link->cmp->side[link->side].no_dump = exam->failed = true;
        exam->failure = ERR_TRYAGAIN;
    } else if (answered(link, exam, reply, ERR_NONE)) {
        struct bytes payload = reply->item.str;
        view->gone = reply->item.type == RESP_NULL;
        view->len = payload.len;
        if (payload.len >= DUMP_FOOTER_BYTES) payload.len -= DUMP_FOOTER_BYTES;
        view->digest = digest_of(payload);
    }
    reply_done(exam);
}

static void on_sum(void *ctx, void *arg, const struct value_sum *value, const struct err *err) {
    struct link *link = ctx;
    struct exam *exam = arg;
    struct view *view = &exam->view[link->side];
    if (err != NULL) {
        refused(link, exam, err, bytes_of("", 0));
    } else {
        link_answered(link);
        view->sum = mem_alloc(sizeof(*view->sum));
        *view->sum = *value;
    }
    reply_done(exam);
}

/* ---- steps ---- */

static void send_memory(struct exam *exam, int side) {
    if (exam->cmp->side[side].no_memory) return;
    SEND(exam, side, on_memory, BYTES_LITERAL("MEMORY"), BYTES_LITERAL("USAGE"),
         name_bytes(exam->name));
}

static void send_step(struct exam *exam, int side) {
    const struct compare_settings *settings = exam->cmp->settings;
    struct bytes key = name_bytes(exam->name);
    bool limited = side == SOURCE && settings->mem_limit_bytes > 0;
    switch (exam->step) {
    case STEP_EXISTS:
        if (side == SOURCE) SEND(exam, side, on_exists, BYTES_LITERAL("EXISTS"), key);
        break;
    case STEP_KIND:
        SEND(exam, side, on_type, BYTES_LITERAL("TYPE"), key);
        if (limited || settings->mode != COMPARE_QUICK) send_memory(exam, side);
        send_expiry(exam, side);
        break;
    case STEP_STRING: {
        static const struct bytes last = BYTES_LITERAL("16383");
        SEND(exam, side, on_string, BYTES_LITERAL("GETRANGE"), key, BYTES_LITERAL("0"), last);
        if (side == SOURCE && settings->filter->n_types > 0)
            SEND(exam, side, on_type, BYTES_LITERAL("TYPE"), key);
        if (limited) send_memory(exam, side);
        send_expiry(exam, side);
        break;
    }
    case STEP_DUMP:
        SEND(exam, side, on_dump, BYTES_LITERAL("DUMP"), key);
        break;
    case STEP_SUM: {
        struct view *view = &exam->view[side];
        struct sum_request request = { .client = view->link->client,
                                       .db = compare_db(exam->cmp, side, exam->name),
                                       .asking = exam->name->ask[side] != NULL,
                                       .key = key,
                                       .type = view->kind,
                                       .memory_bytes = view->memory_bytes,
                                       .has_field_expiry = exam->cmp->side[side].has_field_expiry };
        exam->due++;
        sum_start(&request, on_sum, view->link, exam);
        break;
    }
    }
}

/* The exam is held by one more reply while it sends, so that it does not advance before both sides
 * are asked. */
static void exam_send(struct exam *exam) {
    exam->due = 1;
    exam->failed = false;
    for (int side = 0; side < SIDES; side++) {
        struct view *view = &exam->view[side];
        free(view->sum);
        view->sum = NULL;
        if (!client_is_ready(view->link->client)) {
            exam->failed = true;
            exam->failure = ERR_CLOSED;
            continue;
        }
        client_select(view->link->client, compare_db(exam->cmp, side, exam->name));
        send_step(exam, side);
    }
    reply_done(exam);
}

static uint64_t cost_of(const struct exam *exam, enum exam_step step) {
    uint64_t a = exam->view[SOURCE].memory_bytes, b = exam->view[TARGET].memory_bytes;
    uint64_t both = a + b + LOOK_COST_BYTES;
    return step == STEP_SUM && both > 2 * SUM_WHOLE_BYTES ? 2 * SUM_WHOLE_BYTES : both;
}

static bool has_room(const struct comparison *cmp, uint64_t cost) {
    return cmp->cost_bytes == 0 || cmp->cost_bytes + cost <= cmp->settings->buffer_bytes / 2;
}

static void exam_charge(struct exam *exam, uint64_t cost) {
    exam->cmp->cost_bytes += cost - exam->cost;
    exam->cost = cost;
}

void exam_go(struct exam *exam, enum exam_step step) {
    struct comparison *cmp = exam->cmp;
    exam->step = step;
    if (step != STEP_DUMP && step != STEP_SUM) {
        exam_send(exam);
        return;
    }
    uint64_t cost = cost_of(exam, step);
    if (exam->cost > 0 || (cmp->heavy == NULL && has_room(cmp, cost))) {
        exam_charge(exam, cost);
        exam_send(exam);
        return;
    }
    exam->next = NULL;
    if (cmp->heavy == NULL) {
        cmp->heavy = exam;
    } else {
        cmp->heavy_tail->next = exam;
    }
    cmp->heavy_tail = exam;
}

void exams_let_in(struct comparison *cmp) {
    while (cmp->heavy != NULL && has_room(cmp, cost_of(cmp->heavy, cmp->heavy->step))) {
        struct exam *exam = cmp->heavy;
        cmp->heavy = exam->next;
        exam_charge(exam, cost_of(exam, exam->step));
        exam_send(exam);
    }
}

/* ---- beginning ---- */

static enum exam_step first_step(const struct comparison *cmp, const struct name *name) {
    if (name->backward) return name->suspect ? STEP_KIND : STEP_EXISTS;
    bool likely = cmp->string_score >= STRING_LIKELY && !name->suspect && !name->no_string;
    return likely && cmp->settings->mode != COMPARE_QUICK ? STEP_STRING : STEP_KIND;
}

bool exam_start(struct comparison *cmp, struct name *name) {
    struct link *link[SIDES];
    for (int side = 0; side < SIDES; side++) {
        link[side] = link_route(cmp, side, name);
        if (link[side] == NULL || !client_is_ready(link[side]->client)) return false;
    }
    struct exam *exam = exam_new(cmp, name);
    for (int side = 0; side < SIDES; side++)
        exam->view[side] = (struct view){ .link = link[side], .expiry_ms = -1 };
    exam_go(exam, first_step(cmp, name));
    return true;
}
