/* See deployment.h. */
#include "server/deployment.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/contact.h"
#include "server/sentinel.h"

enum { SEED_PAUSE_MS = 500, FORMER_NODES_MAX = 4096 };

/* A node that the cluster had once. */
struct former_node {
    struct address address;
    char id[TOPOLOGY_ID_MAX];
};

struct deployment {
    struct loop *loop;
    struct endpoint endpoint;
    struct deployment_settings settings;
    struct credentials *credentials;
    const char *client_name; /* borrowed */
    bool persistent;
    struct server_info info;
    struct call_reply info_text;
    bool cluster;
    struct client *kept;           /* for the next call that wants its node; NULL: none */
    struct loop_timer *kept_timer; /* closes it */
    struct address seed;           /* the endpoint, or the primary that sentinels named last */
    unsigned refreshes;
    /* of a cluster: every node that was seen, the latest FORMER_NODES_MAX. One that was flagged
     * `fail` leaves the topology, and may be the only one that comes back. */
    struct former_node *former;
    size_t n_former;
    pthread_mutex_t lock;
    struct topology *topology; /* under lock */
    uint64_t epoch;            /* under lock */
};

/* ---- clients ---- */

struct client_settings deployment_client_settings(const struct deployment *d,
                                                  const struct address *address) {
    const struct endpoint *e = &d->endpoint;
    return (struct client_settings){
        .role = e->role,
        .address = *address,
        .server_name = e->tls.server_name,
        .credentials = d->credentials,
        .protocol = 2,
        .readonly = d->settings.read_from_replica && d->cluster,
        .no_touch = d->settings.no_touch,
        .fence = d->settings.writes,
        .name = d->client_name,
        .persistent = d->persistent,
        .reconnect = true,
        .connect_timeout_ms = d->settings.connect_timeout_ms,
        .reply_timeout_ms = d->settings.reply_timeout_ms,
        .reply_bytes_max = CLIENT_REPLY_MAX,
    };
}

bool deployment_is_written(const struct deployment *d) {
    return d->settings.writes;
}

void deployment_set_persistent(struct deployment *d) {
    d->persistent = true;
}

static void drop_kept(void *ctx) {
    struct deployment *d = ctx;
    client_close(&d->kept);
    loop_timer_stop(d->kept_timer);
}

void deployment_set_client_name(struct deployment *d, const char *name) {
    drop_kept(d); /* it has the name of before */
    d->client_name = name;
}

static struct client *take_kept(struct deployment *d, const struct address *address) {
    struct client *client = d->kept;
    if (client == NULL || !client_is_ready(client) ||
        !address_equal(client_address(client), address))
        return NULL;
    d->kept = NULL;
    return client;
}

struct client *deployment_call_begin(struct deployment *d, const struct address *address) {
    struct client *client = take_kept(d, address);
    if (client != NULL) return client;
    struct client_settings settings = deployment_client_settings(d, address);
    settings.reconnect = false;
    return client_open(d->loop, &settings, NULL, NULL);
}

bool deployment_call_await(struct deployment *d, struct client **client, struct err *err) {
    int64_t timeout_ms = d->settings.connect_timeout_ms + d->settings.reply_timeout_ms;
    return call_await_open(d->loop, client, false, timeout_ms, err);
}

struct client *deployment_call_open(struct deployment *d, const struct address *address,
                                    struct err *err) {
    struct client *client = deployment_call_begin(d, address);
    deployment_call_await(d, &client, err);
    return client;
}

void deployment_call_close(struct deployment *d, struct client **client) {
    struct client *c = *client;
    *client = NULL;
    if (c == NULL || !client_is_ready(c) || client_pending(c) > 0) {
        client_close(&c);
        return;
    }
    drop_kept(d);
    d->kept = c;
    loop_timer_start(d->kept_timer, DEPLOYMENT_KEPT_MS);
}

/* ---- finding out ---- */

static bool take_info(struct deployment *d, struct client *client, struct call **call,
                      struct call_reply *text, struct err *err) {
    if (!call_finish(d->loop, call, d->settings.reply_timeout_ms, text, err)) return false;
    if (resp_is_string(&text->item)) return true;
    if (resp_is_error(&text->item)) {
        client_reply_error(client, &text->item, err);
        if (err->code == ERR_UNKNOWN_COMMAND)
            err_set(
                err, ERR_UNSUPPORTED, client_place(client),
                "the server does not have INFO: a proxy that lacks commands, or INFO is renamed; "
                "name the servers behind the proxy");
    } else {
        err_set(err, ERR_PROTOCOL, client_place(client),
                "INFO was answered in a form that is not known");
    }
    call_reply_fini(text);
    return false;
}

static bool ask_info(struct deployment *d, struct client *client, struct server_info *info,
                     struct call_reply *text, struct err *err) {
    const struct bytes words[] = { BYTES_LITERAL("INFO") };
    struct call *call = call_start(client, 1, words);
    if (!take_info(d, client, &call, text, err)) return false;
    server_info_parse(info, text->item.str);
    return true;
}

bool deployment_node_info(struct deployment *d, const struct address *address,
                          struct server_info *info, struct call_reply *text, struct err *err) {
    struct client *client = deployment_call_open(d, address, err);
    if (client == NULL) return false;
    struct call_reply reply;
    bool ok = ask_info(d, client, info, &reply, err);
    if (ok) deployment_call_close(d, &client);
    client_close(&client);
    if (ok && text != NULL) {
        *text = reply;
    } else if (ok) {
        call_reply_fini(&reply);
    }
    return ok;
}

/* One of several nodes that are asked at once. */
struct asked {
    struct client *client;
    struct call *call;
    struct err err; /* ERR_NONE: all is well so far */
};

static void begin_asking(struct deployment *d, struct asked *a) {
    const struct bytes words[] = { BYTES_LITERAL("INFO") };
    if (a->client != NULL && deployment_call_await(d, &a->client, &a->err))
        a->call = call_start(a->client, 1, words);
}

static void end_asking(struct deployment *d, struct asked *a,
                       void (*fn)(void *ctx, struct bytes text), void *ctx) {
    struct call_reply text;
    if (a->call != NULL && take_info(d, a->client, &a->call, &text, &a->err)) {
        fn(ctx, text.item.str);
        call_reply_fini(&text);
    }
    if (a->err.code == ERR_NONE) deployment_call_close(d, &a->client);
    client_close(&a->client);
}

bool deployment_primaries_info(struct deployment *d, void (*fn)(void *ctx, struct bytes text),
                               void *ctx, struct err *err) {
    struct topology *t = deployment_topology(d);
    struct asked *asked = mem_zalloc((size_t)t->n_nodes * sizeof(*asked));
    bool ok = true;
    for (int i = 0; i < t->n_nodes; i++)
        if (topology_is_primary(t, i))
            asked[i].client = deployment_call_begin(d, &t->nodes[i].address);
    for (int i = 0; i < t->n_nodes; i++) begin_asking(d, &asked[i]);
    for (int i = 0; i < t->n_nodes; i++) {
        end_asking(d, &asked[i], fn, ctx);
        if (ok && asked[i].err.code != ERR_NONE) *err = asked[i].err;
        ok = ok && asked[i].err.code == ERR_NONE;
    }
    free(asked);
    topology_unref(&t);
    return ok;
}

/* The replicas of a standalone primary, from "slaveN:ip=..,port=..,state=online,...". */
static void add_info_replicas(struct topology *t, struct bytes info) {
    for (int i = 0;; i++) {
        char name[24];
        snprintf(name, sizeof(name), "slave%d", i);
        struct bytes rest = info_field(info, name), ip = bytes_of("", 0), state = ip;
        if (rest.len == 0) return; /* their numbers have no holes */
        int64_t port = 0;
        while (rest.len > 0) {
            struct bytes value = bytes_split(&rest, ','), key = bytes_split(&value, '=');
            if (bytes_equal_str(key, "ip")) ip = value;
            if (bytes_equal_str(key, "port")) bytes_to_i64(value, &port);
            if (bytes_equal_str(key, "state")) state = value;
        }
        struct address address;
        if (bytes_equal_str(state, "online") && port > 0 && port <= 65535 &&
            address_set(&address, ip, (uint16_t)port))
            topology_add_replica(t, &address);
    }
}

static struct topology *load_topology(struct deployment *d, struct client *client,
                                      struct bytes info, struct err *err) {
    const struct address *from = client_address(client);
    struct topology *t = NULL;
    if (d->cluster) {
        struct call_reply reply;
        if (!call_ok(d->loop, client, d->settings.reply_timeout_ms, &reply, err, "CLUSTER SLOTS"))
            return NULL;
        t = topology_parse_slots(resp_cursor_of(bytes_of(reply.raw, reply.len)), from,
                                 client_place(client), err);
        call_reply_fini(&reply);
    } else {
        t = topology_new_single(from);
        if (d->settings.read_from_replica) add_info_replicas(t, info);
    }
    int without = 0;
    if (t != NULL && d->settings.read_from_replica && !topology_read_from_replicas(t, &without)) {
        char where[ADDRESS_HOST_MAX + 16];
        err_set(err, ERR_UNSUPPORTED, d->endpoint.role,
                "%s has no replica online to read from; leave out --%s-read-from replica",
                address_format(&t->nodes[without].address, where, sizeof(where)), d->endpoint.role);
        topology_unref(&t);
    }
    return t;
}

static void remember_node(struct deployment *d, const struct topology_node *node) {
    struct former_node *f = d->former;
    for (size_t i = 0; i < d->n_former; i++)
        if (address_equal(&f[i].address, &node->address) && strcmp(f[i].id, node->id) == 0) return;
    if (f == NULL) f = d->former = mem_array(NULL, FORMER_NODES_MAX, sizeof(*f));
    if (d->n_former == FORMER_NODES_MAX) memmove(f, f + 1, --d->n_former * sizeof(*f));
    f[d->n_former].address = node->address;
    snprintf(f[d->n_former++].id, TOPOLOGY_ID_MAX, "%s", node->id);
}

static void publish(struct deployment *d, struct topology *t) {
    for (int i = 0; i < t->n_nodes && t->cluster; i++) remember_node(d, &t->nodes[i]);
    pthread_mutex_lock(&d->lock);
    struct topology *old = d->topology;
    bool changed = old == NULL || !topology_equal(old, t);
    if (changed) {
        d->topology = t;
        d->epoch++;
    } else {
        old = t;
    }
    pthread_mutex_unlock(&d->lock);
    topology_unref(&old);
}

/* ---- opening ---- */

/* The sentinels share the side's TLS files, which are read again where the handshake fails. */
static bool ask_sentinels(struct deployment *d, struct err *err) {
    struct login login;
    bool found, again;
    do {
        credentials_take(d->credentials, &login);
        found =
            sentinel_find_primary(d->loop, &d->endpoint, login.tls, d->settings.connect_timeout_ms,
                                  d->settings.reply_timeout_ms, &d->seed, err);
        again =
            !found && err->code == ERR_TLS && credentials_renew(d->credentials, login.generation);
        login_fini(&login);
    } while (again);
    return found;
}

static bool find_seed(struct deployment *d, struct err *err) {
    const struct endpoint *e = &d->endpoint;
    if (e->kind == ENDPOINT_SENTINEL) return ask_sentinels(d, err);
    bool fits = e->kind == ENDPOINT_UNIX
                    ? address_set_unix(&d->seed, e->path)
                    : address_set(&d->seed, bytes_of_str(e->hosts[0].host), e->hosts[0].port);
    return fits || err_set(err, ERR_USAGE, e->role, "the host name or path is too long");
}

static bool ask_seed(struct deployment *d, struct err *err) {
    struct client *client = find_seed(d, err) ? deployment_call_open(d, &d->seed, err) : NULL;
    if (client == NULL) return false;
    call_reply_fini(&d->info_text);
    bool ok = ask_info(d, client, &d->info, &d->info_text, err);
    if (ok && d->endpoint.kind == ENDPOINT_SENTINEL && d->info.replica)
        ok = err_set(err, ERR_MASTERDOWN, client_place(client),
                     "the sentinels name a server that is a replica; a failover goes on");
    d->cluster = ok && d->info.cluster;
    struct topology *t = ok ? load_topology(d, client, d->info_text.item.str, err) : NULL;
    /* A client that was opened before the server was known to be a cluster does not read from
     * replicas. */
    if (t != NULL && !d->settings.read_from_replica) deployment_call_close(d, &client);
    client_close(&client);
    if (t != NULL) publish(d, t);
    return t != NULL;
}

/* A server that is starting is waited for, and for a patient caller one that is down; otherwise a
 * server that cannot be reached is an error at once. */
static bool is_waited_for(const struct deployment *d, const struct err *err, int64_t began_ms) {
    enum err_class class = err_class_of(err->code);
    int64_t limit_ms = d->settings.startup_timeout_ms;
    bool starting =
        err->code == ERR_LOADING || err->code == ERR_MASTERDOWN || err->code == ERR_BUSY;
    bool down = d->settings.patient && (class == ERR_CLASS_HERE || class == ERR_CLASS_WAIT);
    bool endless = d->settings.patient && limit_ms == 0;
    return (starting || down) && (endless || clock_mono_ms() - began_ms < limit_ms);
}

/* Redis 4.0 is the oldest that tests run with: before, UNLINK and MEMORY USAGE are missing. */
static bool check_recognised(struct deployment *d, struct err *err) {
    const char *flavour = d->info.flavour == SERVER_VALKEY ? "valkey" : "redis";
    if (d->info.redis_version > 0 && d->info.redis_version < SERVER_VERSION(4, 0, 0))
        return err_set(err, ERR_UNSUPPORTED, d->endpoint.role,
                       "%s is %s %s; versions before 4.0 are not supported", d->endpoint.label,
                       flavour, d->info.version_text);
    if (d->endpoint.cluster_wanted && !d->cluster)
        return err_set(err, ERR_USAGE, d->endpoint.role,
                       "%s is not a cluster (%s %s); leave out --%s-cluster", d->endpoint.label,
                       flavour, d->info.version_text, d->endpoint.role);
    return true;
}

static bool recognise(struct deployment *d, struct err *err) {
    int64_t began_ms = clock_mono_ms();
    int tries = 0;
    struct err last;
    for (bool told = false; !ask_seed(d, &last);) {
        const struct contact contact = { .role = d->endpoint.role,
                                         .address = d->seed,
                                         .tls = d->endpoint.tls.on,
                                         .timeout_ms = d->settings.connect_timeout_ms };
        bool mistaken = !told && d->endpoint.kind == ENDPOINT_TCP &&
                        contact_explain_tls(d->loop, &contact, &last);
        if (!mistaken && is_waited_for(d, &last, began_ms)) {
            if (!told) log_warn(last.place, "%s; waiting", last.text);
            told = true;
            if (!call_pause(d->loop, SEED_PAUSE_MS, err)) return false;
            continue;
        }
        if (!mistaken && call_again(d->loop, &last, &tries)) continue;
        if (!mistaken && d->endpoint.kind == ENDPOINT_TCP)
            contact_explain_proxy(d->loop, &contact, &last);
        *err = last;
        return false;
    }
    return check_recognised(d, err);
}

struct deployment *deployment_open(struct loop *loop, const struct endpoint *endpoint,
                                   const struct deployment_settings *settings, struct err *err) {
    struct deployment *d = mem_zalloc(sizeof(*d));
    d->loop = loop;
    d->settings = *settings;
    d->kept_timer = loop_timer_new(loop, drop_kept, d);
    pthread_mutex_init(&d->lock, NULL);
    endpoint_copy(&d->endpoint, endpoint);
    endpoint_wipe(&d->endpoint.pass); /* the credentials have it */
    d->credentials = credentials_new(endpoint, err);
    if (d->credentials == NULL || !recognise(d, err)) deployment_free(&d);
    return d;
}

void deployment_free(struct deployment **deployment) {
    struct deployment *d = *deployment;
    *deployment = NULL;
    if (d == NULL) return;
    drop_kept(d);
    loop_timer_free(&d->kept_timer);
    topology_unref(&d->topology);
    free(d->former);
    call_reply_fini(&d->info_text);
    credentials_free(&d->credentials);
    endpoint_fini(&d->endpoint);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- refreshing ---- */

/* A node that was cut off from its cluster, or taken out of it, goes on answering with the picture
 * it had; it says of itself that the cluster fails. Where CLUSTER INFO is refused the node is
 * believed. */
static bool is_cut_off(struct deployment *d, struct client *client) {
    struct call_reply reply;
    struct err err;
    if (!d->cluster ||
        !call_ok(d->loop, client, d->settings.reply_timeout_ms, &reply, &err, "CLUSTER INFO"))
        return false;
    bool fails = resp_is_string(&reply.item) &&
                 bytes_equal_str(info_field(reply.item.str, "cluster_state"), "fail");
    call_reply_fini(&reply);
    return fails;
}

/* id: the answer must still have this node, at whose address another one may stand now; NULL: any
 * answer. */
static bool refresh_from(struct deployment *d, const struct address *address, bool choosy,
                         const char *id, struct err *err) {
    struct client *client = deployment_call_open(d, address, err);
    if (client == NULL) return false;
    struct server_info info;
    struct call_reply text;
    struct topology *t = NULL;
    if (choosy && is_cut_off(d, client)) {
        err_set(err, ERR_CLUSTERDOWN, client_place(client), "the node says that its cluster fails");
    } else if (ask_info(d, client, &info, &text, err)) {
        bool demoted = d->endpoint.kind == ENDPOINT_SENTINEL && info.replica;
        if (demoted)
            err_set(err, ERR_READONLY, client_place(client),
                    "the sentinels still name a server that is a replica now");
        if (!demoted) t = load_topology(d, client, text.item.str, err);
        call_reply_fini(&text);
    }
    if (t != NULL && id != NULL && !topology_has_id(t, id)) {
        err_set(err, ERR_CLUSTERDOWN, client_place(client), "another cluster answers here now");
        topology_unref(&t);
    }
    client_close(&client);
    if (t != NULL) publish(d, t);
    return t != NULL;
}

/* Every node of the present topology does not answer: nodes that left it are asked. */
static bool refresh_from_former(struct deployment *d, const struct topology *known, bool choosy,
                                struct err *err) {
    bool ok = false;
    for (size_t i = d->n_former; i > 0 && !ok; i--) {
        const struct former_node node = d->former[i - 1];
        if (node.id[0] != '\0' && topology_find(known, &node.address) < 0)
            ok = refresh_from(d, &node.address, choosy, node.id, err);
    }
    return ok;
}

/* The nodes known before the endpoint itself: a configuration endpoint may be slower to forget the
 * dead. Each time another one is asked first. */
static bool refresh_cluster(struct deployment *d, bool choosy, struct err *err) {
    struct topology *known = deployment_topology(d);
    unsigned n = (unsigned)known->n_nodes;
    bool ok = false;
    d->refreshes++;
    for (unsigned i = 0; i < n && !ok; i++)
        ok = refresh_from(d, &known->nodes[(i + d->refreshes) % n].address, choosy, NULL, err);
    ok = ok || refresh_from(d, &d->seed, choosy, NULL, err);
    ok = ok || refresh_from_former(d, known, choosy, err);
    topology_unref(&known);
    return ok;
}

bool deployment_refresh(struct deployment *d, struct err *err) {
    struct err last;
    drop_kept(d); /* its name may lead elsewhere by now */
    bool ok = d->endpoint.kind != ENDPOINT_SENTINEL || find_seed(d, &last);
    if (ok && d->cluster) {
        ok = refresh_cluster(d, true, &last) || refresh_cluster(d, false, &last);
    } else if (ok) {
        ok = refresh_from(d, &d->seed, false, NULL, &last);
    }
    if (!ok) *err = last;
    return ok;
}

/* ---- looking ---- */

struct topology *deployment_topology(struct deployment *d) {
    pthread_mutex_lock(&d->lock);
    struct topology *t = topology_ref(d->topology);
    pthread_mutex_unlock(&d->lock);
    return t;
}

uint64_t deployment_epoch(struct deployment *d) {
    pthread_mutex_lock(&d->lock);
    uint64_t epoch = d->epoch;
    pthread_mutex_unlock(&d->lock);
    return epoch;
}

const struct endpoint *deployment_endpoint(const struct deployment *d) {
    return &d->endpoint;
}

const char *deployment_role(const struct deployment *d) {
    return d->endpoint.role;
}

const char *deployment_kind(const struct deployment *d) {
    if (d->endpoint.kind == ENDPOINT_SENTINEL) return "sentinel";
    return d->cluster ? "cluster" : "standalone";
}

bool deployment_is_cluster(const struct deployment *d) {
    return d->cluster;
}

const struct server_info *deployment_info(const struct deployment *d) {
    return &d->info;
}

struct bytes deployment_info_text(const struct deployment *d) {
    return d->info_text.item.str;
}

int64_t deployment_reply_timeout_ms(const struct deployment *d) {
    return d->settings.reply_timeout_ms;
}

struct loop *deployment_loop(const struct deployment *d) {
    return d->loop;
}
