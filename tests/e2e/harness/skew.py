"""A server whose clock is wrong: a few lines of C that shift the time of day, preloaded into it."""
from __future__ import annotations

import subprocess
from pathlib import Path

from .servers import Binary, Fleet, Server, probe_binary

SHIFT = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead(void) {
    const char *text = getenv("SHIFT_SECONDS");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (where) *where = exact.tv_sec;
    return exact.tv_sec;
}
"""


def _starter(directory: Path, real: str, ahead: int) -> Binary:
    source, library, starter = directory / "shift.c", directory / "shift.so", directory / "server"
    source.write_text(SHIFT)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    starter.write_text(f'#!/bin/sh\nSHIFT_SECONDS={ahead} LD_PRELOAD="{library}" exec "{real}" "$@"\n')
    starter.chmod(0o755)
    return probe_binary(f"shifted by {ahead} s", str(starter))


def server(fleet: Fleet, ahead: int) -> Server:
    """The installed server, so many seconds ahead (or behind)."""
    directory = fleet.directory / f"shift{ahead}"
    directory.mkdir(exist_ok=True)
    made = fleet.server(binary=_starter(directory, fleet.binary.path, ahead))
    seconds = int(made.command("TIME")[0]) - int(fleet.server().command("TIME")[0])  # type: ignore[index]
    assert abs(seconds - ahead) <= 2, f"the clock is off by {seconds} s, not {ahead} s"
    return made
