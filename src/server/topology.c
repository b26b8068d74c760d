/* See topology.h. */
#include "server/topology.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

/* Faults of a part of CLUSTER SLOTS, in the place of a node's index. */
enum {
    NODE_MALFORMED = -1,
    NODE_WITHOUT_PORT =
        -2, /* of the kind that was asked for: a node that speaks TLS only, or never */
    NODE_TOO_MANY = -3,
};

struct topology *topology_new_single(const struct address *address) {
    struct topology *t = mem_zalloc(sizeof(*t));
    t->refs = 1;
    t->n_nodes = t->n_primaries = 1;
    t->nodes = mem_zalloc(sizeof(*t->nodes));
    t->nodes[0].address = *address;
    return t; /* every owner is node 0 */
}

struct topology *topology_ref(struct topology *t) {
    __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void topology_unref(struct topology **topology) {
    struct topology *t = *topology;
    *topology = NULL;
    if (t == NULL || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
    free(t->nodes);
    free(t);
}

int topology_find(const struct topology *t, const struct address *address) {
    for (int i = 0; i < t->n_nodes; i++)
        if (address_equal(&t->nodes[i].address, address)) return i;
    return -1;
}

bool topology_has_id(const struct topology *t, const char *id) {
    for (int i = 0; i < t->n_nodes; i++)
        if (strcmp(t->nodes[i].id, id) == 0) return true;
    return false;
}

static int topology_add_node(struct topology *t, const struct address *address, struct bytes id) {
    int known = topology_find(t, address);
    if (known >= 0) return known;
    if (t->n_nodes == TOPOLOGY_NODES_MAX) return NODE_TOO_MANY;
    if ((t->n_nodes & (t->n_nodes - 1)) == 0)
        t->nodes =
            mem_array(t->nodes, t->n_nodes == 0 ? 1 : (size_t)t->n_nodes * 2, sizeof(*t->nodes));
    struct topology_node *node = &t->nodes[t->n_nodes];
    *node = (struct topology_node){ .address = *address, .primary = -1, .reader = t->n_nodes };
    if (id.len < sizeof(node->id)) memcpy(node->id, id.len > 0 ? id.ptr : "", id.len);
    return t->n_nodes++;
}

void topology_add_replica(struct topology *t, const struct address *address) {
    int index = topology_add_node(t, address, bytes_of("", 0));
    if (index > 0) t->nodes[index].primary = 0;
}

/* The metadata of a node ("ip", address, "hostname", name): the address, where the preferred host
 * was "?". */
static struct bytes metadata_host(struct resp_cursor *c, int64_t n) {
    struct bytes found = bytes_of("", 0);
    for (int64_t i = 0; i + 1 < n; i += 2) {
        struct resp_item key, value;
        if (!resp_next(c, &key) || !resp_next(c, &value)) break;
        if (resp_is_string(&key) && resp_is_string(&value) && bytes_equal_str(key.str, "ip"))
            found = value.str;
    }
    return found;
}

/* One [host, port, id, metadata] entry; its index, or the fault. */
static int parse_node(struct topology *t, struct resp_cursor *c, const struct address *from) {
    struct resp_item head, host, port, id = { 0 }, more;
    if (!resp_next(c, &head) || !resp_is_aggregate(&head) || head.num < 2) return NODE_MALFORMED;
    if (!resp_next(c, &host) || !resp_next(c, &port) || port.type != RESP_INTEGER)
        return NODE_MALFORMED;
    if (resp_is_aggregate(&host)) return NODE_MALFORMED;
    struct bytes name = resp_is_string(&host) ? host.str : bytes_of("", 0);
    if (head.num > 2 && (!resp_next(c, &id) || resp_is_aggregate(&id))) return NODE_MALFORMED;
    for (int64_t i = 3; i < head.num; i++) {
        struct resp_cursor inside = *c;
        if (!resp_next(&inside, &more)) return NODE_MALFORMED;
        struct bytes ip =
            resp_is_aggregate(&more) ? metadata_host(&inside, more.num) : bytes_of("", 0);
        if (bytes_equal_str(name, "?") && ip.len > 0) name = ip;
        if (!resp_skip(c)) return NODE_MALFORMED;
    }
    if (name.len == 0 || bytes_equal_str(name, "?")) name = address_own_host(from);
    struct address address;
    if (port.num == 0) return NODE_WITHOUT_PORT;
    if (port.num < 1 || port.num > 65535 || !address_set(&address, name, (uint16_t)port.num))
        return NODE_MALFORMED;
    return topology_add_node(t, &address, id.str);
}

/* 0, or the fault. A replica without port is one that cannot be read from. */
static int parse_range(struct topology *t, struct resp_cursor *c, const struct address *from) {
    struct resp_item head, first, last;
    if (!resp_next(c, &head) || !resp_is_aggregate(&head) || head.num < 3) return NODE_MALFORMED;
    if (!resp_next(c, &first) || !resp_next(c, &last)) return NODE_MALFORMED;
    bool sane = first.type == RESP_INTEGER && last.type == RESP_INTEGER && first.num >= 0 &&
                first.num <= last.num && last.num < SLOT_COUNT;
    if (!sane) return NODE_MALFORMED;
    int primary = parse_node(t, c, from);
    if (primary < 0) return primary;
    if (t->nodes[primary].primary != primary) {
        t->nodes[primary].primary = primary;
        t->n_primaries++;
    }
    for (int64_t s = first.num; s <= last.num; s++) t->owner[s] = (int16_t)primary;
    for (int64_t i = 3; i < head.num; i++) {
        int replica = parse_node(t, c, from);
        if (replica == NODE_WITHOUT_PORT) continue;
        if (replica < 0) return replica;
        if (t->nodes[replica].primary < 0) t->nodes[replica].primary = primary;
    }
    return 0;
}

static bool topology_refuse(int wrong, const char *place, struct err *err) {
    if (wrong == NODE_WITHOUT_PORT)
        return err_set(err, ERR_UNSUPPORTED, place,
                       "a primary of the cluster has no port of the kind that is used here; "
                       "switch TLS on where its nodes speak only TLS, or off where they do not");
    if (wrong == NODE_TOO_MANY)
        return err_set(err, ERR_UNSUPPORTED, place,
                       "the cluster names more than %d nodes, the most that longhaul handles",
                       TOPOLOGY_NODES_MAX);
    return err_set(err, ERR_PROTOCOL, place,
                   "CLUSTER SLOTS was answered in a form that is not known");
}

struct topology *topology_parse_slots(struct resp_cursor c, const struct address *from,
                                      const char *place, struct err *err) {
    struct topology *t = mem_zalloc(sizeof(*t));
    t->refs = 1;
    t->cluster = true;
    memset(t->owner, 0xff, sizeof(t->owner));
    struct resp_item head;
    /* There are no more ranges than slots; a server that claims so would only cost time. */
    bool sane = resp_next(&c, &head) && resp_is_aggregate(&head) && head.num <= SLOT_COUNT;
    int wrong = sane ? 0 : NODE_MALFORMED;
    for (int64_t i = 0; wrong == 0 && i < head.num; i++) wrong = parse_range(t, &c, from);
    bool ok = wrong == 0 || topology_refuse(wrong, place, err);
    if (!ok) {
        topology_unref(&t);
        return NULL;
    }
    if (t->n_primaries == 0) {
        ok = err_set(err, ERR_CLUSTERDOWN, place,
                     "the cluster has no slots assigned; set it up first");
    }
    if (!ok) topology_unref(&t);
    return t;
}

bool topology_read_from_replicas(struct topology *t, int *without) {
    for (int p = 0; p < t->n_nodes; p++) {
        if (!topology_is_primary(t, p)) continue;
        t->nodes[p].reader = -1;
        for (int r = 0; r < t->n_nodes; r++)
            if (r != p && t->nodes[r].primary == p && t->nodes[p].reader < 0)
                t->nodes[p].reader = r;
        if (t->nodes[p].reader < 0) {
            *without = p;
            t->nodes[p].reader = p;
            return false;
        }
    }
    return true;
}

/* Which server the keys of a node come from: its own address for a primary. */
static const struct address *primary_of(const struct topology *t, int node) {
    int primary = t->nodes[node].primary;
    return &t->nodes[primary >= 0 ? primary : node].address;
}

bool topology_equal(const struct topology *a, const struct topology *b) {
    if (a->cluster != b->cluster || a->n_nodes != b->n_nodes) return false;
    for (int i = 0; i < a->n_nodes; i++) {
        int k = topology_find(b, &a->nodes[i].address);
        if (k < 0 || !address_equal(primary_of(a, i), primary_of(b, k))) return false;
    }
    for (int s = 0; s < SLOT_COUNT; s++) {
        if ((a->owner[s] < 0) != (b->owner[s] < 0)) return false;
        if (a->owner[s] < 0) continue;
        if (!address_equal(&a->nodes[a->owner[s]].address, &b->nodes[b->owner[s]].address))
            return false;
    }
    return true;
}

unsigned topology_slots_of(const struct topology *t, int node) {
    unsigned n = 0;
    for (int s = 0; s < SLOT_COUNT; s++) n += t->owner[s] == node;
    return n;
}

unsigned topology_uncovered(const struct topology *t) {
    return topology_slots_of(t, -1);
}

static void add_open_slot(struct bytes word, struct slot_set *migrating,
                          struct slot_set *importing) {
    /* "[93->-id]" or "[93-<-id]" */
    struct bytes rest = bytes_of(word.ptr + 1, word.len - 1), number = bytes_split(&rest, '-');
    int64_t slot;
    if (!bytes_to_i64(number, &slot) || slot < 0 || slot >= SLOT_COUNT || rest.len == 0) return;
    struct slot_set *set = rest.ptr[0] == '>' ? migrating : rest.ptr[0] == '<' ? importing : NULL;
    if (set != NULL) slot_set_add(set, (uint16_t)slot);
}

void topology_open_slots(struct bytes text, struct slot_set *migrating,
                         struct slot_set *importing) {
    while (text.len > 0) {
        struct bytes line = bytes_split(&text, '\n');
        while (line.len > 0) {
            struct bytes word = bytes_split(&line, ' ');
            if (word.len > 2 && word.ptr[0] == '[') add_open_slot(word, migrating, importing);
        }
    }
}
