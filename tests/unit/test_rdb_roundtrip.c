/* Every dumped value of the corpus, from every server: decoded, written to a real server by
 * commands, dumped there and decoded again, it is the same; and where that server takes the dumped
 * value itself, DEBUG DIGEST-VALUE agrees.
 *
 * The test asks the server for its abilities, so that any redis-server in PATH serves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "rdb/commands.h"
#include "rdb/decode.h"
#include "rdb/payload.h"
#include "resp/reader.h"
#include "resp/writer.h"
#include "support/rdb_values.h"
#include "support/redis_process.h"

enum { REPLY_MAX = 256 * 1024 };

/* ---- a connection that waits for each reply ---- */

struct peer {
    int fd;
    char reply[REPLY_MAX];
    struct resp_cursor rest; /* of the reply, behind its first item */
    struct resp_item item;
    struct commands_abilities can;
    unsigned version; /* of the payloads that it writes */
    int lost, restored;
};

static void open_peer(struct peer *peer, const struct redis_process *server) {
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(server->port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer->fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

static void send_words(struct peer *peer, size_t argc, const struct bytes *argv) {
    struct outq out;
    struct iovec iov[8];
    outq_init(&out);
    resp_write_command(&out, argc, argv);
    while (outq_bytes(&out) > 0) {
        ssize_t n = writev(peer->fd, iov, outq_peek(&out, iov, 8));
        assert_true(n > 0);
        outq_consume(&out, (size_t)n);
    }
    outq_fini(&out);
}

static const struct resp_item *ask(struct peer *peer, size_t argc, const struct bytes *argv) {
    struct resp_framer framer = { 0 };
    struct err err = { 0 };
    size_t len = 0;
    send_words(peer, argc, argv);
    while (resp_frame(&framer, bytes_of(peer->reply, len), &err) == RESP_NEED_MORE) {
        ssize_t n = read(peer->fd, peer->reply + len, sizeof(peer->reply) - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    peer->rest = resp_cursor_of(bytes_of(peer->reply, len));
    assert_true(resp_next(&peer->rest, &peer->item));
    return &peer->item;
}

#define ASK(peer, ...)                                                                             \
    ask((peer), sizeof((struct bytes[]){ __VA_ARGS__ }) / sizeof(struct bytes),                    \
        (struct bytes[]){ __VA_ARGS__ })
#define W(s) BYTES_LITERAL(s)

static bool has_command(struct peer *peer, const char *name) {
    const struct resp_item *reply = ASK(peer, W("COMMAND"), W("INFO"), bytes_of_str(name));
    return reply->type == RESP_ARRAY && strstr(peer->reply, name) != NULL;
}

static int begin(void **state) {
    struct redis_process *server = mem_zalloc(sizeof(*server));
    struct peer *peer = mem_zalloc(sizeof(*peer));
    redis_start(server, NULL);
    open_peer(peer, server);
    peer->can.field_expiry = has_command(peer, "hpexpireat");
    peer->can.stream_counters = has_command(peer, "pexpiretime");
    peer->can.create_consumer = has_command(peer, "getex");
    ASK(peer, W("SET"), W("probe"), W("1"));
    peer->version = payload_version(ASK(peer, W("DUMP"), W("probe"))->str);
    static void *both[2];
    both[0] = server;
    both[1] = peer;
    *state = both;
    return 0;
}

static int end(void **state) {
    void **both = *state;
    close(((struct peer *)both[1])->fd);
    redis_stop(both[0]);
    free(both[0]);
    free(both[1]);
    return 0;
}

/* ---- writing by commands ---- */

static bool on_emit(void *ctx, size_t argc, const struct bytes *argv, struct err *err) {
    const struct resp_item *reply = ask(ctx, argc, argv);
    if (!resp_is_error(reply)) return true;
    char word[64];
    return err_set(err, ERR_SERVER, "server", "%.*s of %s: %.*s", (int)argv[0].len, argv[0].ptr,
                   bytes_escape(argv[1], word, sizeof(word)), (int)reply->str.len, reply->str.ptr);
}

static bool on_lost(void *ctx, enum commands_loss what, struct bytes element, struct err *err) {
    ((struct peer *)ctx)->lost++;
    return true;
}

static bool write_value(struct peer *peer, struct bytes key, struct bytes payload, size_t limit,
                        struct err *err) {
    struct commands_options options = { .can = peer->can,
                                        .max_args = limit,
                                        .max_bytes = 2 * limit };
    struct commands_output output = { .emit = on_emit, .lost = on_lost, .ctx = peer };
    struct commands *commands = commands_new(key, &options, &output);
    bool ok = commands_expect_payload(commands, payload, err) &&
              decode_value(payload, commands_sink(), commands, err) &&
              commands_finish(commands, err);
    commands_free(&commands);
    return ok;
}

/* ---- values that cannot be the same ---- */

static void forget_expiry(json_t *hash) {
    const char *field;
    json_t *pair;
    json_object_foreach(hash, field, pair)
        json_array_set_new(pair, 1, json_integer(FIELD_NEVER_EXPIRES));
}

static void forget_not_numbers(json_t *zset) {
    const char *member;
    json_t *score;
    void *next;
    json_object_foreach_safe(zset, next, member, score) {
        if (strstr(json_string_value(score), "nan") != NULL) json_object_del(zset, member);
    }
}

static void forget_counters(json_t *stream) {
    const char *name;
    json_t *group;
    json_object_del(stream, "added");
    json_object_del(stream, "deleted");
    json_object_foreach(json_object_get(stream, "groups"), name, group)
        json_object_set_new(group, "read", json_integer(-1));
}

static void forget(const struct peer *peer, json_t *source, json_t *target) {
    json_t *stream = json_object_get(source, "stream"), *copy = json_object_get(target, "stream");
    if (!peer->can.field_expiry) forget_expiry(json_object_get(source, "hash"));
    forget_not_numbers(json_object_get(source, "zset"));
    if (json_object_get(stream, "added") != NULL && json_object_get(copy, "added") != NULL) return;
    forget_counters(stream);
    forget_counters(copy);
}

/* ---- the test ---- */

static struct bytes dump(struct peer *peer, const char *key) {
    const struct resp_item *reply = ASK(peer, W("DUMP"), bytes_of_str(key));
    if (reply->type != RESP_BULK) return (struct bytes){ 0 };
    char *copy = mem_alloc(reply->str.len);
    memcpy(copy, reply->str.ptr, reply->str.len);
    return bytes_of(copy, reply->str.len);
}

static void check_dump(struct peer *peer, const char *what, struct bytes payload) {
    struct err err = { 0 };
    struct bytes again = dump(peer, "copy");
    json_t *source = rdb_value_json(payload, SIZE_MAX, &err),
           *target = rdb_value_json(again, SIZE_MAX, &err);
    assert_non_null(source);
    if (target != NULL) forget(peer, source, target);
    if (target == NULL || !json_equal(source, target)) {
        print_error("%s: %s\nsource %s\n", what, err.text, json_dumps(source, JSON_SORT_KEYS));
        print_error("target %s\n", json_dumps(target, JSON_SORT_KEYS));
        fail();
    }
    json_decref(source);
    json_decref(target);
    free((char *)again.ptr);
}

/* The server's own opinion, where it can be had. */
static void check_digest(struct peer *peer, const char *what, struct bytes payload) {
    char *stamped = mem_alloc(payload.len);
    memcpy(stamped, payload.ptr, payload.len);
    payload_restamp(payload, peer->version, stamped + payload.len - PAYLOAD_FOOTER_LEN);
    bool taken = !resp_is_error(
        ASK(peer, W("RESTORE"), W("restored"), W("0"), bytes_of(stamped, payload.len)));
    free(stamped);
    if (!taken) return;
    peer->restored++;
    struct resp_item restored, copy;
    ASK(peer, W("DEBUG"), W("DIGEST-VALUE"), W("restored"), W("copy"));
    assert_true(resp_next(&peer->rest, &restored) && resp_next(&peer->rest, &copy));
    if (!bytes_equal(restored.str, copy.str)) {
        print_error("%s: DEBUG DIGEST-VALUE differs\n", what);
        fail();
    }
}

static void check_value(void *ctx, const char *server, const char *name, struct bytes payload,
                        json_t *expected) {
    struct peer *peer = ctx;
    struct err err = { 0 };
    char what[128], line[1024];
    snprintf(what, sizeof(what), "%s-%s", server, name);
    if (!decoder_knows(payload)) return;
    for (size_t limit = COMMANDS_ARGS_MIN; limit <= 4096; limit *= 256) {
        int lost = peer->lost;
        ASK(peer, W("FLUSHALL"));
        if (!write_value(peer, W("copy"), payload, limit, &err)) {
            print_error("%s: %s\n", what, err_format(&err, line, sizeof(line)));
            fail();
        }
        check_dump(peer, what, payload);
        /* 6.0 exits over a score that is not a number. */
        if (peer->lost == lost) check_digest(peer, what, payload);
    }
}

static void every_value(void **state) {
    struct peer *peer = ((void **)*state)[1];
    rdb_values_each(check_value, peer);
    assert_true(peer->restored > 100);
    assert_true(peer->lost > 0); /* the score that is no number, at least */
}

int main(int argc, char **argv) {
    if (argc > 1) rdb_values_at(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_value) };
    return cmocka_run_group_tests(tests, begin, end);
}
