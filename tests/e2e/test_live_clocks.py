"""Clocks, saves, policies and counters that deceive idle times: after a gap every change is there, and where nothing
deceives, keys that were not accessed are left out."""
from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict

import pytest

from harness import oracle, wait
from harness.clock import Clock
from harness.live import Live, now_us
from harness.server_faults import call_unseen, policy_for_a_moment, reset_statistics
from harness.servers import Fleet, Options, Server

KEYS = 2000
CHANGED = 300


def fill(server: Server) -> None:
    server.admin().mset({f"key:{i}": "old" for i in range(KEYS)})


def change(server: Server) -> None:
    server.admin().mset({f"key:{i}": "new" for i in range(CHANGED)})
    server.admin().delete(*[f"key:{i}" for i in range(CHANGED, CHANGED + 20)])


def idle_for(server: Server, seconds: int) -> None:
    """Until keys that nobody accesses are idle for so long: the idle-time filter has a slack of seconds."""
    wait.until(lambda: server.command("OBJECT IDLETIME", f"key:{KEYS - 1}") >= seconds, "idle keys", 60)


def wait_resynced(live: Live, before: Dict[str, Any]) -> None:
    """The process that was started after `before` has closed its gap; by no clock."""
    live.wait_status(lambda job: job["epoch"] > before["epoch"] and job["phase"] == "live" and not job["gaps"],
                     "the gap to be closed")


def save(server: Server) -> None:
    before = server.admin().info("persistence")["rdb_last_save_time"]
    server.command("BGSAVE")
    wait.until(lambda: not server.admin().info("persistence")["rdb_bgsave_in_progress"] and
               server.admin().info("persistence")["rdb_last_save_time"] >= before, "the save", 30)


def by_policy(server: Server) -> ContextManager[None]:
    return policy_for_a_moment(server, "allkeys-lfu")


def forget_the_save(server: Server) -> ContextManager[None]:
    save(server)
    change(server)
    save(server)
    reset_statistics(server)
    return nullcontext()


DECEIVERS: Dict[str, Callable[[Server], ContextManager[None]]] = {
    "lfu for a moment": by_policy,
    "resetstat after a save": forget_the_save,
}


@pytest.mark.parametrize("how", DECEIVERS)
def test_changes_of_a_gap_are_found_whatever_deceives(fleet: Fleet, target: Server, how: str) -> None:
    source = fleet.server()
    fill(source)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_live()
        live.catch_up()
        live.kill9()
        with DECEIVERS[how](source):
            change(source)
        live.start()
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS - 20)


@pytest.mark.parametrize("step", [-30, 30, -3600])
def test_the_sources_clock_steps_in_a_gap(fleet: Fleet, target: Server, tmp_path: Path, step: int) -> None:
    clock = Clock(tmp_path)
    source = fleet.server(Options(env=clock.env))
    fill(source)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_live()
        before = live.catch_up()
        live.kill9()
        change(source)
        clock.step(step)
        live.start()
        wait_resynced(live, before)
        oracle.assert_equal(source, target, at_least=KEYS - 20)


@pytest.mark.parametrize("step", [-30, 30])
def test_the_watermark_was_written_by_another_clock(source: Server, target: Server, tmp_path: Path, step: int) -> None:
    """A standby on a machine whose clock is wrong, or this machine after NTP has set it."""
    clock = Clock(tmp_path)
    fill(source)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_live()
        before = live.catch_up()
        live.kill9()
    change(source)
    clock.set(step)
    with Live(source, target, "--lease", "2s", env=clock.env) as other:
        wait_resynced(other, before)
        oracle.assert_equal(source, target, at_least=KEYS - 20)


def test_keys_that_nobody_accessed_are_left_out(fleet: Fleet, target: Server) -> None:
    """Nothing deceives: the resync after a restart copies the few keys that changed, not all."""
    source = fleet.server()
    fill(source)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_live()
        live.catch_up()
        idle_for(source, 8)
        live.catch_up()
        first = live.terminate().expect(0)
        change(source)
        live.start()
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS - 20)
        second = live.terminate()
        copied = second.json["facts"]["copied"] - first.json["facts"]["copied"]
        assert "keys accessed since the gap began" in live.stderr(), live.stderr()
        assert CHANGED <= copied < KEYS // 2, f"{copied} keys were copied again"


@pytest.mark.parametrize("capture", ["tracking", "notifications"])
def test_a_reset_of_the_counters_hides_no_swap(fleet: Fleet, target: Server, capture: str) -> None:
    """SWAPDB, which no capture announces, and CONFIG RESETSTAT between two samples."""
    source = fleet.server(Options(config={"notify-keyspace-events": "AE"}))
    fill(source)
    source.admin(1).mset({f"key:{i}": "of database 1" for i in range(0, KEYS, 2)})
    with Live(source, target, "--databases", "0,1", "--capture", capture) as live:
        live.wait_live()
        live.catch_up()
        with source.wire() as wire:
            wire.batch([("MULTI",), ("SWAPDB", 0, 1), ("CONFIG", "RESETSTAT"), ("EXEC",)])
        live.wait_watermark(now_us() + 2_000_000)
        for db in (0, 1):
            oracle.assert_equal(source, target, db=db, at_least=KEYS // 2)


def test_a_reset_of_the_counters_hides_no_flush_of_the_target(fleet: Fleet, source: Server) -> None:
    """Another client has flushed it before, then the counter is set back and rises again."""
    target = fleet.server()
    for _ in range(3):
        target.command("FLUSHDB", db=9)
    fill(source)
    with Live(source, target) as live:
        live.wait_live()
        live.catch_up()
        with target.wire() as wire:
            wire.batch([("CONFIG", "RESETSTAT"), ("FLUSHDB",)])
        live.wait_watermark(now_us() + 2_000_000)
        oracle.assert_equal(source, target, at_least=KEYS)


def test_a_swap_that_no_counter_tells(fleet: Fleet, target: Server) -> None:
    """CONFIG RESETSTAT follows at once, three times: all counters are near 0 by then."""
    source = fleet.server()
    fill(source)
    source.admin(1).mset({f"key:{i}": "other" for i in range(KEYS)})
    with Live(source, target, "--databases", "all") as live:
        live.wait_live()
        for turn in range(1, 4):
            live.catch_up()
            call_unseen(source, "SWAPDB", 0, 1)
            wait.until(lambda: live.stderr().count("SWAPDB cannot be excluded") >= turn, "the gap", 30)
            live.catch_up()
            for db in (0, 1):
                oracle.assert_equal(source, target, db=db, at_least=KEYS)


@pytest.mark.parametrize("capture", ["tracking", "notifications"])
def test_a_source_that_loads_older_data_within_its_process(fleet: Fleet, target: Server, capture: str) -> None:
    source = fleet.server(Options(config={"notify-keyspace-events": "AE"}))
    source.admin().mset({f"key:{i}": "old" for i in range(KEYS)})
    with Live(source, target, "--capture", capture) as live:
        live.wait_live()
        source.command("SAVE")
        change(source)
        live.catch_up()
        source.command("DEBUG", "RELOAD", "NOSAVE")
        wait.until(lambda: "loaded its data anew" in live.stderr(), "the gap", 30)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)
