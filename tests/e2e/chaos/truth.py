"""The sentence of the job, checked while everything goes on: every write that the source acknowledged before the watermark is
on the target.

Only keys that are written once count (writers.Once), so the truth about a key is simple: the source has the new value now,
it was acknowledged before the watermark that `longhaul status` shows, and the target has it or has it not. A server of the
target may lose data at any moment, and longhaul may take a few seconds to notice; so a key counts as a lie only if a second
look, GRACE_S later, finds the same sentence and the same lack.
"""
from __future__ import annotations

import time
from typing import Dict, List, Tuple

from harness.live import now_us
from harness.wire import WireError

from .job import Job
from .sides import Batch, Router, Side
from .worker import Worker
from .writers import CHANGED, Once

GRACE_S = 10.0
PAUSE_S = 0.7


class Truth(Worker):
    """`lies` are sentences about keys that were false twice."""

    def __init__(self, source: Side, target: Side, job: Job, once: Once) -> None:
        super().__init__("truth")
        self._source, self._target = Router(source), Router(target)
        self._job, self._once = job, once
        self._doubts: Dict[bytes, float] = {}  # keys that were wrong, since when
        self.looks = 0
        self.lies: List[str] = []

    def step(self) -> None:
        self._stop.wait(PAUSE_S)
        try:
            watermark = int(self._job.status().get("watermark_us") or 0)
        except AssertionError:
            return  # the job is being replaced by another process
        before = self._once.changed_before(min(watermark, now_us()))
        if before:
            self._look(before, watermark)

    def _look(self, keys: List[Tuple[int, bytes]], watermark: int) -> None:
        names = [key for _, key in keys]
        there, here = self._values(self._target, names), self._values(self._source, names)
        self.looks += 1
        for acknowledged, key in keys:
            if key not in there or key not in here:
                continue  # that server does not answer
            if here[key] != CHANGED or there[key] == CHANGED:
                self._doubts.pop(key, None)
            elif time.monotonic() - self._doubts.setdefault(key, time.monotonic()) > GRACE_S:
                self.lies.append(f"{key.decode()} is {there[key]!r} on the target though its change was acknowledged "
                                 f"{(watermark - acknowledged) / 1e6:.1f} s before the watermark")

    @staticmethod
    def _values(router: Router, names: List[bytes]) -> Dict[bytes, object]:
        batch: Batch = [(0, [("GET", name)]) for name in names]
        return {name: replies[0] for name, replies in zip(names, router.send(batch))
                if replies and not isinstance(replies[0], WireError)}

    def end(self) -> None:
        self._source.close()
        self._target.close()
