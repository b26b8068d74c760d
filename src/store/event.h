/* Events of a job. An event is raised once, in one sentence; the log and every observer get the
 * same.
 */
#ifndef LONGHAUL_STORE_EVENT_H
#define LONGHAUL_STORE_EVENT_H

#include <stdbool.h>

#include "base/log.h"

enum event_id {
#define EVENT(id, name, level, audit, sentence) EVENT_##id,
#include "store/event.def"
#undef EVENT
    EVENTS
};

struct event_row {
    const char *name;
    enum log_level level;
    bool audit;
    const char *sentence;
};
const struct event_row *event_row(enum event_id id);

/* Where events go. fn is called on the thread that raises them. Owned by the caller. */
struct event_observer {
    void (*fn)(void *ctx, enum event_id id, const char *place, const char *text);
    void *ctx;
    struct event_observer *next;
};
struct event_sink {
    struct event_observer *observers;
};
void event_observe(struct event_sink *sink, struct event_observer *observer);

/* Logs "place: text" at the event's level, then tells the observers. Control thread. */
void event_raise(const struct event_sink *sink, enum event_id id, const char *place,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
