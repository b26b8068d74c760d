"""The threads that write to the source."""
from __future__ import annotations

import random
import time
from typing import Callable, List, Tuple

from harness.live import now_us
from harness.wire import WireError

from .lineage import Lineage
from .sides import Batch, Router, Side
from .worker import Worker
from .writes import PER_KIND, TAGS, Command, Writes, tag_of

GROUPS_PER_BATCH = 20
COUNTERS = 120
CHANGED = b"changed"
FAMILIES_OF_COUNTERS = (b"count", b"hcount")


class Writer(Worker):
    """Draws from every family, into all databases; the last database only after a while, so that one appears late."""

    def __init__(self, side: Side, writes: Writes, rng: random.Random, late_after: int, rate: float) -> None:
        super().__init__("writer")
        self._router, self._writes, self._rng = Router(side), writes, rng
        self._late_after, self._pause = late_after, GROUPS_PER_BATCH / rate
        self.batches = 0

    def step(self) -> None:
        known = self._writes.databases
        usable = known if self.batches > self._late_after or len(known) == 1 else known[:-1]
        batch: Batch = [(self._rng.choice(usable), self._writes.draw()) for _ in range(GROUPS_PER_BATCH)]
        self._router.send(batch)
        self.batches += 1
        self._stop.wait(self._pause)

    def end(self) -> None:
        self._router.close()


def once_key(number: int) -> bytes:
    return b"%b:once:%d" % (tag_of(number % TAGS), number)


def once_key_of(commands: List[Command]) -> bytes:
    return commands[0][1]  # type: ignore[return-value]


class Once(Worker):
    """Changes every key of its own once and never again: a change that the job missed stays missing until the end. The keys are there
    before the job starts."""

    KEYS, BATCH, PAUSE_S = 8000, 5, 0.02
    CHANGES: List[Callable[[bytes], Command]] = [
        lambda key: ("SET", key, CHANGED), lambda key: ("UNLINK", key), lambda key: ("APPEND", key, "more"),
        lambda key: ("PEXPIRE", key, 600_000)]

    def __init__(self, side: Side) -> None:
        super().__init__("once")
        self._router = Router(side)
        self._next = 0
        self._acknowledged: List[Tuple[int, bytes]] = []  # wall time in microseconds after the reply to a SET, its key

    def changed_before(self, us: int) -> List[Tuple[int, bytes]]:
        """Keys that were set, and acknowledged before that wall time."""
        return [each for each in list(self._acknowledged) if each[0] < us]

    def load(self) -> None:
        for first in range(0, self.KEYS, 500):
            self._router.send([(0, [("SET", once_key(number), "first")]) for number in range(first, first + 500)])

    def step(self) -> None:
        numbers = range(self._next, self._next + self.BATCH)
        batch: Batch = [(0, [self.CHANGES[number // TAGS % len(self.CHANGES)](once_key(number))]) for number in numbers]
        for (_, commands), replies in zip(batch, self._router.send(batch)):
            if commands[0][0] == "SET" and replies and not isinstance(replies[0], WireError):
                self._acknowledged.append((now_us(), once_key_of(commands)))
        self._next += self.BATCH
        self._stop.wait(self.PAUSE_S)

    def end(self) -> None:
        self._router.close()


class Blocker(Worker):
    """Waits in blocking commands, which are served by the writers' pushes."""

    def __init__(self, side: Side, rng: random.Random) -> None:
        super().__init__("blocker")
        self._router, self._rng = Router(side), rng

    def step(self) -> None:
        tag = tag_of(self._rng.randrange(TAGS))
        kind = self._rng.choice([b"wait", b"zwait", b"stream"])
        keys = [b"%b:%b:%d" % (tag, kind, number) for number in range(PER_KIND)]
        commands = {
            b"wait": [("BLPOP", *keys, 0.2), ("BLMOVE", keys[0], b"%b:list:0" % tag, "LEFT", "RIGHT", 0.2)],
            b"zwait": [("BZPOPMIN", *keys, 0.2)],
            b"stream": [("XREADGROUP", "GROUP", "one", "cid", "BLOCK", 200, "STREAMS", keys[0], ">")],
        }
        self._router.send([(0, [self._rng.choice(commands[kind])])])
        self._stop.wait(0.02)

    def end(self) -> None:
        self._router.close()


def counter_names() -> List[bytes]:
    return [b"%b:{t%d}:%d" % (family, number % TAGS, number) for number in range(COUNTERS)
            for family in FAMILIES_OF_COUNTERS]


class Counter(Worker):
    """Writes a number that only grows into keys of database 0, as strings and as fields of hashes."""

    def __init__(self, side: Side, rng: random.Random) -> None:
        super().__init__("counter")
        self._router, self._rng = Router(side), rng
        self._names = counter_names()
        self.number = 0

    def step(self) -> None:
        batch: Batch = []
        for name in self._rng.sample(self._names, 20):
            self.number += 1
            hashed = name.startswith(b"hcount")
            batch.append((0, [("HSET", name, "n", self.number, "of", "hash") if hashed else ("SET", name, self.number)]))
        self._router.send(batch)
        self._stop.wait(0.01)

    def end(self) -> None:
        self._router.close()


class CounterReader(Worker):
    """Reads them on the target during the whole run. A number that goes down is judged at the end: by then it is known
    which servers had lost data before it was seen."""

    def __init__(self, side: Side, lineage: Lineage) -> None:
        super().__init__("reader")
        self._router = Router(side)
        self._lineage = lineage
        self._seen = {name: 0 for name in counter_names()}
        self._decreases: List[Tuple[float, int, str]] = []
        self.reads = 0

    def step(self) -> None:
        names = list(self._seen)
        batch: Batch = [(0, [("HGET", name, "n") if name.startswith(b"hcount") else ("GET", name)]) for name in names]
        for name, replies in zip(names, self._router.send(batch)):
            if replies and replies[0] is not None and not isinstance(replies[0], WireError):
                self._judge(name, int(replies[0]))  # type: ignore[call-overload]
        self._stop.wait(0.005)

    def _judge(self, name: bytes, number: int) -> None:
        self.reads += 1
        before = self._seen[name]
        if number < before:
            said = f"{name.decode()} {before} -> {number} at {time.time():.3f}"
            self._decreases.append((time.monotonic(), before, said))
        self._seen[name] = number

    @property
    def went_down(self) -> List[str]:
        return [said for when, before, said in self._decreases if not self._lineage.explains(when, before)]

    def end(self) -> None:
        self._router.close()
