"""A job is made by every option that decides which keys and values are on the target. Other options are another job: it
never goes on from the proof of the first, nor does the first go on from its own proof once another job has written its
keys."""
from __future__ import annotations

from pathlib import Path
from typing import Tuple

import pytest

from harness import oracle
from harness.live import Live, jobs
from harness.run import EQUAL, TROUBLE, Running, longhaul, replicate_args
from harness.servers import Fleet, Server

LONG = "x" * 300


def load(source: Server) -> None:
    for i in range(200):
        source.command("SET", f"key:{i}", "v" * (20000 if i % 2 else 10), "EX", 9000 + i)


@pytest.mark.parametrize("first, second", [
    (("--key-include", LONG, "--key-include", "key:1*"), ("--key-include", LONG, "--key-include", "key:*")),
    (("--mem-limit", "10KB"), ("--mem-limit", "1MB")),
    (("--key-type", "hash"), ()),
    (("--key-slot", "0-8191"), ()),
    (("--no-ttl",), ()),
], ids=["include", "mem-limit", "type", "slots", "ttl"])
def test_options_that_let_more_through(source: Server, target: Server, first: Tuple[str, ...], second: Tuple[str, ...]) -> None:
    """After an orderly stop the next start, with other options, copies everything that the first job left out."""
    load(source)
    with Live(source, target, *first) as live:
        live.wait_status(lambda job: job["phase"] == "live", "the first job to be live")
        live.terminate()
    with Live(source, target, *second) as live:
        live.catch_up()
        oracle.assert_equal(source, target, at_least=200)
        live.terminate().expect(EQUAL)


def test_the_first_job_believes_its_record_no_more(source: Server, target: Server) -> None:
    """It was complete, then another job took the times to live away."""
    load(source)
    for options in ((), ("--no-ttl",), ()):
        with Live(source, target, *options) as live:
            live.catch_up()
            live.terminate().expect(EQUAL)
            assert len(jobs(target)) == 1
    oracle.assert_equal(source, target, at_least=200)


def test_a_job_that_was_killed_keeps_others_away(source: Server, target: Server) -> None:
    """Nobody knows whether its process is gone. Nothing is written to either side."""
    load(source)
    with Live(source, target, "--key-include", "key:1*", "--job", "killed", "--lease", "1s") as live:
        live.wait_live()
        live.kill9()
    with Running(replicate_args(source, target, "--mode", "live")) as other:
        said = other.wait().expect(TROUBLE)
    assert "job killed from" in said.error_line and "longhaul forget --job killed" in said.error_line
    assert target.command("EXISTS", "key:2") == 0


@pytest.mark.parametrize("other", [("--no-ttl",), ("--databases", "0,1"), ("--job", "another")], ids=["ttl", "databases", "name"])
def test_a_job_that_holds_deletions_keeps_others_away(fleet: Fleet, other: Tuple[str, ...]) -> None:
    """Its source came back empty. A start with other options would know nothing of the guard's decision."""
    source, target = fleet.server(), fleet.server()
    load(source)
    with Live(source, target, "--extra", "delete") as live:
        live.wait_live()
        live.catch_up()
        source.kill9()
        source.revive()  # without its data
        live.wait_status(lambda job: job["holds"], "the hold")
        live.terminate()
    with Running(replicate_args(source, target, "--mode", "live", "--extra", "delete", *other)) as start:
        said = start.wait().expect(TROUBLE)
    assert "holds deletions" in said.error_line and "longhaul forget" in said.error_line
    assert len(jobs(target)[0]["holds"]) == 1
    assert target.command("EXISTS", *[f"key:{i}" for i in range(200)]) == 200


def test_nothing_copies_back_into_the_source_of_a_job(source: Server, target: Server) -> None:
    """A snapshot, a live job or a repair would overwrite newer values with older ones; so would a snapshot beside the job."""
    load(source)
    with Live(source, target, "--job", "forth") as live:
        live.wait_live()
        live.catch_up()
        live.pause()
        source.command("SET", "key:2", "newer")
        for words in (("replicate",), ("replicate", "--mode", "live"), ("compare", "--repair")):
            said = longhaul(*words, target.endpoint, source.endpoint).expect(TROUBLE)
            assert "is itself the target of job forth, which runs" in said.error_line
        advice = longhaul("doctor", target.endpoint, source.endpoint).expect(TROUBLE).stdout
        assert "copying back would overwrite" in " ".join(advice.split())
        said = longhaul("replicate", source.endpoint, target.endpoint).expect(TROUBLE)
        assert "job forth from" in said.error_line and "--beside forth" in said.error_line
        assert source.command("GET", "key:2") == b"newer"
        live.resume()
        live.catch_up()
        longhaul("replicate", "--beside", "forth", "--key-pattern", "key:3", source.endpoint, target.endpoint).expect(EQUAL)
        live.terminate().expect(EQUAL)
    # At rest: the same keys again are no harm, others end its record.
    longhaul("replicate", source.endpoint, target.endpoint).expect(EQUAL)
    assert len(jobs(target)) == 1
    assert "its record is removed" in longhaul("replicate", "--no-ttl", source.endpoint, target.endpoint).expect(EQUAL).stderr
    assert not jobs(target)


def test_a_state_directory_of_another_job(source: Server, target: Server, tmp_path: Path) -> None:
    """It is named, and nothing is written; the record of the first job is still there."""
    load(source)
    with Live(source, target, "--key-include", "key:1*", state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.terminate().expect(EQUAL)
    with Live(source, target, state_dir=tmp_path / "state") as live:
        said = live.wait_end().expect(TROUBLE)
    assert "belongs to job" in said.error_line and said.json["mode"] == "live"
    assert target.command("EXISTS", "key:2") == 0 and len(jobs(target)) == 1
