"""The sentence of the watermark, fault by fault: whenever it has passed a moment, every write that the source acknowledged
before that moment is on the target. Scans are slowed down, so that a watermark that comes too early is seen to."""
from __future__ import annotations

import time
from pathlib import Path
from typing import List

import pytest
from harness import cluster, oracle, wait
from harness.live import Live, now_us
from harness.run import EQUAL
from harness.servers import Fleet, Options, Server
from harness.wire import slot_of

POLL = ("--poll", "250ms")
LONG_LEASE = ("--lease", "60s")  # for jobs that are paused
SLOW_SCANS = ("--scan-count", "100", "--sleep", "200ms")
KEYS = 1000


def fill(server: Server, value: str) -> None:
    server.admin().mset({f"k:{i}": value for i in range(KEYS)})


def assert_true_after(live: Live, source: oracle.Deployment, target: oracle.Deployment, moment_us: int) -> None:
    """Nothing is written meanwhile: the first watermark behind the moment must be one of an equal target."""
    live.wait_watermark(moment_us, 90)
    oracle.assert_equal(source, target, at_least=KEYS)


def test_changes_of_a_gap_are_behind_the_watermark(source: Server, target: Server) -> None:
    """The gap begins when the job was last known to hear everything, not when it finds out; and nothing that is heard
    after the gap moves the watermark while the gap is open."""
    fill(source, "older")
    with Live(source, target, *POLL, *LONG_LEASE, *SLOW_SCANS) as live:
        live.wait_live(60)
        live.catch_up()
        live.pause()
        source.command("CLIENT KILL", "TYPE", "pubsub")
        paused_us = now_us()
        fill(source, "newer")
        written = time.monotonic()
        wait.until(lambda: time.monotonic() > written + 1, "the gap to be longer than a barrier takes")
        live.resume()
        assert_true_after(live, source, target, paused_us)


def test_changes_while_no_job_ran_are_behind_the_watermark(source: Server, target: Server, tmp_path: Path) -> None:
    """The next process begins where the former one was last known to hear everything."""
    fill(source, "older")
    with Live(source, target, *POLL, "--lease", "1s", *SLOW_SCANS, state_dir=tmp_path / "state") as live:
        live.wait_live(60)
        live.catch_up()
        live.kill9()
        killed_us = now_us()
        fill(source, "newer")
        live.start()
        assert_true_after(live, source, target, killed_us)


@pytest.mark.parametrize("command", [("FLUSHDB",), ("FLUSHALL",), ("SWAPDB", 0, 9)], ids=lambda command: command[0])
def test_what_others_do_to_the_target_takes_the_watermark_back(source: Server, fleet: Fleet, command: List[object]) -> None:
    target = fleet.server()
    fill(source, "value")
    with Live(source, target, *POLL, *SLOW_SCANS) as live:
        live.wait_live(60)
        live.catch_up()
        before_us = now_us()
        target.command(*command)  # type: ignore[arg-type]
        live.wait_status(lambda job: job["gaps"], "the gap")
        assert_true_after(live, source, target, before_us)


def test_names_beyond_the_memory_are_found_again(source: Server, target: Server) -> None:
    """Names of changes that wait for a target which takes no writes are dropped at the bound; their slots are not."""
    fill(source, "older")
    with Live(source, target, *POLL, "--threads", 1, "--buffer-memory", "4MB") as live:
        live.wait_live()
        target.command("CLIENT PAUSE", 60_000, "WRITE")
        for first in range(0, 60_000, 1000):
            source.admin().mset({f"{'name' * 25}:{i}": "value" for i in range(first, first + 1000)})
        written_us = now_us()
        began = time.monotonic()
        wait.until(lambda: time.monotonic() > began + 1, "the names to be heard")
        target.command("CLIENT UNPAUSE")
        live.wait_status(lambda job: job["watermark_us"] > written_us, "the watermark to pass", 90)
        oracle.assert_equal(source, target, at_least=61_000)


def test_a_slot_that_moves_to_an_unknown_server(fleet: Fleet, target: Server) -> None:
    """Until the topology is asked anew nobody listens to that server: then a gap is opened, and its changes are found."""
    source = cluster.build(fleet, 3)
    spare = fleet.server(Options(cluster=True))
    spare.command("CLUSTER MEET", "127.0.0.1", source.nodes[0].port, source.nodes[0].bus_port)
    source.nodes.append(spare)
    source.wait_ready(3)
    names = [f"moves:{i}" for i in range(5)]
    for name in names:
        source.client_for(name.encode()).set(name, "older")
    with Live(source, target, *POLL) as live:
        live.wait_live()
        live.catch_up()
        for name in names:
            source.migrate(slot_of(name.encode()), spare)
            spare.command("SET", name, "newer")
            spare.command("SET", fresh(name), "new")  # which no server has announced
        wait.until(lambda: "slots moved to a server that was not listened to" in live.stderr() or any(
            "slots moved" in gap["why"] for gap in live.status()["gaps"]) or target.admin().mget(map(fresh, names)) ==
            [b"new"] * len(names), "the move to be noticed", 30)
        live.wait_live(60)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=2 * len(names))


def fresh(name: str) -> str:
    """Another key of the same slot."""
    return "{%s}:fresh" % name


def test_a_later_change_is_not_behind_an_earlier_question(source: Server, target: Server) -> None:
    """The watermark is the time at which a question was sent, not at which all before it was found to be applied: changes
    come faster than they may be copied, so that there are always some behind the one that was copied last."""
    acknowledged: List[int] = []
    with Live(source, target, *POLL, "--rate", 4) as live:
        source.command("SET", "first", "1")
        live.wait_live()
        while len(acknowledged) < 20 or not target.command("EXISTS", "k:19"):
            if len(acknowledged) < 20:
                source.command("SET", f"k:{len(acknowledged)}", "1")
                acknowledged.append(now_us())
            said_us = live.watermark_us()
            missing = [i for i, us in enumerate(acknowledged) if us < said_us and not target.command("EXISTS", f"k:{i}")]
            assert not missing, f"{missing} are behind the watermark and not there"


def test_a_stop_without_the_target_claims_nothing(fleet: Fleet, source: Server, tmp_path: Path) -> None:
    """A target that does not answer may have lost what it had acknowledged: nobody says that all of it is there."""
    target = fleet.server()
    fill(source, "value")
    with Live(source, target, *POLL, "--timeout", "1s", state_dir=tmp_path / "state") as live:
        live.wait_live()
        live.catch_up()
        target.kill9()
        wait.until(lambda: live.status_of_directory()["trouble"], "the job to miss its target", 30)
        assert live.terminate(seconds=90).status != EQUAL
