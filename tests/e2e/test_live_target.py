"""The target is watched as the source is: keys that it evicts, or that another client flushes, make the sentence of
the watermark false, so the watermark stops and a resync follows. Keys that the job never copied stay."""
from __future__ import annotations

from typing import Callable

from typing import Tuple

import pytest

from harness import oracle, server_faults, wait
from harness.live import Live
from harness.run import longhaul
from harness.server_faults import call_unseen, reset_statistics
from harness.servers import Fleet, Server

KEYS = 1000
IDLE_S = 8  # seconds; idle times are taken with a slack
THEIRS = 900


def fill(server: Server, name: str = "key", n: int = KEYS) -> None:
    server.admin().mset({f"{name}:{i}": f"{name} {i}" for i in range(n)})


def theirs_left(server: Server) -> int:
    return int(server.command("EXISTS", *[f"mine:{i}" for i in range(THEIRS)]))  # type: ignore[call-overload]


def test_an_evicting_target_has_no_watermark_until_it_is_complete(source: Server, fleet: Fleet) -> None:
    target = fleet.server()
    fill(source)
    with Live(source, target) as live:
        live.wait_live()
        live.catch_up()
        target.command("CONFIG SET", "maxmemory-policy", "allkeys-random")
        target.command("CONFIG SET", "maxmemory", "1")
        wait.until(lambda: int(target.admin().info("stats")["evicted_keys"]) > 0, "evictions", 30)
        target.command("CONFIG SET", "maxmemory", "0")
        live.wait_status(lambda job: any("evict" in gap["why"] for gap in job["gaps"]), "the gap to be told")
        assert longhaul("status", target.endpoint, timeout=60).status == 1
        assert "evict" in live.stderr()
        live.wait_live(90)  # evictions have rested for 10 s, then everything is copied again
        oracle.assert_equal(source, target, at_least=KEYS)


def test_a_target_that_somebody_flushes_is_filled_again(source: Server, fleet: Fleet) -> None:
    target = fleet.server()
    fill(source)
    with Live(source, target) as live:
        live.wait_live()
        live.catch_up()
        target.command("FLUSHDB")
        live.wait_status(lambda job: job["gaps"] or "another client called" in live.stderr(), "the gap")
        live.wait_live(60)
        oracle.assert_equal(source, target, at_least=KEYS)


def flush_unseen(target: Server) -> None:
    call_unseen(target, "FLUSHDB")


def swap_unseen(target: Server) -> None:
    call_unseen(target, "SWAPDB", 0, 9)


def evict_unseen(target: Server) -> None:
    target.command("CONFIG SET", "maxmemory-policy", "allkeys-random")
    target.command("CONFIG SET", "maxmemory", "1")
    wait.until(lambda: int(target.admin().info("stats")["evicted_keys"]) > 0, "evictions", 30, 0.001)
    target.command("CONFIG SET", "maxmemory", "0")
    reset_statistics(target)


@pytest.mark.parametrize("lose", [flush_unseen, swap_unseen, evict_unseen], ids=lambda lose: lose.__name__)
def test_losses_that_no_counter_tells(source: Server, fleet: Fleet, lose: Callable[[Server], None]) -> None:
    """CONFIG RESETSTAT follows at once. Counters that were set back tell nothing of the time before: every key is read."""
    target = fleet.server()
    fill(source)
    with Live(source, target) as live:
        live.wait_live()
        live.catch_up()
        lose(target)
        wait.until(lambda: "gap open, resync of every key" in live.stderr() or "evict" in live.stderr(), "the gap", 30)
        live.wait_live(60)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)


def test_counters_that_are_set_back_again_and_again(source: Server, fleet: Fleet) -> None:
    """All of them are near 0 by then."""
    target = fleet.server()
    fill(source)
    with Live(source, target) as live:
        live.wait_live()
        for turn in range(1, 4):
            live.catch_up()
            call_unseen(target, "FLUSHDB")
            wait.until(lambda: live.stderr().count("gap open, resync of every key") >= turn, "the gap", 30)
            live.wait_live(60)
            live.catch_up()
            oracle.assert_equal(source, target, at_least=KEYS)


@pytest.mark.parametrize("own", ["longhaul:{job}:lease", "longhaul:{slot}:state"])
def test_a_lost_key_of_the_jobs_own_is_a_sign_of_lost_keys(source: Server, fleet: Fleet, own: str) -> None:
    target = fleet.server()
    fill(source)
    with Live(source, target, "--job", "job") as live:
        live.wait_live()
        live.catch_up()
        name = target.admin().keys(own.replace("{slot}", "*"))[0]
        assert target.command("DEL", name, "key:1") == 2
        wait.until(lambda: "is gone from the target" in live.stderr(), "the gap", 30)
        live.wait_live(60)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)


@pytest.mark.parametrize("older", [KEYS, KEYS // 2])
def test_a_target_that_loads_older_data_within_its_process(source: Server, fleet: Fleet, older: int) -> None:
    target = fleet.server()
    fill(source, n=older)
    with Live(source, target) as live:
        live.wait_live()
        live.catch_up()
        target.command("SAVE")
        source.admin().mset({f"key:{i}": "new" for i in range(KEYS)})
        live.catch_up()
        target.command("DEBUG", "RELOAD", "NOSAVE")
        wait.until(lambda: "gap open, resync of every key" in live.stderr(), "the gap", 30)
        live.wait_live(60)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS)


def test_swapped_end_points_lose_nothing(fleet: Fleet) -> None:
    """The source is nearly empty, the target full of somebody's keys; killed, restarted, cut off: all of them stay."""
    source, target = fleet.server(), fleet.server()
    fill(target, "mine", THEIRS)
    source.command("SET", "one", "1")
    with Live(source, target, "--lease", "2s") as live:
        live.wait_status(lambda job: job["holds"] and job["copied_once"], "the hold")
        assert live.status()["holds"][0]["deletions"] == THEIRS
        assert longhaul("status", target.endpoint, timeout=60).status == 1
        live.kill9()
        live.start()
        live.wait_status(lambda job: job["copied_once"] and not job["gaps"], "the restart to be over")
        source.command("CLIENT", "KILL", "TYPE", "pubsub")
        source.command("SET", "two", "2")
        wait.until(lambda: target.command("EXISTS", "two"), "the change", 30)
        live.wait_status(lambda job: not job["gaps"], "the gap to be closed")
        assert theirs_left(target) == THEIRS
        held = live.status()["holds"]
        assert len(held) == 1 and held[0]["deletions"] == THEIRS
        live.release().expect(0)
        wait.until(lambda: theirs_left(target) == 0, "the released deletions", 30)
        live.wait_status(lambda job: not job["holds"], "no hold")
        oracle.assert_equal(source, target, at_least=2)


def test_extra_keys_may_be_kept(fleet: Fleet) -> None:
    source, target = fleet.server(), fleet.server()
    fill(target, "mine", THEIRS)
    fill(source)
    with Live(source, target, "--extra", "keep", "--lease", "2s") as live:
        live.wait_live()
        assert not live.status()["holds"]
        assert longhaul("status", target.endpoint, timeout=60).status == 0
        live.kill9()
        source.admin().delete(*[f"key:{i}" for i in range(10)])
        live.start()
        live.catch_up()
        live.wait_live()
        assert theirs_left(target) == THEIRS
        assert target.command("EXISTS", *[f"key:{i}" for i in range(10)]) == 0  # deletions of the gap are made


def test_extra_keys_may_be_deleted(fleet: Fleet) -> None:
    source, target = fleet.server(), fleet.server()
    fill(target, "mine", THEIRS)
    fill(source)
    with Live(source, target, "--extra", "delete") as live:
        live.wait_live()
        oracle.assert_equal(source, target, at_least=KEYS)


@pytest.mark.parametrize("decision, left", [("keep", THEIRS), ("delete", 0)])
def test_a_later_start_decides_about_held_extra_keys(fleet: Fleet, decision: str, left: int) -> None:
    source, target = fleet.server(), fleet.server()
    fill(target, "mine", THEIRS)
    fill(source)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_status(lambda job: job["holds"], "the hold")
        live.catch_up()
        live.terminate()
        live.args = (*live.args, "--extra", decision)
        live.start()
        live.wait_status(lambda job: not job["holds"], "the decision")
        live.catch_up()
        wait.until(lambda: theirs_left(target) == left, "the deletions", 30)
        assert longhaul("status", target.endpoint, timeout=60).status == 0


@pytest.mark.parametrize("options", [(), ("--extra", "keep")], ids=["hold", "keep"])
def test_deletions_are_held_while_the_list_of_extra_keys_is_lost(fleet: Fleet, options: Tuple[str, ...]) -> None:
    """Another program deleted it while no job ran: whose keys are missing nobody knows, so nothing is called complete."""
    source, target = fleet.server(), fleet.server()
    fill(target, "mine", THEIRS)
    fill(source)
    gone = [f"key:{i}" for i in range(10)]
    with Live(source, target, "--job", "j", "--lease", "2s", *options) as live:
        live.catch_up()
        live.kill9()
        assert target.command("DEL", "longhaul:{j}:extra") == 1
        source.admin().delete(*gone)
        live.start()
        live.wait_status(lambda job: any(hold["deletions"] == THEIRS + 10 for hold in job["holds"]), "the hold")
        assert target.command("EXISTS", *gone) == 10 and theirs_left(target) == THEIRS
        assert longhaul("status", target.endpoint, timeout=60).status == 1
        if not options:
            return
        live.release().expect(0)
        wait.until(lambda: target.command("EXISTS", *gone) == 0 and theirs_left(target) == 0, "the deletions", 60)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=KEYS - 10)


def test_the_guard_counts_extra_keys_that_are_to_be_deleted(fleet: Fleet) -> None:
    """A source that has come back empty, and a new job with --extra delete: nothing goes until an operator says so."""
    source, target = fleet.server(), fleet.server()
    fill(target, "mine", 3000)
    fill(source, n=10)
    with Live(source, target, "--extra", "delete", "--lease", "2s") as live:
        hold = live.wait_status(lambda job: job["holds"], "the hold")["holds"][0]
        assert hold["deletions"] == 3000 and hold["seen"] >= 3000
        live.kill9()
        live.start()
        live.wait_status(lambda job: job["phase"] == "held", "the hold after a restart")
        assert target.command("EXISTS", *[f"mine:{i}" for i in range(3000)]) == 3000
        live.release().expect(0)
        wait.until(lambda: target.command("EXISTS", *[f"mine:{i}" for i in range(3000)]) == 0, "the deletions", 60)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=10)


def test_a_flush_of_another_database_releases_no_hold(fleet: Fleet) -> None:
    source, target = fleet.server(), fleet.server()
    fill(source, n=3000)
    with Live(source, target, "--lease", "2s") as live:
        live.wait_live()
        live.catch_up()
        source.kill9()
        source.revive()  # without its data
        live.wait_status(lambda job: job["holds"], "the hold")
        hold = live.status()["holds"][0]
        source.command("SET", "x", "1", db=9)
        source.command("FLUSHDB", db=9)
        source.command("SET", "after", "1")
        wait.until(lambda: target.command("EXISTS", "after"), "the change", 30)
        live.wait_status(lambda job: job["updated_us"] > 0 and job["holds"], "the hold to stay")
        assert live.status()["holds"][0]["id"] == hold["id"]
        assert int(target.command("DBSIZE")) >= 3000  # type: ignore[call-overload]
        live.kill9()
        live.start()
        again = live.wait_status(lambda job: job["phase"] == "held", "the hold after a restart")
        assert again["holds"][0]["id"] == hold["id"] and again["holds"][0]["deletions"] == hold["deletions"]
        live.release().expect(0)
        wait.until(lambda: target.command("EXISTS", *[f"key:{i}" for i in range(3000)]) == 0, "the deletions", 60)


@pytest.mark.parametrize("seen", [True, False], ids=["while-it-runs", "while-it-is-away"])
def test_evictions_of_the_target_outlive_a_restart(source: Server, fleet: Fleet, seen: bool) -> None:
    """Evictions whose gap was still open when longhaul was killed, and such as it never saw: the next start copies the keys
    again, though nobody has accessed them since the watermark."""
    target = fleet.server()
    with source.wire() as wire:
        wire.batch([("SET", f"key:{i}", f"value {i}", "EX", 36000) for i in range(KEYS)])
    with Live(source, target, "--lease", "1s") as live:
        live.wait_live()
        wait.until(lambda: source.command("OBJECT IDLETIME", "key:0") >= IDLE_S, "keys that were not accessed lately", 60)
        live.catch_up()
        if not seen:
            live.kill9()
        server_faults.evict(target, "volatile-random")  # not the record
        if seen:
            live.wait_status(lambda job: any("evict" in gap["why"] for gap in job["gaps"]), "the gap to be recorded")
            live.kill9()
        live.start()
        pid = str(live.process.pid)
        live.wait_status(lambda job: job["owner"].split(":")[1] == pid and job["phase"] == "live" and not job["gaps"],
                         "the gap to be closed", 90)
        oracle.assert_equal(source, target, at_least=KEYS)
