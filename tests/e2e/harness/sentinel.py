"""A primary with a replica under three sentinels, and a failover by the death of the primary."""
from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

from . import wait
from .servers import ADMIN_PASSWORD, ADMIN_USER, Fleet, Options, Server

NAME = "mymaster"


@dataclass
class Sentinels:
    """`data` are the servers with the data, `watchers` the sentinels."""
    data: List[Server]
    watchers: List[Server]
    password: Optional[str] = None

    @property
    def is_cluster(self) -> bool:
        return False

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{watcher.port}" for watcher in self.watchers)

    def url(self, login: str = "", db: str = "") -> str:
        return f"redis-sentinel://{login}{self.hosts}{db}?sentinelMasterId={NAME}"

    def primary(self) -> Server:
        """The one that the sentinels name."""
        address = self.watchers[0].command("SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)
        return next(server for server in self.data if server.port == int(address[1]))  # type: ignore[index]

    def primaries(self) -> List[Server]:
        return [self.primary()]

    def servers(self) -> List[Server]:
        return [server for server in self.data if server.running]

    def owner(self, slot: int) -> Server:
        return self.primary()

    def flush(self) -> None:
        self.primary().admin().flushall()

    def wait_replicated(self) -> None:
        """Until the replica has all writes of the primary."""
        primary = self.primary()

        def in_step() -> bool:
            info = primary.admin().info("replication")
            return info["connected_slaves"] >= 1 and info["slave0"]["offset"] >= info["master_repl_offset"]
        wait.until(in_step, "the replica to be in step", 20)

    def kill_primary(self) -> Server:
        """kill -9 of the primary; the server that took over."""
        before = self.primary()
        before.kill9()
        wait.until(lambda: self.primary() is not before and _is_primary(self.primary()), "the failover", 30, every=0.1)
        return self.primary()


def _is_primary(server: Server) -> bool:
    return server.admin().info("replication")["role"] == "master"


def build(fleet: Fleet, data: Optional[Options] = None, password: Optional[str] = None) -> Sentinels:
    """The sentinels themselves ask their clients for `password`."""
    primary = fleet.server(data)
    replica = fleet.server(data)
    replica.command("REPLICAOF", "127.0.0.1", primary.port)
    watchers = [_sentinel(fleet, primary, password) for _ in range(3)]
    made = Sentinels([primary, replica], watchers, password)
    wait.until(lambda: replica.admin().info("replication").get("master_link_status") == "up", "the replica", 20)
    wait.until(lambda: all(_knows_all(watcher) for watcher in watchers), "the sentinels to know each other", 20)
    return made


def _sentinel(fleet: Fleet, primary: Server, password: Optional[str]) -> Server:
    lines = {"sentinel monitor": f"{NAME} 127.0.0.1 {primary.port} 2",
             "sentinel down-after-milliseconds": f"{NAME} 1000",
             "sentinel failover-timeout": f"{NAME} 4000",
             "sentinel auth-user": f"{NAME} {ADMIN_USER}",
             "sentinel auth-pass": f"{NAME} {ADMIN_PASSWORD}"}
    if password:
        lines["sentinel sentinel-user"] = ADMIN_USER
        lines["sentinel sentinel-pass"] = ADMIN_PASSWORD
    server = fleet.server(Options(password=password, config=lines), start=False)
    server.sentinel = True
    return server.start()


def _knows_all(watcher: Server) -> bool:
    flat = watcher.command("SENTINEL MASTER", NAME)
    facts = dict(zip(flat[::2], flat[1::2]))  # type: ignore[index]
    return facts[b"num-other-sentinels"] == b"2" and facts[b"num-slaves"] == b"1"
