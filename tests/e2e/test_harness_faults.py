"""The faults of the harness: each does to a server, or to a process, as its name says, and heals."""
from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Tuple

import pytest

from harness import data, run, server_faults, wait
from harness.clock import Clock
from harness.live import Live
from harness.run import longhaul
from harness.server_faults import SmallDisk
from harness.servers import Fleet, Options, Server
from harness.turns import Turns


@pytest.fixture
def pair(fleet: Fleet) -> Iterator[Tuple[Server, Server]]:
    """A primary and its replica, in step."""
    primary, replica = fleet.server(), fleet.server()
    replica.command("REPLICAOF", "127.0.0.1", primary.port)
    wait.until(lambda: replica.admin().info("replication").get("master_link_status") == "up", "the replica to follow", 20)
    yield primary, replica


def time_of(server: Server) -> float:
    seconds, microseconds = server.command("TIME")  # type: ignore[misc]
    return int(seconds) + int(microseconds) / 1e6


def test_a_clock_steps_while_the_server_runs(fleet: Fleet, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    server = fleet.server(Options(env=clock.env))
    assert abs(time_of(server) - time.time()) < 10
    server.command("SET", "k", "v", "EX", 1000)
    clock.set(-600)
    assert abs(time_of(server) - time.time() + 600) < 10
    clock.step(1200)
    assert abs(time_of(server) - time.time() - 600) < 10
    assert server.command("PTTL", "k") < 500_000  # type: ignore[operator]
    server.restart()
    assert abs(time_of(server) - time.time() - 600) < 10


def test_a_step_forward_makes_a_key_look_idle(fleet: Fleet, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    server = fleet.server(Options(env=clock.env))
    server.command("SET", "k", "v")
    clock.set(3600)
    wait.until(lambda: server.command("OBJECT", "IDLETIME", "k") >= 3500, "the server to see the step")  # type: ignore


def test_the_clock_of_longhaul_is_shifted(source: Server, target: Server, tmp_path: Path) -> None:
    """A job records when it started by its own clock."""
    clock = Clock(tmp_path)
    clock.set(-86400)
    data.load(source, data.plain(1, 5))
    with Live(source, target, env=clock.env) as live:
        said = live.wait_live()
    assert abs(said["watermark_us"] / 1e6 - time.time() + 86400) < 600, said


def test_a_replica_is_resynchronised_in_full(pair: Tuple[Server, Server]) -> None:
    primary, replica = pair
    run_id = replica.admin().info("server")["run_id"]
    server_faults.resync_replica(primary, replica)
    assert primary.admin().info("stats")["sync_full"] >= 2
    assert replica.admin().info("server")["run_id"] == run_id


def test_a_replica_that_is_cut_off_misses_writes_until_it_follows(pair: Tuple[Server, Server]) -> None:
    primary, replica = pair
    full = primary.admin().info("stats")["sync_full"]
    with server_faults.replica_cut_off(replica):
        primary.command("SET", "k", "v")
        assert replica.command("EXISTS", "k") == 0
    wait.until(lambda: replica.command("EXISTS", "k"), "the write to arrive")
    assert primary.admin().info("stats")["sync_full"] == full


def test_settings_change_for_a_moment(fleet: Fleet) -> None:
    server = fleet.server()
    with server_faults.policy_for_a_moment(server, "allkeys-lfu"):
        assert server.command("CONFIG GET", "maxmemory-policy")[1] == b"allkeys-lfu"  # type: ignore[index]
    assert server.command("CONFIG GET", "maxmemory-policy")[1] == b"noeviction"  # type: ignore[index]
    assert server_faults.set_notifications(server, "KEA") == ""
    assert server_faults.set_notifications(server, "") == "AKE"
    server_faults.reset_statistics(server)
    assert server.admin().info("stats")["total_connections_received"] == 0


def test_keys_are_evicted_and_the_limit_is_lifted_again(fleet: Fleet) -> None:
    server = fleet.server()
    data.load(server, data.plain(1, 5000))
    gone = server_faults.evict(server)
    assert 0 < gone == 5000 - server.command("DBSIZE")  # type: ignore[operator]
    assert server.command("CONFIG GET", "maxmemory")[1] == b"0"  # type: ignore[index]


def test_a_lease_is_lost_and_a_database_is_flushed(fleet: Fleet) -> None:
    server = fleet.server()
    server.command("SET", "longhaul:{one}:lease", "1 me", "PX", 100_000)
    assert server_faults.lose_lease(server, "one") and not server_faults.lose_lease(server, "one")
    server.command("SET", "k", "v")
    server.command("SET", "k", "v", db=3)
    server_faults.flush_database(server, 3)
    assert server.command("DBSIZE", db=3) == 0 and server.command("DBSIZE") == 1


def test_a_small_disk_is_full_and_is_relieved() -> None:
    with SmallDisk(1 << 20) as disk:
        disk.fill(leave=4096)
        with pytest.raises(OSError), open(disk.path / "more", "wb") as file:
            file.write(b"x" * 65536)
            file.flush()
        disk.relieve()
        (disk.path / "more").write_bytes(b"x" * 65536)
        path = disk.path
    assert not path.exists()


# The check that follows every test (conftest.py, longhaul_is_sound)

SOUND = {"ok": ("true", ""), "assert": ("echo >&2 \"x.c:3: f: Assertion \\`n > 0' failed.\"", "Assertion"),
         "asan": ("echo >&2 '==7==ERROR: AddressSanitizer: heap-use-after-free'", "AddressSanitizer"),
         "ubsan": ("echo >&2 'src/x.c:7:3: runtime error: signed integer overflow'", "runtime error"),
         "crash": ("kill -SEGV $$", "ended by SIGSEGV"),
         "child": ("sleep 1000 &", "left processes")}


@pytest.mark.parametrize("kind", SOUND)
def test_a_broken_program_is_noticed(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, expected = SOUND[kind]
    program = tmp_path / "longhaul"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("LONGHAUL_BIN", str(program))
    monkeypatch.setattr(run, "CHILDREN_SECONDS", 0.5)
    longhaul("ping")
    problems = run.BEGUN.pop().problems()
    assert bool(problems) == bool(expected) and expected in "".join(problems), problems


def test_a_run_that_goes_on_is_noticed_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "longhaul"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("LONGHAUL_BIN", str(program))
    running = run.Running(["ping"])
    assert "still running" in run.BEGUN.pop().problems()[0]
    assert not Path(f"/proc/{running.pid}").exists()


# Round trips

@pytest.mark.parametrize("batches", [1, 3])
def test_round_trips_are_counted(source: Server, batches: int) -> None:
    """A child process asks in so many batches, each of which needs the replies of the one before."""
    script = ("import socket, sys, time\n"
              "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
              "for batch in range(int(sys.argv[2])):\n"
              "    s.sendall(b'PING\\r\\n'); time.sleep(0.02); s.sendall(b'PING\\r\\n' * 9)\n"
              "    left = 70\n"
              "    while left: left -= len(s.recv(left))\n")
    with Turns(source) as far:
        with subprocess.Popen([sys.executable, "-c", script, str(far.port), str(batches)]) as child:
            far.watch(child.pid)
            assert child.wait(60) == 0
        assert far.turns == batches
