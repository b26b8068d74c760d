"""A thread of the chaos test that does one thing again and again."""
from __future__ import annotations

import threading
from typing import List


class Worker:
    """A thread that repeats step() until it is told to stop. An exception in it fails the run."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.problem: List[BaseException] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), f"{self._thread.name} does not end"
        self.end()
        if self.problem:
            raise self.problem[0]

    def step(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        """Releases the connections of step()."""

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.step()
        except BaseException as problem:  # shown by stop()
            self.problem.append(problem)
