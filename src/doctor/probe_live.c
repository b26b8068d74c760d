/* Asks for the features that --mode live needs; see doctor.h. A command that leaves a mark on a
 * connection (tracking, subscriptions, MULTI) gets a connection of its own, which is closed again.
 * The names of keys are random, and no command makes one: HSET lacks a value, SET has XX. */
#include <stdio.h>
#include <sys/random.h>

#include "capture/feed.h"
#include "doctor/doctor.h"
#include "server/call.h"

struct live_probe {
    struct deployment *deployment;
    struct client *client;
    struct doctor_node *node;
    bool resp2; /* HELLO is not known */
};

static void live_note(struct live_probe *p, enum doctor_check_id id, enum doctor_answer answer,
                      struct bytes text) {
    struct doctor_check *check = &p->node->live.checks[id];
    if (answer <= check->answer) return;
    check->answer = answer;
    if (answer > ANSWER_GOOD) bytes_escape(text, check->text, sizeof(check->text));
}

/* A command that could not be sent counts as refused. */
static void note_failure(struct live_probe *p, enum doctor_check_id id, const struct err *err) {
    enum doctor_answer answer = err->code == ERR_UNSUPPORTED ? ANSWER_UNKNOWN : ANSWER_REFUSED;
    live_note(p, id, answer, bytes_of_str(err->text));
}

/* A lack of words is the command's own complaint: it may be used. */
static enum doctor_answer answer_of(const struct call_reply *reply) {
    static const char complaint[] = "ERR wrong number of arguments";
    struct bytes text = reply->item.str;
    if (!resp_is_error(&reply->item)) return ANSWER_GOOD;
    if (text.len >= sizeof(complaint) - 1 &&
        memcmp(text.ptr, complaint, sizeof(complaint) - 1) == 0)
        return ANSWER_GOOD;
    return doctor_answer_of_error(text);
}

static bool live_send(struct live_probe *p, struct client *client, struct call_reply *reply,
                      struct err *err, size_t argc, const struct bytes *argv) {
    int64_t timeout_ms = deployment_reply_timeout_ms(p->deployment);
    return call_send(deployment_loop(p->deployment), client, timeout_ms, reply, err, argc, argv);
}

/* Words parted by spaces. False: the connection is of no more use. */
static bool live_send_text(struct live_probe *p, struct client *client, struct call_reply *reply,
                           struct err *err, const char *text) {
    struct bytes argv[8], rest = bytes_of_str(text);
    size_t argc = 0;
    while (rest.len > 0 && argc < sizeof(argv) / sizeof(argv[0]))
        argv[argc++] = bytes_split(&rest, ' ');
    return live_send(p, client, reply, err, argc, argv);
}

static enum doctor_answer try(struct live_probe *p, struct client *client, enum doctor_check_id id,
                              const char *text) {
    struct call_reply reply;
    struct err err;
    if (!live_send_text(p, client, &reply, &err, text)) {
        note_failure(p, id, &err);
        return ANSWER_REFUSED;
    }
    enum doctor_answer answer = answer_of(&reply);
    live_note(p, id, answer, reply.item.str);
    call_reply_fini(&reply);
    return answer;
}

static struct client *open_listener(struct live_probe *p, enum doctor_check_id id,
                                    struct err *err) {
    struct client_settings settings = deployment_client_settings(p->deployment, &p->node->address);
    settings.protocol = p->resp2 ? 2 : 3;
    settings.subscriber = true;
    settings.reconnect = false;
    settings.fence = false;
    int64_t timeout_ms = settings.connect_timeout_ms + settings.reply_timeout_ms;
    struct client *client = call_open(deployment_loop(p->deployment), &settings, timeout_ms, err);
    if (client == NULL) note_failure(p, id, err);
    return client;
}

/* ---- the source ---- */

static void probe_tracking(struct live_probe *p) {
    struct err err;
    struct client *client = open_listener(p, DOCTOR_CHECK_TRACKING, &err);
    if (client == NULL) {
        p->resp2 = err.code == ERR_UNSUPPORTED;
        return;
    }
    try(p, client, DOCTOR_CHECK_TRACKING, "CLIENT TRACKING ON BCAST");
    client_close(&client);
}

/* Answered by pushes, or by an error in the place of the next reply, as in capture/feed.c; after
 * that the connection is out of step. */
static void probe_subscription(struct live_probe *p, enum doctor_check_id id, size_t n,
                               const struct bytes *words) {
    struct err err;
    struct client *client = open_listener(p, id, &err);
    if (client == NULL) return;
    resp_write_command(client_out(client), n, words);
    try(p, client, id, "PING");
    client_close(&client);
}

static void probe_subscriptions(struct live_probe *p) {
    const struct bytes unused[] = { BYTES_LITERAL("SUBSCRIBE"),
                                    BYTES_LITERAL(FEED_CHANNEL_UNUSED) };
    const struct bytes groups[] = { BYTES_LITERAL("PSUBSCRIBE"), BYTES_LITERAL(FEED_PATTERN_GROUPS),
                                    BYTES_LITERAL(FEED_PATTERN_SETID) };
    const struct bytes events[] = { BYTES_LITERAL("PSUBSCRIBE"), BYTES_LITERAL(FEED_PATTERN_ALL) };
    probe_subscription(p, DOCTOR_CHECK_UNUSED, 2, unused);
    probe_subscription(p, DOCTOR_CHECK_GROUPS, 3, groups);
    probe_subscription(p, DOCTOR_CHECK_EVENTS, 2, events);
}

/* On the common connection: false when that is lost, as for every other question. */
static bool look(struct live_probe *p, struct call_reply *reply, const char *text) {
    struct err err;
    if (live_send_text(p, p->client, reply, &err, text)) return true;
    p->node->reached = false;
    p->node->err = err;
    return false;
}

static void probe_counters(struct live_probe *p) {
    struct call_reply reply;
    uint64_t forks;
    if (!look(p, &reply, "INFO commandstats")) return;
    p->node->live.counts_calls = resp_is_string(&reply.item) && info_counts_calls(reply.item.str);
    call_reply_fini(&reply);
    if (!look(p, &reply, "INFO stats")) return;
    p->node->live.counts_forks =
        resp_is_string(&reply.item) && info_number(reply.item.str, "total_forks", &forks);
    call_reply_fini(&reply);
}

/* "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60": hard, soft, seconds. */
static void take_buffer(struct doctor_live *live, struct bytes limits) {
    int64_t hard, soft;
    while (limits.len > 0) {
        if (!bytes_equal_str(bytes_split(&limits, ' '), "pubsub")) continue;
        if (!bytes_to_i64(bytes_split(&limits, ' '), &hard) ||
            !bytes_to_i64(bytes_split(&limits, ' '), &soft))
            return;
        live->buffer_known = hard >= 0 && soft >= 0;
        live->buffer_hard = (uint64_t)hard;
        live->buffer_soft = (uint64_t)soft;
    }
}

static void probe_buffer(struct live_probe *p) {
    struct call_reply reply;
    struct resp_item name, value;
    if (!look(p, &reply, "CONFIG GET client-output-buffer-limit")) return;
    if (resp_is_aggregate(&reply.item) && resp_next(&reply.cursor, &name) &&
        resp_next(&reply.cursor, &value))
        take_buffer(&p->node->live, value.str);
    call_reply_fini(&reply);
}

/* ---- the target ---- */

static void make_own_name(char *name, size_t size) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = UINT64_C(0x5a5a5a5a5a5a5a5a);
    snprintf(name, size, "longhaul:{doctor-%016llx}", (unsigned long long)random);
}

/* Where EXEC is refused the connection stays within MULTI. */
static void probe_transaction(struct live_probe *p, const char *own) {
    static const enum doctor_check_id id = DOCTOR_CHECK_TRANSACTION;
    struct err err;
    char watch[96];
    struct client *client = deployment_call_open(p->deployment, &p->node->address, &err);
    if (client == NULL) {
        note_failure(p, id, &err);
        return;
    }
    snprintf(watch, sizeof(watch), "WATCH %s:lease", own);
    try(p, client, id, watch);
    try(p, client, id, "UNWATCH");
    if (try(p, client, id, "MULTI") == ANSWER_GOOD) try(p, client, id, "EXEC");
    client_close(&client);
}

/* Commands of store/lease.h, record_writer.h and orders.h. */
static void probe_record(struct live_probe *p, const char *own) {
    static const char *const asked[] = {
        "HSET %s:state job x y", "HGET %s:state job", "HGETALL %s:state",  "HEXISTS %s:state job",
        "HDEL %s:state job",     "SET %s:lease 1 XX", "GET %s:lease",      "PEXPIRE %s:lease 1",
        "DEL %s:lease",          "LINDEX %s:order 0", "LREM %s:order 1 x",
    };
    char text[128];
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        snprintf(text, sizeof(text), asked[i], own);
        try(p, p->client, DOCTOR_CHECK_RECORD, text);
    }
}

void doctor_probe_live(struct doctor_side *side, struct deployment *deployment,
                       struct client *client, struct doctor_node *node) {
    struct live_probe p = { .deployment = deployment, .client = client, .node = node };
    if (side->id == DOCTOR_SOURCE) {
        probe_tracking(&p);
        probe_subscriptions(&p);
        probe_counters(&p);
        if (node->reached) probe_buffer(&p);
        return;
    }
    char own[64];
    make_own_name(own, sizeof(own));
    probe_transaction(&p, own);
    probe_record(&p, own);
}
