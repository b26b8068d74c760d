/* A client that is broken, closed or killed from within each kind of its callbacks: pending
 * commands are failed exactly once, at the end of the loop's round, and never below the caller on
 * the stack. The owner is freed behind client_close() by loop_defer(), as owners do;
 * AddressSanitizer watches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "server/client.h"
#include "support/fixture.h"
#include "support/run_until.h"

enum { PATIENCE_MS = 60000, COMMANDS = 200 };

/* The kinds of callbacks of a client. */
enum place { IN_REPLY, IN_FAILED, IN_READY, IN_DOWN, IN_PUSH, IN_DEFERRED, IN_TIMER, PLACES };
enum deed { BREAK, CLOSE, BREAK_AND_CLOSE, CLOSE_BY_KILL, DEEDS };

/* The deeds of the owner and the events that it heard; outlives the owner. */
struct seen {
    int sent, answered, failed, downs, depth;
    bool done, freed, nested, out_of_order;
};

struct owner {
    struct client *client;
    struct seen *seen;
    struct loop_timer *timer;
    enum place place;
    enum deed deed;
    uint64_t *words; /* freed with the owner: a callback that comes later is seen */
};

static void owner_send(struct owner *o);

static void owner_release(void *ctx) {
    struct owner *o = ctx;
    o->seen->freed = true;
    loop_timer_free(&o->timer);
    free(o->words);
    free(o);
}

static void owner_close(struct owner *o) {
    client_close(&o->client);
    loop_defer(loop, owner_release, o);
}

static void owner_act(struct owner *o, enum place place) {
    if (o->seen->done || o->place != place) return;
    struct err reason;
    err_set(&reason, ERR_CLOSED, "test", "broken by the test");
    o->seen->done = true;
    o->seen->depth++;
    switch (o->deed) {
    case BREAK:
        client_break(o->client, &reason);
        client_break(o->client, &reason);
        assert_false(client_is_ready(o->client));
        break;
    case CLOSE:
        owner_close(o);
        break;
    case BREAK_AND_CLOSE:
        client_break(o->client, &reason);
        owner_close(o);
        break;
    case CLOSE_BY_KILL:
        redis_kill_clients(&server);
        break;
    case DEEDS:
        break;
    }
    o->seen->depth--;
}

static void on_echo(void *ctx, void *arg, const struct reply *reply) {
    struct owner *o = ctx;
    struct seen *seen = o->seen;
    if (seen->depth > 0) seen->nested = true;
    if ((int)(intptr_t)arg != seen->answered + seen->failed) seen->out_of_order = true;
    o->words[0]++;
    if (reply->err != NULL) {
        seen->failed++;
        owner_act(o, IN_FAILED);
    } else {
        seen->answered++;
        owner_act(o, IN_REPLY);
    }
}

static void on_deferred(void *ctx) {
    owner_act(ctx, IN_DEFERRED);
}

static void on_timer(void *ctx) {
    owner_act(ctx, IN_TIMER);
}

static void owner_send(struct owner *o) {
    for (int i = 0; i < COMMANDS; i++) {
        const struct bytes words[] = { BYTES_LITERAL("ECHO"), BYTES_LITERAL("x") };
        client_command(o->client, on_echo, o, (void *)(intptr_t)o->seen->sent++, 2, words);
    }
}

static void on_ready(void *ctx) {
    struct owner *o = ctx;
    struct err reason;
    if (o->seen->depth > 0) o->seen->nested = true;
    if (o->seen->done) return;
    if (o->place == IN_PUSH) {
        const struct bytes subscribe[] = { BYTES_LITERAL("SUBSCRIBE"), BYTES_LITERAL("c") };
        resp_write_command(client_out(o->client), 2, subscribe);
    }
    owner_send(o);
    owner_act(o, IN_READY);
    if (o->place == IN_DEFERRED) loop_defer(loop, on_deferred, o);
    if (o->place == IN_TIMER) loop_timer_start(o->timer, 0);
    if (o->place != IN_FAILED && o->place != IN_DOWN) return;
    err_set(&reason, ERR_CLOSED, "test", "broken so that commands fail");
    client_break(o->client, &reason);
}

static void on_down(void *ctx, const struct err *err, bool final) {
    struct owner *o = ctx;
    if (o->seen->depth > 0) o->seen->nested = true;
    assert_int_equal(o->seen->answered + o->seen->failed, o->seen->sent);
    o->seen->downs++;
    owner_act(o, IN_DOWN);
}

static void on_push(void *ctx, struct resp_cursor cursor) {
    owner_act(ctx, IN_PUSH);
}

static void end_in(enum place place, enum deed deed) {
    static const struct client_events events = { .on_ready = on_ready,
                                                 .on_down = on_down,
                                                 .on_push = on_push };
    struct seen seen = { 0 };
    struct owner *o = mem_zalloc(sizeof(*o));
    struct client_settings s = fixture_client_settings();
    s.connect_timeout_ms = 20000;
    s.subscriber = place == IN_PUSH;
    o->seen = &seen;
    o->place = place;
    o->deed = deed;
    o->words = mem_zalloc(sizeof(*o->words));
    o->timer = loop_timer_new(loop, on_timer, o);
    o->client = client_open(loop, &s, &events, o);
    RUN_UNTIL(seen.done && seen.answered + seen.failed == seen.sent);
    /* A client that was only broken is there again, and works. */
    if (!seen.freed) RUN_UNTIL(client_is_ready(o->client));
    if (!seen.freed) owner_close(o);
    RUN_UNTIL(seen.freed);
    assert_int_equal(seen.answered + seen.failed, seen.sent);
    assert_false(seen.nested);
    assert_false(seen.out_of_order);
}

static void ended_in_every_callback(void **state) {
    for (int place = 0; place < PLACES; place++)
        for (int deed = 0; deed < DEEDS; deed++) end_in((enum place)place, (enum deed)deed);
}

/* Outside of the loop too: nothing is called before it runs, or loop_settle() is called. */
static void closed_outside_of_callbacks(void **state) {
    static const struct client_events events = { .on_ready = on_ready,
                                                 .on_down = on_down,
                                                 .on_push = on_push };
    struct seen seen = { 0 };
    struct owner *o = mem_zalloc(sizeof(*o));
    struct client_settings s = fixture_client_settings();
    s.connect_timeout_ms = 20000;
    o->seen = &seen;
    o->place = PLACES;
    o->words = mem_zalloc(sizeof(*o->words));
    o->client = client_open(loop, &s, &events, o);
    RUN_UNTIL(seen.sent > 0 && seen.answered == seen.sent);
    owner_send(o);
    owner_close(o);
    assert_int_equal(seen.failed, 0);
    assert_false(seen.freed);
    loop_settle(loop);
    assert_int_equal(seen.failed, COMMANDS);
    assert_true(seen.freed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ended_in_every_callback),
        cmocka_unit_test(closed_outside_of_callbacks),
    };
    return cmocka_run_group_tests(tests, fixture_start_server, fixture_stop_server);
}
