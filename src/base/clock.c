/* The two clocks. Monotonic time never steps and says nothing about the date; wall time is the time
 * in which servers count expiry; NTP or a person may set the wall clock at any moment.
 * CLOCK_MONOTONIC is read through the vDSO: about 20 ns, cheap enough for a time stamp per command.
 */
#include "base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_mono_us(void) {
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void) {
    return clock_mono_us() / 1000;
}

int64_t clock_wall_us(void) {
    return read_us(CLOCK_REALTIME);
}

int64_t clock_wall_ms(void) {
    return clock_wall_us() / 1000;
}

int64_t clock_boot_us(void) {
    return read_us(CLOCK_BOOTTIME);
}

int64_t clock_boot_ms(void) {
    return clock_boot_us() / 1000;
}

struct moment moment_now(void) {
    return (struct moment){ clock_boot_us(), clock_wall_us() };
}

struct moment moment_of_wall(int64_t wall_us) {
    int64_t age_us = clock_wall_us() - wall_us;
    return (struct moment){ clock_boot_us() - (age_us > 0 ? age_us : 0) - 1, wall_us };
}
