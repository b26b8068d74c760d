/* See restore.h.
 *
 * Bodies: redis 7.0.15 src/rdb.c rdbLoadObject(); listpack.c, ziplist.c, intset.c for the
 * packed values.
 */
#include "probe/restore.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rdb/crc64.h"
#include "server/call.h"

enum {
    PROBE_BODY_MAX = 64,
    TYPE_NONE = 0x3f,
    TYPE_VALKEY_HASH = 22,
    TYPE_HASH_EXPIRY = 24,
    TYPE_HASH_EXPIRY_LP = 25
};

struct probe_body {
    unsigned char type;
    struct bytes body;
};

#define BODY(type, literal)                                                                        \
    {                                                                                              \
        type, {                                                                                    \
            (literal), sizeof(literal) - 1                                                         \
        }                                                                                          \
    }

/* The smallest value of each encoding that DUMP writes. */
static const struct probe_body bodies[] = {
    BODY(0, "\x01"
            "a"),
    BODY(1, "\x01\x01"
            "a"),
    BODY(2, "\x01\x01"
            "a"),
    BODY(3, "\x01\x01"
            "a\x01"
            "1"),
    BODY(4, "\x01\x01"
            "a\x01"
            "b"),
    BODY(5, "\x01\x01"
            "a\0\0\0\0\0\0\xf0\x3f"),
    BODY(10, "\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01"
             "a\xff"),
    BODY(11, "\x0a\x02\0\0\0\x01\0\0\0\x01\0"),
    BODY(12, "\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01"
             "a\x03\xf2\xff"),
    BODY(13, "\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01"
             "a\x03\xf2\xff"),
    BODY(14, "\x01\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01"
             "a\xff"),
    BODY(15, "\0\0\0\0\0"),
    BODY(16, "\x0c\x0c\0\0\0\x02\0\x81"
             "a\x02\x01\x01\xff"),
    BODY(17, "\x0c\x0c\0\0\0\x02\0\x81"
             "a\x02\x01\x01\xff"),
    BODY(18, "\x01\x02\x0a\x0a\0\0\0\x01\0\x81"
             "a\x02\xff"),
    BODY(19, "\0\0\0\0\0\0\0\0\0\0"),
    BODY(20, "\x0a\x0a\0\0\0\x01\0\x81"
             "a\x02\xff"),
    BODY(21, "\0\0\0\0\0\0\0\0\0\0"),
    BODY(22, "\x01\x01"
             "a\x01"
             "b\xff\xff\xff\xff\xff\xff\xff\xff"),
    BODY(24, "\0\0\0\0\0\0\0\0\x01\0\x01"
             "a\x01"
             "b"),
    BODY(25, "\0\0\0\0\0\0\0\0\x0f\x0f\0\0\0\x03\0\x81"
             "a\x02\x81"
             "b\x02\0\x01\xff"),
};
enum { BODIES = sizeof(bodies) / sizeof(bodies[0]) };

/* ---- one pipeline ---- */

struct probe_run {
    size_t due;
    bool *accepted;    /* per payload */
    bool version_only; /* "Bad data format" is a yes too: the version was passed */
    struct err err;
};

struct restore_probe {
    struct client *client; /* borrowed */
    const char *key;       /* borrowed */
    const struct server_info *info;
    unsigned tried; /* the version that the encodings were sent with */
    bool version[ACCEPT_VERSIONS], type[ACCEPT_TYPES];
    struct probe_run versions, types;
};

static void restore_on_answer(void *ctx, void *arg, const struct reply *reply) {
    struct probe_run *run = ctx;
    run->due--;
    if (reply->err != NULL) {
        run->err = *reply->err;
        return;
    }
    bool ok = !resp_is_error(&reply->item);
    bool bad_data =
        !ok && memmem(reply->item.str.ptr, reply->item.str.len, "Bad data format", 15) != NULL;
    run->accepted[(uintptr_t)arg] = ok || (run->version_only && bad_data);
}

static size_t make_payload(char *out, unsigned char type, struct bytes body, unsigned version) {
    size_t len = 0;
    out[len++] = (char)type;
    memcpy(out + len, body.ptr, body.len);
    len += body.len;
    out[len++] = (char)(version & 0xff);
    out[len++] = (char)(version >> 8);
    uint64_t crc = crc64(0, out, len);
    for (int i = 0; i < 8; i++) out[len++] = (char)(crc >> (8 * i));
    return len;
}

static void restore_send(struct client *client, struct probe_run *run, const char *key,
                         size_t index, struct bytes payload) {
    const struct bytes words[] = { BYTES_LITERAL("RESTORE"), bytes_of_str(key),
                                   BYTES_LITERAL("1"),       payload,
                                   BYTES_LITERAL("REPLACE"), BYTES_LITERAL("ABSTTL") };
    run->due++;
    client_command(client, restore_on_answer, run, (void *)(uintptr_t)index, 6, words);
}

static bool probe_run_is_over(void *ctx) {
    const struct probe_run *run = ctx;
    return run->due == 0;
}

static bool probe_run_finish(struct loop *loop, struct client *client, struct probe_run *run,
                             int64_t timeout_ms, struct err *err) {
    if (!loop_until(loop, probe_run_is_over, run, clock_mono_ms() + timeout_ms, NULL)) {
        struct err late;
        err_set(&late, ERR_TIMEOUT, client_place(client),
                "no answer to RESTORE in time (see --timeout)");
        client_break(client, &late);
        loop_settle(loop); /* the answers that are due become failures */
    }
    if (run->err.code == ERR_NONE) return true;
    *err = run->err;
    return false;
}

/* ---- the two steps ---- */

static void send_versions(struct restore_probe *p) {
    char payload[PROBE_BODY_MAX];
    p->versions = (struct probe_run){ .accepted = p->version, .version_only = true };
    for (unsigned v = 1; v < ACCEPT_VERSIONS && client_is_ready(p->client); v++) {
        size_t len = make_payload(payload, TYPE_NONE, bytes_of("", 0), v);
        restore_send(p->client, &p->versions, p->key, v, bytes_of(payload, len));
    }
}

static void send_types(struct restore_probe *p, unsigned version) {
    char payload[PROBE_BODY_MAX];
    memset(p->type, 0, sizeof(p->type));
    p->types = (struct probe_run){ .accepted = p->type };
    p->tried = version;
    for (size_t i = 0; i < BODIES && client_is_ready(p->client); i++) {
        size_t len = make_payload(payload, bodies[i].type, bodies[i].body, version);
        restore_send(p->client, &p->types, p->key, bodies[i].type, bytes_of(payload, len));
    }
}

static unsigned newest_version(const struct restore_probe *p) {
    unsigned newest = 0;
    for (unsigned v = 1; v < ACCEPT_VERSIONS; v++)
        if (p->version[v]) newest = v;
    return newest;
}

/* The version that such a server writes, by RDB_VERSION in src/rdb.h of its releases. Only a guess:
 * the replies show the newest version that an unknown release accepts. */
static unsigned likely_version(const struct server_info *info) {
    uint32_t redis = info->redis_version;
    if (info->flavour == SERVER_VALKEY) return info->version >= SERVER_VERSION(9, 0, 0) ? 80 : 11;
    if (redis >= SERVER_VERSION(7, 2, 0)) return redis >= SERVER_VERSION(7, 4, 0) ? 12 : 11;
    if (redis >= SERVER_VERSION(5, 0, 0)) return redis >= SERVER_VERSION(7, 0, 0) ? 10 : 9;
    return 8;
}

/* The user may not write the probe's key, so that nothing is known: every value is restored
 * unchanged, and a value that the target refuses is given up. */
static void accept_all(struct accept *accept, const char *place) {
    log_info(
        place,
        "the payloads that RESTORE accepts are unknown: the user may not write longhaul:probe:*");
    for (unsigned v = 1; v < ACCEPT_VERSIONS; v++) accept->version[v] = true;
    for (unsigned type = 0; type < ACCEPT_TYPES; type++) accept->untried[type] = true;
}

static void restore_take_answers(const struct restore_probe *p, struct accept *accept) {
    memcpy(accept->version, p->version, sizeof(accept->version));
    memcpy(accept->type, p->type, sizeof(accept->type));
    for (unsigned type = 0; type < ACCEPT_TYPES; type++) accept->untried[type] = true;
    for (size_t i = 0; i < BODIES; i++) accept->untried[bodies[i].type] = false;
}

struct restore_probe *restore_probe_start(struct client *client, const char *key,
                                          const struct server_info *info) {
    struct restore_probe *p = mem_zalloc(sizeof(*p));
    p->client = client;
    p->key = key;
    p->info = info;
    send_versions(p);
    send_types(p, likely_version(info));
    return p;
}

bool restore_probe_finish(struct loop *loop, struct restore_probe *p, int64_t timeout_ms,
                          struct accept *accept, struct err *err) {
    *accept = (struct accept){ 0 };
    if (!probe_run_finish(loop, p->client, &p->versions, timeout_ms, err)) return false;
    if (!probe_run_finish(loop, p->client, &p->types, timeout_ms, err)) return false;
    unsigned newest = newest_version(p);
    if (newest > 0 && newest != p->tried) {
        send_types(p, newest);
        if (!probe_run_finish(loop, p->client, &p->types, timeout_ms, err)) return false;
    }
    if (newest > 0) {
        restore_take_answers(p, accept);
    } else {
        accept_all(accept, client_place(p->client));
    }
    /* The same numbers stand for different things in the two families, and may be read without
     * complaint. */
    if (p->info->flavour != SERVER_VALKEY) accept->type[TYPE_VALKEY_HASH] = false;
    if (p->info->flavour != SERVER_REDIS)
        accept->type[TYPE_HASH_EXPIRY] = accept->type[TYPE_HASH_EXPIRY_LP] = false;
    /* Module values have no body that could be tried. Up to 6.0 an unknown module makes the server
     * exit. */
    accept->modules = p->info->redis_version >= SERVER_VERSION(6, 2, 0);
    return true;
}

void restore_probe_free(struct restore_probe **probe) {
    free(*probe);
    *probe = NULL;
}
