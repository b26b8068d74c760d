/* See compare_wait.h. */
#include "cli/compare_wait.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"

/* Keys of the target that the job never copied are held too, but the watermark does not wait for
 * them. */
static uint64_t held_deletions(const struct job_record *record) {
    uint64_t n = 0;
    for (size_t i = 0; i < record->n_holds; i++)
        if (strcmp(record->holds[i].cause, "extra") != 0) n += record->holds[i].deletions;
    return n;
}

static bool wait_is_held(const struct job_record *record) {
    for (size_t i = 0; i < record->n_holds; i++)
        if (strcmp(record->holds[i].cause, "extra") != 0) return true;
    return false;
}

/* By the clock of this machine alone: the job may run on another one. */
static bool wait_is_silent(struct compare_wait *wait, const struct job_record *record,
                           int64_t mono_ms) {
    if (wait->updated_us == 0) wait->began_ms = mono_ms;
    if (record->updated_us != wait->updated_us) {
        wait->updated_us = record->updated_us;
        wait->changed_ms = mono_ms;
    }
    return mono_ms - wait->changed_ms > COMPARE_WAIT_SILENT_MS;
}

static int64_t wait_age_ms(const struct job_record *record, int64_t wall_us) {
    return (wall_us - record->watermark_us) / 1000;
}

enum compare_wait_end compare_wait_look(struct compare_wait *wait, const struct job_record *record,
                                        int64_t mono_ms, int64_t wall_us) {
    if (wait_is_silent(wait, record, mono_ms)) return COMPARE_WAIT_SILENT;
    if (wait_is_held(record)) return COMPARE_WAIT_HELD;
    if (record->watermark_us == 0) return COMPARE_WAIT_NEVER;
    if ((record->updated_us - wall_us) / 1000 > COMPARE_WAIT_AHEAD_MS) return COMPARE_WAIT_CLOCKS;
    bool patient = mono_ms - wait->began_ms < COMPARE_WAIT_BEHIND_MS;
    bool behind = wait_age_ms(record, wall_us) > COMPARE_WAIT_BEHIND_MS;
    return behind && !patient ? COMPARE_WAIT_BEHIND : COMPARE_WAIT_GOES_ON;
}

/* ---- for people ---- */

static void explain_held(const struct job_record *record, char *text, size_t size) {
    char n[32];
    snprintf(
        text, size,
        "holds %s deletions (longhaul status shows them), and its watermark stands still until "
        "an operator decides",
        units_format_number(held_deletions(record), n, sizeof(n)));
}

/* The job's own words: trouble first, then the oldest gap. */
static void explain_behind(const struct job_record *record, int64_t wall_us, char *text,
                           size_t size) {
    const struct record_trouble *trouble = &record->trouble;
    int used = snprintf(text, size, "has a watermark that is %" PRId64 " s old",
                        wait_age_ms(record, wall_us) / 1000);
    text += used;
    size -= (size_t)used;
    if (trouble->text[0] != '\0') {
        snprintf(text, size, " (%s: %s)", trouble->place, trouble->text);
    } else if (record->n_gaps > 0) {
        snprintf(text, size, " (gap, %s: %s)", record->gaps[0].place, record->gaps[0].why);
    } else if ((record->updated_us - record->watermark_us) / 1000 <= COMPARE_WAIT_BEHIND_MS) {
        snprintf(text, size, " by the clock of this machine, but not by its own: clocks differ");
    }
}

void compare_wait_explain(enum compare_wait_end end, const struct job_record *record,
                          int64_t wall_us, char text[COMPARE_WAIT_TEXT_MAX]) {
    size_t size = COMPARE_WAIT_TEXT_MAX;
    text[0] = '\0';
    switch (end) {
    case COMPARE_WAIT_SILENT:
        snprintf(text, size,
                 "has not written its record for %d s: it has ended, is paused, hangs or cannot "
                 "reach the target",
                 COMPARE_WAIT_SILENT_MS / 1000);
        break;
    case COMPARE_WAIT_HELD:
        explain_held(record, text, size);
        break;
    case COMPARE_WAIT_NEVER:
        snprintf(text, size, "has no watermark yet (phase: %s)", record->phase);
        break;
    case COMPARE_WAIT_CLOCKS:
        snprintf(text, size,
                 "runs by a clock that is %" PRId64
                 " s ahead of this machine's, so that its watermark says nothing here",
                 (record->updated_us - wall_us) / 1000000);
        break;
    case COMPARE_WAIT_BEHIND:
        explain_behind(record, wall_us, text, size);
        break;
    case COMPARE_WAIT_GOES_ON:
    case COMPARE_WAIT_ENDS:
        break;
    }
}
