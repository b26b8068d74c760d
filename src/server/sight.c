/* See sight.h. */
#include "server/sight.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

struct sight {
    struct deployment *deployment; /* borrowed */
    struct sight_settings settings;
    struct sight_events events;
    void *ctx;
    bool moves; /* the topology can change without an operator of longhaul */
    _Atomic bool wanted;
    uint64_t epoch;
    struct topology *topology; /* of that epoch */
    int64_t refreshed_ms;      /* end of the last refresh */
    bool at_once;              /* the next step does not wait for pause_ms */
    int64_t down_since_ms;
    struct err err; /* of the last refresh that failed */
};

struct sight *sight_new(struct deployment *deployment, const struct sight_settings *settings,
                        const struct sight_events *events, void *ctx) {
    struct sight *s = mem_zalloc(sizeof(*s));
    s->deployment = deployment;
    s->settings = *settings;
    s->events = *events;
    s->ctx = ctx;
    s->moves = deployment_is_cluster(deployment) ||
               deployment_endpoint(deployment)->kind == ENDPOINT_SENTINEL;
    s->epoch = deployment_epoch(deployment);
    s->topology = deployment_topology(deployment);
    s->refreshed_ms = clock_mono_ms();
    return s;
}

void sight_free(struct sight **sight) {
    struct sight *s = *sight;
    *sight = NULL;
    if (s == NULL) return;
    topology_unref(&s->topology);
    free(s);
}

void sight_want(struct sight *s) {
    atomic_store(&s->wanted, true);
}

bool sight_is_wanted(struct sight *s) {
    return atomic_load(&s->wanted);
}

void sight_want_now(struct sight *s) {
    atomic_store(&s->wanted, true);
    s->at_once = true;
}

static bool sight_is_due(struct sight *s) {
    int64_t passed_ms = clock_mono_ms() - s->refreshed_ms;
    bool polled = s->moves && s->settings.poll_ms > 0 && passed_ms >= s->settings.poll_ms;
    return polled || s->at_once || (atomic_load(&s->wanted) && passed_ms >= s->settings.pause_ms);
}

/* A failed refresh leaves the former topology in place. */
static bool sight_refresh(struct sight *s) {
    struct err err;
    int64_t began_ms = clock_mono_ms();
    atomic_store(&s->wanted, false);
    s->at_once = false;
    bool ok = deployment_refresh(s->deployment, &err);
    s->refreshed_ms = clock_mono_ms();
    if (ok) {
        s->down_since_ms = 0;
        err_clear(&s->err);
        return true;
    }
    if (err.code == ERR_INTERRUPTED) return false;
    log_debug(err.place, "topology not refreshed: %s", err.text);
    if (s->down_since_ms == 0) s->down_since_ms = began_ms;
    s->err = err;
    atomic_store(&s->wanted, true);
    return false;
}

static void sight_adopt(struct sight *s, int64_t asked_us) {
    uint64_t epoch = deployment_epoch(s->deployment);
    if (epoch == s->epoch) return;
    struct topology *before = s->topology;
    s->epoch = epoch;
    s->topology = deployment_topology(s->deployment);
    log_info(deployment_role(s->deployment), "topology changed: %d primaries",
             s->topology->n_primaries);
    if (s->events.on_changed != NULL) s->events.on_changed(s->ctx, before, s->topology, asked_us);
    topology_unref(&before);
}

void sight_step(struct sight *s) {
    int64_t asked_us = clock_mono_us();
    bool seen = sight_is_due(s) && sight_refresh(s);
    sight_adopt(s, seen ? asked_us : 0);
    if (seen && s->events.on_seen != NULL) s->events.on_seen(s->ctx, asked_us);
}

int64_t sight_down_since_ms(const struct sight *s) {
    return s->down_since_ms;
}

const struct err *sight_last_error(const struct sight *s) {
    return &s->err;
}

bool sight_outage(const struct sight *s, struct err *err) {
    return sight_outage_since(s->err.place, s->down_since_ms, s->settings.outage_timeout_ms,
                              s->err.text, err);
}

bool sight_outage_since(const char *place, int64_t since_ms, int64_t limit_ms, const char *cause,
                        struct err *err) {
    int64_t passed_ms = clock_mono_ms() - since_ms;
    if (since_ms == 0 || limit_ms <= 0 || passed_ms < limit_ms) return false;
    err_set(err, ERR_OUTAGE, place, "unusable for %lld s, longer than --outage-timeout allows: %s",
            (long long)passed_ms / 1000, cause[0] != '\0' ? cause : "no connection");
    return true;
}
