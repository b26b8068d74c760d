/* See status_clients.h. */
#include "cli/status_clients.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "output/line.h"
#include "server/call.h"

#define WORKING_PREFIX "longhaul:"
#define STANDBY_PREFIX "longhaul-standby:"

struct status_clients {
    char **names; /* of connections of longhaul */
    size_t n;
};

static bool status_clients_has(const struct status_clients *clients, const char *name) {
    for (size_t i = 0; i < clients->n; i++)
        if (strcmp(clients->names[i], name) == 0) return true;
    return false;
}

/* A standby has a connection to each of several primaries; a working process has many to each. */
static void status_clients_add(struct status_clients *clients, struct bytes value) {
    bool standby = bytes_has_prefix(value, STANDBY_PREFIX);
    if (!standby && !bytes_has_prefix(value, WORKING_PREFIX)) return;
    char *name = bytes_dup(value);
    line_clean(name);
    if (standby && status_clients_has(clients, name)) {
        free(name);
        return;
    }
    clients->names = mem_array(clients->names, clients->n + 1, sizeof(*clients->names));
    clients->names[clients->n++] = name;
}

/* Lines of "id=3 addr=... name=longhaul:orders:7 ...". */
static void status_clients_parse(struct status_clients *clients, struct bytes text) {
    while (text.len > 0) {
        struct bytes line = bytes_split(&text, '\n');
        while (line.len > 0) {
            struct bytes field = bytes_split(&line, ' ');
            if (!bytes_has_prefix(field, "name=")) continue;
            status_clients_add(clients, bytes_of(field.ptr + 5, field.len - 5));
            break;
        }
    }
}

static void status_clients_ask(struct status_clients *clients, struct deployment *target,
                               const struct address *address) {
    struct err err;
    struct call_reply reply;
    struct client *client = deployment_call_open(target, address, &err);
    if (client == NULL) return;
    if (call_ok(deployment_loop(target), client, deployment_reply_timeout_ms(target), &reply, &err,
                "CLIENT LIST")) {
        status_clients_parse(clients, reply.item.str);
        call_reply_fini(&reply);
    }
    client_close(&client);
}

struct status_clients *status_clients_read(struct deployment *target) {
    struct status_clients *clients = mem_zalloc(sizeof(*clients));
    struct topology *t = deployment_topology(target);
    for (int i = 0; i < t->n_nodes; i++)
        if (topology_is_primary(t, i)) status_clients_ask(clients, target, &t->nodes[i].address);
    topology_unref(&t);
    return clients;
}

void status_clients_free(struct status_clients **clients) {
    if (*clients == NULL) return;
    for (size_t i = 0; i < (*clients)->n; i++) free((*clients)->names[i]);
    free((*clients)->names);
    free(*clients);
    *clients = NULL;
}

/* The part behind "PREFIXJOB:" in the name; NULL for another job. */
static const char *status_clients_rest(const char *name, const char *prefix, const char *job) {
    size_t prefix_len = strlen(prefix), job_len = strlen(job);
    if (strncmp(name, prefix, prefix_len) != 0) return NULL;
    if (strncmp(name + prefix_len, job, job_len) != 0) return NULL;
    return name[prefix_len + job_len] == ':' ? name + prefix_len + job_len + 1 : NULL;
}

size_t status_clients_working(const struct status_clients *clients, const char *job) {
    size_t n = 0;
    if (clients == NULL) return 0;
    for (size_t i = 0; i < clients->n; i++)
        n += status_clients_rest(clients->names[i], WORKING_PREFIX, job) != NULL;
    return n;
}

const char *status_clients_standby(const struct status_clients *clients, const char *job,
                                   size_t i) {
    if (clients == NULL) return NULL;
    for (size_t k = 0; k < clients->n; k++) {
        const char *owner = status_clients_rest(clients->names[k], STANDBY_PREFIX, job);
        if (owner != NULL && i-- == 0) return owner;
    }
    return NULL;
}
