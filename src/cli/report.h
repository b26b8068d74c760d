/* Parts of the results of commands, written once so that replicate and compare read the same. */
#ifndef LONGHAUL_CLI_REPORT_H
#define LONGHAUL_CLI_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "server/deployment.h"
#include "server/endpoint.h"
#include "verify/compare.h"

/* {"endpoint", "server", "server_version", "topology", "primaries"}; without deployment (it could
 * not be opened) all but the endpoint are null. */
json_t *report_side(const struct endpoint *endpoint, struct deployment *deployment);

/* "done", "interrupted" or "failed". */
const char *report_result(const struct err *error);

/* The "compare" object: counts, and the differences that were kept. */
json_t *report_compare(enum compare_mode mode, const struct compare_result *result);

/* The conclusion from a sample: the share of the keys that differs, with 95 % confidence. low and
 * high are shares of 1. */
void report_confidence(const struct compare_result *result, double *low, double *high);

/* "source  10.0.0.5:6379 (redis 7.0.15, cluster of 3)" */
void report_side_text(FILE *out, const char *name, const struct endpoint *endpoint,
                      struct deployment *deployment);

/* The summary by kind, as a table, with one sentence before it that says how it went. */
void report_compare_text(FILE *out, enum compare_mode mode, const struct compare_result *result);

/* Each difference that was kept, a line each, and how many were not. */
void report_differences_text(FILE *out, const struct compare_result *result);

#endif
