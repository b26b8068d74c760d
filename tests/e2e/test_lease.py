"""Two processes of one job never write at once, through every loss of the lease: it is evicted, lost by a step of the
target's clock, deleted, lost by a failover to a replica that lacks it, or its slot is half moved for a long time. And an
order that was given while another one waits is not lost."""
from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Set

import pytest
import redis

from harness import cluster, data, oracle, server_faults, wait
from harness.clock import Clock
from harness.cluster import Cluster
from harness.live import Live, now_us
from harness.run import EQUAL
from harness.servers import Fleet, Options, Server
from harness.wire import slot_of

LEASE_S = 2
JOB = ("--job", "one", "--lease", f"{LEASE_S}s", "--poll", "200ms")
LEASE, EPOCH = "longhaul:{one}:lease", "longhaul:{one}:epoch"
NAMES = [f"n:{i}" for i in range(20)]
SECONDS = 60.0  # of patience, on a machine three times busier


class Counters:
    """Counts up on the source all the time, and watches the target: a value that goes down was written by a process
    that had no right to. `nodes` are watched; names whose owner is another one are left out."""

    def __init__(self, source: Server, nodes: List[Server]) -> None:
        self.source, self.nodes = source, nodes
        self.went_down: List[object] = []
        self.n = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._count)]
        self._threads += [threading.Thread(target=self._watch, args=(node,)) for node in nodes]

    def __enter__(self) -> "Counters":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _count(self) -> None:
        admin = self.source.admin()
        while not self._stop.wait(0.001):
            self.n += 1
            admin.mset({name: self.n for name in NAMES})

    def _watch(self, node: Server) -> None:
        admin, seen = node.admin(), {name: 0 for name in NAMES}
        while not self._stop.wait(0.002):
            for name in NAMES:
                try:
                    value = int(admin.get(name) or 0)
                except redis.RedisError:  # another node's key, or the node restarts
                    continue
                if value < seen[name]:
                    self.went_down.append((node.endpoint, name, seen[name], value))
                seen[name] = value


class Writers:
    """Which process writes, from MONITOR: the commands of a connection that is named after a former epoch, behind the
    first write of a later one, are a second writer's."""

    def __init__(self, target: Server) -> None:
        self.target = target
        self.epochs: Dict[str, int] = {}
        self.writes: List[str] = []
        self._stop = threading.Event()
        self._monitor = target.admin().monitor()
        self._threads = [threading.Thread(target=self._look), threading.Thread(target=self._listen)]

    def __enter__(self) -> "Writers":
        self._monitor.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.target.command("SET", "the end", "x")
        for thread in self._threads:
            thread.join()
        self._monitor.__exit__(None, None, None)

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            for client in self.target.admin().client_list():
                if client["name"].startswith("longhaul:one:"):
                    self.epochs[client["addr"]] = int(client["name"].rsplit(":", 1)[1])

    def _listen(self) -> None:
        for line in self._monitor.listen():
            if self._stop.is_set():
                return
            if "n:" in line["command"] and line["command"].split(" ", 1)[0].upper() in ("SET", "MSET"):
                self.writes.append(f"{line['client_address']}:{line['client_port']}")

    def late(self) -> List[str]:
        """The epochs of all writes that came behind a later epoch's first."""
        newest, late = 0, []
        for address in self.writes:
            epoch = self.epochs.get(address, 0)
            if 0 < epoch < newest:
                late.append(f"epoch {epoch} behind {newest}")
            newest = max(newest, epoch)
        return late


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def own_target(fleet: Fleet, clock: Clock) -> Server:
    return fleet.server(Options(env=clock.env))


def lose_by_clock(target: Server, clock: Clock) -> None:
    clock.step(60)


def lose_by_eviction(target: Server, clock: Clock) -> None:
    """Under volatile-lru the lease may be the only key with an expiry."""
    target.command("CONFIG SET", "maxmemory-policy", "volatile-lru")
    target.command("CONFIG SET", "maxmemory", 1)
    wait.until(lambda: not target.command("EXISTS", LEASE), "the lease to be evicted", SECONDS, 0.001)
    target.command("CONFIG SET", "maxmemory", 0)


def lose_again_and_again(target: Server, clock: Clock) -> None:
    """A holder that takes it again loses it again, also before others look."""
    for _ in range(300):
        server_faults.lose_lease(target, "one")


def lose_with_its_epoch(target: Server, clock: Clock) -> None:
    target.command("DEL", LEASE, EPOCH)


LOSSES: List[Callable[[Server, Clock], None]] = [lose_by_clock, lose_by_eviction, lose_again_and_again,
                                                 lose_with_its_epoch]


def wait_held(target: Server) -> None:
    def held() -> bool:
        value = target.command("GET", LEASE)
        return isinstance(value, bytes) and not value.endswith(b" -")
    wait.until(held, "the lease to be held", SECONDS)


def settle(live: List[Live], source: Server, target: object) -> None:
    """One of the processes goes on and catches up."""
    live[0].wait_watermark(now_us(), SECONDS)
    assert any(process.running and process.alive for process in live)


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_lease_that_vanishes(source: Server, own_target: Server, clock: Clock,
                               lose: Callable[[Server, Clock], None]) -> None:
    with Live(source, own_target, *JOB) as first:
        first.wait_live()
        with Live(source, own_target, *JOB) as second:
            wait.until(lambda: "standby" in second.stderr(), "a standby", SECONDS)
            with Counters(source, [own_target]) as counters, Writers(own_target) as writers:
                wait.until(lambda: own_target.command("GET", NAMES[0]), "counts to arrive", SECONDS)
                lose(own_target, clock)
                wait_held(own_target)
                settle([first, second], source, own_target)
            assert not counters.went_down, counters.went_down[:3]
            assert not writers.late(), writers.late()[:3]
            assert writers.writes


def test_a_stopped_holder_loses_its_lease(source: Server, own_target: Server) -> None:
    """It wakes up while its successor waits for the end of its right, and with a right that lasts by its own clock."""
    with Live(source, own_target, *JOB) as first:
        first.wait_live()
        with Live(source, own_target, *JOB) as second:
            wait.until(lambda: "standby" in second.stderr(), "a standby", SECONDS)
            with Counters(source, [own_target]) as counters, Writers(own_target) as writers:
                wait.until(lambda: own_target.command("GET", NAMES[0]), "counts to arrive", SECONDS)
                first.pause()
                server_faults.lose_lease(own_target, "one")
                wait.until(lambda: (own_target.command("GET", LEASE) or b"1 ").split()[0] != b"1",
                           "the standby to take the lease", SECONDS, 0.002)
                first.resume()
                settle([second, first], source, own_target)
            assert not counters.went_down, counters.went_down[:3]
            assert not writers.late(), writers.late()[:3]


def test_failover_to_a_replica_without_the_lease(fleet: Fleet, source: Server) -> None:
    """The promoted replica knows neither lease nor epoch: a process that starts then waits for the holder's right."""
    target = cluster.build(fleet, 3, 3)
    slot = slot_of(LEASE.encode())
    victim = target.owner(slot)
    others = [node for node in target.primaries() if node is not victim]
    replica = target.replica_of(victim)
    replica.admin().config_set("masterauth", "wrong")
    victim.command("CLIENT KILL", "TYPE", "slave")
    wait.until(lambda: replica.admin().info("replication")["master_link_status"] == "down", "the replica to be cut off")
    with Live(source, target, *JOB) as first:
        first.wait_live()
        with Live(source, target, *JOB) as second:
            wait.until(lambda: "standby" in second.stderr(), "a standby", SECONDS)
            with Counters(source, others) as counters:
                wait.until(lambda: counters.n > 100, "counts", SECONDS)
                target.kill_primary(victim)
                settle([first, second], source, target)
            assert not counters.went_down, counters.went_down[:3]


@pytest.fixture
def own_cluster(fleet: Fleet) -> Cluster:
    return cluster.build(fleet, 3, 0)


def state_keys(side: Cluster) -> Iterator[bytes]:
    for node in side.primaries():
        yield from node.admin().keys("longhaul:*:state")


@pytest.mark.parametrize("which", ["lease", "epoch", "state"])
def test_a_slot_of_longhauls_own_keys_is_half_moved(own_cluster: Cluster, source: Server, which: str) -> None:
    """For longer than a lease: the key lies on the importing node, the slot is still the other's."""
    side = own_cluster
    keys = data.load(source, data.many(511, 300))
    with Live(source, side, *JOB) as live:
        live.wait_live()
        key = {"lease": LEASE.encode(), "epoch": EPOCH.encode(), "state": next(state_keys(side))}[which]
        slot = slot_of(key)
        origin = side.owner(slot)
        goal = next(node for node in side.primaries() if node is not origin)
        side.begin_migration(slot, goal)
        origin.command("MIGRATE", "127.0.0.1", goal.port, key, 0, 5000)
        for _ in range(3):
            until_us = now_us() + LEASE_S * 1_000_000
            source.admin().set("changed", until_us)
            live.wait_watermark(until_us, SECONDS)
        assert live.alive
        side.move_keys(slot, origin, goal)
        side.end_migration(slot, origin, goal)
        live.wait_watermark(now_us(), SECONDS)
        live.terminate().expect(EQUAL)
    oracle.assert_equal(source, side, at_least=keys)


def test_a_first_start_and_a_start_after_an_end_do_not_wait(source: Server, target: Server) -> None:
    long = ("--job", "one", "--lease", "60s", "--poll", "200ms")
    with Live(source, target, *long) as live:
        live.wait_live(30)
        live.terminate().expect(EQUAL)
        live.start()
        live.wait_live(30)
        assert "former holder" not in "".join(result.stderr for result in live.past)


def test_control_connections_are_named(source: Server, target: Server) -> None:
    """A standby is known by the name of its connection, and is not taken for a process that writes."""
    def names() -> Set[str]:
        clients: List[Dict[str, Any]] = target.admin().client_list()
        return {client["name"] for client in clients}
    with Live(source, target, *JOB) as first:
        first.wait_live()
        with Live(source, target, *JOB) as second:
            wait.until(lambda: "standby" in second.stderr(), "a standby", SECONDS)
            wait.until(lambda: any(name.startswith("longhaul-standby:one:") for name in names()), "its name", SECONDS)
            assert "longhaul:one:1" in names() and "longhaul:one:2" not in names()
