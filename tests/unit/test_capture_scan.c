/* A pass of SCAN over a real server: every key is named although the connection is cut again and
 * again, another process behind the address is noticed, and the scan can be paused and ended at any
 * point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "capture/scan.h"
#include "support/fixture.h"

enum { PATIENCE_MS = 60000, KEYS = 100000 };

/* One scan and all that was heard of it. */
struct heard {
    struct scan *scan;
    int pages, named, ended, cuts;
    enum scan_end end;
    struct err err;
    int cut_every, restart_at, free_at, refuse_every; /* pages; 0: never */
    int asked;
    bool paused, free_on_end;
    unsigned char seen[KEYS];
};

static void on_keys(void *ctx, const struct bytes *keys, size_t n) {
    struct heard *h = ctx;
    assert_int_equal(h->ended, 0);
    for (size_t i = 0; i < n; i++) {
        int64_t number;
        assert_true(bytes_has_prefix(keys[i], "key:"));
        assert_true(bytes_to_i64(bytes_of(keys[i].ptr + 4, keys[i].len - 4), &number) &&
                    number < KEYS);
        h->named += h->seen[number] == 0;
        h->seen[number] = 1;
    }
    h->pages++;
    if (h->cut_every > 0 && h->pages % h->cut_every == 0) h->cuts += redis_kill_clients(&server);
    if (h->pages == h->restart_at) redis_restart(&server, NULL);
    if (h->pages == h->free_at) scan_free(&h->scan);
}

static bool may_continue(void *ctx) {
    struct heard *h = ctx;
    h->paused = h->refuse_every > 0 && ++h->asked % h->refuse_every == 0;
    return !h->paused;
}

static void on_end(void *ctx, enum scan_end end, const struct err *err) {
    struct heard *h = ctx;
    h->ended++;
    h->end = end;
    if (err != NULL) h->err = *err;
    if (h->free_on_end) scan_free(&h->scan);
}

static struct scan_settings settings(void) {
    struct scan_settings s = { .count = 1000 };
    s.client = (struct client_settings){
        .role = "source", .protocol = 2, .connect_timeout_ms = 5000, .reply_timeout_ms = 20000
    };
    address_set(&s.client.address, BYTES_LITERAL("127.0.0.1"), server.port);
    return s;
}

static struct heard *start(const struct scan_settings *s) {
    static const struct scan_events events = { on_keys, may_continue, on_end };
    struct heard *h = mem_zalloc(sizeof(*h));
    h->scan = scan_start(loop, s, &events, h);
    return h;
}

static void run(struct heard *h) {
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (h->ended == 0 && h->scan != NULL && clock_mono_ms() < deadline_ms) {
        loop_run_once(loop, 20);
        if (h->paused && h->scan != NULL) scan_resume(h->scan);
    }
}

static void finish(struct heard *h) {
    if (h->scan != NULL) scan_free(&h->scan);
    for (int i = 0; i < 5; i++) loop_run_once(loop, 1);
    free(h);
}

static void populate(void) {
    redis_do(&server, "FLUSHALL");
    redis_do(&server, "DEBUG POPULATE %d key 8", KEYS);
}

static void whole(void **state) {
    struct scan_settings s = settings();
    populate();
    struct heard *h = start(&s);
    run(h);
    assert_int_equal(h->ended, 1);
    assert_int_equal(h->end, SCAN_COMPLETE);
    assert_int_equal(h->named, KEYS);
    assert_true(h->pages >= KEYS / 1100);
    finish(h);
}

static void cut_again_and_again(void **state) {
    struct scan_settings s = settings();
    struct heard *h = start(&s);
    h->cut_every = 3;
    run(h);
    assert_int_equal(h->end, SCAN_COMPLETE);
    assert_int_equal(h->named, KEYS);
    assert_true(h->cuts >= 25);
    assert_true(scan_reconnects(h->scan) >= 25);
    finish(h);
}

static void paused_and_resumed(void **state) {
    struct scan_settings s = settings();
    struct heard *h = start(&s);
    h->refuse_every = 5;
    h->cut_every = 7;
    run(h);
    assert_int_equal(h->end, SCAN_COMPLETE);
    assert_int_equal(h->named, KEYS);
    finish(h);
}

static void stays_paused(void **state) {
    struct scan_settings s = settings();
    struct heard *h = start(&s);
    h->refuse_every = 1;
    for (int i = 0; i < 20; i++) loop_run_once(loop, 10);
    assert_int_equal(h->pages, 0);
    assert_true(h->paused);
    h->refuse_every = 0;
    scan_resume(h->scan);
    run(h);
    assert_int_equal(h->named, KEYS);
    finish(h);
}

static void with_sleep(void **state) {
    struct scan_settings s = settings();
    s.sleep_ms = 20;
    s.count = 20000;
    int64_t start_ms = clock_mono_ms();
    struct heard *h = start(&s);
    h->cut_every = 2;
    run(h);
    assert_int_equal(h->named, KEYS);
    assert_true(clock_mono_ms() - start_ms >= (h->pages - 1 - h->cuts) * 20);
    finish(h);
}

static void patterns(void **state) {
    struct scan_settings s = settings();
    s.match = "key:1?";
    s.type = "string";
    struct heard *h = start(&s);
    run(h);
    assert_int_equal(h->end, SCAN_COMPLETE);
    assert_int_equal(h->named, 10);
    finish(h);
    s.type = "list";
    h = start(&s);
    run(h);
    assert_int_equal(h->named, 0);
    finish(h);
    s = settings();
    s.db = 7;
    h = start(&s);
    run(h);
    assert_int_equal(h->end, SCAN_COMPLETE);
    assert_true(h->named == 0 && h->pages == 1);
    finish(h);
}

static void freed_in_callbacks(void **state) {
    struct scan_settings s = settings();
    struct heard *a = start(&s), *b = start(&s), *c = start(&s);
    a->free_at = 3;
    b->free_on_end = true;
    scan_free(&c->scan);
    run(a);
    run(b);
    assert_true(a->scan == NULL && a->ended == 0 && a->pages == 3);
    assert_true(b->scan == NULL && b->ended == 1 && b->end == SCAN_COMPLETE && b->named == KEYS);
    assert_true(c->ended == 0 && c->pages == 0);
    finish(a);
    finish(b);
    finish(c);
}

static void refused(void **state) {
    struct scan_settings s = settings();
    redis_do(&server, "ACL SETUSER limited on >pw ~* +info +ping +client +select");
    s.client.user = "limited";
    s.client.pass = "pw";
    struct heard *h = start(&s);
    run(h);
    assert_int_equal(h->end, SCAN_FAILED);
    assert_int_equal(h->err.code, ERR_NOPERM);
    finish(h);
    redis_do(&server, "ACL SETUSER limited -info +scan");
    h = start(&s);
    run(h);
    assert_int_equal(h->end, SCAN_FAILED);
    assert_int_equal(h->err.code, ERR_NOPERM);
    finish(h);
    s.client.pass = "wrong";
    h = start(&s);
    run(h);
    assert_int_equal(h->end, SCAN_FAILED);
    assert_int_equal(h->err.code, ERR_WRONGPASS);
    finish(h);
}

static void another_process(void **state) {
    struct scan_settings s = settings();
    struct heard *h = start(&s);
    h->restart_at = 10;
    run(h);
    assert_int_equal(h->ended, 1);
    assert_int_equal(h->end, SCAN_NODE_CHANGED);
    assert_int_equal(h->pages, 10);
    finish(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(cut_again_and_again),
        cmocka_unit_test(paused_and_resumed),
        cmocka_unit_test(stays_paused),
        cmocka_unit_test(with_sleep),
        cmocka_unit_test(patterns),
        cmocka_unit_test(freed_in_callbacks),
        cmocka_unit_test(refused),
        cmocka_unit_test(another_process),
    };
    return cmocka_run_group_tests(tests, fixture_start_server, fixture_stop_server);
}
