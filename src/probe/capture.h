/* How a source announces its changes: found by trying, because CONFIG may be refused, and a version
 * does not tell which commands a provider has switched off. */
#ifndef LONGHAUL_PROBE_CAPTURE_H
#define LONGHAUL_PROBE_CAPTURE_H

#include <stdbool.h>

#include "base/err.h"
#include "capture/feed.h"
#include "server/deployment.h"

/* --capture */
enum capture_wish { CAPTURE_AUTO, CAPTURE_TRACKING, CAPTURE_NOTIFICATIONS };

/* True of every primary of the source, or of the replica that is read in its place. */
struct capture_answers {
    enum feed_kind kind;
    bool resp2; /* the source has no HELLO */
    bool idle_time_allowed;
};

/* Tracking where the wish allows it and the source has it, else notifications. Notifications that
 * are not switched on, or cannot be tried, are an error that says where to switch them on. */
bool capture_choose(struct deployment *source, enum capture_wish wish,
                    struct capture_answers *answers, struct err *err);

#endif
