/* Connections of a comparison; see compare_priv.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "verify/compare_priv.h"

enum {
    DOWN_REFRESH_MS = 1000,
    LOOK_AFTER_MS = 100,
    NOTE_AFTER_MS = 1000,
    /* a side has at most so many nodes, and as many again that redirects name */
    LINKS_MAX = 2 * TOPOLOGY_NODES_MAX,
    LINKS_WAIT_MS = 2000,
    LINKS_ROUND_MS = 10,
    /* a node that has not answered "later" for this long is in no trouble */
    TROUBLE_OVER_MS = 5000
};

/* ---- links ---- */

/* The same address may lead to another process now: after a restart, a failover, or behind a load
 * balancer. That process may have other keys than the one before. */
static void link_identify(struct link *link) {
    const char *run_id = client_run_id(link->client);
    bool changed =
        link->run_id[0] != '\0' && run_id[0] != '\0' && strcmp(run_id, link->run_id) != 0;
    if (run_id[0] != '\0') snprintf(link->run_id, sizeof(link->run_id), "%s", run_id);
    link->changed |= changed;
    link->cmp->process_changed |= changed;
}

static void on_ready(void *ctx) {
    struct link *link = ctx;
    if (link->loss_logged) log_info(client_place(link->client), "connected again");
    link->loss_logged = false;
    link_identify(link);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct link *link = ctx;
    link->knows_digest_script = link->knows_names_script = false;
    if (link->cmp->state == RUN_CLOSING) return;
    if (final) {
        comparison_fail(link->cmp, err);
    } else if (!link->loss_logged) {
        log_warn(err->place, "%s; reconnecting", err->text);
        link->loss_logged = true;
    }
}

/* The server may have ended it because a string was too large. */
static void on_bounded_lost(void *ctx) {
    struct link *link = ctx;
    link->cmp->estimate.trust.surprised = true;
}

struct link *link_find(const struct comparison *cmp, int side, const struct address *address) {
    const struct side *s = &cmp->side[side];
    for (size_t i = 0; i < s->n_links; i++)
        if (address_equal(client_address(s->links[i]->client), address)) return s->links[i];
    return NULL;
}

static struct link *link_open(struct comparison *cmp, int side, const struct address *address) {
    static const struct client_events events = { .on_ready = on_ready, .on_down = on_down };
    struct side *s = &cmp->side[side];
    struct link *link = link_find(cmp, side, address);
    if (link != NULL || s->n_links == LINKS_MAX) return link;
    link = mem_zalloc(sizeof(*link));
    link->cmp = cmp;
    link->side = side;
    struct client_settings settings = deployment_client_settings(s->deployment, address);
    settings.reply_bytes_max = CLIENT_VALUES_MAX;
    settings.identify = true;
    link->client = client_open(cmp->loop, &settings, &events, link);
    if (cmp->settings->mode == COMPARE_FULL && !deployment_is_cluster(s->deployment) &&
        !s->no_pexpiretime)
        link->bounded = bounded_open(cmp->loop, &settings, 1, on_bounded_lost, link);
    s->links = mem_array(s->links, s->n_links + 1, sizeof(struct link *));
    s->links[s->n_links++] = link;
    return link;
}

/* Primaries are known by their own index; their keys may be read from a replica. */
static void side_connect(struct side *s) {
    free(s->of_node);
    s->of_node = mem_zalloc((size_t)s->topology->n_nodes * sizeof(struct link *));
    for (int i = 0; i < s->topology->n_nodes; i++) {
        if (!topology_is_primary(s->topology, i)) continue;
        int reader = s->topology->nodes[i].reader;
        s->of_node[i] = link_open(s->cmp, s->index, &s->topology->nodes[reader].address);
    }
}

static void on_changed(void *ctx, const struct topology *before, const struct topology *now,
                       int64_t asked_us) {
    struct side *s = ctx;
    struct topology *fresh = deployment_topology(s->deployment);
    s->cmp->on_topology(s->cmp, s->index, s->topology, fresh);
    topology_unref(&s->topology);
    s->topology = fresh;
    s->unowned_since_ms = 0;
    side_connect(s);
}

void links_open(struct comparison *cmp, int side, struct deployment *deployment) {
    struct side *s = &cmp->side[side];
    const struct server_info *info = deployment_info(deployment);
    bool valkey = info->flavour == SERVER_VALKEY;
    static const struct sight_events events = { .on_changed = on_changed };
    const struct sight_settings settings = { .pause_ms = SIGHT_PAUSE_MS };
    s->cmp = cmp;
    s->index = side;
    s->deployment = deployment;
    s->sight = sight_new(deployment, &settings, &events, s);
    s->topology = deployment_topology(deployment);
    s->scans_by_type = info->redis_version >= SERVER_VERSION(6, 0, 0);
    s->no_pexpiretime = info->redis_version < SERVER_VERSION(7, 0, 0);
    s->has_field_expiry =
        info->version >= (valkey ? SERVER_VERSION(9, 0, 0) : SERVER_VERSION(7, 4, 0));
    side_connect(s);
}

static bool links_are_ready(const struct comparison *cmp) {
    for (int side = 0; side < SIDES; side++)
        for (size_t i = 0; i < cmp->side[side].n_links; i++)
            if (!client_is_ready(cmp->side[side].links[i]->client)) return false;
    return true;
}

void links_await(struct comparison *cmp, const volatile bool *stop) {
    int64_t deadline_ms = clock_mono_ms() + LINKS_WAIT_MS;
    while (!links_are_ready(cmp) && comparison_goes_on(cmp) && clock_mono_ms() < deadline_ms) {
        if (stop != NULL && *stop) return;
        loop_run_once(cmp->loop, LINKS_ROUND_MS);
    }
}

void links_close(struct comparison *cmp) {
    for (int side = 0; side < SIDES; side++) {
        for (size_t i = 0; i < cmp->side[side].n_links; i++) {
            struct link *link = cmp->side[side].links[i];
            bounded_free(&link->bounded);
            client_close(&link->client);
        }
    }
    loop_settle(cmp->loop); /* pending commands have called back then, with their links */
    for (int side = 0; side < SIDES; side++) {
        struct side *s = &cmp->side[side];
        for (size_t i = 0; i < s->n_links; i++) free(s->links[i]);
        free(s->links);
        free(s->of_node);
        sight_free(&s->sight);
        topology_unref(&s->topology);
    }
}

struct link *link_route(struct comparison *cmp, int side, struct name *name) {
    struct side *s = &cmp->side[side];
    if (name->ask[side] != NULL && client_is_ready(name->ask[side]->client)) return name->ask[side];
    name->ask[side] = NULL;
    int owner = s->topology->owner[name->slot];
    if (owner >= 0) return s->of_node[owner];
    sight_want(s->sight);
    if (s->unowned_since_ms == 0) s->unowned_since_ms = clock_mono_ms();
    return NULL;
}

bool link_route_both(struct comparison *cmp, struct name *name, struct link *links[SIDES]) {
    for (int side = 0; side < SIDES; side++) {
        links[side] = link_route(cmp, side, name);
        if (links[side] == NULL || !client_is_ready(links[side]->client)) return false;
    }
    return true;
}

struct link *link_to(struct comparison *cmp, int side, const struct address *address) {
    return link_open(cmp, side, address);
}

void link_troubled(struct link *link, const struct err *err) {
    link->trouble_last_ms = clock_mono_ms();
    if (link->trouble_since_ms == 0) link->trouble_since_ms = link->trouble_last_ms;
    link->trouble = *err;
}

/* The sentences: redis 7.0.15 src/acl.c getAclErrorMessage(), before 7.0 src/server.c
 * processCommand(); only those about commands say "to run". */
bool refusal_is_about_key(struct bytes text) {
    return memmem(text.ptr, text.len, "to run", 6) == NULL;
}

/* ---- expiry ---- */

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

/* In the same stream of commands, before the PTTL that it belongs to. */
void link_ask_clock(struct link *link) {
    const struct bytes time = BYTES_LITERAL("TIME");
    if (link->clock_asked) return;
    client_command(link->client, on_time, link, (void *)(intptr_t)clock_mono_ms(), 1, &time);
    link->clock_asked = true;
}

int64_t link_expiry_ms(const struct link *link, int64_t answer, int64_t *error_ms) {
    *error_ms = 0;
    if (answer < 0) return -1;
    if (!link->cmp->side[link->side].no_pexpiretime) return answer;
    *error_ms = link->clock_error_ms;
    return answer + link->server_ms;
}

/* ---- looking after them ---- */

void outage_check(struct comparison *cmp, const char *place, int64_t since_ms, const char *cause) {
    struct compare_progress *progress = cmp->progress;
    struct err err;
    if (since_ms == 0) return;
    if (clock_mono_ms() - since_ms > NOTE_AFTER_MS && progress != NULL && progress->note[0] == '\0')
        snprintf(progress->note, sizeof(progress->note), "waiting for %s: %.100s", place, cause);
    if (sight_outage_since(place, since_ms, cmp->settings->outage_timeout_ms, cause, &err))
        comparison_fail(cmp, &err);
}

static bool link_is_used(const struct side *s, const struct link *link) {
    for (int i = 0; i < s->topology->n_nodes; i++)
        if (s->of_node[i] == link) return true;
    return false;
}

static void side_find_outages(struct comparison *cmp, int side) {
    struct side *s = &cmp->side[side];
    for (size_t i = 0; i < s->n_links; i++) {
        struct link *link = s->links[i];
        int64_t down_ms = client_down_since_ms(link->client);
        if (!link_is_used(s, link)) continue;
        outage_check(cmp, client_place(link->client), down_ms,
                     client_last_error(link->client)->text);
        if (clock_mono_ms() - link->trouble_last_ms > TROUBLE_OVER_MS) link->trouble_since_ms = 0;
        outage_check(cmp, client_place(link->client), link->trouble_since_ms, link->trouble.text);
        /* After a failover another address may have the keys. */
        if (down_ms != 0 && clock_mono_ms() - down_ms > DOWN_REFRESH_MS) sight_want(s->sight);
    }
    outage_check(cmp, deployment_role(s->deployment), s->unowned_since_ms,
                 "slots of the cluster have no owner");
}

static void links_tell_changes(struct comparison *cmp) {
    if (!cmp->process_changed) return;
    cmp->process_changed = false;
    for (int side = 0; side < SIDES; side++) {
        for (size_t i = 0; i < cmp->side[side].n_links; i++) {
            struct link *link = cmp->side[side].links[i];
            if (link->changed) cmp->on_process(cmp, link);
            link->changed = false;
        }
    }
}

void side_refresh_now(struct comparison *cmp, int side) {
    sight_want_now(cmp->side[side].sight);
    sight_step(cmp->side[side].sight);
}

void sides_look_after(struct comparison *cmp) {
    int64_t now_ms = clock_mono_ms();
    links_tell_changes(cmp);
    if (now_ms - cmp->looked_after_ms < LOOK_AFTER_MS) return;
    cmp->looked_after_ms = now_ms;
    if (cmp->progress != NULL) cmp->progress->note[0] = '\0';
    for (int side = 0; side < SIDES; side++) {
        side_find_outages(cmp, side);
        sight_step(cmp->side[side].sight);
    }
}
