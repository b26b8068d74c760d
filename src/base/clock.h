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
/* Since 1970-01-01 UTC, as servers count expiry. */
int64_t clock_wall_ms(void);
/* clock_wall_ms() with microseconds; for measuring the skew between machines. */
int64_t clock_wall_us(void);

#endif
