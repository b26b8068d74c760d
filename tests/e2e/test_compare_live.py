"""`longhaul compare` beside something that copies all the time: the differences that it finds, and its record. The test
itself is the copying job where it must decide which keys are on the target when: its record lies there as a live job's
does."""
from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
from harness import data, wait
from harness.run import DIFFERENT, EQUAL, TROUBLE, Running
from harness.servers import Server
from harness.wire import slot_of
from test_compare import assert_equal, compare, compare_args, copy, fill, found

MODES = [(), ("--digest",)]
STATE, LEASE = "longhaul:{%s}:state", "longhaul:{job}:lease"


def state_key() -> str:
    """In the lowest slot of a server that has them all."""
    return next(STATE % tag for tag in map(str, range(1 << 20)) if slot_of((STATE % tag).encode()) == 0)


class Job:
    """The records that a live job keeps on the target."""

    def __init__(self, source: Server, target: Server, key: str, scope: str = "") -> None:
        self._target, self._key = target, key
        self._record: Dict[str, Any] = {
            "job": "job", "source": source.endpoint, "target": target.endpoint, "settings": "", "phase": "live",
            "owner": "test", "copied_once": True, "epoch": 1, "nodes": [], "gaps": [], "holds": []}
        if scope:
            self._record["scope"] = scope
        target.command("SET", LEASE, "1 test", "PX", 60_000)

    def say(self, watermark: float, **more: Any) -> None:
        """Every write before that moment (of time.time()) is on the target."""
        times = {"watermark_us": int(watermark * 1e6), "updated_us": int(time.time() * 1e6)}
        record = {**self._record, **times, **more}
        self._target.command("HSET", self._key, "job", json.dumps(record))


@pytest.fixture(scope="module")
def key_of_records() -> str:
    return state_key()


@pytest.mark.parametrize("options", MODES, ids=["full", "digest"])
def test_keys_that_differ_wait_for_the_watermark(source: Server, target: Server, key_of_records: str,
                                                 options: Tuple[str, ...]) -> None:
    """However short the interval: a change on its way is no difference, a change that the job has passed by is one."""
    for side in (source, target):
        side.command("MSET", "same", "1", "late", "older", "stuck", "older")
    target.command("CONFIG", "RESETSTAT")
    job = Job(source, target, key_of_records)
    job.say(time.time())
    source.command("MSET", "late", "newer", "stuck", "newer", "new", "1")
    with Running(compare_args(source, target, *options, "--interval", "1ms", "--rounds", "2", "--verbose")) as running:
        wait.until(lambda: "live job job runs" in running.stderr_so_far(), "the job to be seen", 20)
        wait.until(lambda: target.admin().info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0) >= 5,
                   "the record to be read again and again, through hundreds of intervals", 20)
        assert running.alive, running.wait()
        target.command("MSET", "late", "newer", "new", "1")
        while running.alive:
            job.say(time.time())
            time.sleep(0.05)
        result = running.wait().expect(DIFFERENT)
    assert found(result) == [("value", "stuck")] and result.json["compare"]["rechecked"] == 2


def test_without_a_job_the_interval_counts(source: Server, target: Server, key_of_records: str) -> None:
    """A record alone is no job, nor is one between others, nor one whose lease has run out."""
    source.command("SET", "key", "1")
    Job(target, source, key_of_records).say(time.time())
    assert found(compare(source, target, timeout=5)) == [("missing", "key")]
    Job(source, target, key_of_records).say(time.time())
    target.command("DEL", LEASE)
    assert found(compare(source, target, timeout=5)) == [("missing", "key")]


HOLD = {"id": "1-1", "place": "source", "cause": "missing", "deletions": 5000, "seen": 5000, "since_us": 1, "why": "test"}


@pytest.mark.parametrize("options", MODES, ids=["full", "digest"])
def test_a_job_that_holds_deletions_is_not_waited_for(source: Server, target: Server, key_of_records: str,
                                                      options: Tuple[str, ...]) -> None:
    """Its watermark stands until an operator decides: keys that differ are checked again by time, also
    by two comparisons at once."""
    target.command("MSET", "extra", "1", "other", "1")
    source.command("SET", "other", "2")
    job = Job(source, target, key_of_records)
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.05):
            job.say(began, phase="held", holds=[HOLD])

    began = time.time()
    job.say(began, phase="held", holds=[HOLD])
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Running(compare_args(source, target, *options)) as beside:
            result = compare(source, target, *options, timeout=30).expect(DIFFERENT)
            assert sorted(found(result)) == sorted(found(beside.wait())) == [("extra", "extra"), ("value", "other")]
    finally:
        stop.set()
        writer.join()
    warnings = [line for line in result.stderr.splitlines() if "live job job holds 5,000 deletions" in line]
    assert len(warnings) == 1 and "longhaul status" in warnings[0]


def test_a_job_that_hangs_is_waited_for_once(source: Server, target: Server, key_of_records: str) -> None:
    """A process that is paused, or dead while its lease runs on, writes no record any more. Waited for anew in each
    round, it would hold the comparison for all its rounds."""
    source.command("SET", "key", "1")
    Job(source, target, key_of_records).say(time.time() - 1)
    result = compare(source, target, "--interval", "6s", "--verbose", timeout=120).expect(DIFFERENT)
    assert found(result) == [("missing", "key")]
    assert result.stderr.count("live job job runs") == 1
    assert result.stderr.count("live job job has not written its record") == 1
    assert result.stderr.count("do not wait for its watermark") == 1


@pytest.mark.parametrize("options", MODES, ids=["full", "digest"])
def test_keys_that_change_all_the_time(source: Server, target: Server, options: Tuple[str, ...]) -> None:
    """They differ at each look, since the target never has the source's value; a key that stays behind is found all the
    same. The interval is long beside the time between two changes, also on a busy machine."""
    for side in (source, target):
        data.load(side, data.plain(33, 2000, expiring=0))  # an expiry would be drawn anew for each side
        side.command("SET", "stuck", "older")
    stop = threading.Event()

    def carry() -> None:
        clients, i = (source.admin(), target.admin()), 0
        while not stop.is_set():
            i += 1
            clients[0].set("stuck", i)
            for behind, client in enumerate(clients):
                client.mset({f"hot:{n}": f"{behind} {i}" for n in range(20)})
                client.hset("warm", mapping={"field": f"{behind} {i}", "other": i - behind})
            stop.wait(0.01)

    carrier = threading.Thread(target=carry)
    carrier.start()
    try:
        wait.until(lambda: target.command("EXISTS", "warm") == 1, "hot keys", 20)
        result = compare(source, target, *options, "--interval", "1500ms", "--rounds", "3").expect(DIFFERENT)
    finally:
        stop.set()
        carrier.join()
    counts = result.json["compare"]
    assert found(result) == [("value", "stuck")]
    assert counts["moving"] == 21 and counts["keys"] == counts["equal"] + 1


def test_longhauls_own_keys_do_not_count(source: Server, target: Server) -> None:
    """Neither those of jobs that write to the target nor those of jobs that write to the source."""
    fill(source)
    keys = copy(source, target)
    for name in ("longhaul:{3}:state", "longhaul:{job}:lease", "longhaul:{job}:epoch", "longhaul:{a\0b}:order",
                 "longhaul:tmp:{x}", "longhaul:probe:1", "longhaul:doctor:x"):
        target.command("SET", name, "1")
    source.command("SET", "longhaul:{9}:state", "1")
    source.command("CONFIG", "RESETSTAT")
    for options in (*MODES, ("--quick",)):
        assert_equal(compare(source, target, *options), keys)
    # Sums of names have told so: no name of the target was looked for on the source.
    assert "cmdstat_exists" not in source.admin().info("commandstats")
    for name in ("longhaul:", "longhaul:{job}:states", "longhaul:probes", "mylonghaul:{3}:state"):
        target.command("SET", name, "1")
        for options in MODES:
            assert found(compare(source, target, *options)) == [("extra", name)]
        target.command("DEL", name)


# ---- the state directory ----


def rows(directory: Path, query: str) -> List[Tuple[Any, ...]]:
    with sqlite3.connect(f"file:{directory / 'longhaul.db'}?mode=ro", uri=True) as database:
        return list(database.execute(query))


def test_state_directory(source: Server, target: Server, tmp_path: Path) -> None:
    source.command("MSET", "same", "1", "missing", "1", b"odd \xff", "1")
    target.command("MSET", "same", "1", "extra", "1", b"odd \xff", "2")
    directory = tmp_path / "state"
    compare(source, target, "--state-dir", directory).expect(DIFFERENT)
    compare(source, target, "--digest", "--repair", "--delete-extra", "--max-delete", 100, "--state-dir", directory).expect(EQUAL)
    findings = [("extra", b"extra"), ("missing", b"missing"), ("value", b"odd \xff")]
    for number in (1, 2):
        assert rows(directory, f"SELECT kind, key FROM finding WHERE run = {number} ORDER BY kind") == findings
    assert rows(directory, "SELECT id, mode, compared, different, outcome, ended_us >= began_us FROM run ORDER BY id") == [
        (1, "full", 3, 3, "different", 1), (2, "digest", 3, 3, "different", 1), (3, "digest", 2, 0, "equal", 1)]
    other = compare(target, source, "--state-dir", directory).expect(TROUBLE)
    assert "belongs to job" in other.error_line and source.endpoint in other.error_line
