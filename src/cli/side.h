/* From the options of one side to the deployment behind it. */
#ifndef LONGHAUL_CLI_SIDE_H
#define LONGHAUL_CLI_SIDE_H

#include <jansson.h>

#include "base/err.h"
#include "cli/options.h"
#include "net/loop.h"
#include "server/deployment.h"

/* The endpoint (release it with endpoint_fini()) and the settings that the options name for this
 * side, without connecting. */
bool side_describe(const struct options *options, enum opt_side_id id, int64_t startup_timeout_ms,
                   struct endpoint *endpoint, struct deployment_settings *settings,
                   struct err *err);

/* Opens the deployment that the options name for this side. startup_timeout_ms: how long LOADING
 * and the like are waited out. NULL on error. */
struct deployment *side_open(struct loop *loop, const struct options *options, enum opt_side_id id,
                             int64_t startup_timeout_ms, struct err *err);

/* The label of the endpoint as JSON, without connecting; null if the options name none. */
json_t *side_label_json(const struct options *options, enum opt_side_id id);

#endif
