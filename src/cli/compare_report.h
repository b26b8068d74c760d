/* The report of `compare` at its end, as text and as JSON. */
#ifndef LONGHAUL_CLI_COMPARE_REPORT_H
#define LONGHAUL_CLI_COMPARE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "server/deployment.h"
#include "verify/compare.h"

struct compare_report {
    const struct endpoint *source_endpoint, *target_endpoint;
    struct deployment *source, *target; /* NULL: not opened */
    enum compare_mode mode;
    const struct err *error;
    bool began; /* the comparison was */
    struct compare_result found;
    const char *scope;     /* of the keys that were compared, see options_scope(); NULL: unknown */
    bool repairs, dry_run; /* there was something to repair; dry_run: it was only described */
    bool may_delete;
    uint64_t copied, deleted, given_up, held; /* held: extra keys that the deletion guard kept */
    bool compared_again;
    struct compare_result left; /* after the repair */
};

json_t *compare_report_json(const struct compare_report *report);
void compare_report_text(FILE *out, const struct compare_report *report, bool show_diffs);

#endif
