/* See sides.h. */
#include "probe/sides.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

enum { REPLID_SHOWN = 8 }; /* characters of an id that identify it for a person */

/* ---- questions ---- */

static bool side_place_of(const char *host, uint16_t port, struct side_place *place) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    *place = (struct side_place){ .port = port };
    if (host[0] == '\0' || port == 0 || getaddrinfo(host, NULL, &hints, &list) != 0) return false;
    bool found = getnameinfo(list->ai_addr, list->ai_addrlen, place->ip, sizeof(place->ip), NULL, 0,
                             NI_NUMERICHOST) == 0;
    freeaddrinfo(list);
    return found;
}

static bool is_loopback(const struct side_place *place) {
    return strncmp(place->ip, "127.", 4) == 0 || strcmp(place->ip, "::1") == 0;
}

static void sides_take_info(void *ctx, struct bytes text) {
    struct side_facts *facts = ctx;
    facts->servers = mem_array(facts->servers, facts->n_servers + 1, sizeof(struct side_server));
    struct side_server *server = &facts->servers[facts->n_servers++];
    *server = (struct side_server){ 0 };
    server_info_parse(&server->info, text);
    struct bytes former = info_field(text, "master_replid2");
    snprintf(server->former_replid, sizeof(server->former_replid), "%.*s", (int)former.len,
             former.ptr);
}

static void take_nodes(struct side_facts *facts, const struct topology *t) {
    facts->places = mem_array(NULL, (size_t)t->n_nodes, sizeof(*facts->places));
    facts->node_ids = mem_array(NULL, (size_t)t->n_nodes, sizeof(*facts->node_ids));
    for (int i = 0; i < t->n_nodes; i++) {
        const struct topology_node *node = &t->nodes[i];
        if (node->id[0] != '\0')
            memcpy(facts->node_ids[facts->n_node_ids++], node->id, TOPOLOGY_ID_MAX);
        if (!node->address.is_unix && !t->cluster &&
            side_place_of(node->address.host, node->address.port, &facts->places[facts->n_places]))
            facts->n_places++;
    }
}

/* A replica's primary, as the replica names it: its loopback is not ours unless we reach the
 * replica by ours. Only a server outside of clusters can be a replica here. */
static void take_primaries(struct side_facts *facts) {
    for (size_t i = 0; i < facts->n_servers; i++) {
        struct side_server *server = &facts->servers[i];
        const struct server_info *info = &server->info;
        if (!info->replica ||
            !side_place_of(info->primary_host, info->primary_port, &server->primary))
            continue;
        bool own = is_loopback(&server->primary) && facts->n_places > 0;
        if (own) memcpy(server->primary.ip, facts->places[0].ip, sizeof(server->primary.ip));
    }
}

bool sides_ask(struct deployment *side, struct side_facts *facts, struct err *err) {
    *facts = (struct side_facts){ .label = deployment_endpoint(side)->label };
    if (!deployment_primaries_info(side, sides_take_info, facts, err)) {
        sides_facts_fini(facts);
        return false;
    }
    struct topology *t = deployment_topology(side);
    take_nodes(facts, t);
    topology_unref(&t);
    take_primaries(facts);
    return true;
}

void sides_facts_fini(struct side_facts *facts) {
    free(facts->servers);
    free(facts->places);
    free(facts->node_ids);
    *facts = (struct side_facts){ 0 };
}

/* ---- judgement ---- */

/* Neither missing nor all zeros. */
static bool is_id(const char *id) {
    return strspn(id, "0") != strlen(id);
}

static bool same_id(const char *a, const char *b) {
    return is_id(a) && strcmp(a, b) == 0;
}

static bool judge_version(const struct side_facts *facts, const char *role, struct err *err) {
    for (size_t i = 0; i < facts->n_servers; i++) {
        const struct server_info *info = &facts->servers[i].info;
        if (info->version == 0 || info->redis_version >= SIDES_VERSION_MIN) continue;
        return err_set(
            err, ERR_UNSUPPORTED, role,
            "%s runs redis %s; longhaul needs version 4.0 or newer on both sides: upgrade it first",
            facts->label, info->version_text);
    }
    return true;
}

static bool follows(const struct side_facts *replicas, const struct side_facts *primaries) {
    for (size_t i = 0; i < replicas->n_servers; i++)
        for (size_t k = 0; k < primaries->n_places; k++) {
            const struct side_place *a = &replicas->servers[i].primary, *b = &primaries->places[k];
            if (a->port != 0 && a->port == b->port && strcmp(a->ip, b->ip) == 0) return true;
        }
    return false;
}

static bool judge_clusters(const struct side_facts *source, const struct side_facts *target,
                           struct err *err) {
    for (size_t i = 0; i < source->n_node_ids; i++)
        for (size_t k = 0; k < target->n_node_ids; k++)
            if (same_id(source->node_ids[i], target->node_ids[k]))
                return err_set(
                    err, ERR_USAGE, "",
                    "source and target are the same cluster (%s and %s both know node %.*s): name "
                    "another target",
                    source->label, target->label, REPLID_SHOWN, source->node_ids[i]);
    return true;
}

/* One history that both have, after one was promoted: allowed, as when a target was filled by
 * replication and then detached. */
static void warn_of_history(const struct side_server *s, const struct side_server *t,
                            const char *label) {
    if (!same_id(s->info.replid, t->former_replid) && !same_id(s->former_replid, t->info.replid))
        return;
    log_warn("target",
             "%s was in the source's replication group until one of them was promoted; make sure "
             "that nothing (Sentinel, an operator) joins them again while longhaul writes there",
             label);
}

static bool judge_pair(const struct side_facts *source, const struct side_server *s,
                       const struct side_facts *target, const struct side_server *t,
                       bool other_database, struct err *err) {
    if (same_id(s->info.run_id, t->info.run_id))
        return other_database ||
               err_set(err, ERR_USAGE, "",
                       "source and target are the same server (%s and %s): name another target",
                       source->label, target->label);
    if (same_id(s->info.replid, t->info.replid))
        return err_set(
            err, ERR_USAGE, "",
            "source and target belong to one replication group (%s and %s both have master_replid "
            "%.*s...): name a target that does not replicate with the source, or detach it first "
            "(REPLICAOF NO ONE)",
            source->label, target->label, REPLID_SHOWN, s->info.replid);
    warn_of_history(s, t, target->label);
    return true;
}

bool sides_judge(const struct side_facts *source, const struct side_facts *target,
                 bool other_database, struct err *err) {
    if (!judge_version(source, "source", err) || !judge_version(target, "target", err) ||
        !judge_clusters(source, target, err))
        return false;
    for (size_t i = 0; i < source->n_servers; i++)
        for (size_t k = 0; k < target->n_servers; k++)
            if (!judge_pair(source, &source->servers[i], target, &target->servers[k],
                            other_database, err))
                return false;
    bool forth = follows(target, source), back = follows(source, target);
    if (!forth && !back) return true;
    return err_set(
        err, ERR_USAGE, "",
        "the %s is a replica of the %s (%s and %s): name a target that does not replicate with the "
        "source, or detach it first (REPLICAOF NO ONE)",
        forth ? "target" : "source", forth ? "source" : "target", source->label, target->label);
}

/* ---- both ---- */

bool sides_check(struct deployment *source, struct deployment *target, bool other_database,
                 struct err *err) {
    struct side_facts s, t;
    if (!sides_ask(source, &s, err)) return false;
    if (!sides_ask(target, &t, err)) {
        sides_facts_fini(&s);
        return false;
    }
    bool ok = sides_judge(&s, &t, other_database, err);
    sides_facts_fini(&s);
    sides_facts_fini(&t);
    return ok;
}

bool sides_check_target_role(struct deployment *target, struct err *err) {
    const struct server_info *info = deployment_info(target);
    if (deployment_is_cluster(target) || !info->replica) return true;
    return err_set(err, ERR_READONLY, "target",
                   "%s is a replica and takes no writes; point at its primary %s:%u",
                   deployment_endpoint(target)->label, info->primary_host, info->primary_port);
}
