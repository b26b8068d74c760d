/* See event.h. */
#include "store/event.h"

#include <stdarg.h>
#include <stdio.h>

enum { EVENT_TEXT_MAX = 512 };

const struct event_row *event_row(enum event_id id) {
    static const struct event_row rows[] = {
#define EVENT(id, name, level, audit, sentence) { name, LOG_##level, audit, sentence },
#include "store/event.def"
#undef EVENT
    };
    return &rows[id];
}

void event_observe(struct event_sink *sink, struct event_observer *observer) {
    observer->next = sink->observers;
    sink->observers = observer;
}

void event_raise(const struct event_sink *sink, enum event_id id, const char *place,
                 const char *format, ...) {
    char text[EVENT_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_line(event_row(id)->level, place, "%s", text);
    for (struct event_observer *o = sink->observers; o != NULL; o = o->next)
        o->fn(o->ctx, id, place, text);
}
