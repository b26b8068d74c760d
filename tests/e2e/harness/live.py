"""A live job under test: `longhaul replicate --mode live` as a process that is started, stopped, killed, robbed of its
state, and asked by `longhaul status` how far it is.

    with Live(source, target, "--poll", "1s") as live:
        live.wait_live()
        ...writes...
        live.catch_up()                 every write of before is on the target, says the job
        oracle.assert_equal(...)        and is, says the oracle
        live.terminate().expect(EQUAL)

At the end of the block it is killed if it still runs, so no test leaves one behind.
"""
from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import wait
from .run import Result, Running, longhaul, start_replicate, tls_args

LIVE_SECONDS = 30.0  # the longest that a test waits for anything of a live job, unless it says otherwise


def now_us() -> int:
    """The wall clock as watermarks count it."""
    return time.time_ns() // 1000


def endpoint(side: object) -> str:
    return side if isinstance(side, str) else side.endpoint  # type: ignore[attr-defined]


def jobs(target: object, *args: object) -> List[Dict[str, Any]]:
    """The answer of `longhaul status` for each job of the target; none when it knows none or cannot be asked."""
    said = longhaul("status", "--output", "json", *args, *tls_args("target", target), endpoint(target), timeout=60)
    return said.json["jobs"] if said.status != 2 and said.stdout else []


class Live:
    """One job and its processes, one after the other. source and target are deployments or endpoint texts; `watched` is
    how to reach the target for `longhaul status` when the job itself goes through a proxy."""

    def __init__(self, source: object, target: object, *args: object, state_dir: Optional[Path] = None,
                 mode: str = "live", watched: object = None, start: bool = True,
                 env: Optional[Dict[str, str]] = None) -> None:
        self.source, self.target = source, target
        self.args = args
        self.mode = mode
        self.state_dir = state_dir
        self.env = env  # further variables of its processes, for example those of a clock.Clock
        self.watched = target if watched is None else watched
        self.past: List[Result] = []  # of the processes that have ended
        self.running: Optional[Running] = None
        if start:
            self.start()

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.running.__exit__()
            self.running = None

    # Its process

    def start(self) -> "Live":
        assert not self.running, "it runs already"
        kept = ["--state-dir", self.state_dir] if self.state_dir else []
        self.running = start_replicate(self.source, self.target, "--mode", self.mode, *kept, *self.args,
                                       env=self.env)
        return self

    @property
    def process(self) -> Running:
        assert self.running, "it does not run"
        return self.running

    @property
    def alive(self) -> bool:
        return self.running is not None and self.running.alive

    def wait_end(self, seconds: float = LIVE_SECONDS) -> Result:
        """Until it ends by itself."""
        result = self.process.wait(seconds)
        self.running = None
        self.past.append(result)
        return result

    def terminate(self, number: int = signal.SIGTERM, seconds: float = LIVE_SECONDS) -> Result:
        self.process.signal(number)
        return self.wait_end(seconds)

    def kill9(self) -> Result:
        return self.terminate(signal.SIGKILL)

    def pause(self) -> None:
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def lose_state(self) -> None:
        """As on another machine: the state directory is gone."""
        assert self.state_dir
        shutil.rmtree(self.state_dir, ignore_errors=True)

    def stderr(self) -> str:
        """Standard error of all its processes so far."""
        said = "".join(result.stderr for result in self.past)
        return said + (self.running.stderr_so_far() if self.running else "")

    # Its status

    def status(self) -> Dict[str, Any]:
        """The job as `longhaul status TARGET` shows it, empty as long as there is none. Where a test gives the job no
        name of its own it has to be the only one of the target."""
        named = [str(arg) for arg in self.args]
        chosen = ["--job", named[named.index("--job") + 1]] if "--job" in named else []
        found = jobs(self.watched, *chosen)
        assert len(found) <= 1, f"several jobs: {[job['job'] for job in found]}"
        return found[0] if found else {}

    def status_of_directory(self) -> Dict[str, Any]:
        """The same from the state directory, without the target."""
        said = longhaul("status", "--output", "json", "--state-dir", self.state_dir, timeout=60)
        return said.json["jobs"][0] if said.stdout else {}

    def watermark_us(self) -> int:
        return int(self.status().get("watermark_us") or 0)

    def wait_status(self, good: Callable[[Dict[str, Any]], object], what: str,
                    seconds: float = LIVE_SECONDS) -> Dict[str, Any]:
        """The first status that is good. Fails at once when the process has ended meanwhile."""
        last: Dict[str, Any] = {}

        def look() -> Optional[Dict[str, Any]]:
            nonlocal last
            assert self.alive, f"ended while waiting for {what}\n{self.process.wait() if self.running else ''}"
            last = self.status()
            return last if last and good(last) else None
        try:
            return wait.until(look, what, seconds, every=0.05)
        except TimeoutError as late:
            raise AssertionError(f"{late}\nstatus: {last}\nstderr: {self.stderr()[-3000:]}") from late

    def wait_live(self, seconds: float = LIVE_SECONDS) -> Dict[str, Any]:
        """Until everything has been copied once and continuity is proved everywhere."""
        return self.wait_status(lambda job: job["phase"] == "live" and not job["gaps"] and job["watermark_us"],
                                "the job to be live", seconds)

    def wait_watermark(self, after_us: int, seconds: float = LIVE_SECONDS) -> Dict[str, Any]:
        """Until the job says that every write acknowledged before this wall time is on the target."""
        return self.wait_status(lambda job: job["watermark_us"] > after_us, "the watermark to pass", seconds)

    def catch_up(self, seconds: float = LIVE_SECONDS) -> Dict[str, Any]:
        """Until the watermark has passed this very moment."""
        return self.wait_watermark(now_us(), seconds)

    def release(self) -> Result:
        """`longhaul resume`: held deletions may happen."""
        return longhaul("resume", *tls_args("target", self.watched), endpoint(self.watched), timeout=60)
