/* Time. Monotonic for waiting and measuring, wall clock for expiry and for people; never mix them.
 * Units are in the names. */
#ifndef LONGHAUL_BASE_CLOCK_H
#define LONGHAUL_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_us(void);
int64_t clock_mono_ms(void);
/* As clock_mono_ms(), and time during which the machine was suspended counts: for promises with an
 * end. */
int64_t clock_boot_ms(void);
int64_t clock_boot_us(void);
/* Since 1970-01-01 UTC, as servers count expiry. */
int64_t clock_wall_ms(void);
/* clock_wall_ms() with microseconds; for measuring the skew between machines. */
int64_t clock_wall_us(void);

/* A moment in both clocks, read together: boot_us orders moments of this process, wall_us is shown
 * to people and to other processes. Neither is ever computed from the other, so that a clock that
 * was set, or a machine that was suspended, cannot move a moment that has passed. */
struct moment {
    int64_t boot_us, wall_us;
};
#define MOMENT_NEVER ((struct moment){ INT64_MIN, 0 }) /* before all others */
#define MOMENT_NONE ((struct moment){ INT64_MAX, 0 })  /* behind all others */

struct moment moment_now(void);
/* A moment that another process has recorded by its wall clock: as old as that clock and ours say,
 * and older than now in any case. */
struct moment moment_of_wall(int64_t wall_us);
static inline struct moment moment_older(struct moment a, struct moment b) {
    return a.boot_us <= b.boot_us ? a : b;
}
static inline int moment_is_never(struct moment m) {
    return m.boot_us == INT64_MIN;
}
static inline int moment_is_none(struct moment m) {
    return m.boot_us == INT64_MAX;
}

#endif
