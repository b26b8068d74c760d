"""The promises of a live job, measured from outside: no value goes back, the watermark is true, the source comes to no harm,
lag, and how little is copied of keys that change often."""
from __future__ import annotations

import random
import subprocess
import threading
import time
from array import array
from bisect import bisect_left
from contextlib import nullcontext
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple, TypeVar

import pytest

from harness import oracle, wait
from harness.changes import what_differs
from harness.clock import busy_env
from harness.faults import Killer
from harness.held_samples import HeldSamples
from harness.live import Live, now_us
from harness.proxy import Proxy
from harness.run import EQUAL, is_sanitized
from harness.servers import Fleet, Options, Server

POLL = ("--poll", "250ms")
SHORT_LEASE = ("--lease", "1s")
MIB = 1 << 20
Self = TypeVar("Self", bound="Threaded")


class Threaded:
    """Runs these functions, each in a thread of its own, while the block runs; they end when `_stop` is set."""

    def __init__(self, *functions: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=function, daemon=True) for function in functions]

    def __enter__(self: Self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


class Paced(Threaded):
    """Batches of SET commands at a steady rate, in a thread, while the block runs. `write` makes the n-th one."""

    def __init__(self, server: Server, rate: int, key: str, value: str) -> None:
        super().__init__(self._run)
        self._server, self._rate, self._key, self._value = server, rate, key, value
        self.writes = 0

    def _run(self) -> None:
        began, batch = time.monotonic(), max(1, self._rate // 100)
        with self._server.wire() as wire:
            while not self._stop.is_set():
                early = began + self.writes / self._rate - time.monotonic()
                if early > 0:
                    time.sleep(early)
                numbers = range(self.writes, self.writes + batch)
                wire.batch([("SET", self._key % n if "%" in self._key else f"{self._key}{n % 10}", self._value % n)
                            for n in numbers])
                self.writes += batch


# Never backwards

class Counting(Threaded):
    """Counts up in every key of the source, and reads the target: no count ever goes down."""

    def __init__(self, source: Server, target: Server, keys: int = 200) -> None:
        super().__init__(self._write, self._read)
        self._names = [f"count:{i}" for i in range(keys)]
        self._source, self._target = source, target
        self.counted = self.seen = 0
        self.went_down: List[Tuple[str, int, int]] = []

    def _write(self) -> None:
        pause = 0.05 if is_sanitized() else 0
        with self._source.wire() as wire:
            while not self._stop.wait(pause):
                self.counted += 1
                wire.batch([("SET", name, self.counted) for name in self._names])

    def _read(self) -> None:
        last = [0] * len(self._names)
        with self._target.wire() as wire:
            while not self._stop.is_set():
                values = wire.call("MGET", *self._names)
                for i, value in enumerate(values):  # type: ignore[arg-type]
                    if value is not None and int(value) < last[i]:
                        self.went_down.append((self._names[i], last[i], int(value)))
                    last[i] = max(last[i], int(value or 0))
                self.seen = max(last)


@pytest.mark.threads
@pytest.mark.parametrize("capture", ["tracking", "notifications"])
def test_counters_never_go_down(fleet: Fleet, target: Server, tmp_path: Path, capture: str) -> None:
    """With several threads, connections that break on both sides, and kill -9 in between."""
    source = fleet.server(Options(config={"notify-keyspace-events": "KEA"}))
    with Counting(source, target) as counting, Live(source, target, "--capture", capture, "--threads", 2, *POLL,
                                                    *SHORT_LEASE, state_dir=tmp_path / "state") as live:
        live.wait_live()
        with Killer([source, target], 0.05, seed=11) as killer:
            wait.until(lambda: killer.kills > 20, "connections to be killed", 30)
        for _ in range(2):
            live.kill9()
            live.start()
            seen = counting.seen
            wait.until(lambda: counting.seen > seen + 20, "counts to be followed again", 30)
    assert counting.seen > 50 and not counting.went_down, counting.went_down[:5]


# The watermark is true

class Busy(Threaded):
    """The source's thread has hardly any rest while the block runs: scripts that only count, one after the other."""

    SCRIPT = "local n = 0 for i = 1, 100000 do n = n + i end return n"

    def __init__(self, server: Server) -> None:
        super().__init__(self._run)
        self._server = server

    def _run(self) -> None:
        with self._server.wire() as wire:
            while not self._stop.is_set():
                wire.call("EVAL", self.SCRIPT, "0")


class Recorder(Threaded):
    """Writes 1, 2, 3 ... into keys in turn, BATCH at once, and notes when each batch was acknowledged. Not as fast as it
    can, and no more is kept than that: else this process would take the processor from the program under test."""

    BATCH, PAUSE_S = 10, 0.001

    def __init__(self, server: Server, keys: int) -> None:
        super().__init__(self._run)
        self._server, self._keys = server, keys
        self._acknowledged_us = array("q")  # wall time after the reply, by batch

    def key(self, number: int) -> str:
        return f"w:{number % self._keys}"

    def _run(self) -> None:
        with self._server.wire() as wire:
            while not self._stop.wait(self.PAUSE_S):
                first = len(self._acknowledged_us) * self.BATCH + 1
                wire.batch([("SET", self.key(n), n) for n in range(first, first + self.BATCH)])
                self._acknowledged_us.append(now_us())

    def before(self, us: int) -> Dict[str, int]:
        """For each key the newest number that was acknowledged before this time."""
        last = bisect_left(self._acknowledged_us, us) * self.BATCH
        return {self.key(n): n for n in range(max(1, last - self._keys + 1), last + 1)}


@pytest.mark.parametrize("capture, gathers", [("tracking", False), ("tracking", True), ("notifications", False)])
def test_watermark_is_true(fleet: Fleet, target: Server, tmp_path: Path, capture: str, gathers: bool) -> None:
    """Cut off at random moments: every write that was acknowledged before the watermark on the target is there. Also
    while changes of a busy source are gathered."""
    source = fleet.server(Options(config={"notify-keyspace-events": "KEA"}, env=busy_env() if gathers else {}))
    chance, checked, marks = random.Random(12), 0, []
    busy = Busy(source) if gathers else nullcontext()
    with busy, Recorder(source, 5_000) as recorder, Live(source, target, "--capture", capture, *POLL, *SHORT_LEASE,
                                                         state_dir=tmp_path / "state") as live:
        live.wait_live()
        for _ in range(6):
            live.catch_up()
            if gathers:
                live.wait_status(lambda job: job["gather_ms"] > 0, "the source to be found busy", 60)
            moment = time.monotonic() + chance.uniform(0.05, 1.5)
            wait.until(lambda: time.monotonic() >= moment, "a random moment", every=0.005)
            live.kill9()
            mark_us = live.watermark_us()
            expected = recorder.before(mark_us)
            values = target.admin().mget(list(expected)) if expected else []
            missing = [(name, number, value) for (name, number), value in zip(expected.items(), values)
                       if value is None or int(value) < number]
            assert not missing, f"{len(missing)} of {len(expected)} writes before the watermark are missing: {missing[:3]}"
            checked += len(expected)
            marks.append(mark_us)
            live.start()
    assert marks == sorted(marks) and checked > 1000, (marks, checked)


SWAP, FLUSH, ACK = ("SWAPDB", 0, 1), ("FLUSHALL",), ("XACK", "stream", "group", "1-1")
SCRIPT = "return redis.call(unpack(ARGV))"
LIBRARY = "#!lua name=run\nredis.register_function('run', function(keys, args) return redis.call(unpack(args)) end)"


def run_plainly(source: Server, command: Tuple[object, ...]) -> None:
    source.command(*command)  # type: ignore[arg-type]


def run_in_a_transaction(source: Server, command: Tuple[object, ...]) -> None:
    with source.wire() as wire:
        wire.batch([("MULTI",), command, ("EXEC",)])


def run_in_a_script(source: Server, command: Tuple[object, ...]) -> None:
    source.command("EVAL", SCRIPT, 0, *command)


def run_in_a_function(source: Server, command: Tuple[object, ...]) -> None:
    source.command("FCALL", "run", 0, *command)


@pytest.mark.parametrize("capture, command, run", [
    ("tracking", SWAP, run_plainly), ("tracking", SWAP, run_in_a_transaction), ("tracking", SWAP, run_in_a_script),
    ("tracking", SWAP, run_in_a_function), ("tracking", FLUSH, run_plainly), ("tracking", ACK, run_plainly),
    ("tracking", ACK, run_in_a_transaction), ("tracking", ACK, run_in_a_function),
    ("tracking", ("XSETID", "stream", "9-9"), run_plainly), ("notifications", SWAP, run_plainly),
    ("notifications", FLUSH, run_plainly), ("notifications", FLUSH, run_in_a_transaction),
    ("notifications", FLUSH, run_in_a_script), ("notifications", ACK, run_in_a_script)],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", None) or str(value[0]).lower())
def test_watermark_waits_for_changes_that_are_not_announced(fleet: Fleet, target: Server, capture: str,
                                                            command: Tuple[object, ...],
                                                            run: Callable[[Server, Tuple[object, ...]], None]) -> None:
    """While nothing but counters tells of the change, the watermark stays before it; afterwards it arrives."""
    source = fleet.server(Options(config={"notify-keyspace-events": "AE"} if capture == "notifications" else {}))
    if run is run_in_a_function and source.binary.version < (7, 0, 0):
        pytest.skip("no functions")
    if run is run_in_a_function:
        source.command("FUNCTION LOAD", LIBRARY)
    for db in (0, 1):
        source.command("SET", "key", f"of database {db}", db=db)
    source.command("XADD", "stream", "1-1", "f", "v")
    source.command("XGROUP CREATE", "stream", "group", 0)
    source.command("XREADGROUP", "GROUP", "group", "reader", "STREAMS", "stream", ">")
    with HeldSamples(source.port) as proxy, Live(proxy.endpoint, target, "--capture", capture, "--databases", "all",
                                                 "--max-delete", 100) as live:
        live.wait_live()
        live.catch_up()
        with proxy.holding():
            held = proxy.held
            wait.until(lambda: proxy.held > held, "a sample to be held")
            run(source, command)
            acknowledged_us = now_us()
            before = live.status()["updated_us"]
            said = live.wait_status(lambda job: job["updated_us"] > before + 1_500_000, "the record to be written again")
            assert said["watermark_us"] <= acknowledged_us or not what_differs(source, target), said
        live.catch_up()
        assert not what_differs(source, target)
        live.terminate().expect(EQUAL)


def test_a_stream_on_its_way_to_the_target_does_not_hide_its_groups(source: Server, target: Server) -> None:
    """It was read before its group was used, and written afterwards."""
    def calls(command: str) -> int:
        return int(source.admin().info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))

    with Proxy.before(target) as before_target, Live(source, before_target.endpoint, watched=target) as live:
        live.wait_live()
        live.catch_up()
        before_target.silence()
        reads = calls("dump")
        with source.wire() as wire:
            wire.batch([("MULTI",), ("XADD", "stream", "1-1", "f", "v"), ("XGROUP", "CREATE", "stream", "group", 0),
                        ("EXEC",)])
        wait.until(lambda: calls("dump") > reads, "the stream to be read")
        source.command("XREADGROUP", "GROUP", "group", "reader", "STREAMS", "stream", ">")
        samples = calls("time")
        wait.until(lambda: calls("time") > samples + 1, "two samples")
        before_target.speak()
        live.catch_up()
        assert not what_differs(source, target)


def test_watermark_does_not_outrun_a_silent_target(source: Server, target: Server) -> None:
    """While the target does not answer, and while the source does not, the watermark stands still."""
    with Proxy.before(source) as before_source, Live(before_source.endpoint, target, "--timeout", "1s", *POLL) as live:
        live.wait_live()
        before_source.silence()
        silent_us = now_us()
        source.admin().set("k", "v")
        began = time.monotonic()
        wait.until(lambda: time.monotonic() > began + 2.5, "the silence", every=0.1)
        assert live.watermark_us() <= silent_us and not target.admin().exists("k")
        before_source.speak()
        live.catch_up()
        assert target.admin().get("k") == b"v"


# The source is safe

def stopped_reader(source: Server, target: Server, keys: int, writes: int, limit: int) -> None:
    """longhaul is stopped while the source takes many writes close to maxmemory: nothing is evicted, the connection that
    does not read is dropped, and afterwards both sides are equal."""
    source.command("DEBUG POPULATE", keys, "key", 50)
    with Live(source, target, *POLL) as live:
        live.wait_live()
        admin = source.admin()
        admin.config_set("maxmemory", admin.info("memory")["used_memory"] + limit + 20 * MIB)
        admin.config_set("maxmemory-policy", "allkeys-lru")
        peak = 0
        live.pause()
        subscribers = [c for c in admin.client_list() if "t" in c["flags"] and int(c["sub"]) + int(c["psub"]) > 0]
        assert subscribers, "no connection is of the class whose buffer is bounded"
        with subprocess.Popen(["redis-benchmark", "-p", str(source.port), "-t", "set", "-n", str(writes), "-r", str(keys),
                               "-P", "64", "-c", "10", "-d", "10", "-q"], stdout=subprocess.DEVNULL) as load:
            while load.poll() is None:
                peak = max([peak, *(int(c["omem"]) for c in admin.client_list() if c["name"] != "harness")])
                time.sleep(0.05)
        left = {c["id"] for c in admin.client_list()} & {c["id"] for c in subscribers}
        assert not left, "the connection that was not read is still there: it was not put to the test"
        assert admin.info("stats")["evicted_keys"] == 0
        assert peak <= limit + 8 * MIB, f"{peak} bytes were kept for longhaul"
        live.resume()
        live.catch_up(60)
        live.wait_live()
        assert admin.info("stats")["evicted_keys"] == 0
        admin.config_set("maxmemory", 0)
        oracle.assert_equal(source, target, at_least=keys)


def test_source_is_safe_from_a_stopped_longhaul(fleet: Fleet, target: Server) -> None:
    limit = {"client-output-buffer-limit": "pubsub 4mb 2mb 5"}
    stopped_reader(fleet.server(Options(config=limit)), target, 30_000, 800_000, 4 * MIB)


@pytest.mark.long
def test_source_is_safe_with_the_default_limit(fleet: Fleet, target: Server) -> None:
    stopped_reader(fleet.server(), target, 100_000, 4_000_000, 32 * MIB)


# Lag, and hot keys

def probe(live: Live, source: Server, target: Server, seconds: float) -> List[float]:
    """How long values take until a reader of the target sees them, in milliseconds, in order of size."""
    delays: List[float] = []
    ends = time.monotonic() + seconds
    with source.wire() as writing, target.wire() as reading:
        number = 0
        while time.monotonic() < ends:
            number += 1
            name, began = f"probe:{number}", time.monotonic()
            writing.call("SET", name, "x")
            while reading.call("EXISTS", name) != 1:
                assert time.monotonic() < began + 60, f"{name} does not arrive\n{live.stderr()[-2000:]}\n{live.status()}"
            delays.append((time.monotonic() - began) * 1000)
            time.sleep(0.005)
    return sorted(delays)


def at(delays: List[float], share: float) -> float:
    return delays[min(len(delays) - 1, int(len(delays) * share))]


@pytest.fixture
def far_source(source: Server) -> Iterator[Proxy]:
    with Proxy.before(source, delay=0.01) as proxy:
        yield proxy


def assert_lag(source: Server, target: Server, live: Live, rate: int, seconds: float, share: float,
               bound_ms: float) -> None:
    live.wait_live()
    with Paced(source, rate, "distinct:%d", "v" * 90 + "%d") as paced:
        wait.until(lambda: paced.writes > rate / 2, "the load to run")
        delays = probe(live, source, target, seconds)
    said = f"{len(delays)} probes at {rate} writes/s: " + ", ".join(
        f"p{each} {at(delays, each / 100):.1f} ms" for each in (50, 90, 99)) + f", most {delays[-1]:.1f} ms"
    print(said)
    assert at(delays, share) < bound_ms, said


def test_lag_is_short(source: Server, target: Server) -> None:
    """A bound for the half of it that no busy machine breaks; the long tests are those that count."""
    with Live(source, target, *POLL) as live:
        assert_lag(source, target, live, 2000, 2, 0.5, 2000)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=1000)


@pytest.mark.long
def test_lag_under_load(source: Server, target: Server) -> None:
    """20,000 writes a second on distinct keys of 100 bytes."""
    with Live(source, target) as live:
        assert_lag(source, target, live, 20_000, 10, 0.99, 5000 if is_sanitized() else 50)


@pytest.mark.long
def test_lag_over_a_distance(source: Server, target: Server, far_source: Proxy) -> None:
    """20 ms there and back. The network is a thread of this very process, which is no judge of the slowest hundredth."""
    with Live(far_source.endpoint, target) as live:
        assert_lag(source, target, live, 20_000, 10, 0.9, 5000 if is_sanitized() else 70)


def test_hot_keys_are_copied_seldom(source: Server, target: Server) -> None:
    """Ten keys take all writes; only the value that is newest at the read is copied."""
    with Live(source, target, *POLL) as live:
        live.wait_live()
        before = live.catch_up()["copied"]
        with Paced(source, 20_000, "hot:", "value %d") as paced:
            wait.until(lambda: paced.writes >= 40_000, "the writes", 30)
        copied = live.catch_up()["copied"] - before
        oracle.assert_equal(source, target, at_least=10)
        live.terminate().expect(EQUAL)
    assert copied < paced.writes / 5, f"{copied} copies of {paced.writes} writes"


# A busy source is read seldom

def reads(server: Server) -> int:
    """How many strings were read from it so far, by any command: the expiry of each is asked for, key by key."""
    calls = server.admin().info("commandstats")
    return sum(int(calls.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("pexpiretime", "pttl"))


def rewrite(server: Server, keys: int, value: str) -> None:
    """All at once, so that nothing can be read between two of them."""
    server.command("EVAL", "for i = 1, tonumber(ARGV[1]) do redis.call('set', 'k:' .. i, ARGV[2]) end", 0, keys, value)


@pytest.mark.timeout(1800)
def test_a_busy_source_is_read_once_for_many_changes(fleet: Fleet, target: Server) -> None:
    """Keys that change again and again while changes are gathered are read once, and that at once when the job ends.

    So many keys are read 40 s after the last time, as if they had come at the 10,000 a second that never wait: later than
    a stopped job waits for its last watermark. All change once, then some of them again and again. If a slow machine needs
    more than 40 s for that, all begins anew. The source itself says that it is busy, on any machine."""
    source = fleet.server(Options(env=busy_env()))
    keys, few, again, ends = 400_000, 2_000, 5, time.monotonic() + 1200
    rewrite(source, keys, "old")
    with Live(source, target, "--gather", "10m", "--buffer-memory", "512MB", *POLL) as live:
        live.wait_live()
        live.wait_status(lambda job: job["gather_ms"] > 60_000, "the source to be found busy", 100)
        read_once, number = False, 0
        while not read_once:
            assert time.monotonic() < ends, f"changed keys are read at once: {reads(source)} reads after {number} changes"
            live.wait_status(lambda job: job["waiting"] == 0, "earlier changes to be read", 120)
            before = reads(source)
            for change in range(again + 1):
                number += 1
                rewrite(source, few if change else keys, f"change {number}")
                behind = f"behind:{number}"  # when it waits, or has arrived, earlier changes have been heard
                source.command("SET", behind, "x")
                live.wait_status(lambda job: job["waiting"] > keys + change or target.admin().exists(behind),
                                 "the change to be heard", 60)
            read_once = reads(source) == before
        live.terminate(seconds=60).expect(EQUAL)
        assert keys <= reads(source) - before <= keys + again + 1
    oracle.assert_equal(source, target, at_least=keys)
