/* See lease.h. One timer drives everything: a step that is due and can be sent is sent, a step that
 * failed is due again soon.
 *
 *            given back, or its holder is dead
 *   LOOKING ────────────────────────────────────▶ TAKING ─▶ WAITING ─▶ HELD ─▶ LOST
 *    ▲  ▲ └─no lease, though there was a holder──▶ TAKING ─▶ WAITING for a lease ─▶ HELD
 *    │  └───── the lease was lost while waiting ──────────────┘                      │
 *    └──────── the holder's right has ended by its clock ────────────────────────────┘
 *
 *   time   sent          answered                         right_until_ms   expiry at the server
 *   ────────┼────────────────┼────────────────────────────────┼────────────────┼──────▶
 *           └ lease_ms counts from here, for the holder ──────┘- a tenth ──────┘ or later
 */
#include "store/lease.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/former_priv.h"
#include "store/lease_priv.h"
#include "store/record.h"

enum {
    LEASE_TICK_MAX_MS = 250,
    LEASE_SLICE_MS = 50,     /* of a wait */
    LEASE_LOOK_MS = 500,     /* how often a standby looks, at least */
    LEASE_EXCESS_MS = 1000,  /* of an expiry that is still believed */
    LEASE_REFRESH_MS = 1000, /* between two refreshes of the topology, while it is acquired */
    LEASE_RENEW_PART = 3,    /* of the lease */
    LEASE_MARGIN_PART = 10,  /* of the lease */
    LEASE_NAME_MAX = RECORD_JOB_MAX + RECORD_OWNER_MAX + 40
};

enum lease_state {
    LEASE_LOOKING, /* not ours */
    LEASE_TAKING,  /* a change is under way, or former connections are ended before it */
    LEASE_WAITING, /* ours, but nothing may be written yet */
    LEASE_HELD,
    LEASE_LOST
};

/* The findings of a look at the lease and its epoch. */
struct lease_look {
    char seen[LEASE_VALUE_MAX], told[LEASE_VALUE_MAX];
    bool saw_holder; /* since lease_acquire() */
    bool must_wait;
    uint64_t known_epoch;
    char dead_owner[RECORD_OWNER_MAX];
    uint64_t dead_epoch;
    int64_t former_ms;  /* the length of the last holder's lease by its record; 0: unknown */
    int64_t longest_ms; /* that the holder told[] may have by its lease */
};

struct lease_callbacks {
    void (*on_wait)(void *ctx, const char *holder);
    void *wait_ctx;
    void (*on_lost)(void *ctx, const char *holder);
    void *lost_ctx;
    void (*on_gone)(void *ctx, uint16_t slot);
    void *gone_ctx;
};

struct lease {
    struct deployment *target;
    struct loop *loop;
    int db;
    char job[RECORD_JOB_MAX], owner[RECORD_OWNER_MAX], name[LEASE_NAME_MAX];
    char standby_name[LEASE_NAME_MAX]; /* of the link while nothing may be written */
    char lease_key[STORE_KEY_MAX], epoch_key[STORE_KEY_MAX];
    struct slot_link *link;
    struct lease_change change;
    struct former_sweep *sweep;
    struct loop_timer *timer;
    int64_t lease_ms, wait_ms;

    enum lease_state state;
    bool busy; /* a command is under way, or the sweep before the lease is taken */
    int64_t due_ms;
    uint64_t epoch;              /* 0: never held */
    char value[LEASE_VALUE_MAX]; /* of the lease while it is ours */
    int64_t sent_ms;             /* the change under way */
    int64_t right_until_ms;      /* by the clock alone */
    _Atomic int64_t until_ms;    /* the right to write; INT64_MIN: none */

    struct lease_look look;

    /* Waiting. */
    int64_t wait_until_ms;
    int64_t swept_ms; /* when the connections of former holders were ended; 0: not yet */

    bool acquired, started, ending, told_loss, told_late;
    struct err trouble; /* of the last step that failed; fatal only before it is acquired */
    bool fatal, wants_topology;
    char lost_to[LEASE_VALUE_MAX];
    struct lease_callbacks tell;
};

static int64_t lease_min(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ---- states ---- */

/* A step that is due at once is not left to the next tick. */
static void lease_step_soon(struct lease *l, int64_t ms) {
    l->due_ms = clock_boot_ms() + ms;
    if (ms == 0 && loop_timer_is_pending(l->timer)) loop_timer_start(l->timer, 0);
}

static void lease_end_right(struct lease *l) {
    atomic_store(&l->until_ms, INT64_MIN);
}

/* A step failed in a way that may pass; before the lease is acquired, some errors are the end. */
static void lease_step_failed(struct lease *l, const struct err *err) {
    enum err_class class = err_class_of(err->code);
    l->trouble = *err;
    l->fatal = class == ERR_CLASS_KEY || class == ERR_CLASS_STOP;
    l->wants_topology = err->code != ERR_TRYAGAIN;
    lease_step_soon(l, lease_min(l->lease_ms / LEASE_MARGIN_PART, LEASE_TICK_MAX_MS));
    log_debug(err->place, "job %s: a step about the lease failed: %s", l->job, err->text);
}

static void lease_look_again(struct lease *l, int64_t ms) {
    /* Without the right to write, our own connection is none to be ended. */
    if (l->state == LEASE_HELD || l->swept_ms > 0) slot_link_set_name(l->link, l->standby_name);
    l->state = LEASE_LOOKING;
    l->swept_ms = 0;
    lease_end_right(l);
    lease_step_soon(l, ms);
}

static void lease_lose(struct lease *l, const char *holder) {
    l->state = LEASE_LOST;
    lease_end_right(l);
    snprintf(l->lost_to, sizeof(l->lost_to), "%s",
             holder[0] != '\0' ? holder : "another process, which has ended");
    if (loop_timer_is_pending(l->timer)) loop_timer_start(l->timer, 0);
}

static void lease_set_epoch(struct lease *l, uint64_t epoch) {
    l->epoch = epoch;
    snprintf(l->value, sizeof(l->value), "%" PRIu64 " %s", epoch, l->owner);
    snprintf(l->name, sizeof(l->name), "longhaul:%s:%" PRIu64, l->job, epoch);
}

static void lease_begin_wait(struct lease *l) {
    int64_t now_ms = clock_boot_ms();
    l->state = LEASE_WAITING;
    l->swept_ms = 0;
    l->wait_until_ms = l->look.must_wait ? now_ms + l->wait_ms : now_ms;
    if (l->look.must_wait)
        log_warn("target",
                 "job %s: a former holder may still have the right to write; nothing is written for"
                 " %" PRId64 " ms, until that right has ended",
                 l->job, l->wait_ms);
    lease_step_soon(l, 0);
}

static void lease_begin_hold(struct lease *l) {
    if (l->acquired) log_info("target", "job %s: the lease is held again", l->job);
    l->state = LEASE_HELD;
    l->acquired = true;
    l->look.must_wait = false;
    l->told_late = false;
}

static void lease_take_renewal(struct lease *l) {
    l->right_until_ms = l->sent_ms + l->lease_ms - l->lease_ms / LEASE_MARGIN_PART;
    l->due_ms = l->sent_ms + l->lease_ms / LEASE_RENEW_PART;
    if (l->state == LEASE_WAITING && l->swept_ms > 0 && l->sent_ms >= l->swept_ms)
        lease_begin_hold(l);
    if (l->state != LEASE_HELD || !slot_link_is_ready(l->link)) return;
    atomic_store(&l->until_ms, l->right_until_ms);
    if (l->told_late) log_info("target", "job %s: the lease is renewed again", l->job);
    l->told_late = false;
}

/* ---- the epoch ---- */

static void on_epoch_written(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    struct err err = { 0 };
    l->busy = false;
    if (!lease_note_error(&err, client, reply)) {
        if (l->state == LEASE_TAKING) lease_begin_wait(l);
        return;
    }
    lease_step_failed(l, &err);
    /* The value of the lease is ours: it is found again. */
    if (l->state == LEASE_TAKING) l->state = LEASE_LOOKING;
}

static void lease_write_epoch(struct lease *l) {
    char number[24];
    snprintf(number, sizeof(number), "%" PRIu64, l->epoch);
    const struct bytes words[] = { BYTES_LITERAL("SET"), bytes_of_str(l->epoch_key),
                                   bytes_of_str(number) };
    l->busy = true;
    slot_link_send(l->link, on_epoch_written, l, 3, words);
}

static uint64_t epoch_of_reply(const struct reply *reply) {
    int64_t epoch = 0;
    if (reply->err == NULL && resp_is_string(&reply->item)) bytes_to_i64(reply->item.str, &epoch);
    return epoch > 0 ? (uint64_t)epoch : 0;
}

static void lease_read_epoch(struct lease *l, slot_link_fn *fn) {
    const struct bytes words[] = { BYTES_LITERAL("GET"), bytes_of_str(l->epoch_key) };
    l->busy = true;
    slot_link_send(l->link, fn, l, 2, words);
}

static void lease_tell_gone(struct lease *l) {
    if (l->tell.on_gone != NULL && !l->ending)
        l->tell.on_gone(l->tell.gone_ctx, slot_of_key(bytes_of_str(l->lease_key)));
}

/* After a renewal: the target may have lost the epoch alone. */
static void on_epoch_checked(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    l->busy = false;
    if (reply->err != NULL || resp_is_error(&reply->item) || epoch_of_reply(reply) >= l->epoch)
        return;
    if (!slot_link_is_ready(l->link) || l->state == LEASE_LOST || l->ending) return;
    lease_write_epoch(l);
    lease_tell_gone(l);
}

/* ---- changes ---- */

static void lease_send_change(struct lease *l, const char *expected, const char *wanted,
                              void (*fn)(void *ctx, struct lease_change *change)) {
    bool gives_back = lease_is_given_back(wanted);
    snprintf(l->change.expected, sizeof(l->change.expected), "%s", expected);
    snprintf(l->change.wanted, sizeof(l->change.wanted), "%s", wanted);
    l->change.lease_ms = gives_back ? 0 : l->lease_ms;
    l->change.fn = fn;
    l->busy = true;
    l->sent_ms = clock_boot_ms();
    lease_change_send(&l->change, l->link);
}

static void on_taken(void *ctx, struct lease_change *change) {
    struct lease *l = ctx;
    l->busy = false;
    if (change->result == LEASE_DONE) {
        if (slot_link_is_ready(l->link)) {
            lease_write_epoch(l);
        } else {
            lease_look_again(l, 0);
        }
        return;
    }
    lease_look_again(l, 0);
    if (change->result == LEASE_FAILED) lease_step_failed(l, &change->err);
}

static void lease_take(struct lease *l, const char *expected) {
    if (!l->acquired) lease_set_epoch(l, l->look.known_epoch + 1);
    l->state = LEASE_TAKING;
    lease_send_change(l, expected, l->value, on_taken);
}

static void on_retaken(void *ctx, struct lease_change *change) {
    struct lease *l = ctx;
    l->busy = false;
    if (l->state != LEASE_HELD) return;
    if (change->result == LEASE_DONE) {
        lease_take_renewal(l);
        if (slot_link_is_ready(l->link)) lease_write_epoch(l);
    } else if (change->result == LEASE_FAILED) {
        lease_step_failed(l, &change->err);
    } else {
        lease_step_soon(l, 0);
    }
}

/* The lease is gone while our right lasts: nobody else can have held it meanwhile. */
static void on_epoch_before_retaking(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    struct err err = { 0 };
    l->busy = false;
    if (l->state != LEASE_HELD) return;
    if (lease_note_error(&err, client, reply)) {
        lease_step_failed(l, &err);
    } else if (epoch_of_reply(reply) > l->epoch) {
        lease_lose(l, "");
    } else if (clock_boot_ms() >= l->right_until_ms || !slot_link_is_ready(l->link)) {
        lease_step_soon(l, 0);
    } else {
        log_warn("target", "job %s: the lease was gone from the target; it is taken again", l->job);
        lease_send_change(l, "", l->value, on_retaken);
        lease_tell_gone(l);
    }
}

static void lease_take_refusal(struct lease *l, const char *holder) {
    if (holder[0] == '\0' && l->state == LEASE_HELD && clock_boot_ms() < l->right_until_ms &&
        slot_link_is_ready(l->link)) {
        lease_read_epoch(l, on_epoch_before_retaking);
    } else if (holder[0] == '\0' || !l->acquired) {
        lease_look_again(l, 0);
    } else {
        lease_lose(l, lease_is_given_back(holder) ? "" : lease_owner_of(holder));
    }
}

static void on_renewed(void *ctx, struct lease_change *change) {
    struct lease *l = ctx;
    l->busy = false;
    if (l->state != LEASE_HELD && l->state != LEASE_WAITING) return;
    if (change->result == LEASE_FAILED) {
        lease_step_failed(l, &change->err);
    } else if (change->result == LEASE_REFUSED) {
        lease_take_refusal(l, change->holder);
    } else {
        lease_take_renewal(l);
        if (slot_link_is_ready(l->link) && !l->ending) lease_read_epoch(l, on_epoch_checked);
    }
}

/* ---- ending the connections of former holders ---- */

static bool lease_sweep_succeeded(struct lease *l, const struct former_result *result) {
    former_sweep_free(&l->sweep);
    if (!result->ok) lease_step_failed(l, &result->err);
    return result->ok;
}

static void on_swept_before_taking(void *ctx, const struct former_result *result) {
    struct lease *l = ctx;
    bool had_holder = result->had_holder;
    l->busy = false;
    if (!lease_sweep_succeeded(l, result) || !slot_link_is_ready(l->link)) {
        l->state = LEASE_LOOKING;
        return;
    }
    l->look.must_wait = l->look.must_wait || had_holder;
    lease_take(l, "");
}

static void on_swept_after_waiting(void *ctx, const struct former_result *result) {
    struct lease *l = ctx;
    if (!lease_sweep_succeeded(l, result) || l->state != LEASE_WAITING) return;
    l->swept_ms = clock_boot_ms();
    /* From now on a successor can end this connection too, and the right to write with it. */
    slot_link_set_name(l->link, l->name);
    lease_step_soon(l, 0);
}

static void lease_sweep(struct lease *l,
                        void (*fn)(void *ctx, const struct former_result *result)) {
    former_sweep_free(&l->sweep);
    l->sweep = former_sweep_start(l->target, l->db, l->job, l->lease_ms / 2, fn, l);
}

/* ---- looking ---- */

/* No lease: was there a holder that may believe to have it still? */
static void lease_look_at_absence(struct lease *l) {
    bool dead = l->look.dead_epoch > 0 && l->look.known_epoch == l->look.dead_epoch && !l->acquired;
    l->look.must_wait = !dead && (l->acquired || l->look.saw_holder || l->look.known_epoch > 0);
    if (dead) {
        lease_take(l, "");
        return;
    }
    l->state = LEASE_TAKING;
    l->busy = true;
    lease_sweep(l, on_swept_before_taking);
}

/* Our right has ended by the clock. */
static void lease_look_as_former(struct lease *l) {
    if (l->look.known_epoch > l->epoch ||
        (l->look.seen[0] != '\0' && strcmp(l->look.seen, l->value) != 0)) {
        lease_lose(l, lease_is_given_back(l->look.seen) ? "" : lease_owner_of(l->look.seen));
    } else if (l->look.seen[0] == '\0') {
        lease_look_at_absence(l);
    } else {
        l->look.must_wait = true;
        lease_begin_wait(l);
    }
}

static void lease_look_later(struct lease *l) {
    lease_look_again(l, lease_min(LEASE_LOOK_MS, l->lease_ms / 4));
}

static void on_expiry_shortened(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    l->busy = false;
    if (l->state == LEASE_LOOKING) lease_look_later(l);
}

/* A living holder renews its lease far more often than that. */
static void lease_shorten_expiry(struct lease *l, int64_t left_ms) {
    char ms[24];
    snprintf(ms, sizeof(ms), "%" PRId64, l->look.longest_ms);
    const struct bytes words[] = { BYTES_LITERAL("PEXPIRE"), bytes_of_str(l->lease_key),
                                   bytes_of_str(ms) };
    if (left_ms < 0) {
        log_warn("target",
                 "job %s: the lease of %s has no expiry (PERSIST, or restored without one); it is "
                 "given one of %s ms, which its holder renews if it runs",
                 l->job, lease_owner_of(l->look.seen), ms);
    } else {
        log_warn("target",
                 "job %s: the lease of %s expires in %" PRId64 " ms, longer than a lease (was the "
                 "target's clock set back?); the expiry is set to %s ms, which its holder renews "
                 "if it runs",
                 l->job, lease_owner_of(l->look.seen), left_ms, ms);
    }
    l->busy = true;
    slot_link_send(l->link, on_expiry_shortened, l, 3, words);
}

/* Without an answer the lease is believed. */
static void on_expiry_seen(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    l->busy = false;
    if (l->state != LEASE_LOOKING) return;
    int64_t left_ms = 0;
    if (reply->err == NULL && reply->item.type == RESP_INTEGER) left_ms = reply->item.num;
    bool is_new = strcmp(l->look.told, l->look.seen) != 0;
    if (is_new) {
        /* The record tells of the holder that was there first; a later one tells by its expiry. */
        bool is_first = l->look.told[0] == '\0' && l->look.former_ms > 0;
        l->look.longest_ms = is_first || left_ms < l->wait_ms ? l->wait_ms : left_ms;
        snprintf(l->look.told, sizeof(l->look.told), "%s", l->look.seen);
    }
    if ((left_ms == -1 || left_ms > l->look.longest_ms + LEASE_EXCESS_MS) &&
        slot_link_is_ready(l->link)) {
        lease_shorten_expiry(l, left_ms);
    } else {
        lease_look_later(l);
    }
}

static void lease_look_at_expiry(struct lease *l) {
    const struct bytes words[] = { BYTES_LITERAL("PTTL"), bytes_of_str(l->lease_key) };
    l->busy = true;
    slot_link_send(l->link, on_expiry_seen, l, 2, words);
}

static void lease_look_as_newcomer(struct lease *l) {
    const char *holder = lease_owner_of(l->look.seen);
    bool is_dead = l->look.dead_owner[0] != '\0' && strcmp(holder, l->look.dead_owner) == 0;
    if (l->look.seen[0] == '\0') {
        lease_look_at_absence(l);
    } else if (lease_is_given_back(l->look.seen) || is_dead) {
        l->look.must_wait = false;
        lease_take(l, l->look.seen);
    } else if (l->epoch > 0 && strcmp(l->look.seen, l->value) == 0) { /* the answer was lost */
        l->state = LEASE_TAKING;
        lease_write_epoch(l);
    } else {
        l->look.saw_holder = true;
        if (l->tell.on_wait != NULL && strcmp(l->look.told, l->look.seen) != 0)
            l->tell.on_wait(l->tell.wait_ctx, holder);
        lease_look_at_expiry(l);
    }
}

static void on_epoch_seen(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    struct err err = { 0 };
    l->busy = false;
    if (lease_note_error(&err, client, reply)) {
        lease_step_failed(l, &err);
        return;
    }
    l->look.known_epoch = epoch_of_reply(reply);
    if (lease_epoch_of(l->look.seen) > l->look.known_epoch)
        l->look.known_epoch = lease_epoch_of(l->look.seen);
    if (!slot_link_is_ready(l->link) || l->state != LEASE_LOOKING) return;
    if (l->acquired) {
        lease_look_as_former(l);
    } else {
        lease_look_as_newcomer(l);
    }
}

static void on_lease_seen(void *ctx, struct client *client, const struct reply *reply) {
    struct lease *l = ctx;
    struct err err = { 0 };
    l->busy = false;
    if (lease_note_error(&err, client, reply)) {
        lease_step_failed(l, &err);
        return;
    }
    l->look.seen[0] = '\0';
    if (resp_is_string(&reply->item))
        snprintf(l->look.seen, sizeof(l->look.seen), "%.*s",
                 (int)lease_min((int64_t)reply->item.str.len, LEASE_VALUE_MAX - 1),
                 reply->item.str.ptr);
    if (slot_link_is_ready(l->link)) lease_read_epoch(l, on_epoch_seen);
}

static void lease_look(struct lease *l) {
    const struct bytes words[] = { BYTES_LITERAL("GET"), bytes_of_str(l->lease_key) };
    l->busy = true;
    slot_link_send(l->link, on_lease_seen, l, 2, words);
}

/* ---- running ---- */

static int64_t lease_tick_ms(const struct lease *l) {
    return lease_min(LEASE_TICK_MAX_MS, l->lease_ms / (2 * LEASE_MARGIN_PART) + 1);
}

static void lease_tell_late(struct lease *l) {
    if (l->told_late || !l->acquired || lease_may_write(l)) return;
    l->told_late = true;
    log_warn("target",
             "job %s: the lease could not be renewed in time; nothing is written until it is%s%s",
             l->job, l->trouble.code != ERR_NONE ? ": " : "", l->trouble.text);
}

static void lease_tell_loss(struct lease *l) {
    if (!l->started || l->told_loss) return;
    l->told_loss = true;
    l->tell.on_lost(l->tell.lost_ctx, l->lost_to);
}

static void lease_step(struct lease *l) {
    int64_t now_ms = clock_boot_ms();
    if (l->state == LEASE_HELD && now_ms >= l->right_until_ms && !l->busy) {
        lease_tell_late(l);
        lease_look_again(l, 0);
    }
    if (l->state == LEASE_WAITING && now_ms >= l->wait_until_ms && l->swept_ms == 0 &&
        l->sweep == NULL)
        lease_sweep(l, on_swept_after_waiting);
    if (l->busy || clock_boot_ms() < l->due_ms || !slot_link_is_ready(l->link)) return;
    if (l->state == LEASE_LOOKING) {
        lease_look(l);
    } else if (l->state == LEASE_WAITING || l->state == LEASE_HELD) {
        lease_send_change(l, l->value, l->value, on_renewed);
    }
}

static void lease_tick(void *ctx) {
    struct lease *l = ctx;
    if (l->state == LEASE_LOST) {
        lease_tell_loss(l);
        return;
    }
    loop_timer_start(l->timer, lease_tick_ms(l));
    slot_link_step(l->link);
    lease_step(l);
}

static void on_link_ready(void *ctx) {
    struct lease *l = ctx;
    if (l->ending || l->state == LEASE_LOST) return;
    if (l->state == LEASE_HELD || l->state == LEASE_WAITING) l->due_ms = 0;
    if (loop_timer_is_pending(l->timer)) loop_timer_start(l->timer, 0);
}

static void on_link_down(void *ctx) {
    struct lease *l = ctx;
    lease_end_right(l);
    if (l->state == LEASE_HELD || l->state == LEASE_WAITING) l->due_ms = 0;
}

struct lease *lease_new(struct deployment *target, int db, const char *job, const char *owner,
                        int64_t lease_ms) {
    static const struct slot_link_events events = { on_link_ready, on_link_down };
    struct lease *l = mem_zalloc(sizeof(*l));
    l->target = target;
    l->loop = deployment_loop(target);
    l->db = db;
    l->lease_ms = l->wait_ms = lease_ms;
    snprintf(l->job, sizeof(l->job), "%s", job);
    snprintf(l->owner, sizeof(l->owner), "%s", owner);
    store_job_key(l->lease_key, job, "lease");
    store_job_key(l->epoch_key, job, "epoch");
    lease_end_right(l);
    l->change = (struct lease_change){ .lease_key = l->lease_key, .ctx = l };
    l->timer = loop_timer_new(l->loop, lease_tick, l);
    /* A connection that hangs must not outlast the lease. */
    snprintf(l->standby_name, sizeof(l->standby_name), "longhaul-standby:%s:%s", job, owner);
    l->link = slot_link_new(target, db, lease_ms / 2, l->standby_name, &events, l);
    return l;
}

void lease_update_topology(struct lease *l) {
    struct topology *t = deployment_topology(l->target);
    int owner = t->owner[slot_of_key(bytes_of_str(l->lease_key))];
    slot_link_set_owner(l->link, owner >= 0 ? &t->nodes[owner].address : NULL);
    topology_unref(&t);
}

void lease_start(struct lease *l, void (*on_lost)(void *ctx, const char *holder), void *ctx) {
    l->tell.on_lost = on_lost;
    l->tell.lost_ctx = ctx;
    l->started = true;
    loop_timer_start(l->timer, 0);
}

void lease_watch_gone(struct lease *l, void (*on_gone)(void *ctx, uint16_t slot), void *ctx) {
    l->tell.on_gone = on_gone;
    l->tell.gone_ctx = ctx;
}

const char *lease_client_name(const struct lease *l) {
    return l->name;
}

bool lease_may_write(const struct lease *l) {
    return clock_boot_ms() < atomic_load(&l->until_ms);
}

struct slot_link *lease_link(struct lease *l) {
    return l->link;
}

struct deployment *lease_target(struct lease *l) {
    return l->target;
}

const char *lease_job(const struct lease *l) {
    return l->job;
}

/* ---- acquiring ---- */

/* Another node may own the slot now, or the sentinels may name another primary. */
static void lease_refresh_topology(struct lease *l, const struct err *why) {
    struct err err;
    if (!l->told_late) log_warn(why->place, "%s; waiting for the lease goes on", why->text);
    l->told_late = true;
    l->wants_topology = false;
    if (deployment_refresh(l->target, &err)) lease_update_topology(l);
}

/* The trouble that keeps the lease from being acquired; NULL: none. */
static const struct err *lease_find_trouble(const struct lease *l, struct err *unreachable) {
    if (slot_link_is_ready(l->link)) return l->wants_topology ? &l->trouble : NULL;
    const struct client *client = slot_link_client(l->link);
    if (client != NULL && client_last_error(client)->code != ERR_NONE)
        return client_last_error(client);
    err_set(unreachable, ERR_CLUSTERDOWN, "target",
            "the node of the job's lease cannot be reached");
    return unreachable;
}

static bool lease_wait_a_round(struct lease *l, int64_t *refresh_ms, struct err *err) {
    struct err unreachable;
    if (call_interrupted(err)) return false;
    loop_run_once(l->loop, LEASE_SLICE_MS);
    if (l->state == LEASE_LOST) { /* in the moment in which it was taken */
        l->acquired = false;
        l->look.saw_holder = true;
        lease_look_again(l, 0);
        loop_timer_start(l->timer, 0);
    }
    const struct err *trouble = lease_find_trouble(l, &unreachable);
    bool is_down = !slot_link_is_ready(l->link);
    if (l->fatal || (is_down && err_class_of(trouble->code) == ERR_CLASS_STOP)) {
        *err = l->fatal ? l->trouble : *trouble;
        return false;
    }
    if (trouble == NULL || clock_mono_ms() < *refresh_ms) return true;
    lease_refresh_topology(l, trouble);
    *refresh_ms = clock_mono_ms() + LEASE_REFRESH_MS;
    return true;
}

bool lease_acquire(struct lease *l, const struct lease_former *former,
                   void (*on_wait)(void *ctx, const char *holder), void *ctx, uint64_t *epoch,
                   struct err *err) {
    int64_t refresh_ms = clock_mono_ms() + LEASE_REFRESH_MS;
    if (former != NULL) {
        snprintf(l->look.dead_owner, sizeof(l->look.dead_owner), "%s",
                 former->dead_owner != NULL ? former->dead_owner : "");
        l->look.dead_epoch = l->look.dead_owner[0] != '\0' ? former->dead_epoch : 0;
        if (former->lease_ms > l->wait_ms) l->wait_ms = former->lease_ms;
        l->look.former_ms = former->lease_ms;
    }
    l->tell.on_wait = on_wait;
    l->tell.wait_ctx = ctx;
    lease_update_topology(l);
    loop_timer_start(l->timer, 0);
    while (!lease_may_write(l))
        if (!lease_wait_a_round(l, &refresh_ms, err)) return false;
    l->tell.on_wait = NULL;
    *epoch = l->epoch;
    return true;
}

/* ---- ending ---- */

static void on_given_back(void *ctx, struct lease_change *change) {
    struct lease *l = ctx;
    l->busy = false;
}

static void lease_await_command(struct lease *l, int64_t deadline_ms) {
    while (l->busy && clock_mono_ms() < deadline_ms) loop_run_once(l->loop, LEASE_SLICE_MS);
}

void lease_give_back(struct lease *l, int64_t timeout_ms) {
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    char value[LEASE_VALUE_MAX];
    loop_timer_stop(l->timer);
    l->ending = true;
    if (l->sweep != NULL && l->state == LEASE_TAKING) l->busy = false;
    former_sweep_free(&l->sweep);
    lease_await_command(l, deadline_ms);
    bool is_ours = l->state == LEASE_HELD || l->state == LEASE_WAITING;
    lease_end_right(l);
    if (!is_ours || l->busy || !slot_link_is_ready(l->link)) return;
    snprintf(value, sizeof(value), "%" PRIu64 " " LEASE_NOBODY, l->epoch);
    lease_send_change(l, l->value, value, on_given_back);
    lease_await_command(l, deadline_ms);
    lease_end_right(l);
}

static void on_change_ignored(void *ctx, struct lease_change *change) {}

void lease_free(struct lease **lease) {
    struct lease *l = *lease;
    *lease = NULL;
    if (l == NULL) return;
    l->state = LEASE_LOST; /* nobody is told any more */
    l->started = false;
    l->ending = true;
    l->change.fn = on_change_ignored;
    former_sweep_free(&l->sweep);
    slot_link_free(&l->link);
    loop_timer_free(&l->timer);
    /* A transaction under way is answered at the end of the round. */
    loop_defer(l->loop, free, l);
}
