/* Hindrances to --mode live; see doctor.h. None is a problem: a snapshot needs nothing of this.
 * Asks nobody. */
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "capture/feed.h"
#include "capture/flags.h"
#include "doctor/doctor.h"

/* A reader that stalls may cost that part of the memory; one that is cut off sooner than that is
 * cut off often. */
enum { BUFFER_PART = 4, BUFFER_TINY = 1 << 20, WHY_MAX = 400 };

#define SCAN_WORKS "a copy without following changes (--mode scan) works"

/* ---- of several servers the worst ---- */

static const struct doctor_node *worst(const struct doctor_side *side, enum doctor_check_id id) {
    const struct doctor_node *found = NULL;
    for (int i = 0; i < side->n_nodes; i++) {
        const struct doctor_node *node = &side->nodes[i];
        if (!node->reached) continue;
        if (found == NULL || node->live.checks[id].answer > found->live.checks[id].answer)
            found = node;
    }
    return found;
}

static const struct doctor_check *worst_check(const struct doctor_side *side,
                                              enum doctor_check_id id) {
    return &worst(side, id)->live.checks[id];
}

static bool is_bad(const struct doctor_side *side, enum doctor_check_id id) {
    return worst_check(side, id)->answer > ANSWER_GOOD;
}

typedef bool doctor_node_fn(const struct doctor_node *node);

static const struct doctor_node *first_that(const struct doctor_side *side, doctor_node_fn *is) {
    for (int i = 0; i < side->n_nodes; i++)
        if (side->nodes[i].reached && is(&side->nodes[i])) return &side->nodes[i];
    return NULL;
}

/* " on 10.0.0.5:6379", where there are several. */
static const char *on_node(const struct doctor_side *side, const struct doctor_node *node,
                           char text[WHY_MAX]) {
    text[0] = '\0';
    if (side->n_nodes > 1) snprintf(text, WHY_MAX, " on %s", node->name);
    return text;
}

/* "is not there (...) on 10.0.0.5:6379" */
static const char *how_bad(const struct doctor_side *side, enum doctor_check_id id,
                           char text[WHY_MAX]) {
    static const char *const words[DOCTOR_ANSWERS] = { "was not tried",
                                                       "is there",
                                                       "is refused",
                                                       "is not there",
                                                       "is not allowed to this user",
                                                       "is not allowed to this user",
                                                       "is not allowed to this user" };
    const struct doctor_check *check = worst_check(side, id);
    char where[WHY_MAX];
    on_node(side, worst(side, id), where);
    snprintf(text, WHY_MAX, "%s (%s)%.120s", words[check->answer], check->text, where);
    return text;
}

/* ---- how changes are learnt ---- */

/* rules: the missing part of an ACL. */
static void advise_rules(struct doctor_findings *f, const struct doctor_side *side,
                         enum doctor_check_id id, const char *rules) {
    if (worst_check(side, id)->answer >= ANSWER_NO_KEYS)
        doctor_findings_advise_access(f, side, rules);
    else
        doctor_findings_advise(
            f, "the provider may have switched it off, or rename-command renamed it; it is needed "
               "under its own name");
}

static void judge_tracking(struct doctor_findings *f, const struct doctor_side *side) {
    char why[WHY_MAX];
    if (is_bad(side, DOCTOR_CHECK_UNUSED)) {
        doctor_findings_add(
            f, DOCTOR_WARNING, "source", "live",
            "--mode live cannot listen by tracking: SUBSCRIBE " FEED_CHANNEL_UNUSED
            ", which lets the server cut off a listener that stalls, %s; " SCAN_WORKS,
            how_bad(side, DOCTOR_CHECK_UNUSED, why));
        advise_rules(f, side, DOCTOR_CHECK_UNUSED,
                     "+subscribe &" FEED_CHANNEL_UNUSED " (or allchannels)");
        return;
    }
    doctor_findings_add(f, DOCTOR_OK, "source", "live",
                        "changes can be followed by CLIENT TRACKING");
    if (!is_bad(side, DOCTOR_CHECK_GROUPS)) return;
    doctor_findings_add(
        f, DOCTOR_NOTE, "source", "live",
        "PSUBSCRIBE to the events of consumer groups %s: --mode live finds changes of groups by "
        "looking",
        how_bad(side, DOCTOR_CHECK_GROUPS, why));
    advise_rules(f, side, DOCTOR_CHECK_GROUPS,
                 "+psubscribe &" FEED_PATTERN_GROUPS " &" FEED_PATTERN_SETID " (or allchannels)");
}

static bool tells_too_little(const struct doctor_node *node) {
    return node->live.notify_known && !flags_suffice(bytes_of_str(node->live.notify));
}

static bool hides_notify(const struct doctor_node *node) {
    return !node->live.notify_known;
}

static void add_impossible(struct doctor_findings *f, const char *tracking, const char *events) {
    doctor_findings_add(f, DOCTOR_WARNING, "source", "live",
                        "--mode live is not possible: CLIENT TRACKING %s, and %s; " SCAN_WORKS,
                        tracking, events);
}

/* CLIENT TRACKING is no way; tracking says why. */
static void judge_notifications(struct doctor_findings *f, const struct doctor_side *side,
                                const char *tracking) {
    char why[WHY_MAX], text[2 * WHY_MAX];
    const struct doctor_node *off = first_that(side, tells_too_little),
                             *hides = first_that(side, hides_notify);
    if (is_bad(side, DOCTOR_CHECK_EVENTS)) {
        snprintf(text, sizeof(text), "PSUBSCRIBE " FEED_PATTERN_ALL " %s",
                 how_bad(side, DOCTOR_CHECK_EVENTS, why));
        add_impossible(f, tracking, text);
        advise_rules(f, side, DOCTOR_CHECK_EVENTS,
                     "+psubscribe &" FEED_PATTERN_ALL
                     " (or allchannels), with notify-keyspace-events AE; or, for "
                     "tracking, +client|tracking +subscribe &" FEED_CHANNEL_UNUSED);
    } else if (off != NULL) {
        snprintf(text, sizeof(text),
                 "keyspace notifications do not tell of every change (notify-keyspace-events is "
                 "\"%s\"%s)",
                 off->live.notify, on_node(side, off, why));
        add_impossible(f, tracking, text);
        doctor_findings_advise(
            f, "set notify-keyspace-events to AE (CONFIG SET, or in the parameter group of an "
               "ElastiCache cluster)");
    } else if (hides != NULL) {
        doctor_findings_add(
            f, DOCTOR_NOTE, "source", "live",
            "CLIENT TRACKING %s, and whether keyspace notifications are switched on cannot be "
            "read%s: "
            "`longhaul replicate --mode live` tries it, with a key of its own for half a second",
            tracking, on_node(side, hides, why));
        doctor_findings_advise(f, "set notify-keyspace-events to AE, where the provider sets it");
    } else {
        doctor_findings_add(f, DOCTOR_OK, "source", "live",
                            "changes can be followed by keyspace notifications; CLIENT TRACKING %s",
                            tracking);
    }
}

static void judge_capture(struct doctor_findings *f, const struct doctor_side *side) {
    char why[WHY_MAX];
    if (is_bad(side, DOCTOR_CHECK_TRACKING)) {
        judge_notifications(f, side, how_bad(side, DOCTOR_CHECK_TRACKING, why));
    } else {
        judge_tracking(f, side);
    }
}

/* ---- gaps, and changes that no server announces ---- */

static bool keeps_frequencies(const struct doctor_node *node) {
    return strstr(node->info.maxmemory_policy, "lfu") != NULL;
}

static bool hides_forks(const struct doctor_node *node) {
    return !node->live.counts_forks;
}

static bool hides_calls(const struct doctor_node *node) {
    return !node->live.counts_calls;
}

static void judge_gaps(struct doctor_findings *f, const struct doctor_side *side) {
    char where[WHY_MAX];
    const struct doctor_node *lfu = first_that(side, keeps_frequencies),
                             *forks = first_that(side, hides_forks);
    if (lfu == NULL && forks == NULL) return;
    doctor_findings_add(
        f, DOCTOR_NOTE, "source", "live",
        "after a gap --mode live copies every key again, instead of those that were used since: "
        "%s%s",
        lfu != NULL ? "an LFU maxmemory-policy keeps no times of use"
                    : "the server does not count its forks (total_forks, from 6.2 on)",
        on_node(side, lfu != NULL ? lfu : forks, where));
}

static void judge_calls(struct doctor_findings *f, const struct doctor_side *side) {
    char where[WHY_MAX];
    const struct doctor_node *node = first_that(side, hides_calls);
    if (node == NULL) return;
    doctor_findings_add(
        f, DOCTOR_NOTE, "source", "live",
        "INFO commandstats tells nothing%s: --mode live looks at consumer groups every --poll, "
        "and does "
        "not notice SWAPDB, nor FLUSHALL with notifications",
        on_node(side, node, where));
    doctor_findings_advise(f, "after these, start with --resync full, or use compare --repair");
}

/* ---- the buffer of a listener ---- */

static bool lets_buffers_grow(const struct doctor_node *node) {
    const struct doctor_live *live = &node->live;
    uint64_t memory =
        node->info.maxmemory > 0 ? node->info.maxmemory : node->info.total_system_memory;
    uint64_t limit = live->buffer_hard > 0 ? live->buffer_hard : live->buffer_soft;
    return live->buffer_known && (limit == 0 || (memory > 0 && limit > memory / BUFFER_PART));
}

static bool is_tiny(uint64_t limit) {
    return limit > 0 && limit < BUFFER_TINY;
}

static bool cuts_off_soon(const struct doctor_node *node) {
    return node->live.buffer_known &&
           (is_tiny(node->live.buffer_hard) || is_tiny(node->live.buffer_soft));
}

static const char *format_limits(const struct doctor_live *live, char text[WHY_MAX]) {
    char hard[32], soft[32];
    if (live->buffer_hard == 0 && live->buffer_soft == 0) {
        snprintf(text, WHY_MAX, "unlimited");
    } else {
        snprintf(text, WHY_MAX, "hard %s, soft %s",
                 live->buffer_hard > 0 ? units_format_bytes(live->buffer_hard, hard, sizeof(hard))
                                       : "none",
                 live->buffer_soft > 0 ? units_format_bytes(live->buffer_soft, soft, sizeof(soft))
                                       : "none");
    }
    return text;
}

static void judge_buffer(struct doctor_findings *f, const struct doctor_side *side) {
    char limits[WHY_MAX], where[WHY_MAX];
    const struct doctor_node *grows = first_that(side, lets_buffers_grow),
                             *tiny = first_that(side, cuts_off_soon);
    if (grows == NULL && tiny == NULL) return;
    const struct doctor_node *node = grows != NULL ? grows : tiny;
    doctor_findings_add(
        f, DOCTOR_WARNING, "source", "live", "client-output-buffer-limit of pubsub is %s%s: %s",
        format_limits(&node->live, limits), on_node(side, node, where),
        grows != NULL
            ? "should longhaul stall (--mode live), the server's memory grows until it evicts "
              "keys or is killed"
            : "a short burst of changes cuts --mode live off, and each time it goes through the "
              "keys again");
    doctor_findings_advise(
        f, "set client-output-buffer-limit \"pubsub 32mb 8mb 60\", the default of servers");
}

/* ---- the target ---- */

static void judge_lease(struct doctor_findings *f, const struct doctor_side *side) {
    char why[WHY_MAX];
    if (side->answers[DOCTOR_CMD_EVAL] == ANSWER_GOOD || !is_bad(side, DOCTOR_CHECK_TRANSACTION))
        return;
    doctor_findings_add(
        f, DOCTOR_WARNING, "target", "live",
        "--mode live cannot hold its lease: EVAL cannot be used, and what stands in for it "
        "(WATCH, MULTI, "
        "EXEC) %s; " SCAN_WORKS,
        how_bad(side, DOCTOR_CHECK_TRANSACTION, why));
    advise_rules(f, side, DOCTOR_CHECK_TRANSACTION, "+eval, or +watch +unwatch +multi +exec");
}

static void judge_record(struct doctor_findings *f, const struct doctor_side *side) {
    char why[WHY_MAX];
    if (!is_bad(side, DOCTOR_CHECK_RECORD)) return;
    doctor_findings_add(
        f, DOCTOR_WARNING, "target", "live",
        "--mode live cannot keep its record and lease (keys longhaul:{...}:state, :lease, :epoch, "
        ":order): access %s; a copy (--mode scan) works, but for large keys, which are put "
        "together "
        "under longhaul:tmp:{...}",
        how_bad(side, DOCTOR_CHECK_RECORD, why));
    advise_rules(f, side, DOCTOR_CHECK_RECORD,
                 "~longhaul:* with the commands +hset +hget +hgetall +hexists +hdel +set +get +del "
                 "+pexpire +lindex +lrem");
}

void doctor_judge_live(struct doctor_findings *f, const struct doctor_side *side) {
    if (worst(side, DOCTOR_CHECK_TRACKING) == NULL) return;
    if (side->id == DOCTOR_TARGET) {
        judge_lease(f, side);
        judge_record(f, side);
        return;
    }
    judge_capture(f, side);
    judge_gaps(f, side);
    judge_calls(f, side);
    judge_buffer(f, side);
}
