"""The life of a live job: it resumes, holds deletions back, survives the loss of data on either side, hands over to a
standby, and ends as it was told to."""
from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest

from conftest import Deployments
from harness import cluster, data, oracle, wait
from harness.faults import Writer
from harness.live import Live, jobs, now_us
from harness.oracle import OWN_KEYS
from harness.run import EQUAL, TROUBLE, longhaul
from harness.servers import Fleet, Server
from harness.wire import slot_of

POLL = ("--poll", "250ms")
SHORT_LEASE = ("--lease", "1s")


def populate(server: Server, keys: int, size: int = 100) -> int:
    """Many keys at once; DEBUG POPULATE makes key:0 and so on."""
    server.command("DEBUG POPULATE", keys, "key", size)
    return keys


def keys_of(target: oracle.Deployment) -> int:
    """Without the keys that longhaul keeps there for itself."""
    own = sum(1 for server in target.primaries() for _ in server.admin().scan_iter(match=OWN_KEYS + b"*", count=1000))
    return oracle.count(target) - own


def bytes_taken(target: oracle.Deployment) -> int:
    return sum(server.admin().info("stats")["total_net_input_bytes"] for server in target.primaries())


def wait_idle(server: Server, seconds: int = 4) -> None:
    """Until every key was last used so long ago, by the server's own clock of whole seconds: the first copy reads them,
    which counts as use before 7.2."""
    server.command("SET", "used last", "now")
    wait.until(lambda: int(server.command("OBJECT IDLETIME", "used last")) >= seconds, "keys to be idle", 20)  # type: ignore


# Following

@pytest.mark.sanitize
@pytest.mark.threads
@pytest.mark.parametrize("threads", [1, 3])
def test_follows_and_drains(source: Server, target: Server, threads: int) -> None:
    """Everything that was acknowledged before SIGTERM is there when it ends."""
    keys = data.load(source, data.many(401, 3000))
    with Live(source, target, "--threads", threads, *POLL) as live:
        with Writer(source, seed=402) as writer:
            said = live.wait_live()
            wait.until(lambda: writer.writes > 5000, "writes")
        live.terminate().expect(EQUAL)
    assert writer.writes > 0 and said["alive"] and said["lag_ms"] is not None
    oracle.assert_equal(source, target, at_least=keys)


@pytest.mark.sanitize
@pytest.mark.threads
def test_ends_while_the_source_is_written_to(source: Server, target: Server) -> None:
    """Names still come in while one thread after the other ends."""
    with Writer(source, seed=403) as writer:
        for _ in range(4):
            with Live(source, target, "--threads", 3, *POLL) as live:
                live.wait_live()
                seen = writer.writes
                wait.until(lambda: writer.writes > seen + 1000, "writes")
                live.terminate().expect(EQUAL)


def test_status_says_what_it_does(source: Server, target: Server, tmp_path: Path) -> None:
    data.load(source, data.many(403, 500))
    with Live(source, target, *POLL, state_dir=tmp_path / "state") as live:
        said = live.wait_live()
        assert said["alive"] and said["phase"] == "live" and not said["gaps"] and not said["holds"]
        assert said["copied_once"] and said["copied"] >= 500 and said["given_up"] == 0 and said["waiting"] >= 0
        assert said["source"] == source.endpoint and said["target"] == target.endpoint
        assert 0 <= said["lag_ms"] < 10_000
        assert longhaul("status", target.endpoint).status == EQUAL
        live.terminate().expect(EQUAL)
        after = live.status()
        assert not after["alive"] and after["lag_ms"] is None and after["watermark_us"] >= said["watermark_us"]
        assert live.status_of_directory()["job"] == said["job"]


def test_the_last_provable_moment(fleet: Fleet, target: Server) -> None:
    """Source and longhaul are gone; the target alone says how much it is sure to have."""
    source = fleet.server()
    with Live(source, target, *POLL, *SHORT_LEASE) as live:
        live.wait_live()
        source.admin().set("k", "v")
        before = live.catch_up()["watermark_us"]
        live.kill9()
        source.kill9()
        said = wait.until(lambda: (found := live.status()) and not found["alive"] and found, "the lease to run out")
    assert said["lag_ms"] is None and said["watermark_us"] >= before
    assert "acknowledged before" in longhaul("status", target.endpoint).stdout
    assert target.admin().get("k") == b"v"


def test_only_changes(source: Server, target: Server) -> None:
    """--mode liveonly: earlier keys stay on the source."""
    source.admin().set("before", "value")
    with Live(source, target, *POLL, mode="liveonly") as live:
        live.wait_status(lambda job: job["watermark_us"], "a watermark")
        source.admin().set("after", "value")
        live.catch_up()
        assert target.admin().get("after") == b"value" and not target.admin().exists("before")


# How it ends

def test_idle_timeout(source: Server, target: Server) -> None:
    """It does not end while there are changes; then it does, and compares."""
    keys = data.load(source, data.many(404, 1000))
    with Live(source, target, "--idle-timeout", "3s", *POLL) as live:
        with Writer(source, seed=405):
            began = time.monotonic()
            live.wait_live()
            wait.until(lambda: time.monotonic() - began > 5, "more than the idle time to pass", every=0.2)
            assert live.alive
        said = live.wait_end().expect(EQUAL).json
    assert said["compare"]["keys"] == said["compare"]["equal"] >= keys
    oracle.assert_equal(source, target, at_least=keys)


class Consumer:
    """Reads a stream as a consumer of a group, entry by entry: no server announces that. `acknowledged`: when each was."""

    def __init__(self, server: Server, entries: int = 20_000) -> None:
        self.server = server
        self.acknowledged: List[int] = []
        pipe = server.admin().pipeline(transaction=False)
        for n in range(entries):
            pipe.execute_command("XADD", "s", f"{n + 1}-0", "a", "1")
        pipe.execute()
        server.command("XGROUP CREATE", "s", "g", "0")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while not self._stop.is_set():
            self.server.command("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "NOACK", "STREAMS", "s", ">")
            self.acknowledged.append(now_us())
            time.sleep(0.01)  # so that the stream outlasts the job

    def __enter__(self) -> "Consumer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def missing(self, target: Server, before_us: int) -> int:
        """How many entries were read before that moment, and are not read on the target."""
        read = int(target.admin().xinfo_groups("s")[0]["last-delivered-id"].split(b"-")[0])
        return sum(1 for at_us in self.acknowledged[read:] if at_us < before_us)


@pytest.mark.parametrize("how", ["SIGTERM", "--idle-timeout", "liveonly"])
def test_polls_once_more_before_it_ends(source: Server, target: Server, how: str) -> None:
    """Changes that no server announces are there too, as far as the last watermark says."""
    idle = ("--idle-timeout", "2s", "--compare", "none") if how == "--idle-timeout" else ()
    with Consumer(source) as consumer, Live(source, target, *idle,
                                            mode="liveonly" if how == "liveonly" else "live") as live:
        asked_us = 0
        if idle:
            live.wait_end().expect(EQUAL)
        else:
            live.wait_status(lambda job: job["watermark_us"], "a watermark")
            source.command("XADD", "s", "*", "a", "1")
            wait.until(lambda: target.command("EXISTS", "s"), "the stream")
            seen = len(consumer.acknowledged)
            wait.until(lambda: len(consumer.acknowledged) > seen + 50, "more entries to be read", every=0.01)
            asked_us = now_us()
            live.terminate().expect(EQUAL)
        said = live.status()
    assert said["watermark_us"] >= asked_us
    assert len(consumer.acknowledged) > 50
    assert consumer.missing(target, said["watermark_us"]) == 0


@pytest.mark.parametrize("change", [("SWAPDB", 0, 1), ("MULTI SWAPDB",), ("FUNCTION LOAD",)], ids=lambda c: c[0])
def test_what_polls_find_after_sigterm_is_applied(source: Server, target: Server, change: Tuple[object, ...]) -> None:
    source.admin().mset({f"k:{i}": "zero" for i in range(2000)})
    source.admin(1).mset({f"k:{i}": "one" for i in range(2000)})
    code = "#!lua name=polled\nredis.register_function('polled', function() return 1 end)"
    with Live(source, target, "--databases", "all") as live:
        live.wait_live()
        live.catch_up()
        if change[0] == "FUNCTION LOAD":
            source.command("FUNCTION LOAD", code)
        elif change[0] == "MULTI SWAPDB":
            with source.admin().pipeline(transaction=True) as pipe:
                pipe.execute_command("SWAPDB", 0, 1)
                pipe.execute()
        else:
            source.command(*change)
        live.terminate().expect(EQUAL)
    for db in (0, 1):
        oracle.assert_equal(source, target, db=db, at_least=2000)
    assert source.command("FUNCTION LIST") == target.command("FUNCTION LIST")


def test_a_source_that_answers_no_poll_keeps_the_end_only_for_a_while(fleet: Fleet, target: Server) -> None:
    source = fleet.server()
    with Live(source, target) as live:
        live.wait_live()
        live.catch_up()
        source.pause()
        try:
            result = live.terminate(seconds=90).expect(TROUBLE)
        finally:
            source.resume()
    assert "a gap was open or changes waited" in result.stderr


def test_interrupted_twice(source: Server, target: Server) -> None:
    """The second signal does not wait for anything."""
    with Live(source, target, *POLL) as live:
        live.wait_live()
        target.pause()
        try:
            source.admin().set("k", "v")
            live.process.insist(signal.SIGTERM)
            assert live.wait_end(10).status not in (EQUAL, -signal.SIGABRT)
        finally:
            target.resume()


def test_drains_until_all_is_applied(fleet: Fleet, target: Server, source: Server) -> None:
    """SIGTERM while the target does not answer: once it does, all is applied and the exit status is 0."""
    with Live(source, target, "--timeout", "1s", *POLL) as live:
        live.wait_live()
        target.pause()
        try:
            source.admin().mset({f"k:{i}": i for i in range(1000)})
            live.process.signal(signal.SIGTERM)
            time.sleep(1.5)  # the outage itself
            alive = live.alive
        finally:
            target.resume()
        if alive:
            live.wait_end().expect(EQUAL)
            oracle.assert_equal(source, target, at_least=1000)
        else:
            assert live.wait_end().status != EQUAL, "it did not apply all and said it did"


# Resuming

@pytest.mark.parametrize("state", ["kept", "lost", "none", "ended"])
def test_resumes_without_copying_all(fleet: Fleet, target: Server, tmp_path: Path, state: str) -> None:
    """Killed with -9 (or ended in order) while the source changes; the next start moves a small part of the data."""
    source = fleet.server()
    keys = populate(source, 100_000)
    with Live(source, target, *POLL, *SHORT_LEASE, state_dir=None if state == "none" else tmp_path / "state") as live:
        began = bytes_taken(target)
        live.wait_live()
        live.catch_up()
        whole = bytes_taken(target) - began
        wait_idle(source)
        live.catch_up()
        if state == "ended":
            live.terminate().expect(EQUAL)
        else:
            live.kill9()
        source.admin().mset({f"key:{i}": "changed" for i in range(0, 2000, 10)})
        source.admin().delete(*[f"key:{i}" for i in range(1, 1000, 10)])
        source.admin().mset({f"new:{i}": "new" for i in range(100)})
        if state == "lost":
            live.lose_state()
        began = bytes_taken(target)
        live.start()
        live.catch_up()
        live.wait_live()
        repair = bytes_taken(target) - began
        oracle.assert_equal(source, target, at_least=keys)
    assert repair < whole / 10, f"{repair} bytes to repair, {whole} for everything"


@pytest.mark.long
def test_resumes_a_million(fleet: Fleet, target: Server, tmp_path: Path) -> None:
    source = fleet.server()
    keys = populate(source, 1_000_000)
    with Live(source, target, *POLL, *SHORT_LEASE, state_dir=tmp_path / "state") as live:
        began = bytes_taken(target)
        live.wait_live(100)
        live.catch_up()
        whole = bytes_taken(target) - began
        wait_idle(source)
        live.kill9()
        source.admin().mset({f"key:{i}": "changed" for i in range(0, 20000, 10)})
        began = bytes_taken(target)
        live.start()
        live.catch_up(100)
        repair = bytes_taken(target) - began
        print(f"whole {whole} bytes, repair {repair}: {repair / whole:.1%}")
        oracle.assert_equal(source, target, at_least=keys)
    assert repair < whole / 20, f"{repair} bytes to repair, {whole} for everything"


def test_killed_in_the_first_copy(fleet: Fleet, target: Server, tmp_path: Path) -> None:
    source = fleet.server()
    keys = populate(source, 20_000)
    with Live(source, target, *POLL, *SHORT_LEASE, "--rate", 10000, state_dir=tmp_path / "state") as live:
        for share in (3000, 8000):
            wait.until(lambda: keys_of(target) > share, "the copy to get on")
            live.kill9()
            source.admin().set(f"between:{share}", "value")
            live.start()
        live.wait_live()
        oracle.assert_equal(source, target, at_least=keys + 2)


def test_a_first_copy_goes_on_from_its_checkpoint(fleet: Fleet, target: Server, tmp_path: Path) -> None:
    source = fleet.server()
    keys = populate(source, 20_000)
    with Live(source, target, *POLL, *SHORT_LEASE, "--rate", 4000, state_dir=tmp_path / "state") as live:
        live.wait_status(lambda job: job["checkpoint_us"] and job["cursors"] and keys_of(target) > keys // 2,
                         "a checkpoint", 60)
        live.kill9()
        live.start()
        live.wait_live(60)
        assert "from where the last run was" in live.stderr()
        oracle.assert_equal(source, target, at_least=keys)


def test_a_target_that_lost_all_while_no_job_ran(fleet: Fleet, source: Server, tmp_path: Path) -> None:
    """The state directory remembers a watermark; the target, which remembers none, counts."""
    target = fleet.server()
    keys = populate(source, 1000)
    with Live(source, target, *POLL, *SHORT_LEASE, state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.catch_up()
        live.terminate().expect(EQUAL)
        target.command("FLUSHALL")
        wait_idle(source)
        live.start()
        live.catch_up()
        oracle.assert_equal(source, target, at_least=keys)


def test_state_of_another_job_is_refused(source: Server, target: Server, fleet: Fleet, tmp_path: Path) -> None:
    with Live(source, target, state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.terminate().expect(EQUAL)
    other = fleet.server()
    with Live(source, other, state_dir=tmp_path / "state") as live:
        said = live.wait_end().expect(TROUBLE).error_line
    assert other.endpoint in said or target.endpoint in said
    assert oracle.count(other) == 0


def test_resync_full(source: Server, target: Server, tmp_path: Path) -> None:
    """Every key again, where nobody trusts the gap; spoilt keys of the target are mended by it."""
    source.admin().mset({f"k:{i}": i for i in range(500)})
    with Live(source, target, *POLL, *SHORT_LEASE, state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.kill9()
        target.admin().set("k:5", "spoilt")
        live.args = (*live.args, "--resync", "full")
        live.start()
        live.catch_up()
        live.wait_live()
        oracle.assert_equal(source, target, at_least=500)


# The deletion guard

def assert_held(live: Live) -> None:
    said = live.wait_status(lambda job: job["holds"], "deletions to be held")
    assert said["phase"] == "held" and said["holds"][0]["deletions"] > 0, said
    assert longhaul("status", live.watched.endpoint).status == 1  # type: ignore[attr-defined]


def test_source_restarts_empty(fleet: Fleet, target: Server) -> None:
    """The target keeps its keys, goes on following, and deletes only when it is told to."""
    source = fleet.server()
    source.admin().mset({f"k:{i}": i for i in range(1000)})
    with Live(source, target, *POLL) as live:
        live.wait_live()
        source.restart(keep=False)
        assert_held(live)
        assert keys_of(target) == 1000
        source.admin().set("after", "value")
        wait.until(lambda: target.admin().get("after") == b"value", "changes to be followed")
        assert keys_of(target) == 1001
        live.release().expect(EQUAL)
        live.wait_status(lambda job: not job["holds"] and not job["gaps"] and job["phase"] == "live", "the release")
        live.catch_up()
        oracle.assert_equal(source, target, at_least=1)


def test_held_deletions_stay_held(fleet: Fleet, target: Server, tmp_path: Path) -> None:
    """Also by the next process; --release-deletions lets them happen at its start."""
    source = fleet.server()
    source.admin().mset({f"k:{i}": i for i in range(1000)})
    with Live(source, target, *POLL, *SHORT_LEASE, state_dir=tmp_path / "state") as live:
        live.wait_live()
        source.restart(keep=False)
        assert_held(live)
        live.kill9()
        live.start()
        wait.until(lambda: live.status().get("alive"), "the second process")
        assert_held(live)
        assert keys_of(target) == 1000
        live.terminate()
        live.args = (*live.args, "--release-deletions")
        live.start()
        live.wait_live()
        live.catch_up()
        oracle.assert_equal(source, target, at_least=0)
    assert keys_of(target) == 0


@pytest.mark.parametrize("share, held", [(5, False), (50, True)])
def test_how_much_may_be_deleted(fleet: Fleet, target: Server, tmp_path: Path, share: int, held: bool) -> None:
    """--max-delete is 10 percent; deletions while longhaul was away count. (A thousand may go in any case, as
    long as the source's process is the same.)"""
    source = fleet.server()
    source.admin().mset({f"k:{i}": i for i in range(4000)})
    with Live(source, target, *POLL, *SHORT_LEASE, state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.kill9()
        source.admin().delete(*[f"k:{i}" for i in range(40 * share)])
        live.start()
        if held:
            assert_held(live)
            assert keys_of(target) == 4000
            live.release().expect(EQUAL)
        live.wait_status(lambda job: job["phase"] == "live" and not job["gaps"] and not job["holds"], "to be live", 40)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=100)


# Losses of the target

def assert_watermark_true(live: Live, source: oracle.Deployment, target: oracle.Deployment, since_us: int,
                          at_least: int) -> None:
    """Nothing is written meanwhile: the first watermark after `since_us` must be one of an equal target."""
    live.wait_watermark(since_us, 60)
    oracle.assert_equal(source, target, at_least=at_least)


@pytest.mark.parametrize("poll", ["250ms", "5s"])
def test_target_restarts_empty(source: Server, fleet: Fleet, poll: str) -> None:
    target = fleet.server()
    keys = data.load(source, data.many(406, 3000))
    with Live(source, target, "--poll", poll) as live:
        live.wait_live()
        live.catch_up()
        target.restart(keep=False)
        lost_us = now_us()
        assert_watermark_true(live, source, target, lost_us, keys)
        source.admin().set("after", "value")
        live.catch_up()
        oracle.assert_equal(source, target, at_least=keys)


def test_target_never_claims_what_it_lost(fleet: Fleet) -> None:
    """It is away for a while, and comes back empty: a reader of its record is told of no watermark at any moment until
    everything is there again."""
    source, target = fleet.server(), fleet.server()
    keys = populate(source, 50_000)
    with Live(source, target, "--poll", "5s") as live:
        live.wait_live()
        for _ in range(3):
            live.catch_up()
            target.kill9()
            back = time.monotonic() + 3  # long enough for connections to come back at different times
            wait.until(lambda: time.monotonic() > back, "the outage", every=0.1)
            target.revive()
            with target.wire() as reading:
                while True:
                    states = [key for key in reading.call("KEYS", OWN_KEYS + b"*:state")]  # type: ignore[attr-defined]
                    records = [json.loads(text) for key in states for text in reading.call("HVALS", key)]  # type: ignore
                    claimed = any(record["watermark_us"] for record in records)
                    there = reading.call("EXISTS", *[f"key:{i}" for i in range(0, keys, 500)])
                    assert not claimed or there == keys // 500, f"{there} of {keys // 500} keys, and a watermark"
                    if claimed:
                        break
        live.wait_live()
        oracle.assert_equal(source, target, at_least=keys)


def test_target_comes_back_with_old_data(source: Server, fleet: Fleet) -> None:
    """It comes back from a dump of before: later writes are copied again."""
    target = fleet.server()
    keys = data.load(source, data.many(407, 2000))
    with Live(source, target, *POLL) as live:
        live.wait_live()
        live.catch_up()
        target.admin().save()
        source.admin().mset({f"later:{i}": i for i in range(500)})
        source.admin().delete("later:7")
        live.catch_up()
        target.kill9()
        target.revive()
        assert_watermark_true(live, source, target, now_us(), keys + 499)


def test_target_fails_over_and_loses_writes(source: Server, fleet: Fleet) -> None:
    """The replica that takes over never had the newest writes, which the primary had acknowledged."""
    target = cluster.build(fleet, 3, 3)
    keys = data.load(source, data.many(408, 2000))
    with Live(source, target, *POLL) as live:
        live.wait_live()
        live.catch_up()
        victim = target.primaries()[0]
        replica = target.replica_of(victim)
        replica.admin().config_set("masterauth", "wrong")
        victim.command("CLIENT KILL", "TYPE", "slave")
        wait.until(lambda: replica.admin().info("replication")["master_link_status"] == "down", "the replica to be cut off")
        source.admin().mset({f"unreplicated:{i}": i for i in range(1000)})
        live.catch_up()
        lost = [f"unreplicated:{i}" for i in range(1000) if target.owner(slot_of(b"unreplicated:%d" % i)) is victim]
        assert lost
        target.kill_primary(victim)
        failed_us = now_us()
        assert_watermark_true(live, source, target, failed_us, keys + 1000)


# Two processes

@pytest.fixture
def two(source: Server, target: Server, tmp_path: Path) -> Iterator[List[Live]]:
    """One that works and one that waits."""
    data.load(source, data.many(409, 1000))
    with Live(source, target, *POLL, *SHORT_LEASE) as first:
        first.wait_live()
        with Live(source, target, *POLL, *SHORT_LEASE) as second:
            wait.until(lambda: "standby" in second.stderr(), "the second process to say that it waits")
            yield [first, second]


def owner_of(live: Live) -> str:
    return str(live.status().get("owner"))


def test_a_standby_takes_over(source: Server, target: Server, two: List[Live]) -> None:
    first, second = two
    owner = owner_of(first)
    with Writer(source, seed=410):
        first.kill9()
        second.wait_status(lambda job: job["alive"] and job["owner"] != owner, "the standby to take over")
    second.wait_live()
    second.catch_up()
    oracle.assert_equal(source, target, at_least=1000)
    second.terminate().expect(EQUAL)


def test_a_standby_takes_over_at_once_after_an_end(source: Server, target: Server, two: List[Live]) -> None:
    first, second = two
    owner = owner_of(first)
    first.terminate().expect(EQUAL)
    second.wait_status(lambda job: job["alive"] and job["owner"] != owner, "the standby to take over", 10)
    source.admin().set("k", "v")
    second.catch_up()
    oracle.assert_equal(source, target, at_least=1000)


def test_who_was_stopped_does_not_write_any_more(source: Server, target: Server, two: List[Live]) -> None:
    """The first one wakes up after its lease has run out, with values that are old by now."""
    first, second = two
    owner = owner_of(first)
    names = [f"count:{i}" for i in range(200)]
    went_down: List[object] = []
    stop = threading.Event()

    def count() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            source.admin().mset({name: n for name in names})

    def look() -> None:
        admin, seen = target.admin(), [0] * len(names)
        while not stop.is_set():
            for i, value in enumerate(admin.mget(names)):
                if value is not None and int(value) < seen[i]:
                    went_down.append((names[i], seen[i], int(value)))
                seen[i] = max(seen[i], int(value or 0))
    threads = [threading.Thread(target=count), threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    try:
        wait.until(lambda: target.admin().get(names[0]), "counts to arrive")
        first.pause()
        second.wait_status(lambda job: job["alive"] and job["owner"] != owner, "the standby to take over")
        second.catch_up()
        first.resume()
        second.catch_up()
        new = owner_of(second)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    second.catch_up()
    assert new != owner and not went_down, went_down[:3]
    assert owner_of(second) == new
    oracle.assert_equal(source, target, at_least=1200)


def test_two_jobs_beside_each_other(source: Server, target: Server) -> None:
    """Of different names and databases they do not wait for each other."""
    url = target.endpoint
    with Live(source.url(db=0), f"redis://{url}/0", "--job", "zero", *POLL, watched=target) as zero, \
            Live(source.url(db=1), f"redis://{url}/1", "--job", "one", *POLL, watched=f"redis://{url}/1") as one:
        zero.wait_live()
        one.wait_live()
        source.command("SET", "k", "0", db=0)
        source.command("SET", "k", "1", db=1)
        zero.catch_up()
        one.catch_up()
    assert target.command("GET", "k", db=0) == b"0" and target.command("GET", "k", db=1) == b"1"
    assert {job["job"] for job in jobs(target)} >= {"zero"}


# The other end of a failover

def test_source_fails_over(deployments: Deployments, fleet: Fleet) -> None:
    """In order, and by the death of a primary; nothing is asked of anybody."""
    source, target = cluster.build(fleet, 3, 3), deployments.get("target", "standalone")
    keys = data.load(source, data.many(411, 2000))
    with Live(source, target, *POLL) as live:
        live.wait_live()
        source.fail_over(source.primaries()[0])
        data.load(source, data.mixed(412, 200, b"one:"))
        live.catch_up()
        oracle.assert_equal(source, target, at_least=keys)
        victim = source.primaries()[1]
        source.wait_replicated(victim)
        source.kill_primary(victim)
        source.wait_ready(3, 0)
        data.load(source, data.mixed(413, 200, b"two:"))
        live.catch_up(60)
        oracle.assert_equal(source, target, at_least=keys)
