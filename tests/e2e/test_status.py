"""status and resume: what they read from a target's records, and what they say without a job."""
from __future__ import annotations

import json
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from conftest import Deployments
from harness import data
from harness.run import DIFFERENT, EQUAL, TROUBLE, Result, longhaul, replicate
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


@pytest.mark.parametrize("lease, age_us", [(False, 0), (True, 60_000_000)], ids=["no lease", "an old record"])
def test_a_job_that_does_not_run(target: Server, lease: bool, age_us: int) -> None:
    made = write(target, lease=lease, updated_us=now_us() - age_us)
    job = job_of(target, DIFFERENT)
    assert not job["alive"] and job["lag_ms"] is None and job["lease_held"] == lease
    said = status(target).expect(DIFFERENT).stdout
    assert "no longhaul is running for this job" in said
    assert f"every write that the source acknowledged before {job['watermark']} is on this target" in said
    assert " lag " not in said and made["watermark_us"] == job["watermark_us"]


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
    assert job["gaps"][0]["since"] == "2023-11-14T22:13:20.123Z" and job["holds"] == [HOLD]
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
