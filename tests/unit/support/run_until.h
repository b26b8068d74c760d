/* Waiting for a condition while a loop runs. */
#ifndef LONGHAUL_TESTS_RUN_UNTIL_H
#define LONGHAUL_TESTS_RUN_UNTIL_H

#include "base/clock.h"
#include "net/loop.h"

/* Runs the including file's `loop` until the condition holds; after PATIENCE_MS, also that file's,
 * the test fails. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        int64_t patience_ends_ms = clock_mono_ms() + PATIENCE_MS;                                  \
        while (!(condition) && clock_mono_ms() < patience_ends_ms) loop_run_once(loop, 20);        \
        assert_true(condition);                                                                    \
    } while (0)

#endif
