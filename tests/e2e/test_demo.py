"""demo: ends well, ends well when it is interrupted, and leaves nothing behind."""
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import List

import pytest
import redis

from harness import wait
from harness.run import DIFFERENT, EQUAL, TROUBLE, Running, longhaul


def processes_below(directory: Path) -> List[int]:
    """Processes that work in there, as the demo's servers do (--dir)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.readlink(entry / "cwd").startswith(f"{directory}/"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def gone(directory: Path) -> bool:
    return not processes_below(directory) and not list(directory.iterdir())


@pytest.mark.timeout(180)
def test_as_json(tmp_path: Path) -> None:
    said = longhaul("demo", "--keys", 2000, "--output", "json", env={"TMPDIR": str(tmp_path)}, timeout=120).expect(EQUAL).json
    assert said["equal"] and said["changes_found_exactly"] and said["changed"] >= 7
    check = said["check"]
    assert check["source_keys"] == check["target_keys"] <= 2010 and 1 <= check["own_keys"] <= 5
    assert check["sampled"] == check["equal"] > 500
    assert said["replicate"]["exit_status"] == said["compare"]["exit_status"] == 0
    assert said["differences"]["exit_status"] == 1
    assert said["status"]["jobs"][0]["alive"] and said["arrived_ms"] < 5000
    assert said["replicate"]["live"]["gaps"] == 1, "killed once"
    assert gone(tmp_path)


@pytest.mark.timeout(180)
def test_the_shown_command_lines_can_be_typed(tmp_path: Path) -> None:
    with Running(["demo", "--keys", "1000", "--keep"], env={"TMPDIR": str(tmp_path)}) as running:
        result = running.wait(120).expect(EQUAL)
    servers = processes_below(tmp_path)
    try:
        assert len(servers) == 2
        commands = [line[2:].split() for line in result.stdout.splitlines() if line.startswith("$ longhaul ")]
        assert [words[1] for words in commands] == ["replicate", "status", "replicate", "compare", "compare"]
        assert commands[0] == commands[2] and commands[0][-1] == "&"
        sides = [redis.Redis(port=int(endpoint.rpartition(":")[2])) for endpoint in commands[0][2:4]]
        # Keys that were removed on the source at the end are still on the target.
        own = len(sides[1].keys("longhaul:{*"))
        assert own > 0 and sides[0].dbsize() > 500 and sides[1].get("demo:new") is None
        assert longhaul(*commands[3][1:]).status == DIFFERENT
        # The job goes on, and mends it.
        again = longhaul(*commands[0][1:-1], "--idle-timeout", "100ms")
        assert again.status == EQUAL, again
        assert sides[1].get("demo:new") is not None and sides[1].dbsize() - own == sides[0].dbsize()
    finally:
        for server in servers:
            os.kill(server, signal.SIGKILL)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("number, after", [(signal.SIGINT, "Two servers"), (signal.SIGTERM, "--mode live"),
                                           (signal.SIGTERM, "kill -9"), (signal.SIGINT, "$ longhaul compare")])
def test_interrupted(tmp_path: Path, number: signal.Signals, after: str) -> None:
    with Running(["demo", "--keys", "30000"], env={"TMPDIR": str(tmp_path)}) as running:
        output = f"/proc/self/fd/{running._out.fileno()}"
        wait.until(lambda: after in Path(output).read_text(), after, 60)
        running.signal(number)
        result = running.wait(30)
    assert result.status == TROUBLE, result
    wait.until(lambda: gone(tmp_path), "the end of the servers")


@pytest.mark.timeout(180)
def test_killed_it_takes_its_servers_with_it(tmp_path: Path) -> None:
    with Running(["demo"], env={"TMPDIR": str(tmp_path)}) as running:
        wait.until(lambda: len(processes_below(tmp_path)) == 2, "both servers", 30)
        running.signal(signal.SIGKILL)
        running.wait(10)
    wait.until(lambda: not processes_below(tmp_path), "the end of the servers")


def test_no_server_installed() -> None:
    line = longhaul("demo", env={"PATH": "/nonexistent"}).expect(TROUBLE).error_line
    assert "apt-get install" in line


def test_what_is_set_for_other_runs_does_not_reach_its_steps(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path), "LONGHAUL_SOURCE_PASS": "wrong", "LONGHAUL_COMPARE": "none"}
    longhaul("demo", "--keys", 500, env=env, timeout=100).expect(EQUAL)
