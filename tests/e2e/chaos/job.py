"""The longhaul under test: one job, however often it is started."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Callable, List

from harness import wait
from harness.clock import Clock
from harness.live import LIVE_SECONDS, Live
from harness.run import EQUAL, Running, longhaul

from .sides import Side

STANDBY_SECONDS = 20.0
OWN_STEPS = (-5.0, -1.0, 1.0, 5.0)  # of longhaul's own wall clock


class Job(Live):
    """A live job that goes through the bad network and is watched past it. `expected` says whether it ought to run."""

    name = "chaos"

    def __init__(self, source: Side, target: Side, directory: Path, options: List[str], false_clocks: bool = False) -> None:
        self.clock = Clock(directory)
        self.monotonic = self.clock.view("monotonic")
        super().__init__(source.endpoint, target.endpoint, "--job", self.name, *options, state_dir=directory / "state0",
                         watched=target.direct, start=False, env=self.clock.env if false_clocks else None)
        self.sides = source, target
        self._directory = directory
        self._options = options
        self.expected = False
        self.starts = 0

    def start(self) -> "Job":
        super().start()
        self.expected = True
        self.starts += 1
        return self

    def check_alive(self) -> None:
        """A live job never ends by itself."""
        if self.expected and not self.alive:
            raise AssertionError(f"longhaul ended by itself\n{self.process.wait()}")

    def kill(self) -> None:
        self.check_alive()
        self.expected = False
        self.kill9()

    def stop(self) -> None:
        """In order: it drains, and leaves with success when everything is on the target."""
        self.check_alive()
        self.expected = False
        result = self.terminate()
        if result.status != EQUAL:
            assert result.json["result"] == "interrupted", result

    def stop_when_done(self) -> None:
        """The same when nothing is left to be done."""
        now = time.time()
        wait.until(lambda: self.caught_up(now), "the job to be done", LIVE_SECONDS)
        self.stop()
        self.past[-1].expect(EQUAL)

    def move_away(self) -> None:
        """As on another machine: the state directory of the job is not there."""
        self.state_dir = self._directory / f"state{self.starts}"

    def hand_over(self, meanwhile: Callable[[Running], None] = lambda first: None) -> None:
        """A second process of the job waits; the first is killed; the second goes on. Where the lease has just been lost the
        second may have taken the job over at once, and the first be the standby."""
        self.check_alive()
        first, self.running = self.process, None
        self.move_away()
        try:
            self.start()
            wait.until(lambda: not self.alive or "standby" in self.process.stderr_so_far() + first.stderr_so_far(),
                       "the standby to say so", STANDBY_SECONDS)
            self.check_alive()
            meanwhile(first)
        finally:
            first.__exit__()
            self.past.append(first.wait())

    def close(self) -> None:
        self.expected = False
        self.__exit__()

    def caught_up(self, moment: float) -> bool:
        """Every write before the moment (seconds since the epoch) is proved to be on the target, and nothing is in
        doubt. Deletions that are held are released."""
        self.check_alive()
        said = self.status()
        if not said:
            return False
        if said["holds"]:
            self.release()
        return not said["gaps"] and not said["holds"] and said["watermark_us"] > moment * 1e6


class OneCopy(Job):
    """Stands in for a job that follows: copies once, when it is asked whether it has caught up. With it writers, faults
    and oracle can be tried without live replication."""

    def start(self) -> "OneCopy":
        return self

    def pause(self) -> None:
        pass

    resume = kill = hand_over = stop = stop_when_done = pause  # type: ignore[assignment]

    def caught_up(self, moment: float) -> bool:
        databases = ["--databases", "all"] if "--databases" in self._options else []
        result = longhaul("replicate", "--progress", "none", "--compare", "none", *databases, self.source, self.target)
        self.past.append(result)
        return result.status == EQUAL
