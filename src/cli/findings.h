/* --report: every finding of a comparison as a line of JSON, written as soon as it is found, and a
 * summary as the last line.
 *
 *   {"record": "difference", "pass": 1, "db", "key", "kind", "detail"}
 *   {"record": "not_proved", "pass": 1, "db", "key", "detail"}  it changes on both sides
 *   {"record": "taken_back", "pass": 1, "slots", "backward"}    findings in these slots are void
 *   {"record": "summary", ...}                                  the document of --output json
 *
 * The file grows as FILE.part and gets its name when the summary is in it. A FILE that exists and
 * is no regular file (a pipe, a terminal, /dev/stderr) is written directly. Pass 2 is the
 * comparison after a repair.
 */
#ifndef LONGHAUL_CLI_FINDINGS_H
#define LONGHAUL_CLI_FINDINGS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "verify/compare.h"

struct findings;

/* NULL on error. */
struct findings *findings_open(const char *path, struct err *err);
void findings_add(struct findings *findings, int pass, const struct difference *difference);
/* A key that is not proved. */
void findings_add_unproved(struct findings *findings, int pass,
                           const struct difference *difference);
void findings_take_back(struct findings *findings, int pass, const struct slot_set *slots,
                        bool backward);
/* Writes the summary (borrowed) and gives the file its name. False when anything could not be
 * written. */
bool findings_finish(struct findings *findings, json_t *summary, struct err *err);
/* Leaves NULL; an unfinished report stays as FILE.part. */
void findings_close(struct findings **findings);

#endif
