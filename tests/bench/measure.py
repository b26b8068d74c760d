"""The cost of a run: wall time, processor time of each process, peak memory; medians and ratios of rounds."""
from __future__ import annotations

import os
import select
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


def stat_seconds(stat: str) -> float:
    """utime + stime of a /proc/PID/stat line, with those of children that ended (a server's RDB child)."""
    fields = stat[stat.rindex(")") + 2:].split()
    return sum(int(ticks) for ticks in fields[11:15]) * TICK_S


def cpu_seconds(pid: int) -> float:
    return stat_seconds(Path(f"/proc/{pid}/stat").read_text())


def peak_bytes(pid: int) -> int:
    """VmHWM; 0 when the process has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


@dataclass
class Sample:
    """One run: seconds by the clock, seconds of processors by role, bytes at the peak, and the rest of its output."""
    wall: float
    cpu: Dict[str, float] = field(default_factory=dict)
    peak: int = 0
    said: Dict[str, object] = field(default_factory=dict)


class Meter:
    """Processor time of some servers since it was made."""

    def __init__(self, **pids: Sequence[int]) -> None:
        self._pids = pids
        self._before = self._now()

    def _now(self) -> Dict[str, float]:
        return {role: sum(map(cpu_seconds, pids)) for role, pids in self._pids.items()}

    def spent(self) -> Dict[str, float]:
        return {role: now - self._before[role] for role, now in self._now().items()}


class Failed(RuntimeError):
    """The program ended with a status that is not success."""


@dataclass
class Program:
    """longhaul, or its stand-in."""
    path: str

    def spawn(self, args: Sequence[str], out: object, err: object) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LONGHAUL_")}
        return subprocess.Popen([self.path, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err,  # type: ignore
                                env=clean)

    def run(self, args: Sequence[str], timeout: float = 900, **pids: Sequence[int]) -> Sample:
        """To its end, with success. Its own processor time is the kernel's account of the process; its memory is looked
        at while it runs, since the account would include the memory that this process had."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            meter = Meter(**pids)
            began = time.monotonic()
            process = self.spawn(args, out, err)
            peak = self._until_ended(process.pid, began + timeout)
            wall = time.monotonic() - began
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            text = out.read().decode(errors="replace")
            if process.returncode != 0:
                raise Failed(f"longhaul {' '.join(args)}: status {process.returncode}\n"
                             f"{err.read().decode(errors='replace')[-2000:]}{text[-2000:]}")
        cpu = {"longhaul": usage.ru_utime + usage.ru_stime, **meter.spent()}
        return Sample(wall, cpu, peak, {"stdout": text})

    @staticmethod
    def _until_ended(pid: int, deadline: float) -> int:
        peak = 0
        descriptor = os.pidfd_open(pid)
        try:
            while not select.select([descriptor], [], [], 0.02)[0]:
                peak = max(peak, peak_bytes(pid))
                if time.monotonic() > deadline:
                    os.kill(pid, 9)
        finally:
            os.close(descriptor)
        return peak


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, -(-len(ordered) * share // 1) - 1))
    return ordered[int(rank)]


def ratio(over: Sequence[float], under: Sequence[float]) -> Optional[float]:
    """Median over median; None where there is nothing to divide by."""
    if not over or not under or median(under) <= 0:
        return None
    return median(over) / median(under)


def rounded(values: Sequence[float]) -> List[float]:
    return [round(value, 4) for value in values]


def interleave(names: Sequence[str], rounds: int) -> List[str]:
    """Every name once a round, each round beginning with another one, so that no name always follows the same."""
    return [names[(start + i) % len(names)] for start in range(rounds) for i in range(len(names))]
