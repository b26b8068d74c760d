/* Connections of a comparison; see compare_priv.h. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/units.h"
#include "verify/compare_priv.h"

enum {
    REFRESH_PAUSE_MS = 250,
    DOWN_REFRESH_MS = 1000,
    LOOK_AFTER_MS = 100,
    NOTE_AFTER_MS = 1000,
    LINKS_MAX = 65536
};

enum { LINKS_WAIT_MS = 2000, LINKS_ROUND_MS = 10 };

/* A node that nobody had to ask again for this long is in no trouble. */
enum { TROUBLE_OVER_MS = 5000 };

/* ---- links ---- */

static void on_ready(void *ctx) {
    struct link *link = ctx;
    if (link->told) log_info(client_place(link->client), "connected again");
    link->told = false;
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct link *link = ctx;
    if (link->cmp->closing) return;
    if (final) {
        compare_fail(link->cmp, err);
    } else if (!link->told) {
        log_warn(err->place, "%s; trying again", err->text);
        link->told = true;
    }
}

/* Perhaps a string was too large for it. */
static void on_bounded_lost(void *ctx) {
    struct link *link = ctx;
    link->cmp->trust.surprised = true;
}

static struct link *find_or_open(struct comparison *cmp, int side, const struct address *address) {
    static const struct client_events events = { .on_ready = on_ready, .on_down = on_down };
    struct side *s = &cmp->side[side];
    for (size_t i = 0; i < s->n_links; i++)
        if (address_equal(client_address(s->links[i]->client), address)) return s->links[i];
    if (s->n_links == LINKS_MAX) return NULL;
    struct link *link = mem_zalloc(sizeof(*link));
    link->cmp = cmp;
    link->side = side;
    struct client_settings settings = deployment_client_settings(s->deployment, address);
    link->client = client_open(cmp->loop, &settings, &events, link);
    if (cmp->settings->mode == COMPARE_FULL && !deployment_is_cluster(s->deployment) &&
        !s->no_pexpiretime)
        link->bounded = bounded_open(cmp->loop, &settings, 1, on_bounded_lost, link);
    s->links = mem_array(s->links, s->n_links + 1, sizeof(struct link *));
    s->links[s->n_links++] = link;
    return link;
}

/* Primaries are known by their own index; what is read of them may come from a replica. */
static void side_adopt(struct comparison *cmp, int side) {
    struct side *s = &cmp->side[side];
    s->epoch = deployment_epoch(s->deployment);
    struct topology *fresh = deployment_topology(s->deployment);
    if (s->topology != NULL) compare_on_topology(cmp, side, s->topology, fresh);
    topology_unref(&s->topology);
    s->topology = fresh;
    s->unowned_since_ms = 0;
    free(s->of_node);
    s->of_node = mem_zalloc((size_t)s->topology->n_nodes * sizeof(struct link *));
    for (int i = 0; i < s->topology->n_nodes; i++) {
        if (!topology_is_primary(s->topology, i)) continue;
        s->of_node[i] =
            find_or_open(cmp, side, &s->topology->nodes[s->topology->nodes[i].reader].address);
    }
}

void links_open(struct comparison *cmp, int side, struct deployment *deployment) {
    struct side *s = &cmp->side[side];
    const struct server_info *info = deployment_info(deployment);
    s->deployment = deployment;
    s->no_pexpiretime = info->redis_version < SERVER_VERSION(7, 0, 0);
    s->has_field_expiry = info->flavour == SERVER_VALKEY ? info->version >= SERVER_VERSION(9, 0, 0)
                                                         : info->version >= SERVER_VERSION(7, 4, 0);
    side_adopt(cmp, side);
}

static bool links_are_ready(const struct comparison *cmp) {
    for (int side = 0; side < SIDES; side++)
        for (size_t i = 0; i < cmp->side[side].n_links; i++)
            if (!client_is_ready(cmp->side[side].links[i]->client)) return false;
    return true;
}

void links_await(struct comparison *cmp, const volatile bool *stop) {
    int64_t deadline_ms = clock_mono_ms() + LINKS_WAIT_MS;
    while (!links_are_ready(cmp) && !cmp->failed && !*stop && clock_mono_ms() < deadline_ms)
        loop_run_once(cmp->loop, LINKS_ROUND_MS);
}

void links_close(struct comparison *cmp, int side) {
    struct side *s = &cmp->side[side];
    for (size_t i = 0; i < s->n_links; i++) {
        bounded_free(&s->links[i]->bounded);
        client_close(&s->links[i]->client);
    }
    loop_settle(cmp->loop); /* pending callbacks still find their links */
    for (size_t i = 0; i < s->n_links; i++) free(s->links[i]);
    free(s->links);
    free(s->of_node);
    topology_unref(&s->topology);
    *s = (struct side){ 0 };
}

struct link *link_route(struct comparison *cmp, int side, struct name *name) {
    struct side *s = &cmp->side[side];
    if (name->ask[side] != NULL && client_is_ready(name->ask[side]->client)) return name->ask[side];
    name->ask[side] = NULL;
    int owner = s->topology->owner[name->slot];
    if (owner >= 0) return s->of_node[owner];
    s->refresh_wanted = true;
    if (s->unowned_since_ms == 0) s->unowned_since_ms = clock_mono_ms();
    return NULL;
}

/* "ASK 3999 127.0.0.1:6381", as an error's text. */
struct link *link_to(struct comparison *cmp, int side, struct bytes text, const struct link *from) {
    struct address address;
    bytes_split(&text, ' ');
    bytes_split(&text, ' ');
    if (!address_parse(&address, bytes_split(&text, ' '), client_address(from->client)))
        return NULL;
    return find_or_open(cmp, side, &address);
}

void link_troubled(struct link *link, const struct err *err) {
    link->trouble_last_ms = clock_mono_ms();
    if (link->trouble_since_ms == 0) link->trouble_since_ms = link->trouble_last_ms;
    link->trouble = *err;
}

/* ---- looking after them ---- */

static void outage(struct comparison *cmp, const char *place, int64_t since_ms, const char *cause) {
    int64_t limit_ms = cmp->settings->outage_timeout_ms, passed_ms = clock_mono_ms() - since_ms;
    struct err err;
    if (since_ms == 0) return;
    if (passed_ms > NOTE_AFTER_MS && cmp->progress != NULL && cmp->progress->note[0] == '\0')
        snprintf(cmp->progress->note, sizeof(cmp->progress->note), "waiting for %s: %.100s", place,
                 cause);
    if (limit_ms <= 0 || passed_ms < limit_ms) return;
    char text[32];
    err_set(&err, ERR_OUTAGE, place, "unusable for %s (--outage-timeout): %s",
            units_format_duration(passed_ms, text, sizeof(text)), cause);
    compare_fail(cmp, &err);
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
        outage(cmp, client_place(link->client), down_ms, client_last_error(link->client)->text);
        if (clock_mono_ms() - link->trouble_last_ms > TROUBLE_OVER_MS) link->trouble_since_ms = 0;
        outage(cmp, client_place(link->client), link->trouble_since_ms, link->trouble.text);
        /* After a failover another address may have the keys. */
        if (down_ms != 0 && clock_mono_ms() - down_ms > DOWN_REFRESH_MS) s->refresh_wanted = true;
    }
    outage(cmp, deployment_role(s->deployment), s->unowned_since_ms,
           "slots of the cluster have no owner");
}

static void side_refresh(struct comparison *cmp, int side) {
    struct side *s = &cmp->side[side];
    int64_t now_ms = clock_mono_ms();
    if (!s->refresh_wanted || now_ms - s->refreshed_ms < REFRESH_PAUSE_MS) return;
    bool fixed = deployment_endpoint(s->deployment)->kind != ENDPOINT_SENTINEL &&
                 !deployment_is_cluster(s->deployment);
    struct err ignored; /* the old picture stays, and the outage is found by the links */
    s->refresh_wanted = false;
    if (!fixed) deployment_refresh(s->deployment, &ignored);
    s->refreshed_ms = clock_mono_ms();
    if (deployment_epoch(s->deployment) != s->epoch) side_adopt(cmp, side);
}

void side_refresh_now(struct comparison *cmp, int side) {
    cmp->side[side].refresh_wanted = true;
    cmp->side[side].refreshed_ms = 0;
    side_refresh(cmp, side);
}

void sides_look_after(struct comparison *cmp) {
    int64_t now_ms = clock_mono_ms();
    if (now_ms - cmp->looked_after_ms < LOOK_AFTER_MS) return;
    cmp->looked_after_ms = now_ms;
    if (cmp->progress != NULL) cmp->progress->note[0] = '\0';
    for (int side = 0; side < SIDES; side++) {
        side_find_outages(cmp, side);
        side_refresh(cmp, side);
    }
    for (size_t i = 0; i < cmp->n_scans; i++)
        if (cmp->scans[i].scan != NULL && !cmp->scans[i].ended)
            outage(cmp, scan_place(cmp->scans[i].scan), scan_down_since_ms(cmp->scans[i].scan),
                   scan_last_error(cmp->scans[i].scan)->text);
}
