/* See complain.h. Under the log's lock, so that a line that is being redrawn does not get mixed in.
 */
#include "cli/complain.h"

#include <stdio.h>

#include "base/log.h"

enum { MESSAGE_MAX = ERR_PLACE_MAX + ERR_TEXT_MAX + 4 };

static void print(void *ctx) {
    char message[MESSAGE_MAX];
    fprintf(stderr, "longhaul: %s\n", err_format(ctx, message, sizeof(message)));
}

int complain(const struct err *err) {
    struct err copy = *err;
    log_with_lock(print, &copy);
    int status = err_exit_status(err->code);
    return status == STATUS_DONE ? STATUS_TROUBLE : status;
}

int complain_usage(const struct err *err) {
    int status = complain(err);
    return err->code == ERR_USAGE ? STATUS_USAGE : status;
}
