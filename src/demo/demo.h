/* The whole of `longhaul demo`, step by step on standard output. */
#ifndef LONGHAUL_DEMO_DEMO_H
#define LONGHAUL_DEMO_DEMO_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "demo/stop.h"
#include "net/loop.h"

struct demo_settings {
    int64_t keys; /* at most */
    bool keep;    /* the servers outlive this process */
    bool text;    /* tell the story on standard output; false: demo_json() is all there is */
    struct demo_stop stop;
};

struct demo;

/* Runs the demonstration; demo_error() says whether everything was as it should be. Never NULL. */
struct demo *demo_run(struct loop *loop, const struct demo_settings *settings);
/* ERR_NONE if every step succeeded. */
const struct err *demo_error(const struct demo *demo);
/* The results of all steps; a new reference. */
json_t *demo_json(struct demo *demo);
/* Prints hints for the next commands, and how kept servers are ended. */
void demo_say_next(const struct demo *demo);
/* Ends the servers unless they are kept, and removes their files. Leaves NULL. */
void demo_free(struct demo **demo);

#endif
