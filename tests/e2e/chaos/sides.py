"""A deployment with a bad network before it, as the chaos test sees it.

Standalone servers and the nodes of a cluster stand behind a proxy each; nodes announce the proxy's port, so longhaul (and
the replicas) find them there. Sentinels name ports themselves: servers under them have no proxy.
"""
from __future__ import annotations

import time
from typing import Dict, List, Optional, Tuple, Union

from harness import cluster, sentinel, wait
from harness.cluster import Cluster
from harness.oracle import Deployment
from harness.proxy import Proxy
from harness.sentinel import Sentinels
from harness.servers import Fleet, Options, Server
from harness.wire import Wire, WireError, slot_of

from .writes import Command

Batch = List[Tuple[int, List[Command]]]  # database, commands of one slot that stay together
PRIMARIES, REPLICAS = 3, 1


class Side:
    """`made` is the deployment itself; `endpoint` is given to longhaul, `direct` the same without the bad network."""

    def __init__(self, fleet: Fleet, role: str, shape: str, options: Options) -> None:
        self.role, self.shape = role, shape
        self.proxies: Dict[Server, Proxy] = {}
        self.made: Union[Server, Cluster, Sentinels]
        if shape == "cluster":
            self.made = cluster.build(fleet, PRIMARIES, REPLICAS, options)
        elif shape == "sentinel":
            self.made = sentinel.build(fleet, options)
        else:
            self.made = fleet.server(options)
        if shape != "sentinel":
            self.proxies = {server: Proxy.before(server).__enter__() for server in self.made.servers()}
        if shape == "cluster":
            self._announce()

    def _announce(self) -> None:
        for node, proxy in self.proxies.items():
            node.command("CONFIG SET", "cluster-announce-port", proxy.port)
            node.options.config["cluster-announce-port"] = str(proxy.port)
        ports = {proxy.port for proxy in self.proxies.values()}

        lines: List[str] = []

        def seen_by_all() -> bool:
            lines[:] = [line for node in self.proxies for line in node.command("CLUSTER NODES").decode().splitlines()]
            return all(int(line.split()[1].split("@")[0].rpartition(":")[2]) in ports for line in lines)
        try:
            wait.until(seen_by_all, f"all nodes to know the proxies' ports {ports}", 40, every=0.1)
        except TimeoutError as problem:
            raise TimeoutError("\n".join([str(problem), *lines])) from problem

    def close(self) -> None:
        for proxy in self.proxies.values():
            proxy.__exit__()

    @property
    def endpoint(self) -> str:
        if self.shape == "sentinel":
            return self.made.url()
        return next(iter(self.proxies.values())).endpoint

    @property
    def direct(self) -> str:
        return self.made.url() if self.shape == "sentinel" else self.made.endpoint  # type: ignore[union-attr]

    def servers(self) -> List[Server]:
        """Those that run and hold data."""
        return self.made.servers()

    def everyone(self) -> List[Server]:
        """Those that hold data, also while they are down."""
        if isinstance(self.made, Cluster):
            return self.made.nodes
        return self.made.data if isinstance(self.made, Sentinels) else [self.made]

    def primaries(self) -> List[Server]:
        return self.made.primaries()

    def replica_of(self, primary: Server) -> Server:
        if isinstance(self.made, Cluster):
            return self.made.replica_of(primary)
        assert isinstance(self.made, Sentinels)
        return next(server for server in self.made.servers() if server is not primary)

    def fail_over_candidates(self) -> List[Server]:
        """Primaries that have a replica."""
        found = []
        for primary in self.primaries():
            if int(primary.admin().info("replication")["connected_slaves"]) > 0:
                found.append(primary)
        return found

    def wait_whole(self, seconds: float = 60) -> None:
        """Every server runs and knows its place."""
        if isinstance(self.made, Cluster):
            self.made.wait_ready(PRIMARIES, REPLICAS, seconds)
        else:
            wait.until(lambda: all(server.admin().ping() for server in self.primaries()), self.role, seconds)

    def configure(self, **settings: object) -> None:
        """CONFIG SET on every server that runs."""
        for server in self.servers():
            for name, value in settings.items():
                server.command("CONFIG SET", name.replace("_", "-"), value)


class Router:
    """Sends groups of commands to the owners of their slots, through failovers and migrations. One thread's own. A failed
    group is not sent again: the chaos test wants writes, not these writes."""

    def __init__(self, side: Side) -> None:
        self._made: Deployment = side.made
        self._wires: Dict[Tuple[Server, int], Wire] = {}
        self._owners: Optional[List[Optional[Server]]] = None
        self._looked = 0.0
        self.failed = 0

    def send(self, batch: Batch) -> List[List[object]]:
        """Replies by group, in the order of the batch; an empty list for a group that could not be sent."""
        replies: List[List[object]] = [[] for _ in batch]
        for (server, db), places in self._by_place(batch).items():
            try:
                flat = self._wire(server, db).batch([command for at in places for command in batch[at][1]])
            except (OSError, EOFError, WireError):
                self._forget(server)
                self.failed += len(places)
                continue
            for at in places:
                size = len(batch[at][1])
                replies[at], flat = flat[:size], flat[size:]
                self._mind(batch[at], replies[at])
        return replies

    def close(self) -> None:
        for wire in self._wires.values():
            wire.close()
        self._wires.clear()

    def _by_place(self, batch: Batch) -> Dict[Tuple[Server, int], List[int]]:
        places: Dict[Tuple[Server, int], List[int]] = {}
        for at, (db, commands) in enumerate(batch):
            owner = self._owner(commands)
            if owner is not None:
                places.setdefault((owner, db), []).append(at)
        return places

    def _owner(self, commands: List[Command]) -> Optional[Server]:
        if self._owners is None:
            self._look()
        if self._owners is None:
            return None
        return self._owners[slot_of_group(commands)] if self._made.is_cluster else self._owners[0]

    def _look(self) -> None:
        """Asks for the owners anew, a few times a second at most."""
        if time.monotonic() - self._looked < 0.1:
            time.sleep(0.05)
            return
        self._looked = time.monotonic()
        try:
            self._owners = self._made.slots() if self._made.is_cluster else [self._made.primaries()[0]]  # type: ignore
        except Exception:  # the deployment is in trouble: later
            self._owners = None

    def _wire(self, server: Server, db: int) -> Wire:
        if (server, db) not in self._wires:
            wire = server.wire(5.0)
            if db:
                wire.call("SELECT", db)
            self._wires[(server, db)] = wire
        return self._wires[(server, db)]

    def _forget(self, server: Server) -> None:
        self._owners = None
        for place in [place for place in self._wires if place[0] is server]:
            self._wires.pop(place).close()

    def _mind(self, group: Tuple[int, List[Command]], replies: List[object]) -> None:
        """A key that has moved already is asked for where it is; an owner that has changed is looked up."""
        for command, reply in zip(group[1], replies):
            said = str(reply) if isinstance(reply, WireError) else ""
            if said.startswith(("MOVED", "READONLY", "CLUSTERDOWN")):
                self._owners = None
            elif said.startswith("ASK") and len(group[1]) == 1:
                self._ask(command, int(said.rpartition(":")[2]))

    def _ask(self, command: Command, port: int) -> None:
        for server in self._made.servers():  # type: ignore[attr-defined]
            if str(port) in (str(server.port), server.options.config.get("cluster-announce-port")):
                try:
                    self._wire(server, 0).batch([("ASKING",), command])
                except (OSError, EOFError, WireError):
                    self._forget(server)


def slot_of_group(commands: List[Command]) -> int:
    """Every drawn key has a tag in braces: the first argument with one tells the slot."""
    for command in commands:
        for arg in command[1:]:
            if isinstance(arg, bytes) and b"{" in arg:
                return slot_of(arg)
    return 0
