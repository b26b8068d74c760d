"""A process whose clocks are wrong and may step while the process runs: a few lines of C, preloaded into the process,
add an offset that stands in a file.

    clock = Clock(tmp_path)                                  the wall clock alone
    source = fleet.server(Options(env=clock.env))            a server with it
    with Live(source, target, env=clock.env) as live:        or longhaul
        clock.set(-20)                                       from now on 20 s behind the true time
        clock.step(+3)                                       3 s forward

busy_env() makes a server say of itself that it uses a whole processor, on an idle machine and on a busy one.

Clock(directory, "monotonic") makes a machine that seems to have been suspended or paused: its monotonic clock can stand
still against the true time. Clock(directory, "wall", "boot") steps several clocks together; clock.view("monotonic") is
another clock of the same processes.
"""
from __future__ import annotations

import copy
import functools
import os
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Dict

from .run import is_sanitized
from .servers import Fleet, Options, Server

CLOCKS = ("wall", "monotonic", "boot")
LIBRARY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Microseconds to add to the wall clock, the monotonic clock and the clock since boot. */
static volatile long long *offsets;

__attribute__((constructor)) static void map_offsets(void) {
    const char *name = getenv("CLOCK_OFFSETS");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, 3 * sizeof(*offsets), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) offsets = mapped;
}

static long long offset_of(clockid_t clock) {
    if (!offsets) return 0;
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE: return offsets[0];
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE: return offsets[1];
    case CLOCK_BOOTTIME: return offsets[2];
    default: return 0;
    }
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    long long offset = offset_of(clock);
    if (result != 0 || offset == 0) return result;
    long long us = now->tv_sec * 1000000LL + now->tv_nsec / 1000 + offset;
    now->tv_nsec = us % 1000000 * 1000 + now->tv_nsec % 1000;
    now->tv_sec = us / 1000000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

/* With CLOCK_BUSY a process says that it has used the processor ever since the machine started. */
int getrusage(__rusage_who_t who, struct rusage *usage) {
    int result = (int)syscall(SYS_getrusage, who, usage);
    if (result != 0 || !getenv("CLOCK_BUSY")) return result;
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    usage->ru_utime.tv_sec = now.tv_sec;
    usage->ru_utime.tv_usec = now.tv_nsec / 1000;
    usage->ru_stime.tv_sec = usage->ru_stime.tv_usec = 0;
    return 0;
}

time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
"""


@functools.lru_cache(maxsize=None)
def _compiled() -> "tempfile.TemporaryDirectory[str]":
    """The directory of the compiled library; removed when the tests end."""
    directory = tempfile.TemporaryDirectory(prefix="longhaul-clock-")
    source = Path(directory.name) / "clock.c"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(source.with_suffix(".so")), str(source)], check=True)
    return directory


def busy_env() -> Dict[str, str]:
    """For Options(env=...)."""
    return {"LD_PRELOAD": f"{_compiled().name}/clock.so", "CLOCK_BUSY": "1"}


class Clock:
    """The offset of the named clocks of every process that runs with `env`. Takes effect at once."""

    def __init__(self, directory: Path, *names: str) -> None:
        self._places = [CLOCKS.index(name) for name in names or ("wall",)]
        handle, self._file = tempfile.mkstemp(dir=directory, prefix="clock-")
        os.close(handle)
        Path(self._file).write_bytes(struct.pack("3q", 0, 0, 0))
        self.seconds = 0.0
        _compiled()

    def view(self, *names: str) -> "Clock":
        """Other clocks of the same processes, stepped apart from these."""
        other = copy.copy(self)
        other._places = [CLOCKS.index(name) for name in names]
        other.seconds = 0.0
        return other

    @property
    def env(self) -> Dict[str, str]:
        given = {"LD_PRELOAD": f"{_compiled().name}/clock.so", "CLOCK_OFFSETS": self._file}
        if is_sanitized():  # its runtime wants to be the first library
            options = [os.environ.get("ASAN_OPTIONS", ""), "verify_asan_link_order=0"]
            given["ASAN_OPTIONS"] = ":".join(filter(None, options))
        return given

    def set(self, seconds: float) -> None:
        """So many seconds off the true time."""
        self.seconds = seconds
        with open(self._file, "r+b") as file:
            for place in self._places:
                file.seek(8 * place)
                file.write(struct.pack("q", int(seconds * 1e6)))

    def step(self, seconds: float) -> None:
        """So many seconds forward, or back."""
        self.set(self.seconds + seconds)


def server(fleet: Fleet, ahead: float) -> Server:
    """A server of its own whose wall clock is so many seconds ahead, or behind."""
    clock = Clock(fleet.directory)
    clock.set(ahead)
    made = fleet.server(Options(env=clock.env))
    seconds = int(made.command("TIME")[0]) - int(fleet.server().command("TIME")[0])  # type: ignore[index]
    assert abs(seconds - ahead) <= 2, f"the clock is off by {seconds} s, not {ahead} s"
    return made
