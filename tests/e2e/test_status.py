"""status and resume: they read a target's records, and say so where there is no job."""
from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Iterator

import pytest

from conftest import Deployments
from harness import data, wait
from harness.run import DIFFERENT, EQUAL, TROUBLE, USAGE, Result, longhaul, replicate
from harness.servers import Server
from harness.wire import slot_of

OWN = [b"longhaul:{3560}:state", b"longhaul:{orders}:lease", b"longhaul:{orders}:epoch", b"longhaul:{orders}:order",
       b"longhaul:tmp:{3560}", b"longhaul:probe:7"]


def state_key(slot: int) -> str:
    """The first decimal text that lies in the slot."""
    tag = next(text for text in map(str, count()) if slot_of(text.encode()) == slot)
    return f"longhaul:{{{tag}}}:state"


def now_us() -> int:
    return int(time.time() * 1_000_000)


def record(**fields: Any) -> dict[str, Any]:
    now = now_us()
    return {"job": "orders", "source": "a.example.com:6379", "target": "b.example.com:6379", "settings": "database 0",
            "phase": "live", "owner": "host:1:ff", "copied_once": True, "watermark_us": now - 400_000,
            "updated_us": now, "epoch": 3, "copied": 10, "deleted": 2, "given_up": 0, "waiting": 1,
            "nodes": [{"address": "10.0.0.1:6379", "run_id": "f00", "watermark_us": now - 400_000}],
            "gaps": [], "holds": [], **fields}


def write(server: Server, *, lease: bool = True, slot: int = 0, **fields: Any) -> dict[str, Any]:
    made = record(**fields)
    server.command("HSET", state_key(slot), made["job"], json.dumps(made))
    if lease:
        server.command("SET", f"longhaul:{{{made['job']}}}:lease", "3 host:1:ff", "PX", "60000")
    return made


HOLD = {"id": "7-1", "place": "database 0", "cause": "sweep", "deletions": 1200, "seen": 1300, "since_us": 5,
        "why": "the source came back empty"}
GAP = {"place": "10.0.0.1:6379", "since_us": 1_700_000_000_123_456, "why": "the connection broke"}


def status(server: Server, *options: object) -> Result:
    return longhaul("status", server.endpoint, *options)


def job_of(server: Server, expected: int) -> dict[str, Any]:
    job, = status(server, "--output", "json").expect(expected).json["jobs"]
    return job


def test_no_job(target: Server) -> None:
    assert "knows no live job in database 0" in status(target).expect(TROUBLE).stderr
    said = status(target, "--output", "json").expect(TROUBLE).json
    assert said["jobs"] == [] and said["error"]["code"] == "usage"
    assert "knows no live job" in longhaul("resume", target.endpoint).expect(TROUBLE).stderr


def test_a_target_that_is_not_there() -> None:
    assert "cannot connect" in longhaul("status", "127.0.0.1:1").expect(TROUBLE).stderr


def test_a_busy_source(target: Server) -> None:
    write(target, gather_ms=640)
    assert job_of(target, EQUAL)["gather_ms"] == 640
    assert "changes are gathered for up to 640 ms" in status(target).expect(EQUAL).stdout


def test_a_healthy_job(target: Server) -> None:
    made = write(target)
    job = job_of(target, EQUAL)
    assert job["alive"] and job["healthy"] and job["watermark_us"] == made["watermark_us"]
    assert job["lag_ms"] == 400 and 400 <= job["watermark_age_ms"] < 10_000
    assert job["watermark"].endswith("Z") and len(job["watermark"]) == len("2026-01-31T23:59:59.123Z")
    lines = status(target).expect(EQUAL).stdout.splitlines()
    assert lines[0] == "orders: a.example.com:6379 -> b.example.com:6379"
    assert any(line.split()[0] == "lag" and line.split()[2] == "ms" for line in lines)
    assert not any("no longhaul is running" in line for line in lines)


def test_a_job_that_does_not_run(target: Server) -> None:
    made = write(target, lease=False)
    job = job_of(target, DIFFERENT)
    assert not job["alive"] and job["lag_ms"] is None and not job["lease_held"] and job["process"] == "absent"
    said = status(target).expect(DIFFERENT).stdout
    assert "no longhaul is running for this job" in said
    assert f"every write that the source acknowledged before {job['watermark']} is on this target" in said
    assert " lag " not in said and made["watermark_us"] == job["watermark_us"]


def test_a_lease_that_is_renewed_beside_an_old_record(target: Server) -> None:
    """A longhaul runs that cannot write its record: never told as one that does not run."""
    made = write(target, updated_us=now_us() - 60_000_000)
    job = job_of(target, DIFFERENT)
    assert not job["alive"] and job["lag_ms"] is None and job["lease_held"] and job["process"] == "silent"
    said = status(target).expect(DIFFERENT).stdout
    assert "a longhaul holds this job, but its record is of" in said and "no longhaul is running" not in said
    assert f"every write that the source acknowledged before {job['watermark']} is on this target" in said
    assert " lag " not in said and made["watermark_us"] == job["watermark_us"]


def test_connections_tell_of_a_longhaul_without_a_lease(target: Server) -> None:
    write(target, lease=False, updated_us=now_us() - 60_000_000)
    with connected(target, "longhaul:orders:3", "longhaul:other:3", "longhaul:orders-2:1"):
        said = status(target).expect(DIFFERENT).stdout
        assert "a longhaul is connected for this job, without the lease" in said and "no longhaul is running" not in said
        assert job_of(target, DIFFERENT)["process"] == "silent"
    wait.until(lambda: job_of(target, DIFFERENT)["process"] == "absent", "the connection to be gone")


def test_standbys_are_shown(target: Server) -> None:
    write(target)
    with connected(target, "longhaul-standby:orders:b.example.com:7:aa", "longhaul-standby:orders:c.example.com:8:bb",
                   "longhaul-standby:orders:b.example.com:7:aa", "longhaul-standby:other:d:9:cc"):
        assert sorted(job_of(target, EQUAL)["standbys"]) == ["b.example.com:7:aa", "c.example.com:8:bb"]
        said = status(target).expect(EQUAL).stdout
        assert "standby    b.example.com:7:aa waits to take over" in said and said.count("waits to take over") == 2
    assert job_of(target, EQUAL)["process"] == "running"


@contextmanager
def connected(server: Server, *names: str) -> Iterator[None]:
    """Connections of these names."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(server.wire()).call("CLIENT", "SETNAME", name)
        yield


def test_present_trouble_is_told_in_the_words_of_the_log(target: Server) -> None:
    words = "WRONGPASS invalid username-password pair"
    write(target, trouble=words, trouble_place="source 10.0.0.1:6379", trouble_since_us=now_us() - 5_000_000)
    job = job_of(target, DIFFERENT)
    assert job["alive"] and not job["healthy"] and job["trouble"] == words
    assert f"TROUBLE    source 10.0.0.1:6379: {words}, since 2" in status(target).expect(DIFFERENT).stdout


def test_a_lag_beyond_the_limit(target: Server) -> None:
    write(target, watermark_us=now_us() - 12_000_000)
    assert not job_of(target, EQUAL)["late"]
    assert status(target, "--max-lag", "10m").status == EQUAL
    said = status(target, "--max-lag", "5s").expect(DIFFERENT).stdout
    assert "LATE       the watermark is older than --max-lag, 5.00 s" in said
    write(target, watermark_us=0, nodes=[])
    assert status(target, "--max-lag", "10m").status == DIFFERENT
    assert "status" in longhaul("resume", target.endpoint, "--max-lag", "5s").expect(USAGE).error_line


def test_lag_of_the_last_minute_and_hour(target: Server) -> None:
    write(target, lag_minute_max_us=20_000, lag_hour_max_us=400_000, lag_p99_us=15_000, lag_max_us=9_000_000)
    said = status(target).expect(EQUAL).stdout
    assert "at most 20 ms in the last minute, 400 ms in the last hour" in said and "at most 9000 ms" in said


@pytest.mark.parametrize("ahead_us, shown", [(900_000, False), (-2_500_000, True), (40_000_000, True)])
def test_the_sources_own_time_beside_the_watermark(target: Server, ahead_us: int, shown: bool) -> None:
    watermark_us = now_us() - 400_000
    write(target, watermark_us=watermark_us, source_time_us=watermark_us + ahead_us)
    assert ("by the source's own clock" in status(target).expect(EQUAL).stdout) == shown
    assert job_of(target, EQUAL)["clocks_differ"] == shown


def test_a_liveonly_job_never_gets_the_sentence_of_the_proof(target: Server) -> None:
    for lease in (True, False):
        write(target, lease=lease, only=True)
        if not lease:
            target.command("DEL", "longhaul:{orders}:lease")
        said = status(target).stdout
        assert "every write that the source acknowledged" not in said and "were never copied" in said


def test_keys_that_are_not_the_jobs(target: Server) -> None:
    write(target, extra_keys=1234, target_evicted=5)
    said = status(target).stdout
    assert "1,234 keys of the target were never copied by this job" in said and "5 keys by the target" in said


def test_control_bytes_of_a_record_never_reach_the_terminal(target: Server) -> None:
    bad = "a\x1b[2J\x07b\x7f\nFAKE\x9b"
    write(target, source=bad, settings=bad, phase=bad, owner=bad, trouble=bad, trouble_place=bad,
          nodes=[{"address": bad, "run_id": "f00", "watermark_us": 1}], gaps=[{**GAP, "place": bad, "why": bad}],
          holds=[{**HOLD, "place": bad, "why": bad}])
    with connected(target, "longhaul-standby:orders:x"):
        said = status(target).expect(DIFFERENT)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]|^FAKE", said.stdout + said.stderr, re.M), said.stdout


def make_state_directory(path: Path, job: str = "orders") -> None:
    path.mkdir()
    with closing(sqlite3.connect(path / "longhaul.db")) as db:
        db.executescript(
            "CREATE TABLE record(id INTEGER PRIMARY KEY, json TEXT NOT NULL);"
            "CREATE TABLE given_up(db INTEGER, key BLOB, reason TEXT, at_us INTEGER, PRIMARY KEY(db, key)) WITHOUT ROWID;"
            "CREATE TABLE run(id INTEGER PRIMARY KEY, mode TEXT, began_us INTEGER, ended_us INTEGER, compared INTEGER,"
            "  different INTEGER, outcome TEXT);"
            "CREATE TABLE audit(id INTEGER PRIMARY KEY, at_us INTEGER, event TEXT, text TEXT);")
        db.execute("INSERT INTO record VALUES(1, ?)", (json.dumps(record(job=job)),))
        db.execute("INSERT INTO audit VALUES(1, ?, 'gap', 'the connection\x1b[2J broke')", (GAP["since_us"],))
        db.execute("INSERT INTO run VALUES(1, 'full', ?, ?, 1300, 2, 'done')", (GAP["since_us"], GAP["since_us"] + 1))
        db.execute("INSERT INTO given_up VALUES(3, ?, 'OOM command not allowed', ?)", (b"k\xff\n", GAP["since_us"]))
        db.commit()


def test_history_and_keys_given_up(tmp_path: Path) -> None:
    make_state_directory(tmp_path / "state")
    words = ["status", "--state-dir", str(tmp_path / "state")]
    assert "history" not in longhaul(*words).stdout
    said = longhaul(*words, "--history", "--given-up").expect(DIFFERENT).stdout
    assert "2023-11-14T22:13:20.123Z  gap          the connection?[2J broke" in said
    assert "full: done, 1,300 keys compared, 2 different" in said
    assert 'db3 "k\\xff\\n": OOM command not allowed' in said
    made = longhaul(*words, "--history", "--given-up", "--output", "json").expect(DIFFERENT).json
    assert made["history"][0]["event"] == "gap" and made["history"][0]["at_us"] == GAP["since_us"]
    assert made["comparisons"][0]["different"] == 2 and made["given_up_keys"][0]["db"] == 3
    assert "history" not in longhaul(*words, "--given-up", "--output", "json").json


def test_history_needs_a_state_directory(target: Server) -> None:
    for option in ("--history", "--given-up"):
        assert "add --state-dir" in longhaul("status", target.endpoint, option).expect(USAGE).error_line


@pytest.mark.parametrize("fields", [{"gaps": [GAP]}, {"holds": [HOLD]}, {"given_up": 1}], ids=lambda f: next(iter(f)))
def test_what_needs_attention(target: Server, fields: dict[str, Any]) -> None:
    write(target, **fields)
    job = job_of(target, DIFFERENT)
    assert job["alive"] and not job["healthy"]


def test_gaps_and_holds_are_told(target: Server) -> None:
    write(target, phase="held", gaps=[GAP], holds=[HOLD])
    said = status(target).expect(DIFFERENT).stdout
    assert "10.0.0.1:6379, since 2023-11-14T22:13:20.123Z" in said and ": the connection broke" in said
    assert "1,200 of 1,300 keys would be deleted: the source came back empty" in said
    assert f"longhaul resume {target.endpoint} --job orders" in said
    job = job_of(target, DIFFERENT)
    assert job["gaps"][0]["since"] == "2023-11-14T22:13:20.123Z" and HOLD.items() <= job["holds"][0].items()
    assert job["resume_command"] == f"longhaul resume {target.endpoint} --job orders"


def test_the_oldest_primary_counts(deployments: Deployments) -> None:
    side = deployments.get("target", "cluster")
    owners = side.slots()
    lowest = sorted(owners.index(primary) for primary in side.primaries())
    made = record()
    for age, slot in enumerate(lowest):
        text = json.dumps({**made, "watermark_us": made["watermark_us"] - age})
        side.owner(slot).command("HSET", state_key(slot), "orders", text)
    job, = longhaul("status", side.endpoint, "--output", "json").expect(DIFFERENT).json["jobs"]
    assert len(lowest) == 3 and job["watermark_us"] == made["watermark_us"] - 2
    side.owner(lowest[1]).command("DEL", state_key(lowest[1]))
    job, = longhaul("status", side.endpoint, "--output", "json").expect(DIFFERENT).json["jobs"]
    assert job["watermark_us"] == 0 and job["watermark"] is None


def test_resume(target: Server) -> None:
    write(target, holds=[HOLD])
    write(target, job="quiet")
    order = "longhaul:{orders}:order"
    said = longhaul("resume", target.endpoint, "--job", "quiet").expect(DIFFERENT).stdout
    assert "holds no deletions" in said and target.command("EXISTS", order) == 0
    assert "no job no in" in longhaul("resume", target.endpoint, "--job", "no").expect(TROUBLE).stderr
    said = longhaul("resume", target.endpoint).expect(EQUAL).stdout
    assert "job orders may delete what it holds" in said and "hold 7-1, database 0: 1,200 keys" in said
    given, = target.command("LRANGE", order, 0, -1)
    assert json.loads(given)["kind"] == "release" and json.loads(given)["hold"] == "7-1"
    assert 0 < target.command("TTL", order) <= 24 * 3600
    write(target, job="quiet", holds=[HOLD])
    assert "name one of" in longhaul("resume", target.endpoint).expect(TROUBLE).stderr
    assert longhaul("resume", target.endpoint, "--job", "quiet", "--output", "json").expect(EQUAL).json["ordered"]


def test_state_directory_that_is_none(tmp_path: Path) -> None:
    for command in ("status", "resume"):
        said = longhaul(command, "--state-dir", tmp_path / "none").expect(TROUBLE)
        assert "No such file or directory" in said.stderr and len(said.stderr.splitlines()) == 1


@pytest.mark.parametrize("shape", ["standalone", "cluster"])
def test_longhauls_own_keys_are_left_alone(deployments: Deployments, shape: str) -> None:
    """A target of one job may be the source of another; neither copies nor counts the keys of jobs."""
    source, target = deployments.get("source", shape), deployments.get("target", "standalone")
    data.load(source, data.mixed(43, 220))
    keys = sum(int(node.command("DBSIZE")) for node in source.primaries())
    for key in OWN:
        source.owner(slot_of(key)).command("SET", key, "of the source")
        target.command("SET", key + b"x" if b"probe" in key else key, "of the target")
    said = replicate(source, target, "--compare", "full").expect(EQUAL).json
    assert said["keys"]["copied"] == keys
    assert said["compare"]["keys"] == said["compare"]["equal"] == keys
    assert target.command("GET", "longhaul:{orders}:lease") == b"of the target"
