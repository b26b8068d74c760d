"""Writers of every command family, faults on everything, and both sides equal in the end; see chaos/__init__.py."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Type

import pytest

from chaos.job import Job, OneCopy
from chaos.plan import CAPTURES, PAIRS, Plan, draw
from chaos.play import Run
from harness import wait
from harness.live import now_us
from harness.servers import Server

FAULTS = 4
IN_ROLES = [(pair, capture) for pair in ("standalone-standalone", "standalone-cluster", "cluster-standalone",
                                         "cluster-cluster") for capture in ("tracking", "notifications")]
WATCHED = [("sentinel-standalone", "auto"), ("standalone-sentinel", "tracking")]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed, pair, capture", [(number + 1, *which) for number, which in enumerate(IN_ROLES + WATCHED)])
def test_equal_after_chaos(seed: int, pair: str, capture: str, tmp_path: Path) -> None:
    play(draw(seed, pair, capture, FAULTS), tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 130))
def test_equal_after_more_chaos(seed: int, tmp_path: Path) -> None:
    play(draw(seed, faults=6), tmp_path)


def play(plan: Plan, directory: Path, job: Type[Job] = Job) -> None:
    print(plan)
    Run(plan, directory, print, job).go()


# The worth of the chaos test: it has to see planted faults.

def test_a_seed_means_one_plan() -> None:
    assert str(draw(5)) == str(draw(5)) != str(draw(6))
    assert draw(5, PAIRS[0], CAPTURES[0]).rows == draw(5, PAIRS[0], CAPTURES[1]).rows


def _copy_without(spoil: Callable[[Server], object]) -> Type[Job]:
    class Spoiled(OneCopy):
        def caught_up(self, moment: float) -> bool:
            done = super().caught_up(moment)
            if done:
                spoil(self.sides[1].primaries()[0])
            return done
    return Spoiled


def _first(server: Server, kind: bytes) -> bytes:
    return next(key for key in server.admin().scan_iter(b"*", 1000, _type=kind))


SPOILS = {
    "missing": lambda server: server.admin().unlink(server.admin().randomkey()),
    "extra": lambda server: server.admin().set("an extra key", 1),
    "value": lambda server: server.admin().append(_first(server, b"string"), "more"),
    "ttl": lambda server: server.admin().expire(_first(server, b"list"), 5000),
    "group": lambda server: server.admin().xgroup_create(_first(server, b"stream"), "planted", 0),
    "function": lambda server: server.admin().execute_command("FUNCTION", "FLUSH"),
}


@pytest.mark.parametrize("kind", SPOILS)
def test_chaos_finds_what_differs(kind: str, tmp_path: Path) -> None:
    plan = draw(1, "standalone-standalone", "tracking", faults=0)
    plan.options = []
    with pytest.raises(AssertionError, match=f"keys differ at the watermark.*kind='{kind}'"):
        play(plan, tmp_path, _copy_without(SPOILS[kind]))


def test_chaos_sees_a_counter_go_back(tmp_path: Path) -> None:
    seen: List[Run] = []

    def turn_back(server: Server) -> None:
        seen[0].reader._judge(b"count:{t1}:1", 1 << 40)
        seen[0].reader._judge(b"count:{t1}:1", (1 << 40) - 1)
    run = Run(draw(1, "standalone-standalone", "tracking", faults=0), tmp_path, print, _copy_without(turn_back))
    seen.append(run)
    with pytest.raises(AssertionError, match="went backwards on the target"):
        run.go()


def test_chaos_sees_a_watermark_that_is_not_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that was acknowledged before the watermark and is not on the target, at two looks."""
    monkeypatch.setattr("chaos.truth.GRACE_S", 0.0)

    class Boasting(OneCopy):
        def start(self) -> "Boasting":
            wait.until(lambda: run.truth.looks > 3, "the checker to look twice while nothing is copied")
            return self

        def status(self) -> Dict[str, Any]:
            return {"watermark_us": now_us() + 10_000_000}
    run = Run(draw(2, "standalone-standalone", "tracking", faults=0), tmp_path, print, Boasting)
    with pytest.raises(AssertionError, match="the watermark was not true: .*is None on the target"):
        run.go()
