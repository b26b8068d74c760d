/* Events: every row is whole, and an event that is raised reaches each observer once, as one
 * sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/event.h"

enum { TEXT_MAX = 2000 };

struct heard {
    int n;
    enum event_id id;
    char place[64], text[TEXT_MAX];
    const struct heard *before; /* this one is told later */
};

static void on_event(void *ctx, enum event_id id, const char *place, const char *text) {
    struct heard *h = ctx;
    h->n++;
    h->id = id;
    snprintf(h->place, sizeof(h->place), "%s", place);
    snprintf(h->text, sizeof(h->text), "%s", text);
    if (h->before != NULL) assert_int_equal(h->before->n, h->n);
}

static void each_event_has_a_name_of_its_own_and_a_sentence(void **state) {
    for (int i = 0; i < EVENTS; i++) {
        const struct event_row *row = event_row((enum event_id)i);
        assert_true(strlen(row->name) > 0 && strlen(row->sentence) > 10);
        assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(row->name));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(row->name, event_row((enum event_id)k)->name);
    }
    assert_string_equal(event_row(EVENT_GAP)->name, "gap");
    assert_true(event_row(EVENT_GAP)->audit);
    assert_int_equal(event_row(EVENT_GAP)->level, LOG_WARN);
}

static void an_event_reaches_every_observer_once(void **state) {
    struct event_sink sink = { 0 };
    struct heard first = { 0 }, second = { 0 };
    struct event_observer observers[] = { { .fn = on_event, .ctx = &first },
                                          { .fn = on_event, .ctx = &second } };
    event_raise(&sink, EVENT_GAP, "source", "nobody hears it");
    for (int i = 0; i < 2; i++) event_observe(&sink, &observers[i]);
    first.before = &second;
    event_raise(&sink, EVENT_HELD, "target 1.2.3.4:5", "%d of %s", 7, "many");
    assert_int_equal(first.n, 1);
    assert_int_equal(second.n, 1);
    assert_int_equal(first.id, EVENT_HELD);
    assert_string_equal(first.place, "target 1.2.3.4:5");
    assert_string_equal(first.text, "7 of many");
    assert_string_equal(second.text, "7 of many");
}

static void a_text_that_is_too_long_is_cut(void **state) {
    struct event_sink sink = { 0 };
    struct heard h = { 0 };
    struct event_observer observer = { .fn = on_event, .ctx = &h };
    char text[TEXT_MAX];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    event_observe(&sink, &observer);
    event_raise(&sink, EVENT_CLOSED, "job", "%s", text);
    assert_in_range(strlen(h.text), 100, TEXT_MAX - 2);
    assert_memory_equal(h.text, text, strlen(h.text));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_has_a_name_of_its_own_and_a_sentence),
        cmocka_unit_test(an_event_reaches_every_observer_once),
        cmocka_unit_test(a_text_that_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
