"""Clusters that change during the copy: slots move, primaries fail over, sentinels promote. No key is lost."""
from __future__ import annotations

import threading
from typing import Iterator

import pytest

from harness import cluster, data, oracle, sentinel, wait
from harness.cluster import Cluster
from harness.run import EQUAL, TROUBLE, Running, start_replicate
from harness.servers import Fleet, Server

KEYS = 12000
RATE = 5000
# MIGRATE sends an expiry as time left, so a key that moves may expire a moment earlier or later than it did before.
MIGRATE_MOVES_EXPIRY_MS = 1000
LONG_TIMEOUT = ["--timeout", "300s"]  # a copy that was paused does not take its connections for broken
SLOW_SCAN = ["--scan-count", 50, "--sleep", 20]  # so that the scan is still under way when something happens


def wait_copied(target: object, at_least: int) -> None:
    wait.until(lambda: oracle.count(target) >= at_least, f"{at_least} keys on the target")  # type: ignore[arg-type]


class Migrations:
    """Moves slots with keys round the cluster, one after the other, while the block runs. Each is left half moved for
    a moment, so that ASK and TRYAGAIN are met as well as MOVED. A copy that must meet moved slots is paused until enough
    keys have moved: how many move while a copy runs is up to the machine."""

    def __init__(self, side: Cluster) -> None:
        self._side = side
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._problem: list[BaseException] = []
        self.moved = 0

    def __enter__(self) -> "Migrations":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._problem, self._problem
        self._side.wait_ready(3)

    def _run(self) -> None:
        try:
            nodes = self._side.primaries()
            for slot in (slot for first in range(61) for slot in range(first, 16384, 61)):
                if self._stop.is_set():
                    return
                source = self._side.owner(slot)
                self._move(slot, source, nodes[(nodes.index(source) + 1) % len(nodes)])
        except BaseException as problem:  # shown by the main thread
            self._problem.append(problem)

    def meet(self, copy: Running, keys: int) -> None:
        """Holds the copy until more than so many keys have moved behind its back."""
        copy.pause()
        wait.until(lambda: self._problem or self.moved > keys, "keys to move", 60)
        copy.resume()

    def _move(self, slot: int, source: Server, target: Server) -> None:
        self._side.begin_migration(slot, target)
        self.moved += self._side.move_keys(slot, source, target, at_most=1)
        self._stop.wait(0.01)
        self.moved += self._side.move_keys(slot, source, target)
        self._side.end_migration(slot, source, target)


@pytest.fixture
def own_cluster(fleet: Fleet) -> Cluster:
    return cluster.build(fleet, 3, 0)


@pytest.fixture
def replicated(fleet: Fleet) -> Cluster:
    """With a replica for each primary."""
    return cluster.build(fleet, 3, 3)


def test_slots_of_the_source_move(own_cluster: Cluster, target: Server) -> None:
    """A key that moves from a node not yet scanned to one that is done must not fall between them."""
    data.load(own_cluster, data.many(201, KEYS))
    with start_replicate(own_cluster, target, "--rate", RATE, *LONG_TIMEOUT) as running:
        wait_copied(target, 1000)
        with Migrations(own_cluster) as migrations:
            migrations.meet(running, 20)
            result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(own_cluster, target, at_least=KEYS, ttl_tolerance_ms=MIGRATE_MOVES_EXPIRY_MS)


def test_slots_of_the_target_move(own_cluster: Cluster, source: Server) -> None:
    data.load(source, data.many(202, KEYS))
    with start_replicate(source, own_cluster, "--rate", RATE, *LONG_TIMEOUT) as running:
        wait_copied(own_cluster, 1000)
        with Migrations(own_cluster) as migrations:
            migrations.meet(running, 20)
            result = running.wait()
    assert result.expect(EQUAL).json["redirects"] > 0
    oracle.assert_equal(source, own_cluster, at_least=KEYS, ttl_tolerance_ms=MIGRATE_MOVES_EXPIRY_MS)


class HalfMoved:
    """A slot of 2000 keys that is open, with half of its keys on each of two nodes."""

    def __init__(self, side: Cluster, moved: int) -> None:
        self._side = side
        self._slot = cluster.slot_of(b"{tag}")
        self._goal = next(node for node in side.primaries() if node is not side.owner(self._slot))
        self._origin = side.begin_migration(self._slot, self._goal)
        side.move_keys(self._slot, self._origin, self._goal, at_most=moved)

    def finish(self) -> None:
        self._side.move_keys(self._slot, self._origin, self._goal)
        self._side.end_migration(self._slot, self._origin, self._goal)
        self._side.wait_ready(3)


def load_slot(side: object) -> int:
    keys = [b"{tag}:%d" % index for index in range(2000)]
    loaded = data.load(side, [data.Item(key, [("SET", key, b"value of " + key)]) for key in keys])
    return loaded + data.load(side, data.many(203, 3000))


def test_slot_of_the_target_is_half_moved_all_the_time(own_cluster: Cluster, source: Server) -> None:
    """Open from before to after the copy, with some keys on either node beforehand: ASK and TRYAGAIN."""
    keys = load_slot(source)
    old = [b"{tag}:%d" % index for index in range(900)]
    data.load(own_cluster, [data.Item(key, [("SET", key, "old")]) for key in old])
    half = HalfMoved(own_cluster, 500)
    with start_replicate(source, own_cluster) as running:
        running.wait().expect(EQUAL)
    half.finish()
    oracle.assert_equal(source, own_cluster, at_least=keys, ttl_tolerance_ms=MIGRATE_MOVES_EXPIRY_MS)


def test_slot_of_the_source_is_half_moved_for_a_while(own_cluster: Cluster, target: Server) -> None:
    """Some of its keys here, some there; the copy covers it when it is closed."""
    keys = load_slot(own_cluster)
    half = HalfMoved(own_cluster, 1000)
    with start_replicate(own_cluster, target) as running:
        wait_copied(target, 3000)
        half.finish()
        running.wait().expect(EQUAL)
    oracle.assert_equal(own_cluster, target, at_least=keys, ttl_tolerance_ms=MIGRATE_MOVES_EXPIRY_MS)


def test_slot_of_the_source_is_half_moved_for_good(own_cluster: Cluster, target: Server) -> None:
    """A migration that somebody left half done: copied all the same, or ended in time with a line that names it."""
    keys = load_slot(own_cluster)
    half = HalfMoved(own_cluster, 1000)
    with start_replicate(own_cluster, target, "--outage-timeout", "3s") as running:
        result = running.wait(30)
    half.finish()
    if result.status == EQUAL:
        oracle.assert_equal(own_cluster, target, at_least=keys, ttl_tolerance_ms=MIGRATE_MOVES_EXPIRY_MS)
    else:
        assert result.status == TROUBLE and "slot" in result.error_line


def test_source_fails_over_in_order(replicated: Cluster, target: Server) -> None:
    data.load(replicated, data.many(204, KEYS))
    with start_replicate(replicated, target, *SLOW_SCAN) as running:
        wait_copied(target, 1000)
        for primary in replicated.primaries()[:2]:
            replicated.fail_over(primary)
        result = running.wait()
    said = result.expect(EQUAL).json
    oracle.assert_equal(replicated, target, at_least=KEYS)
    assert said["scan_restarts"] >= 1


def test_primary_of_the_source_dies(replicated: Cluster, target: Server) -> None:
    data.load(replicated, data.many(205, KEYS))
    victim = replicated.primaries()[1]
    replicated.wait_replicated(victim)
    with start_replicate(replicated, target, *SLOW_SCAN) as running:
        wait_copied(target, 1000)
        replicated.kill_primary(victim)
        result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(replicated, target, at_least=KEYS)


def test_target_fails_over_in_order(replicated: Cluster, source: Server) -> None:
    data.load(source, data.many(206, KEYS))
    with start_replicate(source, replicated, "--rate", RATE) as running:
        wait_copied(replicated, 1000)
        for primary in replicated.primaries()[:2]:
            replicated.fail_over(primary)
        result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(source, replicated, at_least=KEYS)


def test_primary_of_the_target_dies(replicated: Cluster, source: Server) -> None:
    """Writes that it had acknowledged and not yet passed on are lost with it; longhaul makes them good."""
    data.load(source, data.many(207, KEYS))
    with start_replicate(source, replicated, "--rate", RATE) as running:
        wait_copied(replicated, 1000)
        replicated.kill_primary(replicated.primaries()[1])
        result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(source, replicated, at_least=KEYS)


@pytest.fixture
def watched(fleet: Fleet) -> Iterator[sentinel.Sentinels]:
    yield sentinel.build(fleet)


def test_sentinel_source_fails_over(watched: sentinel.Sentinels, target: Server) -> None:
    data.load(watched, data.many(208, KEYS))
    watched.wait_replicated()
    with start_replicate(watched.url(), target, *SLOW_SCAN) as running:
        wait_copied(target, 1000)
        watched.kill_primary()
        result = running.wait()
    said = result.expect(EQUAL).json
    oracle.assert_equal(watched, target, at_least=KEYS)
    assert said["scan_restarts"] >= 1


def test_sentinel_target_fails_over(watched: sentinel.Sentinels, source: Server) -> None:
    data.load(source, data.many(209, KEYS))
    with start_replicate(source, watched.url(), "--rate", RATE) as running:
        wait_copied(watched, 1000)
        watched.kill_primary()
        result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(source, watched, at_least=KEYS)


def test_both_clusters_change_at_once(fleet: Fleet) -> None:
    source, target = cluster.build(fleet, 3, 0), cluster.build(fleet, 3, 0)
    data.load(source, data.many(210, KEYS))
    with start_replicate(source, target, "--rate", RATE, "--threads", 2) as running:
        wait_copied(target, 1000)
        with Migrations(source), Migrations(target):
            result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(source, target, at_least=KEYS, ttl_tolerance_ms=MIGRATE_MOVES_EXPIRY_MS)


def test_cluster_without_an_owner_for_a_while(own_cluster: Cluster, source: Server) -> None:
    """CLUSTERDOWN for some slots: the copy waits for them."""
    data.load(source, data.many(211, KEYS))
    node = own_cluster.primaries()[0]
    with start_replicate(source, own_cluster, "--rate", RATE) as running:
        wait_copied(own_cluster, 1000)
        node.command("CLUSTER", "DELSLOTS", 5, 6, 7)
        wait.until(lambda: oracle.count(own_cluster) > 5000, "the copy to go on")
        node.command("CLUSTER", "ADDSLOTS", 5, 6, 7)
        result = running.wait()
    result.expect(EQUAL)
    oracle.assert_equal(source, own_cluster, at_least=KEYS)
