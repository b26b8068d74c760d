/* Any reply as CLUSTER SLOTS, any text as CLUSTER NODES: an accepted one is a picture that holds
 * together. */
#include <stdlib.h>
#include <string.h>

#include "server/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_nodes(const struct topology *t) {
    int primaries = 0;
    for (int i = 0; i < t->n_nodes; i++) {
        const struct topology_node *node = &t->nodes[i];
        if (node->address.host[0] == '\0' || node->address.port == 0) abort();
        if (node->primary < 0 || node->primary >= t->n_nodes) abort();
        if (!topology_is_primary(t, node->primary) && topology_is_primary(t, i)) abort();
        if (node->reader < 0 || node->reader >= t->n_nodes) abort();
        if (topology_find(t, &node->address) != i) abort();
        primaries += topology_is_primary(t, i);
    }
    if (primaries != t->n_primaries || primaries == 0) abort();
}

static void check(struct topology *t) {
    if (!t->cluster || t->n_nodes < 1 || t->n_nodes > TOPOLOGY_NODES_MAX) abort();
    check_nodes(t);
    unsigned owned = 0;
    for (int s = 0; s < SLOT_COUNT; s++) {
        if (t->owner[s] < -1 || t->owner[s] >= t->n_nodes) abort();
        if (t->owner[s] >= 0 && !topology_is_primary(t, t->owner[s])) abort();
        owned += t->owner[s] >= 0;
    }
    if (owned + topology_uncovered(t) != SLOT_COUNT) abort();
    if (!topology_equal(t, t)) abort();
    int without = -1;
    bool all = topology_read_from_replicas(t, &without);
    if (!all && (without < 0 || without >= t->n_nodes)) abort();
    check_nodes(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes input = bytes_of(data, size);
    struct slot_set migrating = { 0 }, importing = { 0 };
    topology_open_slots(input, &migrating, &importing);
    struct resp_framer framer = { 0 };
    struct err err = { 0 };
    if (resp_frame(&framer, input, &err) != RESP_FRAMED) return 0;
    struct address from;
    address_set(&from, BYTES_LITERAL("seed.example"), 6379);
    struct topology *t = topology_parse_slots(resp_cursor_of(bytes_of(data, framer.pos)), &from,
                                              "source seed", &err);
    if (t != NULL) {
        check(t);
    } else if (err.code != ERR_PROTOCOL && err.code != ERR_CLUSTERDOWN &&
               err.code != ERR_UNSUPPORTED) {
        abort();
    }
    topology_unref(&t);
    return 0;
}
