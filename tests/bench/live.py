"""The rows of live replication: the write rate that is followed, the lag at half of it, and the cost for the source.

A rate is followed when the lag stays bounded: over the last half of the time its median is below LAG_BOUND_MS, and not
much above that of the half before. The rate that the source takes alone is measured in turns with the rate while longhaul,
or a native replica, is attached.
"""
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from harness import wait
from harness.servers import Server

import data
from bed import Bed, detach, pids
from measure import Meter, median, percentile
from rows import Row, _about, _row

LAG_BOUND_MS = 3000.0
WRITER = Path(__file__).resolve().parent / "writer.py"
KEYS = 100_000


class Writer:
    """A process of writer.py that waits to be started."""

    def __init__(self, port: int, rate: float, seconds: float) -> None:
        words = [sys.executable, str(WRITER), str(port), str(rate), str(seconds), str(KEYS)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin and self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the writer does not start")

    def start(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> Dict[str, float]:
        out, _ = self._process.communicate(timeout=300)
        if self._process.returncode != 0:
            raise RuntimeError("the writer failed")
        return json.loads(out)


def refusal(bed: Bed) -> Optional[str]:
    """Why this program cannot be measured live; None when it can."""
    words = [bed.program.path, "replicate", "--mode", "live", "--connect-timeout", "1s", "127.0.0.1:1", "127.0.0.1:2"]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False).stderr
    except subprocess.TimeoutExpired:
        said = ""  # it waits for the servers, so it would follow them
    lines = [line for line in said.splitlines() if line.startswith("longhaul: --mode")]
    if lines:
        return lines[0]
    helped = subprocess.run([bed.program.path, "status", "--help"], capture_output=True, check=False)
    return None if helped.returncode == 0 else "this version has no command status"


@contextmanager
def following(bed: Bed, source: Server, target: Server) -> Iterator[int]:
    """longhaul in live mode, past its first copy; yields its pid."""
    with tempfile.TemporaryDirectory(dir=bed.directory) as state, tempfile.TemporaryFile() as err:
        process = bed.program.spawn(["replicate", "--mode", "live", "--state-dir", state, "--progress", "none",
                                     "--quiet", source.endpoint, target.endpoint], err, err)
        try:
            def live() -> bool:
                if process.poll() is not None:
                    err.seek(0)
                    raise RuntimeError(f"longhaul ended: {err.read().decode(errors='replace')[-2000:]}")
                return (status(bed, target) or {}).get("phase") == "live"
            wait.until(live, "longhaul to follow", 300, every=0.1)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def status(bed: Bed, target: Server) -> Optional[Dict[str, object]]:
    done = subprocess.run([bed.program.path, "status", target.endpoint, "--output", "json"], capture_output=True,
                          text=True, check=False)
    try:
        jobs = json.loads(done.stdout)["jobs"]
    except (ValueError, KeyError):
        return None
    return newest(jobs, time.time() * 1e6)


def newest(jobs: List[Dict[str, object]], now_us: float) -> Optional[Dict[str, object]]:
    """The job that wrote its record last, with lag_ms: now minus the watermark in that record. The record is written
    about once a second, so this lag is up to a second more than the job's own (lag_p50_us, lag_p99_us)."""
    if not jobs:
        return None
    job = max(jobs, key=lambda one: one.get("updated_us") or 0)  # type: ignore[arg-type, return-value]
    watermark = job.get("watermark_us")
    return {**job, "lag_ms": (now_us - float(watermark)) / 1000 if watermark else None}  # type: ignore[arg-type]


def lags_while(bed: Bed, target: Server, writer: Writer) -> List[float]:
    lags: List[float] = []
    writer.start()
    while writer.alive:
        held = status(bed, target)
        if held and held.get("lag_ms") is not None:
            lags.append(float(held["lag_ms"]))  # type: ignore[arg-type]
        time.sleep(0.2)  # between two looks; nothing waits for it
    return lags


def is_bounded(lags: List[float]) -> bool:
    """The last half of the lags stays below the bound and does not grow on from the half before it."""
    if len(lags) < 4:
        return False
    middle = len(lags) // 2
    earlier, later = median(lags[:middle]), median(lags[middle:])
    return later < LAG_BOUND_MS and later < 1.5 * earlier + 500


def written(port: int, seconds: float) -> float:
    """Writes a second, as fast as the server answers."""
    writer = Writer(port, 0, seconds)
    writer.start()
    said = writer.end()
    return said["writes"] / said["seconds"]


def rows(bed: Bed) -> Iterator[Row]:
    why = refusal(bed)
    if why:
        yield Row("live", skipped=why)
        return
    kind = data.KINDS["strings-100"]
    with bed.source(kind) as source:
        target = bed.target("plain")
        target.flush()
        yield from _burden(bed, kind, source, target)
        yield from _followed(bed, kind, source, target)
        target.flush()


def _burden(bed: Bed, kind: data.Kind, source: Server, target: Server) -> Iterator[Row]:
    seconds = 1.0 if bed.quick else 5.0
    rates: Dict[str, List[float]] = {"alone": [], "longhaul": [], "native": []}
    for _ in range(bed.rounds(3)):
        rates["alone"].append(written(source.port, seconds))
        target.flush()
        with following(bed, source, target):
            rates["longhaul"].append(written(source.port, seconds))
        target.flush()
        with native_replica(source, target):
            rates["native"].append(written(source.port, seconds))
    yield _row("live: source's writes/s, with longhaul / with a replica", rates["longhaul"], rates["native"],
               "writes a second with longhaul attached", "writes a second with a native replica attached",
               "at least 0.95", data=_about(bed, kind), options="--mode live; SET of 100 bytes, pipelined",
               values={f"{name}_writes_per_s": round(median(found)) for name, found in rates.items()})


@contextmanager
def native_replica(source: Server, target: Server) -> Iterator[None]:
    target.admin().execute_command("REPLICAOF", "127.0.0.1", source.port)
    wait.until(lambda: target.admin().info("replication").get("master_link_status") == "up", "the full sync", 300)
    try:
        yield
    finally:
        detach(source, target)


def _followed(bed: Bed, kind: data.Kind, source: Server, target: Server) -> Iterator[Row]:
    alone = median([written(source.port, 1.0 if bed.quick else 5.0) for _ in range(bed.rounds(3))])
    target.flush()
    with following(bed, source, target) as pid:
        best = _highest(bed, source, target, alone)
        lags, spent = _at(bed, source, target, pid, best / 2 if best else alone / 8)
    yield _row("live: rate followed / source alone", [best or 0.0], [alone], "writes a second that are followed",
               "writes a second that the source takes alone", "at least 0.5", data=_about(bed, kind),
               options=f"--mode live; lag below {LAG_BOUND_MS:g} ms, not growing",
               values={"followed_writes_per_s": round(best or 0), "alone_writes_per_s": round(alone)})
    own = {name: float(value) for name, value in (status(bed, target) or {}).items()  # type: ignore[arg-type]
           if name in ("lag_p50_us", "lag_p99_us") and value is not None}
    shares = {f"lag_p{share}_ms": percentile(lags, share / 100) for share in (50, 90, 99)}
    yield _row("live: lag at half of that rate, p99 / p50", [shares["lag_p99_ms"]], [max(1.0, shares["lag_p50_ms"])],
               "99th percentile of the lag", "median of the lag", data=_about(bed, kind), options="--mode live",
               values={**shares, "lag_max_ms": max(lags), "looks": len(lags), **spent, **own})


def _highest(bed: Bed, source: Server, target: Server, alone: float) -> Optional[float]:
    """Bisects between nothing and the rate that the source takes alone."""
    low, high = 0.0, alone
    for _ in range(2 if bed.quick else 5):
        rate = (low + high) / 2
        lags = lags_while(bed, target, Writer(source.port, rate, 3.0 if bed.quick else 10.0))
        if is_bounded(lags):
            low = rate
        else:
            high = rate
        wait.until(lambda: float((status(bed, target) or {}).get("lag_ms") or 1e9) < 2000,  # type: ignore[arg-type]
                   "longhaul to catch up", 120, every=0.2)
    return low or None


def _at(bed: Bed, source: Server, target: Server, pid: int, rate: float) -> tuple[List[float], Dict[str, float]]:
    seconds = 3.0 if bed.quick else 20.0
    meter = Meter(longhaul=[pid], source=pids(source), target=pids(target))
    lags = lags_while(bed, target, Writer(source.port, rate, seconds))
    spent = {f"{role}_us_per_write": round(used * 1e6 / (rate * seconds), 3) for role, used in meter.spent().items()}
    return lags or [0.0], {"writes_per_s": round(rate), **spent}
