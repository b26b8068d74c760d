/* The result of `replicate`: the table for people and the JSON document. */
#ifndef LONGHAUL_CLI_REPLICATE_REPORT_H
#define LONGHAUL_CLI_REPLICATE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "cli/options.h"
#include "job/replicate.h"
#include "server/deployment.h"
#include "verify/compare.h"

struct replicate_report {
    const struct options *options;
    const struct endpoint *source_endpoint, *target_endpoint;
    struct deployment *source, *target;    /* NULL: could not be opened */
    const struct replicate_result *result; /* NULL: not begun */
    const struct compare_result *compared; /* NULL: not compared */
    enum compare_mode compare_mode;
    const struct err *error; /* code ERR_NONE: none */
    int exit_status;
};

void replicate_report_text(FILE *out, const struct replicate_report *report);
/* Without "exit_status", which json_out() adds. */
json_t *replicate_report_json(const struct replicate_report *report);

#endif
