/* longhaul demo: from options to the demonstration of demo/demo.h, and its result. */
#include "cli/commands.h"
#include "cli/complain.h"
#include "cli/signals.h"
#include "demo/demo.h"
#include "output/json_out.h"

static int demo_report(struct demo *demo, bool text) {
    struct err err;
    const struct err *failure = demo_error(demo);
    int status = failure->code == ERR_NONE ? STATUS_DONE : STATUS_TROUBLE;
    if (!text && !json_out(demo_json(demo), status, &err)) status = complain(&err);
    if (failure->code != ERR_NONE) {
        complain(failure);
        status = STATUS_TROUBLE;
    }
    demo_say_next(demo);
    return status;
}

int cmd_demo(const struct options *options) {
    struct demo_settings settings = { .keys = options->generate.keys.last,
                                      .keep = options->keep,
                                      .text = options->output == OPT_OUTPUT_TEXT,
                                      .stop = { signals_stop_flag(), signals_first } };
    struct err err;
    struct loop *loop = loop_new(&err);
    if (loop == NULL) return complain(&err);
    signals_install(loop);
    struct demo *demo = demo_run(loop, &settings);
    int status = demo_report(demo, settings.text);
    demo_free(&demo);
    signals_uninstall();
    loop_run_once(loop, 0);
    loop_free(&loop);
    return status;
}
