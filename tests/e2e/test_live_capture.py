"""Capture: every way in which data change (harness/changes.py) reaches the target, by either kind of capture, on every
version of the servers.

A row of the table is done while longhaul is stopped (SIGSTOP), so that it is seen to make a difference first. Jobs that
poll only once a minute show that capture tells of a change; changes that only a poll finds are left to jobs that poll
often.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterator, List, Tuple

import pytest

from conftest import Deployments
from harness import cluster, data, elasticache, oracle, wait
from harness.changes import CHANGES, NOTIFICATIONS, TRACKING, Change, wait_same, what_differs
from harness.live import Live
from harness.run import TROUBLE, Running, replicate_args
from harness.servers import Fleet, Options, Server
from test_matrix import VERSIONS

CAPTURES = [TRACKING, NOTIFICATIONS]
NOTIFYING = {"notify-keyspace-events": "KEA"}
SELDOM, OFTEN = "60s", "250ms"
# Every change of a test may be most of the data: the guard has tests of its own.
ARGS = ("--databases", "all", "--max-delete", 100)


@dataclass
class Pair:
    source: Server
    target: Server
    live: Live


class Pairs:
    """A job of each kind on servers of its own, made when asked for and kept for the module."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._made: Dict[Tuple[str, str], Pair] = {}
        self._shared: List[Running] = []

    def get(self, capture: str, poll: str) -> Pair:
        if (capture, poll) not in self._made or not self._made[capture, poll].live.alive:
            source = self._fleet.server(Options(config=dict(NOTIFYING) if capture == NOTIFICATIONS else {}))
            target = self._fleet.server()
            source.admin().set("bystander", "value")
            live = Live(source, target, "--capture", capture, "--poll", poll, *ARGS)
            assert live.running
            self._shared.append(live.running.outlives_its_test())
            self._made[capture, poll] = Pair(source, target, live)
            live.wait_live()
        return self._made[capture, poll]

    def end(self) -> None:
        for pair in self._made.values():
            pair.live.__exit__()
        problems = [problem for each in self._shared for problem in each.problems()]
        assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    fleet = Fleet(tmp_path_factory.mktemp("capture"))
    made = Pairs(fleet)
    yield made
    made.end()
    fleet.end()


def follow(pair: Pair, change: Change) -> None:
    """The row's change arrives, and was one."""
    if not change.on(pair.source):
        pytest.skip(f"{pair.source.binary.name} cannot do this")
    row = f"{change.name}:"
    change.prepare(pair.source)
    wait_same(pair.source, pair.target, f"what {change.name} begins with", 10, row, lambda: pair.live.alive)
    pair.live.pause()
    try:
        change.do(pair.source)
        assert what_differs(pair.source, pair.target, row), "it changes nothing"
    finally:
        pair.live.resume()
    wait_same(pair.source, pair.target, f"{change.name} to arrive", 5, row, lambda: pair.live.alive)


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_change_arrives(pairs: Pairs, capture: str, change: Change) -> None:
    if capture == NOTIFICATIONS and change.name in ("pfcount-writes-its-cache", "vadd"):
        pytest.skip("neither notifications nor looking now and then can tell of it; tracking does")
    follow(pairs.get(capture, OFTEN if capture in change.polled else SELDOM), change)


@pytest.mark.parametrize("capture", CAPTURES)
def test_flushall_is_an_order(pairs: Pairs, capture: str) -> None:
    """On a running source; also where it is the whole of the data."""
    pair = pairs.get(capture, OFTEN)
    pair.source.admin().mset({f"flushed:{i}": i for i in range(500)})
    pair.source.command("SET", "flushed", "value", db=3)
    wait_same(pair.source, pair.target, "the keys to arrive")
    pair.source.admin().flushall()
    pair.source.admin().set("after", "value")
    wait_same(pair.source, pair.target, "the flush to arrive")
    assert oracle.count(pair.source) == 1 and not pair.live.status()["holds"]


@pytest.mark.matrix
@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "installed"])
def test_changes_arrive_on(matrix: Dict[str, Server], fleet: Fleet, version: str, capture: str) -> None:
    """The whole table at once on a version of the matrix."""
    binary = matrix[version].binary
    source = fleet.server(Options(config=dict(NOTIFYING) if capture == NOTIFICATIONS else {}), binary)
    target = fleet.server(binary=binary)
    rows = [change for change in CHANGES if change.on(source) and not (
        capture == NOTIFICATIONS and change.name in ("pfcount-writes-its-cache", "vadd"))]
    for change in rows:
        change.prepare(source)
    with Live(source, target, "--capture", capture, "--poll", OFTEN, *ARGS) as live:
        live.wait_live()
        wait_same(source, target, "the first copy", alive=lambda: live.alive)
        for change in rows:
            change.do(source)
        wait_same(source, target, "every change", 20, alive=lambda: live.alive)
        assert live.status()["given_up"] == 0


# Between other shapes

@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("shapes", [("cluster", "standalone"), ("standalone", "cluster"), ("cluster", "cluster")],
                         ids=lambda shapes: "-to-".join(shapes))
def test_changes_of_a_cluster_arrive(fleet: Fleet, deployments: Deployments, shapes: Tuple[str, str],
                                     capture: str) -> None:
    options = Options(config=dict(NOTIFYING) if capture == NOTIFICATIONS else {})
    source = cluster.build(fleet, 3, 0, options) if shapes[0] == "cluster" else fleet.server(options)
    target = deployments.get("target", shapes[1])
    keys = data.load(source, data.many(301, 2000))
    with Live(source, target, "--capture", capture, "--poll", OFTEN) as live:
        live.wait_live()
        oracle.assert_equal(source, target, at_least=keys)
        data.load(source, data.mixed(302, 500, b"later:"))
        for node in source.primaries():
            some = [key for key in node.admin().scan_iter(count=100)][:50]
            for key in some:
                node.admin().delete(key)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=keys)


# Evictions

@pytest.mark.parametrize("capture", CAPTURES)
def test_evicted_keys_go_on_the_target_too(fleet: Fleet, target: Server, capture: str) -> None:
    source = fleet.server(Options(config={**NOTIFYING, "maxmemory-policy": "allkeys-random"}))
    source.admin().mset({f"k:{i}": "v" * 500 for i in range(4000)})
    with Live(source, target, "--capture", capture, *ARGS) as live:
        live.wait_live()
        source.admin().config_set("maxmemory", source.admin().info("memory")["used_memory"] - 500_000)
        wait.until(lambda: source.admin().set("one", "more") and source.admin().info("stats")["evicted_keys"] > 100,
                   "keys to be evicted")
        source.admin().config_set("maxmemory", 0)
        live.catch_up()
        oracle.assert_equal(source, target, at_least=100)


# Databases

@pytest.mark.parametrize("capture", CAPTURES)
def test_only_the_database_that_is_named(fleet: Fleet, target: Server, capture: str) -> None:
    """Tracking names keys without their database."""
    source = fleet.server(Options(config=dict(NOTIFYING)))
    source.command("SET", "k", "zero", db=0)
    source.command("SET", "k", "three", db=3)
    with Live(source, target, "--capture", capture) as live:
        live.wait_live()
        source.command("SET", "k", "other", db=3)
        source.command("SET", "only", "other", db=3)
        source.command("DEL", "k", db=0)
        live.catch_up()
        assert oracle.count(target, db=3) == 0
        oracle.assert_equal(source, target, at_least=0)


# Settings that the source must have

def notifications_refused(source: Server, target: Server, *args: object) -> str:
    """The error when notifications do not come."""
    with Running([*replicate_args(source, target, "--mode", "live", "--capture", NOTIFICATIONS), *map(str, args)]) as run:
        return run.wait(20).expect(TROUBLE).error_line


def test_notifications_are_off(fleet: Fleet, target: Server) -> None:
    source = fleet.server()
    said = notifications_refused(source, target)
    assert "notify-keyspace-events" in said
    assert source.admin().config_get("notify-keyspace-events")["notify-keyspace-events"] == "", "it was changed"


def test_notifications_are_off_and_config_is_refused(fleet: Fleet, target: Server) -> None:
    said = notifications_refused(fleet.server(elasticache.options()), target)
    assert "notify-keyspace-events" in said and "parameter group" in said


@pytest.mark.parametrize("events", ["K$", "Ex"])
def test_notifications_that_tell_too_little(fleet: Fleet, target: Server, events: str) -> None:
    said = notifications_refused(fleet.server(Options(config={"notify-keyspace-events": events})), target)
    assert "notify-keyspace-events" in said


@pytest.mark.parametrize("shape", ["standalone", "cluster"])
@pytest.mark.sanitize
def test_elasticache(deployments: Deployments, shape: str) -> None:
    """With nothing that ElastiCache refuses, over TLS, both sides."""
    source, target = (deployments.get(role, shape, "elasticache") for role in ("source", "target"))
    keys = data.load(source, data.many(303, 1000))
    with Live(source, target, "--poll", OFTEN) as live:
        live.wait_live()
        data.load(source, data.mixed(304, 300, b"later:"))
        live.catch_up()
        oracle.assert_equal(source, target, at_least=keys + 300)
        live.terminate().expect()


def test_auto_takes_what_there_is(fleet: Fleet, target: Server) -> None:
    """Where an ACL refuses tracking, notifications are left; where neither works, the error says which setting to switch
    on."""
    refusing = "on nopass ~* &* +@all -client|tracking"
    source = fleet.server(Options(config=dict(NOTIFYING), default_user=refusing))
    with Live(source, target, "--poll", OFTEN) as live:
        live.wait_live()
        source.admin().set("k", "v")
        live.catch_up()
        oracle.assert_equal(source, target)
    neither = fleet.server(Options(default_user=refusing))
    with Live(neither, fleet.server()) as live:
        said = live.wait_end().expect(TROUBLE).error_line
    assert "notify-keyspace-events" in said
