"""A cluster put together by its own commands, with steps in which a test can stop: migrations, failovers."""
from __future__ import annotations

import copy
from typing import Dict, List, Optional, Sequence, Tuple

import redis

from . import wait
from .servers import ADMIN_PASSWORD, ADMIN_USER, Binary, Fleet, Options, Server
from .wire import slot_of

SLOTS = 16384


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class Cluster:
    """`nodes` are all servers; which of them are primaries is asked anew each time."""

    def __init__(self, nodes: List[Server]) -> None:
        self.nodes = nodes
        self._ids: Dict[Server, str] = {}

    # As oracle and loader see it

    @property
    def is_cluster(self) -> bool:
        return True

    @property
    def endpoint(self) -> str:
        return self.alive()[0].endpoint

    @property
    def options(self) -> Options:
        return self.nodes[0].options

    @property
    def binary(self) -> Binary:
        return self.nodes[0].binary

    def url(self, **kwargs: object) -> str:
        return self.alive()[0].url(**kwargs)  # type: ignore[arg-type]

    def servers(self) -> List[Server]:
        return self.alive()

    def alive(self) -> List[Server]:
        return [node for node in self.nodes if node.running]

    def id_of(self, node: Server) -> str:
        if node not in self._ids:
            self._ids[node] = _text(node.command("CLUSTER MYID"))
        return self._ids[node]

    def slots(self, seen_by: Optional[Server] = None) -> List[Optional[Server]]:
        """The owner of every slot, as one node sees it."""
        owners: List[Optional[Server]] = [None] * SLOTS
        by_id = {self.id_of(node): node for node in self.alive()}
        for line in self._nodes_lines(seen_by or self.alive()[0]):
            words = line.split()
            owner = by_id.get(words[0])
            for span in words[8:]:
                if span.startswith("["):
                    continue
                first, _, last = span.partition("-")
                for slot in range(int(first), int(last or first) + 1):
                    owners[slot] = owner
        return owners

    def primaries(self) -> List[Server]:
        return sorted({node for node in self.slots() if node}, key=self.nodes.index)

    def owner(self, slot: int) -> Server:
        owner = self.slots()[slot]
        assert owner is not None
        return owner

    def replicas(self) -> List[Server]:
        primaries = self.primaries()
        return [node for node in self.alive() if node not in primaries]

    def replica_of(self, primary: Server) -> Server:
        wanted = self.id_of(primary)
        for line in self._nodes_lines(primary):
            words = line.split()
            if words[3] == wanted:
                return next(node for node in self.alive() if self.id_of(node) == words[0])
        raise LookupError("no replica")

    def flush(self) -> None:
        for node in self.primaries():
            node.admin().flushall()

    def client_for(self, key: bytes) -> redis.Redis:
        return self.owner(slot_of(key)).admin()

    # Making one

    def ready(self, primaries: int, replicas: int = 0) -> bool:
        """Every node says ok, all agree on the owners, every replica is in step."""
        views = []
        for node in self.alive():
            if "cluster_state:ok" not in _text(node.command("CLUSTER INFO")):
                return False
            views.append(self.slots(node))
        agreed = all(view == views[0] for view in views) and None not in views[0]
        return agreed and len(set(views[0])) == primaries and self._replicas_online(replicas)

    def _replicas_online(self, expected: int) -> bool:
        online = 0
        for node in self.replicas():
            info = node.admin().info("replication")
            online += info["role"] == "slave" and info.get("master_link_status") == "up"
        return online >= expected

    def wait_ready(self, primaries: int, replicas: int = 0, seconds: float = 40) -> None:
        wait.until(lambda: self.ready(primaries, replicas), "the cluster to agree", seconds, every=0.05)

    # Moving slots, by the commands that redis-cli and ElastiCache's own resharding use

    def begin_migration(self, slot: int, target: Server) -> Server:
        """Opens the slot on both sides and returns the node that it leaves."""
        source = self.owner(slot)
        target.command("CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.command("CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source

    def move_keys(self, slot: int, source: Server, target: Server, at_most: int = 1 << 30) -> int:
        """Moves keys of an opened slot; how many."""
        moved = 0
        while moved < at_most:
            keys = source.command("CLUSTER GETKEYSINSLOT", slot, min(100, at_most - moved))
            if not keys:
                break
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "REPLACE", "AUTH2", ADMIN_USER,
                           ADMIN_PASSWORD, "KEYS", *keys)  # type: ignore[misc]
            moved += len(keys)  # type: ignore[arg-type]
        return moved

    def end_migration(self, slot: int, source: Server, target: Server) -> None:
        for node in (target, source, *(n for n in self.primaries() if n not in (source, target))):
            node.command("CLUSTER SETSLOT", slot, "NODE", self.id_of(target))

    def migrate(self, slot: int, target: Server) -> int:
        source = self.begin_migration(slot, target)
        moved = self.move_keys(slot, source, target)
        self.end_migration(slot, source, target)
        return moved

    # Failing over

    def fail_over(self, primary: Server) -> Server:
        """In order, as at maintenance: the replica takes over without loss."""
        replica = self.replica_of(primary)

        def promoted() -> bool:
            if replica.admin().info("replication")["role"] == "master":
                return True
            replica.command("CLUSTER FAILOVER")
            return False
        wait.until(promoted, "the replica to take over", 20, every=0.2)
        return replica

    def wait_replicated(self, primary: Server) -> None:
        """Until the replicas of the primary have all its writes."""
        def in_step() -> bool:
            info = primary.admin().info("replication")
            replicas = [value for name, value in info.items() if name.startswith("slave") and isinstance(value, dict)]
            return bool(replicas) and all(r["offset"] >= info["master_repl_offset"] for r in replicas)
        wait.until(in_step, "the replicas to have all writes", 20)

    def wait_replicas_shown(self, of_each: int) -> None:
        """Until CLUSTER SLOTS of every node names the replicas: one whose offset a node has not been told is left out
        (redis 7.0.15 src/cluster.c isReplicaAvailable())."""
        def shown() -> bool:
            return all(len(row) - 3 >= of_each for node in self.alive() for row in node.command("CLUSTER SLOTS"))
        wait.until(shown, "every node to name the replicas", 20)

    def kill_primary(self, primary: Server) -> Server:
        """kill -9; the replica is elected by the others."""
        replica = self.replica_of(primary)
        primary.kill9()
        wait.until(lambda: replica.admin().info("replication")["role"] == "master", "the election", 30)
        return replica

    def _nodes_lines(self, node: Server) -> List[str]:
        return [line for line in _text(node.command("CLUSTER NODES")).splitlines() if line]


def build(fleet: Fleet, primaries: int = 3, replicas: int = 0, options: Optional[Options] = None,
          binary: Optional[Binary] = None, hostname: bool = False) -> Cluster:
    """N primaries with even shares of the slots and R replicas in all, spread over them. With hostname, CLUSTER SLOTS
    names `localhost` instead of addresses, as ElastiCache does over TLS."""
    nodes = []
    for _ in range(primaries + replicas):
        own = copy.deepcopy(options) if options else Options()
        own.cluster = True
        if hostname:
            own.config.update({"cluster-announce-hostname": "localhost", "cluster-preferred-endpoint-type": "hostname"})
        nodes.append(fleet.server(own, binary, start=False).start())
    cluster = Cluster(nodes)
    for index, (first, last) in enumerate(_shares(primaries)):
        nodes[index].command("CLUSTER ADDSLOTSRANGE" if nodes[0].binary.has_cluster_port else "CLUSTER ADDSLOTS",
                             *((first, last) if nodes[0].binary.has_cluster_port else range(first, last + 1)))
        nodes[index].command("CLUSTER SET-CONFIG-EPOCH", index + 1)
    _meet(nodes)
    for index, replica in enumerate(nodes[primaries:]):
        primary_id = cluster.id_of(nodes[index % primaries])
        wait.until(lambda: _replicate(replica, primary_id), "the replica to know its primary", 20)
    cluster.wait_ready(primaries, replicas)
    return cluster


def _shares(primaries: int) -> List[Tuple[int, int]]:
    edges = [round(SLOTS * index / primaries) for index in range(primaries + 1)]
    return [(edges[index], edges[index + 1] - 1) for index in range(primaries)]


def _meet(nodes: Sequence[Server]) -> None:
    first = nodes[0]
    for node in nodes[1:]:
        port = first.tls_port if first.options.tls else first.port
        node.command("CLUSTER MEET", "127.0.0.1", port, first.bus_port)


def _replicate(replica: Server, primary_id: str) -> bool:
    replica.command("CLUSTER REPLICATE", primary_id)
    return True
