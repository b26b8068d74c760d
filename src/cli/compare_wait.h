/* Is the watermark of a running live job worth waiting for?
 *
 * Keys that differ wait for it, so it must come: a job that holds deletions, hangs, is paused, has
 * a gap that takes long or lies behind is not waited for, however long it stays so. Once its
 * watermark is close to the present again, it is. Everything here is by the record that the job
 * writes and by the clocks that are given; nothing is asked.
 */
#ifndef LONGHAUL_CLI_COMPARE_WAIT_H
#define LONGHAUL_CLI_COMPARE_WAIT_H

#include <stddef.h>
#include <stdint.h>

#include "store/record.h"

enum {
    /* a record that has not changed for so long is of a job that hangs or has ended */
    COMPARE_WAIT_SILENT_MS = 15000,
    /* So long a watermark that lies behind is waited for, since the first look at the job: a gap
     * may be about to close. Later it must be younger than that. */
    COMPARE_WAIT_BEHIND_MS = 60000,
    /* how far the clock of the job's machine may be ahead of this one's */
    COMPARE_WAIT_AHEAD_MS = 5000,
    COMPARE_WAIT_TEXT_MAX = 768
};

enum compare_wait_end {
    COMPARE_WAIT_GOES_ON, /* the watermark will pass */
    COMPARE_WAIT_SILENT,  /* the job does not write its record any more */
    COMPARE_WAIT_HELD,    /* deletions wait for an operator, and the watermark with them */
    COMPARE_WAIT_NEVER,   /* there is no watermark: the first copy goes on, or the proof is lost */
    COMPARE_WAIT_CLOCKS,  /* the job's clock is ahead: its watermark says nothing here */
    COMPARE_WAIT_BEHIND,
    COMPARE_WAIT_ENDS
};

struct compare_wait {
    int64_t began_ms;   /* the first look at this job */
    int64_t updated_us; /* of the record that was looked at last; 0: there was none */
    int64_t changed_ms; /* when it was new */
};

/* Looks at a record that was just read; `wait` is zeroed before the first look at a job. mono_ms
 * never goes back, wall_us is the time of day on this machine. */
enum compare_wait_end compare_wait_look(struct compare_wait *wait, const struct job_record *record,
                                        int64_t mono_ms, int64_t wall_us);
/* For people: why the job is not waited for. Not for COMPARE_WAIT_GOES_ON. */
void compare_wait_explain(enum compare_wait_end end, const struct job_record *record,
                          int64_t wall_us, char text[COMPARE_WAIT_TEXT_MAX]);

#endif
