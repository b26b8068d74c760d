"""One seed from beginning to end."""
from __future__ import annotations

import copy
import random
import re
import threading
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Type

from harness import data, oracle, wait
from harness.clock import Clock
from harness.oracle import Difference, has_field_expiry
from harness.run import longhaul
from harness.servers import Binary, Fleet, Options, Server
from harness.wire import slot_of

from . import deceptions  # noqa: F401  (registers its faults)
from .faults import Stage
from .job import OWN_STEPS, Job
from .lineage import Lineage
from .plan import Fault, Plan
from .sides import Router, Side
from .truth import Truth
from .worker import Worker
from .writers import Blocker, Counter, CounterReader, Once, Writer
from .writes import TAGS, Writes, tag_of

OWN_KEYS, FOREIGN_KEYS = b"longhaul:{", b"theirs:"
TIMES = re.compile(r"\d{13} / \d{13}")
COUNTS = re.compile(r"b'(?:entries-read|lag)': \w+ / \w+")
BALLAST = 600
RATE = 700  # groups of commands a second, of each of two writers
DEADLINE = 40  # (of wait.until) seconds from the end of the writers until everything is proved to be on the target
MIGRATED_TTL_MS = 100  # MIGRATE between nodes of the target sends the time that is left, not the moment
LATER = 2.0  # seconds; for the report of a failure
POLL = 1.0
LIBRARY = "#!lua name=chaos\nredis.register_function('chaos_%d', function() return %d end)\n"


def knows_option(name: str) -> bool:
    return name in longhaul("replicate", "--help", "all").stdout + longhaul("replicate", "--help").stdout


class ClockedFleet(Fleet):
    """Every server has a clock of its own that may step."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.clocks: Dict[Server, Clock] = {}

    def server(self, options: Optional[Options] = None, binary: Optional[Binary] = None, start: bool = True) -> Server:
        clock, own = Clock(self.directory), copy.deepcopy(options) if options else Options()
        own.env.update(clock.env)
        server = super().server(own, binary, start)
        self.clocks[server] = clock
        return server


class Run:
    """Reports each step; a failure is an AssertionError with the command that repeats it."""

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None], job: Type[Job] = Job) -> None:
        self.plan = plan
        self.fleet = ClockedFleet(directory) if plan.deceptive else Fleet(directory)
        self._began = time.monotonic()
        self._say = say
        self._problems: List[BaseException] = []
        self._planted: Dict[bytes, bytes] = {}  # keys of somebody else, on the target before the job
        moved = any(each.name == "migrate slots" and each.side == "target" for row in plan.rows for each in row)
        self._ttl_tolerance_ms = MIGRATED_TTL_MS if moved else None
        self.sides = {}
        try:
            for role, shape in zip(("source", "target"), plan.shapes):
                self.sides[role] = Side(self.fleet, role, shape, _options(role, plan))
            options = plan.options + ["--capture", plan.capture]
            if len(plan.databases) > 1:
                options += ["--databases", "all"]
            if plan.has("foreign writer") and knows_option("--extra"):
                options += ["--extra", "keep"]
            self.job = job(self.sides["source"], self.sides["target"], directory, options, plan.deceptive)
            self._make_workers()
        except BaseException:
            self.close()
            raise

    def _make_workers(self) -> None:
        rng, source = random.Random(self.plan.seed), self.sides["source"]
        server: Server = source.primaries()[0]
        self._streams_whole = not {"struct", "--big-key"} & set(self.plan.options)
        self.writers: List[Worker] = []
        for number in range(2):
            writes = Writes(random.Random(rng.getrandbits(32)), 1 + number, self.plan.databases,
                            cached_counts=self.plan.capture != "notifications", groups=self._streams_whole,
                            field_expiry=has_field_expiry(server) and has_field_expiry(self.sides["target"].primaries()[0]))
            self.writers.append(Writer(source, writes, random.Random(rng.getrandbits(32)), 60, RATE))
        counter = Counter(source, random.Random(rng.getrandbits(32)))
        self.once = Once(source)
        self.writers += [counter, self.once, Blocker(source, random.Random(rng.getrandbits(32)))]
        self.lineage = Lineage(list(self.sides.values()), lambda: counter.number)
        self.reader = CounterReader(self.sides["target"], self.lineage)
        self.truth = Truth(source, self.sides["target"], self.job, self.once)
        self.stage = Stage(self.sides, self.job, self.fleet, self.say)
        self.stage.databases = self.plan.databases

    def say(self, text: str) -> None:
        self._say(f"  {time.monotonic() - self._began:6.2f} s  {text}")

    def close(self) -> None:
        if hasattr(self, "job"):
            self.job.close()
        for side in self.sides.values():
            side.close()
        self.fleet.end()

    # The course of it

    def go(self) -> None:
        try:
            self._write_and_break()
            self._compare()
        except BaseException as problem:
            raise AssertionError(f"{problem}\n\n{self.plan}\n\nagain: {self.plan.again}\n\nstandard error of longhaul:\n"
                                 f"{self.job.stderr()[-4000:]}") from problem
        finally:
            self.close()

    def _write_and_break(self) -> None:
        source = self.sides["source"]
        data.load(source.made, data.mixed(self.plan.seed, BALLAST))  # type: ignore[arg-type]
        self.once.load()
        if self.plan.has("foreign writer"):
            self._plant_foreign_keys()
        workers = [self.lineage, *self.writers, self.reader, *self._checks_of_the_sentence()]
        for worker in workers:
            worker.start()
        self.job.start()
        self.say("writers and longhaul run")
        # Servers end with the thread that started them: the row that restarts them belongs to this one.
        quick = threading.Thread(target=self._play_row, args=(self.plan.rows[1], 1), daemon=True)
        quick.start()
        self._play_row(self.plan.rows[0], 0)
        quick.join()
        self.say("all faults are healed")
        for worker in self.writers:
            worker.stop()
        if self._problems:
            raise self._problems[0]

    def _checks_of_the_sentence(self) -> List[Worker]:
        """The watermark is a time of longhaul's own clock: where that is false, the final comparison alone judges."""
        return [] if self.plan.has("clock of longhaul steps") else [self.truth]

    def _play_row(self, row: List[Fault], number: int) -> None:
        """Row 0 must be able to do its faults; those of the others may fall into a moment when nothing answers."""
        for fault in row:
            time.sleep(fault.after)
            try:
                self.stage.play(fault)
            except BaseException as problem:
                if number == 0:
                    self._problems.append(problem)
                    return

    def _compare(self) -> None:
        for side in self.sides.values():
            side.wait_whole()
        self._load_functions()
        stopped = time.time()
        self.say("writers have stopped")
        # Changes that nothing announces are found by polling: two polls later the watermark has to be true for it too.
        moment = stopped + 2 * POLL
        # A watermark by a clock that was ahead may be ahead too.
        moment += sum(max(OWN_STEPS) for row in self.plan.rows for each in row if each.name == "clock of longhaul steps")
        try:
            wait.until(lambda: self.job.caught_up(moment), "the watermark to pass the end of the writes", DEADLINE, 0.2)
        except TimeoutError as problem:
            raise AssertionError(f"{problem}\nstatus: {self.job.status()}\n{self._found()}") from problem
        self.say("the watermark has passed the end of the writes")
        self._assert_equal("at the watermark")
        self.reader.stop()
        for worker in (self.lineage, *self._checks_of_the_sentence()):
            worker.stop()
        assert not self.truth.lies, f"the watermark was not true: {self.truth.lies[:3]}, {len(self.truth.lies)} in all"
        self._assert_foreign_keys()
        assert not self.reader.went_down, f"went backwards on the target: {self.reader.went_down[:5]}"
        self.job.stop_when_done()
        self._assert_equal("at the end")
        self.say(f"equal; {self.reader.reads} counters read, {self.truth.looks} looks at the sentence, longhaul started {self.job.starts} times")

    def _plant_foreign_keys(self) -> None:
        """Before the first copy: the job finds them, and deletes them never."""
        router = Router(self.sides["target"])
        self._planted = {b"theirs:%b:before" % tag_of(number): b"%d" % number for number in range(TAGS)}
        router.send([(0, [("SET", key, value)]) for key, value in self._planted.items()])
        router.close()

    def _assert_foreign_keys(self) -> None:
        """Nothing that was there before the job is deleted unasked; a key that came later cannot be told from a copied one, and
        may go by a sweep, by nothing else. Where the target itself may have lost keys, nothing is known."""
        if self.lineage.changed("target") or self.plan.has("eviction", "target") or self.plan.has("flush", "target"):
            return
        target = self.sides["target"].made
        owners = target.slots() if target.is_cluster else None  # type: ignore[union-attr]
        swept = "keys are missing on the source" in self.job.stderr()
        for key, value in {**self._planted, **self.stage.foreign}.items():
            server = owners[slot_of(key)] if owners else target.primaries()[0]
            found = server.command("GET", key)
            gone = swept and key not in self._planted and found is None
            assert gone or found == value, f"foreign key {key!r} on the target was {value!r} and is {found!r}"

    def _load_functions(self) -> None:
        """A library that is new on every primary; the last change of the run."""
        server = self.sides["source"].primaries()[0]
        if server.binary.version < (7, 0, 0):
            return
        for primary in self.sides["source"].primaries():
            primary.command("FUNCTION", "LOAD", "REPLACE", LIBRARY % (self.plan.seed, self.plan.seed))

    def _assert_equal(self, when: str) -> None:
        """Twice before it complains: a key may expire on one side before the other while they are read."""
        found = self._found()
        found = found and self._found()
        assert not found, (f"{len(found)} keys differ {when}: " + "; ".join(str(each)[:600] for each in found[:8])
                           + f"\n{self._later()}")

    def _later(self) -> str:
        """Whether the keys that differ become equal after all."""
        began = time.monotonic()
        try:
            wait.until(lambda: not self._found(), "equality", LATER, 0.2)
            return f"equal {time.monotonic() - began:.1f} s later"
        except TimeoutError:
            return f"still different {LATER:g} s later: " + "; ".join(str(each)[:600] for each in self._found()[:8])

    def _found(self) -> List[Difference]:
        source, target = self.sides["source"].made, self.sides["target"].made
        found: List[Difference] = []
        for db in self.plan.databases:
            try:
                found += oracle.differences(source, target, db=db, ttl_tolerance_ms=self._ttl_tolerance_ms)  # type: ignore
            except AssertionError as problem:  # DBSIZE and SCAN: a key expired in between
                found.append(Difference("count", db, b"", str(problem)))
        return [each for each in found if not self._may_be(each)] + self._functions_missing()

    def _may_be(self, found: Difference) -> bool:
        """Keys of longhaul's own and of others on the target; and when consumers were seen or messages delivered, where streams
        are not copied as a whole. A replica knows less of groups than its primary: XREADGROUP reaches it as XCLAIM, without the count of entries
        that were read."""
        if found.kind == "extra" and found.key.startswith((OWN_KEYS, FOREIGN_KEYS)):
            return True
        detail = TIMES.sub("", found.detail)
        if "--source-read-from" in self.plan.options:
            detail = COUNTS.sub("", detail)
        elif self._streams_whole:
            return False
        return found.kind == "group" and " / " not in detail

    def _functions_missing(self) -> List[Difference]:
        if self.sides["source"].primaries()[0].binary.version < (7, 0, 0):
            return []
        wanted = f"chaos_{self.plan.seed}".encode()
        return [Difference("function", 0, wanted, f"port {primary.port}") for primary in self.sides["target"].primaries()
                if wanted not in _flat(primary.command("FUNCTION", "LIST"))]


def _flat(reply: object) -> List[object]:
    if isinstance(reply, list):
        return [part for each in reply for part in _flat(each)]
    return [reply]


def _options(role: str, plan: Plan) -> Options:
    if role == "target":
        return Options()
    events = "EA" if plan.capture == "notifications" else ""
    return Options(config={"maxmemory-policy": plan.policy, "notify-keyspace-events": f'"{events}"'})
