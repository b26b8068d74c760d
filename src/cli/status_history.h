/* `longhaul status --history` and `--given-up`: the past of a job, from its state directory. */
#ifndef LONGHAUL_CLI_STATUS_HISTORY_H
#define LONGHAUL_CLI_STATUS_HISTORY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "cli/options.h"

enum { STATUS_HISTORY_JSON_MAX = 100000 /* items of one list in the JSON document */ };

/* Prints the lists that the options ask for; nothing where they ask for neither. */
bool status_history_text(const struct options *options, struct err *err);
/* Adds "history", "comparisons" and "given_up_keys" to the document where they are asked for. */
bool status_history_json(const struct options *options, json_t *document, struct err *err);

#endif
